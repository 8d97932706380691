//! Topics of the target: made and prepared before the first record, given their own configuration back at the end.
//!
//! A run that is killed at any point leaves a topic that the next run, or [`finish_interrupted`], brings to its proper
//! state: the journal is written before the first change, originals come from it and never from a topic that is
//! changed already, and it is deleted after the last change is undone.

use std::collections::{BTreeMap, BTreeSet};

use kafka::admin::{ConfigOperation, ConfigResource, ConfigSource, NewTopic, OffsetSpec, ProducerIdentity};
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use record::TopicPartition;
use tokio::sync::Mutex;

use crate::configure::{change, change_and_wait};
use crate::error::RestoreError;
use crate::forecast::{self, Expiration, Times};
use crate::job::Job;
use crate::journal::{self, Journal, JournalError, JournalFile};
use crate::plan::{self, Finding, RestorePlan, TopicPlan};
use crate::profile::{self, ConfigValue, Configs};
use crate::report::{Outcome, Report};
use crate::wish::{self, KnownTopic};

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

/// What earlier runs that were not finished have left behind, by target topic.
#[derive(Debug, Default)]
pub(crate) struct Journals {
    file: Option<JournalFile>,
    found: BTreeMap<String, Journal>,
    /// What a person should know of this.
    pub(crate) findings: Vec<String>,
}

impl Journals {
    /// Reads the journals of all topics of a plan, from the cluster, or else from `file`.
    pub(crate) async fn read(
        cluster: &Cluster,
        plan: &RestorePlan,
        file: Option<JournalFile>,
    ) -> Result<Self, RestoreError> {
        let mut journals = Self {
            file,
            ..Self::default()
        };
        // What was there before a topic was deleted says nothing about one that is created now.
        for topic in plan.topics.iter().filter(|topic| topic.create.is_none()) {
            let found = match journal::read(cluster, &topic.target).await {
                Ok(found) => found,
                Err(error) if error.is_missing_right() => None,
                Err(error) => return Err(error.into()),
            };
            let found = match (found, &journals.file) {
                (None, Some(file)) => file.read(&topic.target)?,
                (found, _) => found,
            };
            let Some(found) = found else { continue };
            let source = source_of(plan, topic);
            if found.source != source {
                journals.findings.push(format!(
                    "{}: a restore of {} that began at {} was not finished; its journal is taken over, so that the \
                     topic gets its own configuration back when this restore is complete",
                    topic.target, found.source, found.started
                ));
            }
            journals.found.insert(topic.target.clone(), found);
        }
        Ok(journals)
    }

    /// Who produced in all the earlier runs, where that is one and the same.
    pub(crate) fn producer(&self) -> Option<ProducerIdentity> {
        let mut producers = self.found.values().map(Journal::producer);
        let first = producers.next()?;
        producers.all(|other| other == first).then_some(first)
    }
}

/// How a journal names what is restored.
fn source_of(plan: &RestorePlan, topic: &TopicPlan) -> String {
    let mut text = format!("{}: {}", plan.source, topic.source);
    // Deep folders: the journal must fit into an offset's metadata.
    if text.len() > 512 {
        let mut start = text.len() - 511;
        while !text.is_char_boundary(start) {
            start += 1;
        }
        text = format!("…{}", &text[start..]);
    }
    text
}

/// A topic that is ready for its records.
pub(crate) struct Prepared {
    /// The configuration that it had when this run began, or was created with.
    pub(crate) configs: Configs,
    /// True where an earlier run began and did not finish.
    #[allow(dead_code)]
    pub(crate) resumed: bool,
    topic: String,
    file: Option<JournalFile>,
    /// The journal as it is kept; what is other while restoring is in its originals.
    journal: Mutex<Journal>,
}

impl Prepared {
    /// The own value that a setting has outside of the restore; none where the brokers' default holds.
    pub(crate) async fn original(&self, name: &str) -> Option<String> {
        match self.journal.lock().await.originals.get(name) {
            Some(original) => original.clone(),
            None => self
                .configs
                .get(name)
                .filter(|config| config.own)
                .map(|config| config.value.clone()),
        }
    }

    /// True where the topic is compacted, the time of the restore aside.
    pub(crate) async fn is_compacted(&self) -> bool {
        // The profile changes the policy of compacted topics and of no others.
        let policy = self.configs.get("cleanup.policy");
        policy.is_some_and(|policy| policy.value.contains("compact"))
            || self.journal.lock().await.originals.contains_key("cleanup.policy")
    }

    /// Where a partition's log ended before the first record of this restore.
    #[allow(dead_code)]
    pub(crate) async fn base(&self, partition: i32) -> i64 {
        self.journal.lock().await.base(partition)
    }

