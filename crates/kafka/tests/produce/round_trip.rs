use kafka::batch::Compression;
use kafka::fetch::{FetchError, Isolation, PartitionFetcher, last_records};
use kafka::producer::Producer;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use record::{RecordBlock, TopicPartition};
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::record::{TimestampType, TruthRecord};

use crate::support::{
    KEEP, LONG_AGO, assert_same, block_of, cluster, encode, idempotent, numbered, one_batch, open, read_back,
};

/// Records of all shapes: 40 years, null and empty fields, headers with names twice. Names are text, as librdkafka's
/// Rust wrapper cannot show others.
fn records() -> impl Strategy<Value = RecordBlock> {
    let bytes = || {
        option::of(prop_oneof![
            Just(Vec::new()),
            vec(any::<u8>(), 0..50),
            vec(any::<u8>(), 500..3000)
        ])
    };
    let timestamp = prop_oneof![9 => 473_385_600_000_i64..1_735_689_600_000, 1 => Just(-1)];
    let headers = vec((proptest::sample::select(&["a", "b", ""][..]), bytes()), 0..4);
    vec((timestamp, bytes(), bytes(), headers), 300..600).prop_map(|records| {
        let mut block = RecordBlock::new();
        for (offset, (timestamp, key, value, headers)) in records.into_iter().enumerate() {
            let mut writer = block.append(offset as i64, timestamp);
            if let Some(key) = key {
                writer.key(&key);
            }
            if let Some(value) = value {
                writer.value(&value);
            }
            for (name, value) in headers {
                writer.header(name.as_bytes(), value.as_deref());
            }
            writer.finish();
        }
        block
    })
}

async fn fetch_all(
    cluster: &kafka::cluster::Cluster,
    partition: &TopicPartition,
    start: i64,
    end: i64,
    isolation: Isolation,
) -> RecordBlock {
    let mut fetcher = PartitionFetcher::new(cluster.clone(), partition.clone(), start, end, isolation);
    let mut all = RecordBlock::new();
    let mut block = RecordBlock::new();
    while fetcher.next(&mut block).await.unwrap() {
        assert!(!block.is_empty());
        block.iter().for_each(|record| all.push(record));
    }
    all
}

/// Every codec, several partitions in a request, on both brokers: librdkafka and our own fetch read what went in.
async fn all_codecs(version: KafkaVersion) {
    let broker = Broker::shared(version);
    let cluster = cluster(&broker.bootstrap()).await;
    let topic = "codecs";
    consumer::create_topic(&broker.bootstrap(), topic, 5, KEEP).unwrap();
    let producer = Producer::new(cluster.clone(), idempotent(&cluster).await);
    let mut runner = TestRunner::deterministic();
    let mut blocks = Vec::new();
    let mut writers = Vec::new();
    for (number, codec) in Compression::ALL.into_iter().enumerate() {
        let block = records().new_tree(&mut runner).unwrap().current();
        let mut writer = producer.partition(TopicPartition::new(topic, number as i32), 0, 0);
        let batches = encode(&block, codec, 60_000);
        assert!(batches.len() > 2, "{codec}");
        for batch in batches {
            writer.append(batch).await.unwrap();
        }
        blocks.push(block);
        writers.push(writer);
    }
    for (writer, block) in writers.iter_mut().zip(&blocks) {
        assert_eq!(writer.flush().await.unwrap(), block.len() as i64);
        let progress = writer.progress().borrow().clone();
        assert_eq!(progress.records, block.len() as u64);
        assert_eq!(progress.last_source_offset, Some(block.len() as i64 - 1));
    }
    for (number, block) in blocks.iter().enumerate() {
        let partition = TopicPartition::new(topic, number as i32);
        assert_same(block, &read_back(&broker.bootstrap(), topic, partition.partition));
        let end = block.len() as i64;
        let ours = fetch_all(&cluster, &partition, 0, end, Isolation::ReadUncommitted).await;
        assert_same(block, &ours);
        // From the middle of a batch to the middle of one.
        let middle = fetch_all(&cluster, &partition, 7, end - 5, Isolation::ReadUncommitted).await;
        assert_eq!(
            (middle.first().unwrap().offset, middle.last().unwrap().offset),
            (7, end - 6)
        );
        assert_eq!(middle.len() as i64, end - 12);
        let last = last_records(&cluster, &partition, end - 1, 3).await.unwrap();
        let offsets: Vec<i64> = last.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [end - 4, end - 3, end - 2]);
    }
}

#[tokio::test]
async fn all_codecs_on_4_1() {
    all_codecs(KafkaVersion::V4_1).await;
}

