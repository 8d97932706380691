//! Other tools that fill a topic with as many records of the same size, in turns with the program.
//!
//! Each reads what it can read: the program the sinks' csv; `kafka-backup` (by OSO) its own archive, which it makes itself
//! from a topic that the program has restored; Kafka's `ProducerPerformance`, the program behind
//! `kafka-producer-perf-test.sh`, nothing: it makes values of the size of key and value together. `kafka-backup` takes
//! part where its program is named, with two settings: its own, and the best that were found. Its batches are always
//! zstd, so the program runs once with zstd, too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kafka::batch::Compression;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::KafkaVersion;

use crate::dataset::{Dataset, Form, KEY_BYTES, Shape, TOPIC};
use crate::generate;
use crate::harness::{Stages, Target, in_turns, note, program, ratios, say};
use crate::measure::Cost;
use crate::table::table;

/// Who takes part.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Program(Form, Compression),
    Performance,
    KafkaBackup(Setting),
}

/// How `kafka-backup` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// Everything as it is where nothing is said.
    Defaults,
    /// Records as they were, without the headers that it adds; all partitions side by side, batches of 1 MiB.
    Tuned,
}

impl Setting {
    /// The name of its archive.
    fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Tuned => "tuned",
        }
    }

    fn backup(self) -> Value {
        match self {
            Self::Defaults => json!({ "stop_at_current_offsets": true }),
            Self::Tuned => json!({ "stop_at_current_offsets": true, "include_offset_headers": false }),
        }
    }

    fn restore(self, dataset: &Dataset) -> Value {
        match self {
            Self::Defaults => json!({}),
            Self::Tuned => json!({
                "max_concurrent_partitions": dataset.partitions(),
                "produce_batch_size": 100_000,
            }),
        }
    }
}

impl Peer {
    fn name(self) -> String {
        match self {
            Self::Program(Form::Csv, _) => "kafka-restore, csv".into(),
            Self::Program(_, Compression::None) => "kafka-restore, csv gzip".into(),
            Self::Program(_, codec) => format!("kafka-restore, csv gzip, {codec} batches"),
            Self::Performance => "producer-perf-test".into(),
            Self::KafkaBackup(setting) => format!("kafka-backup, {}", setting.name()),
        }
    }
}

fn dataset(stage: &Stages<'_>, form: Form) -> Dataset {
    Dataset {
        shape: Shape::Small,
        form,
        scale: stage.settings.scale,
    }
}

/// Runs the program and its peers in turns and prints what each took.
///
/// # Errors
///
/// Where one of them fails or does not deliver every record.
pub(crate) fn compare(stage: &mut Stages<'_>) -> Result<()> {
    let mut peers = vec![
        Peer::Program(Form::CsvGzip, Compression::None),
        Peer::Program(Form::Csv, Compression::None),
        Peer::Program(Form::CsvGzip, Compression::Zstd),
        Peer::Performance,
    ];
    let archives = TempDir::new_in(make(&stage.settings.data)?)?;
    match &stage.settings.kafka_backup {
        None => say("kafka-backup is left out: --kafka-backup names its program"),
        Some(other) => {
            let settings = [Setting::Tuned, Setting::Defaults];
            peers.extend(settings.map(Peer::KafkaBackup));
            archive(stage, other, archives.path(), &settings)?;
        }
    }
    let names = peers.iter().map(|peer| peer.name()).collect();
    let rows = in_turns(names, stage.settings.rounds, |number| {
        run(stage, peers[number], archives.path())
    })?;
    let dataset = dataset(stage, Form::CsvGzip);
    say(&format!(
        "\n### peers, {} records, {} MB of payload, {} rounds\n\n{}",
        dataset.records(),
        dataset.payload_bytes() / 1_000_000,
        stage.settings.rounds,
        table(&rows, dataset.records())
    ));
    ratios(&rows, &[(0, 3), (0, 4), (0, 5), (2, 4), (2, 5)]);
    Ok(())
}