    /// Raises `max.message.bytes` for the time of the restore where it is below `needed`. Safe to call from every
    /// partition.
    #[allow(dead_code)]
    pub(crate) async fn raise_max_message_bytes(
        &self,
        cluster: &Cluster,
        needed: i32,
    ) -> Result<(), RestoreError> {
        const NAME: &str = "max.message.bytes";
        let mut journal = self.journal.lock().await;
        let now = configs(cluster, &self.topic).await?;
        let Some(config) = now.get(NAME) else {
            return Ok(());
        };
        if config.value.parse::<i32>().is_ok_and(|value| value >= needed) {
            return Ok(());
        }
        if !journal.originals.contains_key(NAME) {
            let original = config.own.then(|| config.value.clone());
            journal.originals.insert(NAME.to_owned(), original);
            keep(
                cluster,
                &self.topic,
                &mut journal,
                self.file.as_ref(),
                &mut Vec::new(),
            )
            .await;
        }
        let set = vec![(NAME.to_owned(), ConfigOperation::Set(needed.to_string()))];
        change_and_wait(cluster, &self.topic, set).await?;
        Ok(())
    }
}

/// Creates missing topics, adds partitions, keeps the journal and puts the restore profile on.
pub(crate) async fn prepare(
    cluster: &Cluster,
    plan: &RestorePlan,
    journals: &Journals,
    producer: ProducerIdentity,
    append: bool,
    findings: &mut Vec<String>,
) -> Result<Vec<Prepared>, RestoreError> {
    findings.extend(journals.findings.iter().cloned());
    let mut prepared = Vec::with_capacity(plan.topics.len());
    for topic in &plan.topics {
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
        prepared.push(prepare_one(cluster, plan, topic, journals, producer, append, findings).await?);
    }
    Ok(prepared)
}

async fn prepare_one(
    cluster: &Cluster,
    plan: &RestorePlan,
    topic: &TopicPlan,
    journals: &Journals,
    producer: ProducerIdentity,
    append: bool,
    findings: &mut Vec<String>,
) -> Result<Prepared, RestoreError> {
    let configs = configs(cluster, &topic.target).await?;
    let changes = profile::changes(&configs, topic.needs_fillers());
    let earlier = journals.found.get(&topic.target);
    let mut journal = match earlier {
        Some(earlier) => earlier.clone(),
        None => Journal::new(source_of(plan, topic), producer),
    };
    (journal.producer_id, journal.producer_epoch) = (producer.id, producer.epoch);
    if append && earlier.is_none() {
        journal.set_bases(log_ends(cluster, topic).await?);
    }
    for change in &changes {
        journal
            .originals
            .entry(change.name.clone())
            .or_insert_with(|| change.original.clone());
    }
    keep(
        cluster,
        &topic.target,
        &mut journal,
        journals.file.as_ref(),
        findings,
    )
    .await;
    put_on(cluster, topic, &changes, &mut journal, findings).await?;
    Ok(Prepared {
        configs,
        resumed: earlier.is_some(),
        topic: topic.target.clone(),
        file: journals.file.clone(),
        journal: Mutex::new(journal),
    })
}

/// Writes the journal to the cluster and to the file. Where neither can be had, the restore goes on and says so.
async fn keep(
    cluster: &Cluster,
    topic: &str,
    journal: &mut Journal,
    file: Option<&JournalFile>,
    findings: &mut Vec<String>,
) {
    let mut on_cluster = journal::write(cluster, topic, journal).await;
    if let Err(JournalError::TooLarge { .. }) = on_cluster {
        // Only the list of log ends can be that long.
        let short = Journal {
            bases: Vec::new(),
            ..journal.clone()
        };
        on_cluster = journal::write(cluster, topic, &short).await;
        findings.push(format!(
            "{topic}: where the logs ended before this restore does not fit into the journal on the cluster; after an \
             interruption, go on with the same --report file, which has it beside it"
        ));
    }
    let in_file = file.map(|file| file.write(topic, journal));
    let Err(error) = on_cluster else { return };
    match in_file {
        Some(Ok(())) => tracing::info!(topic, %error, "the journal is only in the file beside the report"),
        in_file => {
            let error = in_file.and_then(Result::err).unwrap_or(error);
            let by_hand = match journal.originals.is_empty() {
                true => String::new(),
                false => format!(
                    "; after an interruption that cannot be made good, put its configuration back by hand: {}",
                    put_back_command(cluster, topic, &journal.originals)
                ),
            };
            findings.push(format!(
                "{topic}: the journal of the restore cannot be kept ({error}). The restore goes on without it; --report \
                 FILE keeps it beside the report{by_hand}"
            ));
        }
    }
}

