//! Brokers that die, leaders that move, and others who write: the log ends up as if nothing had happened, or the run stops
//! and says why.
//!
//! Whatever happened, the judge is librdkafka: every record at its offset, none lost, none twice.

use std::time::Duration;

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::record::TruthRecord;

use crate::backups::{Backup, Running, Shape, assert_holds, broker, ends, record, until};

/// Small batches, so that a run takes long enough to be killed in its middle.
const SLOW_TOPIC: &[(&str, &str)] = &[("max.message.bytes", "4000")];

/// A backup that takes a while.
const LONG: Shape = Shape {
    partitions: 3,
    records: 20_000,
    per_object: 2_000,
    first: 0,
    gap_every: 0,
    value_bytes: 60,
};

/// Behind records of somebody else, which are no part of the backup.
#[test]
fn killed_while_it_appends() {
    let backup = Backup::new("appended", LONG);
    consumer::create_topic(
        &broker().internal_bootstrap(),
        "appended",
        LONG.partitions,
        SLOW_TOPIC,
    )
    .unwrap();
    let strangers: Vec<TruthRecord> = (0..70)
        .map(|number| {
            record(
                "appended",
                i32::try_from(number % 2).unwrap(),
                1_000_000 + number,
                10,
            )
        })
        .collect();
    consumer::produce(&broker().internal_bootstrap(), &strangers).unwrap();
    let before: i64 = ends(broker(), "appended").iter().sum();
    let bootstrap = broker().bootstrap();
    let slowly = ["--append", "--progress", "none", "--rate-limit", "1500kB"];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let mut seen = before;
    for _ in 0..3 {
        let mut run = Running::start(&backup.environment, "run.log", &arguments);
        until("progress", || {
            ends(broker(), "appended").iter().sum::<i64>() > seen || run.ended().is_some()
        });
        assert_eq!(run.ended(), None, "{}", run.said());
        run.kill9();
        seen = ends(broker(), "appended").iter().sum();
    }
    // The journal knows where it began, whether that is said again or not.
    let mut expected = backup.contiguous();
    for record in &mut expected {
        record.offset += if record.partition < 2 { 35 } else { 0 };
    }
    let output = backup.restore(&["--offsets", "map", "--progress", "none", "--verify"]);
    crate::backups::assert_says(&output, 0, &["went on from where an earlier run ended"]);
    let found = consumer::read_topic(&broker().internal_bootstrap(), "appended").unwrap();
    let (theirs, ours): (Vec<TruthRecord>, Vec<TruthRecord>) = found
        .into_iter()
        .partition(|record| record.partition < 2 && record.offset < 35);
    assert_eq!(theirs.len(), strangers.len());
    assert_eq!(ours, expected);
}

/// Objects so large that they are encoded while they are decoded: the second run begins inside one.
#[test]
fn killed_in_the_middle_of_large_objects() {
    for mode in ["map", "exact"] {
        let topic = format!("large-objects-{mode}");
        let shape = Shape {
            partitions: 2,
            records: 50_000,
            per_object: 20_000,
            first: 1_000,
            gap_every: 30_000,
            value_bytes: 300,
        };
        let backup = Backup::new(&topic, shape);
        let bootstrap = broker().bootstrap();
        consumer::create_topic(&broker().internal_bootstrap(), &topic, 2, &[]).unwrap();
        let slowly = ["--offsets", mode, "--progress", "none", "--rate-limit", "5MB"];
        let arguments = backup.arguments(&bootstrap, &slowly);
        let mut run = Running::start(&backup.environment, "run.log", &arguments);
        until("progress", || {
            ends(broker(), &topic).iter().all(|end| *end > 8_000) || run.ended().is_some()
        });
        assert_eq!(run.ended(), None, "{}", run.said());
        run.kill9();
        let output = backup.restore(&["--offsets", mode, "--progress", "none"]);
        crate::backups::assert_says(&output, 0, &["went on from where an earlier run ended"]);
        let expected = match mode {
            "map" => backup.contiguous(),
            _ => backup.records.clone(),
        };
        assert_holds(broker(), &topic, &expected);
    }
}

