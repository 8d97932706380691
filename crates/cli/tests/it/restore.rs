//! `restore` and `plan` against a real broker: what arrives, what is reported, and what is left alone.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use testkit::consumer;
use testkit::expectation::{Outcome, expectation};
use testkit::fidelity::{Offsets, compare};
use testkit::golden::GoldenSet;

use crate::backups::{Backup, OLD, Shape, assert_holds, assert_says, broker, contiguous, renamed, talk};
use crate::environment::TestEnvironment;

/// Sets of real connectors, one of each format and container that a plain folder can hold.
const GOLDEN: &[&str] = &[
    "gcs-csv-none",
    "gcs-csv-gzip",
    "gcs-csv-snappy",
    "gcs-csv-zstd",
    "gcs-jsonl-gzip",
    "gcs-jsonl-nullhdr",
    "gcs-json-none",
    "gcs-overlap-reset",
];

#[test]
fn golden_backups_come_back_whole() {
    for name in GOLDEN {
        let set = GoldenSet::fixture(name).unwrap();
        let expected = expectation(&set, Offsets::Ignored);
        assert_eq!(expected.outcome, Outcome::Complete, "{name}");
        let environment = TestEnvironment::new();
        set.write_to(&environment.folder().join("backup")).unwrap();
        let bootstrap = broker().bootstrap();
        let connector = set.connector_file();
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
        arguments.extend(["--connector-config".into(), connector.display().to_string()]);
        for (topic, partitions) in set.topics() {
            let target = format!("{name}.{topic}");
            arguments.extend([
                "-t".into(),
                topic.clone(),
                "--rename".into(),
                format!("{topic}={target}"),
            ]);
            arguments.extend(["--partitions".into(), partitions.to_string()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = environment.run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", talk(&output));
        let mut found = Vec::new();
        for (topic, _) in set.topics() {
            let records = consumer::read_topic(&broker().internal_bootstrap(), &format!("{name}.{topic}"));
            found.extend(renamed(&records.unwrap(), &topic));
        }
        if let Err(difference) = compare(&set.truth().unwrap(), &found, expected.fidelity) {
            panic!("{name}: {difference}");
        }
    }
}

#[test]
fn several_topics_at_once_and_under_other_names() {
    let backup = Backup::new("several-a", Shape::SMALL);
    let other = Backup::new(
        "several-b",
        Shape {
            partitions: 1,
            ..Shape::SMALL
        },
    );
    for object in std::fs::read_dir(other.environment.folder().join("backup")).unwrap() {
        let path = object.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        backup
            .environment
            .write(&format!("backup/{name}"), std::fs::read(&path).unwrap());
    }
    let output = backup.restore(&[
        "-t",
        "several-b",
        "--rename",
        "several-b=several-c",
        "--offsets",
        "map",
    ]);
    assert_says(&output, 0, &["several-a", "several-b -> several-c"]);
    assert_holds(broker(), "several-a", &backup.contiguous());
    assert_holds(broker(), "several-c", &renamed(&other.contiguous(), "several-c"));
    let topics = consumer::topics(&broker().internal_bootstrap()).unwrap();
    assert!(!topics.contains(&"several-b".to_owned()));
}

#[test]
fn partitions_are_chosen() {
    let backup = Backup::new("chosen", Shape::SMALL);
    let output = backup.restore(&["--partition", "0,2", "--partitions", "4", "--offsets", "map"]);
    assert_says(&output, 0, &[]);
    let expected = [backup.partition(0), backup.partition(2)].concat();
    assert_holds(broker(), "chosen", &contiguous(&expected));
    assert_eq!(crate::backups::ends(broker(), "chosen"), [40, 0, 40, 0]);
}

#[test]
fn only_objects_stored_since_then() {
    let backup = Backup::new(
        "since",
        Shape {
            partitions: 1,
            ..Shape::SMALL
        },
    );
    for (index, first) in [0, 10, 20, 30].into_iter().enumerate() {
        let path = backup
            .environment
            .folder()
            .join(format!("backup/since-0-{first}"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000 + 86_400 * index as u64);
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }
    // The third object was stored at 2020-09-15 12:26:40 UTC.
    let output = backup.restore(&["--since", "2020-09-15 12:26:40", "--offsets", "map"]);
    assert_says(&output, 0, &["2020-09-15T12:26:40Z"]);
    assert_holds(broker(), "since", &contiguous(&backup.records[20..]));
}

#[test]
fn only_records_between_offsets_and_times() {
    let backup = Backup::new("between", Shape::SMALL);
    let range = |partition: i32, from: usize, to: usize| backup.partition(partition)[from..=to].to_vec();
    let all = |from: usize, to: usize| {
        contiguous(&[range(0, from, to), range(1, from, to), range(2, from, to)].concat())
    };
    let restored = |target: &str, more: &[&str]| {
        let rename = format!("between={target}");
        let output = backup.restore(&[&["--rename", &rename, "--offsets", "map"], more].concat());
        assert_says(&output, 0, &[]);
    };
    restored("between-offsets", &["--from-offset", "15", "--to-offset", "24"]);
    assert_holds(
        broker(),
        "between-offsets",
        &renamed(&all(15, 24), "between-offsets"),
    );
    let time = |offset: i64| {
        jiff::Timestamp::from_millisecond(OLD + offset * 10)
            .unwrap()
            .to_string()
    };
    restored(
        "between-times",
        &["--from-time", &time(7), "--to-time", &time(31)],
    );
    assert_holds(broker(), "between-times", &renamed(&all(7, 31), "between-times"));
}

#[test]
fn the_report_says_what_was_done() {
    let backup = Backup::new(
        "reported",
        Shape {
            first: 100,
            gap_every: 10,
            ..Shape::SMALL
        },
    );
    let (status, report) = backup.restore_json(&["--offsets", "map", "--report", "report.json"]);
    assert_eq!(status, Some(0), "{report}");
    let file = std::fs::read(backup.environment.folder().join("report.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file, report, "stdout and file agree");
    assert_eq!(report["version"], 1);
    assert_eq!(report["topics"][0]["target"], "reported");
    let partitions = report["topics"][0]["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);
    for (number, partition) in (0..).zip(partitions) {
        let first = 100 * number;
        assert_eq!(partition["partition"], number);
        assert_eq!(partition["outcome"]["state"], "complete");
        assert_eq!(partition["records"], 40);
        assert_eq!(partition["source_range"], serde_json::json!([first, first + 42]));
        assert_eq!(partition["target_range"], serde_json::json!([0, 39]));
        assert_eq!(
            (&partition["gaps"], &partition["missing_offsets"]),
            (&3.into(), &3.into())
        );
        let runs = partition["offsets"].as_array().unwrap();
        let run = |index: i64| serde_json::json!({"source": first + 11 * index, "target": 10 * index, "length": 10});
        assert_eq!(runs, &vec![run(0), run(1), run(2), run(3)]);
    }
}

#[test]
fn a_plan_and_a_dry_run_change_nothing() {
    let backup = Backup::new(
        "planned",
        Shape {
            first: 7,
            ..Shape::SMALL
        },
    );
    let topics = || -> BTreeSet<String> {
        // Other tests make topics at the same time.
        let topics = consumer::topics(&broker().internal_bootstrap()).unwrap();
        topics
            .into_iter()
            .filter(|topic| topic.starts_with("planned"))
            .collect()
    };
    let bootstrap = broker().bootstrap();
    let mut plan = vec!["plan", "--json", "--progress", "none"];
    plan.extend(backup.places(&bootstrap));
    let output = backup.environment.run(&plan);
    assert_says(&output, 0, &[]);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["version"], 1);
    let topic = &shown["topics"][0];
    assert_eq!(
        (&topic["source"], &topic["create"]["partitions"]),
        (&"planned".into(), &3.into())
    );
    let partition = &topic["partitions"][2];
    assert_eq!(
        (&partition["objects"], &partition["first_start_offset"]),
        (&4.into(), &14.into())
    );
    assert_eq!(topics(), BTreeSet::new());

    let output = backup.restore(&["--dry-run"]);
    assert_says(&output, 0, &["planned", "will be created: 3 partitions"]);
    assert_eq!(topics(), BTreeSet::new());

    consumer::create_topic(
        &broker().internal_bootstrap(),
        "planned",
        3,
        &[("retention.ms", "1000")],
    )
    .unwrap();
    let output = backup.restore(&["--dry-run"]);
    assert_says(&output, 0, &["retention.ms=-1 instead of 1000", "empty"]);
    assert_eq!(crate::backups::ends(broker(), "planned"), [0, 0, 0]);
}

#[test]
fn progress_for_programs_is_json() {
    let backup = Backup::new("watched", Shape::SMALL);
    let output = backup.restore(&["--progress", "json", "--json", "--offsets", "map"]);
    assert_says(&output, 0, &[]);
    let events: Vec<serde_json::Value> = String::from_utf8(output.stderr.clone())
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let phases: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "phase")
        .filter_map(|event| event["phase"].as_str())
        .collect();
    assert_eq!(
        &phases[..4],
        ["list", "examine", "prepare", "restore"],
        "{}",
        talk(&output)
    );
    let done: BTreeSet<i64> = events
        .iter()
        .filter(|event| event["event"] == "partition_done")
        .filter_map(|event| event["partition"].as_i64())
        .collect();
    assert_eq!(done, BTreeSet::from([0, 1, 2]));
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
}

#[test]
fn a_second_run_finds_nothing_left_to_do() {
    for mode in ["map", "exact"] {
        let topic = format!("again-{mode}");
        let backup = Backup::new(
            &topic,
            Shape {
                first: 5,
                ..Shape::SMALL
            },
        );
        let expected = if mode == "map" {
            backup.contiguous()
        } else {
            backup.records.clone()
        };
        for records in [120, 0] {
            let (status, report) = backup.restore_json(&["--offsets", mode]);
            assert_eq!(status, Some(0), "{mode}: {report}");
            let partitions = report["topics"][0]["partitions"].as_array().unwrap();
            let sum: i64 = partitions
                .iter()
                .filter_map(|partition| partition["records"].as_i64())
                .sum();
            assert_eq!(sum, records, "{mode}");
            assert_holds(broker(), &topic, &expected);
        }
    }
}

#[test]
fn nothing_asked_for_is_no_restore() {
    let backup = Backup::new("nothing", Shape::SMALL);
    let bootstrap = broker().bootstrap();
    let output = backup
        .environment
        .run(&["restore", "--from", "backup", "--bootstrap-server", &bootstrap]);
    assert_says(&output, 2, &["no topic was chosen", "--all-topics"]);
    let output = backup
        .environment
        .run(&["restore", "--from", "backup", "-t", "nothing"]);
    assert_says(&output, 2, &["--bootstrap-server"]);
}

#[test]
fn an_older_kafka_too() {
    let broker = testkit::broker::Broker::shared(testkit::broker::KafkaVersion::V3_9);
    let backup = Backup::new(
        "older",
        Shape {
            first: 9,
            gap_every: 11,
            ..Shape::SMALL
        },
    );
    let bootstrap = broker.bootstrap();
    for (mode, expected) in [("map", backup.contiguous()), ("exact", backup.records.clone())] {
        let (target, rename) = (format!("older-{mode}"), format!("older=older-{mode}"));
        let more = ["--offsets", mode, "--rename", &rename, "--verify"];
        let output = backup.environment.run(&backup.arguments(&bootstrap, &more));
        assert_says(&output, 0, &["read back and equal"]);
        assert_holds(broker, &target, &renamed(&expected, &target));
    }
}

#[test]
fn a_topics_own_configuration_is_there_again_at_the_end() {
    let backup = Backup::new("configured", Shape::SMALL);
    let own = [
        ("retention.ms", "3000000000000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "zstd"),
        ("cleanup.policy", "compact,delete"),
    ];
    consumer::create_topic(&broker().internal_bootstrap(), "configured", 3, &own).unwrap();
    let output = backup.restore(&["--offsets", "map", "--verify"]);
    assert_says(&output, 0, &["read back and equal"]);
    // LogAppendTime would have replaced every timestamp.
    assert_holds(broker(), "configured", &backup.contiguous());
    let bootstrap = broker().bootstrap();
    let mut plan = vec!["plan", "--json", "--progress", "none"];
    plan.extend(backup.places(&bootstrap));
    let output = backup.environment.run(&plan);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let profile = plan["topics"][0]["profile"].as_array().unwrap();
    let original = |name: &str| {
        let change = profile.iter().find(|change| change["name"] == name);
        change.and_then(|change| change["original"].as_str())
    };
    for (name, value) in own.iter().filter(|(name, _)| *name != "compression.type") {
        assert_eq!(original(name), Some(*value), "{plan}");
    }
}

#[test]
fn objects_that_disagree_about_a_record() {
    let backup = Backup::new(
        "disagreed",
        Shape {
            partitions: 1,
            ..Shape::SMALL
        },
    );
    // The connector was set back to offset 15 and met other records there.
    let mut other = backup.records[15..20].to_vec();
    for record in &mut other {
        record.value = Some(b"another life".to_vec());
    }
    let lines: String = other.iter().map(crate::backups::csv_line).collect();
    backup.environment.write("backup/disagreed-0-15", lines);
    for (first, seconds) in [(10, 1_600_000_000), (15, 1_700_000_000)] {
        let path = backup
            .environment
            .folder()
            .join(format!("backup/disagreed-0-{first}"));
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    }
    let output = backup.restore(&["--offsets", "map"]);
    let words = [
        "two different records with offset 15",
        "disagreed-0-10",
        "disagreed-0-15",
    ];
    assert_says(&output, 1, &words);
    assert_holds(broker(), "disagreed", &backup.records[..15]);
    let mut newest = backup.records.clone();
    newest[15..20].clone_from_slice(&other);
    for (how, expected) in [("first", &backup.records), ("newest", &newest)] {
        let (target, rename) = (format!("disagreed-{how}"), format!("disagreed=disagreed-{how}"));
        let output = backup.restore(&["--offsets", "map", "--on-conflict", how, "--rename", &rename]);
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", talk(&output));
        assert!(talk(&output).contains("settled as asked: 5"), "{}", talk(&output));
        assert_holds(broker(), &target, &renamed(expected, &target));
    }
}
