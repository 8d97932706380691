//! The restore profile against real brokers: old records outlive their own restore, the topic gets its own configuration
//! back whatever happens, and the report foretells what brokers then delete.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Mutex, OnceLock, PoisonError};

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::groups::{group_ids, topic_configs};
use testkit::record::TruthRecord;

use crate::backups::{Backup, OLD, Running, Shape, assert_holds, assert_says, csv_line, record, talk, until};
use crate::environment::TestEnvironment;

/// Brokers that delete what is older than a week, as they do by default, and look for that twice a second. The client
/// listener is behind a proxy; tests that do not need it use the internal one.
pub(crate) fn strict(version: KafkaVersion) -> &'static Broker {
    static STRICT: [OnceLock<Broker>; 2] = [const { OnceLock::new() }; 2];
    let slot = match version {
        KafkaVersion::V3_9 => &STRICT[0],
        KafkaVersion::V4_1 => &STRICT[1],
    };
    slot.get_or_init(|| {
        Broker::builder(version)
            .behind_proxy()
            .property("log.retention.ms", WEEK)
            .property("log.retention.check.interval.ms", "500")
            .property("log.initial.task.delay.ms", "500")
            .start()
            .unwrap()
    })
}

const WEEK: &str = "604800000";

/// Waits until the broker has looked at every log at least once for what is too old.
fn retention_has_passed(broker: &Broker, name: &str) {
    let bootstrap = broker.internal_bootstrap();
    // The first look may be in the middle already; the second one is whole.
    for round in 0..2 {
        let canary = format!("{name}-canary-{round}");
        consumer::create_topic(&bootstrap, &canary, 1, &[]).unwrap();
        consumer::produce(&bootstrap, &[record(&canary, 0, 0, 10)]).unwrap();
        until("retention", || starts(broker, &canary) == [1]);
    }
}

fn starts(broker: &Broker, topic: &str) -> Vec<i64> {
    let watermarks = consumer::watermarks(&broker.internal_bootstrap(), topic).unwrap();
    watermarks.into_iter().map(|(start, _)| start).collect()
}

fn configs(broker: &Broker, topic: &str) -> BTreeMap<String, String> {
    topic_configs(&broker.internal_bootstrap(), topic).unwrap()
}

fn owned(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    values.iter().map(owned).collect()
}

/// Runs `restore` into the broker's internal listener.
fn restore(backup: &Backup, broker: &Broker, more: &[&str]) -> Output {
    let bootstrap = broker.internal_bootstrap();
    let more = [&["--progress", "none"], more].concat();
    backup.environment.run(&backup.arguments(&bootstrap, &more))
}

/// The JSON that a command printed, after it ended with `status`.
fn json(output: &Output, status: i32) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(status), "{}", talk(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", talk(output)))
}

/// `topics finish` from a folder where nothing of the restore lies.
fn finish(broker: &Broker, topic: &str) -> serde_json::Value {
    let bootstrap = broker.internal_bootstrap();
    let elsewhere = TestEnvironment::new();
    let arguments = [
        "topics",
        "finish",
        "-t",
        topic,
        "--bootstrap-server",
        &bootstrap,
        "--json",
    ];
    json(&elsewhere.run(&arguments), 0)
}

#[test]
fn old_records_outlive_their_own_restore_and_what_goes_then_is_foretold() {
    for version in KafkaVersion::ALL {
        let broker = strict(version);
        let backup = Backup::new("outlive", Shape::SMALL);
        // The topic is missing, so that it has the brokers' own retention.
        let output = restore(
            &backup,
            broker,
            &["--offsets", "map", "--verify", "--keep-profile"],
        );
        assert_says(&output, 0, &["read back and equal", "topics finish -t outlive"]);
        assert_eq!(configs(broker, "outlive")["retention.ms"], "-1");
        retention_has_passed(broker, "outlive");
        let bootstrap = broker.internal_bootstrap();
        let verify = [&["verify"], &backup.places(&bootstrap)[..], &["--offsets", "map"]].concat();
        assert_says(&backup.environment.run(&verify), 0, &[]);
        assert_holds(broker, "outlive", &backup.contiguous());

        let finished = finish(broker, "outlive");
        assert_eq!(finished[0]["originals"]["retention.ms"], serde_json::Value::Null);
        let foretold = &finished[0]["expirations"];
        assert_eq!(foretold.as_array().unwrap().len(), 1, "{finished}");
        assert_eq!(foretold[0]["cause"], "age");
        assert_eq!(foretold[0]["partitions"], serde_json::json!([0, 1, 2]));
        assert_eq!(foretold[0]["offsets_now"], 120);
        assert_eq!(configs(broker, "outlive"), BTreeMap::new());
        until("what was foretold", || starts(broker, "outlive") == [40, 40, 40]);
        assert!(
            !group_ids(&bootstrap)
                .unwrap()
                .contains(&"kafka-restore.outlive".to_owned())
        );
    }
}

