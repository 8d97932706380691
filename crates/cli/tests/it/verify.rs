//! `verify` and `restore --verify`: every planted difference is found, and nothing else is.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::consumer;
use testkit::record::{TimestampType, TruthRecord};

use crate::backups::{Backup, OLD, Shape, assert_says, broker, csv_line, record, renamed, talk};
use crate::environment::TestEnvironment;

/// Twelve records of one partition with everything that a record can have, and a jsonl backup of them.
struct Rich {
    environment: TestEnvironment,
    records: Vec<TruthRecord>,
}

impl Rich {
    fn new() -> Self {
        let environment = TestEnvironment::new();
        let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
        let records: Vec<TruthRecord> = (0..12)
            .map(|offset| TruthRecord {
                topic: "rich".into(),
                partition: 0,
                offset,
                timestamp: OLD + offset,
                timestamp_type: TimestampType::CreateTime,
                key: (offset % 5 != 4).then(|| format!("key-{offset}").into_bytes()),
                value: match offset {
                    3 => None,
                    4 => Some(Vec::new()),
                    _ => Some(format!("value {offset}").into_bytes()),
                },
                headers: vec![
                    header("a", Some(b"1")),
                    header("b", None),
                    header("a", Some(b"2")),
                    header("c", Some(b"")),
                ],
            })
            .collect();
        let encode = |bytes: &Option<Vec<u8>>| match bytes {
            None => serde_json::Value::Null,
            Some(bytes) => STANDARD.encode(bytes).into(),
        };
        let mut lines = String::new();
        for record in &records {
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(name, value)| serde_json::json!({"key": name, "value": encode(value)}))
                .collect();
            let time = jiff::Timestamp::from_millisecond(record.timestamp).unwrap();
            let line = serde_json::json!({
                "key": encode(&record.key), "value": encode(&record.value), "offset": record.offset,
                "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(), "headers": headers,
            });
            let _ = writeln!(lines, "{line}");
        }
        // A newline at the very end would be the mark of a record that is missing.
        environment.write("backup/rich-0-0", lines.trim_end());
        environment.write(
            "sink.properties",
            "connector.class=io.aiven.kafka.connect.gcs.GcsSinkConnector\nformat.output.type=jsonl\n\
             format.output.fields=key,value,offset,timestamp,headers\n\
             key.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n\
             value.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n\
             header.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n",
        );
        Self { environment, records }
    }

    /// Puts `records` into a topic of their own, and gives what `verify --json` says of it.
    fn verdict(
        &self,
        target: &str,
        records: &[TruthRecord],
        more: &[&str],
    ) -> (Option<i32>, serde_json::Value) {
        consumer::create_topic(&broker().internal_bootstrap(), target, 1, &[]).unwrap();
        consumer::produce(&broker().internal_bootstrap(), &renamed(records, target)).unwrap();
        let (bootstrap, rename) = (broker().bootstrap(), format!("rich={target}"));
        let arguments = [
            "verify",
            "--from",
            "backup",
            "--bootstrap-server",
            &bootstrap,
            "-t",
            "rich",
            "--rename",
            &rename,
            "--connector-config",
            "sink.properties",
            "--json",
            "--progress",
            "none",
        ];
        let output = self.environment.run(&[&arguments[..], more].concat());
        let verdict = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", talk(&output)));
        (output.status.code(), verdict)
    }
}

#[test]
fn what_is_equal_is_called_equal() {
    let rich = Rich::new();
    let (status, verdict) = rich.verdict("rich-equal", &rich.records, &[]);
    assert_eq!(status, Some(0), "{verdict}");
    let partition = &verdict["partitions"][0];
    assert_eq!(
        (&partition["equal"], &partition["different"]),
        (&12.into(), &0.into())
    );
}

