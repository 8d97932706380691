//! Administration against real brokers of both versions.

use std::time::Duration;

use kafka::admin::{
    ConfigChange, ConfigOperation, ConfigResource, ConfigSource, Marker, NewTopic, OffsetSpec, Outcomes,
    marker_errors, write_txn_markers,
};
use kafka::cluster::{Cluster, CoordinatorKind, Operation};
use kafka::config::{Address, ClientConfig};
use kafka::error::{KafkaError, ResponseError};
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};

pub(crate) async fn plain(bootstrap: &str) -> Cluster {
    let config = ClientConfig::new(Address::parse_list(bootstrap).unwrap());
    Cluster::connect(config).await.unwrap()
}

pub(crate) fn new_topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: -1,
        configs: vec![("retention.ms".to_owned(), "-1".to_owned())],
    }
}

/// The outcome of the only item.
pub(crate) fn only<I, T>(mut outcomes: Outcomes<I, T>) -> Result<T, KafkaError> {
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0).1
}

fn code<T: std::fmt::Debug>(outcome: Result<T, KafkaError>) -> ResponseError {
    outcome.unwrap_err().code().unwrap()
}

#[tokio::test]
async fn topics_live_and_die() {
    for version in KafkaVersion::ALL {
        let cluster = plain(&Broker::shared(version).bootstrap()).await;
        let name = "admin-topics";
        let missing = cluster.topics(Some(&[name])).await.unwrap();
        assert_eq!(
            missing[0].error.as_ref().unwrap().code(),
            Some(ResponseError::UnknownTopicOrPartition)
        );

        only(cluster.create_topics(&[new_topic(name, 2)], true).await).unwrap();
        only(cluster.create_topics(&[new_topic(name, 2)], false).await).unwrap();
        let outcomes = cluster
            .create_topics(
                &[
                    new_topic(name, 2),
                    new_topic("admin-none", 0),
                    new_topic("not/a/name", 1),
                ],
                false,
            )
            .await;
        let codes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| code(outcome)).collect();
        assert_eq!(
            codes,
            [
                ResponseError::TopicAlreadyExists,
                ResponseError::InvalidPartitions,
                ResponseError::InvalidTopicException
            ]
        );
        let bad = NewTopic {
            configs: vec![("retention.ms".to_owned(), "soon".to_owned())],
            ..new_topic("admin-bad", 1)
        };
        let error = only(cluster.create_topics(&[bad], false).await).unwrap_err();
        assert_eq!(error.code(), Some(ResponseError::InvalidConfig));
        assert!(error.to_string().contains("retention.ms"), "{error}");

        let partition = TopicPartition::new(name, 1);
        cluster.leader(&partition).await.unwrap();
        only(cluster.create_partitions(&[(name.to_owned(), 4)], false).await).unwrap();
        let fewer = only(cluster.create_partitions(&[(name.to_owned(), 3)], false).await);
        assert_eq!(code(fewer), ResponseError::InvalidPartitions);
        cluster.leader(&TopicPartition::new(name, 3)).await.unwrap();
        let found = cluster.topics(Some(&[name])).await.unwrap().remove(0);
        assert_eq!(found.partitions.len(), 4);
        assert!(found.id.is_some() && found.error.is_none() && !found.is_internal);
        // Without an authorizer everything is allowed.
        assert!(found.rights.unwrap().allow(Operation::Write));

        let outcomes = cluster.delete_topics(&[name, "admin-unknown"]).await;
        assert!(outcomes[0].1.is_ok(), "{outcomes:?}");
        // Tried again for a while, since a new topic may not be known everywhere.
        assert_eq!(
            outcomes[1].1.as_ref().unwrap_err().code(),
            Some(ResponseError::UnknownTopicOrPartition)
        );
    }
}

#[tokio::test]
async fn configurations_are_read_and_changed() {
    for version in KafkaVersion::ALL {
        let broker = Broker::shared(version);
        let cluster = plain(&broker.bootstrap()).await;
        let name = "admin-configs";
        only(cluster.create_topics(&[new_topic(name, 1)], false).await).unwrap();
        cluster.leader(&TopicPartition::new(name, 0)).await.unwrap();
        let topic = ConfigResource::Topic(name.to_owned());
        let change = |changes: &[(&str, ConfigOperation)]| ConfigChange {
            resource: topic.clone(),
            changes: changes
                .iter()
                .map(|(name, change)| ((*name).to_owned(), change.clone()))
                .collect(),
        };
        let set = |value: &str| ConfigOperation::Set(value.to_owned());
        let applied = change(&[
            ("segment.ms", set("86400000")),
            ("retention.ms", ConfigOperation::Delete),
        ]);
        only(cluster.incremental_alter_configs(&[applied], false).await).unwrap();
        let names = ["segment.ms", "retention.ms", "cleanup.policy"];
        // A broker learns of the change a moment later.
        let entries = loop {
            let entries = only(
                cluster
                    .describe_configs(std::slice::from_ref(&topic), Some(&names))
                    .await,
            )
            .unwrap();
            if entries
                .iter()
                .any(|entry| entry.value.as_deref() == Some("86400000"))
            {
                break entries;
            }
        };
        assert_eq!(entries.len(), 3);
        let entry = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry("segment.ms").source, ConfigSource::Topic);
        assert_ne!(entry("retention.ms").source, ConfigSource::Topic);
        assert_eq!(entry("cleanup.policy").value.as_deref(), Some("delete"));

        let refused = change(&[("no.such.key", set("1"))]);
        let outcome = only(cluster.incremental_alter_configs(&[refused], true).await);
        assert_eq!(code(outcome), ResponseError::InvalidConfig);
        let id = ConfigResource::Broker(broker.broker_id(0));
        let entries = only(cluster.describe_configs(&[id], None).await).unwrap();
        assert!(
            entries
                .iter()
                .any(|entry| entry.name == "message.max.bytes" && entry.source == ConfigSource::File)
        );
        only(
            cluster
                .describe_configs(&[ConfigResource::AllBrokers], None)
                .await,
        )
        .unwrap();
    }
}

