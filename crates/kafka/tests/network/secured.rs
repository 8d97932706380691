//! Real brokers behind TLS and SASL, through properties as people write them.

use kafka::cluster::Cluster;
use kafka::config::ClientConfig;
use kafka::config::properties::Properties;
use kafka::error::KafkaError;
use testkit::broker::{Broker, ClientCertificate, KafkaVersion};

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

async fn connect(broker: &Broker, properties: &[(&str, &str)]) -> Result<Cluster, KafkaError> {
    let mut all: Properties = properties.iter().copied().collect();
    all.set("bootstrap.servers", broker.bootstrap());
    let cluster = Cluster::connect(ClientConfig::from_properties(&all)?.config).await?;
    // A question that only an authenticated connection is answered.
    cluster.describe_cluster().await?;
    cluster.topics(None).await?;
    Ok(cluster)
}

fn user(module: &str, name: &str, password: &str) -> String {
    format!("{module} required username=\"{name}\" password=\"{password}\";")
}

#[tokio::test]
async fn tls_with_client_certificates() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .tls(ClientCertificate::Required)
        .start()
        .unwrap();
    let certificates = broker.certificates();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let ca = read(certificates.ca());
    let (chain, key) = (
        read(certificates.client_certificate()),
        read(certificates.client_key()),
    );
    let trust = [
        ("security.protocol", "SSL"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.certificates", &ca),
    ];
    let own = [
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.certificate.chain", chain.as_str()),
        ("ssl.keystore.key", key.as_str()),
    ];
    let cluster = connect(&broker, &[&trust[..], &own].concat()).await.unwrap();
    assert_eq!(cluster.brokers().len(), 1);

    let error = connect(&broker, &trust).await.unwrap_err();
    assert!(matches!(error, KafkaError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("ssl.keystore"), "{error}");

    let error = connect(&broker, &[]).await.unwrap_err();
    assert!(
        error.to_string().contains("security.protocol must be SSL"),
        "{error}"
    );

    // The system's authorities did not sign this.
    let error = connect(&broker, &[("security.protocol", "SSL")])
        .await
        .unwrap_err();
    assert!(
        matches!(error, KafkaError::Tls { .. } | KafkaError::Config { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn sasl_over_tls() {
    for version in KafkaVersion::ALL {
        let broker = Broker::builder(version)
            .tls(ClientCertificate::None)
            .sasl_user("alice", "geheim-1")
            // Sessions end after 3 s and must be renewed before.
            .property("listener.name.client.plain.connections.max.reauth.ms", "3000")
            .property(
                "listener.name.client.scram-sha-512.connections.max.reauth.ms",
                "3000",
            )
            .start();
        let broker = broker.unwrap();
        let ca = broker.certificates().ca();
        let base = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", ca.to_str().unwrap()),
        ];
        for (mechanism, module) in [
            ("PLAIN", PLAIN),
            ("SCRAM-SHA-256", SCRAM),
            ("SCRAM-SHA-512", SCRAM),
        ] {
            let with = |jaas: String| {
                let broker = &broker;
                async move {
                    let sasl = [("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas.as_str())];
                    connect(broker, &[&base[..], &sasl].concat()).await
                }
            };
            with(user(module, "alice", "geheim-1")).await.unwrap();
            for (name, password) in [("alice", "wrong"), ("nobody", "geheim-1")] {
                let error = with(user(module, name, password)).await.unwrap_err();
                assert!(
                    matches!(&error, KafkaError::Authentication { mechanism: named, .. } if *named == mechanism),
                    "{error:?}"
                );
                assert!(
                    !error.is_retriable() && !error.to_string().contains("geheim"),
                    "{error}"
                );
            }
        }
        renewal(&broker, &base).await;
        let error = connect(&broker, &base[1..]).await.unwrap_err();
        assert!(
            error.to_string().contains("security.protocol must be SSL"),
            "{error}"
        );
        let error = connect(
            &broker,
            &[&[("security.protocol", "SSL")][..], &base[1..]].concat(),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("SASL_SSL"), "{error}");
    }
}

/// A connection lives on beyond the end of its session, with requests going all the while.
async fn renewal(broker: &Broker, base: &[(&str, &str)]) {
    for (mechanism, module) in [("PLAIN", PLAIN), ("SCRAM-SHA-512", SCRAM)] {
        let jaas = user(module, "alice", "geheim-1");
        let sasl = [("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas.as_str())];
        let cluster = connect(broker, &[base, &sasl].concat()).await.unwrap();
        let connection = cluster.dedicated_connection(broker.broker_id(0)).await.unwrap();
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_secs(7) {
            let request = kafka_protocol::messages::MetadataRequest::default();
            connection.call(&request).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn sasl_where_there_is_none() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let jaas = user(PLAIN, "a", "b");
    let error = connect(
        broker,
        &[
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.jaas.config", &jaas),
        ],
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("does not do SASL"), "{error}");
}
