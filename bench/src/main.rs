//! `kafka-restore-bench`: generates backups, runs comparisons, and is itself what the program is compared with.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use kafka::batch::Compression;
use kafka_restore_bench::dataset::{Dataset, Form, Shape};
use kafka_restore_bench::floor::{self, Stage};
use kafka_restore_bench::harness::{self, Comparison, Settings};
use kafka_restore_bench::{generate, librdkafka, listing, replay, sink, store};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of kafka-restore.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run comparisons and print their tables.
    Run {
        /// What to compare.
        comparison: Comparison,
        /// The program, built for release.
        #[arg(long)]
        program: PathBuf,
        /// The folder that keeps generated backups.
        #[arg(long)]
        data: PathBuf,
        /// The part of each data set that is used.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
        /// How often each participant runs.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Compare instructions with their record instead of writing it.
        #[arg(long)]
        check: bool,
        /// The program of kafka-backup, to take part in the comparison of peers.
        #[arg(long)]
        kafka_backup: Option<PathBuf>,
        /// Further arguments of the program, behind `--`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Write a backup and print its folder.
    Generate {
        /// How much data of which kind.
        shape: Shape,
        /// How it is stored.
        form: Form,
        /// The folder that keeps generated backups.
        #[arg(long)]
        data: PathBuf,
        /// The part of the data set that is written.
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
    /// Be a participant of a comparison.
    #[command(subcommand, hide = true)]
    Child(Child),
}

#[derive(Subcommand)]
enum Child {
    Floor {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        stage: Stage,
        /// How often the pipeline runs.
        #[arg(long, default_value_t = 1)]
        times: usize,
    },
    Replay {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        bootstrap: String,
    },
    Librdkafka {
        #[command(flatten)]
        common: Common,
        #[arg(long)]
        bootstrap: String,
    },
    /// Take batches and keep nothing.
    Sink {
        #[arg(long)]
        partitions: i32,
        /// Milliseconds from a request to its answer.
        #[arg(long, default_value_t = 0)]
        latency: u64,
        /// The same, one request after the other.
        #[arg(long, default_value_t = 0)]
        service: u64,
        /// Megabytes per second that a connection carries.
        #[arg(long)]
        bandwidth: Option<u64>,
    },
    /// Take an inventory of made-up keys.
    Listing {
        #[command(flatten)]
        keys: listing::Keys,
    },
    /// Be an object store.
    Store {
        #[arg(long)]
        from: PathBuf,
        /// Milliseconds from a request to its answer.
        #[arg(long)]
        latency: u64,
    },
}

#[derive(clap::Args)]
struct Common {
    #[arg(long)]
    from: PathBuf,
    #[arg(long)]
    codec: Compression,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let line = match command {
        Command::Run {
            comparison,
            program,
            data,
            scale,
            rounds,
            check,
            kafka_backup,
            arguments,
        } => {
            let settings = Settings {
                program,
                data,
                scale,
                rounds,
                check,
                kafka_backup,
                arguments,
            };
            return harness::run(comparison, &settings);
        }
        Command::Generate {
            shape,
            form,
            data,
            scale,
        } => {
            let dataset = Dataset { shape, form, scale };
            generate::ensure(&dataset, &data)?.display().to_string()
        }
        Command::Child(child) => participate(child)?,
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn participate(child: Child) -> Result<String> {
    let part = match child {
        Child::Floor { common, stage, times } => floor::run(stage, &common.from, common.codec, times)?,
        Child::Replay { common, bootstrap } => replay::run(&common.from, &bootstrap, common.codec)?,
        Child::Librdkafka { common, bootstrap } => librdkafka::run(&common.from, &bootstrap, common.codec)?,
        Child::Sink {
            partitions,
            latency,
            service,
            bandwidth,
        } => {
            let behaviour = sink::Behaviour {
                partitions,
                latency: Duration::from_millis(latency),
                service: Duration::from_millis(service),
                bandwidth: bandwidth.map(|megabytes| megabytes.max(1) * 1_000_000),
            };
            return Ok(serde_json::to_string(&sink::serve(behaviour, announce)?)?);
        }
        Child::Listing { keys } => return Ok(serde_json::to_string(&listing::run(keys)?)?),
        Child::Store { from, latency } => {
            let asked = store::serve(&from, Duration::from_millis(latency), announce)?;
            return Ok(serde_json::to_string(&asked)?);
        }
    };
    Ok(serde_json::to_string(&part)?)
}

/// Tells the port to who started this.
fn announce(port: u16) -> Result<()> {
    writeln!(std::io::stdout(), "{port}")?;
    Ok(())
}
