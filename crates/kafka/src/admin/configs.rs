//! Reading and changing configurations.

use futures::future::join_all;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Outcomes, left_out, text};
use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::KafkaError;

/// Whose configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic's.
    Topic(String),
    /// One broker's.
    Broker(i32),
    /// The default of all brokers, where it was changed while they run.
    AllBrokers,
}

impl ConfigResource {
    /// Source: `org.apache.kafka.common.config.ConfigResource.Type`.
    fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::AllBrokers => 4,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) => name.clone(),
            Self::Broker(id) => id.to_string(),
            Self::AllBrokers => String::new(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Topic(name) => name.clone(),
            Self::Broker(id) => format!("broker {id}"),
            Self::AllBrokers => "all brokers".to_owned(),
        }
    }
}

/// One entry of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it has none, or is sensitive.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether brokers keep the value to themselves.
    pub is_sensitive: bool,
}

/// Where a value comes from.
///
/// Source: `org.apache.kafka.common.requests.DescribeConfigsResponse.ConfigSource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own configuration.
    Topic,
    /// One broker's own, changed while it runs.
    Broker,
    /// The default of all brokers, changed while they run.
    AllBrokers,
    /// The broker's properties file.
    File,
    /// Kafka's default.
    Default,
    /// Something newer or stranger.
    Other(i8),
}

/// Changes to one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Whose.
    pub resource: ConfigResource,
    /// Names, and what to do with each.
    pub changes: Vec<(String, ConfigOperation)>,
}

/// What to do with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Gives it this value.
    Set(String),
    /// Takes the own value away, so that the default counts again.
    Delete,
}

impl Cluster {
    /// Asks for configurations: the entries with these names (`None`: all entries).
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        names: Option<&[&str]>,
    ) -> Outcomes<ConfigResource, Vec<ConfigEntry>> {
        let keys = names.map(|names| names.iter().map(|name| text(name)).collect::<Vec<_>>());
        let keys = &keys;
        // One request each, all on their way at the same time.
        self.settle(resources.to_vec(), |resources| async move {
            join_all(resources.iter().map(|resource| self.describe(resource, keys))).await
        })
        .await
    }

    /// Asks one broker for entries of a topic's configuration, as it sees them now. One attempt.
    pub async fn describe_topic_at(
        &self,
        broker_id: i32,
        topic: &str,
        names: &[&str],
    ) -> Result<Vec<ConfigEntry>, KafkaError> {
        let keys = Some(names.iter().map(|name| text(name)).collect());
        let connection = self.connection(broker_id).await?;
        describe_at(&connection, &ConfigResource::Topic(topic.to_owned()), &keys).await
    }

    async fn describe(
        &self,
        resource: &ConfigResource,
        keys: &Option<Vec<StrBytes>>,
    ) -> Result<Vec<ConfigEntry>, KafkaError> {
        describe_at(&self.connection_for(resource).await?, resource, keys).await
    }

    /// Changes configurations, entry by entry, the others left alone (with `validate_only`: says whether it could). Doing
    /// it again changes nothing.
    pub async fn incremental_alter_configs(
        &self,
        changes: &[ConfigChange],
        validate_only: bool,
    ) -> Outcomes<ConfigChange, ()> {
        self.settle(changes.to_vec(), |changes| async move {
            join_all(changes.iter().map(|change| self.alter(change, validate_only))).await
        })
        .await
    }

    async fn alter(&self, change: &ConfigChange, validate_only: bool) -> Result<(), KafkaError> {
        const WHAT: &str = "IncrementalAlterConfigs";
        let configs = change.changes.iter().map(|(name, operation)| {
            let config = AlterableConfig::default().with_name(text(name));
            // Source: `org.apache.kafka.clients.admin.AlterConfigOp.OpType`.
            match operation {
                ConfigOperation::Set(value) => config.with_config_operation(0).with_value(Some(text(value))),
                ConfigOperation::Delete => config.with_config_operation(1).with_value(None),
            }
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(change.resource.code())
            .with_resource_name(text(&change.resource.name()))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let name = change.resource.text();
        let connection = self.connection_for(&change.resource).await?;
        let response = connection.call(&request).await?;
        let mut results = response.responses.iter();
        let result = results
            .next()
            .ok_or_else(|| left_out(connection.addr(), WHAT, &name))?;
        KafkaError::check(result.error_code, WHAT, name, result.error_message.as_deref())
    }

    /// A broker's own configuration is that broker's to show and change; of the rest any broker will do.
    async fn connection_for(&self, resource: &ConfigResource) -> Result<Connection, KafkaError> {
        match resource {
            ConfigResource::Broker(id) => self.connection(*id).await,
            ConfigResource::Topic(_) | ConfigResource::AllBrokers => self.any().await,
        }
    }
}

async fn describe_at(
    connection: &Connection,
    resource: &ConfigResource,
    keys: &Option<Vec<StrBytes>>,
) -> Result<Vec<ConfigEntry>, KafkaError> {
    const WHAT: &str = "DescribeConfigs";
    let wanted = DescribeConfigsResource::default()
        .with_resource_type(resource.code())
        .with_resource_name(text(&resource.name()))
        .with_configuration_keys(keys.clone());
    let request = DescribeConfigsRequest::default().with_resources(vec![wanted]);
    let response = connection.call(&request).await?;
    let mut results = response.results.into_iter();
    let result = results
        .next()
        .ok_or_else(|| left_out(connection.addr(), WHAT, &resource.text()))?;
    let message = result.error_message.as_deref();
    KafkaError::check(result.error_code, WHAT, resource.text(), message)?;
    Ok(result.configs.into_iter().map(entry).collect())
}

fn entry(found: DescribeConfigsResourceResult) -> ConfigEntry {
    ConfigEntry {
        name: found.name.to_string(),
        value: found.value.map(|value| value.to_string()),
        source: match found.config_source {
            1 => ConfigSource::Topic,
            2 => ConfigSource::Broker,
            3 => ConfigSource::AllBrokers,
            4 => ConfigSource::File,
            5 => ConfigSource::Default,
            other => ConfigSource::Other(other),
        },
        is_read_only: found.read_only,
        is_sensitive: found.is_sensitive,
    }
}