#[test]
fn every_planted_difference_is_found() {
    type Plant = (&'static str, fn(&mut Vec<TruthRecord>), &'static str, i64, u64);
    /// name, what is done, kind of the first difference, its source offset (or target offset of an extra one), all
    /// differences.
    const PLANTS: &[Plant] = &[
        ("bit", |r| r[6].value.as_mut().unwrap()[2] ^= 1, "value", 6, 1),
        ("key-bit", |r| r[6].key.as_mut().unwrap()[0] ^= 0x80, "key", 6, 1),
        ("timestamp", |r| r[7].timestamp += 1, "timestamp", 7, 1),
        ("header-order", |r| r[8].headers.swap(0, 2), "headers", 8, 1),
        ("header-missing", |r| drop(r[8].headers.pop()), "headers", 8, 1),
        ("header-name", |r| r[8].headers[3].0 = "C".into(), "headers", 8, 1),
        (
            "header-null-for-empty",
            |r| r[8].headers[3].1 = None,
            "headers",
            8,
            1,
        ),
        ("null-for-empty", |r| r[4].value = None, "value", 4, 1),
        ("empty-for-null", |r| r[3].value = Some(Vec::new()), "value", 3, 1),
        ("null-key", |r| r[5].key = None, "key", 5, 1),
        ("empty-key-for-null", |r| r[9].key = Some(Vec::new()), "key", 9, 1),
        ("extra-at-the-end", |r| r.push(r[0].clone()), "extra", 12, 1),
        ("missing-at-the-end", |r| drop(r.pop()), "missing", 11, 1),
    ];
    let rich = Rich::new();
    for (name, plant, kind, offset, count) in PLANTS {
        let mut records = rich.records.clone();
        plant(&mut records);
        let (status, verdict) = rich.verdict(&format!("rich-{name}"), &records, &[]);
        assert_eq!(status, Some(3), "{name}: {verdict}");
        let partition = &verdict["partitions"][0];
        assert_eq!(partition["different"].as_u64(), Some(*count), "{name}: {verdict}");
        let first = &partition["differences"][0];
        assert_eq!(first["kind"], *kind, "{name}: {verdict}");
        let at = if *kind == "extra" {
            &first["target_offset"]
        } else {
            &first["source_offset"]
        };
        assert_eq!(at.as_i64(), Some(*offset), "{name}: {verdict}");
    }
}

#[test]
fn neighbours_that_changed_places_and_records_in_the_middle_are_found() {
    let rich = Rich::new();
    let swap: fn(&mut Vec<TruthRecord>) = |records| records.swap(5, 6);
    for (name, plant, first) in [
        ("swapped", swap, 5),
        ("missing-inside", |records| drop(records.remove(5)), 5),
        (
            "extra-inside",
            |records| records.insert(5, record("rich", 0, 99, 10)),
            5,
        ),
        ("twice-inside", |records| records.insert(5, records[4].clone()), 5),
    ] {
        let mut records = rich.records.clone();
        plant(&mut records);
        let (status, verdict) = rich.verdict(&format!("rich-{name}"), &records, &["--limit", "2"]);
        assert_eq!(status, Some(3), "{name}: {verdict}");
        let partition = &verdict["partitions"][0];
        let differences = partition["differences"].as_array().unwrap();
        let at = &differences[0]["target_offset"];
        assert_eq!(at.as_i64(), Some(first), "{name}: {verdict}");
        assert!(differences.len() <= 2, "{name}: --limit 2");
        assert!(partition["different"].as_u64() >= Some(2), "{name}: {verdict}");
    }
}

