//! Runs the program and its peers in turns, against a broker of their own, and prints what each took.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use kafka::batch::Compression;
use testkit::broker::{Broker, KafkaVersion};
use testkit::{consumer, cpu};

use crate::dataset::{Dataset, Form, Shape, TOPIC};
use crate::floor::{Part, Stage};
use crate::generate;
use crate::instructions;
use crate::limits;
use crate::listing;
use crate::measure::{self, Cost};
use crate::peers;
use crate::table::{Row, table};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Comparison {
    /// The program, librdkafka and the bare replay, from csv gzip and csv, uncompressed batches.
    Restore,
    /// The same from csv gzip, with lz4 and zstd batches.
    Codecs,
    /// The program alone, from every form.
    Forms,
    /// The program's memory with every shape of data.
    Memory,
    /// The program's memory with a topic of 1 GB and one of 10 GB, into a sink.
    Growth,
    /// The program and other tools, each from its own form of backup.
    Peers,
    /// Each stage alone, on one thread, without a broker.
    Floors,
    /// The program into a sink that acknowledges at once.
    Sink,
    /// The program from a store that takes 50 ms for each request.
    Latency,
    /// The program into a sink that answers 20 ms late, or takes 50 MB/s from each connection.
    Delays,
    /// The inventory of ten million objects, from a store that makes up their keys.
    Listing,
    /// Instructions per record of decoding and encoding, from every form.
    Instructions,
}

/// How to run comparisons.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program.
    pub program: PathBuf,
    /// The folder of generated backups.
    pub data: PathBuf,
    /// The part of each data set that is used, 1.0 for all.
    pub scale: f64,
    /// How often each participant runs.
    pub rounds: usize,
    /// Whether instructions are compared with their record, or written to it.
    pub check: bool,
    /// The program of kafka-backup, another tool: it takes part where this names it.
    pub kafka_backup: Option<PathBuf>,
    /// What the program is given beside.
    pub arguments: Vec<String>,
}

/// Somebody who does the job, or a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Participant {
    Program,
    Librdkafka,
    Replay,
    Floor(Stage),
}

impl Participant {
    fn name(self) -> String {
        match self {
            Self::Program => "kafka-restore".into(),
            Self::Librdkafka => "librdkafka program".into(),
            Self::Replay => "bare replay".into(),
            Self::Floor(stage) => {
                let name = stage.to_possible_value();
                format!(
                    "{} alone, one thread",
                    name.map_or_else(String::new, |name| name.get_name().into())
                )
            }
        }
    }
}

/// Runs comparisons and prints their tables.
///
/// # Errors
///
/// Where a participant fails or does not deliver every record.
pub fn run(comparison: Comparison, settings: &Settings) -> Result<()> {
    use Participant::{Floor, Librdkafka, Program, Replay};
    say(&format!(
        "{}; Kafka {}",
        measure::conditions(),
        KafkaVersion::V4_1.number()
    ));
    let dataset = |shape, form| Dataset {
        shape,
        form,
        scale: settings.scale,
    };
    let small = |form| dataset(Shape::Small, form);
    let mut stage = Stages {
        settings,
        broker: None,
    };
    match comparison {
        Comparison::Growth => limits::growth(settings)?,
        Comparison::Peers => peers::compare(&mut stage)?,
        Comparison::Sink => limits::sink(settings)?,
        Comparison::Latency => limits::latency(settings)?,
        Comparison::Delays => limits::delays(settings)?,
        Comparison::Listing => listing::compare(settings)?,
        Comparison::Instructions => instructions::run(settings)?,
        Comparison::Restore => {
            let gzip = [
                Program,
                Librdkafka,
                Replay,
                Floor(Stage::Gunzip),
                Floor(Stage::Pipeline),
            ];
            let plain = [Program, Librdkafka, Replay, Floor(Stage::Pipeline)];
            let rows = stage.compare(small(Form::CsvGzip), Compression::None, &gzip)?;
            ratios(&rows, &[(0, 1), (0, 3)]);
            let rows = stage.compare(small(Form::Csv), Compression::None, &plain)?;
            ratios(&rows, &[(0, 1)]);
        }
        Comparison::Codecs => {
            for codec in [Compression::Lz4, Compression::Zstd] {
                let all = [Program, Librdkafka, Replay, Floor(Stage::Pipeline)];
                let rows = stage.compare(small(Form::CsvGzip), codec, &all)?;
                ratios(&rows, &[(0, 1)]);
            }
        }
        Comparison::Forms => {
            for form in Form::value_variants() {
                stage.compare(
                    small(*form),
                    Compression::None,
                    &[Program, Floor(Stage::Pipeline)],
                )?;
            }
        }
        Comparison::Memory => {
            for shape in Shape::value_variants() {
                stage.compare(dataset(*shape, Form::CsvGzip), Compression::None, &[Program])?;
            }
        }
        Comparison::Floors => {
            for form in Form::value_variants() {
                let mut all = vec![Floor(Stage::Read), Floor(Stage::Decode), Floor(Stage::Pipeline)];
                if *form == Form::CsvGzip {
                    all.extend([Floor(Stage::Gunzip), Floor(Stage::Encode)]);
                }
                stage.compare(small(*form), Compression::None, &all)?;
            }
            for codec in [Compression::Lz4, Compression::Zstd] {
                stage.compare(small(Form::Csv), codec, &[Floor(Stage::Encode)])?;
            }
        }
    }
    say(&format!("load at the end: {}", measure::load()));
    Ok(())
}