/// Makes the changes of the profile. One that the cluster refuses is a finding with its meaning.
async fn put_on(
    cluster: &Cluster,
    topic: &TopicPlan,
    changes: &[profile::ConfigChange],
    journal: &mut Journal,
    findings: &mut Vec<String>,
) -> Result<(), RestoreError> {
    let operation =
        |change: &profile::ConfigChange| (change.name.clone(), ConfigOperation::Set(change.during.clone()));
    match change_and_wait(cluster, &topic.target, changes.iter().map(operation).collect()).await {
        Ok(()) => return Ok(()),
        Err(error) if error.is_retriable() => return Err(error.into()),
        Err(_) => {}
    }
    // All or nothing: one by one shows which one is refused.
    for change in changes {
        match change_and_wait(cluster, &topic.target, vec![operation(change)]).await {
            Ok(()) => {}
            Err(error) if error.is_retriable() => return Err(error.into()),
            Err(error) => {
                journal.originals.remove(&change.name);
                findings.push(format!(
                    "{}: the cluster does not let this user set {}={} for the time of the restore ({error}): {}",
                    topic.target,
                    change.name,
                    change.during,
                    profile::consequence(&change.name)
                ));
            }
        }
    }
    Ok(())
}

/// What is different about a topic that exists from what it should be like.
pub(crate) async fn differences(
    job: &Job,
    cluster: &Cluster,
    topic: &TopicPlan,
    known: Option<&KnownTopic>,
    partitions: i32,
    configs: &Configs,
) -> Vec<Finding> {
    let wishes = &job.target.topics;
    if known.is_none() && wishes.configs.is_empty() && wishes.partitions.is_none() {
        return Vec::new();
    }
    // What an unfinished restore has changed is no difference.
    let journal = journal::read(cluster, &topic.target).await.ok().flatten();
    let originals = journal.map(|journal| journal.originals).unwrap_or_default();
    wish::differences(wishes, &topic.target, known, partitions, configs, &originals)
}

async fn log_ends(cluster: &Cluster, topic: &TopicPlan) -> Result<Vec<(i32, i64)>, RestoreError> {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| TopicPartition::new(topic.target.as_str(), partition.partition))
        .collect();
    let mut ends = Vec::with_capacity(partitions.len());
    for (partition, end) in cluster.list_offsets(&partitions, OffsetSpec::Latest).await {
        ends.push((partition.partition, end?));
    }
    ends.sort_unstable();
    Ok(ends)
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

/// Gives each topic whose restore is complete its own configuration back and deletes its journal. Topics in `unequal`
/// were compared with the backup and differ: they stay as they are, like those that are not complete. With
/// `keep_profile` all topics do.
pub(crate) async fn finish(
    cluster: &Cluster,
    prepared: &[Prepared],
    report: &mut Report,
    unequal: &BTreeSet<String>,
    keep_profile: bool,
) -> Result<(), RestoreError> {
    for prepared in prepared {
        let topic = &prepared.topic;
        let journal = prepared.journal.lock().await;
        let changed = !journal.originals.is_empty();
        let done = || report.topics.iter().filter(|done| done.target == *topic);
        let complete = done()
            .flat_map(|done| &done.partitions)
            .all(|partition| partition.outcome == Outcome::Complete);
        let kept = if !complete {
            Some(format!(
                "{topic} keeps its restore profile until a restore of it is complete: run the same command again, or \
                 end it with `kafka-restore topics finish -t {topic}`"
            ))
        } else if unequal.contains(topic) {
            Some(format!(
                "{topic} differs from its backup and keeps its restore profile, so that nothing is deleted; \
                 `kafka-restore topics finish -t {topic}` ends it"
            ))
        } else if keep_profile && changed {
            Some(format!(
                "{topic} keeps its restore profile (--keep-profile, or other processes still work on it); `kafka-restore topics finish -t {topic}` ends it"
            ))
        } else {
            None
        };
        if let Some(kept) = kept {
            if changed {
                report.findings.push(kept);
            }
            continue;
        }
        let times: BTreeMap<i32, Times> = done()
            .flat_map(|done| &done.partitions)
            .map(|partition| (partition.partition, Times::of(partition)))
            .collect();
        match put_back(cluster, topic, &journal.originals, &times).await {
            Ok(expirations) => {
                report.expirations.extend(expirations);
                if let Err(error) = forget(cluster, topic, prepared.file.as_ref()).await {
                    report.findings.push(format!(
                        "{topic}: its journal is not needed any more and cannot be deleted: {error}"
                    ));
                }
            }
            Err(error) => {
                report.findings.push(format!(
                    "{topic} cannot be given its own configuration back: {error}"
                ));
                report
                    .to_do
                    .push(put_back_command(cluster, topic, &journal.originals));
            }
        }
    }
    Ok(())
}

