//! Records of one partition, in order, from an offset to an offset.
//!
//! [`PartitionFetcher`] asks for the next bytes as soon as it has seen how far the last ones reach, so the broker works
//! while the records are decoded. Offsets are kept: where the log has none (compaction, transaction markers), the
//! records' offsets jump. It follows the leader.

use std::collections::HashSet;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::AbortedTransaction;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use record::{RecordBlock, TopicPartition};

use crate::batch::{BatchRecords, Batches, ControlType, DecodeError, batches};
use crate::cluster::{Cluster, Retry};
use crate::connection::{Connection, PendingResponse};
use crate::error::KafkaError;

/// Versions of Fetch that name topics (later ones have topic ids); 4 is the first with batches of format 2.
const FETCH_VERSIONS: (i16, i16) = (4, 12);
/// A version that every broker from 2.8 on has, with topics by name.
const LIST_OFFSETS_VERSION: i16 = 5;
/// What an answer may hold at first; it is raised where a single batch is larger.
const FETCH_BYTES: i32 = 4 << 20;
const MAX_FETCH_BYTES: i32 = 1 << 30;
/// How long a broker may wait for something to answer with.
const MAX_WAIT_MS: i32 = 500;
/// Payload of a block, about.
const BLOCK_BYTES: usize = 1 << 20;

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// Whether records of open and aborted transactions are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Everything in the log below the high watermark.
    ReadUncommitted,
    /// Only what is committed, or belongs to no transaction.
    ReadCommitted,
}

/// Why records could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The log does not hold the offset: it begins later, or ends earlier.
    #[error("{partition} holds no offset {offset}: its log begins at {log_start} and ends at {log_end}")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: i64,
        /// The log's first offset.
        log_start: i64,
        /// The offset behind the log's last one.
        log_end: i64,
    },
    /// A batch could not be decoded.
    #[error("{partition} cannot be read: {source}")]
    Decode {
        /// The partition.
        partition: TopicPartition,
        /// What is wrong.
        source: DecodeError,
    },
    /// The brokers could not be asked.
    #[error("{partition} cannot be read at offset {offset}: {source}")]
    Kafka {
        /// The partition.
        partition: TopicPartition,
        /// The next offset that was wanted.
        offset: i64,
        /// What went wrong.
        source: KafkaError,
    },
}

impl FetchError {
    /// True where trying again later may succeed.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Kafka { source, .. } if source.is_retriable())
    }
}

/// Reads one partition in order.
pub struct PartitionFetcher {
    cluster: Cluster,
    partition: TopicPartition,
    isolation: Isolation,
    /// The next offset that is wanted.
    position: i64,
    end: i64,
    /// Where the request under way begins, or the next one will.
    fetch_position: i64,
    max_bytes: i32,
    under_way: Option<PendingResponse<FetchResponse>>,
    batches: Option<Batches>,
    records: Option<BatchRecords>,
    /// Aborted transactions of the answer at hand, by first offset, last one first.
    aborted: Vec<AbortedTransaction>,
    /// Producers whose transaction here was aborted.
    aborting: HashSet<i64>,
}

impl PartitionFetcher {
    /// A reader of the records with offsets from `start` to below `end`. Nothing is sent before the first
    /// [`next`](Self::next).
    pub fn new(
        cluster: Cluster,
        partition: TopicPartition,
        start: i64,
        end: i64,
        isolation: Isolation,
    ) -> Self {
        Self {
            cluster,
            partition,
            isolation,
            position: start,
            end,
            fetch_position: start,
            max_bytes: FETCH_BYTES,
            under_way: None,
            batches: None,
            records: None,
            aborted: Vec::new(),
            aborting: HashSet::new(),
        }
    }

    /// The offset behind what has been read, gaps included.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Clears `block` and puts the next records into it: about 1 MiB, at least one. False, with an empty block, at the
    /// end.
    pub async fn next(&mut self, block: &mut RecordBlock) -> Result<bool, FetchError> {
        block.clear();
        let mut retry = self.cluster.retry();
        while self.position < self.end {
            if let Some(records) = &mut self.records {
                let more = records.read(block, BLOCK_BYTES);
                if !more.map_err(|source| self.decode_error(source))? {
                    self.records = None;
                }
                if self.keep_wanted(block) {
                    return Ok(true);
                }
            } else if let Some(batches) = &mut self.batches {
                match batches.next() {
                    Some(Ok(batch)) => self
                        .open_batch(&batch)
                        .map_err(|source| self.decode_error(source))?,
                    Some(Err(source)) => return Err(self.decode_error(source)),
                    None => {
                        self.batches = None;
                        self.position = self.position.max(self.fetch_position);
                    }
                }
            } else {
                self.receive(&mut retry).await?;
            }
        }
        Ok(false)
    }

