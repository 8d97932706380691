use std::time::Duration;

use kafka::batch::{Compression, filler_batch};
use kafka::error::ResponseError;
use kafka::producer::{ProduceError, Producer, ProducerOptions};
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::record::{TimestampType, TruthRecord};

use crate::support::{
    KEEP, LONG_AGO, assert_same, cluster, encode, idempotent, numbered, one_batch, open, read_back,
};

#[tokio::test]
async fn a_refused_batch_ends_its_partition_and_no_other() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    let small = [KEEP, &[("max.message.bytes", "2000")]].concat();
    consumer::create_topic(&broker.bootstrap(), "small", 1, &small).unwrap();
    let compacted = [KEEP, &[("cleanup.policy", "compact")]].concat();
    consumer::create_topic(&broker.bootstrap(), "compacted", 1, &compacted).unwrap();
    consumer::create_topic(&broker.bootstrap(), "fine", 1, KEEP).unwrap();
    let producer = Producer::new(cluster.clone(), idempotent(&cluster).await);
    let open = |topic| producer.partition(TopicPartition::new(topic, 0), 0, 0);
    let (mut small, mut compacted, mut fine) = (open("small"), open("compacted"), open("fine"));
    small.append(one_batch(&numbered(0, 0, 3))).await.unwrap();
    small
        .append(encode(&numbered(0, 3, 500), Compression::None, 1 << 20).remove(0))
        .await
        .unwrap();
    small.append(one_batch(&numbered(0, 503, 3))).await.unwrap();
    compacted.append(filler_batch(10, 0).unwrap()).await.unwrap();
    fine.append(one_batch(&numbered(0, 0, 100))).await.unwrap();

    let error = small.flush().await.unwrap_err();
    assert!(
        matches!(
            error,
            ProduceError::Refused {
                offset: 3,
                code: ResponseError::MessageTooLarge,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
    assert_eq!(small.confirmed(), 3);
    assert!(small.append(one_batch(&numbered(0, 0, 1))).await.is_err());
    let error = compacted.flush().await.unwrap_err();
    assert!(
        matches!(&error, ProduceError::Refused { code: ResponseError::InvalidRecord, message: Some(text), .. }
            if text.contains("key")),
        "{error:?}"
    );
    assert_eq!(fine.flush().await.unwrap(), 100);
    assert_same(&numbered(0, 0, 3), &read_back(&broker.bootstrap(), "small", 0));
    assert_same(&numbered(0, 0, 100), &read_back(&broker.bootstrap(), "fine", 0));
}

#[tokio::test]
async fn a_foreign_writer_is_noticed_at_the_next_batch() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    consumer::create_topic(&broker.bootstrap(), "foreign", 1, KEEP).unwrap();
    let mut writer = open(&cluster, "foreign", 0).await;
    writer.append(one_batch(&numbered(0, 0, 10))).await.unwrap();
    assert_eq!(writer.flush().await.unwrap(), 10);
    let foreign = TruthRecord {
        topic: "foreign".to_owned(),
        partition: 0,
        offset: 0,
        timestamp: LONG_AGO,
        timestamp_type: TimestampType::CreateTime,
        key: None,
        value: Some(b"not ours".to_vec()),
        headers: Vec::new(),
    };
    consumer::produce(&broker.bootstrap(), &[foreign]).unwrap();
    writer.append(one_batch(&numbered(0, 10, 10))).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert!(
        matches!(
            error,
            ProduceError::UnexpectedBase {
                expected: 10,
                actual: 11,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(writer.confirmed(), 10);
}

/// Two runs with the same producer id: the second one's sequence does not follow, so the broker refuses it, and the
/// log end explains why.
#[tokio::test]
async fn a_second_run_at_an_old_position_is_refused_and_explained() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    consumer::create_topic(&broker.bootstrap(), "twice", 1, KEEP).unwrap();
    let options = idempotent(&cluster).await;
    let partition = TopicPartition::new("twice", 0);
    let mut first = Producer::new(cluster.clone(), options.clone()).partition(partition.clone(), 0, 0);
    for number in 0..8 {
        first
            .append(one_batch(&numbered(0, number * 10, 10)))
            .await
            .unwrap();
    }
    first.flush().await.unwrap();
    let mut second = Producer::new(cluster.clone(), options).partition(partition, 0, 0);
    second.append(one_batch(&numbered(0, 0, 7))).await.unwrap();
    let error = second.flush().await.unwrap_err();
    assert!(
        matches!(
            error,
            ProduceError::UnexpectedLogEnd {
                confirmed: 0,
                actual: 80,
                ..
            }
        ),
        "{error:?}"
    );
    let expected = numbered(0, 0, 80);
    assert_same(&expected, &read_back(&broker.bootstrap(), "twice", 0));
}

#[tokio::test]
async fn fillers_need_no_identity_and_gaps_do() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    consumer::create_topic(&broker.bootstrap(), "fillers", 1, KEEP).unwrap();
    let producer = Producer::new(cluster, ProducerOptions::default());
    let mut writer = producer.partition(TopicPartition::new("fillers", 0), 0, 0);
    let filler = filler_batch(100_000, 0).unwrap();
    for _ in 0..10 {
        writer.append(filler.clone()).await.unwrap();
    }
    assert_eq!(writer.flush().await.unwrap(), 1_000_000);
    assert!(matches!(
        writer.append_gap(1).await,
        Err(ProduceError::NoIdentity { .. })
    ));
    assert_eq!(producer.throttled(), Duration::ZERO);
}
