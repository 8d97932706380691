//! `cargo xtask quickstart`: a real backup, back in a real Kafka, from nothing, with a proof at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::expectation::expectation;
use testkit::fidelity::{self, Offsets};
use testkit::golden::GoldenSet;
use testkit::record::TruthRecord;

use crate::storage::Storage;
use crate::{project, say, test};

/// The backup that is restored: written by Aiven's GCS sink connector 3.4.2 as gzipped csv, complete.
const BACKUP: &str = "gcs-csv-gzip";
const TOPIC: &str = "orders";

/// Builds the program, starts a Kafka broker, restores a real backup into it and compares record by record.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the broker, the backup and the config file in place, to go on from there.
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    say::step("building the program (release; a few minutes the first time)");
    let binary = project::build_release("kafka-restore")?;
    test::install_kafka(KafkaVersion::V4_1)?;

    say::step("starting a Kafka broker on a free port of 127.0.0.1");
    let broker = Broker::builder(KafkaVersion::V4_1).start()?;
    let bootstrap = broker.bootstrap();
    let set = GoldenSet::fixture(BACKUP)?;
    let truth = set.truth()?;
    let partitions = set
        .topics()
        .iter()
        .find(|(topic, _)| topic == TOPIC)
        .map_or(1, |(_, count)| *count);
    say::step(&format!(
        "creating topic {TOPIC} with {partitions} partitions at {bootstrap}"
    ));
    project::create_topic(&bootstrap, TOPIC, partitions)?;

    let folder = tempfile::Builder::new()
        .prefix("kafka-restore-quickstart-")
        .tempdir()?;
    let config = folder.path().join("config.json");
    let source = Storage::Local.fill(&set, folder.path())?;
    fs::write(
        &config,
        serde_json::to_vec_pretty(&project::config(&bootstrap, &source))?,
    )?;
    say::step(&format!(
        "the backup: {} objects that a sink connector wrote from {} records",
        set.objects.len(),
        truth.len()
    ));

    say::step(&format!(
        "{} -c {} -t {TOPIC}",
        binary.display(),
        config.display()
    ));
    let output = project::kafka_restore(
        &binary,
        ["-c".as_ref(), config.as_os_str(), "-t".as_ref(), TOPIC.as_ref()],
    )?;
    for stream in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(stream).lines() {
            say::line(&format!("    {line}"));
        }
    }
    if !output.status.success() {
        bail!("kafka-restore ended with {}", output.status);
    }

    say::step(
        "reading the topic back with an independent client (librdkafka) and comparing with the original",
    );
    let restored = consumer::read_topic(&bootstrap, TOPIC)?;
    let expected = expectation(&set, Offsets::Ignored);
    fidelity::compare(&truth, &restored, expected.fidelity).context("the topic is not what it was")?;
    show(&truth, &restored);
    say::line(&format!(
        "All {} records are back: every key, value and timestamp, in order, in {:.0} s.",
        restored.len(),
        start.elapsed().as_secs_f64()
    ));
    if let Some(except) = set.meta["fidelity"]["lossless_except"].as_str() {
        say::line(&format!("What this backup never held: {except}."));
    }
    next(arguments, &binary, &config, broker, folder)
}

/// A table of what was and what is, by partition.
fn show(truth: &[TruthRecord], restored: &[TruthRecord]) {
    let mut rows: BTreeMap<i32, [Vec<i64>; 2]> = BTreeMap::new();
    for (column, records) in [truth, restored].into_iter().enumerate() {
        for record in records {
            rows.entry(record.partition).or_default()[column].push(record.offset);
        }
    }
    let range = |offsets: &[i64]| match (offsets.iter().min(), offsets.iter().max()) {
        (Some(first), Some(last)) => format!("{first}..={last}"),
        _ => "-".to_string(),
    };
    say::line("");
    say::line("  partition  records in source  restored  source offsets  target offsets");
    for (partition, [source, target]) in rows {
        say::line(&format!(
            "  {partition:>9}  {:>17}  {:>8}  {:>14}  {:>14}",
            source.len(),
            target.len(),
            range(&source),
            range(&target)
        ));
    }
    say::line("");
}

/// What to try next; with `--keep` everything stays in place for it.
fn next(
    arguments: &Args,
    binary: &Path,
    config: &Path,
    broker: Broker,
    folder: tempfile::TempDir,
) -> Result<ExitCode> {
    if !arguments.keep {
        say::line("The broker is gone and everything is cleaned up. Next:");
        say::line("    cargo xtask quickstart --keep      the same, and the broker stays for your own tries");
        say::line(&format!("    {} --help", binary.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let bootstrap = broker.bootstrap();
    let kept = broker.keep()?;
    let folder = folder.keep();
    let (binary, config) = (binary.display(), config.display());
    let processes: Vec<String> = kept.processes.iter().map(ToString::to_string).collect();
    say::line(&format!("The broker stays at {bootstrap}. Next:"));
    say::line(&format!("    {binary} inspect -c {config}"));
    say::line(&format!("    {binary} plan -c {config} -t {TOPIC}"));
    say::line(&format!("    {binary} restore -c {config} -t {TOPIC} --append"));
    say::line(&format!("    {binary} restore --help"));
    say::line("To stop it and clean up:");
    say::line(&format!(
        "    kill {} && rm -rf {} {}",
        processes.join(" "),
        kept.folder.display(),
        folder.display()
    ));
    Ok(ExitCode::SUCCESS)
}
