//! Snapshots: what sinks never store, kept in a bucket or a file, and used for topics and groups by themselves.

use std::collections::BTreeMap;

use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::emulators::S3Emulator;
use testkit::groups::{commit, committed, topic_configs};

use crate::backups::{Backup, Shape, assert_says, broker, ends, talk, until};

const OWN: &[(&str, &str)] = &[
    ("cleanup.policy", "compact,delete"),
    ("max.message.bytes", "2000000"),
    ("retention.ms", "3153600000000"),
];

fn source() -> &'static Broker {
    Broker::shared(KafkaVersion::V3_9)
}

fn own() -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    OWN.iter().map(owned).collect()
}

/// Restores the backup into the shared broker with `more`; gives what was said.
fn restored(backup: &Backup, more: &[&str]) -> String {
    let output = backup.restore(&[&["--offsets", "map"], more].concat());
    assert_says(&output, 0, &[]);
    talk(&output)
}

#[test]
fn a_snapshot_in_the_bucket_is_found_by_restore_and_groups() {
    let (source, target) = (source(), broker());
    let backup = Backup::new("kept", Shape::SMALL);
    consumer::create_topic(&source.internal_bootstrap(), "kept", 6, OWN).unwrap();
    for (partition, offset) in [(0, 7), (2, 40), (5, 0)] {
        commit(
            &source.internal_bootstrap(),
            "kept-readers",
            &[("kept", partition, offset, "")],
        )
        .unwrap();
    }
    let emulator = S3Emulator::start().unwrap();
    emulator.create_bucket("keeper").unwrap();
    for partition in 0..3 {
        for start in [0, 10, 20, 30] {
            let name = format!("kept-{partition}-{start}");
            let bytes = std::fs::read(backup.environment.folder().join("backup").join(&name)).unwrap();
            emulator
                .put("keeper", &format!("kafka/{name}"), &bytes, None)
                .unwrap();
        }
    }
    let config = |kafka: &Broker| {
        serde_json::json!({
            "kafka": {"kafka_url": kafka.bootstrap()},
            "object_storage": {
                "type": "s3", "bucket": "keeper", "prefix": "kafka/", "endpoint": emulator.endpoint(),
                "region": S3Emulator::REGION, "access_key_id": S3Emulator::ACCESS_KEY_ID,
                "secret_access_key": S3Emulator::SECRET_ACCESS_KEY,
            },
        })
        .to_string()
    };
    backup.environment.write("old.json", config(source));
    backup.environment.write("new.json", config(target));

    // Two earlier ones, of which one has to go; and something that is none.
    let folder = "kafka/_kafka-restore/snapshots";
    let earlier = |time: &str| format!("{folder}/{time}.json");
    let old_one = "{\"version\":1,\"kind\":\"kafka-restore snapshot\",\"taken\":\"2015-01-01T00:00:00Z\",\"topics\":[],\"groups\":[]}";
    for time in ["20150101T000000Z", "20150102T000000Z"] {
        emulator
            .put("keeper", &earlier(time), old_one.as_bytes(), None)
            .unwrap();
    }
    emulator
        .put("keeper", &format!("{folder}/README"), b"hello", None)
        .unwrap();
    let output = backup
        .environment
        .run(&["snapshot", "-c", "old.json", "--keep", "2", "-q"]);
    assert_says(&output, 0, &[]);
    assert_eq!(
        (output.stdout.len(), output.stderr.len()),
        (0, 0),
        "{}",
        talk(&output)
    );
    let is_there = |key: &str| emulator.get("keeper", key).unwrap().is_some();
    assert!(!is_there(&earlier("20150101T000000Z")));
    assert!(is_there(&earlier("20150102T000000Z")) && is_there(&format!("{folder}/README")));

    let restore = [
        "-c",
        "new.json",
        "-t",
        "kept",
        "--fields",
        "key,value,offset,timestamp",
        "--offsets",
        "map",
    ];
    // Written to again, the backup ends after the snapshot of now. Both are timed by the second.
    let bytes = std::fs::read(backup.environment.folder().join("backup/kept-2-30")).unwrap();
    let second = || jiff::Timestamp::now().as_second();
    let taken = second();
    until("the next second", || second() > taken);
    emulator.put("keeper", "kafka/kept-2-30", &bytes, None).unwrap();
    let arguments = [
        &["restore"],
        &restore[..],
        &["--groups", "snapshot", "--report", "report.json"],
    ]
    .concat();
    let output = backup.environment.run(&arguments);
    assert_says(&output, 0, &["groups as they were", "1 group committed"]);
    assert!(!talk(&output).contains("belong to no topic"), "{}", talk(&output));
    assert_eq!(ends(target, "kept"), [40, 40, 40, 0, 0, 0]);
    assert_eq!(
        topic_configs(&target.internal_bootstrap(), "kept").unwrap(),
        own()
    );
    let places = || committed(&target.internal_bootstrap(), "kept-readers", "kept", 6).unwrap();
    assert_eq!(places(), [Some(7), None, Some(40), None, None, Some(0)]);

    commit(
        &target.internal_bootstrap(),
        "kept-readers",
        &[("kept", 0, 1, "")],
    )
    .unwrap();
    let apply = [
        "groups",
        "apply",
        "snapshot",
        "-c",
        "new.json",
        "-t",
        "kept",
        "--report",
        "report.json",
    ];
    assert_says(&backup.environment.run(&apply), 0, &["1 group committed"]);
    assert_eq!(places(), [Some(7), None, Some(40), None, None, Some(0)]);
}