fn make(folder: &Path) -> Result<&Path> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Lets `kafka-backup` back up a topic that the program has restored, once for each setting.
fn archive(stage: &mut Stages<'_>, other: &Path, archives: &Path, settings: &[Setting]) -> Result<()> {
    let dataset = dataset(stage, Form::CsvGzip);
    note(&format!("generating {}", dataset.name()));
    let folder = generate::ensure(&dataset, &stage.settings.data)?;
    let own = stage.settings;
    stage.fill(&dataset, "kafka-restore", |target| {
        target.measure(&mut program(
            own,
            &dataset,
            &folder,
            &target.bootstrap,
            Compression::None,
        ))?;
        for setting in settings {
            let (cost, _) = target.measure(&mut kafka_backup(
                other,
                archives,
                "backup",
                *setting,
                json!({
                    "source": cluster(target),
                    "backup": setting.backup(),
                }),
            )?)?;
            note(&format!(
                "kafka-backup, {}: archive made: wall {:.2} s, CPU {:.2} s, {} MiB",
                setting.name(),
                cost.wall,
                cost.cpu,
                cost.memory >> 20
            ));
        }
        Ok(())
    })
}

fn run(stage: &mut Stages<'_>, peer: Peer, archives: &Path) -> Result<Cost> {
    let own = stage.settings;
    let dataset = dataset(
        stage,
        match peer {
            Peer::Program(form, _) => form,
            _ => Form::CsvGzip,
        },
    );
    let folder = match peer {
        Peer::Program(..) => Some(generate::ensure(&dataset, &own.data)?),
        _ => None,
    };
    let (cost, _) = stage.fill(&dataset, &peer.name(), |target| {
        let mut command = match peer {
            Peer::Program(_, codec) => program(
                own,
                &dataset,
                folder.unwrap_or_default(),
                &target.bootstrap,
                codec,
            ),
            Peer::Performance => performance(&dataset, target)?,
            Peer::KafkaBackup(setting) => kafka_backup(
                own.kafka_backup.as_deref().context("no program")?,
                archives,
                "restore",
                setting,
                json!({ "target": cluster(target), "restore": setting.restore(&dataset) }),
            )?,
        };
        target.measure(&mut command)
    })?;
    Ok(cost)
}

fn cluster(target: &Target) -> Value {
    json!({ "bootstrap_servers": [target.bootstrap], "topics": { "include": [TOPIC] } })
}

/// `kafka-backup` with a configuration: YAML, of which JSON is a part.
fn kafka_backup(
    other: &Path,
    archives: &Path,
    mode: &str,
    setting: Setting,
    mut config: Value,
) -> Result<Command> {
    config["mode"] = mode.into();
    config["backup_id"] = setting.name().into();
    config["storage"] = json!({ "backend": "filesystem", "path": archives });
    let file = archives.join(format!("{mode}-{}.yaml", setting.name()));
    std::fs::write(&file, serde_json::to_string_pretty(&config)?)?;
    let mut command = Command::new(other);
    command
        .args([mode, "--config"])
        .arg(file)
        .current_dir(archives)
        .env("RUST_LOG", "warn");
    Ok(command)
}

/// Kafka's own measuring program, with the heap that its script gives it and batches like the program's.
fn performance(dataset: &Dataset, target: &Target) -> Result<Command> {
    let mut command = Command::new("java");
    command
        .arg("-Xmx512m")
        .args(KafkaVersion::V4_1.install_tools()?.class_path_arguments())
        .args(["org.apache.kafka.tools.ProducerPerformance", "--topic", TOPIC])
        .args(["--num-records", &dataset.records().to_string()])
        .args(["--record-size", &(dataset.value_bytes() + KEY_BYTES).to_string()])
        .args(["--throughput", "-1", "--producer-props"])
        .arg(format!("bootstrap.servers={}", target.bootstrap))
        .args([
            "acks=all",
            "batch.size=1048576",
            "linger.ms=100",
            "buffer.memory=134217728",
            "max.request.size=8388608",
        ]);
    Ok(command)
}
