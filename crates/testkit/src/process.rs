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
        let process = process_id(&self.log)?;
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

/// The process id of the running program whose output goes to `log`.
pub(crate) fn process_id(log: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(pid_file(log)).context("the watchdog left no process id")?;
    text.trim().parse().context("not a process id")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(process: &str) -> bool {
        let status = Command::new("kill")
            .args(["-s", "0", process])
            .stderr(Stdio::null())
            .status();
        status.expect("kill").success()
    }

    /// Starts a program that would run for long, and waits until its process id is known.
    fn start(folder: &Path) -> (GuardedChild, String) {
        let log = folder.join("log");
        let child = GuardedChild::start("sleep", &["1000"], &log, Some(folder)).expect("start");
        loop {
            let process = std::fs::read_to_string(pid_file(&log)).unwrap_or_default();
            if process.ends_with('\n') {
                return (child, process.trim().to_string());
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_end_of_the_pipe_ends_the_program_and_its_folder() {
        // The pipe ends in the same way when this process dies.
        let folder = tempfile::tempdir().expect("a folder").keep();
        let (child, process) = start(&folder);
        assert!(is_alive(&process));
        drop(child);
        while is_alive(&process) || folder.exists() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_signal_ends_the_program_and_keeps_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        for (signal, status) in [("TERM", 128 + 15), ("KILL", 128 + 9)] {
            let (child, process) = start(folder.path());
            assert_eq!(child.end(signal).expect("end").code(), Some(status));
            assert!(!is_alive(&process) && folder.path().exists());
        }
    }

    #[test]
    fn a_released_program_lives_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (child, process) = start(folder.path());
        assert_eq!(child.release().expect("release").to_string(), process);
        assert!(is_alive(&process) && folder.path().exists());
        assert!(
            Command::new("kill")
                .arg(&process)
                .status()
                .expect("kill")
                .success()
        );
    }

    #[test]
    fn a_program_that_does_not_exist_ends_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut child = GuardedChild::start("no-such-program", &[""; 0], &log, None).expect("start");
        let status = loop {
            match child.ended().expect("a status") {
                Some(status) => break status,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(status.code(), Some(127));
    }
}
