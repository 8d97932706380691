//! What really happened, asked of the brokers: the log's true end, what the leader remembers of the producer, and
//! whether the records there are ours.

use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{ApiKey, DescribeProducersRequest};
use record::{RecordBlock, TopicPartition};
use tokio::time::{Instant, sleep};

use super::error::ProduceError;
use super::{Operation, ProducerIdentity};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::KafkaError;
use crate::fetch::{
    CONSUMER, DEBUG_REPLICA, FetchError, Isolation, LATEST, PartitionFetcher, list_offset, topic_name,
};

/// How often the log is looked at while it may still grow.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// The pause before a leader that is still finding its high watermark is asked again.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(100);

/// What a leader says of a partition, once it is sure.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogEnd {
    /// The broker that leads.
    pub(super) leader: i32,
    /// The offset that the next record gets.
    pub(super) offset: i64,
    /// The last sequence number that it knows of our producer, if it knows one.
    pub(super) last_sequence: Option<i32>,
}

/// Asks until the leader is sure of its log's end: the latest offset without an error (a new leader answers with one
/// until its high watermark is right) and equal to the true end of its log, beyond which nothing can hide.
///
/// With `quiet`, requests of ours may still be on their way to the broker `previous`; if that still leads, the end must
/// not move for so long.
pub(super) async fn log_end(
    cluster: &Cluster,
    partition: &TopicPartition,
    identity: Option<ProducerIdentity>,
    quiet: Option<Duration>,
    previous: Option<i32>,
) -> Result<LogEnd, KafkaError> {
    let mut seen: Option<(i32, i64, Instant)> = None;
    let mut retry = cluster.retry();
    cluster.forget(partition);
    loop {
        let attempt = async {
            let leader = cluster.leader_id(partition).await?;
            let connection = cluster.connection(leader).await?;
            let offset = caught_up(&connection, partition).await?;
            Ok::<_, KafkaError>((leader, connection, offset))
        };
        let (leader, connection, offset) = match attempt.await {
            Ok((leader, connection, Some(offset))) => (leader, connection, offset),
            Ok((_, _, None)) => {
                sleep(CATCH_UP_INTERVAL).await;
                continue;
            }
            Err(error) => {
                retry.pause(error).await?;
                cluster.forget(partition);
                continue;
            }
        };
        retry = cluster.retry();
        let since = match seen {
            Some((led, end, since)) if (led, end) == (leader, offset) => since,
            _ => Instant::now(),
        };
        seen = Some((leader, offset, since));
        match quiet {
            // Another leader does not take what the old one was sent.
            Some(quiet) if previous.is_none_or(|previous| previous == leader) && since.elapsed() < quiet => {
                sleep(WATCH_INTERVAL.min(quiet)).await;
            }
            _ => {
                let last_sequence = match identity {
                    Some(identity) => last_sequence(&connection, partition, identity).await,
                    None => None,
                };
                return Ok(LogEnd {
                    leader,
                    offset,
                    last_sequence,
                });
            }
        }
    }
}

/// The log's end, or `None` while the high watermark is behind it.
async fn caught_up(connection: &Connection, partition: &TopicPartition) -> Result<Option<i64>, KafkaError> {
    let high_watermark = list_offset(connection, partition, LATEST, CONSUMER).await?;
    match list_offset(connection, partition, LATEST, DEBUG_REPLICA).await {
        Ok(log_end) => Ok((log_end == high_watermark).then_some(high_watermark)),
        // Only the leader answers the first question, so this broker leads; it does not tell clients its true end.
        Err(KafkaError::Broker { code, .. }) if !code.is_retriable() => Ok(Some(high_watermark)),
        Err(error) => Err(error),
    }
}

/// What the leader remembers of our producer. Nothing where it cannot or may not tell (Read on the topic is needed).
async fn last_sequence(
    connection: &Connection,
    partition: &TopicPartition,
    identity: ProducerIdentity,
) -> Option<i32> {
    connection.version_range(ApiKey::DescribeProducers as i16)?;
    let request = DescribeProducersRequest::default().with_topics(vec![
        TopicRequest::default()
            .with_name(topic_name(partition))
            .with_partition_indexes(vec![partition.partition]),
    ]);
    let response = connection.call(&request).await.ok()?;
    let answer = response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .next()?;
    let ours = answer.active_producers.into_iter().find(|producer| {
        producer.producer_id.0 == identity.id && producer.producer_epoch == i32::from(identity.epoch)
    })?;
    // -1 where only markers came from it.
    (answer.error_code == 0 && ours.last_sequence >= 0).then_some(ours.last_sequence)
}

