//! Topics made, filled and read back with librdkafka, which shares no code with this project.
//!
//! All functions block and take the *internal* bootstrap address of a [`crate::broker::Broker`] (plain text). Reading
//! keeps everything that a comparison needs: exact offsets, timestamp types, header order and duplicates, null against
//! empty.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use crate::record::{TimestampType, TruthRecord};

/// How long a request may take on a slow, busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Which records of transactions a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything, aborted records too.
    ReadUncommitted,
    /// Nothing of aborted or open transactions.
    ReadCommitted,
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.sparse", "false")
        .set("log_level", "2");
    config
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    client(bootstrap)
        .create()
        .context("cannot make a librdkafka admin client")
}

/// Creates a topic with the cluster's default number of replicas and waits until all its partitions have leaders.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    for (key, value) in configs {
        new = new.set(key, value);
    }
    let options = AdminOptions::new()
        .operation_timeout(Some(LIMIT))
        .request_timeout(Some(LIMIT));
    let admin = admin(bootstrap)?;
    for result in block_on(admin.create_topics([&new], &options))? {
        if let Err((topic, code)) = result {
            bail!("cannot create topic {topic}: {code}");
        }
    }
    wait_for_leaders(bootstrap, topic, partitions)
}

/// Waits until every partition of a topic has a leader, as each of the bootstrap brokers sees it.
fn wait_for_leaders(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    for address in bootstrap.split(',') {
        let consumer: BaseConsumer = client(address).create()?;
        loop {
            let ready = consumer.fetch_metadata(Some(topic), LIMIT).is_ok_and(|metadata| {
                metadata.topics().iter().any(|found| {
                    found.name() == topic
                        && found.error().is_none()
                        && found.partitions().len() == partitions as usize
                        && found.partitions().iter().all(|partition| partition.leader() >= 0)
                })
            });
            if ready {
                break;
            }
            if Instant::now() > deadline {
                bail!("topic {topic} has no leaders after {} s", LIMIT.as_secs());
            }
        }
    }
    Ok(())
}

/// Deletes a topic and waits until the cluster no longer names it.
pub fn delete_topic(bootstrap: &str, topic: &str) -> Result<()> {
    let options = AdminOptions::new()
        .operation_timeout(Some(LIMIT))
        .request_timeout(Some(LIMIT));
    for result in block_on(admin(bootstrap)?.delete_topics(&[topic], &options))? {
        if let Err((topic, code)) = result {
            bail!("cannot delete topic {topic}: {code}");
        }
    }
    let deadline = Instant::now() + LIMIT;
    while topics(bootstrap)?.iter().any(|name| name == topic) {
        if Instant::now() > deadline {
            bail!(
                "topic {topic} is still there {} s after its deletion",
                LIMIT.as_secs()
            );
        }
    }
    Ok(())
}

/// The names of all topics, internal ones too.
pub fn topics(bootstrap: &str) -> Result<Vec<String>> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    let metadata = patiently(|| consumer.fetch_metadata(None, LIMIT))?;
    Ok(metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_string())
        .collect())
}

/// The log start and log end offset of every partition, in order of partition numbers.
pub fn watermarks(bootstrap: &str, topic: &str) -> Result<Vec<(i64, i64)>> {
    let consumer: BaseConsumer = client(bootstrap).create()?;
    partitions(&consumer, topic)?
        .into_iter()
        .map(|partition| Ok(patiently(|| consumer.fetch_watermarks(topic, partition, LIMIT))?))
        .collect()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = patiently(|| consumer.fetch_metadata(Some(topic), LIMIT))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let found = found.with_context(|| format!("the cluster names no topic {topic}"))?;
    if let Some(error) = found.error() {
        bail!("topic {topic}: {}", RDKafkaErrorCode::from(error));
    }
    let mut partitions: Vec<i32> = found
        .partitions()
        .iter()
        .map(|partition| partition.id())
        .collect();
    partitions.sort_unstable();
    Ok(partitions)
}