#[test]
fn csv_cannot_tell_null_from_empty_and_nothing_else() {
    let backup = Backup::new(
        "csv-empty",
        Shape {
            partitions: 1,
            records: 3,
            ..Shape::SMALL
        },
    );
    backup
        .environment
        .write("backup/csv-empty-0-0", ",,0,5\n,djA=,1,6\nazA=,,2,7\n");
    let bootstrap = broker().bootstrap();
    let truth = |offset: i64, key: Option<&[u8]>, value: Option<&[u8]>| TruthRecord {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        timestamp: offset + 5,
        ..record("csv-empty", 0, offset, 1)
    };
    let verify = |target: &str, records: &[TruthRecord]| {
        consumer::create_topic(&broker().internal_bootstrap(), target, 1, &[]).unwrap();
        consumer::produce(&broker().internal_bootstrap(), &renamed(records, target)).unwrap();
        let rename = format!("csv-empty={target}");
        let mut arguments = vec!["verify", "--rename", &rename];
        arguments.extend(backup.places(&bootstrap));
        backup.environment.run(&arguments)
    };
    let empty: Option<&[u8]> = Some(b"");
    let equal = [
        truth(0, empty, None),
        truth(1, None, Some(b"v0")),
        truth(2, Some(b"k0"), empty),
    ];
    assert_says(&verify("csv-empty-equal", &equal), 0, &["all equal"]);
    let other = [
        truth(0, empty, None),
        truth(1, Some(b"x"), Some(b"v0")),
        truth(2, Some(b"k0"), empty),
    ];
    assert_says(
        &verify("csv-empty-other", &other),
        3,
        &["the key differs", "NOT equal"],
    );
}

#[test]
fn what_cannot_be_compared_is_a_failure() {
    let backup = Backup::new("uncompared", Shape::SMALL);
    let bootstrap = broker().bootstrap();
    let mut arguments = vec!["verify"];
    arguments.extend(backup.places(&bootstrap));
    // No such topic.
    let output = backup.environment.run(&arguments);
    assert_says(&output, 1, &["uncompared"]);
    // A backup that is damaged in one partition.
    assert_says(&backup.restore(&["--offsets", "map"]), 0, &[]);
    assert_says(&backup.environment.run(&arguments), 0, &["all equal", "120"]);
    backup
        .environment
        .write("backup/uncompared-1-20", "this is no csv\n");
    let output = backup.environment.run(&arguments);
    assert_says(
        &output,
        1,
        &["not compared to its end", "uncompared-1-20", "line 1"],
    );
    // No broker.
    let mut arguments = vec!["verify"];
    arguments.extend(backup.places("127.0.0.1:1"));
    assert_says(&backup.environment.run(&arguments), 1, &["127.0.0.1:1"]);
}

#[test]
fn original_offsets_are_verified_too() {
    let shape = Shape {
        first: 50,
        gap_every: 7,
        ..Shape::SMALL
    };
    let backup = Backup::new("verify-exact", shape);
    assert_says(&backup.restore(&["--offsets", "exact"]), 0, &[]);
    let bootstrap = broker().bootstrap();
    for (mode, status) in [("auto", 0), ("exact", 0), ("map", 3)] {
        let mut arguments = vec!["verify", "--offsets", mode];
        arguments.extend(backup.places(&bootstrap));
        let output = backup.environment.run(&arguments);
        assert_eq!(output.status.code(), Some(status), "{mode}: {}", talk(&output));
    }
}

