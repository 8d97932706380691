//! `cargo xtask goldens PATH`: every golden backup through the real binary into a real broker, compared with what was.
//!
//! What a set may lose is said in `testkit::expectation`, and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::expectation::{Expectation, Outcome, expectation};
use testkit::fidelity::Offsets;
use testkit::golden::GoldenSet;

use crate::storage::{Kind, Storage};
use crate::{project, say, test, verdict};

/// Restores every golden backup in a folder or .tar.xz into a real broker and compares with what was in Kafka.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder of golden sets, or a .tar.xz of one (`fixtures/goldens` is the project's own).
    path: PathBuf,
    /// Only sets whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// Where the backups are restored from; several joined by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "local")]
    storage: Vec<Kind>,
    /// Kafka's version, by its beginning.
    #[arg(long, default_value = "4.1")]
    kafka: String,
}

/// How one set ended.
enum Ending {
    Good(String),
    Bad(String),
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    let (folder, _unpacked) = folder_of(&arguments.path)?;
    let mut sets = GoldenSet::load_all(&folder)?;
    if let Some(only) = &arguments.only {
        sets.retain(|set| set.name.contains(only));
    }
    if sets.is_empty() {
        bail!("there is no golden set in {}", arguments.path.display());
    }
    let version = KafkaVersion::ALL
        .into_iter()
        .find(|version| version.number().starts_with(&arguments.kafka));
    let version = version.with_context(|| format!("the testkit has no Kafka {}", arguments.kafka))?;
    say::step("building the program (release)");
    let binary = project::build_release("kafka-restore")?;
    test::install_kafka(version)?;
    say::step(&format!(
        "starting Kafka {} for {} golden sets",
        version.number(),
        sets.len()
    ));
    let broker = Broker::builder(version).start()?;

    let mut count = Count::default();
    for kind in &arguments.storage {
        let storage = Storage::start(*kind)?;
        for set in &sets {
            let ending = restore(&binary, &broker, &storage, set)
                .unwrap_or_else(|error| Ending::Bad(format!("the check itself failed: {error:#}")));
            count.add(&format!("{} from {}", set.name, storage.name()), &ending);
        }
    }
    say::line(&format!(
        "{} restores as they must be, {} failed",
        count.good,
        count.bad.len()
    ));
    if count.bad.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say::problem(&format!("these failed: {}", count.bad.join(", ")));
    Ok(ExitCode::FAILURE)
}

#[derive(Default)]
struct Count {
    good: usize,
    bad: Vec<String>,
}

impl Count {
    /// Counts an ending and says it in one line (more where it is bad).
    fn add(&mut self, what: &str, ending: &Ending) {
        match ending {
            Ending::Good(text) => {
                self.good += 1;
                say::line(&format!("ok       {what}: {text}"));
            }
            Ending::Bad(text) => {
                self.bad.push(what.to_string());
                say::line(&format!("FAILED   {what}: {text}"));
            }
        }
    }
}

/// The folder of the sets; an archive is unpacked into a temporary one.
fn folder_of(path: &Path) -> Result<(PathBuf, Option<TempDir>)> {
    if path.is_dir() {
        // The archive's own top folder, or the folder of the sets itself.
        let inner = path.join("goldens");
        return Ok((if inner.is_dir() { inner } else { path.to_path_buf() }, None));
    }
    let folder = tempfile::Builder::new()
        .prefix("kafka-restore-goldens-")
        .tempdir()?;
    say::step(&format!("unpacking {}", path.display()));
    let status = Command::new("tar")
        .arg("-xJf")
        .arg(path)
        .arg("-C")
        .arg(folder.path())
        .status();
    if !status.context("cannot run tar (it needs xz too)")?.success() {
        bail!("cannot unpack {}", path.display());
    }
    Ok((folder.path().join("goldens"), Some(folder)))
}

/// Restores one set into fresh topics and judges what stands there.
fn restore(binary: &Path, broker: &Broker, storage: &Storage, set: &GoldenSet) -> Result<Ending> {
    let bootstrap = broker.bootstrap();
    let expected: Expectation = expectation(set, Offsets::Ignored);
    let mut topics = set.topics();
    if expected.outcome == Outcome::Beginning {
        // A topic that has no object yet is not found, which is an error.
        topics.retain(|(topic, _)| {
            set.objects
                .iter()
                .any(|object| verdict::is_of_topic(&object.key, topic))
        });
    }
    for (topic, partitions) in &topics {
        project::create_topic(&bootstrap, topic, *partitions)?;
    }
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.json");
    let source = storage.fill(set, folder.path())?;
    fs::write(
        &config,
        serde_json::to_vec(&project::config(&bootstrap, &source))?,
    )?;

    let mut arguments = vec!["-c".into(), config.into_os_string()];
    for (topic, _) in &topics {
        arguments.extend(["-t".into(), topic.into()]);
    }
    for file in set.connector_files()? {
        arguments.extend(["--connector-config".into(), file.into_os_string()]);
    }
    if expected.outcome == Outcome::LatestState {
        arguments.push("--latest-state".into());
    }
    let output = project::kafka_restore(binary, &arguments)?;
    let mut restored = Vec::new();
    for (topic, _) in &topics {
        restored.extend(consumer::read_topic(&bootstrap, topic)?);
    }
    let judged = verdict::judge(set, &expected, output.status, &restored)?;
    for (topic, _) in &topics {
        consumer::delete_topic(&bootstrap, topic)?;
    }
    Ok(match judged {
        Ok(text) => Ending::Good(text),
        Err(text) => Ending::Bad(format!("{text}\n{}", last_lines(&output.stderr))),
    })
}

/// The end of what the program said, indented.
fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(12)..];
    tail.iter()
        .map(|line| format!("           | {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
