use std::time::Duration;

use kafka_protocol::error::ResponseError;
use record::TopicPartition;

use crate::error::KafkaError;

/// Why a partition cannot be written any further. Everything below the confirmed offset stays good; nothing more is
/// sent to that partition. Other partitions go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The broker put a batch at another offset than the next one: somebody else has written there, or the broker
    /// appended a batch twice.
    #[error(
        "a batch for {partition} was expected at offset {expected}, and the broker put it at offset {actual}: another \
         program is writing to this partition, or one that was stopped wrote to it late. Make sure that nothing else \
         writes to the topic, then recreate it and restore again"
    )]
    UnexpectedBase {
        /// The partition.
        partition: TopicPartition,
        /// Where the batch had to go.
        expected: i64,
        /// Where it went.
        actual: i64,
    },
    /// The log ends where none of our batches does.
    #[error(
        "the log of {partition} ends at offset {actual}, where none of the batches sent after offset {confirmed} (the \
         last confirmed one) ends: another program is writing to this partition. Make sure that nothing else writes to \
         the topic, then recreate it and restore again"
    )]
    UnexpectedLogEnd {
        /// The partition.
        partition: TopicPartition,
        /// The log end that had been confirmed.
        confirmed: i64,
        /// The log end seen.
        actual: i64,
    },
    /// Records that the brokers had confirmed are gone.
    #[error(
        "{partition} had confirmed all records below offset {confirmed}, and now its log ends at {actual}: the brokers \
         have lost records (an unclean leader election, or the topic was deleted and made anew). Recreate the topic \
         and restore again"
    )]
    ConfirmedLost {
        /// The partition.
        partition: TopicPartition,
        /// The log end that had been confirmed.
        confirmed: i64,
        /// The log end seen.
        actual: i64,
    },
    /// What stands in the log is not what was sent.
    #[error(
        "{partition} holds another record at offset {offset} than the one that was sent: another program has written \
         to this partition. Make sure that nothing else writes to the topic, then recreate it and restore again"
    )]
    ForeignRecord {
        /// The partition.
        partition: TopicPartition,
        /// The first offset that differs.
        offset: i64,
    },
    /// The broker's memory of our producer does not fit the log's end.
    #[error(
        "{partition} ends at offset {log_end}, where the last sequence number of producer {producer_id} must be \
         {expected}, and the broker has {actual}: another run of this program may be writing with the same producer id"
    )]
    SequenceMismatch {
        /// The partition.
        partition: TopicPartition,
        /// The log end.
        log_end: i64,
        /// The producer's id.
        producer_id: i64,
        /// The sequence number of the last record that we know of.
        expected: i32,
        /// What the broker knows.
        actual: i32,
    },
    /// The broker refused a batch, and trying again cannot help.
    #[error("the broker refused the batch for {partition} at offset {offset}: {code} (error {}){}; {advice}", code.code(), with_message(message))]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// The batch's base offset, which is the confirmed log end or beyond it.
        offset: i64,
        /// The code.
        code: ResponseError,
        /// The broker's own words.
        message: Option<String>,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing was confirmed for too long.
    #[error(
        "nothing could be written to {partition} for {} s; all records below offset {confirmed} are confirmed. The last \
         trouble was: {cause}", waited.as_secs()
    )]
    GaveUp {
        /// The partition.
        partition: TopicPartition,
        /// The confirmed log end.
        confirmed: i64,
        /// For how long nothing was confirmed.
        waited: Duration,
        /// What went wrong last.
        cause: String,
    },
    /// The cluster cannot be used: wrong credentials, TLS, versions.
    #[error("{partition} cannot be written; all records below offset {confirmed} are confirmed: {source}")]
    Cluster {
        /// The partition.
        partition: TopicPartition,
        /// The confirmed log end.
        confirmed: i64,
        /// The error.
        source: Box<KafkaError>,
    },
    /// Gaps need a producer id.
    #[error("a gap in {partition} cannot be written without a producer id")]
    NoIdentity {
        /// The partition.
        partition: TopicPartition,
    },
    /// The producer was stopped.
    #[error("the producer was stopped while {partition} was being written")]
    Stopped {
        /// The partition.
        partition: TopicPartition,
    },
}

impl ProduceError {
    /// True where running the same job again may succeed, going on at the confirmed offset.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::GaveUp { .. } | Self::Stopped { .. } => true,
            Self::Cluster { source, .. } => source.is_retriable(),
            _ => false,
        }
    }
}

fn with_message(message: &Option<String>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!(": {message}"),
        _ => String::new(),
    }
}