    /// Drops what lies outside of the range. True where something is left.
    fn keep_wanted(&mut self, block: &mut RecordBlock) -> bool {
        let wanted = self.position..self.end;
        let first = block.iter().position(|record| record.offset >= wanted.start);
        let beyond = block.iter().position(|record| record.offset >= wanted.end);
        if let Some(beyond) = beyond {
            block.truncate(beyond);
            self.records = None;
            self.batches = None;
        }
        match first {
            Some(first) if first > 0 => {
                let mut kept = RecordBlock::new();
                block.iter().skip(first).for_each(|record| kept.push(record));
                *block = kept;
            }
            None => block.clear(),
            _ => {}
        }
        match block.last() {
            Some(last) => self.position = last.offset + 1,
            None if beyond.is_some() => self.position = self.end,
            None => {}
        }
        !block.is_empty()
    }

    /// Begins a batch, unless it holds nothing for the reader.
    fn open_batch(&mut self, batch: &crate::batch::RawBatch) -> Result<(), DecodeError> {
        let header = batch.header();
        if header.next_offset() <= self.position {
            return Ok(());
        }
        let last_offset = header.next_offset() - 1;
        while let Some(transaction) = self.aborted.last()
            && transaction.first_offset <= last_offset
        {
            self.aborting.insert(transaction.producer_id.0);
            self.aborted.pop();
        }
        if header.is_control() {
            if batch.control()? == Some(ControlType::Abort) {
                self.aborting.remove(&header.producer_id);
            }
        } else if !(header.is_transactional() && self.aborting.contains(&header.producer_id)) {
            self.records = Some(batch.records()?);
        }
        Ok(())
    }

    /// Waits for an answer and asks for what follows it.
    async fn receive(&mut self, retry: &mut Retry) -> Result<(), FetchError> {
        let answer = match self.under_way.take() {
            Some(pending) => pending.await,
            None => match self.send().await {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            },
        };
        let answer = answer.and_then(|response| {
            KafkaError::check(response.error_code, "Fetch", self.partition.to_string(), None)?;
            let data = response
                .responses
                .into_iter()
                .flat_map(|topic| topic.partitions)
                .next();
            data.ok_or_else(|| {
                KafkaError::protocol("the leader", format!("no data of {} in it", self.partition))
            })
        });
        let data = match answer {
            Ok(data) if data.error_code == OFFSET_OUT_OF_RANGE => return Err(self.out_of_range().await),
            Ok(data) => {
                KafkaError::check(data.error_code, "Fetch", self.partition.to_string(), None).map(|()| data)
            }
            Err(error) => Err(error),
        };
        let data = match data {
            Ok(data) => data,
            Err(error) => {
                self.cluster.forget(&self.partition);
                return retry.pause(error).await.map_err(|error| self.kafka_error(error));
            }
        };
        let bytes: Bytes = data.records.unwrap_or_default();
        let empty = bytes.is_empty();
        let mut next = None;
        for batch in batches(bytes.clone()) {
            next = Some(
                batch
                    .map_err(|source| self.decode_error(source))?
                    .header()
                    .next_offset(),
            );
        }
        let Some(next) = next else {
            if !empty {
                // A batch that is larger than what was asked for, cut off.
                self.max_bytes = self.max_bytes.saturating_mul(2).min(MAX_FETCH_BYTES);
            }
            let waiting = KafkaError::TimedOut {
                what: format!(
                    "Fetch of offset {} (the log ends at {})",
                    self.fetch_position, data.high_watermark
                ),
                addr: "the leader".to_owned(),
                after: retry.elapsed(),
            };
            return retry
                .pause(waiting)
                .await
                .map_err(|error| self.kafka_error(error));
        };
        *retry = self.cluster.retry();
        self.aborting.clear();
        self.aborted = match self.isolation {
            Isolation::ReadCommitted => data.aborted_transactions.unwrap_or_default(),
            Isolation::ReadUncommitted => Vec::new(),
        };
        self.aborted
            .sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        self.batches = Some(batches(bytes));
        self.fetch_position = self.fetch_position.max(next);
        if self.fetch_position < self.end {
            // An error here shows again when the answer is waited for.
            self.under_way = self.send().await.ok();
        }
        Ok(())
    }

