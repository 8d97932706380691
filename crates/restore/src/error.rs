//! Why a job could not go on.

use backup::inventory::InventoryError;
use backup::storage::StorageError;
use backup::stream::StreamError;
use kafka::batch::EncodeError;
use kafka::error::KafkaError;
use kafka::fetch::FetchError;
use kafka::producer::ProduceError;
use record::TopicPartition;

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
    Stream(#[from] StreamError),
    /// The cluster failed or refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A partition of the target cannot be written further.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// A partition of the target cannot be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
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
    /// The job was told to stop. Everything confirmed stays, and the same command goes on from there.
    #[error("interrupted; what was confirmed stays, and the same command goes on from there")]
    Interrupted,
    /// A thread of our own failed.
    #[error("internal error: {0}")]
    Internal(String),
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
            Self::Interrupted => true,
            Self::Inventory(_)
            | Self::Encode { .. }
            | Self::Refused(_)
            | Self::Foreign { .. }
            | Self::Internal(_) => false,
        }
    }
}
