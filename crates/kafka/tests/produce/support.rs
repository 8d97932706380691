//! Records, producers and comparisons that the tests share.

use std::time::Duration;

use kafka::batch::{Append, BatchEncoder, BufferPool, Compression, EncodedBatch};
use kafka::cluster::Cluster;
use kafka::config::{Address, ClientConfig};
use kafka::producer::{PartitionProducer, Producer, ProducerOptions};
use record::{RecordBlock, TopicPartition};
use testkit::consumer;
use testkit::record::TruthRecord;

/// Settings of a topic that keeps records of any age.
pub(crate) const KEEP: &[(&str, &str)] = &[
    ("retention.ms", "-1"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
];

/// 2015-06-01: brokers forget producers of such records at their next check and at every restart.
pub(crate) const LONG_AGO: i64 = 1_433_116_800_000;

pub(crate) async fn cluster(bootstrap: &str) -> Cluster {
    let mut config = ClientConfig::new(Address::parse_list(bootstrap).unwrap());
    config.request_timeout = Duration::from_secs(10);
    Cluster::connect(config).await.unwrap()
}

pub(crate) async fn idempotent(cluster: &Cluster) -> ProducerOptions {
    ProducerOptions {
        identity: Some(cluster.init_producer_id().await.unwrap()),
        markers: Some(cluster.init_producer_id().await.unwrap()),
        quiet_time: Duration::from_millis(1500),
        ..ProducerOptions::default()
    }
}

pub(crate) async fn open(cluster: &Cluster, topic: &str, partition: i32) -> PartitionProducer {
    let options = idempotent(cluster).await;
    Producer::new(cluster.clone(), options).partition(TopicPartition::new(topic, partition), 0, 0)
}

/// `count` records from `first` on that name their partition and number.
pub(crate) fn numbered(partition: i32, first: i64, count: i64) -> RecordBlock {
    let mut block = RecordBlock::new();
    for number in first..first + count {
        let mut writer = block.append(number, LONG_AGO + number);
        writer.key(format!("{partition}").as_bytes());
        writer.value(format!("record {number} of partition {partition}").as_bytes());
        writer.header(b"n", Some(&number.to_be_bytes()));
        writer.finish();
    }
    block
}

pub(crate) fn encode(block: &RecordBlock, compression: Compression, limit: usize) -> Vec<EncodedBatch> {
    let mut encoder = BatchEncoder::new(compression, None, limit, &BufferPool::new()).unwrap();
    let mut batches = Vec::new();
    for record in block.iter() {
        if encoder.append(record).unwrap() == Append::Full {
            batches.extend(encoder.finish().unwrap());
            assert_eq!(encoder.append(record).unwrap(), Append::Added);
        }
    }
    batches.extend(encoder.finish().unwrap());
    batches
}

pub(crate) fn one_batch(block: &RecordBlock) -> EncodedBatch {
    let mut batches = encode(block, Compression::Lz4, 1 << 20);
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

/// What librdkafka reads from a partition, as a block.
pub(crate) fn read_back(bootstrap: &str, topic: &str, partition: i32) -> RecordBlock {
    block_of(consumer::read_topic(bootstrap, topic).unwrap(), partition)
}

pub(crate) fn block_of(records: Vec<TruthRecord>, partition: i32) -> RecordBlock {
    let mut block = RecordBlock::new();
    for record in records.into_iter().filter(|record| record.partition == partition) {
        let mut writer = block.append(record.offset, record.timestamp);
        if let Some(key) = &record.key {
            writer.key(key);
        }
        if let Some(value) = &record.value {
            writer.value(value);
        }
        for (name, value) in &record.headers {
            writer.header(name.as_bytes(), value.as_deref());
        }
        writer.finish();
    }
    block
}

/// Panics with the first difference.
pub(crate) fn assert_same(expected: &RecordBlock, actual: &RecordBlock) {
    for (expected, actual) in expected.iter().zip(actual.iter()) {
        assert_eq!(expected, actual);
    }
    assert_eq!(expected.len(), actual.len());
}
