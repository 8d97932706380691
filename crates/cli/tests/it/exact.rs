//! `--offsets exact` and `auto` against real brokers: every record at the offset it had, logs that begin where the
//! source's began, nothing to be seen in the gaps.

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer::{self, Isolation, read_topic_as};
use testkit::expectation::expectation;
use testkit::fidelity::{Offsets, compare};
use testkit::golden::GoldenSet;
use testkit::java;
use testkit::record::TruthRecord;

use crate::backups::{CSV, Running, assert_says, csv_line, ends, record, talk, until};
use crate::environment::TestEnvironment;

/// A csv backup of one topic, whose partitions have records at chosen offsets.
struct Backup {
    environment: TestEnvironment,
    topic: String,
    records: Vec<TruthRecord>,
}

/// Records of each object.
const PER_OBJECT: usize = 20_000;

impl Backup {
    fn new(topic: &str, partitions: &[Vec<i64>]) -> Self {
        let environment = TestEnvironment::new();
        let mut all = Vec::new();
        for (partition, offsets) in (0..).zip(partitions) {
            for part in offsets.chunks(PER_OBJECT) {
                let records: Vec<_> = part
                    .iter()
                    .map(|offset| record(topic, partition, *offset, 10))
                    .collect();
                let text: String = records.iter().map(csv_line).collect();
                environment.write(&format!("backup/{topic}-{partition}-{}", part[0]), text);
                all.extend(records);
            }
        }
        Self {
            environment,
            topic: topic.to_owned(),
            records: all,
        }
    }

    /// With keys that are all different, as a compacted topic has them at rest.
    fn keyed(topic: &str, offsets: &[i64]) -> Self {
        let environment = TestEnvironment::new();
        let mut all = Vec::new();
        for part in offsets.chunks(PER_OBJECT) {
            let mut text = String::new();
            for offset in part {
                let mut record = record(topic, 0, *offset, 10);
                record.key = Some(format!("key {offset}").into_bytes());
                text.push_str(&csv_line(&record));
                all.push(record);
            }
            environment.write(&format!("backup/{topic}-0-{}", part[0]), text);
        }
        Self {
            environment,
            topic: topic.to_owned(),
            records: all,
        }
    }

    fn arguments<'a>(&'a self, command: &'a str, bootstrap: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec![command, "--from", "backup", "--bootstrap-server", bootstrap];
        arguments.extend(["-t", &self.topic, "--fields", "key,value,offset,timestamp", "-q"]);
        arguments.extend(more);
        arguments
    }

    fn run(&self, command: &str, broker: &Broker, more: &[&str]) -> std::process::Output {
        let bootstrap = broker.bootstrap();
        self.environment.run(&self.arguments(command, &bootstrap, more))
    }

    fn restore(&self, broker: &Broker, more: &[&str]) -> String {
        let output = self.run("restore", broker, more);
        assert_says(&output, 0, &[]);
        talk(&output)
    }

    /// Panics unless both kinds of consumers see every record where it was and nothing else, and the logs begin at the
    /// first record and end behind the last.
    fn assert_exact(&self, broker: &Broker) {
        let bootstrap = broker.internal_bootstrap();
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let found = read_topic_as(&bootstrap, &self.topic, isolation).unwrap();
            if let Err(difference) = compare(&self.records, &found, CSV) {
                panic!("{} {isolation:?}: {difference}", self.topic);
            }
        }
        self.assert_logs(&consumer::watermarks(&bootstrap, &self.topic).unwrap());
    }

    /// The same as Kafka's own client sees it.
    fn assert_exact_in_java(&self, version: KafkaVersion, broker: &Broker) {
        let views = java::read_topics(version, &broker.internal_bootstrap(), &[&self.topic]).unwrap();
        assert_eq!(views.len(), 2);
        for (topic, isolation, view) in views {
            if let Err(difference) = compare(&self.records, &view.records, CSV) {
                panic!("{topic}, Java, {isolation:?}: {difference}");
            }
            self.assert_logs(&view.logs);
        }
    }

    fn assert_logs(&self, logs: &[(i64, i64)]) {
        for (partition, (start, end)) in (0..).zip(logs) {
            let of: Vec<i64> = self
                .records
                .iter()
                .filter(|record| record.partition == partition)
                .map(|record| record.offset)
                .collect();
            assert_eq!(
                (Some(start), Some(*end)),
                (of.first(), of.last().map(|last| last + 1)),
                "{}-{partition}",
                self.topic
            );
        }
    }
}