#[test]
fn a_broker_that_is_killed_and_comes_back() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
    for mode in ["map", "exact"] {
        let topic = format!("broker-killed-{mode}");
        let backup = Backup::new(
            &topic,
            Shape {
                first: 1_000,
                gap_every: 500,
                ..LONG
            },
        );
        consumer::create_topic(&broker.internal_bootstrap(), &topic, 3, SLOW_TOPIC).unwrap();
        let bootstrap = broker.bootstrap();
        let slowly = ["--offsets", mode, "--progress", "none", "--rate-limit", "400kB"];
        let arguments = backup.arguments(&bootstrap, &slowly);
        let mut run = Running::start(&backup.environment, "run.log", &arguments);
        for is_killed in [true, false] {
            let before: i64 = ends(&broker, &topic).iter().sum();
            until("progress", || {
                ends(&broker, &topic).iter().sum::<i64>() > before || run.ended().is_some()
            });
            assert_eq!(run.ended(), None, "{}", run.said());
            if is_killed {
                broker.kill9(0).unwrap();
            }
            broker.restart(0).unwrap();
        }
        assert_eq!(run.wait(), 0, "{}", run.said());
        let expected = if mode == "map" {
            backup.contiguous()
        } else {
            backup.records
        };
        assert_holds(&broker, &topic, &expected);
    }
}

/// Three brokers, two of which must have every record; one run with contiguous offsets and one with original ones at the
/// same time, then a compacted topic.
#[test]
fn leaders_move_and_replicas_are_missing() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).nodes(3).start().unwrap();
    let contiguous = Backup::new("moving", LONG);
    let original = Backup::new(
        "moving-exact",
        Shape {
            first: 2_000,
            gap_every: 700,
            ..LONG
        },
    );
    let configs = [SLOW_TOPIC, &[("min.insync.replicas", "2")]].concat();
    for topic in ["moving", "moving-exact"] {
        consumer::create_topic(&broker.internal_bootstrap(), topic, 3, &configs).unwrap();
    }
    let bootstrap = broker.bootstrap();
    let start = |backup: &Backup, mode: &str| {
        let slowly = ["--offsets", mode, "--progress", "none", "--rate-limit", "400kB"];
        Running::start(
            &backup.environment,
            "run.log",
            &backup.arguments(&bootstrap, &slowly),
        )
    };
    let mut runs = [start(&contiguous, "map"), start(&original, "exact")];
    let grow = |broker: &Broker, runs: &mut [Running; 2]| {
        for (topic, run) in ["moving", "moving-exact"].into_iter().zip(runs) {
            let before: i64 = ends(broker, topic).iter().sum();
            until("progress", || {
                ends(broker, topic).iter().sum::<i64>() > before || run.ended().is_some()
            });
        }
    };
    // Leaders move twice: away from a broker that dies, and away from one that leaves in order.
    grow(&broker, &mut runs);
    broker.kill9(0).unwrap();
    grow(&broker, &mut runs);
    broker.restart(0).unwrap();
    grow(&broker, &mut runs);
    broker.restart(1).unwrap();
    // With two frozen brokers nothing can be confirmed; the quorum waits as well and goes on afterwards.
    broker.pause(1).unwrap();
    broker.pause(2).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    broker.resume(1).unwrap();
    broker.resume(2).unwrap();
    for run in &mut runs {
        assert_eq!(run.wait(), 0, "{}", run.said());
    }
    assert_holds(&broker, "moving", &contiguous.contiguous());
    assert_holds(&broker, "moving-exact", &original.records);
    a_compacted_topic_on_three_replicas(&mut broker);
}

/// Each replica cleans by itself: whichever leads then, no filler is to be seen.
fn a_compacted_topic_on_three_replicas(broker: &mut Broker) {
    let topic = "compacted-on-three";
    let mut backup = Backup::new(
        topic,
        Shape {
            partitions: 1,
            records: 1,
            ..Shape::SMALL
        },
    );
    backup.records = (0..3_000)
        .map(|index| {
            let mut record = record(topic, 0, 500 + index * 40 + index % 7, 10);
            record.key = Some(format!("key {index}").into_bytes());
            record
        })
        .collect();
    let lines: String = backup.records.iter().map(crate::backups::csv_line).collect();
    std::fs::remove_file(backup.environment.folder().join(format!("backup/{topic}-0-0"))).unwrap();
    backup.environment.write(&format!("backup/{topic}-0-500"), lines);
    let bootstrap = broker.bootstrap();
    let wishes = [
        "--offsets",
        "exact",
        "--topic-config",
        "cleanup.policy=compact",
        "-q",
    ];
    let output = backup.environment.run(&backup.arguments(&bootstrap, &wishes));
    crate::backups::assert_says(&output, 0, &["the log cleaner has removed all"]);
    assert_holds(broker, topic, &backup.records);
    for node in 0..2 {
        broker.stop(node).unwrap();
        assert_holds(broker, topic, &backup.records);
        broker.restart(node).unwrap();
    }
    let watermarks = consumer::watermarks(&broker.internal_bootstrap(), topic).unwrap();
    assert_eq!(watermarks, [(500, backup.records[2_999].offset + 1)]);
}

