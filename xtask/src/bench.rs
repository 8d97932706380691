//! `cargo xtask bench`: the program against its floors and peers, on generated backups.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use testkit::broker::KafkaVersion;
use testkit::jars::workspace_folder;

use crate::{project, say, test};

/// Builds everything for release, generates the backups that are missing, and runs a comparison (see bench/README.md).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to compare: restore, codecs, forms, memory, growth, peers, floors, sink, latency, delays, listing, instructions.
    #[arg(default_value = "restore")]
    comparison: String,
    /// The part of each data set that is used: 0.05 takes a minute.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How often each participant runs.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// With instructions: fail where a form takes 5 % more than recorded in bench/instructions.json, and write nothing.
    #[arg(long)]
    check: bool,
    /// With peers: the program of kafka-backup, which takes part then; it is neither built nor downloaded here.
    #[arg(long, value_name = "PATH")]
    kafka_backup: Option<PathBuf>,
    /// Where generated backups are kept. [default: target/bench]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Further arguments of the program, behind `--`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    say::step("building the program and the benchmarks (release)");
    let program = project::build_release("kafka-restore")?;
    let bench = project::build_release("kafka-restore-bench")?;
    test::install_kafka(KafkaVersion::V4_1)?;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => workspace_folder().join("target").join("bench"),
    };
    let mut command = Command::new(&bench);
    command
        .args(["run", &arguments.comparison])
        .arg("--program")
        .arg(&program)
        .arg("--data")
        .arg(&data)
        .args(["--scale", &arguments.scale.to_string()])
        .args(["--rounds", &arguments.rounds.to_string()])
        .args(arguments.check.then_some("--check"));
    if let Some(peer) = &arguments.kafka_backup {
        command.arg("--kafka-backup").arg(peer);
    }
    let status = command
        .arg("--")
        .args(&arguments.arguments)
        .status()
        .with_context(|| format!("cannot run {}", bench.display()))?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
