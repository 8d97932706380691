//! Damaged content, wrong configuration and storage that is not what was said: what a person is told, that nothing
//! behind the damage is restored, and that the other partitions are.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use testkit::certificates::Certificates;
use testkit::consumer;
use testkit::emulators::S3Emulator;

use crate::backups::{Backup, Shape, assert_holds, assert_says, broker, contiguous, csv_line, talk};
use crate::environment::TestEnvironment;

/// A way to damage the object with the records 10 to 19 of partition 0.
struct Damage {
    name: &'static str,
    /// Makes the object's bytes of its lines.
    bytes: fn(&[String]) -> Vec<u8>,
    /// Records of the damaged object that come before the damage.
    good: usize,
    /// The line that must be named, where lines can be told.
    line: Option<usize>,
    /// What else must be said.
    words: &'static [&'static str],
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The lines with the fourth one replaced.
fn with_fourth(lines: &[String], fourth: &str) -> Vec<u8> {
    let mut lines = lines.to_vec();
    lines[3] = format!("{fourth}\n");
    lines.concat().into_bytes()
}

const DAMAGES: &[Damage] = &[
    Damage {
        name: "bad-base64",
        bytes: |lines| with_fourth(lines, "a2V5,!!!!,13,1425427200130"),
        good: 3,
        line: Some(4),
        words: &["base64"],
    },
    Damage {
        name: "too-few-fields",
        bytes: |lines| with_fourth(lines, "a2V5,djA=,13"),
        good: 3,
        line: Some(4),
        words: &["field"],
    },
    Damage {
        name: "too-many-fields",
        bytes: |lines| with_fourth(lines, "a2V5,djA=,13,1425427200130,1"),
        good: 3,
        line: Some(4),
        words: &[],
    },
    Damage {
        name: "no-number",
        bytes: |lines| with_fourth(lines, "a2V5,djA=,thirteen,1425427200130"),
        good: 3,
        line: Some(4),
        words: &["offset"],
    },
    Damage {
        name: "number-too-large",
        bytes: |lines| with_fourth(lines, "a2V5,djA=,13,99999999999999999999999"),
        good: 3,
        line: Some(4),
        words: &["timestamp"],
    },
    Damage {
        name: "gzip-truncated",
        bytes: |lines| {
            let mut bytes = gzip(lines.concat().as_bytes());
            bytes.truncate(bytes.len() * 2 / 3);
            bytes
        },
        good: 9,
        line: None,
        words: &["gzip"],
    },
    Damage {
        name: "gzip-wrong-crc",
        bytes: |lines| {
            let mut bytes = gzip(lines.concat().as_bytes());
            let crc = bytes.len() - 8;
            bytes[crc] ^= 1;
            bytes
        },
        good: 0,
        line: None,
        words: &["gzip"],
    },
    Damage {
        name: "a-picture",
        bytes: |_| {
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x06\0\0\0\x1f\xf3\xffa\n\n".to_vec()
        },
        good: 0,
        line: None,
        words: &[],
    },
];

fn damaged(damage: &Damage, topic: &str) -> Backup {
    let backup = Backup::new(
        topic,
        Shape {
            partitions: 2,
            ..Shape::SMALL
        },
    );
    let lines: Vec<String> = backup.records[10..20].iter().map(csv_line).collect();
    backup
        .environment
        .write(&format!("backup/{topic}-0-10"), (damage.bytes)(&lines));
    backup
}

