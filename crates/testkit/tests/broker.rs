//! The testkit against itself: brokers come up, survive what tests do to them, and records come back byte for byte.

use std::net::TcpStream;
use std::process::Command;

use kafka_restore_testkit::broker::{Broker, ClientCertificate, KafkaVersion};
use kafka_restore_testkit::consumer::{self, Isolation};
use kafka_restore_testkit::proxy::Fault;
use kafka_restore_testkit::record::{TimestampType, TruthRecord};

fn record(topic: &str, partition: i32, offset: i64) -> TruthRecord {
    TruthRecord {
        topic: topic.into(),
        partition,
        offset,
        timestamp: 1_420_070_400_000 + offset,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: None,
        headers: Vec::new(),
    }
}

/// Every way in which a field can be null, empty or odd.
fn odd_records(topic: &str) -> Vec<TruthRecord> {
    let empty = || Some(Vec::new());
    let mut records: Vec<TruthRecord> = (0..5).map(|offset| record(topic, 0, offset)).collect();
    records[1].key = empty();
    records[1].value = empty();
    records[2].key = Some(vec![0, 255, 10, 13]);
    records[2].headers = vec![
        ("a".into(), None),
        ("a".into(), empty()),
        (String::new(), Some(vec![0])),
    ];
    records[3].value = Some(vec![b'x'; 100_000]);
    records[3].timestamp = 253_402_300_800_000;
    records.extend((0..3).map(|offset| record(topic, 2, offset)));
    records
}

#[test]
fn records_come_back_as_they_were_from_both_versions() {
    for version in KafkaVersion::ALL {
        let broker = Broker::shared(version);
        let bootstrap = broker.internal_bootstrap();
        let configs = [("message.timestamp.after.max.ms", "9223372036854775807")];
        consumer::create_topic(&bootstrap, "odd", 3, &configs).expect("create");
        let records = odd_records("odd");
        consumer::produce(&bootstrap, &records).expect("produce");
        assert_eq!(
            consumer::read_topic(&bootstrap, "odd").expect("read"),
            records,
            "{version:?}"
        );
        assert_eq!(
            consumer::watermarks(&bootstrap, "odd").expect("watermarks"),
            [(0, 5), (0, 0), (0, 3)]
        );

        consumer::create_topic(&bootstrap, "transactions", 1, &[]).expect("create");
        let mut records: Vec<TruthRecord> = (0..2).map(|offset| record("transactions", 0, offset)).collect();
        consumer::produce_transaction(&bootstrap, "t", &records[..1], false).expect("abort");
        consumer::produce_transaction(&bootstrap, "t", &records[1..], true).expect("commit");
        records[1].offset = 2;
        let read = |isolation| consumer::read_topic_as(&bootstrap, "transactions", isolation).expect("read");
        assert_eq!(read(Isolation::ReadCommitted), &records[1..]);
        assert_eq!(read(Isolation::ReadUncommitted).len(), 2);

        consumer::delete_topic(&bootstrap, "odd").expect("delete");
        assert!(consumer::read_topic(&bootstrap, "odd").is_err());
    }
}

#[test]
fn three_nodes_survive_a_kill_a_stop_and_restarts() {
    let mut cluster = Broker::builder(KafkaVersion::V4_1)
        .nodes(3)
        .start()
        .expect("start");
    let bootstrap = cluster.internal_bootstrap();
    consumer::create_topic(&bootstrap, "kept", 6, &[("min.insync.replicas", "2")]).expect("create");
    let records: Vec<TruthRecord> = (0..6).map(|partition| record("kept", partition, 0)).collect();
    consumer::produce(&bootstrap, &records).expect("produce");
    cluster.kill9(0).expect("kill");
    assert!(cluster.kill9(0).is_err(), "it is dead already");
    assert_eq!(consumer::read_topic(&bootstrap, "kept").expect("read"), records);
    cluster.restart(0).expect("restart");
    cluster.stop(1).expect("stop");
    assert_eq!(consumer::read_topic(&bootstrap, "kept").expect("read"), records);
    cluster.restart(1).expect("restart");
    assert!(cluster.log_dir(2).join("kept-0").is_dir());
}

#[test]
fn a_proxy_stands_before_the_client_listener_only() {
    let broker = Broker::builder(KafkaVersion::V3_9)
        .behind_proxy()
        .start()
        .expect("start");
    let proxied = broker.bootstrap();
    consumer::create_topic(&proxied, "through", 1, &[]).expect("create");
    let records = vec![record("through", 0, 0)];
    consumer::produce(&proxied, &records).expect("produce");
    let (requests, replies) = broker.proxy(0).transferred();
    assert!(requests > 0 && replies > 0);
    broker.proxy(0).set(Fault::Refuse);
    assert_eq!(
        consumer::read_topic(&broker.internal_bootstrap(), "through").expect("read"),
        records
    );
    assert_eq!(broker.proxy(0).transferred(), (requests, replies));
}

