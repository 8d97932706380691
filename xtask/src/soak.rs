//! `cargo xtask soak`: what takes too long for every test run. Original offsets at full size with time and disk, a broker
//! whose disk is full, and more than a thousand kills.

mod backup;

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use testkit::broker::{Broker, KafkaVersion};
use testkit::fidelity::{Fidelity, compare};
use testkit::{consumer, cpu};

use crate::{project, say, test};
use backup::Backup;

/// Runs what takes too long for every test run, one after the other, on brokers of its own: about half an hour.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these. [default: all]
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// A program that is built already.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How often the program is killed, in each of three tests.
    #[arg(long, default_value_t = 350)]
    kills: u32,
}

/// One of the long tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// A log whose first offset is 10^9.
    Late,
    /// A compacted topic: 10^6 records over 10^8 offsets.
    Compacted,
    /// A broker whose disk is full in the middle (Linux, as root: it needs a file system of its own).
    FullDisk,
    /// Kills at random moments, original and contiguous offsets, also behind a slow proxy.
    Kills,
}

pub(crate) fn run(arguments: &Args) -> Result<ExitCode> {
    test::install_kafka(KafkaVersion::V4_1)?;
    let program = match &arguments.program {
        Some(program) => std::path::absolute(program)?,
        None => {
            say::step("building the program (release)");
            project::build_release("kafka-restore")?
        }
    };
    let wanted = |scenario| arguments.scenarios.is_empty() || arguments.scenarios.contains(&scenario);
    say::line(
        "| what | records | offsets | until written | until done | CPU of the program | CPU of the broker | disk at the peak \
         | disk at the end |",
    );
    say::line("|---|---|---|---|---|---|---|---|---|");
    if wanted(Scenario::Late) {
        late(&program)?;
    }
    if wanted(Scenario::Compacted) {
        compacted(&program)?;
    }
    if wanted(Scenario::FullDisk) {
        full_disk(&program)?;
    }
    if wanted(Scenario::Kills) {
        kills(arguments.kills)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn late(program: &Path) -> Result<()> {
    const FIRST: i64 = 1_000_000_000;
    let broker = Broker::builder(KafkaVersion::V4_1)
        // Deleted segments go at once, so that what is left shows.
        .property("log.segment.delete.delay.ms", "1000")
        .property("log.retention.check.interval.ms", "1000")
        .start()?;
    let backup = Backup::new("late", FIRST..FIRST + 1_000)?;
    measure(program, &broker, &backup, "first offset 10^9", &[])
}

fn compacted(program: &Path) -> Result<()> {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .property("log.segment.delete.delay.ms", "1000")
        .property("log.cleaner.dedupe.buffer.size", "134217728")
        .start()?;
    // One record in a hundred offsets, at another place in each hundred.
    let offsets = (0..1_000_000).map(|index: i64| index * 100 + index.wrapping_mul(7_919) % 100);
    let backup = Backup::new("compacted", offsets)?;
    let wishes = ["--topic-config", "cleanup.policy=compact"];
    measure(program, &broker, &backup, "compacted, 10^6 over 10^8", &wishes)
}

/// Restores `backup`, reads it back, and prints a line of the table.
fn measure(program: &Path, broker: &Broker, backup: &Backup, what: &str, more: &[&str]) -> Result<()> {
    say::step(what);
    let disk = Disk::watch(broker.log_dir(0));
    let process = broker.process_id(0)?;
    let (own_before, broker_before) = (cpu::of_ended_children()?, cpu::of(process)?);
    let started = Instant::now();
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| -> Result<Duration> {
        let watcher = scope.spawn(|| {
            let mut reached = None;
            while reached.is_none() && !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
                let watermarks = consumer::watermarks(&broker.internal_bootstrap(), &backup.topic);
                let is_there = watermarks.is_ok_and(|logs| logs.iter().any(|(_, end)| *end == backup.end()));
                reached = is_there.then(|| started.elapsed());
            }
            reached
        });
        let restored = restore(program, broker, backup, more);
        done.store(true, Ordering::Relaxed);
        let reached = watcher.join().map_err(|_| anyhow::anyhow!("the watcher died"))?;
        restored?;
        Ok(reached.unwrap_or_else(|| started.elapsed()))
    })?;
    let whole = started.elapsed();
    let (own, others) = (
        cpu::of_ended_children()? - own_before,
        cpu::of(process)? - broker_before,
    );
    assert_equal(broker, backup)?;
    thread::sleep(Duration::from_secs(3));
    let (peak, end) = disk.stop();
    say::line(&format!(
        "| {what} | {} | {} | {:.1} s | {:.1} s | {own:.1} s | {others:.1} s | {:.1} MB | {:.1} MB |",
        backup.records.len(),
        backup.end(),
        written.as_secs_f64(),
        whole.as_secs_f64(),
        peak as f64 / 1e6,
        end as f64 / 1e6
    ));
    Ok(())
}

