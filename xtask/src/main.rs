//! What a person types: `cargo xtask quickstart`, `cargo xtask test`, `cargo xtask goldens PATH`, `cargo xtask bench`,
//! `cargo xtask soak`.
//!
//! Each command is one file with its `Args` and one `run`. Everything they start (brokers, emulators) they end. What
//! tests share with them lies in `testkit`.

mod bench;
mod goldens;
mod project;
mod quickstart;
mod say;
mod soak;
mod storage;
mod test;
mod verdict;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the kafka-restore project.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Quickstart(quickstart::Args),
    Test(test::Args),
    Goldens(goldens::Args),
    Bench(bench::Args),
    Soak(soak::Args),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Quickstart(arguments) => quickstart::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Goldens(arguments) => goldens::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say::problem(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
