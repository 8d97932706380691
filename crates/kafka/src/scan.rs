//! Walks over the batches that one replica of a partition holds, leader or not.
//!
//! Consumers may read from followers (KIP-392), so what each replica holds can be seen from outside: whether its log
//! cleaner has been there, for example. Batches are not unpacked here.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest};
use record::TopicPartition;

use crate::batch::{RawBatch, batches};
use crate::cluster::Cluster;
use crate::error::KafkaError;
use crate::fetch::{FetchError, common_version, topic_name};

/// The first version with batches of format 2, and the last with topics by name.
const FETCH_VERSIONS: (i16, i16) = (4, 12);
/// What one answer may hold.
const FETCH_BYTES: i32 = 8 << 20;

/// Shows `visit` the batches of `partition` on `broker` that reach beyond `start` and begin below `end`, in order, until
/// it says false or they end. Gives the offset up to which `visit` was content: at least `end` once all were seen, the
/// base offset of the batch that it refused, or the place where this replica ends at the moment.
///
/// One attempt: what goes wrong is an error at once.
pub async fn scan_batches(
    cluster: &Cluster,
    broker: i32,
    partition: &TopicPartition,
    start: i64,
    end: i64,
    mut visit: impl FnMut(&RawBatch) -> bool,
) -> Result<i64, FetchError> {
    let mut position = start;
    while position < end {
        let failed = |source| FetchError::Kafka {
            partition: partition.clone(),
            offset: position,
            source,
        };
        let bytes = fetch(cluster, broker, partition, position)
            .await
            .map_err(failed)?;
        let before = position;
        for batch in batches(bytes) {
            let batch = batch.map_err(|source| FetchError::Decode {
                partition: partition.clone(),
                source,
            })?;
            let header = batch.header();
            if header.next_offset() <= position {
                continue;
            }
            if header.base_offset >= end {
                return Ok(end);
            }
            if !visit(&batch) {
                return Ok(header.base_offset.max(start));
            }
            position = header.next_offset();
        }
        if position == before {
            break;
        }
    }
    Ok(position)
}

async fn fetch(
    cluster: &Cluster,
    broker: i32,
    partition: &TopicPartition,
    offset: i64,
) -> Result<bytes::Bytes, KafkaError> {
    let connection = cluster.connection(broker).await?;
    let version = common_version(&connection, ApiKey::Fetch, FETCH_VERSIONS)?;
    let wanted = FetchPartition::default()
        .with_partition(partition.partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(FETCH_BYTES);
    let topic = FetchTopic::default()
        .with_topic(topic_name(partition))
        .with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(FETCH_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let response = connection.submit(&request, version)?.await?;
    KafkaError::check(response.error_code, "Fetch", partition.to_string(), None)?;
    let data = response
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .next();
    let data =
        data.ok_or_else(|| KafkaError::protocol(connection.addr(), format!("no data of {partition} in it")))?;
    KafkaError::check(data.error_code, "Fetch", partition.to_string(), None)?;
    Ok(data.records.unwrap_or_default())
}