#[test]
fn damage_stops_its_partition_and_no_other() {
    for damage in DAMAGES {
        let topic = format!("damage-{}", damage.name);
        let backup = damaged(damage, &topic);
        let output = backup.restore(&["--offsets", "map", "--report", "report.json"]);
        let object = format!("{topic}-0-10");
        assert_says(&output, 1, &[&object, "the last record before has offset"]);
        assert_says(&output, 1, damage.words);
        let said = talk(&output);
        match damage.line {
            Some(line) => assert!(
                said.contains(&format!("line {line}, byte ")),
                "{}: {said}",
                damage.name
            ),
            None => assert!(said.contains("byte "), "{}: {said}", damage.name),
        }
        // What came before the damage may be less than all that could be read, never more.
        let found = consumer::read_topic(&broker().internal_bootstrap(), &topic).unwrap();
        let count = |partition: i32| {
            found
                .iter()
                .filter(|record| record.partition == partition)
                .count()
        };
        assert!(
            (10..=10 + damage.good).contains(&count(0)),
            "{}: {} records",
            damage.name,
            count(0)
        );
        let expected = [&backup.partition(0)[..count(0)], &backup.partition(1)].concat();
        assert_holds(broker(), &topic, &contiguous(&expected));
        let report = std::fs::read(backup.environment.folder().join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        let partitions = &report["topics"][0]["partitions"];
        assert_eq!(partitions[0]["outcome"]["state"], "failed", "{}", damage.name);
        assert_eq!(partitions[0]["records"], count(0), "{}", damage.name);
        assert_eq!(partitions[1]["outcome"]["state"], "complete", "{}", damage.name);
    }
}

/// Nothing can be read wrongly in an object without content; but sinks write no such objects, so something is lost.
#[test]
fn an_empty_object_is_a_finding_with_the_offsets_that_are_lost() {
    let backup = Backup::new(
        "empty-object",
        Shape {
            partitions: 2,
            ..Shape::SMALL
        },
    );
    backup.environment.write("backup/empty-object-0-10", "");
    let output = backup.restore(&["--offsets", "map"]);
    assert_says(&output, 3, &["offsets 10..19", "empty-object-0-10", "lost"]);
    let mut expected = backup.records.clone();
    expected.retain(|record| record.partition == 1 || !(10..20).contains(&record.offset));
    assert_holds(broker(), "empty-object", &contiguous(&expected));
}

#[test]
fn what_cannot_be_read_is_kept_where_that_is_asked_for() {
    for damage in DAMAGES.iter().filter(|damage| damage.line.is_some()) {
        let topic = format!("skip-{}", damage.name);
        let backup = damaged(damage, &topic);
        let output = backup.restore(&[
            "--offsets",
            "map",
            "--on-bad-record",
            "skip",
            "--report",
            "report.json",
        ]);
        assert_says(&output, 3, &["report.rejected.jsonl", "left out as asked"]);
        let kept =
            std::fs::read_to_string(backup.environment.folder().join("report.rejected.jsonl")).unwrap();
        let kept: Vec<serde_json::Value> = kept
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(kept.len(), 1, "{}", damage.name);
        assert_eq!(
            kept[0]["object"].as_str().unwrap().rsplit('/').next(),
            Some(format!("{topic}-0-10").as_str())
        );
        assert_eq!(
            (&kept[0]["line"], &kept[0]["after_offset"]),
            (&4.into(), &12.into()),
            "{}",
            damage.name
        );
        let content =
            std::fs::read(backup.environment.folder().join(format!("backup/{topic}-0-10"))).unwrap();
        let start = usize::try_from(kept[0]["byte_offset"].as_u64().unwrap()).unwrap();
        let bytes = STANDARD
            .decode(kept[0]["bytes_base64"].as_str().unwrap())
            .unwrap();
        let fourth = content.split(|byte| *byte == b'\n').nth(3).unwrap();
        assert!(
            bytes.strip_suffix(b"\n").unwrap_or(&bytes) == fourth,
            "{}: {bytes:?}",
            damage.name
        );
        let line_start = content
            .split_inclusive(|byte| *byte == b'\n')
            .take(3)
            .map(<[u8]>::len)
            .sum::<usize>();
        assert!(
            (line_start..=line_start + fourth.len()).contains(&start),
            "{}: byte {start}",
            damage.name
        );
        let mut expected = backup.records.clone();
        expected.retain(|record| (record.partition, record.offset) != (0, 13));
        assert_holds(broker(), &topic, &contiguous(&expected));
    }
}

#[test]
fn a_line_of_100_mb_is_an_error_and_not_a_hundred_mb_of_memory() {
    let backup = Backup::new(
        "long-line",
        Shape {
            partitions: 2,
            ..Shape::SMALL
        },
    );
    let path = backup.environment.folder().join("backup/long-line-0-10");
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // A hole of zeros behind ten good lines.
    file.set_len(100 << 20).unwrap();
    let output = backup.restore(&["--offsets", "map", "--memory", "64MiB"]);
    assert_says(&output, 1, &["long-line-0-10", "line 11, byte "]);
    let found = consumer::read_topic(&broker().internal_bootstrap(), "long-line").unwrap();
    let count = found.iter().filter(|record| record.partition == 0).count();
    assert!((10..=20).contains(&count), "{count}");
    let expected = [&backup.partition(0)[..count], &backup.partition(1)].concat();
    assert_holds(broker(), "long-line", &contiguous(&expected));
}

#[test]
fn the_order_is_that_of_the_records_and_not_of_the_names() {
    // 9 comes before 10, and 100 behind 20, whatever the alphabet says; and names of other topics are not ours.
    let backup = Backup::new(
        "numbers",
        Shape {
            partitions: 1,
            records: 120,
            ..Shape::SMALL
        },
    );
    backup
        .environment
        .write("backup/numbers-1-0-0", "eHg=,eHg=,0,1\n");
    let output = backup.restore(&["--offsets", "map"]);
    assert_says(&output, 0, &[]);
    assert_holds(broker(), "numbers", &backup.contiguous());
}

#[test]
fn wrong_configuration_is_explained() {
    let environment = TestEnvironment::new();
    let mine = Certificates::generate(&environment.folder().join("mine"), &["localhost".into()]).unwrap();
    Certificates::generate(&environment.folder().join("other"), &["localhost".into()]).unwrap();
    assert!(mine.ca().ends_with("mine/ca.crt"));
    environment.write("garbage.crt", "this is no certificate");
    environment.write("backup/orders-0-0", "");
    let config = |ca: &str, certificate: &str, key: &str| {
        format!(
            r#"{{"kafka": {{"kafka_url": "localhost:1", "ssl_ca_file": "{ca}",
               "ssl_access_certificate_file": "{certificate}", "ssl_access_key_file": "{key}"}},
               "object_storage": {{"type": "local", "path": "backup"}}}}"#
        )
    };
    let mut text = String::new();
    for (name, ca, certificate, key) in [
        (
            "no such certificate",
            "mine/ca.crt",
            "none.crt",
            "mine/service.key",
        ),
        (
            "a folder for a certificate",
            "mine/ca.crt",
            "mine",
            "mine/service.key",
        ),
        (
            "garbage for a certificate",
            "mine/ca.crt",
            "garbage.crt",
            "mine/service.key",
        ),
        (
            "garbage for an authority",
            "garbage.crt",
            "mine/service.crt",
            "mine/service.key",
        ),
        (
            "a key for a certificate",
            "mine/ca.crt",
            "mine/service.key",
            "mine/service.key",
        ),
        (
            "a certificate for a key",
            "mine/ca.crt",
            "mine/service.crt",
            "mine/service.crt",
        ),
        (
            "the key of another certificate",
            "mine/ca.crt",
            "mine/service.crt",
            "other/service.key",
        ),
    ] {
        environment.write("config.json", config(ca, certificate, key));
        let shown = environment.show(&["-c", "config.json", "-t", "orders", "--progress", "none"]);
        text.push_str(&format!("{name}\n{shown}\n"));
    }
    let shown = environment.show(&["-c", "nowhere.json", "-t", "orders"]);
    text.push_str(&format!("no config file\n{shown}\n"));
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_places_are_explained() {
    let backup = Backup::new("places", Shape::SMALL);
    backup
        .environment
        .write("deep/kafka/daily/orders-0-0", "eHg=,eHg=,0,1\n");
    let bootstrap = broker().bootstrap();
    let run = |from: &str, topic: &str| {
        backup.environment.run(&[
            "restore",
            "--from",
            from,
            "-t",
            topic,
            "--bootstrap-server",
            &bootstrap,
        ])
    };
    assert_says(&run("nowhere", "places"), 1, &["nowhere"]);
    assert_says(&run("backup", "place"), 1, &["no object", "\"place\"", "places"]);
    // The folder is right and the prefix is not: what there is instead is named.
    let config = |prefix: &str| {
        format!(
            r#"{{"kafka": {{"kafka_url": "{bootstrap}"}},
               "object_storage": {{"type": "local", "path": "deep", "prefix": "{prefix}"}}}}"#
        )
    };
    backup.environment.write("config.json", config("kafka/weekly/"));
    let output = backup.environment.run(&["-c", "config.json", "-t", "orders"]);
    assert_says(&output, 1, &["kafka/weekly/", "kafka/daily/"]);
}

