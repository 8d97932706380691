//! Consumer groups and topics' configurations, by librdkafka: what tests put there, and what they judge by.
//!
//! All functions block and take the *internal* bootstrap address, as those of [`consumer`](crate::consumer).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

/// How long a request may take on a slow, busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A place to go on from: topic, partition, offset, text.
pub type Commit<'a> = (&'a str, i32, i64, &'a str);

fn client(bootstrap: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("log_level", "2");
    config
}

fn list(commits: &[Commit<'_>]) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset, metadata) in commits {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        element.set_metadata(metadata);
    }
    Ok(list)
}

/// Commits offsets for a group that nobody is in, as a consumer does that picks its partitions itself.
pub fn commit(bootstrap: &str, group: &str, commits: &[Commit<'_>]) -> Result<()> {
    let consumer: BaseConsumer = client(bootstrap, group).create()?;
    consumer
        .commit(&list(commits)?, CommitMode::Sync)
        .with_context(|| format!("group {group} cannot commit"))
}

/// What a group has committed for partitions 0, 1, 2 and so on of a topic.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> Result<Vec<Option<i64>>> {
    let consumer: BaseConsumer = client(bootstrap, group).create()?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition_range(topic, 0, partitions - 1);
    let found = consumer.committed_offsets(asked, LIMIT)?;
    let offset = |partition| match found.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    Ok((0..partitions).map(offset).collect())
}

/// The text beside what a group has committed for a partition.
pub fn committed_text(bootstrap: &str, group: &str, topic: &str, partition: i32) -> Result<String> {
    let consumer: BaseConsumer = client(bootstrap, group).create()?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let found = consumer.committed_offsets(asked, LIMIT)?;
    let found = found.find_partition(topic, partition).context("no answer")?;
    Ok(found.metadata().to_owned())
}

/// The ids of all groups that the brokers list.
pub fn group_ids(bootstrap: &str) -> Result<Vec<String>> {
    let consumer: BaseConsumer = client(bootstrap, "testkit-never-commits").create()?;
    let groups = consumer.fetch_group_list(None, LIMIT)?;
    let mut ids: Vec<String> = groups
        .groups()
        .iter()
        .map(|group| group.name().to_owned())
        .collect();
    ids.sort();
    Ok(ids)
}

/// The configuration that a topic has of its own, without the brokers' defaults.
pub fn topic_configs(bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap, "none").create()?;
    let options = AdminOptions::new().request_timeout(Some(LIMIT));
    let answer = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options))?;
    let mut configs = BTreeMap::new();
    for resource in answer {
        let resource = resource.map_err(|code| anyhow::anyhow!("the configuration of {topic}: {code}"))?;
        let own = resource
            .entries
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic);
        configs.extend(own.filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(configs)
}

/// A consumer that is in a group until this is dropped.
pub struct Member {
    consumer: Arc<BaseConsumer>,
    ends: Arc<AtomicBool>,
    polling: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins a group as a reader of `topic`, by the protocol `classic` or `consumer`, under the client id `client_id`,
    /// and waits until it has got partitions.
    pub fn join(bootstrap: &str, group: &str, protocol: &str, topic: &str, client_id: &str) -> Result<Self> {
        let consumer: BaseConsumer = client(bootstrap, group)
            .set("group.protocol", protocol)
            .set("client.id", client_id)
            .create()?;
        consumer.subscribe(&[topic])?;
        let consumer = Arc::new(consumer);
        let ends = Arc::new(AtomicBool::new(false));
        let (for_thread, told) = (Arc::clone(&consumer), Arc::clone(&ends));
        let polling = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let _ = for_thread.poll(Duration::from_millis(50));
            }
        });
        let member = Self {
            consumer,
            ends,
            polling: Some(polling),
        };
        let deadline = Instant::now() + LIMIT;
        while member.consumer.assignment()?.count() == 0 {
            if Instant::now() > deadline {
                bail!("group {group} gave {client_id} no partitions");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(member)
    }

    /// Commits as a member.
    pub fn commit(&self, commits: &[Commit<'_>]) -> Result<()> {
        Ok(self.consumer.commit(&list(commits)?, CommitMode::Sync)?)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(polling) = self.polling.take() {
            let _ = polling.join();
        }
        // Dropping the last reference closes the consumer, which leaves the group.
    }
}