#[test]
fn gaps_and_late_beginnings_on_both_versions() {
    let partitions = [
        (1005..1400).filter(|offset| offset % 7 != 0).collect(),
        (0..300).collect(),
        vec![0, 5_000, 5_001, 250_000],
        vec![123_456],
    ];
    for version in KafkaVersion::ALL {
        let broker = Broker::shared(version);
        let backup = Backup::new("exact-small", &partitions);
        let said = backup.restore(broker, &["--offsets", "exact"]);
        assert!(
            said.contains("its logs begin at their first records now"),
            "{said}"
        );
        backup.assert_exact(broker);
        backup.assert_exact_in_java(version, broker);
        // Once more: nothing to do, and nothing is changed.
        let again = backup.restore(broker, &["--offsets", "exact", "--verify-existing"]);
        assert!(again.contains("0 records restored"), "{again}");
        backup.assert_exact(broker);
        // Auto goes on with what it finds.
        backup.restore(broker, &[]);
        backup.assert_exact(broker);
        assert_says(
            &backup.run("verify", broker, &["--offsets", "exact"]),
            0,
            &["all equal"],
        );
    }
}

#[test]
fn real_backups_keep_their_offsets() {
    for name in ["gcs-read-committed", "gcs-csv-gzip", "gcs-jsonl-gzip"] {
        let broker = Broker::shared(KafkaVersion::V4_1);
        let set = GoldenSet::fixture(name).unwrap();
        let expected = expectation(&set, Offsets::Exact);
        let environment = TestEnvironment::new();
        set.write_to(&environment.folder().join("backup")).unwrap();
        let bootstrap = broker.bootstrap();
        let connector = set.connector_file().display().to_string();
        let mut arguments: Vec<String> = [
            "restore",
            "--from",
            "backup",
            "--bootstrap-server",
            &bootstrap,
            "-q",
        ]
        .map(String::from)
        .into();
        arguments.extend(["--connector-config", &connector, "--offsets", "exact"].map(String::from));
        for (topic, partitions) in set.topics() {
            arguments.extend(["-t".into(), topic.clone(), "--rename".into()]);
            arguments.extend([
                format!("{topic}=exact.{name}.{topic}"),
                "--partitions".into(),
                partitions.to_string(),
            ]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_says(&environment.run(&arguments), 0, &[]);
        let truth: Vec<TruthRecord> = set
            .truth()
            .unwrap()
            .into_iter()
            .filter(|record| name != "gcs-read-committed" || !set.aborted(record))
            .collect();
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let mut found = Vec::new();
            for (topic, _) in set.topics() {
                let target = format!("exact.{name}.{topic}");
                let records = read_topic_as(&broker.internal_bootstrap(), &target, isolation).unwrap();
                found.extend(crate::backups::renamed(&records, &topic));
            }
            if let Err(difference) = compare(&truth, &found, expected.fidelity) {
                panic!("{name} {isolation:?}: {difference}");
            }
        }
        // Kafka's own client, both ways, and this program's.
        let topics = set.topics();
        let targets: Vec<String> = topics
            .iter()
            .map(|(topic, _)| format!("exact.{name}.{topic}"))
            .collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        let views = java::read_topics(KafkaVersion::V4_1, &broker.internal_bootstrap(), &targets).unwrap();
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let mut found = Vec::new();
            for (topic, _) in &topics {
                let target = format!("exact.{name}.{topic}");
                let (_, _, view) = views
                    .iter()
                    .find(|(seen, at, _)| *seen == target && *at == isolation)
                    .unwrap();
                found.extend(crate::backups::renamed(&view.records, topic));
            }
            if let Err(difference) = compare(&truth, &found, expected.fidelity) {
                panic!("{name}, Java, {isolation:?}: {difference}");
            }
        }
        let mut verify = vec!["verify"];
        let mut rest = arguments[1..].iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--partitions" => drop(rest.next()),
                other => verify.push(other),
            }
        }
        assert_says(&environment.run(&verify), 0, &["all equal"]);
    }
}

