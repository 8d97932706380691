//! Several brokers: leaders that move, brokers that go and come back.

use std::time::Duration;

use kafka::admin::OffsetSpec;
use kafka::cluster::{Cluster, CoordinatorKind};
use kafka::config::{Address, ClientConfig};
use kafka::error::KafkaError;
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};

use crate::administration::{new_topic, only, plain};

#[tokio::test]
async fn the_first_server_that_answers_is_enough() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let cluster = plain(&format!("{dead},{}", broker.bootstrap())).await;
    assert_eq!(cluster.brokers().len(), 1);
    assert!(cluster.cluster_id().is_some());
    let description = cluster.describe_cluster().await.unwrap();
    assert_eq!(Some(description.id), cluster.cluster_id());
    // Futures can go to other threads.
    let moved = cluster.clone();
    tokio::spawn(async move { moved.topics(None).await })
        .await
        .unwrap()
        .unwrap();

    let both = format!("{dead},{dead}");
    let config = ClientConfig::new(Address::parse_list(&both).unwrap());
    let error = Cluster::connect(config).await.unwrap_err();
    assert!(
        matches!(&error, KafkaError::Unreachable { addr, .. } if *addr == both),
        "{error:?}"
    );
    let error = Cluster::connect(ClientConfig::new(Vec::new())).await.unwrap_err();
    assert!(error.to_string().starts_with("bootstrap.servers: "), "{error}");
}

#[tokio::test]
async fn leaders_and_coordinators_move_when_a_broker_dies() {
    let mut broker = Broker::builder(KafkaVersion::V4_1)
        .nodes(3)
        .property("broker.session.timeout.ms", "3000")
        .start()
        .unwrap();
    let mut config = ClientConfig::new(Address::parse_list(&broker.bootstrap()).unwrap());
    config.api_timeout = Duration::from_secs(120);
    let cluster = Cluster::connect(config).await.unwrap();
    assert_eq!(cluster.brokers().len(), 3);
    only(cluster.create_topics(&[new_topic("moving", 6)], false).await).unwrap();
    let partitions: Vec<_> = (0..6)
        .map(|number| TopicPartition::new("moving", number))
        .collect();
    let ends = cluster.list_offsets(&partitions, OffsetSpec::LogEnd).await;
    assert!(ends.iter().all(|(_, end)| *end == Ok(0)), "{ends:?}");

    let leader = cluster.leader_id(&partitions[0]).await.unwrap();
    let connection = cluster.connection(leader).await.unwrap();
    let dead = (0..3).find(|&node| broker.broker_id(node) == leader).unwrap();
    broker.kill9(dead).unwrap();
    // Noticed without a request.
    connection.close().await;
    // Everything goes on with the leaders that are elected now.
    let ends = cluster.list_offsets(&partitions, OffsetSpec::Latest).await;
    assert!(ends.iter().all(|(_, end)| *end == Ok(0)), "{ends:?}");
    for partition in &partitions {
        assert_ne!(cluster.leader_id(partition).await.unwrap(), leader);
    }
    cluster.coordinator(CoordinatorKind::Group, "g").await.unwrap();
    only(
        cluster
            .create_partitions(&[("moving".to_owned(), 7)], false)
            .await,
    )
    .unwrap();

    broker.restart(dead).unwrap();
    let mut retry = cluster.retry();
    while let Err(error) = cluster.connection(leader).await {
        retry.pause(error).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_that_is_away_for_a_while_is_waited_for() {
    let mut broker = Broker::builder(KafkaVersion::V3_9).start().unwrap();
    let mut config = ClientConfig::new(Address::parse_list(&broker.bootstrap()).unwrap());
    config.api_timeout = Duration::from_secs(120);
    let cluster = Cluster::connect(config).await.unwrap();
    only(cluster.create_topics(&[new_topic("away", 1)], false).await).unwrap();
    let partition = TopicPartition::new("away", 0);
    cluster.leader(&partition).await.unwrap();
    broker.kill9(0).unwrap();
    let waiting = cluster.clone();
    let asked = partition.clone();
    let answer = tokio::spawn(async move { waiting.list_offsets(&[asked], OffsetSpec::Latest).await });
    broker.begin_restart(0).unwrap();
    assert_eq!(only(answer.await.unwrap()), Ok(0));

    // And given up in the end, with the reason.
    let mut config = cluster.config().clone();
    config.api_timeout = Duration::from_millis(500);
    let impatient = Cluster::connect(config).await.unwrap();
    broker.kill9(0).unwrap();
    let error = only(impatient.list_offsets(&[partition], OffsetSpec::Latest).await).unwrap_err();
    assert!(error.is_retriable(), "{error:?}");
}
