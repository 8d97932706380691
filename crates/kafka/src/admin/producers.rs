//! Producer ids, and what brokers remember of producers.

use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::ProducerState as State;
use kafka_protocol::messages::{DescribeProducersRequest, InitProducerIdRequest, TransactionalId};
use record::TopicPartition;

use super::{Answers, Outcomes, by_topic, milliseconds, text, topic_name};
use crate::cluster::{Cluster, CoordinatorKind};
use crate::error::{KafkaError, ResponseError};

/// What a producer is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The producer id, never negative.
    pub id: i64,
    /// The epoch, never negative.
    pub epoch: i16,
}

/// What a partition's leader remembers of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The producer id.
    pub id: i64,
    /// The epoch.
    pub epoch: i32,
    /// The sequence number of the last record; -1 after nothing but markers.
    pub last_sequence: i32,
    /// The largest timestamp of the last batch, in milliseconds since 1970.
    pub last_timestamp: i64,
    /// The first offset of the open transaction, if there is one.
    pub transaction_start: Option<i64>,
}

impl Cluster {
    /// Gets a new producer id.
    ///
    /// Right after a start brokers answer 14 COORDINATOR_LOAD_IN_PROGRESS with the id -1; that is tried again, since
    /// batches with the id -1 would be taken without any check.
    pub async fn init_producer_id(&self) -> Result<ProducerIdentity, KafkaError> {
        self.init(None, Duration::MAX).await
    }

    /// Gets the producer id of a transactional id with its next epoch, which fences everybody who used it before. A
    /// transaction that is open for longer than `timeout` is aborted by the broker (15 minutes at most, by default).
    pub async fn init_transactional_producer(
        &self,
        transactional_id: &str,
        timeout: Duration,
    ) -> Result<ProducerIdentity, KafkaError> {
        self.init(Some(transactional_id), timeout).await
    }

    async fn init(
        &self,
        transactional_id: Option<&str>,
        timeout: Duration,
    ) -> Result<ProducerIdentity, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.try_init(transactional_id, timeout).await {
                Ok(identity) => return Ok(identity),
                Err(error) => retry.pause(error).await?,
            }
        }
    }

    async fn try_init(
        &self,
        transactional_id: Option<&str>,
        timeout: Duration,
    ) -> Result<ProducerIdentity, KafkaError> {
        const WHAT: &str = "InitProducerId";
        let connection = match transactional_id {
            Some(id) => self.coordinator(CoordinatorKind::Transaction, id).await?,
            None => self.any().await?,
        };
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
            .with_transaction_timeout_ms(milliseconds(timeout))
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let response = connection.call(&request).await?;
        let resource = transactional_id.unwrap_or("a producer");
        KafkaError::check(response.error_code, WHAT, resource, None)?;
        let identity = ProducerIdentity {
            id: response.producer_id.0,
            epoch: response.producer_epoch,
        };
        if identity.id < 0 || identity.epoch < 0 {
            return Err(KafkaError::Broker {
                code: ResponseError::CoordinatorLoadInProgress,
                what: WHAT,
                resource: resource.to_owned(),
                message: Some("the broker gave no id".to_owned()),
            });
        }
        Ok(identity)
    }

    /// Asks the leaders of partitions which producers they remember.
    ///
    /// They forget by the records' own timestamps: a producer whose last batch is older than a day is gone after the next
    /// check or restart, so an empty list says nothing about what is in the log.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Outcomes<TopicPartition, Vec<ProducerState>> {
        self.at_leaders(
            partitions.to_vec(),
            |partition| partition,
            |connection, partitions| async move {
                let topics = by_topic(partitions)
                    .into_iter()
                    .map(|(topic, partitions)| {
                        TopicRequest::default()
                            .with_name(topic_name(&topic))
                            .with_partition_indexes(
                                partitions.into_iter().map(|(partition, _)| partition).collect(),
                            )
                    })
                    .collect();
                let request = DescribeProducersRequest::default().with_topics(topics);
                let response = connection.call(&request).await?;
                let mut answers = Answers::new();
                for topic in response.topics {
                    for partition in topic.partitions {
                        let at = (topic.name.to_string(), partition.partition_index);
                        let resource = format!("{}-{}", at.0, at.1);
                        let message = partition.error_message.as_deref();
                        let outcome =
                            KafkaError::check(partition.error_code, "DescribeProducers", resource, message);
                        let states = partition.active_producers.iter().map(state).collect();
                        answers.insert(at, outcome.map(|()| states));
                    }
                }
                Ok(answers)
            },
        )
        .await
    }
}

fn state(found: &State) -> ProducerState {
    ProducerState {
        id: found.producer_id.0,
        epoch: found.producer_epoch,
        last_sequence: found.last_sequence,
        last_timestamp: found.last_timestamp,
        transaction_start: (found.current_txn_start_offset >= 0).then_some(found.current_txn_start_offset),
    }
}