#[test]
fn a_log_that_begins_at_a_hundred_million() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let backup = Backup::new("exact-late", &[(100_000_000..100_000_100).collect()]);
    let said = backup.restore(broker, &["--offsets", "exact", "--exact-limit", "1s,5GB"]);
    // What it costs is measured while it goes on.
    for words in [
        "original offsets: 100 000 000 without records were filled",
        "at the rate measured here",
        "more than --exact-limit allows (1 s)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    backup.assert_exact(broker);
}

#[test]
fn a_kill_while_offsets_are_filled() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let backup = Backup::new("exact-killed", &[(30_000_000..30_000_100).collect()]);
    let bootstrap = broker.bootstrap();
    let arguments = backup.arguments("restore", &bootstrap, &["--offsets", "exact"]);
    let mut running = Running::start(&backup.environment, "first.log", &arguments);
    let exists = || {
        consumer::topics(&broker.internal_bootstrap())
            .unwrap()
            .contains(&backup.topic)
    };
    until("the filling", || exists() && ends(broker, &backup.topic)[0] > 0);
    running.kill9();
    // Auto knows the beginning of original offsets from fillers alone.
    let said = backup.restore(broker, &[]);
    assert!(said.contains("went on from where an earlier run ended"), "{said}");
    backup.assert_exact(broker);
}

#[test]
fn a_broker_that_forgets_where_logs_begin() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
    let backup = Backup::new(
        "exact-forgotten",
        &[(300_000..300_100).collect(), (0..100).collect()],
    );
    backup.restore(&broker, &["--offsets", "exact"]);
    backup.assert_exact(&broker);
    // Log starts are written down once a minute.
    broker.kill9(0).unwrap();
    broker.restart(0).unwrap();
    let starts: Vec<i64> = consumer::watermarks(&broker.internal_bootstrap(), &backup.topic)
        .unwrap()
        .into_iter()
        .map(|(start, _)| start)
        .collect();
    assert_eq!(starts, [0, 0], "this broker does not forget");
    for offsets in ["exact", "auto"] {
        let output = backup.run("verify", &broker, &["--offsets", offsets]);
        assert_says(&output, 3, &["equal, with fillers", "300 000 null records"]);
    }
    backup.restore(&broker, &["--offsets", "exact"]);
    backup.assert_exact(&broker);
    assert_says(&backup.run("verify", &broker, &[]), 0, &["all equal"]);
}

#[test]
fn a_hundred_thousand_single_gaps() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let partitions: Vec<Vec<i64>> = (0..20).map(|_| (0..10_000).step_by(2).collect()).collect();
    let backup = Backup::new("exact-gaps", &partitions);
    let said = backup.restore(broker, &["--offsets", "exact"]);
    assert!(
        said.contains("original offsets: 99 980 without records were filled"),
        "{said}"
    );
    backup.assert_exact(broker);
}

#[test]
fn a_gap_of_a_million() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let backup = Backup::new("exact-wide", &[vec![3, 4, 1_000_005, 1_000_006]]);
    backup.restore(broker, &["--offsets", "exact"]);
    backup.assert_exact(broker);
}

