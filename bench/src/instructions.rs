//! Instructions per record of decoding and encoding, for each form: what does not depend on the load of a machine.
//!
//! Valgrind's callgrind counts what one thread executes. The same object goes through once and then three times, and half
//! the difference is counted, so that starting, warming up and the end do not matter. Counts depend on the compiler and on
//! what the processor can do: they are to be compared on one machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use testkit::jars::workspace_folder;

use crate::dataset::{Dataset, Form, Shape};
use crate::generate;
use crate::harness::{Settings, note, say};

/// Growth that is a failure, as a part of what was recorded.
const MOST_GROWTH: f64 = 0.05;

/// The part of the one-partition data that is used: one object of 50 000 records.
const SCALE: f64 = 0.01;

/// Counts all forms; writes them to the record, or compares them with it.
///
/// # Errors
///
/// Where valgrind is missing, or where it is checked and a form takes more than it did.
pub fn run(settings: &Settings) -> Result<()> {
    let record = workspace_folder().join("bench").join("instructions.json");
    let recorded: BTreeMap<String, u64> = match std::fs::read(&record) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) if !settings.check => BTreeMap::new(),
        Err(error) => return Err(error).context("there is no record to compare with"),
    };
    let mut counted = BTreeMap::new();
    let mut grown = Vec::new();
    say("\n| from | instructions per record | recorded |\n|---|---|---|");
    for form in Form::value_variants() {
        let dataset = Dataset {
            shape: Shape::Single,
            form: *form,
            scale: SCALE,
        };
        let folder = generate::ensure(&dataset, &settings.data)?;
        let (once, thrice) = (count(&folder, 1)?, count(&folder, 3)?);
        let per_record = thrice.saturating_sub(once) / 2 / dataset.records();
        let name = form.to_possible_value().context("a form without a name")?;
        let name = name.get_name().to_owned();
        let before = recorded.get(&name).copied();
        say(&format!(
            "| {name} | {per_record} | {} |",
            before.map_or_else(|| "-".to_owned(), |before| before.to_string())
        ));
        if before.is_none_or(|before| per_record as f64 > before as f64 * (1.0 + MOST_GROWTH)) {
            grown.push(name.clone());
        }
        counted.insert(name, per_record);
    }
    if !settings.check {
        std::fs::write(&record, serde_json::to_string_pretty(&counted)? + "\n")?;
        note(&format!("written to {}", record.display()));
    } else if !grown.is_empty() {
        bail!(
            "more than {:.0} % above the record: {}",
            MOST_GROWTH * 100.0,
            grown.join(", ")
        );
    }
    Ok(())
}

/// Instructions of a process that decodes and encodes a backup `times` times.
fn count(folder: &Path, times: usize) -> Result<u64> {
    let output = tempfile::tempdir()?;
    let counts: PathBuf = output.path().join("counts");
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(std::env::current_exe()?)
        .args([
            "child", "floor", "--stage", "pipeline", "--codec", "none", "--from",
        ])
        .arg(folder)
        .args(["--times", &times.to_string()])
        .output()
        .context("cannot run valgrind: it counts the instructions")?;
    if !run.status.success() {
        bail!("valgrind: {}", String::from_utf8_lossy(&run.stderr));
    }
    let text = std::fs::read_to_string(&counts)?;
    let total = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("totals: ")
                .or_else(|| line.strip_prefix("summary: "))
        })
        .context("callgrind gave no total")?;
    Ok(total.trim().parse()?)
}
