//! Clusters that refuse, forget, go away or are not what was said: what a person is told, and what stays true.

use std::time::Duration;

use kafka::cluster::Cluster;
use kafka::config::{Address, ClientConfig};
use kafka_protocol::messages::AlterClientQuotasRequest;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::protocol::StrBytes;
use testkit::broker::{Broker, ClientCertificate, KafkaVersion};
use testkit::consumer;

use crate::backups::{Backup, Running, Shape, assert_holds, assert_says, broker, ends, record, talk, until};

#[test]
fn a_missing_topic_is_named_with_its_neighbours() {
    let backup = Backup::new("misspelt-orders", Shape::SMALL);
    consumer::create_topic(&broker().internal_bootstrap(), "misspelt-ordres", 1, &[]).unwrap();
    let output = backup.restore(&["--create", "never"]);
    assert_says(
        &output,
        1,
        &["no topic misspelt-orders", "misspelt-ordres", "--create auto"],
    );
    let topics = consumer::topics(&broker().internal_bootstrap()).unwrap();
    assert!(!topics.contains(&"misspelt-orders".to_owned()));
}

#[test]
fn too_few_partitions_are_refused_or_added() {
    let backup = Backup::new("narrow", Shape::SMALL);
    consumer::create_topic(&broker().internal_bootstrap(), "narrow", 2, &[]).unwrap();
    let output = backup.restore(&["--offsets", "map"]);
    assert_says(
        &output,
        1,
        &[
            "narrow has 2 partitions",
            "for 3",
            "--add-partitions",
            "Nothing was written",
        ],
    );
    assert_eq!(ends(broker(), "narrow"), [0, 0]);
    assert_says(&backup.restore(&["--offsets", "map", "--add-partitions"]), 0, &[]);
    assert_holds(broker(), "narrow", &backup.contiguous());
    let output = backup.restore(&["--partitions", "2", "--rename", "narrow=narrower"]);
    assert_says(&output, 1, &["at least 3 partitions", "--partitions"]);
}

#[test]
fn a_target_that_is_not_empty() {
    let backup = Backup::new("occupied", Shape::SMALL);
    consumer::create_topic(&broker().internal_bootstrap(), "occupied", 3, &[]).unwrap();
    let mut stranger = record("occupied", 1, 0, 10);
    stranger.value = Some(b"who is there?".to_vec());
    consumer::produce(&broker().internal_bootstrap(), std::slice::from_ref(&stranger)).unwrap();
    let output = backup.restore(&["--offsets", "map"]);
    assert_says(
        &output,
        1,
        &[
            "occupied-1 does not hold a beginning of this backup",
            "who is there?",
            "--append",
            "--rename",
        ],
    );
    assert_eq!(
        ends(broker(), "occupied"),
        [40, 1, 40],
        "the others are restored, this one is left alone"
    );

    // The others are complete, and are not added once more.
    let output = backup.restore(&["--offsets", "map", "--append"]);
    assert_says(&output, 0, &["40 records restored"]);
    assert_eq!(ends(broker(), "occupied"), [40, 41, 40]);
    let mut behind = backup.partition(1);
    for record in &mut behind {
        record.offset += 1;
    }
    let found = consumer::read_topic(&broker().internal_bootstrap(), "occupied").unwrap();
    let found: Vec<_> = found.into_iter().filter(|record| record.partition == 1).collect();
    assert_eq!(found, [vec![stranger], behind].concat());
}

#[test]
fn a_broker_that_is_gone_for_a_while() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
    let backup = Backup::new(
        "away",
        Shape {
            records: 10_000,
            per_object: 1_000,
            value_bytes: 60,
            ..Shape::SMALL
        },
    );
    consumer::create_topic(
        &broker.internal_bootstrap(),
        "away",
        3,
        &[("max.message.bytes", "4000")],
    )
    .unwrap();
    let bootstrap = broker.bootstrap();
    let arguments = backup.arguments(&bootstrap, &["--offsets", "map", "--progress", "none"]);
    let mut run = Running::start(&backup.environment, "run.log", &arguments);
    until("a beginning", || ends(&broker, "away").iter().sum::<i64>() > 0);
    broker.kill9(0).unwrap();
    // Nothing answers for longer than any single request or connection may take.
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(run.ended(), None, "{}", run.said());
    broker.restart(0).unwrap();
    assert_eq!(run.wait(), 0, "{}", run.said());
    assert_holds(&broker, "away", &backup.contiguous());
}