#[test]
fn a_compacted_topic_loses_its_fillers() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let offsets: Vec<i64> = (0..100_000)
        .map(|index| 1_000 + index * 100 + index % 37)
        .collect();
    let backup = Backup::keyed("exact-compacted", &offsets);
    let said = backup.restore(
        broker,
        &["--offsets", "exact", "--topic-config", "cleanup.policy=compact"],
    );
    assert!(said.contains("the log cleaner has removed all"), "{said}");
    backup.assert_exact(broker);
    backup.assert_exact_in_java(KafkaVersion::V4_1, broker);
    let output = backup.run("verify", broker, &["--offsets", "exact"]);
    assert_says(&output, 0, &["all equal"]);
}

/// A snapshot of the source tells where its logs ended: behind markers of transactions, and of partitions without records.
#[test]
fn logs_end_where_a_snapshot_says() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let bootstrap = broker.internal_bootstrap();
    let (source, target) = ("snapshot-source", "snapshot-target");
    consumer::create_topic(&bootstrap, source, 4, &[]).unwrap();
    let of = |partition: i32, count: i64| -> Vec<TruthRecord> {
        (0..count)
            .map(|offset| record(source, partition, offset, 10))
            .collect()
    };
    // Partition 0 ends behind a commit, 1 behind an abort and nothing else, 2 in order, 3 is empty.
    let records = [of(0, 5), of(2, 7)].concat();
    consumer::produce_transaction(&bootstrap, "snapshot-good", &of(0, 5), true).unwrap();
    consumer::produce_transaction(&bootstrap, "snapshot-bad", &of(1, 3), false).unwrap();
    consumer::produce(&bootstrap, &of(2, 7)).unwrap();
    let ends = [(0, 6), (0, 4), (0, 7), (0, 0)];
    assert_eq!(consumer::watermarks(&bootstrap, source).unwrap(), ends);

    let environment = TestEnvironment::new();
    let from = broker.bootstrap();
    let snapshot = ["snapshot", "--bootstrap-server", &from, "--from", "backup", "-q"];
    environment.write("backup/README", "");
    assert_says(&environment.run(&snapshot), 0, &[]);
    for partition in [0, 2] {
        let lines: String = records
            .iter()
            .filter(|record| record.partition == partition)
            .map(csv_line)
            .collect();
        environment.write(&format!("backup/{source}-{partition}-0"), lines);
    }
    let rename = format!("{source}={target}");
    let restore = |command: &str, more: &[&str]| {
        let mut arguments = vec![command, "--from", "backup", "--bootstrap-server", &from];
        arguments.extend(["-t", source, "--rename", &rename, "-q"]);
        arguments.extend(["--fields", "key,value,offset,timestamp", "--offsets", "exact"]);
        arguments.extend(more);
        environment.run(&arguments)
    };
    for _ in 0..2 {
        assert_says(&restore("restore", &[]), 0, &[]);
        assert_eq!(consumer::watermarks(&bootstrap, target).unwrap(), ends);
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let found = read_topic_as(&bootstrap, target, isolation).unwrap();
            let found = crate::backups::renamed(&found, source);
            if let Err(difference) = compare(&records, &found, CSV) {
                panic!("{isolation:?}: {difference}");
            }
        }
    }
    assert_says(&restore("verify", &[]), 0, &["all equal"]);
}

#[test]
fn auto_takes_a_map_where_original_offsets_cost_too_much() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let backup = Backup::new("exact-dear", &[vec![2_000_000_000, 2_000_000_001]]);
    let said = backup.restore(broker, &["--exact-limit", "10s,5GB"]);
    assert!(
        said.contains("contiguous") || said.contains("-2 000 000 000"),
        "{said}"
    );
    let output = backup.run("plan", broker, &[]);
    assert_says(&output, 0, &["hold records at other offsets"]);
    let output = backup.run("plan", broker, &["--offsets", "exact"]);
    assert_says(&output, 1, &["hold records at other offsets", "--rename"]);
}
