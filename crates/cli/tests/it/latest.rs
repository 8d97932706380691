//! Backups that hold the latest record of each key, in objects whose names say no partition.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::consumer;
use testkit::record::TruthRecord;

use crate::backups::{OLD, assert_says, broker, ends, talk};
use crate::environment::TestEnvironment;

/// One object, `{{key}}`, of one csv record.
fn put(environment: &TestEnvironment, name: &str, key: &str, value: &str, offset: i64, timestamp: i64) {
    let line = format!(
        "{},{},{offset},{timestamp}",
        STANDARD.encode(key),
        STANDARD.encode(value)
    );
    environment.write(&format!("backup/{name}"), line);
}

/// Ten keys; of one of them an older object under another name, as keys of bytes leave it.
fn backup() -> TestEnvironment {
    let environment = TestEnvironment::new();
    for number in 0..10 {
        let key = format!("user-{number}");
        put(
            &environment,
            &key,
            &key,
            &format!("value {number}"),
            100 - number,
            OLD + number,
        );
    }
    put(&environment, "[B@21a947fe", "user-3", "older", 5000, OLD - 1);
    environment
}

fn run(environment: &TestEnvironment, command: &str, topic: &str, more: &[&str]) -> std::process::Output {
    let bootstrap = broker().bootstrap();
    let mut arguments = vec![command, "--from", "backup", "-t", topic, "--template", "{{key}}"];
    arguments.extend([
        "--bootstrap-server",
        &bootstrap,
        "--fields",
        "key,value,offset,timestamp",
    ]);
    environment.run(&[&arguments, more].concat())
}

fn values(records: &[TruthRecord]) -> BTreeMap<String, (i32, String)> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    records
        .iter()
        .map(|record| (text(&record.key), (record.partition, text(&record.value))))
        .collect()
}

#[test]
fn the_latest_state_is_restored_when_it_is_asked_for_and_only_then() {
    let environment = backup();
    let refused = run(&environment, "plan", "latest", &["--partitions", "3"]);
    assert_says(&refused, 1, &["named by record keys", "--latest-state"]);
    let refused = run(&environment, "plan", "latest", &["--latest-state"]);
    assert_says(&refused, 1, &["no partition", "--partitions"]);
    let exact = ["--latest-state", "--partitions", "3", "--offsets", "exact"];
    let refused = run(&environment, "plan", "latest", &exact);
    assert_says(&refused, 1, &["cannot get its original offset"]);
    let window = ["--latest-state", "--partitions", "3", "--from-offset", "7"];
    assert_says(
        &run(&environment, "plan", "latest", &window),
        1,
        &["--from-offset"],
    );

    let wanted = ["--latest-state", "--partitions", "3"];
    let plan = run(&environment, "plan", "latest", &wanted);
    assert_says(
        &plan,
        0,
        &[
            "latest: latest state, new offsets",
            "10 records of 11 objects, 1 older than another of the same key and left out",
            "Older values of a key are gone",
        ],
    );
    let restored = run(
        &environment,
        "restore",
        "latest",
        &[&wanted[..], &["--verify"]].concat(),
    );
    assert_says(
        &restored,
        0,
        &["10 records of 11 objects", "Older values", "read back and equal"],
    );
    let records = consumer::read_topic(&broker().internal_bootstrap(), "latest").unwrap();
    assert_eq!(records.len(), 10);
    let found = values(&records);
    for number in 0..10 {
        let (partition, value) = &found[&format!("user-{number}")];
        assert_eq!(*value, format!("value {number}"));
        let key = format!("user-{number}");
        assert_eq!(
            *partition,
            kafka::partitioner::partition_of_key(key.as_bytes(), 3)
        );
    }

    // The same again adds nothing, and all is as it should be.
    let again = run(&environment, "restore", "latest", &wanted);
    assert_says(&again, 0, &["0 records restored"]);
    assert_says(
        &run(&environment, "verify", "latest", &["--latest-state"]),
        0,
        &[],
    );
    assert_says(
        &run(&environment, "verify", "latest", &[]),
        1,
        &["--latest-state"],
    );
    // A key that changed since is another backup.
    put(&environment, "user-3", "user-3", "changed", 200, OLD + 200);
    let output = run(&environment, "verify", "latest", &["--latest-state"]);
    assert_eq!(output.status.code(), Some(3), "{}", talk(&output));
}

#[test]
fn an_interrupted_one_goes_on_where_it_ended() {
    let environment = backup();
    let wanted = ["--latest-state", "--partitions", "1", "--from-time", "2015-03-04"];
    // What an earlier run would have left: the first records of the same order.
    let first = ["--to-time", "2015-03-04T00:00:00.004Z"];
    let output = run(
        &environment,
        "restore",
        "latest-part",
        &[&wanted[..], &first].concat(),
    );
    assert_says(&output, 0, &["restored"]);
    let there = ends(broker(), "latest-part")[0];
    assert!((1..10).contains(&there), "{}", talk(&output));
    let output = run(&environment, "restore", "latest-part", &wanted);
    assert_says(&output, 0, &["went on from where an earlier run ended"]);
    assert_eq!(ends(broker(), "latest-part"), [10]);
}

#[test]
fn what_does_not_fit_into_memory_says_what_would() {
    let environment = TestEnvironment::new();
    let value = "x".repeat(40_000);
    for number in 0..80 {
        let key = format!("user-{number}");
        put(&environment, &key, &key, &value, number, OLD);
    }
    let small = ["--latest-state", "--partitions", "1", "--memory", "4MiB"];
    let output = run(&environment, "plan", "latest-large", &small);
    assert_says(&output, 1, &["must fit into memory", "--memory"]);
    let said = talk(&output);
    let advice = said
        .split("(--memory ")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    let enough = ["--latest-state", "--partitions", "1", "--memory", advice.unwrap()];
    assert_says(
        &run(&environment, "plan", "latest-large", &enough),
        0,
        &["80 records of 80 objects"],
    );
}