#[test]
fn wrong_tls_and_wrong_passwords_are_explained() {
    let tls = Broker::builder(KafkaVersion::V4_1)
        .tls(ClientCertificate::Required)
        .start()
        .unwrap();
    let secured = Broker::builder(KafkaVersion::V4_1)
        .sasl_user("admin", "right")
        .start()
        .unwrap();
    let backup = Backup::new("secured", Shape::SMALL);
    let certificates = tls.certificates();
    let other = testkit::certificates::Certificates::generate(
        &backup.environment.folder().join("other"),
        &["localhost".to_owned()],
    )
    .unwrap();
    let run = |kafka: String| {
        let config = format!(
            r#"{{"kafka": {kafka}, "object_storage": {{"type": "local", "path": "backup"}},
               "backup": {{"fields": "key,value,offset,timestamp"}}}}"#
        );
        backup.environment.write("config.json", config);
        backup.environment.run(&[
            "-c",
            "config.json",
            "-t",
            "secured",
            "--offsets",
            "map",
            "--progress",
            "none",
        ])
    };
    let with_tls = |bootstrap: &str, ca: &std::path::Path, by: &testkit::certificates::Certificates| {
        run(format!(
            r#"{{"kafka_url": "{bootstrap}", "ssl_ca_file": "{}", "ssl_access_certificate_file": "{}",
               "ssl_access_key_file": "{}"}}"#,
            ca.display(),
            by.client_certificate().display(),
            by.client_key().display()
        ))
    };
    let output = with_tls(&tls.bootstrap(), &other.ca(), certificates);
    assert_says(&output, 1, &["hint: Check kafka.ssl_ca_file"]);
    let output = with_tls(&tls.bootstrap(), &certificates.ca(), &other);
    assert_says(&output, 1, &["certificate"]);
    // TLS against a broker without, and the other way round.
    let output = with_tls(&broker().bootstrap(), &certificates.ca(), certificates);
    assert_says(&output, 1, &["TLS"]);
    let output = run(format!(r#"{{"kafka_url": "{}"}}"#, tls.bootstrap()));
    assert_says(&output, 1, &["TLS"]);
    let with_password = |password: &str| {
        run(format!(
            r#"{{"kafka_url": "{}", "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256",
               "sasl_username": "admin", "sasl_password": "{password}"}}"#,
            secured.bootstrap()
        ))
    };
    let output = with_password("wrong-secret");
    assert_says(
        &output,
        1,
        &["hint: Check kafka.sasl_mechanism, sasl_username and sasl_password"],
    );
    assert!(!talk(&output).contains("wrong-secret"), "a secret was printed");

    let output = with_tls(&tls.bootstrap(), &certificates.ca(), certificates);
    assert_says(&output, 0, &[]);
    assert_holds(&tls, "secured", &backup.contiguous());
    assert_says(&with_password("right"), 0, &[]);
    assert_holds(&secured, "secured", &backup.contiguous());
}

#[test]
fn a_user_without_rights_is_told_which_are_missing() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .sasl_user("admin", "secret")
        .sasl_user("nobody", "secret")
        .authorizer()
        .start()
        .unwrap();
    let backup = Backup::new("forbidden", Shape::SMALL);
    let run = |user: &str| {
        backup.environment.write(
            "client.properties",
            format!(
                "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{user}\" \
                 password=\"secret\";\n"
            ),
        );
        let bootstrap = broker.bootstrap();
        let more = [
            "--command-config",
            "client.properties",
            "--offsets",
            "map",
            "--progress",
            "none",
        ];
        backup.environment.run(&backup.arguments(&bootstrap, &more))
    };
    let output = run("nobody");
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    assert_says(
        &output,
        1,
        &["grant Create on the topic forbidden", "Nothing was written"],
    );
    consumer::create_topic(&broker.internal_bootstrap(), "forbidden", 3, &[]).unwrap();
    let output = run("nobody");
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    assert_eq!(ends(&broker, "forbidden"), [0, 0, 0]);
    assert_says(&run("admin"), 0, &[]);
    assert_holds(&broker, "forbidden", &backup.contiguous());
}

/// The brokers' quota for a client id.
#[tokio::main(flavor = "current_thread")]
async fn limit_producers(client_id: &str, bytes_per_second: f64) {
    let text = StrBytes::from_string;
    let entry = EntryData::default()
        .with_entity(vec![
            EntityData::default()
                .with_entity_type(text("client-id".to_owned()))
                .with_entity_name(Some(text(client_id.to_owned()))),
        ])
        .with_ops(vec![
            OpData::default()
                .with_key(text("producer_byte_rate".to_owned()))
                .with_value(bytes_per_second),
        ]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    let config = ClientConfig::new(Address::parse_list(&broker().internal_bootstrap()).unwrap());
    let cluster = Cluster::connect(config).await.unwrap();
    let response = cluster.any().await.unwrap().call(&request).await.unwrap();
    assert!(
        response.entries.iter().all(|entry| entry.error_code == 0),
        "{response:?}"
    );
}

#[test]
fn a_quota_makes_it_slow_and_nothing_else() {
    limit_producers("limited", 100_000.0);
    let shape = Shape {
        records: 6_000,
        per_object: 1_000,
        value_bytes: 60,
        gap_every: 900,
        ..Shape::SMALL
    };
    let backup = Backup::new("limited", shape);
    backup
        .environment
        .write("client.properties", "client.id=limited\n");
    consumer::create_topic(
        &broker().internal_bootstrap(),
        "limited",
        3,
        &[("max.message.bytes", "50000")],
    )
    .unwrap();
    let (status, report) =
        backup.restore_json(&["--offsets", "exact", "--command-config", "client.properties"]);
    assert_eq!(status, Some(0), "{report}");
    assert!(
        report["stages"]["throttled_seconds"].as_f64() > Some(0.1),
        "the brokers did not mind: {report}"
    );
    // More connections than at the beginning would not make it faster.
    assert_eq!(report["stages"]["connections_per_broker"], 3, "{report}");
    assert_holds(broker(), "limited", &backup.records);
}