#[test]
fn some_records_go_at_once_and_others_later() {
    for version in KafkaVersion::ALL {
        let broker = strict(version);
        let bootstrap = broker.internal_bootstrap();
        let backup = Backup::new("mixed-ages", Shape::SMALL);
        // One partition is young, one is old, one is both: half of its records a segment of its own.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let now = i64::try_from(now.as_millis()).unwrap() - 60_000;
        let aged = |record: &TruthRecord| {
            let mut record = record.clone();
            let young = record.partition == 0 || record.partition == 2 && record.offset >= 20;
            record.timestamp = if young {
                now + record.offset
            } else {
                OLD + record.offset
            };
            record
        };
        let records: Vec<TruthRecord> = backup.records.iter().map(aged).collect();
        for part in records.chunks(10) {
            let name = format!("backup/mixed-ages-{}-{}", part[0].partition, part[0].offset);
            let lines: Vec<String> = part.iter().map(csv_line).collect();
            backup.environment.write(&name, lines.concat());
        }
        consumer::create_topic(&bootstrap, "mixed-ages", 3, &[("retention.ms", "86400000")]).unwrap();
        let report = json(&restore(&backup, broker, &["--offsets", "map", "--json"]), 0);
        let foretold: Vec<_> = report["expirations"].as_array().unwrap().iter().collect();
        let of = |partition: i32| {
            let named = |one: &&serde_json::Value| one["partitions"] == serde_json::json!([partition]);
            *foretold
                .iter()
                .copied()
                .find(named)
                .as_ref()
                .unwrap_or_else(|| panic!("{foretold:?}"))
        };
        assert_eq!(of(1)["offsets_now"], 40);
        assert_eq!(of(0)["offsets_now"], 0);
        let next: jiff::Timestamp = of(0)["next"].as_str().unwrap().parse().unwrap();
        assert_eq!(next.as_millisecond(), now + 86_400_000);
        let last: jiff::Timestamp = of(0)["last"].as_str().unwrap().parse().unwrap();
        assert_eq!(last.as_millisecond(), now + 39 + 86_400_000);
        assert_eq!(of(2)["offsets_now"], 20);
        until("what was foretold", || starts(broker, "mixed-ages")[1] == 40);
        retention_has_passed(broker, "mixed-ages");
        assert_eq!(starts(broker, "mixed-ages")[0], 0);
    }
}

/// A topic whose configuration stands in the way of a restore in every way that costs no records afterwards.
const OWN: &[(&str, &str)] = &[
    ("message.timestamp.type", "LogAppendTime"),
    ("retention.bytes", "1000000000"),
    ("retention.ms", "3153600000000"),
    ("segment.ms", "3600000"),
];

/// What is held back at a proxy is one test's matter at a time.
static HOLDING: Mutex<()> = Mutex::new(());

/// Requests that change something, records and group coordination aside: CreateTopics, OffsetCommit (the journal),
/// IncrementalAlterConfigs, DeleteRecords, InitProducerId, DeleteGroups.
const STEPS: &[i16] = &[19, 8, 44, 21, 22, 42];

/// Exact offsets, so that a log begins late.
const LATE: Shape = Shape {
    partitions: 2,
    records: 20,
    per_object: 10,
    first: 30,
    gap_every: 0,
    value_bytes: 10,
};

