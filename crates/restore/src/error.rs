//! Why a job could not go on.

use backup::inventory::InventoryError;
use backup::storage::StorageError;
use backup::stream::StreamError;
use kafka::batch::EncodeError;
use kafka::error::KafkaError;
use kafka::fetch::FetchError;
use kafka::producer::ProduceError;
use record::TopicPartition;

use crate::journal::JournalError;

/// An error of planning or executing.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The object storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The listing failed or found nothing that was asked for.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// A partition's backup cannot be read further.
    #[error(transparent)]
    Stream(Box<StreamError>),
    /// The cluster failed or refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A partition of the target cannot be written further.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// A partition of the target cannot be read.
    #[error(transparent)]
    Fetch(Box<FetchError>),
    /// The journal of an earlier run cannot be read, or not be deleted.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record fits into no batch.
    #[error("{partition}: {error}")]
    Encode {
        /// The target partition.
        partition: TopicPartition,
        /// What does not fit.
        error: EncodeError,
    },
    /// The plan says that this restore must not be done.
    #[error("{0}")]
    Refused(String),
    /// The latest records of all keys do not fit into memory.
    #[error(
        "the latest record of each key of {topic} must fit into memory, and {read} of its {objects} objects take more than \
         the {available} bytes that there are for it, half of --memory: give it about {} MiB (--memory {}MiB)",
        needed.div_ceil(1 << 20),
        needed.div_ceil(1 << 20)
    )]
    LatestStateTooLarge {
        /// The topic's name in the backup.
        topic: String,
        /// Objects that were read.
        read: u64,
        /// All its objects.
        objects: u64,
        /// Bytes that there are.
        available: usize,
        /// The budget that would probably be enough, in bytes.
        needed: usize,
    },
    /// The target holds something else than what the backup says should stand there.
    #[error(
        "{partition} does not hold a beginning of this backup: {difference}. Nothing was added to it. \
         Restore into another topic with --rename, delete the topic first, or allow other records with --append"
    )]
    Foreign {
        /// The target partition.
        partition: TopicPartition,
        /// What was seen, and what should have been there.
        difference: String,
    },
    /// Records were put behind others, others stand behind those now, and the backup has got more.
    #[error(
        "{partition}: an earlier run has put the records of this backup behind those of others, up to offset {end}, and \
         others stand behind them now. Since then the backup has got more, from its offset {next} on; nothing was added. \
         Those alone come behind with --append --partition {} --from-offset {next}",
        partition.partition
    )]
    Grown {
        /// The target partition.
        partition: TopicPartition,
        /// The target offset behind what stands there.
        end: i64,
        /// The source offset of the first record that does not.
        next: i64,
    },
    /// The backup has no record at some offsets, and nothing that this user may do steps over them.
    #[error(
        "{partition}: the backup has no record at {count} offsets from {first} on, and this user may neither write \
         transaction markers (Alter on the cluster) nor use transactional ids, so the records behind them cannot keep \
         their offsets. What lies before is restored. Grant one of the two and run the same command again, or restore \
         into a new topic with --offsets map"
    )]
    Gap {
        /// The target partition.
        partition: TopicPartition,
        /// The first offset without a record.
        first: i64,
        /// How many follow each other.
        count: i64,
    },
    /// Offsets without records could not be made by transactions.
    #[error(
        "{partition}: offsets from {first} on could not be stepped over with empty transactions: {reason}"
    )]
    Transactions {
        /// The target partition.
        partition: TopicPartition,
        /// The first offset of the gap.
        first: i64,
        /// What went wrong.
        reason: String,
    },
    /// What was read back is not what was sent.
    #[error(
        "{partition}: what was read back from offset {start} on is not what was sent; `kafka-restore verify` shows where \
         they differ"
    )]
    Unequal {
        /// The target partition.
        partition: TopicPartition,
        /// The offset of the first record that this run sent.
        start: i64,
    },
    /// The job was told to stop. Everything confirmed stays, and the same command goes on from there.
    #[error("interrupted; what was confirmed stays, and the same command goes on from there")]
    Interrupted,
    /// A thread of our own failed.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<StreamError> for RestoreError {
    fn from(error: StreamError) -> Self {
        Self::Stream(Box::new(error))
    }
}

impl From<FetchError> for RestoreError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(Box::new(error))
    }
}

impl RestoreError {
    /// True where the same command may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Storage(error) => error.retryable,
            Self::Stream(error) => error.retryable,
            Self::Kafka(error) => error.is_retriable(),
            Self::Produce(error) => error.is_retriable(),
            Self::Fetch(error) => error.is_retriable(),
            Self::Interrupted | Self::Transactions { .. } => true,
            Self::Inventory(_)
            | Self::Journal(_)
            | Self::Encode { .. }
            | Self::Refused(_)
            | Self::LatestStateTooLarge { .. }
            | Self::Foreign { .. }
            | Self::Grown { .. }
            | Self::Unequal { .. }
            | Self::Gap { .. }
            | Self::Internal(_) => false,
        }
    }
}