#[tokio::test]
async fn all_codecs_on_3_9() {
    all_codecs(KafkaVersion::V3_9).await;
}

#[tokio::test]
async fn gaps_between_batches_take_exactly_their_offsets() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    consumer::create_topic(&broker.bootstrap(), "gaps", 2, KEEP).unwrap();
    let producer = Producer::new(cluster.clone(), idempotent(&cluster).await);
    let mut expected = [RecordBlock::new(), RecordBlock::new()];
    let mut writers: Vec<_> = (0..2)
        .map(|number| producer.partition(TopicPartition::new("gaps", number), 0, 0))
        .collect();
    for (number, gap) in [1, 3, 2500, 7, 1, 40].into_iter().enumerate() {
        for partition in 0..2 {
            let writer = &mut writers[partition as usize];
            let block = numbered(partition, writer.end(), 5 + number as i64);
            block
                .iter()
                .for_each(|record| expected[partition as usize].push(record));
            writer.append(one_batch(&block)).await.unwrap();
            writer.append_gap(gap + i64::from(partition)).await.unwrap();
        }
    }
    for (partition, writer) in writers.iter_mut().enumerate() {
        // The last gap has nothing behind it: the log end confirms it.
        let end = writer.end();
        assert_eq!(writer.flush().await.unwrap(), end);
        assert_same(
            &expected[partition],
            &read_back(&broker.bootstrap(), "gaps", partition as i32),
        );
        let partition_name = TopicPartition::new("gaps", partition as i32);
        assert_eq!(
            consumer::watermarks(&broker.bootstrap(), "gaps").unwrap()[partition],
            (0, end)
        );
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            assert_same(
                &expected[partition],
                &fetch_all(&cluster, &partition_name, 0, end, isolation).await,
            );
        }
        let last = last_records(&cluster, &partition_name, end, 1).await.unwrap();
        assert_eq!(last.last(), expected[partition].last());
    }
}

#[tokio::test]
async fn aborted_transactions_are_seen_as_asked() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let bootstrap = broker.bootstrap();
    consumer::create_topic(&bootstrap, "transactions", 1, KEEP).unwrap();
    let records = |text: &str| {
        let record = |number: i64| TruthRecord {
            topic: "transactions".to_owned(),
            partition: 0,
            offset: 0,
            timestamp: LONG_AGO + number,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(format!("{text} {number}").into_bytes()),
            headers: Vec::new(),
        };
        (0..20).map(record).collect::<Vec<_>>()
    };
    consumer::produce_transaction(&bootstrap, "one", &records("aborted"), false).unwrap();
    consumer::produce(&bootstrap, &records("plain")).unwrap();
    consumer::produce_transaction(&bootstrap, "one", &records("committed"), true).unwrap();
    consumer::produce_transaction(&bootstrap, "two", &records("aborted again"), false).unwrap();
    let cluster = cluster(&bootstrap).await;
    let partition = TopicPartition::new("transactions", 0);
    let end = consumer::watermarks(&bootstrap, "transactions").unwrap()[0].1;
    for (ours, theirs, count) in [
        (Isolation::ReadCommitted, consumer::Isolation::ReadCommitted, 40),
        (
            Isolation::ReadUncommitted,
            consumer::Isolation::ReadUncommitted,
            80,
        ),
    ] {
        let fetched = fetch_all(&cluster, &partition, 0, end, ours).await;
        let oracle = block_of(
            consumer::read_topic_as(&bootstrap, "transactions", theirs).unwrap(),
            0,
        );
        assert_same(&oracle, &fetched);
        assert_eq!(fetched.len(), count);
    }
}

#[tokio::test]
async fn offsets_that_are_not_there_are_a_clear_error() {
    let broker = Broker::shared(KafkaVersion::V4_1);
    let cluster = cluster(&broker.bootstrap()).await;
    consumer::create_topic(&broker.bootstrap(), "range", 1, KEEP).unwrap();
    let mut writer = open(&cluster, "range", 0).await;
    writer.append(one_batch(&numbered(0, 0, 10))).await.unwrap();
    writer.flush().await.unwrap();
    let partition = TopicPartition::new("range", 0);
    let mut fetcher = PartitionFetcher::new(cluster, partition, 50, 60, Isolation::ReadUncommitted);
    let error = fetcher.next(&mut RecordBlock::new()).await.unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::OutOfRange {
                offset: 50,
                log_start: 0,
                log_end: 10,
                ..
            }
        ),
        "{error:?}"
    );
}
