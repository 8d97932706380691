//! What a restore must be allowed, against a broker with an authorizer: enough is enough, and what is missing is said
//! before anything is written.

use std::process::Output;

use kafka::cluster::Cluster;
use kafka::config::{Address, ClientConfig};
use kafka_protocol::messages::CreateAclsRequest;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::protocol::StrBytes;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::fidelity::compare;
use testkit::java;
use testkit::record::TruthRecord;

use crate::backups::{CSV, assert_says, csv_line, record, talk};
use crate::environment::TestEnvironment;

/// Kinds of resources, by Kafka's numbers (`org.apache.kafka.common.resource.ResourceType`).
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const TRANSACTIONAL_ID: i8 = 5;

/// Operations, by Kafka's numbers (`org.apache.kafka.common.acl.AclOperation`).
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DELETE: i8 = 6;
const ALTER: i8 = 7;
const DESCRIBE_CONFIGS: i8 = 10;
const ALTER_CONFIGS: i8 = 11;

/// A right: kind, name (or its beginning), operation.
type Right = (i8, &'static str, i8);

/// What docs/rights.md lists for original offsets with transaction markers, of topics that begin with `rights-`.
const MARKERS: &[Right] = &[
    (TOPIC, "rights-", CREATE),
    (TOPIC, "rights-", READ),
    (TOPIC, "rights-", WRITE),
    (TOPIC, "rights-", DELETE),
    (TOPIC, "rights-", DESCRIBE_CONFIGS),
    (TOPIC, "rights-", ALTER_CONFIGS),
    (GROUP, "kafka-restore.rights-", READ),
    (GROUP, "kafka-restore.rights-", DELETE),
    (CLUSTER, "kafka-cluster", ALTER),
];

/// The same with empty transactions instead.
const TRANSACTIONS: Right = (TRANSACTIONAL_ID, "kafka-restore-rights-", WRITE);

fn without(rights: &[Right], left_out: &[(i8, i8)]) -> Vec<Right> {
    let stays = |(kind, _, operation): &&Right| !left_out.contains(&(*kind, *operation));
    rights.iter().filter(stays).copied().collect()
}

/// Each user of the tests with what it may do.
fn users() -> Vec<(&'static str, Vec<Right>)> {
    let no_markers = without(MARKERS, &[(CLUSTER, ALTER)]);
    let mut transactions = no_markers.clone();
    transactions.push(TRANSACTIONS);
    vec![
        ("markers", MARKERS.to_vec()),
        ("transactions", transactions),
        ("neither", no_markers),
        ("no-delete", without(MARKERS, &[(TOPIC, DELETE)])),
        (
            "no-start",
            without(MARKERS, &[(TOPIC, DELETE), (TOPIC, ALTER_CONFIGS)]),
        ),
        ("no-journal", without(MARKERS, &[(GROUP, READ), (GROUP, DELETE)])),
        ("no-alter", without(MARKERS, &[(TOPIC, ALTER_CONFIGS)])),
        ("readers", [MARKERS, &[(GROUP, "rights-readers", READ)]].concat()),
        ("no-create", without(MARKERS, &[(TOPIC, CREATE)])),
        ("no-write", without(MARKERS, &[(TOPIC, WRITE)])),
        ("no-read", without(MARKERS, &[(TOPIC, READ)])),
        (
            "no-topic",
            without(
                MARKERS,
                &[
                    (TOPIC, CREATE),
                    (TOPIC, READ),
                    (TOPIC, WRITE),
                    (TOPIC, DELETE),
                    (TOPIC, DESCRIBE_CONFIGS),
                    (TOPIC, ALTER_CONFIGS),
                ],
            ),
        ),
    ]
}

fn start(version: KafkaVersion) -> Broker {
    let mut builder = Broker::builder(version)
        .authorizer()
        .property("log.retention.check.interval.ms", "500")
        .property("log.initial.task.delay.ms", "500");
    for (user, _) in users() {
        builder = builder.sasl_user(user, "secret");
    }
    let broker = builder.start().unwrap();
    grant(&broker);
    broker
}

#[tokio::main(flavor = "current_thread")]
async fn grant(broker: &Broker) {
    let text = |text: String| StrBytes::from_string(text);
    let creations = users().into_iter().flat_map(|(user, rights)| {
        rights.into_iter().map(move |(kind, name, operation)| {
            AclCreation::default()
                .with_resource_type(kind)
                .with_resource_name(text(name.to_owned()))
                // Literally for the cluster, as a beginning for all others.
                .with_resource_pattern_type(if kind == CLUSTER { 3 } else { 4 })
                .with_principal(text(format!("User:{user}")))
                .with_host(text("*".to_owned()))
                .with_operation(operation)
                .with_permission_type(3)
        })
    });
    let request = CreateAclsRequest::default().with_creations(creations.collect());
    let config = ClientConfig::new(Address::parse_list(&broker.internal_bootstrap()).unwrap());
    let cluster = Cluster::connect(config).await.unwrap();
    let response = cluster.any().await.unwrap().call(&request).await.unwrap();
    assert!(
        response.results.iter().all(|result| result.error_code == 0),
        "{response:?}"
    );
}

/// A backup of one topic whose two partitions begin late and have gaps, or not.
struct Backup {
    environment: TestEnvironment,
    topic: String,
    records: Vec<TruthRecord>,
}

impl Backup {
    fn new(topic: &str, first: i64, gaps: bool) -> Self {
        let environment = TestEnvironment::new();
        let mut all = Vec::new();
        for partition in 0..2 {
            let records: Vec<_> = (first..first + 200)
                .filter(|offset| !gaps || offset % 5 != 3)
                .map(|offset| record(topic, partition, offset, 10))
                .collect();
            let text: String = records.iter().map(csv_line).collect();
            environment.write(&format!("backup/{topic}-{partition}-{first}"), text);
            all.extend(records);
        }
        for (user, _) in users() {
            let settings = format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{user}\" password=\"secret\";\n"
            );
            environment.write(&format!("{user}.properties"), settings);
        }
        Self {
            environment,
            topic: topic.to_owned(),
            records: all,
        }
    }

    fn run(&self, command: &str, broker: &Broker, user: &str, more: &[&str]) -> Output {
        let bootstrap = broker.bootstrap();
        let settings = format!("{user}.properties");
        let mut arguments = vec![command, "--from", "backup", "--bootstrap-server", &bootstrap];
        arguments.extend(["--command-config", &settings, "-t", &self.topic]);
        arguments.extend(["--fields", "key,value,offset,timestamp", "-q"]);
        arguments.extend(more);
        self.environment.run(&arguments)
    }

    /// Restores as `user` and panics unless everything stands where it was.
    fn assert_restored(&self, broker: &Broker, user: &str, more: &[&str]) -> String {
        let output = self.run("restore", broker, user, more);
        assert_says(&output, 0, &[]);
        let bootstrap = broker.internal_bootstrap();
        let found = consumer::read_topic(&bootstrap, &self.topic).unwrap();
        if let Err(difference) = compare(&self.records, &found, CSV) {
            panic!("{user}: {difference}");
        }
        let first = self.records[0].offset;
        for (start, end) in consumer::watermarks(&bootstrap, &self.topic).unwrap() {
            assert_eq!((start, end), (first, first + 200), "{user}");
        }
        talk(&output)
    }

    /// Panics unless plan and restore are refused with `words`, and nothing was made.
    fn assert_refused(&self, broker: &Broker, user: &str, words: &[&str]) {
        for command in ["plan", "restore"] {
            assert_says(
                &self.run(command, broker, user, &["--offsets", "exact"]),
                1,
                words,
            );
        }
        let topics = consumer::topics(&broker.internal_bootstrap()).unwrap();
        assert!(!topics.contains(&self.topic), "{user} made {}", self.topic);
    }
}