/// Puts the originals back, and foretells what the brokers will do then.
async fn put_back(
    cluster: &Cluster,
    topic: &str,
    originals: &BTreeMap<String, Option<String>>,
    times: &BTreeMap<i32, Times>,
) -> Result<Vec<Expiration>, RestoreError> {
    if originals.is_empty() {
        return Ok(Vec::new());
    }
    let logs = forecast::log_ranges(cluster, topic).await?;
    let operations = originals.iter().map(|(name, original)| {
        let operation = match original {
            Some(original) => ConfigOperation::Set(original.clone()),
            None => ConfigOperation::Delete,
        };
        (name.clone(), operation)
    });
    change(cluster, topic, operations.collect()).await?;
    // Brokers learn of it one after the other.
    let mut retry = cluster.retry();
    let configs = loop {
        let configs = configs(cluster, topic).await?;
        let is_back = |(name, original): (&String, &Option<String>)| match (original, configs.get(name)) {
            (Some(original), Some(config)) => config.own && config.value == *original,
            (Some(_), None) => false,
            (None, config) => config.is_none_or(|config| !config.own),
        };
        if originals.iter().all(is_back) {
            break configs;
        }
        let stale = KafkaError::Broker {
            code: ResponseError::UnknownTopicOrPartition,
            what: "DescribeConfigs",
            resource: topic.to_owned(),
            message: Some("the configuration is not what was set a moment ago".to_owned()),
        };
        retry.pause(stale).await?;
    };
    forecast::expirations(cluster, topic, &configs, &logs, times).await
}

async fn forget(cluster: &Cluster, topic: &str, file: Option<&JournalFile>) -> Result<(), JournalError> {
    match journal::delete(cluster, topic).await {
        Err(error) if error.is_missing_right() => {}
        other => other?,
    }
    file.map_or(Ok(()), |file| file.delete(topic))
}

/// What became of a topic that an interrupted restore had left behind.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finished {
    /// The topic.
    pub topic: String,
    /// What was put back: the own value, or none for the brokers' default. None of all where no restore is unfinished.
    pub originals: Option<BTreeMap<String, Option<String>>>,
    /// What brokers will delete or compact now.
    pub expirations: Vec<Expiration>,
}

/// Puts the configuration of topics back that an interrupted restore left in its profile: from the journal on the
/// cluster, or else from `file`. An empty list means all topics that have one.
pub async fn finish_interrupted(
    cluster: &Cluster,
    topics: &[String],
    file: Option<&JournalFile>,
) -> Result<Vec<Finished>, RestoreError> {
    let mut names: BTreeSet<String> = topics.iter().cloned().collect();
    if names.is_empty() {
        let groups = cluster.list_groups().await?.groups;
        let journals = groups
            .iter()
            .filter_map(|group| group.id.strip_prefix(journal::GROUP_PREFIX));
        names.extend(journals.map(str::to_owned));
        if let Some(file) = file {
            names.extend(file.topics()?);
        }
    }
    let mut finished = Vec::with_capacity(names.len());
    for topic in names {
        let found = match journal::read(cluster, &topic).await {
            Err(error) if error.is_missing_right() && file.is_some() => None,
            found => found?,
        };
        let found = match (found, file) {
            (None, Some(file)) => file.read(&topic)?,
            (found, _) => found,
        };
        let Some(found) = found else {
            finished.push(Finished {
                topic,
                originals: None,
                expirations: Vec::new(),
            });
            continue;
        };
        let expirations = put_back(cluster, &topic, &found.originals, &BTreeMap::new()).await?;
        forget(cluster, &topic, file).await?;
        finished.push(Finished {
            topic,
            originals: Some(found.originals),
            expirations,
        });
    }
    Ok(finished)
}

/// The command that puts the originals back by hand, with Kafka's own tool.
fn put_back_command(cluster: &Cluster, topic: &str, originals: &BTreeMap<String, Option<String>>) -> String {
    let servers: Vec<String> = cluster
        .config()
        .bootstrap
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut command = format!(
        "kafka-configs.sh --bootstrap-server {} --entity-type topics --entity-name {topic} --alter",
        servers.join(",")
    );
    let own = originals.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        // Kafka's tool takes lists in brackets.
        Some(match value.contains(',') {
            true => format!("{name}=[{value}]"),
            false => format!("{name}={value}"),
        })
    });
    let own: Vec<String> = own.collect();
    if !own.is_empty() {
        command.push_str(&format!(" --add-config '{}'", own.join(",")));
    }
    let inherited = originals.iter().filter(|(_, value)| value.is_none());
    let inherited: Vec<&str> = inherited.map(|(name, _)| name.as_str()).collect();
    if !inherited.is_empty() {
        command.push_str(&format!(" --delete-config '{}'", inherited.join(",")));
    }
    command
}
