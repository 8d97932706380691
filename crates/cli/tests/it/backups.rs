//! Backups made for a test, with what was in Kafka before, and the program run on them against a real broker.

use std::fmt::Write as _;
use std::fs::File;
use std::process::{Child, Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::fidelity::{Fidelity, Field, HeaderFidelity, Offsets, compare};
use testkit::record::{TimestampType, TruthRecord};

use crate::environment::TestEnvironment;

/// 2015-03-04, in milliseconds: old enough that brokers forget who produced it.
pub(crate) const OLD: i64 = 1_425_427_200_000;

/// The broker of all tests that leave theirs alone.
pub(crate) fn broker() -> &'static Broker {
    Broker::shared(KafkaVersion::V4_1)
}

/// A csv backup in a folder named `backup`, and its records as they were in Kafka.
pub(crate) struct Backup {
    pub(crate) environment: TestEnvironment,
    pub(crate) topic: String,
    pub(crate) records: Vec<TruthRecord>,
}

/// What a [`Backup`] is made of.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Partitions.
    pub(crate) partitions: i32,
    /// Records of each.
    pub(crate) records: i64,
    /// Records of each object.
    pub(crate) per_object: i64,
    /// Source offset of the first record, in partition p: this times p.
    pub(crate) first: i64,
    /// After so many records an offset has none; 0 for no gaps.
    pub(crate) gap_every: i64,
    /// Bytes of each value, at least.
    pub(crate) value_bytes: usize,
}

impl Shape {
    /// Three partitions of 40 records in objects of 10, from offset 0, without gaps.
    pub(crate) const SMALL: Shape = Shape {
        partitions: 3,
        records: 40,
        per_object: 10,
        first: 0,
        gap_every: 0,
        value_bytes: 10,
    };
}

impl Backup {
    /// Makes a backup of `topic`.
    pub(crate) fn new(topic: &str, shape: Shape) -> Self {
        let environment = TestEnvironment::new();
        let mut records = Vec::new();
        for partition in 0..shape.partitions {
            let mut offset = shape.first * i64::from(partition);
            let mut object = (offset, String::new());
            for index in 0..shape.records {
                if index > 0 && index % shape.per_object == 0 {
                    environment.write(&format!("backup/{topic}-{partition}-{}", object.0), &object.1);
                    object = (offset, String::new());
                }
                let record = record(topic, partition, offset, shape.value_bytes);
                object.1.push_str(&csv_line(&record));
                records.push(record);
                let gap = shape.gap_every > 0 && (index + 1) % shape.gap_every == 0;
                offset += 1 + i64::from(gap);
            }
            environment.write(&format!("backup/{topic}-{partition}-{}", object.0), &object.1);
        }
        Self {
            environment,
            topic: topic.to_owned(),
            records,
        }
    }

    /// The arguments of a restore of all of it into the broker at `bootstrap`.
    pub(crate) fn arguments<'a>(&'a self, bootstrap: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["restore"];
        arguments.extend(self.places(bootstrap));
        arguments.extend(more);
        arguments
    }

    /// Where the backup is, where the cluster is, and which topic.
    pub(crate) fn places<'a>(&'a self, bootstrap: &'a str) -> Vec<&'a str> {
        vec![
            "--from",
            "backup",
            "--bootstrap-server",
            bootstrap,
            "-t",
            &self.topic,
            "--fields",
            "key,value,offset,timestamp",
        ]
    }

    /// Restores all of it into the shared broker.
    pub(crate) fn restore(&self, more: &[&str]) -> Output {
        let bootstrap = broker().bootstrap();
        self.environment.run(&self.arguments(&bootstrap, more))
    }

    /// Restores, and gives the report.
    pub(crate) fn restore_json(&self, more: &[&str]) -> (Option<i32>, serde_json::Value) {
        let output = self.restore(&[&["--json", "--progress", "none"], more].concat());
        let report =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {}", talk(&output)));
        (output.status.code(), report)
    }

    /// The records of a partition.
    pub(crate) fn partition(&self, partition: i32) -> Vec<TruthRecord> {
        self.records
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect()
    }

    /// The records with contiguous offsets from 0 in each partition.
    pub(crate) fn contiguous(&self) -> Vec<TruthRecord> {
        contiguous(&self.records)
    }
}