#[test]
fn a_restore_can_prove_itself() {
    for mode in ["map", "exact"] {
        let topic = format!("proven-{mode}");
        let backup = Backup::new(
            &topic,
            Shape {
                first: 20,
                gap_every: 9,
                ..Shape::SMALL
            },
        );
        let (status, report) = backup.restore_json(&["--offsets", mode, "--verify"]);
        assert_eq!(status, Some(0), "{mode}: {report}");
        for partition in report["topics"][0]["partitions"].as_array().unwrap() {
            let proof = &partition["verified"];
            assert_eq!(
                (&proof["equal"], &proof["records"]),
                (&true.into(), &40.into()),
                "{mode}: {report}"
            );
            let digest = proof["digest"].as_str().unwrap();
            assert_eq!(digest.len(), 32, "{mode}: {report}");
            assert_eq!(proof["target_digest"], digest, "{mode}: {report}");
        }
        // Again: nothing is written, and what stands there is compared from its start.
        let (status, report) = backup.restore_json(&["--offsets", mode, "--verify"]);
        assert_eq!(status, Some(0), "{mode}: {report}");
        assert_eq!(report["topics"][0]["partitions"][0]["records"], 0);
    }
    // Digests tell content and order, not places: the same backup gives the same ones in both modes.
    let digests = |topic: &str, mode: &str| {
        let backup = Backup::new(
            "digest-source",
            Shape {
                first: 20,
                gap_every: 9,
                ..Shape::SMALL
            },
        );
        let rename = format!("digest-source={topic}");
        let (_, report) = backup.restore_json(&["--offsets", mode, "--verify", "--rename", &rename]);
        let partitions = report["topics"][0]["partitions"].as_array().unwrap().clone();
        partitions
            .iter()
            .map(|partition| partition["verified"]["digest"].clone())
            .collect::<Vec<_>>()
    };
    let map = digests("digest-map", "map");
    assert_eq!(map, digests("digest-exact", "exact"));
    assert!(map[0] != map[1] && map[1] != map[2]);
}

#[test]
fn a_difference_before_the_resume_point_is_found_with_verify() {
    let backup = Backup::new(
        "old-damage",
        Shape {
            partitions: 1,
            records: 1_000,
            ..Shape::SMALL
        },
    );
    consumer::create_topic(&broker().internal_bootstrap(), "old-damage", 1, &[]).unwrap();
    let mut there = backup.records[..600].to_vec();
    there[10].value = Some(b"something else".to_vec());
    consumer::produce(&broker().internal_bootstrap(), &there).unwrap();
    let output = backup.restore(&["--offsets", "map", "--verify"]);
    assert_says(
        &output,
        1,
        &[
            "old-damage-0 does not hold a beginning of this backup",
            "offset 10",
        ],
    );
    assert_eq!(
        crate::backups::ends(broker(), "old-damage"),
        [600],
        "nothing was added"
    );
}

#[test]
fn a_sample_is_spread_over_everything() {
    for (mode, gap_every) in [("map", 0), ("exact", 13)] {
        let topic = format!("sampled-{mode}");
        let backup = Backup::new(
            &topic,
            Shape {
                partitions: 2,
                records: 20_000,
                per_object: 1_000,
                gap_every,
                ..Shape::SMALL
            },
        );
        consumer::create_topic(&broker().internal_bootstrap(), &topic, 2, &[]).unwrap();
        // Partition 0 is right. In partition 1 a whole stretch of values is wrong, far from both ends.
        assert_says(&backup.restore(&["--offsets", mode, "--partition", "0"]), 0, &[]);
        let other = Backup::new(
            &topic,
            Shape {
                partitions: 2,
                records: 20_000,
                per_object: 1_000,
                gap_every,
                ..Shape::SMALL
            },
        );
        for object in other.partition(1).chunks(1_000).skip(8).take(4) {
            let mut lines = String::new();
            for record in object {
                let mut record = record.clone();
                record.value = Some(b"wrong".to_vec());
                lines.push_str(&csv_line(&record));
            }
            let name = format!("backup/{topic}-1-{}", object[0].offset);
            other.environment.write(&name, lines);
        }
        assert_says(&other.restore(&["--offsets", mode, "--partition", "1"]), 0, &[]);

        let bootstrap = broker().bootstrap();
        let verify = |more: &[&str]| {
            let mut arguments = vec!["verify", "--json", "--progress", "none"];
            arguments.extend(backup.places(&bootstrap));
            arguments.extend(more);
            let output = backup.environment.run(&arguments);
            let verdict: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", talk(&output)));
            (output.status.code(), verdict)
        };
        let (status, verdict) = verify(&["--sample", "5%", "--partition", "0"]);
        assert_eq!(status, Some(0), "{mode}: {verdict}");
        let partition = &verdict["partitions"][0];
        let stretches = partition["sample"]["stretches"].as_array().unwrap();
        assert!(stretches.len() >= 5, "{mode}: {verdict}");
        let end = other.partition(0).len() as i64;
        let last = if mode == "exact" {
            other.partition(0)[end as usize - 1].offset
        } else {
            end - 1
        };
        assert_eq!(
            (&stretches[0][0], &stretches[stretches.len() - 1][1]),
            (&0.into(), &last.into())
        );
        let equal = partition["equal"].as_u64().unwrap();
        assert!((500..3_000).contains(&equal), "{mode}: {verdict}");
        let (status, verdict) = verify(&["--sample", "5%", "--partition", "1"]);
        assert_eq!(status, Some(3), "{mode}: {verdict}");
        assert_eq!(verdict["partitions"][0]["differences"][0]["kind"], "value");

        let mut arguments = vec!["verify", "--sample", "5%", "--partition", "0"];
        arguments.extend(backup.places(&bootstrap));
        let words = ["no difference in the sample", "a sample: ", "spread from 0 to"];
        assert_says(&backup.environment.run(&arguments), 0, &words);
        // What is missing at the end is always in the sample.
        backup.environment.write(
            &format!("backup/{topic}-0-{}", last + 1),
            csv_line(&record(&topic, 0, last + 1, 10)),
        );
        assert_eq!(verify(&["--sample", "5%", "--partition", "0"]).0, Some(3));
    }
}

