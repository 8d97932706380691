use std::time::Duration;

use kafka::producer::{ProduceError, Producer, ProducerOptions};
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::proxy::Fault;

use crate::support::{KEEP, assert_same, cluster, idempotent, numbered, one_batch, read_back};

const PARTITIONS: i32 = 3;
const RECORDS: i64 = 50;

/// Writes `rounds` batches to each partition with a fault before each, and compares the logs.
async fn write_through(broker: &Broker, topic: &str, rounds: i64, fault: impl Fn(i64)) {
    consumer::create_topic(&broker.internal_bootstrap(), topic, PARTITIONS, KEEP).unwrap();
    let cluster = cluster(&broker.bootstrap()).await;
    let options = ProducerOptions {
        request_timeout: Duration::from_secs(5),
        quiet_time: Duration::from_millis(500),
        ..idempotent(&cluster).await
    };
    let producer = Producer::new(cluster, options);
    let mut writers: Vec<_> = (0..PARTITIONS)
        .map(|number| producer.partition(TopicPartition::new(topic, number), 0, 0))
        .collect();
    for round in 0..rounds {
        fault(round);
        for (number, writer) in writers.iter_mut().enumerate() {
            for half in 0..2 {
                let first = round * RECORDS + half * RECORDS / 2;
                writer
                    .append(one_batch(&numbered(number as i32, first, RECORDS / 2)))
                    .await
                    .unwrap();
            }
        }
        // Every other round meets the fault with requests behind one another.
        if round % 2 == 0 {
            for writer in &mut writers {
                writer.flush().await.unwrap();
            }
        }
    }
    let mut settled = 0;
    for (number, writer) in writers.iter_mut().enumerate() {
        assert_eq!(writer.flush().await.unwrap(), rounds * RECORDS);
        settled += writer.progress().borrow().settled;
        let expected = numbered(number as i32, 0, rounds * RECORDS);
        assert_same(
            &expected,
            &read_back(&broker.internal_bootstrap(), topic, number as i32),
        );
    }
    assert!(settled > 0, "no fault was met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_any_byte_lose_and_double_nothing() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    // Requests of about 4 KB each: cuts inside the header, the batches, and between requests.
    write_through(&broker, "requests", 8, |round| {
        broker.proxy(0).cut_after(1 + (round as u64 * 1371) % 5000)
    })
    .await;
    // Answers of about 150 bytes: most cuts leave batches in the log whose answer is lost.
    write_through(&broker, "answers", 8, |round| {
        broker.proxy(0).cut_replies_after(1 + (round as u64 * 31) % 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_a_broker_restart_in_between_lose_and_double_nothing() {
    let mut broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    let topic = "restart";
    consumer::create_topic(&broker.internal_bootstrap(), topic, 1, KEEP).unwrap();
    let cluster = cluster(&broker.bootstrap()).await;
    let options = ProducerOptions {
        request_timeout: Duration::from_secs(5),
        quiet_time: Duration::from_millis(500),
        ..idempotent(&cluster).await
    };
    let identity = options.identity.unwrap();
    let partition = TopicPartition::new(topic, 0);
    let mut writer = Producer::new(cluster.clone(), options).partition(partition.clone(), 0, 0);
    writer.append(one_batch(&numbered(0, 0, RECORDS))).await.unwrap();
    writer.flush().await.unwrap();
    // The batch reaches the log, its answer is lost, and the broker comes back without any memory of the producer:
    // sent again, the batch would be there twice.
    broker.proxy(0).set(Fault::DropReplies);
    writer
        .append(one_batch(&numbered(0, RECORDS, RECORDS)))
        .await
        .unwrap();
    let landed = async {
        loop {
            let internal = broker.internal_bootstrap();
            let ends = tokio::task::spawn_blocking(move || consumer::watermarks(&internal, topic).unwrap());
            if ends.await.unwrap()[0].1 == 2 * RECORDS {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), landed)
        .await
        .unwrap();
    assert_eq!(writer.confirmed(), RECORDS);
    broker.kill9(0).unwrap();
    broker.restart(0).unwrap();
    broker.proxy(0).set(Fault::Pass);
    let (_, producers) = cluster
        .describe_producers(std::slice::from_ref(&partition))
        .await
        .remove(0);
    let producers = producers.unwrap();
    assert!(
        producers.iter().all(|producer| producer.id != identity.id),
        "{producers:?}"
    );
    writer
        .append(one_batch(&numbered(0, 2 * RECORDS, RECORDS)))
        .await
        .unwrap();
    assert_eq!(writer.flush().await.unwrap(), 3 * RECORDS);
    assert!(writer.progress().borrow().settled > 0);
    assert_same(
        &numbered(0, 0, 3 * RECORDS),
        &read_back(&broker.internal_bootstrap(), topic, 0),
    );
}

/// A restarted broker has forgotten the producer of old records. A marker of that producer makes it known again, and its
/// next batch refused; so markers are from another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_after_a_restart_leaves_the_sequence_numbers_alone() {
    let mut broker = Broker::builder(KafkaVersion::V4_1).start().unwrap();
    let cluster = cluster(&broker.bootstrap()).await;
    let other = idempotent(&cluster).await;
    let same = ProducerOptions {
        markers: other.identity,
        ..other.clone()
    };
    let mut writers = Vec::new();
    for (topic, options) in [("gap-other", other), ("gap-same", same)] {
        consumer::create_topic(&broker.internal_bootstrap(), topic, 1, KEEP).unwrap();
        let partition = TopicPartition::new(topic, 0);
        let mut writer = Producer::new(cluster.clone(), options).partition(partition, 0, 0);
        writer.append(one_batch(&numbered(0, 0, RECORDS))).await.unwrap();
        writer.flush().await.unwrap();
        writers.push(writer);
    }
    broker.restart(0).unwrap();
    let mut ends = Vec::new();
    for mut writer in writers {
        writer.append_gap(1).await.unwrap();
        writer
            .append(one_batch(&numbered(0, RECORDS, RECORDS)))
            .await
            .unwrap();
        ends.push(writer.flush().await.map_err(|error| error.to_string()));
    }
    assert_eq!(ends[0], Ok(2 * RECORDS + 1));
    let refused = ends[1].as_ref().unwrap_err();
    assert!(refused.contains("OutOfOrderSequenceNumber"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stays_away_is_given_up_with_what_is_confirmed() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    consumer::create_topic(&broker.internal_bootstrap(), "away", 1, KEEP).unwrap();
    let cluster = cluster(&broker.bootstrap()).await;
    let options = ProducerOptions {
        delivery_deadline: Duration::from_secs(4),
        quiet_time: Duration::from_millis(200),
        ..idempotent(&cluster).await
    };
    let mut writer = Producer::new(cluster, options).partition(TopicPartition::new("away", 0), 0, 0);
    writer.append(one_batch(&numbered(0, 0, 5))).await.unwrap();
    writer.flush().await.unwrap();
    broker.proxy(0).set(Fault::Refuse);
    writer.append(one_batch(&numbered(0, 5, 5))).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert!(
        matches!(error, ProduceError::GaveUp { confirmed: 5, .. }),
        "{error:?}"
    );
    assert!(error.is_retriable());
}