/// Kills a restore before each of its steps. After every second one the next run ends it; after the others `topics
/// finish` does, from another folder, and the next run the rest.
fn killed_at_every_step(version: KafkaVersion) {
    let _holding = match version {
        KafkaVersion::V4_1 => Some(HOLDING.lock().unwrap_or_else(PoisonError::into_inner)),
        KafkaVersion::V3_9 => None,
    };
    let broker = strict(version);
    let (bootstrap, internal) = (broker.bootstrap(), broker.internal_bootstrap());
    let backup = Backup::new("steps", LATE);
    let mut more = vec!["--progress", "none", "--offsets", "exact"];
    let own: Vec<String> = OWN
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    more.extend(own.iter().flat_map(|own| ["--topic-config", own]));
    let mut step = 0;
    loop {
        step += 1;
        let topic = format!("steps-{step}");
        let rename = format!("steps={topic}");
        let more = [&more[..], &["--rename", &rename]].concat();
        let arguments = backup.arguments(&bootstrap, &more);
        broker.proxy(0).hold_back(STEPS, step);
        let mut run = Running::start(&backup.environment, "run.log", &arguments);
        until("a step or the end", || {
            broker.proxy(0).is_holding() || run.ended().is_some()
        });
        let held = broker.proxy(0).is_holding();
        run.kill9();
        broker.proxy(0).drop_held();
        let is_there = || consumer::topics(&internal).unwrap().contains(&topic);
        let nothing_is_left = |what: &str| {
            assert_eq!(
                configs(broker, &topic),
                owned(OWN),
                "{what} after a kill before step {step}"
            );
            let journal = format!("kafka-restore.{topic}");
            assert!(
                !group_ids(&internal).unwrap().contains(&journal),
                "{what} after a kill before step {step} left the journal"
            );
        };
        if held && step % 2 == u64::from(version == KafkaVersion::V4_1) && is_there() {
            finish(broker, &topic);
            nothing_is_left("topics finish");
        }
        if held {
            let output = restore(&backup, broker, &more[2..]);
            assert_says(&output, 0, &[]);
        }
        nothing_is_left("the next run");
        assert_holds(broker, &topic, &crate::backups::renamed(&backup.records, &topic));
        if !held {
            break;
        }
    }
    // Made, journal, changed, trimmed, put back, journal deleted: fewer would say that something is not seen.
    assert!(step > 6, "only {step} steps");
}

#[test]
fn killed_at_every_step_of_the_profile_on_3_9() {
    killed_at_every_step(KafkaVersion::V3_9);
}

#[test]
fn killed_at_every_step_of_the_profile_on_4_1() {
    killed_at_every_step(KafkaVersion::V4_1);
}

/// One process makes the topic and changes it between another's look at the cluster and its own first change.
#[test]
fn processes_that_share_a_missing_topic_lose_no_original() {
    let _holding = HOLDING.lock().unwrap_or_else(PoisonError::into_inner);
    let broker = strict(KafkaVersion::V4_1);
    let (bootstrap, internal) = (broker.bootstrap(), broker.internal_bootstrap());
    let backup = Backup::new("raced", LATE);
    let own: Vec<String> = OWN
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for (round, late) in ["0/2", "1/2"].into_iter().enumerate() {
        let topic = format!("raced-{round}");
        let rename = format!("raced={topic}");
        let mut more = vec!["--progress", "none", "--offsets", "exact", "--rename", &rename];
        more.extend(own.iter().flat_map(|own| ["--topic-config", own]));
        broker.proxy(0).hold_back(&[19], 1);
        let of_late = [&more[..], &["--shard", late]].concat();
        let mut slow = Running::start(
            &backup.environment,
            "slow.log",
            &backup.arguments(&bootstrap, &of_late),
        );
        until("a look at the cluster", || {
            assert_eq!(slow.ended(), None, "{}", slow.said());
            broker.proxy(0).is_holding()
        });
        let early = if late == "0/2" { "1/2" } else { "0/2" };
        let of_early = [&more[..], &["--shard", early]].concat();
        let output = backup.environment.run(&backup.arguments(&internal, &of_early));
        assert_says(&output, 0, &["topics finish"]);
        assert_eq!(configs(broker, &topic)["retention.ms"], "-1");
        broker.proxy(0).let_go();
        assert_eq!(slow.wait(), 0, "{}", slow.said());
        finish(broker, &topic);
        assert_eq!(configs(broker, &topic), owned(OWN), "{late} was late");
        assert_holds(broker, &topic, &crate::backups::renamed(&backup.records, &topic));
    }
}

