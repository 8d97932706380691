//! CPU time of processes, user and system, of all their threads, from `/proc` (Linux). It tells more than the clock where
//! others are busy, too.

use anyhow::{Context, Result};

/// `utime` and `stime` are counted in hundredths of a second on every Linux that matters (USER_HZ).
const TICK: f64 = 0.01;

/// Seconds of a running process so far.
///
/// # Errors
///
/// Where there is no such process.
pub fn of(process: u32) -> Result<f64> {
    let fields = stat(&process.to_string())?;
    Ok(ticks(&fields, 11) + ticks(&fields, 12))
}

/// Seconds of this process so far.
///
/// # Errors
///
/// Where `/proc` is not there.
pub fn own() -> Result<f64> {
    of(std::process::id())
}

/// Seconds of all ended children of this process.
///
/// # Errors
///
/// Where `/proc` is not there.
pub fn of_ended_children() -> Result<f64> {
    let fields = stat("self")?;
    Ok(ticks(&fields, 13) + ticks(&fields, 14))
}

/// The fields of `/proc/<process>/stat` behind the program's name, which may hold blanks: from the state on.
fn stat(process: &str) -> Result<Vec<String>> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
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
