//! Batches into partitions: in order, each at the offset known beforehand, never twice.
//!
//! A [`Producer`] serves one cluster; a [`PartitionProducer`] is the way into one partition. Three guards stand
//! together, because each alone fails: every answer's base offset must be the expected one (`machine`), sequence
//! numbers follow the position while brokers remember the producer, and an unknown outcome is settled by asking for
//! the log end, never by sending again (`settle`). Brokers forget producers by the records' own old timestamps, so
//! idempotence alone would double records of years ago in silence.
//!
//! `machine` holds what is known of one partition, without I/O; `actor` is the one task that sends, receives and
//! settles for all of them, and opens further connections to a broker where the first ones are not enough; `request` lays out bytes;
//! `codes` says what error codes mean.

mod actor;
mod codes;
mod error;
mod machine;
#[cfg(test)]
mod model_tests;
mod request;
mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use record::TopicPartition;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::batch::EncodedBatch;
use crate::cluster::Cluster;
use actor::{Actor, Command};

use crate::error::KafkaError;

pub use crate::admin::ProducerIdentity;
pub use error::ProduceError;

/// The most markers of one request: more make it slower, and a lost answer dearer.
const MAX_MARKERS: i64 = 1000;
/// What one unit of a partition's room stands for.
const ROOM_UNIT: usize = 1024;
/// The most operations that a partition holds.
const MAX_OPERATIONS: usize = 64;

/// How to produce. Every request waits for all in-sync replicas (acks=all).
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Who writes. Without it brokers check no sequence numbers and only one batch per partition is in flight; that is
    /// for fillers whose order does not matter.
    pub identity: Option<ProducerIdentity>,
    /// Who transaction markers are from; without it there are no gaps. Another one than `identity`: a broker that has
    /// forgotten a producer of old records, and gets a marker of it before its next batch, knows it again and wants that
    /// batch to begin with the sequence number 0.
    pub markers: Option<ProducerIdentity>,
    /// How long a broker may wait for its followers.
    pub request_timeout: Duration,
    /// How long a partition may stand still before it is given up.
    pub delivery_deadline: Duration,
    /// Requests in flight per connection, and batches per partition.
    pub max_in_flight: usize,
    /// How long a log must not grow after a connection broke, before its end is believed.
    pub quiet_time: Duration,
    /// Connections to each broker at the beginning, as far as it has partitions for them. A broker handles one request
    /// of a connection at a time.
    pub connections: usize,
    /// Up to so many more are opened, one after the other, where these are not enough; in all, not fewer than those.
    pub most_connections: usize,
    /// How long a broker must have been kept busy before another connection to it is tried, and how long it is watched
    /// what that brings.
    pub connections_window: Duration,
    /// Bytes of batches in one request; a single larger batch goes alone.
    pub max_request_bytes: usize,
    /// Bytes of batches that a partition holds, queued and in flight; a single larger batch is let in alone.
    pub partition_buffer_bytes: usize,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            identity: None,
            markers: None,
            request_timeout: Duration::from_secs(30),
            delivery_deadline: Duration::from_secs(300),
            max_in_flight: 5,
            quiet_time: Duration::from_secs(5),
            // A broker reads from sockets with three threads, unless it is told otherwise (num.network.threads).
            connections: 3,
            most_connections: 8,
            connections_window: Duration::from_secs(2),
            max_request_bytes: 8 << 20,
            partition_buffer_bytes: 6 << 20,
        }
    }
}

/// The end of a log, as its leader is sure of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledEnd {
    /// The offset that the next record gets.
    pub offset: i64,
    /// The sequence number that the next record of the producer asked about must have; `None` where the leader
    /// remembers nothing of it, and takes any.
    pub next_sequence: Option<i32>,
}

/// Asks for the end of a log before anything is written to it: until the leader answers without an error, its high
/// watermark is the true end, and, with `quiet`, the end has not moved for so long (requests of a client that was killed
/// may still be on their way). Has no time limit where replicas stay behind.
pub async fn settled_end(
    cluster: &Cluster,
    partition: &TopicPartition,
    identity: Option<ProducerIdentity>,
    quiet: Option<Duration>,
) -> Result<SettledEnd, KafkaError> {
    let end = settle::log_end(cluster, partition, identity, quiet, None).await?;
    // Sequence numbers go from 0 to 2^31 - 1 and then from 0 again.
    let next_sequence = end.last_sequence.map(|last| last.wrapping_add(1) & i32::MAX);
    Ok(SettledEnd {
        offset: end.offset,
        next_sequence,
    })
}

/// What is written to a partition, in order.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Records.
    Batch(EncodedBatch),
    /// Offsets without records, made of transaction markers.
    Gap {
        /// How many.
        count: i64,
    },
}

/// An operation and the room it takes in its partition until it is confirmed.
pub(crate) struct Load {
    operation: Operation,
    _room: OwnedSemaphorePermit,
}

/// How far a partition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything below this offset is confirmed by all in-sync replicas.
    pub confirmed: i64,
    /// Records confirmed by this producer, fillers included.
    pub records: u64,
    /// Bytes of the confirmed batches as they were sent.
    pub encoded_bytes: u64,
    /// Bytes of the confirmed batches before compression.
    pub uncompressed_bytes: u64,
    /// Source offset of the last confirmed record.
    pub last_source_offset: Option<i64>,
    /// Times that the log end had to be asked for.
    pub settled: u64,
    /// Why nothing more is written.
    pub error: Option<ProduceError>,
}