/// Where participants run: the broker is started with the first that needs one.
pub(crate) struct Stages<'a> {
    pub(crate) settings: &'a Settings,
    broker: Option<Broker>,
}

impl Stages<'_> {
    fn compare(&mut self, dataset: Dataset, codec: Compression, all: &[Participant]) -> Result<Vec<Row>> {
        note(&format!(
            "generating {} ({} records)",
            dataset.name(),
            dataset.records()
        ));
        let folder = generate::ensure(&dataset, &self.settings.data)?;
        let names = all.iter().map(|participant| participant.name()).collect();
        let rows = in_turns(names, self.settings.rounds, |number| match all[number] {
            Participant::Floor(stage) => floor(stage, &folder, codec),
            participant => self.against_broker(participant, &dataset, &folder, codec),
        })?;
        say(&format!(
            "\n### {}, {} batches, {} records, {} MB of payload, {} rounds\n\n{}",
            dataset.name(),
            codec,
            dataset.records(),
            dataset.payload_bytes() / 1_000_000,
            self.settings.rounds,
            table(&rows, dataset.records())
        ));
        Ok(rows)
    }

    fn against_broker(
        &mut self,
        participant: Participant,
        dataset: &Dataset,
        folder: &Path,
        codec: Compression,
    ) -> Result<Cost> {
        let settings = self.settings;
        let (mut cost, output) = self.fill(dataset, &participant.name(), |target| {
            let mut command = match participant {
                Participant::Program => program(settings, dataset, folder, &target.bootstrap, codec),
                Participant::Librdkafka => own_child("librdkafka", folder, codec)?,
                _ => own_child("replay", folder, codec)?,
            };
            if participant != Participant::Program {
                command.args(["--bootstrap", &target.bootstrap]);
            }
            target.measure(&mut command)
        })?;
        if participant == Participant::Replay {
            // Making the batches does not count.
            let part: Part = serde_json::from_str(&output)?;
            cost = Cost {
                wall: part.wall,
                cpu: part.cpu,
                ..cost
            };
        }
        Ok(cost)
    }

    /// Lets `work` fill a topic that is new, makes sure that every record of the data set is there, and deletes the topic.
    pub(crate) fn fill<T>(
        &mut self,
        dataset: &Dataset,
        name: &str,
        work: impl FnOnce(&Target) -> Result<T>,
    ) -> Result<T> {
        let broker = match &self.broker {
            Some(broker) => broker,
            None => {
                note("starting a broker");
                let broker =
                    Broker::builder(KafkaVersion::V4_1).property("log.segment.delete.delay.ms", "100");
                self.broker.insert(broker.start()?)
            }
        };
        let target = Target {
            bootstrap: broker.bootstrap(),
            process: broker.process_id(0)?,
        };
        let settings = [
            ("retention.ms", "-1"),
            ("message.timestamp.before.max.ms", "9223372036854775807"),
        ];
        consumer::create_topic(&target.bootstrap, TOPIC, dataset.partitions(), &settings)?;
        let result = work(&target)?;
        let marks = consumer::watermarks(&target.bootstrap, TOPIC)?;
        let delivered: i64 = marks.iter().map(|(start, end)| end - start).sum();
        if delivered.unsigned_abs() != dataset.records() {
            bail!("{name} delivered {delivered} of {} records", dataset.records());
        }
        consumer::delete_topic(&target.bootstrap, TOPIC)?;
        Ok(result)
    }
}

