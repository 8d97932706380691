//! Topics of the target: made and prepared before the first record, given their own configuration back at the end.

use kafka::admin::{ConfigChange, ConfigOperation, ConfigResource, ConfigSource, NewTopic};
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};

use crate::error::RestoreError;
use crate::plan::{self, TopicPlan};
use crate::profile::{self, ConfigValue, Configs};
use crate::report::{Outcome, Report};

/// The configuration of a topic, defaults included, without what brokers keep to themselves.
pub(crate) async fn configs(cluster: &Cluster, topic: &str) -> Result<Configs, RestoreError> {
    let mut configs = Configs::new();
    for (_, entries) in cluster
        .describe_configs(&[ConfigResource::Topic(topic.to_owned())], None)
        .await
    {
        configs.extend(entries?.into_iter().filter_map(|entry| {
            let value = ConfigValue {
                value: entry.value?,
                own: entry.source == ConfigSource::Topic,
            };
            Some((entry.name, value))
        }));
    }
    Ok(configs)
}

/// A topic that is ready for its records.
pub(crate) struct Prepared {
    /// The configuration that it had, or was created with.
    pub(crate) configs: Configs,
    /// What is other while restoring.
    pub(crate) profile: Vec<profile::ConfigChange>,
}

/// Creates missing topics, adds partitions, and puts the restore profile on.
pub(crate) async fn prepare(cluster: &Cluster, topics: &[TopicPlan]) -> Result<Vec<Prepared>, RestoreError> {
    let mut prepared = Vec::with_capacity(topics.len());
    for topic in topics {
        if let Some(new) = &topic.create {
            create(cluster, &topic.target, new).await?;
        }
        if let Some(partitions) = topic.add_partitions {
            for (_, outcome) in cluster
                .create_partitions(&[(topic.target.clone(), partitions)], false)
                .await
            {
                outcome?;
            }
        }
        let configs = configs(cluster, &topic.target).await?;
        let profile = profile::changes(&configs);
        change(cluster, &topic.target, &profile, |change| {
            ConfigOperation::Set(change.during.clone())
        })
        .await?;
        prepared.push(Prepared { configs, profile });
    }
    Ok(prepared)
}

async fn create(cluster: &Cluster, name: &str, topic: &plan::NewTopic) -> Result<(), RestoreError> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.unwrap_or(-1),
        configs: topic.configs.clone().into_iter().collect(),
    };
    for (_, outcome) in cluster.create_topics(&[topic], false).await {
        match outcome {
            // Somebody was faster, or an answer was lost: the topic is there, and what is in it is looked at later.
            Err(error) if error.code() != Some(ResponseError::TopicAlreadyExists) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Gives each topic whose restore is complete its own configuration back.
pub(crate) async fn finish(
    cluster: &Cluster,
    topics: &[TopicPlan],
    prepared: &[Prepared],
    report: &mut Report,
) -> Result<(), RestoreError> {
    for (topic, prepared) in topics
        .iter()
        .zip(prepared)
        .filter(|(_, prepared)| !prepared.profile.is_empty())
    {
        let complete = report
            .topics
            .iter()
            .filter(|done| done.target == topic.target)
            .all(|done| {
                done.partitions
                    .iter()
                    .all(|partition| partition.outcome == Outcome::Complete)
            });
        if !complete {
            report.findings.push(format!(
                "{} keeps its restore profile until a restore of it is complete: run the same command again",
                topic.target
            ));
            continue;
        }
        change(
            cluster,
            &topic.target,
            &prepared.profile,
            |change| match &change.original {
                Some(original) => ConfigOperation::Set(original.clone()),
                None => ConfigOperation::Delete,
            },
        )
        .await?;
    }
    Ok(())
}

async fn change(
    cluster: &Cluster,
    topic: &str,
    profile: &[profile::ConfigChange],
    operation: impl Fn(&profile::ConfigChange) -> ConfigOperation,
) -> Result<(), KafkaError> {
    if profile.is_empty() {
        return Ok(());
    }
    let change = ConfigChange {
        resource: ConfigResource::Topic(topic.to_owned()),
        changes: profile
            .iter()
            .map(|change| (change.name.clone(), operation(change)))
            .collect(),
    };
    for (_, outcome) in cluster.incremental_alter_configs(&[change], false).await {
        outcome?;
    }
    Ok(())
}
