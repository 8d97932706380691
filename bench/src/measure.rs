//! CPU time, wall time and peak memory of processes, from `/proc`.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use testkit::cpu;

/// How often a child's memory is looked at. The kernel keeps the peak itself; only what the last moments add is missed.
const LOOK: Duration = Duration::from_millis(5);

/// What one process took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds on the clock.
    pub wall: f64,
    /// Seconds of CPU, user and system, of all threads.
    pub cpu: f64,
    /// Peak resident memory in bytes.
    pub memory: u64,
    /// Seconds of CPU of the broker meanwhile.
    pub broker: f64,
}

/// Runs a child process to its end. Gives what it took and what it printed.
///
/// # Errors
///
/// Where it cannot be started or does not succeed.
pub fn child(command: &mut Command) -> Result<(Cost, String)> {
    let before = cpu::of_ended_children()?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    // Read beside: a child whose output fills the pipe would wait for ever.
    let reader = child.stdout.take().map(|mut stdout| {
        std::thread::spawn(move || {
            let mut output = String::new();
            stdout.read_to_string(&mut output).map(|_| output)
        })
    });
    let mut memory = 0;
    let status = loop {
        memory = memory.max(peak_memory(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let wall = started.elapsed().as_secs_f64();
    let output = match reader.map(std::thread::JoinHandle::join) {
        Some(Ok(output)) => output?,
        Some(Err(_)) => bail!("the reader of the output panicked"),
        None => String::new(),
    };
    if !status.success() {
        bail!("{command:?} ended with {status}:\n{output}");
    }
    let cost = Cost {
        wall,
        cpu: cpu::of_ended_children()? - before,
        memory,
        broker: 0.0,
    };
    Ok((cost, output))
}

fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// The machine and its load now, for the head of a table.
pub fn conditions() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let information = read("/proc/cpuinfo");
    let model = information
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{cores} cores ({model}), Linux {}, load {}",
        kernel.trim(),
        load()
    )
}

/// The load averages.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_works_is_charged_for_it() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done",
        ]);
        let (cost, output) = child(&mut command).unwrap();
        assert_eq!(output, "done\n");
        assert!(cost.cpu > 0.0 && cost.memory > 100_000, "{cost:?}");
        assert!(child(Command::new("sh").args(["-c", "exit 3"])).is_err());
        assert!(cpu::own().unwrap() >= 0.0 && cpu::of(std::process::id()).is_ok());
    }
}
