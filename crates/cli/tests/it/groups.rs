//! Consumers' committed offsets, put into real brokers: every kind of group at every position lands where it should, an
//! active group is left alone, and undo puts back what stood there.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::OnceLock;

use kafka::cluster::Cluster;
use kafka::config::{Address, ClientConfig};
use kafka_protocol::messages::UpdateFeaturesRequest;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::protocol::StrBytes;
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::groups::{Member, commit, committed, committed_text};

use crate::backups::{Backup, Running, Shape, assert_says, record, talk};

/// A broker of each version; that of 4.1 has share groups.
pub(crate) fn of_version(version: KafkaVersion) -> &'static Broker {
    static SHARING: OnceLock<Broker> = OnceLock::new();
    match version {
        KafkaVersion::V3_9 => Broker::shared(version),
        KafkaVersion::V4_1 => SHARING.get_or_init(|| {
            let broker = Broker::builder(version)
                .property("unstable.feature.versions.enable", "true")
                .property("unstable.api.versions.enable", "true")
                .start()
                .unwrap();
            switch_on_share_groups(&broker);
            broker
        }),
    }
}

async fn cluster(broker: &Broker) -> Cluster {
    let config = ClientConfig::new(Address::parse_list(&broker.internal_bootstrap()).unwrap());
    Cluster::connect(config).await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn switch_on_share_groups(broker: &Broker) {
    let feature = FeatureUpdateKey::default()
        .with_feature(StrBytes::from_static_str("share.version"))
        .with_max_version_level(1)
        .with_upgrade_type(1);
    let request = UpdateFeaturesRequest::default()
        .with_timeout_ms(30_000)
        .with_feature_updates(vec![feature]);
    let connection = cluster(broker).await.any().await.unwrap();
    let response = connection.call(&request).await.unwrap();
    assert_eq!(response.error_code, 0, "{response:?}");
    assert!(
        response.results.iter().all(|result| result.error_code == 0),
        "{response:?}"
    );
}

/// What each group has in partitions 0 to 2 of `topic`.
#[tokio::main(flavor = "current_thread")]
async fn stand(broker: &Broker, groups: &[Group], topic: &str) -> Vec<Vec<Option<i64>>> {
    let cluster = cluster(broker).await;
    let mut all = Vec::new();
    for group in groups {
        let found = cluster.committed_offsets(&group.id).await.unwrap();
        let offset = |partition| {
            let at = TopicPartition::new(topic, partition);
            found
                .iter()
                .find(|(other, _)| *other == at)
                .map(|(_, committed)| committed.offset)
        };
        all.push((0..3).map(offset).collect());
    }
    all
}

/// Partitions that begin at 0, 100 and 200, with a gap after every seventh record.
pub(crate) const GAPPY: Shape = Shape {
    partitions: 3,
    records: 40,
    per_object: 10,
    first: 100,
    gap_every: 7,
    value_bytes: 10,
};

/// Partitions of the source; the backup has records of the first three only.
pub(crate) const SOURCE_PARTITIONS: i32 = 10;

/// A partition that the target lacks.
const UNKNOWN: i32 = 7;

/// A committed offset of every kind: 0, at the first record, in the middle, in a gap, at the last record, at the end, past it.
fn position(backup: &Backup, partition: i32, which: usize) -> i64 {
    let records = backup.partition(partition);
    match which % 7 {
        0 => 0,
        1 => records[0].offset,
        2 => records[20].offset,
        3 => records[6].offset + 1,
        4 => records[39].offset,
        5 => records[39].offset + 1,
        _ => records[39].offset + 5_000,
    }
}

/// Where a consumer goes on in a target with contiguous offsets: behind all records before the committed offset.
pub(crate) fn contiguous_place(backup: &Backup, partition: i32, committed: i64) -> i64 {
    let before = backup
        .partition(partition)
        .into_iter()
        .filter(|record| record.offset < committed);
    i64::try_from(before.count()).unwrap()
}

/// The same in a target with the original offsets, which begins at the first record and ends behind the last.
fn exact_place(backup: &Backup, partition: i32, committed: i64) -> i64 {
    let records = backup.partition(partition);
    committed.clamp(records[0].offset, records[39].offset + 1)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Classic,
    Consumer,
    Share,
}

struct Group {
    id: String,
    kind: Kind,
    /// By partition of the source.
    committed: BTreeMap<i32, i64>,
}

/// Fifty groups with offsets in `topic`: classic groups and those of the consumer protocol as they leave them behind, and
/// share groups, which only a file knows of.
fn fifty_groups(broker: &Broker, version: KafkaVersion, backup: &Backup) -> Vec<Group> {
    let bootstrap = broker.internal_bootstrap();
    let topic = backup.topic.as_str();
    let groups = (0..50).map(|number: usize| {
        let kind = match (number % 5, version) {
            (3, KafkaVersion::V4_1) => Kind::Consumer,
            (4, _) => Kind::Share,
            _ => Kind::Classic,
        };
        let mut committed: BTreeMap<i32, i64> = (0..3)
            .map(|partition| {
                (
                    partition,
                    position(backup, partition, number / 5 + 2 * partition as usize),
                )
            })
            .collect();
        if number.is_multiple_of(7) {
            committed.insert(UNKNOWN, 3);
        }
        Group {
            id: format!("{topic}-{number:02}"),
            kind,
            committed,
        }
    });
    let groups: Vec<Group> = groups.collect();
    let leave_behind = |group: &Group| {
        let commits: Vec<_> = group
            .committed
            .iter()
            .map(|(partition, offset)| (topic, *partition, *offset, "noted"))
            .collect();
        match group.kind {
            Kind::Classic => commit(&bootstrap, &group.id, &commits).unwrap(),
            Kind::Consumer => {
                let member = Member::join(&bootstrap, &group.id, "consumer", topic, "a-member").unwrap();
                member.commit(&commits).unwrap();
            }
            Kind::Share => {}
        }
    };
    // Each waits most of the time.
    std::thread::scope(|scope| {
        for part in groups.chunks(5) {
            scope.spawn(|| part.iter().for_each(leave_behind));
        }
    });
    groups
}

/// Adds the share groups to a file of groups.
fn add_share_groups(backup: &Backup, file: &str, groups: &[Group]) {
    let path = backup.environment.folder().join(file);
    let mut export: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for group in groups.iter().filter(|group| group.kind == Kind::Share) {
        let offsets: Vec<_> = group
            .committed
            .iter()
            .map(|(partition, offset)| {
                serde_json::json!({"topic": backup.topic, "partition": partition, "offset": offset})
            })
            .collect();
        let share = serde_json::json!({"id": group.id, "kind": "share", "offsets": offsets});
        export["groups"].as_array_mut().unwrap().push(share);
    }
    std::fs::write(path, export.to_string()).unwrap();
}

/// Runs a command against the broker.
pub(crate) fn run(backup: &Backup, broker: &Broker, arguments: &[&str]) -> Output {
    let bootstrap = broker.internal_bootstrap();
    let arguments = [arguments, &["--bootstrap-server", &bootstrap]].concat();
    backup.environment.run(&arguments)
}

/// Restores the backup as `target`, with a report of that name.
pub(crate) fn restore_as(backup: &Backup, broker: &Broker, target: &str, mode: &str, more: &[&str]) {
    let bootstrap = broker.internal_bootstrap();
    let rename = format!("{}={target}", backup.topic);
    let report = format!("{target}.json");
    let own = [
        "--offsets",
        mode,
        "--rename",
        &rename,
        "--report",
        &report,
        "--progress",
        "none",
    ];
    let output = backup
        .environment
        .run(&backup.arguments(&bootstrap, &[&own[..], more].concat()));
    assert_says(&output, 0, &[]);
}

fn json(output: &Output, status: i32) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(status), "{}", talk(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {}", talk(output)))
}

#[test]
fn fifty_groups_land_where_they_were_and_undo_puts_back_what_stood_there() {
    for version in KafkaVersion::ALL {
        let broker = of_version(version);
        let bootstrap = broker.internal_bootstrap();
        let backup = Backup::new("fifty", GAPPY);
        consumer::create_topic(&bootstrap, "fifty", SOURCE_PARTITIONS, &[]).unwrap();
        let groups = fifty_groups(broker, version, &backup);
        assert_says(
            &run(&backup, broker, &["groups", "export", "--to", "groups.json"]),
            0,
            &[],
        );
        add_share_groups(&backup, "groups.json", &groups);
        restore_as(&backup, broker, "fifty-mapped", "map", &[]);
        restore_as(&backup, broker, "fifty-exact", "exact", &[]);
        // Some have been there before.
        for group in groups
            .iter()
            .filter(|group| group.kind == Kind::Classic)
            .step_by(8)
        {
            commit(&bootstrap, &group.id, &[("fifty-mapped", 1, 2, "before")]).unwrap();
        }
        let before = stand(broker, &groups, "fifty-mapped");
        let expected = |place: fn(&Backup, i32, i64) -> i64| -> Vec<Vec<Option<i64>>> {
            let places = |group: &Group| {
                let place = |partition| place(&backup, partition, group.committed[&partition]);
                (0..3)
                    .map(|partition| (group.kind != Kind::Share).then(|| place(partition)))
                    .collect()
            };
            groups.iter().map(places).collect()
        };

        let apply = ["groups", "apply", "groups.json", "--report", "fifty-mapped.json"];
        let dry = [&apply[..], &["--dry-run", "--json"]].concat();
        let planned = json(&run(&backup, broker, &dry), 0);
        assert!(
            planned["findings"]
                .to_string()
                .contains("offsets.retention.minutes"),
            "{planned}"
        );
        assert_eq!(
            stand(broker, &groups, "fifty-mapped"),
            before,
            "a dry run commits nothing"
        );
        let more = ["--undo-file", "undo.json", "--json"];
        // Status 3: some have an offset in a partition that the target lacks, and share groups cannot be helped here.
        let report = json(&run(&backup, broker, &[&apply[..], &more].concat()), 3);
        assert!(
            report["findings"]
                .to_string()
                .contains("offsets.retention.minutes")
        );
        assert_eq!(stand(broker, &groups, "fifty-mapped"), expected(contiguous_place));
        for group in &groups {
            let named = |one: &&serde_json::Value| one["id"] == group.id.as_str();
            let one = report["groups"].as_array().unwrap().iter().find(named).unwrap();
            let rows = one["rows"].as_array().unwrap();
            assert_eq!(rows.len(), group.committed.len());
            for row in rows {
                match row["partition"] == UNKNOWN {
                    true => {
                        assert_eq!(row["new"], serde_json::Value::Null);
                        assert!(row["note"].as_str().unwrap().contains("no such partition"));
                    }
                    false => assert_eq!(row["lag"], 40 - row["new"].as_i64().unwrap()),
                }
            }
            let command = format!(
                "kafka-share-groups.sh --bootstrap-server {bootstrap} --group {} ",
                group.id
            );
            match group.kind {
                Kind::Share => {
                    // 3.9 has no share groups, and 4.1 takes the request and does nothing.
                    assert_eq!(one["applied"]["state"], "failed");
                    assert!(
                        report["to_do"].to_string().contains(&command),
                        "{}",
                        report["to_do"]
                    );
                }
                _ => assert_eq!(one["applied"]["state"], "done", "{one}"),
            }
        }
        // librdkafka sees the same.
        let place = expected(contiguous_place)[0].clone();
        assert_eq!(
            committed(&bootstrap, &groups[0].id, "fifty-mapped", 3).unwrap(),
            place
        );
        let text = committed_text(&bootstrap, &groups[0].id, "fifty-mapped", 0).unwrap();
        assert_eq!(text, "noted");

        // The same with the original offsets: by the report, and by saying so.
        let how = match version {
            KafkaVersion::V3_9 => &["--report", "fifty-exact.json"][..],
            KafkaVersion::V4_1 => &["--offsets", "exact", "--rename", "fifty=fifty-exact"],
        };
        let apply = [&["groups", "apply", "groups.json", "-t", "fifty", "-q"], how].concat();
        assert_says(&run(&backup, broker, &apply), 3, &[]);
        assert_eq!(stand(broker, &groups, "fifty-exact"), expected(exact_place));

        assert_says(&run(&backup, broker, &["groups", "undo", "undo.json"]), 0, &[]);
        assert_eq!(stand(broker, &groups, "fifty-mapped"), before);
    }
}

#[test]
fn an_active_group_is_left_alone_and_waited_for() {
    for version in KafkaVersion::ALL {
        let broker = of_version(version);
        let bootstrap = broker.internal_bootstrap();
        let backup = Backup::new("manned", GAPPY);
        restore_as(&backup, broker, "manned", "map", &[]);
        let protocols: &[&str] = match version {
            KafkaVersion::V3_9 => &["classic"],
            KafkaVersion::V4_1 => &["classic", "consumer"],
        };
        for protocol in protocols {
            let id = format!("manned-{protocol}");
            let client = format!("night-shift-{protocol}");
            backup
                .environment
                .write("export.csv", "manned,0,20\nmanned,1,120\n");
            let member = Member::join(&bootstrap, &id, protocol, "manned", &client).unwrap();
            member.commit(&[("manned", 0, 3, "")]).unwrap();
            let apply = [
                "groups",
                "apply",
                "export.csv",
                "--group",
                &id,
                "--report",
                "manned.json",
            ];
            let output = run(&backup, broker, &apply);
            assert_says(
                &output,
                3,
                &[
                    &client,
                    "left alone",
                    "left to do by hand",
                    &format!("--group {id} --topic manned:0 --reset-offsets --to-offset 18 --execute"),
                ],
            );
            assert_eq!(
                committed(&bootstrap, &id, "manned", 3).unwrap(),
                [Some(3), None, None]
            );

            let arguments = [&apply[..], &["--wait", "2min", "--bootstrap-server", &bootstrap]].concat();
            let mut waiting = Running::start(&backup.environment, "wait.log", &arguments);
            drop(member);
            assert_eq!(waiting.wait(), 0, "{}", waiting.said());
            let places = [0, 1].map(|partition| {
                Some(contiguous_place(
                    &backup,
                    partition,
                    if partition == 0 { 20 } else { 120 },
                ))
            });
            assert_eq!(committed(&bootstrap, &id, "manned", 3).unwrap()[..2], places);
        }
    }
}

/// Without a report, the target itself tells where its records are, whatever producers have put behind them since.
#[test]
fn places_are_found_in_a_target_that_lives_on() {
    for version in KafkaVersion::ALL {
        let broker = of_version(version);
        let bootstrap = broker.internal_bootstrap();
        let backup = Backup::new("lives-on", GAPPY);
        let mut csv = String::new();
        for which in 0..7 {
            for partition in 0..3 {
                let offset = position(&backup, partition, which);
                csv.push_str(&format!("lives-on-{which},lives-on,{partition},{offset}\n"));
            }
        }
        backup.environment.write("export.csv", csv);
        for mode in ["map", "exact"] {
            let target = format!("lives-on-{mode}");
            restore_as(&backup, broker, &target, mode, &[]);
            // So many that the log ends of both kinds are far behind the source's.
            let mut young = Vec::new();
            for partition in 0..3 {
                for number in 0..400 {
                    let mut record = record(&target, partition, number, 10);
                    record.value = Some(format!("young {number}").into_bytes());
                    young.push(record);
                }
            }
            consumer::produce(&bootstrap, &young).unwrap();
            let rename = format!("lives-on={target}");
            let fields = ["--fields", "key,value,offset,timestamp"];
            let apply = [
                "groups",
                "apply",
                "export.csv",
                "-t",
                "lives-on",
                "--from",
                "backup",
                "--rename",
                &rename,
            ];
            assert_says(&run(&backup, broker, &[&apply[..], &fields].concat()), 0, &[]);
            for which in 0..7 {
                let id = format!("lives-on-{which}");
                let expected: Vec<_> = (0..3)
                    .map(|partition| {
                        let offset = position(&backup, partition, which);
                        Some(match (mode, which) {
                            // Past the last record, but not past the end any more.
                            ("exact", 5 | 6) => offset.min(exact_place(&backup, partition, i64::MAX) + 400),
                            // Consumers that had read everything go on with what is new.
                            ("map", _) => contiguous_place(&backup, partition, offset),
                            _ => exact_place(&backup, partition, offset),
                        })
                    })
                    .collect();
                assert_eq!(
                    committed(&bootstrap, &id, &target, 3).unwrap(),
                    expected,
                    "{mode} {which}"
                );
            }
        }
        // Neither: another topic's records.
        consumer::create_topic(&bootstrap, "lives-on-other", 3, &[]).unwrap();
        let strangers: Vec<_> = (0..3)
            .flat_map(|partition| {
                (0..50).map(move |offset| record("lives-on-other", partition, 7 * offset, 20))
            })
            .collect();
        consumer::produce(&bootstrap, &strangers).unwrap();
        let apply = [
            "groups",
            "apply",
            "export.csv",
            "-t",
            "lives-on",
            "--from",
            "backup",
        ];
        let more = [
            "--rename",
            "lives-on=lives-on-other",
            "--fields",
            "key,value,offset,timestamp",
        ];
        assert_says(
            &run(&backup, broker, &[&apply[..], &more].concat()),
            3,
            &[
                "neither at their original offsets",
                "not fully restored",
                "--report",
            ],
        );
    }
}