/// Writes to the partitions of one cluster. Ends when it and all its [`PartitionProducer`]s are dropped.
#[derive(Clone)]
pub struct Producer {
    commands: mpsc::UnboundedSender<Command>,
    options: Arc<ProducerOptions>,
    figures: Arc<Figures>,
    next_handle: Arc<AtomicU64>,
}

/// What a producer tells of itself.
#[derive(Default)]
struct Figures {
    throttled_ms: AtomicU64,
    connections: AtomicUsize,
}

impl Producer {
    /// Starts the producer's task; must be called inside a tokio runtime.
    pub fn new(cluster: Cluster, options: ProducerOptions) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let options = Arc::new(options);
        let figures = Arc::<Figures>::default();
        tokio::spawn(Actor::new(cluster, options.clone(), receiver, figures.clone()).run());
        Self {
            commands,
            options,
            figures,
            next_handle: Arc::default(),
        }
    }

    /// The way into a partition whose log ends at `log_end` now, and where the next record has the sequence number
    /// `sequence`: 0 for a producer id that is new there, else one more than what brokers remember.
    ///
    /// One partition must not be opened twice at a time.
    pub fn partition(&self, partition: TopicPartition, log_end: i64, sequence: i32) -> PartitionProducer {
        let (progress, receiver) = watch::channel(Progress {
            confirmed: log_end,
            ..Progress::default()
        });
        let units =
            (self.options.partition_buffer_bytes / ROOM_UNIT).clamp(MAX_OPERATIONS, Semaphore::MAX_PERMITS);
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.send(Command::Open {
            handle,
            partition: partition.clone(),
            log_end,
            sequence,
            progress,
        });
        PartitionProducer {
            commands: self.commands.clone(),
            handle,
            partition,
            has_markers: self.options.markers.is_some(),
            room: Arc::new(Semaphore::new(units)),
            units,
            progress: receiver,
            end: log_end,
        }
    }

    /// For how long brokers have asked this producer to wait, in all.
    pub fn throttled(&self) -> Duration {
        Duration::from_millis(self.figures.throttled_ms.load(Ordering::Relaxed))
    }

    /// The most connections to one broker so far, without those that brought nothing; 0 where none was needed.
    pub fn connections(&self) -> usize {
        self.figures.connections.load(Ordering::Relaxed)
    }
}

/// Writes to one partition. Dropping it forgets what is not confirmed yet.
pub struct PartitionProducer {
    commands: mpsc::UnboundedSender<Command>,
    handle: u64,
    partition: TopicPartition,
    has_markers: bool,
    room: Arc<Semaphore>,
    units: usize,
    progress: watch::Receiver<Progress>,
    end: i64,
}

impl PartitionProducer {
    /// The partition.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The offset that the next appended record will get.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// The offset below which everything is confirmed.
    pub fn confirmed(&self) -> i64 {
        self.progress.borrow().confirmed
    }

    /// The partition's progress, to be watched.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Queues a batch behind what is queued already; waits for room. Ok does not mean that it is written: see
    /// [`flush`](Self::flush) and [`confirmed`](Self::confirmed).
    ///
    /// # Errors
    ///
    /// What ended the partition, once something has.
    pub async fn append(&mut self, batch: EncodedBatch) -> Result<(), ProduceError> {
        let count = i64::from(batch.record_count());
        let bytes = batch.encoded_bytes();
        self.queue(Operation::Batch(batch), count, bytes).await
    }

    /// Queues `count` offsets without records. Needs an identity for markers, and Alter or ClusterAction on the cluster.
    pub async fn append_gap(&mut self, count: i64) -> Result<(), ProduceError> {
        if !self.has_markers {
            return Err(ProduceError::NoIdentity {
                partition: self.partition.clone(),
            });
        }
        let mut left = count;
        while left > 0 {
            let count = left.min(MAX_MARKERS);
            self.queue(Operation::Gap { count }, count, 0).await?;
            left -= count;
        }
        Ok(())
    }

    /// Waits until everything appended is confirmed, and gives the log end.
    pub async fn flush(&mut self) -> Result<i64, ProduceError> {
        let end = self.end;
        let partition = &self.partition;
        let reached = self
            .progress
            .wait_for(|progress| progress.error.is_some() || progress.confirmed >= end);
        match reached.await {
            Ok(progress) => match &progress.error {
                Some(error) => Err(error.clone()),
                None => Ok(progress.confirmed),
            },
            Err(_) => Err(stopped(partition)),
        }
    }

    async fn queue(&mut self, operation: Operation, count: i64, bytes: usize) -> Result<(), ProduceError> {
        let smallest = self.units / MAX_OPERATIONS;
        let units = bytes.div_ceil(ROOM_UNIT).clamp(smallest, self.units);
        let room = self.room.clone().acquire_many_owned(units as u32).await;
        let room = room.map_err(|_| stopped(&self.partition))?;
        if let Some(error) = &self.progress.borrow().error {
            return Err(error.clone());
        }
        let load = Load {
            operation,
            _room: room,
        };
        let command = Command::Append {
            handle: self.handle,
            count,
            load,
        };
        self.commands
            .send(command)
            .map_err(|_| stopped(&self.partition))?;
        self.end += count;
        Ok(())
    }
}

fn stopped(partition: &TopicPartition) -> ProduceError {
    ProduceError::Stopped {
        partition: partition.clone(),
    }
}

impl Drop for PartitionProducer {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close { handle: self.handle });
    }
}
