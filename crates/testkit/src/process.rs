//! A child process that cannot outlive this one.
//!
//! The program runs under a small shell that reads commands from a pipe: a line is the name of a signal for the
//! program, the end of the pipe (this process ended, however it did) means kill it and remove its folder. So no test
//! can leave a broker behind, not even one that was killed itself. Whoever wants the program to stay says so with
//! [`GuardedChild::release`].

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// `$1` is the file for the program's process id, `$2` the folder to remove at the end of the pipe (may be empty), the
/// rest is the program.
const WATCHDOG: &str = r#"
pid_file=$1; folder=$2; shift 2
exec 3<&0
"$@" 3<&- </dev/null & program=$!
echo "$program" >"$pid_file"
{ trap '' INT TERM HUP
  while read -r signal <&3; do
    [ "$signal" != RELEASE ] || exit 0
    kill -s "$signal" "$program"
  done
  # In a process of its own: the shell below ends this reader as soon as the program is dead.
  { kill -s KILL "$program"
    [ -z "$folder" ] || rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
  } &
} >/dev/null 2>&1 & reader=$!
wait "$program"; status=$?
kill -s KILL "$reader"
exit "$status"
"#;

/// A running program; killed when this is dropped and when this process ends.
#[derive(Debug)]
pub struct GuardedChild {
    child: Child,
    log: PathBuf,
    released: bool,
}

impl GuardedChild {
    /// Lets the program live on after this process and returns its process id.
    ///
    /// # Errors
    ///
    /// Where the program has ended already.
    pub fn release(mut self) -> Result<u32> {
        self.signal("RELEASE")?;
        let text = std::fs::read_to_string(pid_file(&self.log)).context("the watchdog left no process id")?;
        let process = text.trim().parse().context("not a process id")?;
        let pipe = self.child.stdin.take();
        self.released = true;
        drop(pipe);
        Ok(process)
    }

    /// Starts `program` with its output appended to `log`. If this process dies, `remove` (a folder) is deleted.
    ///
    /// # Errors
    ///
    /// Where `sh` cannot be started. A program that does not exist shows as an exit with status 127.
    pub fn start<P, A>(program: P, arguments: &[A], log: &Path, remove: Option<&Path>) -> Result<Self>
    where
        P: AsRef<OsStr>,
        A: AsRef<OsStr>,
    {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let child = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(pid_file(log))
            .arg(remove.map_or(OsStr::new(""), Path::as_os_str))
            .arg(program.as_ref())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start sh")?;
        Ok(Self {
            child,
            log: log.to_path_buf(),
            released: false,
        })
    }

    /// The exit status where the program has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal by name (`TERM`, `KILL`, `STOP`, `CONT`) to the program.
    pub fn signal(&mut self, name: &str) -> Result<()> {
        let pipe = self
            .child
            .stdin
            .as_mut()
            .context("the watchdog's pipe is closed")?;
        writeln!(pipe, "{name}").context("the program has ended already")
    }

    /// Sends a signal and waits for the program's end.
    pub fn end(mut self, signal: &str) -> Result<ExitStatus> {
        // Where the program has ended by itself already, sending fails, and waiting tells how it ended.
        let _ = self.signal(signal);
        // `Child::wait` would close the pipe first, and the watchdog would take that for our own death.
        let pipe = self.child.stdin.take();
        let status = self.child.wait().context("cannot wait for the program")?;
        drop(pipe);
        Ok(status)
    }
}

/// Where the watchdog writes the program's process id: beside its log.
fn pid_file(log: &Path) -> PathBuf {
    log.with_extension("pid")
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        // Closing the pipe makes the watchdog kill the program; waiting keeps it from staying as a zombie.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
