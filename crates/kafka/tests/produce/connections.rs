//! Several connections to one broker, behind a proxy where each of them carries only so much.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka::batch::Compression;
use kafka::producer::{PartitionProducer, Producer, ProducerOptions};
use record::TopicPartition;
use testkit::broker::{Broker, KafkaVersion};
use testkit::consumer;
use testkit::proxy::{Fault, Proxy};

use crate::support::{KEEP, assert_same, cluster, encode, idempotent, numbered, read_back};

const PARTITIONS: i32 = 4;
/// Records of a batch, which then has about 2 KB.
const RECORDS: i64 = 30;
/// What a connection carries, in bytes per second.
const CARRIES: u64 = 500_000;
/// A connection that carried so many bytes carried Produce requests; whatever else is asked is much less.
const PRODUCED: u64 = 30_000;

/// A topic that is written to for as long as a test wants.
struct Writing<'a> {
    broker: &'a Broker,
    topic: &'static str,
    producer: Producer,
    writers: Vec<PartitionProducer>,
    written: i64,
}

impl<'a> Writing<'a> {
    async fn begin(broker: &'a Broker, topic: &'static str, connections: usize) -> Self {
        consumer::create_topic(&broker.internal_bootstrap(), topic, PARTITIONS, KEEP).unwrap();
        let cluster = cluster(&broker.bootstrap()).await;
        let options = ProducerOptions {
            connections,
            connections_window: Duration::from_millis(100),
            partition_buffer_bytes: 64 << 10,
            quiet_time: Duration::from_millis(300),
            ..idempotent(&cluster).await
        };
        let producer = Producer::new(cluster, options);
        let writers = (0..PARTITIONS)
            .map(|number| producer.partition(TopicPartition::new(topic, number), 0, 0))
            .collect();
        Self {
            broker,
            topic,
            producer,
            writers,
            written: 0,
        }
    }

    /// One more batch for every partition, as soon as there is room.
    async fn write(&mut self) {
        for (number, writer) in self.writers.iter_mut().enumerate() {
            let records = numbered(number as i32, self.written, RECORDS);
            let batch = encode(&records, Compression::None, 1 << 20).remove(0);
            writer.append(batch).await.unwrap();
        }
        self.written += RECORDS;
    }

    /// Writes until `is_enough`.
    async fn write_until(&mut self, mut is_enough: impl FnMut(&Producer, &Proxy) -> bool) {
        let writing = async {
            while !is_enough(&self.producer, self.broker.proxy(0)) {
                self.write().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), writing)
            .await
            .expect("it never comes to that");
    }

    /// Compares the logs with what was written, and gives how often a log's end had to be asked for.
    async fn end(mut self) -> u64 {
        let mut settled = 0;
        for (number, writer) in self.writers.iter_mut().enumerate() {
            assert_eq!(writer.flush().await.unwrap(), self.written);
            settled += writer.progress().borrow().settled;
            let expected = numbered(number as i32, 0, self.written);
            let bootstrap = self.broker.internal_bootstrap();
            assert_same(&expected, &read_back(&bootstrap, self.topic, number as i32));
        }
        settled
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_are_opened_where_one_is_not_enough() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    broker.proxy(0).limit_requests(CARRIES);
    let mut writing = Writing::begin(&broker, "several", 1).await;
    writing
        .write_until(|producer, proxy| {
            producer.connections() > 1 && proxy.connections_over(PRODUCED).len() > 1
        })
        .await;
    // For a while more, over all of them.
    let before = broker.proxy(0).transferred().0;
    writing
        .write_until(|_, proxy| proxy.transferred().0 > before + 4 * PRODUCED)
        .await;
    assert_eq!(writing.end().await, 0, "a batch came before or behind its turn");

    // Where no more can be opened the first one goes on, and nothing fails.
    let mut writing = Writing::begin(&broker, "refused", 1).await;
    writing.write().await;
    for writer in &mut writing.writers {
        writer.flush().await.unwrap();
    }
    broker.proxy(0).set(Fault::RefuseNew);
    let before = broker.proxy(0).connections();
    writing.write_until(|_, proxy| proxy.connections() > before).await;
    let before = broker.proxy(0).transferred().0;
    writing
        .write_until(|_, proxy| proxy.transferred().0 > before + 4 * PRODUCED)
        .await;
    assert_eq!(writing.producer.connections(), 1);
    assert_eq!(writing.end().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_are_there_from_the_beginning() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    let mut writing = Writing::begin(&broker, "beginning", 3).await;
    writing
        .write_until(|_, proxy| proxy.connections_over(PRODUCED).len() == 3)
        .await;
    assert_eq!(writing.producer.connections(), 3);
    assert_eq!(writing.end().await, 0, "a batch came before or behind its turn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_that_break_lose_and_double_nothing() {
    let broker = Broker::builder(KafkaVersion::V4_1)
        .behind_proxy()
        .start()
        .unwrap();
    broker.proxy(0).limit_requests(CARRIES);
    let mut writing = Writing::begin(&broker, "breaking", 1).await;
    let mut gone = BTreeSet::new();
    for round in 0..5 {
        let mut in_use = Vec::new();
        writing
            .write_until(|_, proxy| {
                in_use = proxy.connections_over(PRODUCED);
                in_use.retain(|number| !gone.contains(number));
                in_use.len() > 1
            })
            .await;
        let (proxy, last) = (broker.proxy(0), in_use[in_use.len() - 1]);
        match round {
            0 | 2 => {
                proxy.cut_one(last);
                in_use = vec![last];
            }
            1 => proxy.cut_now(),
            3 => proxy.cut_after(12_345),
            _ => proxy.cut_replies_after(77),
        }
        gone.extend(in_use);
    }
    assert!(
        writing.end().await > 0,
        "nothing was in flight over those that broke"
    );
}