#[test]
fn wrong_buckets_and_rights_are_explained() {
    let emulator = S3Emulator::start().unwrap();
    emulator.create_bucket("backups").unwrap();
    emulator
        .put("backups", "kafka/orders-0-0", b"eHg=,eHg=,0,1\n", None)
        .unwrap();
    let environment = TestEnvironment::new();
    let bootstrap = broker().bootstrap();
    let run = |endpoint: &str, bucket: &str, prefix: &str, id: &str, secret: &str| {
        let config = format!(
            r#"{{"kafka": {{"kafka_url": "{bootstrap}"}}, "object_storage": {{"type": "s3", "bucket": "{bucket}",
               "prefix": "{prefix}", "endpoint": "{endpoint}", "region": "us-east-1",
               "access_key_id": "{id}", "secret_access_key": "{secret}"}}}}"#
        );
        environment.write("config.json", config);
        environment.run(&[
            "-c",
            "config.json",
            "-t",
            "orders",
            "--rename",
            "orders=bucket-orders",
        ])
    };
    let (id, secret) = (S3Emulator::ACCESS_KEY_ID, S3Emulator::SECRET_ACCESS_KEY);
    let endpoint = emulator.endpoint();
    assert_says(
        &run(&endpoint, "backup", "kafka/", id, secret),
        1,
        &["backup", "hint: Check the bucket's name"],
    );
    assert_says(
        &run(&endpoint, "backups", "kafak/", id, secret),
        1,
        &["\"kafak/\"", "\"kafka/\""],
    );
    let output = run("http://127.0.0.1:1", "backups", "kafka/", id, secret);
    assert_says(
        &output,
        1,
        &["127.0.0.1:1", "hint: Check object_storage.endpoint"],
    );
    let (id, secret) = emulator.create_powerless_user("nobody").unwrap();
    emulator.check_permissions(true).unwrap();
    let output = run(&endpoint, "backups", "kafka/", &id, &secret);
    assert_says(
        &output,
        1,
        &["hint: The credentials are valid but may not do this"],
    );
    assert!(!talk(&output).contains(&secret), "a secret was printed");
    let topics = consumer::topics(&broker().internal_bootstrap()).unwrap();
    assert!(
        !topics.contains(&"bucket-orders".to_owned()),
        "nothing may be created before the backup is found"
    );
}