/// The log cleaner drops what it should: that is no difference. What it should not have dropped is one.
#[test]
fn a_compacted_topic_may_lack_what_newer_records_replace() {
    let environment = TestEnvironment::new();
    // Fifty keys again and again, one of them always null, one key that comes once, and a gap before the end.
    const ONCE: i64 = 777;
    let history = |topic: &str, has_once: bool| -> String {
        (0..2_010)
            .filter(|offset| !(1_990..2_000).contains(offset) && (has_once || *offset != ONCE))
            .map(|offset| {
                let mut one = record(topic, 0, offset, 10);
                let key = if offset == ONCE {
                    "once".to_owned()
                } else {
                    format!("key {}", offset % 50)
                };
                one.key = Some(key.into_bytes());
                one.value = one.value.filter(|_| offset % 50 != 7);
                csv_line(&one)
            })
            .collect()
    };
    let (whole, lossy) = ("cleaned-whole", "cleaned-lossy");
    environment.write(&format!("backup/{whole}-0-0"), history(whole, true));
    environment.write(&format!("backup/{lossy}-0-0"), history(lossy, false));
    let bootstrap = broker().bootstrap();
    let run = |command: &str, more: &[&str]| {
        let mut arguments = vec![command, "--from", "backup", "--bootstrap-server", &bootstrap];
        arguments.extend(["--fields", "key,value,offset,timestamp", "-q"]);
        arguments.extend(more);
        environment.run(&arguments)
    };
    let compact = ["--offsets", "exact", "--topic-config", "cleanup.policy=compact"];
    let both = ["-t", whole, "-t", lossy];
    assert_says(
        &run("restore", &[&both[..], &compact].concat()),
        0,
        &["the log cleaner has removed all"],
    );
    for mode in ["auto", "exact"] {
        let words = ["all equal", "cleaned away, as a compacted topic may"];
        assert_says(&run("verify", &["-t", whole, "--offsets", mode]), 0, &words);
        // The other topic never had the key that comes once.
        let rename = format!("{whole}={lossy}");
        let output = run("verify", &["-t", whole, "--rename", &rename, "--offsets", mode]);
        assert_says(
            &output,
            3,
            &["the target lacks a record", "offset 777", "\"once\"", "NOT equal"],
        );
    }
    // A part of the history does not show what came behind it.
    let output = run("verify", &["-t", whole, "--sample", "10%"]);
    assert_says(&output, 0, &["only a comparison without --sample tells"]);
}