fn restore(program: &Path, broker: &Broker, backup: &Backup, more: &[&str]) -> Result<()> {
    let output = project::kafka_restore(program, arguments(broker, backup, more))?;
    ensure!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn arguments(broker: &Broker, backup: &Backup, more: &[&str]) -> Vec<String> {
    let from = backup.folder().display().to_string();
    let mut arguments: Vec<String> = ["restore", "-q", "--offsets", "exact", "--from", &from]
        .map(str::to_owned)
        .into();
    arguments.extend(["--bootstrap-server".to_owned(), broker.bootstrap()]);
    arguments.extend(["-t", &backup.topic, "--fields", "key,value,offset,timestamp"].map(str::to_owned));
    arguments.extend(more.iter().map(ToString::to_string));
    arguments
}

/// Reads the topic with librdkafka, and compares every record at its offset, and where the log begins and ends.
fn assert_equal(broker: &Broker, backup: &Backup) -> Result<()> {
    let bootstrap = broker.internal_bootstrap();
    let found = consumer::read_topic(&bootstrap, &backup.topic)?;
    if let Err(difference) = compare(&backup.records, &found, Fidelity::EXACT) {
        bail!("{}: {difference}", backup.topic);
    }
    let first = backup.records.first().map_or(0, |record| record.offset);
    let logs = consumer::watermarks(&bootstrap, &backup.topic)?;
    ensure!(logs == [(first, backup.end())], "{}: {logs:?}", backup.topic);
    Ok(())
}

/// A file system of its own, unmounted when this is dropped.
struct FileSystem(PathBuf);

impl FileSystem {
    fn new(folder: &Path, size: &str) -> Result<Self> {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder)
            .status();
        match status {
            Ok(status) if status.success() => Ok(Self(folder.to_owned())),
            _ => bail!("a file system of its own cannot be mounted: this needs Linux and root"),
        }
    }

    fn grow(&self, size: &str) -> Result<()> {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0)
            .status()?;
        ensure!(status.success(), "the file system did not grow");
        Ok(())
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // Lazily: the broker may still be dying.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The broker ends itself when its disk is full. Once there is room and it is back, the run goes on.
fn full_disk(program: &Path) -> Result<()> {
    say::step("a broker whose disk is full");
    let folder = tempfile::tempdir()?;
    let file_system = FileSystem::new(folder.path(), "48m")?;
    let data = folder.path().join("data");
    let mut broker = Broker::builder(KafkaVersion::V4_1)
        .property("log.dirs", &data.display().to_string())
        .property("log.index.size.max.bytes", "65536")
        .start()?;
    let backup = Backup::new("full", (0..400_000).map(|index| index + index / 1_000))?;
    let arguments = arguments(&broker, &backup, &["--compression", "none"]);
    let address: SocketAddr = broker.bootstrap().parse()?;
    let started = Instant::now();
    let output = thread::scope(|scope| -> Result<Output> {
        let run = scope.spawn(|| project::kafka_restore(program, arguments));
        while TcpStream::connect(address).is_ok() {
            ensure!(!run.is_finished(), "the disk was large enough");
            thread::sleep(Duration::from_millis(100));
        }
        say::step(&format!(
            "the broker is gone after {:.1} s",
            started.elapsed().as_secs_f64()
        ));
        thread::sleep(Duration::from_secs(5));
        ensure!(!run.is_finished(), "the run did not wait for the broker");
        file_system.grow("512m")?;
        broker.restart(0)?;
        run.join().map_err(|_| anyhow::anyhow!("the runner died"))?
    })?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_equal(&broker, &backup)?;
    restore(program, &broker, &backup, &[])?;
    assert_equal(&broker, &backup)?;
    say::line(&format!(
        "| disk full in the middle | {} | {} | | {:.1} s | | | | |",
        backup.records.len(),
        backup.end(),
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The tests that kill, with more kills.
fn kills(number: u32) -> Result<()> {
    say::step(&format!("three times {number} kills"));
    let started = Instant::now();
    let status = project::cargo(["test", "--package", "kafka-restore", "--test", "it", "killed::"])
        .env("TEST_KILLS", number.to_string())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the tests that kill have failed");
    say::line(&format!(
        "| {} kills at random moments | | | | {:.0} s | | | | |",
        3 * number,
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The bytes that a folder takes on disk, looked at again and again.
struct Disk {
    folder: PathBuf,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<()>,
}

impl Disk {
    fn watch(folder: PathBuf) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let watcher = {
            let (folder, peak, stop) = (folder.clone(), peak.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    peak.fetch_max(size(&folder), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(250));
                }
            })
        };
        Self {
            folder,
            peak,
            stop,
            watcher,
        }
    }

    /// The most that was seen, and what it is now.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.watcher.join();
        (self.peak.load(Ordering::Relaxed), size(&self.folder))
    }
}

/// Blocks in use, not lengths: brokers reserve index files that are mostly holes.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
