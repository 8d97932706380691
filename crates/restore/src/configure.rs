//! Changes of a topic's configuration that brokers follow before anything relies on them.
//!
//! The controller answers a change when it is written down; each broker takes it up a moment later by itself. A record
//! that comes in between is still judged by the old configuration: refused for its timestamp or its null key.

use std::time::Duration;

use kafka::admin::{ConfigChange, ConfigEntry, ConfigOperation, ConfigResource, ConfigSource};
use kafka::cluster::Cluster;
use kafka::error::KafkaError;
use tokio::time::{Instant, sleep, sleep_until};

/// How long brokers may take; then it goes on without knowing.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// A broker shows a change before its logs follow it, in the same breath.
const BREATH: Duration = Duration::from_millis(100);

/// Makes the changes, all or none.
pub(crate) async fn change(
    cluster: &Cluster,
    topic: &str,
    changes: Vec<(String, ConfigOperation)>,
) -> Result<(), KafkaError> {
    if changes.is_empty() {
        return Ok(());
    }
    let change = ConfigChange {
        resource: ConfigResource::Topic(topic.to_owned()),
        changes,
    };
    for (_, outcome) in cluster.incremental_alter_configs(&[change], false).await {
        outcome?;
    }
    Ok(())
}

/// Makes the changes and waits until every broker's logs follow them. One that cannot be asked is not waited for.
pub(crate) async fn change_and_wait(
    cluster: &Cluster,
    topic: &str,
    changes: Vec<(String, ConfigOperation)>,
) -> Result<(), KafkaError> {
    let followed = change_everywhere(cluster, topic, changes).await?;
    sleep_until(followed).await;
    Ok(())
}

/// Makes the changes, waits until every broker shows them, and gives the time at which their logs will follow them, for
/// those who have something else to do until then.
pub(crate) async fn change_everywhere(
    cluster: &Cluster,
    topic: &str,
    changes: Vec<(String, ConfigOperation)>,
) -> Result<Instant, KafkaError> {
    if changes.is_empty() {
        return Ok(Instant::now());
    }
    change(cluster, topic, changes.clone()).await?;
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    let deadline = Instant::now() + LIMIT;
    for broker in cluster.brokers() {
        while Instant::now() < deadline {
            match cluster.describe_topic_at(broker.id, topic, &names).await {
                Ok(entries) if !changes.iter().all(|change| shows(&entries, change)) => {}
                // A topic that was just made is not known everywhere yet.
                Err(error) if error.code().is_some_and(|code| code.is_retriable()) => {}
                Ok(_) | Err(_) => break,
            }
            sleep(PAUSE).await;
        }
    }
    Ok(Instant::now() + BREATH)
}

fn shows(entries: &[ConfigEntry], (name, operation): &(String, ConfigOperation)) -> bool {
    let entry = entries.iter().find(|entry| entry.name == *name);
    match operation {
        // Brokers keep sensitive values to themselves.
        ConfigOperation::Set(value) => {
            entry.is_some_and(|entry| entry.is_sensitive || entry.value.as_ref() == Some(value))
        }
        ConfigOperation::Delete => entry.is_none_or(|entry| entry.source != ConfigSource::Topic),
    }
}