/// What may not be done is left out and told as commands; the restore itself goes on.
fn what_is_left_to_others_is_told(broker: &Broker) {
    let bootstrap = broker.internal_bootstrap();
    let backup = Backup::new("rights-left", 0, false);
    backup.environment.write(
        "export.csv",
        "rights-readers,rights-left,0,17\nrights-readers,rights-left,1,900\n",
    );
    let groups = ["--offsets", "map", "--groups", "export.csv"];
    let output = backup.run("restore", broker, "markers", &groups);
    assert_says(
        &output,
        3,
        &[
            "rights-readers: failed: it cannot be looked at",
            "left to do by hand",
            "--group rights-readers --topic rights-left:0 --reset-offsets --to-offset 17 --execute",
            "--group rights-readers --topic rights-left:1 --reset-offsets --to-offset 200 --execute",
        ],
    );
    let found = consumer::read_topic(&bootstrap, "rights-left").unwrap();
    compare(&backup.records, &found, CSV).unwrap();
    let committed = || testkit::groups::committed(&bootstrap, "rights-readers", "rights-left", 2).unwrap();
    assert_eq!(committed(), [None, None]);
    assert_says(
        &backup.run("restore", broker, "readers", &groups),
        0,
        &["1 group committed"],
    );
    assert_eq!(committed(), [Some(17), Some(200)]);

    // The configuration: what is refused while restoring, and what cannot be put back.
    let own = ["--offsets", "map", "--topic-config", "retention.ms=3153600000000"];
    let backup = Backup::new("rights-as-it-is", 0, false);
    let set = "--entity-name rights-as-it-is --alter --add-config 'retention.ms=-1'";
    assert_says(
        &backup.run("restore", broker, "no-alter", &own),
        3,
        &[
            "does not let this user set retention.ms=-1",
            "left to do by hand",
            set,
        ],
    );
    // Without rights on the group the journal is kept beside the report, and found there.
    let backup = Backup::new("rights-noted", 0, false);
    let keep = [&own[..], &["--keep-profile"]].concat();
    let noted = [&keep[..], &["--report", "report.json"]].concat();
    assert_says(
        &backup.run("restore", broker, "no-journal", &noted),
        0,
        &["topics finish"],
    );
    let address = broker.bootstrap();
    let finish = [
        "topics",
        "finish",
        "-t",
        "rights-noted",
        "--bootstrap-server",
        &address,
    ];
    let finish = [&finish[..], &["--command-config", "no-journal.properties"]].concat();
    assert_says(&backup.environment.run(&finish), 1, &["GroupAuthorizationFailed"]);
    let finish = [&finish[..], &["--report", "report.json"]].concat();
    assert_says(
        &backup.environment.run(&finish),
        0,
        &["has its own configuration back"],
    );
    let configs = testkit::groups::topic_configs(&bootstrap, "rights-noted").unwrap();
    assert_eq!(configs["retention.ms"], "3153600000000");
    // Without a report either, it is said at once, with what to do after an interruption.
    let backup = Backup::new("rights-unnoted", 0, false);
    let output = backup.run("restore", broker, "no-journal", &own);
    assert_says(
        &output,
        0,
        &["the journal of the restore cannot be kept", "kafka-configs.sh"],
    );

    // A record that needs a larger limit stops its partition where the limit cannot be raised.
    let mut backup = Backup::new("rights-large", 0, false);
    backup.records[17].value = Some(vec![b'x'; 20_000]);
    let lines: Vec<String> = backup.records[..200].iter().map(csv_line).collect();
    backup
        .environment
        .write("backup/rights-large-0-0", lines.concat());
    consumer::create_topic(&bootstrap, "rights-large", 2, &[("max.message.bytes", "10000")]).unwrap();
    assert_says(
        &backup.run("restore", broker, "no-alter", &["--offsets", "map"]),
        1,
        &["rights-large-0: failed", "offset 17", "max.message.bytes"],
    );
    let found = consumer::read_topic(&bootstrap, "rights-large").unwrap();
    let expected = [&backup.records[..17], &backup.records[200..]].concat();
    compare(&expected, &found, CSV).unwrap();

    let backup = Backup::new("rights-kept", 0, false);
    let keep = [&own[..], &["--keep-profile"]].concat();
    assert_says(
        &backup.run("restore", broker, "markers", &keep),
        0,
        &["topics finish"],
    );
    let finish = |user: &str| {
        let (address, settings) = (broker.bootstrap(), format!("{user}.properties"));
        let finish = [
            "topics",
            "finish",
            "-t",
            "rights-kept",
            "--bootstrap-server",
            &address,
        ];
        backup
            .environment
            .run(&[&finish[..], &["--command-config", &settings]].concat())
    };
    let put_back = "--entity-name rights-kept --alter --add-config 'retention.ms=3153600000000'";
    assert_says(
        &finish("no-alter"),
        3,
        &["cannot be given its own configuration back", put_back],
    );
    assert_says(&finish("markers"), 0, &["has its own configuration back"]);
}

