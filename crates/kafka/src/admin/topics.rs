//! Creating, deleting and growing topics.

use std::sync::atomic::{AtomicBool, Ordering};

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{ApiKey, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};

use super::{GRACE, Outcomes, left_out, milliseconds, text, topic_name};
use crate::cluster::Cluster;
use crate::error::{KafkaError, ResponseError};

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the broker's default.
    pub partitions: i32,
    /// How many replicas of each; -1 for the broker's default.
    pub replication_factor: i16,
    /// Its own configuration.
    pub configs: Vec<(String, String)>,
}

impl Cluster {
    /// Creates topics (with `validate_only`: says whether it could).
    ///
    /// Brokers learn of a new topic one after the other; what is asked about it next may need to be tried again.
    /// Where an answer was lost and the topic is there at the next attempt, the error (36 TOPIC_ALREADY_EXISTS) says so,
    /// since nobody can know who created it.
    pub async fn create_topics(&self, topics: &[NewTopic], validate_only: bool) -> Outcomes<NewTopic, ()> {
        let timeout = self.config().request_timeout;
        let lost = &AtomicBool::new(false);
        self.at_controller(topics.to_vec(), move |connection, topics| async move {
            let request = CreateTopicsRequest::default()
                .with_topics(topics.iter().map(creatable).collect())
                .with_timeout_ms(milliseconds(timeout))
                .with_validate_only(validate_only);
            let response = connection.call_within(&request, timeout + GRACE).await;
            let response = response.inspect_err(|_| lost.store(true, Ordering::Relaxed))?;
            let outcome = |topic: &NewTopic| {
                let result = response
                    .topics
                    .iter()
                    .find(|result| *result.name == *topic.name)
                    .ok_or_else(|| left_out(connection.addr(), "CreateTopics", &topic.name))?;
                let message = result.error_message.as_deref();
                let outcome = KafkaError::check(result.error_code, "CreateTopics", &topic.name, message);
                note_timeout(&outcome, lost);
                explain_repeat(outcome, ResponseError::TopicAlreadyExists, lost)
            };
            Ok(topics.iter().map(outcome).collect())
        })
        .await
    }

    /// Deletes topics, with everything in them.
    pub async fn delete_topics(&self, names: &[&str]) -> Outcomes<String, ()> {
        let timeout = self.config().request_timeout;
        let lost = &AtomicBool::new(false);
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.at_controller(names, move |connection, names| async move {
            let request = DeleteTopicsRequest::default().with_timeout_ms(milliseconds(timeout));
            let newest = connection.version_range(ApiKey::DeleteTopics as i16);
            // Version 6 can name topics by id, and has another list for it.
            let request = match newest.is_some_and(|(_, max)| max >= 6) {
                true => {
                    let state = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
                    request.with_topics(names.iter().map(state).collect())
                }
                false => request.with_topic_names(names.iter().map(|name| topic_name(name)).collect()),
            };
            let response = connection.call_within(&request, timeout + GRACE).await;
            let response = response.inspect_err(|_| lost.store(true, Ordering::Relaxed))?;
            let outcome = |name: &String| {
                let result = response
                    .responses
                    .iter()
                    .find(|result| result.name.as_ref().is_some_and(|found| **found == **name))
                    .ok_or_else(|| left_out(connection.addr(), "DeleteTopics", name))?;
                let message = result.error_message.as_deref();
                let outcome = KafkaError::check(result.error_code, "DeleteTopics", name, message);
                note_timeout(&outcome, lost);
                match outcome {
                    // The attempt whose answer was lost did it.
                    Err(error)
                        if error.code() == Some(ResponseError::UnknownTopicOrPartition)
                            && lost.load(Ordering::Relaxed) =>
                    {
                        Ok(())
                    }
                    other => other,
                }
            };
            Ok(names.iter().map(outcome).collect())
        })
        .await
    }

    /// Grows topics to so many partitions (with `validate_only`: says whether it could). They cannot shrink
    /// (37 INVALID_PARTITIONS).
    pub async fn create_partitions(
        &self,
        totals: &[(String, i32)],
        validate_only: bool,
    ) -> Outcomes<(String, i32), ()> {
        let timeout = self.config().request_timeout;
        let lost = &AtomicBool::new(false);
        self.at_controller(totals.to_vec(), move |connection, totals| async move {
            let topics = totals.iter().map(|(name, count)| {
                CreatePartitionsTopic::default()
                    .with_name(topic_name(name))
                    .with_count(*count)
                    .with_assignments(None)
            });
            let request = CreatePartitionsRequest::default()
                .with_topics(topics.collect())
                .with_timeout_ms(milliseconds(timeout))
                .with_validate_only(validate_only);
            let response = connection.call_within(&request, timeout + GRACE).await;
            let response = response.inspect_err(|_| lost.store(true, Ordering::Relaxed))?;
            let outcome = |(name, _): &(String, i32)| {
                let result = response
                    .results
                    .iter()
                    .find(|result| *result.name == **name)
                    .ok_or_else(|| left_out(connection.addr(), "CreatePartitions", name))?;
                let message = result.error_message.as_deref();
                let outcome = KafkaError::check(result.error_code, "CreatePartitions", name, message);
                note_timeout(&outcome, lost);
                explain_repeat(outcome, ResponseError::InvalidPartitions, lost)
            };
            Ok(totals.iter().map(outcome).collect())
        })
        .await
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let config = |(name, value): &(String, String)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    };
    CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(topic.replication_factor)
        .with_configs(topic.configs.iter().map(config).collect())
}

/// A controller that answers "timed out" goes on all the same.
fn note_timeout(outcome: &Result<(), KafkaError>, lost: &AtomicBool) {
    if let Err(error) = outcome
        && error.code() == Some(ResponseError::RequestTimedOut)
    {
        lost.store(true, Ordering::Relaxed);
    }
}

/// Says where an error may be the echo of an earlier attempt.
fn explain_repeat(
    outcome: Result<(), KafkaError>,
    echo: ResponseError,
    lost: &AtomicBool,
) -> Result<(), KafkaError> {
    match outcome {
        Err(KafkaError::Broker {
            code,
            what,
            resource,
            message,
        }) if code == echo && lost.load(Ordering::Relaxed) => Err(KafkaError::Broker {
            code,
            what,
            resource,
            message: Some(format!(
                "{} An earlier attempt, whose answer was lost, may have done it",
                message.unwrap_or_default()
            )),
        }),
        other => other,
    }
}