#[test]
fn a_snapshot_that_cannot_be_used_is_said_and_not_half_believed() {
    let backup = Backup::new("half-kept", Shape::SMALL);
    let folder = "backup/_kafka-restore/snapshots";
    let cut = "{\"kind\":\"kafka-restore snapshot\",\"version\":1,\"taken\":\"2015-11-23T01:02:03Z\",\"topics\":[{\"name\":\"half-kept\",";
    backup
        .environment
        .write(&format!("{folder}/20150101T000000Z.json"), cut);
    let said = restored(&backup, &[]);
    assert!(
        said.contains("the snapshot in the bucket is not used") && said.contains("cut short"),
        "{said}"
    );
    backup.environment.write("cut.json", cut);
    for (source, words) in [
        ("cut.json", &["cut.json", "cut short"][..]),
        ("snapshot", &["20150101T000000Z.json", "cut short"]),
    ] {
        let output = backup.restore(&[
            "--offsets",
            "map",
            "--groups",
            source,
            "--rename",
            "half-kept=half-kept-2",
        ]);
        assert_says(&output, 1, words);
    }
    // A topic of the snapshot of which the backup has nothing is named where all topics are wanted.
    let lacking = "{\"kind\":\"kafka-restore snapshot\",\"version\":1,\"taken\":\"2015-11-23T01:02:03Z\",\"groups\":[],\"topics\":[\
        {\"name\":\"never-backed-up\",\"replication_factor\":1,\"configs\":{},\"partitions\":[[0,7]]},\
        {\"name\":\"always-empty\",\"replication_factor\":1,\"configs\":{},\"partitions\":[[0,0]]}]}";
    backup
        .environment
        .write(&format!("{folder}/20150101T000000Z.json"), lacking);
    let bootstrap = broker().bootstrap();
    let plan = [
        "plan",
        "--from",
        "backup",
        "--bootstrap-server",
        &bootstrap,
        "--fields",
        "key,value,offset,timestamp",
    ];
    let output = backup
        .environment
        .run(&[&plan[..], &["--all-topics", "--offsets", "map"]].concat());
    assert_says(&output, 0, &["of which the backup has none: never-backed-up"]);
    assert!(!talk(&output).contains("always-empty"));
    let output = backup
        .environment
        .run(&[&plan[..], &["-t", "never-backed-up"]].concat());
    assert_says(&output, 1, &["never-backed-up"]);
}

#[test]
fn topics_are_made_as_they_are_in_another_cluster() {
    let backup = Backup::new("modelled", Shape::SMALL);
    consumer::create_topic(&source().internal_bootstrap(), "modelled", 5, OWN).unwrap();
    let from = source().bootstrap();
    // What is said by hand comes first.
    let more = [
        "--topic-config-from",
        &from,
        "--topic-config",
        "max.message.bytes=3000000",
    ];
    restored(&backup, &more);
    assert_eq!(ends(broker(), "modelled"), [40, 40, 40, 0, 0]);
    let mut expected = own();
    expected.insert("max.message.bytes".to_owned(), "3000000".to_owned());
    let configs = |topic: &str| topic_configs(&broker().internal_bootstrap(), topic).unwrap();
    assert_eq!(configs("modelled"), expected);

    // One that exists is compared, and gets partitions only where that is allowed; nothing else is changed.
    let rename = ["--rename", "modelled=modelled-2", "--topic-config-from", &from];
    let there = [("retention.ms", "3153600000000"), ("cleanup.policy", "compact")];
    consumer::create_topic(&broker().internal_bootstrap(), "modelled-2", 3, &there).unwrap();
    let said = restored(&backup, &rename);
    for words in [
        "modelled-2 has 3 partitions, and the topic at",
        "modelled-2 has cleanup.policy=compact",
        "says compact,delete",
        "modelled-2 has max.message.bytes=the default",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(ends(broker(), "modelled-2"), [40, 40, 40]);
    let said = restored(&backup, &[&rename[..], &["--add-partitions"]].concat());
    assert!(!said.contains("has 3 partitions"), "{said}");
    assert_eq!(ends(broker(), "modelled-2"), [40, 40, 40, 0, 0]);
    assert_eq!(
        configs("modelled-2"),
        there
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    );
    let output = backup.restore(&["--offsets", "map", "--topic-config-from", "127.0.0.1:1", "-q"]);
    assert_says(&output, 1, &["127.0.0.1:1"]);
}