/// Asks a broker through its client listener, with Kafka's own client: what went wrong, where it does not answer.
fn ask_with_java(version: KafkaVersion, broker: &Broker, properties: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("client.properties");
    let text = format!(
        "security.protocol={}\nrequest.timeout.ms=20000\ndefault.api.timeout.ms=20000\n{properties}",
        broker.security_protocol()
    );
    std::fs::write(&config, text).expect("write");
    let output = Command::new("java")
        .args(version.install().expect("jars").java_arguments())
        .args([
            "kafka.admin.ConfigCommand",
            "--describe",
            "--entity-type",
            "topics",
        ])
        .args([
            "--entity-name",
            "guarded",
            "--bootstrap-server",
            &broker.bootstrap(),
        ])
        .arg("--command-config")
        .arg(&config)
        .output()
        .expect("java");
    match output.status.success() && output.stdout.starts_with(b"Dynamic configs for topic guarded") {
        true => Ok(()),
        false => Err(format!(
            "{} {}",
            output.stdout.escape_ascii(),
            output.stderr.escape_ascii()
        )),
    }
}

#[test]
fn listeners_with_tls_sasl_and_access_control_serve_kafkas_own_client() {
    for version in KafkaVersion::ALL {
        let broker = Broker::builder(version)
            .tls(ClientCertificate::Required)
            .sasl_user("admin", "admin-secret")
            .sasl_user("alice", "alice-secret")
            .authorizer()
            .start()
            .expect("start");
        assert_eq!(broker.security_protocol(), "SASL_SSL");
        // The internal listener stays open to tests, whatever the client listener asks for.
        consumer::create_topic(&broker.internal_bootstrap(), "guarded", 1, &[]).expect("create");

        let certificates = broker.certificates();
        let store = broker.log_dir(0).with_file_name("client.pem");
        let pem = [certificates.client_key(), certificates.client_certificate()]
            .map(|file| std::fs::read(file).expect("PEM"));
        std::fs::write(&store, pem.concat()).expect("write");
        let trust = format!(
            "ssl.truststore.type=PEM\nssl.truststore.location={}\n",
            certificates.ca().display()
        );
        let own = format!(
            "ssl.keystore.type=PEM\nssl.keystore.location={}\n",
            store.display()
        );
        let login = |mechanism: &str, module: &str, options: &str| {
            format!(
                "sasl.mechanism={mechanism}\nsasl.jaas.config=org.apache.kafka.common.security.{module} required {options};\n"
            )
        };
        let password = |name: &str, password: &str| format!("username=\"{name}\" password=\"{password}\"");
        let scram = |mechanism| {
            login(
                mechanism,
                "scram.ScramLoginModule",
                &password("admin", "admin-secret"),
            )
        };
        let plain = |name, secret| login("PLAIN", "plain.PlainLoginModule", &password(name, secret));
        let token = login(
            "OAUTHBEARER",
            "oauthbearer.OAuthBearerLoginModule",
            "unsecuredLoginStringClaim_sub=\"admin\"",
        );
        let ask = |properties: String| ask_with_java(version, &broker, &properties);
        for good in [
            plain("admin", "admin-secret"),
            scram("SCRAM-SHA-256"),
            scram("SCRAM-SHA-512"),
            token,
        ] {
            assert_eq!(ask(format!("{trust}{own}{good}")), Ok(()), "{version:?}: {good}");
        }
        if version == KafkaVersion::V3_9 {
            // Refusals once is enough: every question costs a Java start.
            continue;
        }
        let admin = plain("admin", "admin-secret");
        for (bad, why) in [
            // Whoever may not see a topic is told that it does not exist.
            (
                format!("{trust}{own}{}", plain("alice", "alice-secret")),
                "guarded\\' doesn\\'t exist",
            ),
            (
                format!("{trust}{own}{}", plain("admin", "wrong")),
                "SaslAuthenticationException",
            ),
            (format!("{trust}{admin}"), "SslAuthenticationException"),
            (format!("{own}{admin}"), "SslAuthenticationException"),
        ] {
            let said = ask(bad).expect_err(why);
            assert!(said.contains(why), "{version:?}: {said}");
        }

        let folder = broker.log_dir(0);
        drop(broker);
        assert!(!folder.exists(), "the data goes with the broker");
    }
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let error = Broker::builder(KafkaVersion::V4_1)
        .property("num.network.threads", "none")
        .start()
        .expect_err("not a number");
    assert!(format!("{error:#}").contains("num.network.threads"), "{error:#}");
}

#[test]
fn a_kept_broker_lives_on_until_it_is_killed_by_hand() {
    let broker = Broker::builder(KafkaVersion::V4_1).start().expect("start");
    let bootstrap = broker.internal_bootstrap();
    consumer::create_topic(&bootstrap, "kept", 1, &[]).expect("create");
    let kept = broker.keep().expect("keep");
    assert_eq!(consumer::topics(&bootstrap).expect("it still answers"), ["kept"]);
    for process in &kept.processes {
        let status = Command::new("kill")
            .args(["-s", "KILL", &process.to_string()])
            .status();
        assert!(status.expect("kill").success());
    }
    std::fs::remove_dir_all(&kept.folder).expect("remove");
    while TcpStream::connect(&bootstrap).is_ok() {
        std::thread::yield_now();
    }
}
