//! Ctrl-C and SIGTERM: the first stops cleanly, the second at once.

use tokio_util::sync::CancellationToken;

use crate::printer::Printer;

/// Waits for the first signal, cancels `stop`, and waits for the second; then returns.
pub(crate) async fn twice(stop: CancellationToken, printer: &Printer) {
    signal().await;
    stop.cancel();
    printer.warn("stopping cleanly: what is on its way is still confirmed (once more to stop at once; that is safe too)");
    signal().await;
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without a handler the system's default action ends the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