#[test]
fn enough_is_enough_and_what_is_missing_is_said_first() {
    for version in KafkaVersion::ALL {
        let broker = start(version);
        let exact = &["--offsets", "exact"][..];
        what_is_left_to_others_is_told(&broker);

        let backup = Backup::new("rights-markers", 1_000, true);
        assert_says(
            &backup.run("plan", &broker, "markers", exact),
            0,
            &["transaction markers"],
        );
        backup.assert_restored(&broker, "markers", exact);

        let backup = Backup::new("rights-transactions", 1_000, true);
        assert_says(
            &backup.run("plan", &broker, "transactions", exact),
            0,
            &["empty transactions"],
        );
        backup.assert_restored(&broker, "transactions", exact);
        backup.assert_restored(&broker, "transactions", &["--verify-existing"]);

        let backup = Backup::new("rights-neither", 1_000, true);
        backup.assert_refused(&broker, "neither", &["Alter on the cluster", "transactional ids"]);
        assert_says(
            &backup.run("plan", &broker, "neither", &[]),
            0,
            &["contiguous offsets", "not possible"],
        );
        let backup = Backup::new("rights-hidden", 1_000, true);
        let hidden = &["--offsets", "exact", "--hidden-records"][..];
        let words = ["hidden records", "no contract covers", "kafka-python"];
        assert_says(&backup.run("plan", &broker, "neither", hidden), 0, &words);
        // Only where nothing better is permitted.
        for (user, words) in [
            ("markers", "transaction markers"),
            ("transactions", "empty transactions"),
        ] {
            assert_says(&backup.run("plan", &broker, user, hidden), 0, &[words]);
        }
        backup.assert_restored(&broker, "neither", hidden);
        let again = [hidden, &["--verify-existing"]].concat();
        let said = backup.assert_restored(&broker, "neither", &again);
        assert!(said.contains("0 records restored"), "{said}");
        for (_, isolation, view) in
            java::read_topics(version, &broker.internal_bootstrap(), &["rights-hidden"]).unwrap()
        {
            if let Err(difference) = compare(&backup.records, &view.records, CSV) {
                panic!("hidden records, Java, {isolation:?}: {difference}");
            }
        }
        let backup = Backup::new("rights-gapless", 1_000, false);
        backup.assert_restored(&broker, "neither", exact);

        let backup = Backup::new("rights-no-delete", 1_000, true);
        assert_says(
            &backup.run("plan", &broker, "no-delete", exact),
            0,
            &["left to retention"],
        );
        backup.assert_restored(&broker, "no-delete", exact);

        let refusals: [(&str, &[&str]); 5] = [
            ("no-start", &["Delete on the topic", "AlterConfigs"]),
            ("no-create", &["may not create", "Create on the topic"]),
            ("no-write", &["may not write", "Write on the topic"]),
            ("no-topic", &["Create on the topic"]),
            ("no-read", &["Read"]),
        ];
        for (user, words) in refusals {
            let backup = Backup::new(&format!("rights-{user}"), 1_000, true);
            if user == "no-read" {
                // Enough for a restore that is not interrupted, which it says.
                assert_says(
                    &backup.run("plan", &broker, user, exact),
                    0,
                    &["cannot be continued", "Read on the topic"],
                );
            } else {
                backup.assert_refused(&broker, user, words);
            }
        }
    }
}