/// The broker that participants write to.
pub(crate) struct Target {
    pub(crate) bootstrap: String,
    process: u32,
}

impl Target {
    /// Runs a participant to its end. Gives what it took, with the broker's CPU meanwhile, and what it printed.
    pub(crate) fn measure(&self, command: &mut Command) -> Result<(Cost, String)> {
        let before = cpu::of(self.process)?;
        let (cost, output) = measure::child(command)?;
        let broker = cpu::of(self.process)? - before;
        Ok((Cost { broker, ..cost }, output))
    }
}

/// Runs participants in turns, `rounds` times each; `run` runs the one of that number.
pub(crate) fn in_turns(
    names: Vec<String>,
    rounds: usize,
    mut run: impl FnMut(usize) -> Result<Cost>,
) -> Result<Vec<Row>> {
    let row = |name| Row {
        name,
        rounds: Vec::new(),
    };
    let mut rows: Vec<Row> = names.into_iter().map(row).collect();
    for round in 1..=rounds {
        for (number, row) in rows.iter_mut().enumerate() {
            let cost = run(number)?;
            note(&format!(
                "round {round}: {}: wall {:.2} s, CPU {:.2} s, broker CPU {:.2} s, {} MiB, load {}",
                row.name,
                cost.wall,
                cost.cpu,
                cost.broker,
                cost.memory >> 20,
                measure::load()
            ));
            row.rounds.push(cost);
        }
    }
    Ok(rows)
}

/// The program, to restore a data set from `from`.
pub(crate) fn program(
    settings: &Settings,
    dataset: &Dataset,
    from: impl AsRef<OsStr>,
    bootstrap: &str,
    codec: Compression,
) -> Command {
    let mut command = Command::new(&settings.program);
    command
        .arg("restore")
        .arg("--from")
        .arg(from)
        .args(["--bootstrap-server", bootstrap, "--topic", TOPIC])
        .args(["--compression", codec.name(), "--progress", "none"])
        .args(&settings.arguments);
    match dataset.form {
        Form::JsonlGzip => command.args(["--key-as", "bytes", "--value-as", "bytes"]),
        Form::Avro | Form::Parquet => &mut command,
        Form::Csv | Form::CsvGzip | Form::CsvZstd => {
            command.args(["--fields", "key,value,offset,timestamp,headers"])
        }
    };
    command
}

/// One stage alone.
pub(crate) fn floor(stage: Stage, folder: &Path, codec: Compression) -> Result<Cost> {
    let mut command = own_child("floor", folder, codec)?;
    let stage = stage.to_possible_value().context("a stage without a name")?;
    command.args(["--stage", stage.get_name()]);
    let (cost, output) = measure::child(&mut command)?;
    let part: Part = serde_json::from_str(&output)?;
    Ok(Cost {
        wall: part.wall,
        cpu: part.cpu,
        ..cost
    })
}

/// This program again, as a participant.
fn own_child(what: &str, folder: &Path, codec: Compression) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", what])
        .arg("--from")
        .arg(folder)
        .args(["--codec", codec.name()]);
    Ok(command)
}

/// Ratios of client CPU and wall time between rows, by their places.
pub(crate) fn ratios(rows: &[Row], pairs: &[(usize, usize)]) {
    for (one, other) in pairs {
        let (Some(one), Some(other)) = (rows.get(*one), rows.get(*other)) else {
            continue;
        };
        let ratio = |of: fn(&Cost) -> f64| one.median(of) / other.median(of);
        say(&format!(
            "{} / {}: client CPU {:.2}, wall {:.2}",
            one.name,
            other.name,
            ratio(|cost| cost.cpu),
            ratio(|cost| cost.wall)
        ));
    }
}

/// A result.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// What is being done.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
