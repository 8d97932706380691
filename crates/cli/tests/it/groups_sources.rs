//! Committed offsets from each place where they may have been left: all of them agree; and what is none of them is a clear
//! error.

use std::collections::BTreeMap;

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::groups::{commit, committed};
use testkit::record::TruthRecord;

use crate::backups::{Backup, OLD, assert_says, broker, csv_line, record, talk};
use crate::environment::TestEnvironment;
use crate::groups::{GAPPY, SOURCE_PARTITIONS, contiguous_place, of_version, restore_as, run};

/// Committed offsets by group and partition, all of one topic.
type Offsets = BTreeMap<(String, i64), i64>;

const FIELDS: [&str; 2] = ["--fields", "key,value,offset,timestamp"];

/// What `groups show` says that a source has for groups and topics named after `topic`.
fn shown(environment: &TestEnvironment, topic: &str, more: &[&str]) -> Offsets {
    let output = environment.run(&[&["groups", "show", "--json", "-t", topic], more].concat());
    assert_eq!(output.status.code(), Some(0), "{more:?}: {}", talk(&output));
    let file: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Offsets::new();
    for group in file["groups"].as_array().unwrap() {
        for offset in group["offsets"].as_array().unwrap() {
            assert_eq!(offset["topic"], topic);
            found.insert(
                (
                    group["id"].as_str().unwrap().to_owned(),
                    offset["partition"].as_i64().unwrap(),
                ),
                offset["offset"].as_i64().unwrap(),
            );
        }
    }
    found
}

/// Records as the csv objects of a topic's partitions.
fn write_backup(environment: &TestEnvironment, folder: &str, records: &[TruthRecord]) {
    let mut objects: BTreeMap<(&str, i32), String> = BTreeMap::new();
    for record in records {
        objects
            .entry((&record.topic, record.partition))
            .or_default()
            .push_str(&csv_line(record));
    }
    for ((topic, partition), lines) in objects {
        environment.write(&format!("{folder}/{topic}-{partition}-0"), lines);
    }
}

/// All that is in the brokers' own topic of offsets, with timestamps `time`.
fn offsets_topic(broker: &Broker, time: i64) -> Vec<TruthRecord> {
    let mut records = consumer::read_topic(&broker.internal_bootstrap(), "__consumer_offsets").unwrap();
    for record in &mut records {
        record.timestamp = time;
    }
    records
}

