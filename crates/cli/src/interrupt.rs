//! Ctrl-C and SIGTERM: the first stops cleanly, the second at once.

use tokio_util::sync::CancellationToken;

use crate::printer::Printer;

/// Listens for signals from the moment it is made, so that none can come too early.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Interrupts {
    /// Starts to listen. Must be called within a runtime.
    #[cfg(unix)]
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Starts to listen. Must be called within a runtime.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the first signal, cancels `stop`, and waits for the second; then returns.
    pub(crate) async fn twice(mut self, stop: CancellationToken, printer: &Printer) {
        self.next().await;
        stop.cancel();
        printer.warn(
            "stopping cleanly: what is on its way is still confirmed (once more to stop at once; that is safe too)",
        );
        self.next().await;
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