/// A record of 2015 that says where it stood. Its value is not compressible to nothing.
pub(crate) fn record(topic: &str, partition: i32, offset: i64, value_bytes: usize) -> TruthRecord {
    let mut value = format!("{partition}/{offset}:");
    let mut state = (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (partition as u64) << 7;
    while value.len() < value_bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(value, "{:x}", state >> 32);
    }
    TruthRecord {
        topic: topic.to_owned(),
        partition,
        offset,
        timestamp: OLD + offset * 10,
        timestamp_type: TimestampType::CreateTime,
        key: Some(format!("key-{}", offset % 97).into_bytes()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}

/// The line of a csv file with key, value, offset and timestamp.
pub(crate) fn csv_line(record: &TruthRecord) -> String {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_ref()
            .map_or_else(String::new, |bytes| STANDARD.encode(bytes))
    };
    format!(
        "{},{},{},{}\n",
        text(&record.key),
        text(&record.value),
        record.offset,
        record.timestamp
    )
}

/// The same records with the offsets of a target that was empty.
pub(crate) fn contiguous(records: &[TruthRecord]) -> Vec<TruthRecord> {
    let mut next = std::collections::BTreeMap::new();
    let mut records = records.to_vec();
    for record in &mut records {
        let next = next.entry((record.topic.clone(), record.partition)).or_insert(0);
        record.offset = *next;
        *next += 1;
    }
    records
}

/// The same records in another topic.
pub(crate) fn renamed(records: &[TruthRecord], topic: &str) -> Vec<TruthRecord> {
    let mut records = records.to_vec();
    for record in &mut records {
        record.topic = topic.to_owned();
    }
    records
}

/// Panics unless `topic` holds `expected`, record by record, offset by offset, as librdkafka reads it.
pub(crate) fn assert_holds(broker: &Broker, topic: &str, expected: &[TruthRecord]) {
    let found = consumer::read_topic(&broker.internal_bootstrap(), topic).unwrap();
    if let Err(difference) = compare(expected, &found, CSV) {
        panic!("{topic}: {difference}");
    }
}

/// What a csv backup of key, value, offset and timestamp gives back.
pub(crate) const CSV: Fidelity = Fidelity {
    key: Field::Exact,
    value: Field::Exact,
    headers: HeaderFidelity::Exact,
    timestamps: true,
    timestamp_types: true,
    offsets: Offsets::Exact,
};

/// Everything that the program said, with its exit status.
pub(crate) fn talk(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Panics unless the program ended with `status` and said all of `words`.
pub(crate) fn assert_says(output: &Output, status: i32, words: &[&str]) {
    let said = talk(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said: {said}");
    }
}

/// The program while it runs; killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    log: std::path::PathBuf,
}

impl Running {
    /// Starts it; what it says goes to a file in the environment's folder.
    pub(crate) fn start(environment: &TestEnvironment, name: &str, arguments: &[&str]) -> Self {
        let log = environment.folder().join(name);
        let file = File::create(&log).unwrap();
        let child = Command::new(assert_cmd::cargo::cargo_bin("kafka-restore"))
            .env_clear()
            .current_dir(environment.folder())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// The exit status where it has ended.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child
            .try_wait()
            .unwrap()
            .map(|status| status.code().unwrap_or(-1))
    }

    /// Kills it the hard way.
    pub(crate) fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end and gives its exit status.
    pub(crate) fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Asks until `condition` holds.
///
/// # Panics
///
/// After two minutes.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The log ends of a topic's partitions.
pub(crate) fn ends(broker: &Broker, topic: &str) -> Vec<i64> {
    let watermarks = consumer::watermarks(&broker.internal_bootstrap(), topic).unwrap();
    watermarks.into_iter().map(|(_, end)| end).collect()
}