/// An operation that must stand in the log, at `base`.
pub(super) struct Landed {
    pub(super) base: i64,
    pub(super) operation: Operation,
}

/// What comparing the log with what was sent gave.
pub(super) enum Comparison {
    Equal,
    Different(ProduceError),
    /// The log could not be read; it may be later.
    Unread(FetchError),
}

/// The same with gaps that follow each other as one: each look into the log reads more than one of them takes.
fn joined(landed: &[Landed]) -> Vec<Landed> {
    let mut joined: Vec<Landed> = Vec::new();
    for Landed { base, operation } in landed {
        if let (Operation::Gap { count: more }, Some(last)) = (operation, joined.last_mut())
            && let Operation::Gap { count } = &mut last.operation
            && last.base + *count == *base
        {
            *count += more;
            continue;
        }
        joined.push(Landed {
            base: *base,
            operation: operation.clone(),
        });
    }
    joined
}

/// Compares the records of `landed` with the log, up to `log_end`. Timestamps are left out: topics may be set to stamp
/// records themselves.
pub(super) async fn compare(
    cluster: &Cluster,
    partition: &TopicPartition,
    landed: &[Landed],
    log_end: i64,
) -> Comparison {
    for Landed { base, operation } in &joined(landed) {
        match operation {
            Operation::Batch(batch) => {
                let end = base + i64::from(batch.record_count());
                let mut fetcher = PartitionFetcher::new(
                    cluster.clone(),
                    partition.clone(),
                    *base,
                    end,
                    Isolation::ReadUncommitted,
                );
                let foreign = |offset| {
                    Comparison::Different(ProduceError::ForeignRecord {
                        partition: partition.clone(),
                        offset,
                    })
                };
                let Ok(mut ours) = batch.decode() else {
                    return foreign(*base);
                };
                let (mut sent, mut stored) = (RecordBlock::new(), RecordBlock::new());
                let (mut sent_index, mut stored_index) = (0, 0);
                let mut more = true;
                loop {
                    while sent_index == sent.len() && more {
                        sent.clear();
                        sent_index = 0;
                        let Ok(left) = ours.read(&mut sent, 1 << 20) else {
                            return foreign(*base);
                        };
                        more = left;
                    }
                    if stored_index == stored.len() {
                        stored_index = 0;
                        match fetcher.next(&mut stored).await {
                            Ok(_) => {}
                            Err(FetchError::OutOfRange { .. }) => return foreign(*base),
                            Err(error) => return Comparison::Unread(error),
                        }
                    }
                    // Hidden records show on neither side.
                    let left = (sent_index < sent.len()).then(|| sent.get(sent_index));
                    let right = (stored_index < stored.len()).then(|| stored.get(stored_index));
                    match (left, right) {
                        (None, None) => break,
                        (Some(left), Some(right))
                            if right.offset == base + left.offset
                                && left.key == right.key
                                && left.value == right.value
                                && left.headers == right.headers => {}
                        (_, Some(right)) => return foreign(right.offset),
                        (Some(left), None) => return foreign(base + left.offset),
                    }
                    sent_index += 1;
                    stored_index += 1;
                }
            }
            Operation::Gap { count } => {
                // Markers show as offsets without records.
                let end = log_end.min(base + count);
                let mut fetcher = PartitionFetcher::new(
                    cluster.clone(),
                    partition.clone(),
                    *base,
                    end,
                    Isolation::ReadUncommitted,
                );
                let mut stored = RecordBlock::new();
                match fetcher.next(&mut stored).await {
                    Ok(false) => {}
                    Ok(true) => {
                        return Comparison::Different(ProduceError::ForeignRecord {
                            partition: partition.clone(),
                            offset: stored.first().map_or(*base, |record| record.offset),
                        });
                    }
                    Err(error) => return Comparison::Unread(error),
                }
            }
        }
    }
    Comparison::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::filler_batch;

    #[test]
    fn gaps_that_follow_each_other_are_looked_at_together() {
        let gap = |base, count| Landed {
            base,
            operation: Operation::Gap { count },
        };
        let batch = Landed {
            base: 12,
            operation: Operation::Batch(filler_batch(3, 0).unwrap()),
        };
        let landed = [gap(0, 5), gap(5, 7), batch, gap(15, 1), gap(17, 2)];
        let seen: Vec<(i64, Option<i64>)> = joined(&landed)
            .into_iter()
            .map(|Landed { base, operation }| match operation {
                Operation::Gap { count } => (base, Some(count)),
                Operation::Batch(_) => (base, None),
            })
            .collect();
        assert_eq!(seen, [(0, Some(12)), (12, None), (15, Some(1)), (17, Some(2))]);
    }
}
