//! Servers that stand for the outside world, each a process of its own: this program again.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use testkit::cpu;

/// Gives each connection to `listener` to `serve`, on a thread of its own, for as long as this process lives.
pub(crate) fn accept(listener: TcpListener, serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            // A client that hangs up ends its thread.
            thread::spawn(move || serve(stream));
        }
    });
}

/// Tells whoever has started this process the port, and waits until that ends its standard input.
pub(crate) fn serve_until_told(port: u16, announce: impl FnOnce(u16) -> Result<()>) -> Result<()> {
    announce(port)?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// A running server. It ends when this is dropped, and with this process.
pub struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Where it listens, on the loopback interface.
    pub port: u16,
}

impl Server {
    /// Starts `child NAME ARGUMENTS` of this program and waits for its port.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start(name: &str, arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["child", name])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let port = line
            .trim()
            .parse()
            .with_context(|| format!("the {name} says {line:?}"))?;
        Ok(Self { child, output, port })
    }

    /// Seconds of CPU so far.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn cpu(&self) -> Result<f64> {
        cpu::of(self.child.id())
    }

    /// Ends it and gives what it has seen.
    ///
    /// # Errors
    ///
    /// Where it failed.
    pub fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        drop(self.child.stdin.take());
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if !self.child.wait()?.success() {
            bail!("a server failed");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A second end of what has ended is no matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