#[test]
fn another_producer_in_the_middle_is_noticed() {
    let backup = Backup::new("foreign", LONG);
    consumer::create_topic(&broker().internal_bootstrap(), "foreign", 3, SLOW_TOPIC).unwrap();
    let bootstrap = broker().bootstrap();
    // Slow enough for a stranger to come in between.
    let slowly = ["--offsets", "map", "--progress", "none", "--rate-limit", "500kB"];
    let arguments = backup.arguments(&bootstrap, &slowly);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    until("a beginning", || ends(broker(), "foreign")[1] > 0);
    let stranger = record("foreign", 1, 0, 10);
    consumer::produce(&broker().internal_bootstrap(), std::slice::from_ref(&stranger)).unwrap();
    assert_eq!(run.wait(), 1, "{}", run.said());
    let said = run.said();
    for words in [
        "foreign-1: failed",
        "another program",
        "2 partitions",
        "foreign-1",
    ] {
        assert!(words == "2 partitions" || said.contains(words), "{words}: {said}");
    }
    // The partition holds a beginning of the backup, the stranger, and at most what was in flight behind it.
    let found = consumer::read_topic(&broker().internal_bootstrap(), "foreign").unwrap();
    let of = |partition: i32| -> Vec<TruthRecord> {
        found
            .iter()
            .filter(|record| record.partition == partition)
            .cloned()
            .collect()
    };
    let (expected, found_there) = (backup.partition(1), of(1));
    let at = found_there
        .iter()
        .position(|record| record.value == stranger.value)
        .unwrap();
    assert!(found_there.len() < expected.len());
    for (index, (found, expected)) in found_there[..at].iter().zip(&expected).enumerate() {
        assert_eq!((&found.value, found.offset), (&expected.value, index as i64));
    }
    assert_eq!(
        (of(0).len(), of(2).len()),
        (20_000, 20_000),
        "the other partitions go on"
    );
    // And the next run sees it before it writes anything.
    let output = backup.restore(&["--offsets", "map", "--progress", "none", "--verify-existing"]);
    crate::backups::assert_says(
        &output,
        1,
        &["foreign-1 does not hold a beginning of this backup"],
    );
    assert_eq!(ends(broker(), "foreign")[1], found_there.len() as i64);
}

#[test]
fn of_two_runs_at_once_one_wins() {
    let backup = Backup::new(
        "twice",
        Shape {
            partitions: 1,
            ..LONG
        },
    );
    consumer::create_topic(&broker().internal_bootstrap(), "twice", 1, SLOW_TOPIC).unwrap();
    let bootstrap = broker().bootstrap();
    let arguments = backup.arguments(&bootstrap, &["--offsets", "map", "--progress", "none"]);
    let mut one = Running::start(&backup.environment, "one.log", &arguments);
    until("a beginning", || ends(broker(), "twice")[0] > 0);
    let mut other = Running::start(&backup.environment, "other.log", &arguments);
    let statuses = [one.wait(), other.wait()];
    let said = format!("{}\n{}", one.said(), other.said());
    // Where both are stopped by each other, nothing is wrong in the log either, and a third run ends it.
    assert!(
        statuses.contains(&1) || statuses == [0, 0],
        "{statuses:?}: {said}"
    );
    if statuses.contains(&1) {
        assert!(
            ["another program", "another run", "a newer run"]
                .iter()
                .any(|words| said.contains(words)),
            "{statuses:?}: {said}"
        );
    }
    if !statuses.contains(&0) {
        let found = consumer::read_topic(&broker().internal_bootstrap(), "twice").unwrap();
        let expected = backup.contiguous();
        assert!(found.len() <= expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(
                (&found.value, found.offset),
                (&expected.value, expected.offset),
                "{said}"
            );
        }
        let output = backup.restore(&["--offsets", "map", "--progress", "none"]);
        assert_eq!(output.status.code(), Some(0), "{}", crate::backups::talk(&output));
    }
    assert_holds(broker(), "twice", &backup.contiguous());
}