/// A restore that must change `topic` first, the records as `change` makes them; gives the report and the records.
fn restored_as(
    broker: &Broker,
    topic: &str,
    own: &[(&str, &str)],
    change: impl Fn(&mut TruthRecord),
) -> (serde_json::Value, Vec<TruthRecord>) {
    let backup = Backup::new(
        topic,
        Shape {
            partitions: 1,
            ..Shape::SMALL
        },
    );
    let mut records = backup.records.clone();
    records.iter_mut().for_each(change);
    for part in records.chunks(10) {
        let lines: Vec<String> = part.iter().map(csv_line).collect();
        backup
            .environment
            .write(&format!("backup/{topic}-0-{}", part[0].offset), lines.concat());
    }
    consumer::create_topic(&broker.internal_bootstrap(), topic, 1, own).unwrap();
    let output = restore(&backup, broker, &["--offsets", "map", "--verify", "--json"]);
    let report = json(&output, 0);
    assert_eq!(configs(broker, topic), owned(own), "{topic}");
    assert_holds(broker, topic, &records);
    (report, records)
}

/// What the broker itself makes of such a record without the profile.
fn is_refused(broker: &Broker, record: &TruthRecord) -> bool {
    consumer::produce(&broker.internal_bootstrap(), std::slice::from_ref(record)).is_err()
        || consumer::read_topic(&broker.internal_bootstrap(), &record.topic)
            .unwrap()
            .iter()
            .all(|found| found.value != record.value)
}

#[test]
fn records_without_keys_into_a_compacted_topic() {
    for version in KafkaVersion::ALL {
        let broker = strict(version);
        let own = &[("cleanup.policy", "compact")];
        let (report, records) = restored_as(broker, "null-keys", own, |record| {
            if record.offset % 3 == 0 {
                record.key = None;
            }
        });
        assert_eq!(report["expirations"][0]["cause"], "compaction");
        let mut without_key = records[0].clone();
        without_key.value = Some(b"a new one".to_vec());
        assert!(is_refused(broker, &without_key));
    }
}

#[test]
fn original_timestamps_into_a_topic_with_append_time() {
    for version in KafkaVersion::ALL {
        let own = &[
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", "-1"),
        ];
        let (report, _) = restored_as(strict(version), "append-time", own, |_| {});
        assert_eq!(report["expirations"], serde_json::json!([]));
    }
}

#[test]
fn timestamps_in_the_future() {
    // 2100-01-01.
    const FUTURE: i64 = 4_102_444_800_000;
    let future = |record: &mut TruthRecord| record.timestamp = FUTURE + record.offset;
    let broker = strict(KafkaVersion::V4_1);
    // Kafka 4 refuses what is more than an hour ahead by default.
    let (_, records) = restored_as(broker, "future", &[("retention.ms", "-1")], future);
    let mut more = records[0].clone();
    more.value = Some(b"a new one".to_vec());
    assert!(is_refused(broker, &more));
    let own = &[
        ("message.timestamp.after.max.ms", "3600000"),
        ("retention.ms", "-1"),
    ];
    restored_as(strict(KafkaVersion::V3_9), "future", own, future);
}

#[test]
fn records_that_are_larger_than_the_topic_takes() {
    for version in KafkaVersion::ALL {
        let broker = strict(version);
        let own = &[("max.message.bytes", "3000"), ("retention.ms", "-1")];
        let (report, records) = restored_as(broker, "large-records", own, |record| {
            if record.offset % 7 == 3 {
                let bytes = 1_000 * usize::try_from(record.offset).unwrap();
                record.value = Some(vec![b'x'; bytes]);
            }
        });
        let notes = report["topics"][0]["partitions"][0]["notes"].to_string();
        assert!(
            notes.contains("max.message.bytes of the topic was 3000"),
            "{notes}"
        );
        let mut more = records[38].clone();
        more.value = Some(vec![b'y'; 38_000]);
        assert!(is_refused(broker, &more));
    }
}