    async fn send(&self) -> Result<PendingResponse<FetchResponse>, KafkaError> {
        let connection = self.cluster.leader(&self.partition).await?;
        let version = common_version(&connection, ApiKey::Fetch, FETCH_VERSIONS)?;
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_isolation_level(match self.isolation {
                Isolation::ReadUncommitted => 0,
                Isolation::ReadCommitted => 1,
            })
            .with_session_epoch(-1)
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic_name(&self.partition))
                    .with_partitions(vec![
                        FetchPartition::default()
                            .with_partition(self.partition.partition)
                            .with_current_leader_epoch(-1)
                            .with_fetch_offset(self.fetch_position)
                            .with_partition_max_bytes(self.max_bytes),
                    ]),
            ]);
        connection.submit(&request, version)
    }

    async fn out_of_range(&self) -> FetchError {
        let bounds = async {
            let connection = self.cluster.leader(&self.partition).await?;
            let log_start = list_offset(&connection, &self.partition, EARLIEST, CONSUMER).await?;
            Ok((
                log_start,
                list_offset(&connection, &self.partition, LATEST, CONSUMER).await?,
            ))
        };
        match bounds.await {
            Ok((log_start, log_end)) => FetchError::OutOfRange {
                partition: self.partition.clone(),
                offset: self.fetch_position,
                log_start,
                log_end,
            },
            Err(error) => self.kafka_error(error),
        }
    }

    fn decode_error(&self, source: DecodeError) -> FetchError {
        FetchError::Decode {
            partition: self.partition.clone(),
            source,
        }
    }

    fn kafka_error(&self, source: KafkaError) -> FetchError {
        FetchError::Kafka {
            partition: self.partition.clone(),
            offset: self.fetch_position,
            source,
        }
    }
}

/// The last `count` records of a partition below the offset `before`, in order; fewer where the log has no more.
pub async fn last_records(
    cluster: &Cluster,
    partition: &TopicPartition,
    before: i64,
    count: usize,
) -> Result<RecordBlock, FetchError> {
    let failed = |source| FetchError::Kafka {
        partition: partition.clone(),
        offset: before,
        source,
    };
    let connection = cluster.leader(partition).await.map_err(failed)?;
    let log_start = list_offset(&connection, partition, EARLIEST, CONSUMER)
        .await
        .map_err(failed)?;
    let mut width = count.max(1) as i64;
    loop {
        // Offsets without records make it necessary to look further back.
        let start = before.saturating_sub(width).max(log_start);
        let mut last = RecordBlock::new();
        let mut block = RecordBlock::new();
        let mut fetcher = PartitionFetcher::new(
            cluster.clone(),
            partition.clone(),
            start,
            before,
            Isolation::ReadUncommitted,
        );
        while fetcher.next(&mut block).await? {
            block.iter().for_each(|record| last.push(record));
            if last.len() > count {
                let mut kept = RecordBlock::new();
                last.iter()
                    .skip(last.len() - count)
                    .for_each(|record| kept.push(record));
                last = kept;
            }
        }
        if last.len() >= count || start <= log_start {
            return Ok(last);
        }
        width = width.saturating_mul(16);
    }
}

/// ListOffsets: the end of the log (the high watermark, or the true end for [`DEBUG_REPLICA`]).
pub(crate) const LATEST: i64 = -1;
/// ListOffsets: the log's first offset.
pub(crate) const EARLIEST: i64 = -2;
/// The replica id of clients.
pub(crate) const CONSUMER: i32 = -1;
/// A replica id that makes a broker answer with the true end of its log, beyond the high watermark.
pub(crate) const DEBUG_REPLICA: i32 = -2;

/// One offset of a partition, asked on `connection`, which must lead to the partition's leader.
pub(crate) async fn list_offset(
    connection: &Connection,
    partition: &TopicPartition,
    timestamp: i64,
    replica: i32,
) -> Result<i64, KafkaError> {
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(replica))
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic_name(partition))
                .with_partitions(vec![
                    ListOffsetsPartition::default()
                        .with_partition_index(partition.partition)
                        .with_current_leader_epoch(-1)
                        .with_timestamp(timestamp),
                ]),
        ]);
    let response: ListOffsetsResponse = connection.submit(&request, LIST_OFFSETS_VERSION)?.await?;
    let answer = response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .next();
    let answer = answer
        .ok_or_else(|| KafkaError::protocol(connection.addr(), format!("no offset of {partition} in it")))?;
    KafkaError::check(answer.error_code, "ListOffsets", partition.to_string(), None)?;
    Ok(answer.offset)
}

/// The highest version of a request that the broker and `ours` share.
pub(crate) fn common_version(
    connection: &Connection,
    api: ApiKey,
    ours: (i16, i16),
) -> Result<i16, KafkaError> {
    let theirs = connection.version_range(api as i16);
    let version = theirs.map_or(-1, |(_, highest)| highest.min(ours.1));
    if version >= ours.0 && theirs.is_some_and(|(lowest, _)| version >= lowest) {
        return Ok(version);
    }
    Err(KafkaError::UnsupportedVersion {
        addr: connection.addr().to_owned(),
        api: format!("{api:?}"),
        offered: theirs.map_or("nothing".to_owned(), |(lowest, highest)| {
            format!("{lowest} to {highest}")
        }),
        spoken: format!("{} to {}", ours.0, ours.1),
    })
}

pub(crate) fn topic_name(partition: &TopicPartition) -> TopicName {
    TopicName(StrBytes::from_string(partition.topic.to_string()))
}