/// Asks again while brokers are going or coming: librdkafka's plain requests do not.
fn patiently<T>(request: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    use RDKafkaErrorCode as Code;
    let deadline = Instant::now() + LIMIT;
    loop {
        let error = match request() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let passing = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::BrokerDestroy
                    | Code::DestroyBroker
                    | Code::BrokerTransportFailure
                    | Code::AllBrokersDown
                    | Code::OperationTimedOut
                    | Code::LeaderNotAvailable
                    | Code::NotLeaderForPartition
                    | Code::OffsetNotAvailable
            )
        );
        if !passing || Instant::now() > deadline {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Reads a topic from the start of every partition to its end: records by partition, in offset order.
///
/// The end is the log end (or the last stable offset under [`Isolation::ReadCommitted`]) at the time it is reached.
///
/// # Errors
///
/// Where the topic does not exist, a batch has a wrong checksum, or nothing comes for a minute.
pub fn read_topic_as(bootstrap: &str, topic: &str, isolation: Isolation) -> Result<Vec<TruthRecord>> {
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "testkit-never-commits")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.message.max.bytes", "10485760")
        .set("fetch.wait.max.ms", "10")
        .set("auto.offset.reset", "error")
        .set(
            "isolation.level",
            match isolation {
                Isolation::ReadUncommitted => "read_uncommitted",
                Isolation::ReadCommitted => "read_committed",
            },
        )
        .create()
        .context("cannot make a librdkafka consumer")?;
    let mut assignment = TopicPartitionList::new();
    let mut open = partitions(&consumer, topic)?;
    for &partition in &open {
        let (start, _) = patiently(|| consumer.fetch_watermarks(topic, partition, LIMIT))?;
        assignment.add_partition_offset(topic, partition, Offset::Offset(start))?;
    }
    consumer.assign(&assignment)?;
    let mut records = Vec::new();
    let mut deadline = Instant::now() + LIMIT;
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None => {
                if Instant::now() > deadline {
                    bail!(
                        "nothing came from partitions {open:?} of {topic} for {} s",
                        LIMIT.as_secs()
                    );
                }
                continue;
            }
            Some(Ok(message)) => records.push(record_of(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => open.retain(|&other| other != partition),
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => continue,
            Some(Err(error)) => return Err(error).with_context(|| format!("cannot read topic {topic}")),
        }
        deadline = Instant::now() + LIMIT;
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// [`read_topic_as`] with everything, aborted records too.
pub fn read_topic(bootstrap: &str, topic: &str) -> Result<Vec<TruthRecord>> {
    read_topic_as(bootstrap, topic, Isolation::ReadUncommitted)
}

fn record_of(message: &BorrowedMessage<'_>) -> TruthRecord {
    let (timestamp, timestamp_type) = match message.timestamp() {
        Timestamp::NotAvailable => (-1, TimestampType::CreateTime),
        Timestamp::CreateTime(time) => (time, TimestampType::CreateTime),
        Timestamp::LogAppendTime(time) => (time, TimestampType::LogAppendTime),
    };
    TruthRecord {
        topic: message.topic().to_string(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp,
        timestamp_type,
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_string(), header.value.map(<[u8]>::to_vec)))
                .collect()
        }),
    }
}

/// Produces records to the partitions they name, in their order, acks=all, and waits until all are confirmed.
///
/// Offsets are the broker's to give. A timestamp of 0 cannot be written: librdkafka takes it for "now".
pub fn produce(bootstrap: &str, records: &[TruthRecord]) -> Result<()> {
    let producer: BaseProducer = client(bootstrap)
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "10485760")
        .set("linger.ms", "2")
        .create()
        .context("cannot make a librdkafka producer")?;
    for record in records {
        send(&producer, record)?;
    }
    producer.flush(LIMIT).context("not all records were confirmed")?;
    Ok(())
}

/// Produces records in one transaction, which is then committed or aborted. Leaves a marker in every partition.
pub fn produce_transaction(bootstrap: &str, id: &str, records: &[TruthRecord], commit: bool) -> Result<()> {
    let producer: BaseProducer = client(bootstrap)
        .set("transactional.id", id)
        .set("message.max.bytes", "10485760")
        .create()
        .context("cannot make a transactional librdkafka producer")?;
    producer.init_transactions(LIMIT)?;
    producer.begin_transaction()?;
    for record in records {
        send(&producer, record)?;
    }
    producer.flush(LIMIT)?;
    match commit {
        true => producer.commit_transaction(LIMIT)?,
        false => producer.abort_transaction(LIMIT)?,
    }
    Ok(())
}

fn send(producer: &BaseProducer, record: &TruthRecord) -> Result<()> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in &record.headers {
        headers = headers.insert(Header {
            key: name,
            value: value.as_deref(),
        });
    }
    let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&record.topic)
        .partition(record.partition)
        .timestamp(record.timestamp);
    if !record.headers.is_empty() {
        message = message.headers(headers);
    }
    if let Some(key) = &record.key {
        message = message.key(key);
    }
    if let Some(value) = &record.value {
        message = message.payload(value);
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                producer.poll(Duration::from_millis(50));
                message = again;
            }
            Err((error, _)) => return Err(error).context("librdkafka did not take a record"),
        }
    }
}