#[tokio::test]
async fn offsets_markers_and_producers() {
    for version in KafkaVersion::ALL {
        let cluster = plain(&Broker::shared(version).bootstrap()).await;
        let name = "admin-offsets";
        only(cluster.create_topics(&[new_topic(name, 2)], false).await).unwrap();
        let partitions = [TopicPartition::new(name, 0), TopicPartition::new(name, 1)];
        let offsets = async |spec| {
            let outcomes = cluster.list_offsets(&partitions, spec).await;
            outcomes
                .into_iter()
                .map(|(_, offset)| offset.unwrap())
                .collect::<Vec<i64>>()
        };
        assert_eq!(offsets(OffsetSpec::LogEnd).await, [0, 0]);

        let producer = cluster.init_producer_id().await.unwrap();
        assert!(producer.id >= 0 && producer.epoch == 0);
        let leader = cluster.leader(&partitions[0]).await.unwrap();
        let marker = Marker {
            producer,
            partitions: partitions.to_vec(),
            repeat: 5,
        };
        let response = write_txn_markers(&leader, &[marker]).unwrap().await.unwrap();
        assert!(marker_errors(&response).is_empty());
        assert_eq!(offsets(OffsetSpec::LogEnd).await, [5, 5]);
        assert_eq!(offsets(OffsetSpec::Latest).await, [5, 5]);

        let transactional = format!("admin-{}", version.number());
        let limit = Duration::from_secs(60);
        let transaction = cluster
            .init_transactional_producer(&transactional, limit)
            .await
            .unwrap();
        for _ in 0..3 {
            cluster
                .empty_transaction(&transactional, transaction, &partitions[..1])
                .await
                .unwrap();
        }
        // Markers are written after the answer.
        while offsets(OffsetSpec::Latest).await != [8, 5] {}
        let again = cluster
            .init_transactional_producer(&transactional, limit)
            .await
            .unwrap();
        assert_eq!(again.id, transaction.id);
        assert!(again.epoch > transaction.epoch);

        let states = cluster.describe_producers(&partitions).await;
        let ids: Vec<i64> = states[0]
            .1
            .as_ref()
            .unwrap()
            .iter()
            .map(|state| state.id)
            .collect();
        assert!(
            ids.contains(&producer.id) && ids.contains(&transaction.id),
            "{ids:?}"
        );
        let state = states[1].1.as_ref().unwrap()[0];
        assert_eq!((state.last_sequence, state.transaction_start), (-1, None));

        let cut = cluster
            .delete_records(&[(partitions[0].clone(), 6), (partitions[1].clone(), 99)])
            .await;
        assert_eq!(cut[0].1, Ok(6));
        assert_eq!(
            cut[1].1.as_ref().unwrap_err().code(),
            Some(ResponseError::OffsetOutOfRange)
        );
        assert_eq!(offsets(OffsetSpec::Earliest).await, [6, 0]);
        let times = cluster.offsets_for_time(&partitions, 0).await;
        assert!(times.iter().all(|(_, offset)| offset.is_ok()), "{times:?}");
        let unknown = cluster
            .list_offsets(&[TopicPartition::new(name, 7)], OffsetSpec::Latest)
            .await;
        assert_eq!(code(only(unknown)), ResponseError::UnknownTopicOrPartition);

        let group = cluster
            .coordinator(CoordinatorKind::Group, "some-group")
            .await
            .unwrap();
        assert!(!group.is_closed());
    }
}

#[tokio::test]
async fn what_is_not_allowed_is_said_per_item() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .sasl_user("admin", "a")
        .sasl_user("mallory", "m")
        .authorizer()
        .start()
        .unwrap();
    let as_user = async |name: &str, password: &str| {
        let mut config = ClientConfig::new(Address::parse_list(&broker.bootstrap()).unwrap());
        config.security.sasl = Some(kafka::config::Sasl::Plain {
            username: name.to_owned(),
            password: password.into(),
        });
        Cluster::connect(config).await.unwrap()
    };
    let admin = as_user("admin", "a").await;
    only(admin.create_topics(&[new_topic("owned", 1)], false).await).unwrap();
    let partition = TopicPartition::new("owned", 0);
    admin.leader(&partition).await.unwrap();
    assert!(
        admin
            .describe_cluster()
            .await
            .unwrap()
            .rights
            .unwrap()
            .allow(Operation::Alter)
    );

    let mallory = as_user("mallory", "m").await;
    let rights = mallory.describe_cluster().await.unwrap().rights.unwrap();
    assert!(!rights.allow(Operation::Alter) && !rights.allow(Operation::Create));
    let topics = mallory.topics(Some(&["owned"])).await.unwrap();
    assert_eq!(
        topics[0].error.as_ref().unwrap().code(),
        Some(ResponseError::TopicAuthorizationFailed)
    );
    let refused = code(only(mallory.create_topics(&[new_topic("mine", 1)], false).await));
    assert_eq!(refused, ResponseError::TopicAuthorizationFailed);
    let refused = code(only(mallory.list_offsets(&[partition], OffsetSpec::Latest).await));
    assert_eq!(refused, ResponseError::TopicAuthorizationFailed);
}
