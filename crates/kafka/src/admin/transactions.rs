//! Transaction markers, and transactions without data: the two ways to advance a log's offsets without a record.
//!
//! Nothing here is tried again after an unknown outcome, since doing it twice takes two offsets.

use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, TransactionalId, WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
};
use record::TopicPartition;
use tokio::time::{Instant, sleep};

use super::{ProducerIdentity, by_topic, text, topic_name};
use crate::cluster::{Cluster, CoordinatorKind};
use crate::connection::{Connection, PendingResponse};
use crate::error::{KafkaError, ResponseError};

/// The version of WriteTxnMarkers that brokers 2.8 to 4.x all have.
const MARKERS_VERSION: i16 = 1;
/// The pause before a transactional id is tried again whose last markers are still being written.
const MARKERS_PAUSE: Duration = Duration::from_millis(1);

/// Markers of one producer for some partitions: each takes one offset in each of them, and no consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Whose marker. Any id will do; an epoch below the last one seen for the id is refused
    /// (47 INVALID_PRODUCER_EPOCH), a higher one fences the producer.
    pub producer: ProducerIdentity,
    /// The partitions, each no more than once: a broker never answers a marker that names one twice.
    pub partitions: Vec<TopicPartition>,
    /// How many markers.
    pub repeat: usize,
}

/// Sends commit markers to the leader at the other end of `connection`, in order with what else is sent there.
///
/// Needs Alter or ClusterAction on the cluster. The answer merges the outcomes of one producer id's markers, so only the
/// log's end says how many were written. An answer has [`marker_errors`].
pub fn write_txn_markers(
    connection: &Connection,
    markers: &[Marker],
) -> Result<PendingResponse<WriteTxnMarkersResponse>, KafkaError> {
    let mut written = Vec::new();
    for marker in markers {
        let mut partitions = marker.partitions.clone();
        partitions.sort();
        partitions.dedup();
        let topics: Vec<WritableTxnMarkerTopic> =
            by_topic(partitions.into_iter().map(|partition| (partition, ())))
                .into_iter()
                .map(|(topic, partitions)| {
                    WritableTxnMarkerTopic::default()
                        .with_name(topic_name(&topic))
                        .with_partition_indexes(
                            partitions.into_iter().map(|(partition, ())| partition).collect(),
                        )
                })
                .collect();
        let one = WritableTxnMarker::default()
            .with_producer_id(marker.producer.id.into())
            .with_producer_epoch(marker.producer.epoch)
            .with_transaction_result(true)
            .with_coordinator_epoch(0)
            .with_topics(topics);
        written.extend(std::iter::repeat_n(one, marker.repeat));
    }
    let request = WriteTxnMarkersRequest::default().with_markers(written);
    connection.submit(&request, MARKERS_VERSION)
}

/// The partitions of an answer to [`write_txn_markers`] that have an error.
pub fn marker_errors(response: &WriteTxnMarkersResponse) -> Vec<(TopicPartition, KafkaError)> {
    let mut errors = Vec::new();
    for topic in response.markers.iter().flat_map(|marker| &marker.topics) {
        for partition in &topic.partitions {
            let at = TopicPartition::new(topic.name.to_string(), partition.partition_index);
            if let Err(error) =
                KafkaError::check(partition.error_code, "WriteTxnMarkers", at.to_string(), None)
            {
                errors.push((at, error));
            }
        }
    }
    errors
}

impl Cluster {
    /// Runs one transaction without data over `partitions`, which takes one offset in each of them.
    ///
    /// Needs Write on the transactional id and on the topics. The markers are written some time after this returns: wait
    /// for the log's end to move before producing on. An error leaves the outcome open: look at the log's end.
    pub async fn empty_transaction(
        &self,
        transactional_id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
    ) -> Result<(), KafkaError> {
        let connection = self
            .coordinator(CoordinatorKind::Transaction, transactional_id)
            .await?;
        let deadline = Instant::now() + self.config().api_timeout;
        // While the markers of the transaction before are being written this says 51 CONCURRENT_TRANSACTIONS; that
        // takes a few milliseconds.
        while let Err(error) = add_partitions(&connection, transactional_id, producer, partitions).await {
            if error.code() != Some(ResponseError::ConcurrentTransactions) || Instant::now() > deadline {
                return Err(error);
            }
            sleep(MARKERS_PAUSE).await;
        }
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(transactional_id)))
            .with_producer_id(producer.id.into())
            .with_producer_epoch(producer.epoch)
            .with_committed(true);
        let response = connection.call(&request).await?;
        KafkaError::check(response.error_code, "EndTxn", transactional_id, None)
    }
}

impl Cluster {
    /// Whether this user may write transaction markers (Alter or ClusterAction on the cluster). Found out with a marker
    /// for a partition that cannot exist: a broker that would take it says so (3 UNKNOWN_TOPIC_OR_PARTITION), and
    /// nothing is changed. False also where brokers do not offer the request or do not answer it.
    pub async fn may_write_markers(&self) -> bool {
        let marker = Marker {
            producer: ProducerIdentity { id: 0, epoch: 0 },
            partitions: vec![TopicPartition::new("kafka-restore.probe", i32::MAX)],
            repeat: 1,
        };
        let asked = async {
            let connection = self.any().await?;
            write_txn_markers(&connection, &[marker])?.await
        };
        match asked.await {
            Ok(response) => marker_errors(&response)
                .iter()
                .any(|(_, error)| error.code() == Some(ResponseError::UnknownTopicOrPartition)),
            Err(error) => {
                tracing::debug!(%error, "transaction markers are not possible");
                false
            }
        }
    }

    /// Whether this user may use a transactional id (Write on it). Found out by ending a transaction of a producer that
    /// cannot exist, which changes nothing: brokers look at the right first (53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED).
    pub async fn may_use_transactional_id(&self, transactional_id: &str) -> Result<bool, KafkaError> {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(transactional_id)))
            .with_producer_id(i64::MAX.into())
            .with_producer_epoch(0)
            .with_committed(false);
        let mut retry = self.retry();
        loop {
            let asked = async { self.any().await?.call(&request).await };
            match asked.await {
                Ok(response) => {
                    let refused = ResponseError::TransactionalIdAuthorizationFailed.code();
                    return Ok(response.error_code != refused);
                }
                Err(error) => retry.pause(error).await?,
            }
        }
    }
}

async fn add_partitions(
    connection: &Connection,
    transactional_id: &str,
    producer: ProducerIdentity,
    partitions: &[TopicPartition],
) -> Result<(), KafkaError> {
    let topics = by_topic(partitions.iter().map(|partition| (partition.clone(), ())))
        .into_iter()
        .map(|(topic, partitions)| {
            AddPartitionsToTxnTopic::default()
                .with_name(topic_name(&topic))
                .with_partitions(partitions.into_iter().map(|(partition, ())| partition).collect())
        })
        .collect();
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(TransactionalId(text(transactional_id)))
        .with_v3_and_below_producer_id(producer.id.into())
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(topics);
    let response = connection.call(&request).await?;
    for topic in &response.results_by_topic_v3_and_below {
        for partition in &topic.results_by_partition {
            let resource = format!("{}-{}", *topic.name, partition.partition_index);
            KafkaError::check(
                partition.partition_error_code,
                "AddPartitionsToTxn",
                resource,
                None,
            )?;
        }
    }
    Ok(())
}
