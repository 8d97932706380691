//! CPU time, wall time and peak memory of processes, from `/proc`.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// `utime` and `stime` are counted in hundredths of a second on every Linux that matters (USER_HZ).
const TICK: f64 = 0.01;

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
    let before = waited_for()?;
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
        cpu: waited_for()? - before,
        memory,
        broker: 0.0,
    };
    Ok((cost, output))
}

/// Seconds of CPU, user and system, of a running process.
///
/// # Errors
///
/// Where there is no such process.
pub fn cpu_of(process: u32) -> Result<f64> {
    let fields = stat(&process.to_string())?;
    Ok(ticks(&fields, 11) + ticks(&fields, 12))
}

/// Seconds of CPU of this process so far.
///
/// # Errors
///
/// Where `/proc` is not there.
pub fn own_cpu() -> Result<f64> {
    let fields = stat("self")?;
    Ok(ticks(&fields, 11) + ticks(&fields, 12))
}

/// Seconds of CPU of all ended children of this process.
fn waited_for() -> Result<f64> {
    let fields = stat("self")?;
    Ok(ticks(&fields, 13) + ticks(&fields, 14))
}

/// The fields of `/proc/<process>/stat` behind the program's name, which may hold blanks: from the state on.
fn stat(process: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let behind_name = text
        .rsplit_once(')')
        .context("an unknown form of /proc/*/stat")?
        .1;
    Ok(behind_name.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], index: usize) -> f64 {
    let ticks: u64 = fields
        .get(index)
        .and_then(|field| field.parse().ok())
        .unwrap_or(0);
    ticks as f64 * TICK
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
        assert!(own_cpu().unwrap() >= 0.0 && cpu_of(std::process::id()).is_ok());
    }
}
