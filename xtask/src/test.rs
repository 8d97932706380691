//! `cargo xtask test`: gets what the tests need, once, then runs every test of the project.

use std::process::ExitCode;

use anyhow::{Context, Result};
use testkit::emulators::{AzureEmulator, FakeGcsServer, S3Emulator};
use testkit::jars::KafkaVersion;

use crate::{project, say};

/// Runs every test of the project; downloads Kafka and the object-store emulators first where they are missing.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Handed on to `cargo test --workspace`, for example `-- --nocapture` or `--package kafka-restore-kafka`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    prepare()?;
    let mut command = vec!["test".to_string()];
    // With `--workspace` cargo would not look at `--package`.
    let selects = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    if !arguments
        .arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(selects)
    {
        command.push("--workspace".to_string());
    }
    command.extend(arguments.arguments.iter().cloned());
    say::step(&format!("cargo {}", command.join(" ")));
    let status = project::cargo(command).status().context("cannot run cargo")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        // The status of the test runner, so that scripts see the same thing as people.
        false => ExitCode::from(
            status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1),
        ),
    })
}

/// Everything that tests would otherwise download in the middle of a run.
fn prepare() -> Result<()> {
    for version in KafkaVersion::ALL {
        install_kafka(version)?;
    }
    say::step(
        "object-store emulators: moto (Python), azurite (Node), fake-gcs-server (Go, where it is there)",
    );
    // Starting each once downloads it where it is missing, and shows early that it runs.
    S3Emulator::start()?;
    AzureEmulator::start()?;
    FakeGcsServer::start()?;
    Ok(())
}

/// Kafka's jars, with a line that says where they come from where that takes time.
pub(crate) fn install_kafka(version: KafkaVersion) -> Result<()> {
    let number = version.number();
    match version.is_installed() {
        true => say::step(&format!("Kafka {number}: already here")),
        false => say::step(&format!(
            "Kafka {number}: getting its jars from Maven Central (45 MB, once)"
        )),
    }
    version.install().map(|_| ())
}
