use std::time::Duration;

use kafka::cluster::Cluster;
use kafka::producer::{Producer, Progress};
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use tokio::sync::watch;

use crate::support::{KEEP, assert_same, cluster, idempotent, numbered, one_batch, read_back};

/// Waits until so many more offsets are confirmed.
async fn confirmed_more(progress: &mut watch::Receiver<Progress>, offsets: i64) {
    let goal = progress.borrow().confirmed + offsets;
    let reached = progress.wait_for(|progress| progress.confirmed >= goal || progress.error.is_some());
    let reached = tokio::time::timeout(Duration::from_secs(120), reached).await;
    assert_eq!(
        reached.expect("nothing is confirmed any more").unwrap().error,
        None
    );
}

/// Kills the leader of the first partition twice, each time while batches are on their way, and starts it again.
async fn kill_leaders(
    mut broker: Broker,
    cluster: Cluster,
    mut progress: watch::Receiver<Progress>,
) -> Broker {
    for _ in 0..2 {
        confirmed_more(&mut progress, 2000).await;
        let leader = cluster
            .leader_id(&TopicPartition::new("moving", 0))
            .await
            .unwrap();
        let node = (0..3).find(|&node| broker.broker_id(node) == leader).unwrap();
        broker.kill9(node).unwrap();
        confirmed_more(&mut progress, 2000).await;
        let restart = move || {
            broker.restart(node).unwrap();
            broker
        };
        broker = tokio::task::spawn_blocking(restart).await.unwrap();
    }
    broker
}

/// Three brokers, records of 2015, the leader killed under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_and_doubles_nothing() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .nodes(3)
        .property("broker.session.timeout.ms", "3000")
        .start()
        .unwrap();
    let settings = [KEEP, &[("min.insync.replicas", "2")]].concat();
    consumer::create_topic(&broker.internal_bootstrap(), "moving", 3, &settings).unwrap();
    let cluster = cluster(&broker.bootstrap()).await;
    let producer = Producer::new(cluster.clone(), idempotent(&cluster).await);
    let mut writers: Vec<_> = (0..3)
        .map(|number| producer.partition(TopicPartition::new("moving", number), 0, 0))
        .collect();
    let killer = tokio::spawn(kill_leaders(broker, cluster, writers[0].progress()));
    let mut next = 0;
    // Queues are kept full, so that each kill meets requests in flight.
    while !killer.is_finished() {
        for (number, writer) in writers.iter_mut().enumerate() {
            writer
                .append(one_batch(&numbered(number as i32, next, 20)))
                .await
                .unwrap();
        }
        next += 20;
    }
    let broker = killer.await.unwrap();
    let mut settled = 0;
    for (number, writer) in writers.iter_mut().enumerate() {
        let end = tokio::time::timeout(Duration::from_secs(120), writer.flush())
            .await
            .unwrap();
        assert_eq!(end.unwrap(), next);
        settled += writer.progress().borrow().settled;
        let expected = numbered(number as i32, 0, next);
        assert_same(
            &expected,
            &read_back(&broker.internal_bootstrap(), "moving", number as i32),
        );
    }
    assert!(settled > 0, "no request was in flight at a kill");
}