/// A checkpoint of MirrorMaker, as `org.apache.kafka.connect.mirror.Checkpoint` writes it.
fn checkpoint(place: i64, group: &str, topic: &str, partition: i32, offset: i64) -> TruthRecord {
    let text = |text: &str| {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    let mut record = record("old.checkpoints.internal", 0, place, 10);
    record.key = Some([text(group), text(topic), partition.to_be_bytes().to_vec()].concat());
    let upstream = offset + 1_000_000;
    record.value = Some(
        [
            vec![0, 0],
            upstream.to_be_bytes().to_vec(),
            offset.to_be_bytes().to_vec(),
            text(""),
        ]
        .concat(),
    );
    record
}

/// What kafka-consumer-groups prints with --describe, in one of its layouts.
fn described(layout: &str, offsets: &Offsets, topic: &str) -> Vec<(Option<String>, String)> {
    let mut by_group: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for ((group, partition), offset) in offsets {
        by_group.entry(group).or_default().push((*partition, *offset));
    }
    let mut texts = Vec::new();
    let mut all = String::new();
    for (group, rows) in by_group {
        let mut text = format!("\nConsumer group '{group}' has no active members.\n\n");
        let header = match layout {
            "1.0" => {
                "TOPIC                          PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID     HOST            CLIENT-ID"
            }
            "verbose" => {
                "GROUP            TOPIC            PARTITION  LEADER-EPOCH  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID"
            }
            _ => {
                "GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID"
            }
        };
        text.push_str(header);
        text.push('\n');
        for (partition, offset) in rows {
            text.push_str(&match layout {
                "1.0" => format!("{topic:<30} {partition:<10} {offset:<15} 5000            17         -               -               -\n"),
                "verbose" => format!("{group:<16} {topic:<16} {partition:<10} -             {offset:<15} 5000            17              -               -               -\n"),
                _ => format!("{group:<15} {topic:<15} {partition:<10} {offset:<15} 5000            17              -               -               -\n"),
            });
        }
        match layout {
            // One group at a time: its name is only in the remark.
            "1.0" => texts.push((Some(group.to_owned()), text)),
            _ => all.push_str(&text),
        }
    }
    if !all.is_empty() {
        texts.push((None, all));
    }
    texts
}

#[test]
fn all_sources_agree() {
    for version in KafkaVersion::ALL {
        let broker = of_version(version);
        let bootstrap = broker.internal_bootstrap();
        let topic = "agreed";
        let backup = Backup::new(topic, GAPPY);
        let environment = &backup.environment;
        consumer::create_topic(&bootstrap, topic, SOURCE_PARTITIONS, &[]).unwrap();
        let mut truth = Offsets::new();
        // What was committed first is out of date in all but one source.
        for (round, shift) in [(0, 7), (1, 0)] {
            for number in 0..6 {
                let id = format!("agreed-{number}");
                for partition in 0..3_i32 {
                    let offset = 100 * i64::from(partition) + 6 * number + shift;
                    truth.insert((id.clone(), i64::from(partition)), offset);
                    commit(&bootstrap, &id, &[(topic, partition, offset, "")]).unwrap();
                }
            }
            if round == 0 {
                let old = offsets_topic(broker, OLD);
                write_backup(environment, "early", &old);
            }
        }
        let shown = |more: &[&str]| shown(environment, topic, more);

        // Of the live cluster: an export, a snapshot in a file, one in the bucket.
        assert_says(
            &run(&backup, broker, &["groups", "export", "--to", "export.json"]),
            0,
            &[],
        );
        assert_eq!(shown(&["export.json"]), truth);
        assert_says(
            &run(&backup, broker, &["snapshot", "--to", "snapshot.json", "-q"]),
            0,
            &[],
        );
        assert_eq!(shown(&["snapshot.json"]), truth);
        assert_says(
            &run(&backup, broker, &["snapshot", "--from", "backup", "-q"]),
            0,
            &[],
        );
        assert_eq!(shown(&["snapshot", "--from", "backup"]), truth);

        // What Kafka's own tool prints.
        for layout in ["1.0", "usual", "verbose"] {
            let mut found = Offsets::new();
            for (_, text) in described(layout, &truth, topic) {
                environment.write("described.txt", text);
                found.extend(shown(&["described.txt"]));
            }
            assert_eq!(found, truth, "{layout}");
        }
        let rows = truth
            .iter()
            .map(|((group, partition), offset)| format!("\"{group}\",\"{topic}\",{partition},{offset}\n"));
        environment.write("export.csv", rows.collect::<String>());
        assert_eq!(shown(&["export.csv"]), truth);

        // A backup of the brokers' own topic, now and as it was before a moment.
        let early = consumer::read_topic(&bootstrap, "__consumer_offsets").unwrap();
        let mut all = offsets_topic(broker, OLD + 86_400_000);
        for record in &mut all {
            let was_there = environment
                .folder()
                .join(format!("early/__consumer_offsets-{}-0", record.partition));
            let lines = std::fs::read_to_string(was_there).map_or(0, |text| text.lines().count());
            let first = early
                .iter()
                .find(|first| first.partition == record.partition)
                .unwrap()
                .offset;
            if record.offset < first + i64::try_from(lines).unwrap() {
                record.timestamp = OLD;
            }
        }
        write_backup(environment, "offsets", &all);
        let of_offsets = [&["consumer-offsets", "--from", "offsets"], &FIELDS[..]].concat();
        assert_eq!(shown(&of_offsets), truth);
        let then = shown(&[&of_offsets[..], &["--before", "2015-03-04T12:00Z"]].concat());
        let earlier: Offsets = truth
            .iter()
            .map(|(at, offset)| (at.clone(), offset + 7))
            .collect();
        assert_eq!(then, earlier);

        // MirrorMaker's checkpoints, the last of each partition counts; and Lenses' objects.
        let mut checkpoints = Vec::new();
        for offsets in [&earlier, &truth] {
            for ((group, partition), offset) in offsets {
                let (place, partition) = (checkpoints.len() as i64, i32::try_from(*partition).unwrap());
                checkpoints.push(checkpoint(place, group, topic, partition, *offset));
            }
        }
        write_backup(environment, "mirror", &checkpoints);
        let of_mirror = ["checkpoints:old.checkpoints.internal", "--from", "mirror"];
        assert_eq!(shown(&[&of_mirror[..], &FIELDS].concat()), truth);
        for ((group, partition), offset) in &truth {
            let name = format!("lenses/offsets/{group}/{topic}/{partition}");
            environment.write(&name, offset.to_be_bytes());
        }
        assert_eq!(shown(&["lenses:offsets/", "--from", "lenses"]), truth);

        // And all of them would be committed at the same places.
        restore_as(&backup, broker, "agreed-restored", "map", &[]);
        let sources: [&[&str]; 8] = [
            &["export.json"],
            &["snapshot.json"],
            &["snapshot", "--from", "backup"],
            &["described.txt"],
            &["export.csv"],
            &of_offsets,
            &[&of_mirror[..], &FIELDS].concat(),
            &["lenses:offsets/", "--from", "lenses"],
        ];
        for source in sources {
            let more = [
                "-t",
                topic,
                "--report",
                "agreed-restored.json",
                "--dry-run",
                "--json",
            ];
            let output = run(&backup, broker, &[&["groups", "apply"], source, &more].concat());
            assert_says(&output, 0, &[]);
            let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let mut places = Offsets::new();
            for group in plan["groups"].as_array().unwrap() {
                for row in group["rows"].as_array().unwrap() {
                    let at = (
                        group["id"].as_str().unwrap().to_owned(),
                        row["partition"].as_i64().unwrap(),
                    );
                    places.insert(at, row["new"].as_i64().unwrap());
                }
            }
            let place = |((id, partition), offset): (&(String, i64), &i64)| {
                let number = i32::try_from(*partition).unwrap();
                (
                    (id.clone(), *partition),
                    contiguous_place(&backup, number, *offset),
                )
            };
            let expected: Offsets = truth.iter().map(place).collect();
            assert_eq!(places, expected, "{source:?}");
        }

        // A time needs no source: the first record of then, in every partition.
        let time = jiff::Timestamp::from_millisecond(OLD + 10 * 120).unwrap();
        let apply = [
            "groups",
            "apply",
            &format!("time:{time}"),
            "--group",
            "agreed-0",
            "-t",
            "agreed-restored",
        ];
        assert_says(&run(&backup, broker, &apply), 0, &["offsets.retention.minutes"]);
        let places: Vec<_> = (0..3)
            .map(|partition| Some(contiguous_place(&backup, partition, 120)))
            .collect();
        assert_eq!(
            committed(&bootstrap, "agreed-0", "agreed-restored", 3).unwrap(),
            places
        );
    }
}

#[test]
fn what_is_no_source_of_groups_is_a_clear_error() {
    let environment = TestEnvironment::new();
    let cut =
        "{\"kind\":\"kafka-restore snapshot\",\"version\":1,\"taken\":\"2026-11-23T01:02:03Z\",\"topics\":[";
    let newer = "{\"kind\":\"kafka-restore snapshot\",\"version\":2,\"taken\":\"2026-11-23T01:02:03Z\"}";
    for (name, content, words) in [
        ("cut.json", cut.as_bytes(), &["cut.json", "cut short"][..]),
        (
            "newer.json",
            newer.as_bytes(),
            &["newer.json has schema version 2", "knows version 1"],
        ),
        (
            "other.json",
            b"{\"kind\":\"grocery list\"}",
            &["no snapshot of kafka-restore"],
        ),
        (
            "hello.txt",
            b"hello\nworld\n",
            &["hello.txt holds no committed offsets", "TOPIC, PARTITION"],
        ),
        (
            "bytes",
            b"\xff\xfe\x00",
            &["bytes holds no committed offsets", "no text"],
        ),
        ("empty", b"", &["it is empty"]),
        (
            "half.csv",
            b"billing,orders,0,17\nbilling,orders,1\n",
            &["half.csv, line 2", "topic,partition,offset"],
        ),
        (
            "nameless.csv",
            b"orders,0,17\n",
            &["nameless.csv, line 1", "--group"],
        ),
        (
            "wrong.txt",
            b"GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG\nbilling orders zero 17 20 3\n",
            &["wrong.txt, line 2", "billing orders zero"],
        ),
    ] {
        environment.write(name, content);
        assert_says(&environment.run(&["groups", "show", name]), 1, words);
    }
    assert_says(
        &environment.run(&["groups", "show", "absent.json"]),
        1,
        &["absent.json cannot be read"],
    );
    environment.write("lenses/offsets/billing/orders/0", b"seventeen");
    let lenses = ["groups", "show", "lenses:offsets/", "--from", "lenses"];
    assert_says(
        &environment.run(&lenses),
        1,
        &["offsets/billing/orders/0", "9 bytes"],
    );
    let nothing = ["groups", "show", "lenses:elsewhere/", "--from", "lenses"];
    assert_says(
        &environment.run(&nothing),
        1,
        &["elsewhere/GROUP/TOPIC/PARTITION"],
    );
    environment.write("backup/orders-0-0", "");
    let none = ["groups", "show", "snapshot", "--from", "backup"];
    assert_says(
        &environment.run(&none),
        1,
        &["has no snapshot", "kafka-restore snapshot"],
    );
    environment.write("backup/_kafka-restore/snapshots/20150101T000000Z.json", newer);
    assert_says(&environment.run(&none), 1, &["schema version 2"]);
    environment.write("groups.csv", "billing,orders,0,17\n");
    assert_says(
        &environment.run(&["groups", "show", "groups.csv", "--group", "absent"]),
        3,
        &["no group absent"],
    );
    // Groups that cannot be read stop a restore before it begins, not at its end.
    let backup = Backup::new("unreadable-groups", crate::backups::Shape::SMALL);
    backup.environment.write("hello.txt", "hello\n");
    let output = backup.restore(&["--offsets", "map", "--groups", "hello.txt"]);
    assert_says(&output, 1, &["hello.txt holds no committed offsets"]);
    let topics = consumer::topics(&broker().internal_bootstrap()).unwrap();
    assert!(!topics.contains(&"unreadable-groups".to_owned()));
}

#[test]
fn what_finds_no_place_is_named() {
    let version = KafkaVersion::V4_1;
    let broker = of_version(version);
    let bootstrap = broker.internal_bootstrap();
    let backup = Backup::new("placeless", GAPPY);
    restore_as(&backup, broker, "placeless", "map", &[]);
    let report = ["--report", "placeless.json"];
    let apply = |source: &str, more: &[&str]| {
        run(
            &backup,
            broker,
            &[&["groups", "apply", source], &report[..], more].concat(),
        )
    };
    // A topic that this restore knows nothing of is left out, and the rest is done.
    backup.environment.write(
        "two.csv",
        "placeless-a,placeless,0,9\nplaceless-a,elsewhere,0,9\n",
    );
    assert_says(&apply("two.csv", &[]), 0, &["knows nothing of", "elsewhere"]);
    assert_eq!(
        committed(&bootstrap, "placeless-a", "placeless", 1).unwrap(),
        [Some(8)]
    );
    assert_says(&apply("two.csv", &["-t", "absent"]), 3, &["nothing to commit"]);
    assert_says(&apply("two.csv", &["--group", "absent"]), 3, &["no group absent"]);
    // A partition that the report knows nothing of, in which something stands; and no guess by one share of several.
    consumer::create_topic(&bootstrap, "placeless-wide", 4, &[]).unwrap();
    restore_as(&backup, broker, "placeless-wide", "map", &[]);
    consumer::produce(&bootstrap, &[record("placeless-wide", 3, 0, 10)]).unwrap();
    backup.environment.write(
        "wide.csv",
        "placeless-c,placeless,3,9\nplaceless-c,placeless,0,9\n",
    );
    let wide = ["groups", "apply", "wide.csv", "--report", "placeless-wide.json"];
    assert_says(&run(&backup, broker, &wide), 3, &["do not know its place"]);
    let places = committed(&bootstrap, "placeless-c", "placeless-wide", 4).unwrap();
    assert_eq!(places, [Some(8), None, None, None]);
    let output = backup.restore(&["--offsets", "map", "--shard", "0/2", "--groups", "wide.csv"]);
    assert_says(&output, 2, &["--groups with --shard"]);
    // A partition that was restored to its middle only.
    let text = std::fs::read_to_string(backup.environment.folder().join("placeless.json")).unwrap();
    let mut partial: serde_json::Value = serde_json::from_str(&text).unwrap();
    partial["topics"][0]["partitions"][1]["outcome"] = serde_json::json!({"state": "interrupted"});
    backup.environment.write("placeless.json", partial.to_string());
    backup.environment.write("one.csv", "placeless-b,placeless,0,9\n");
    assert_says(&apply("one.csv", &[]), 3, &["not fully restored"]);
    assert_eq!(
        committed(&bootstrap, "placeless-b", "placeless", 1).unwrap(),
        [None]
    );
    assert_says(&apply("one.csv", &["--incomplete"]), 0, &[]);
    assert_eq!(
        committed(&bootstrap, "placeless-b", "placeless", 1).unwrap(),
        [Some(8)]
    );
    // An undo file of an earlier apply is not written over.
    backup.environment.write("undo.json", "{}");
    let output = apply("one.csv", &["--incomplete", "--undo-file", "undo.json"]);
    assert_says(&output, 2, &["undo.json exists already"]);
    assert_says(
        &run(&backup, broker, &["groups", "undo", "undo.json"]),
        1,
        &["undo.json"],
    );
}
