//! Topics of the target: made and prepared before the first record, given their own configuration back at the end.
//!
//! A run that is killed at any point leaves a topic that the next run, or [`finish_interrupted`], brings to its proper
//! state: the journal is written before the first change, originals come from it and never from a topic that is
//! changed already, and it is deleted after the last change is undone.

pub(crate) mod commands;
mod finish;
mod journals;

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka::admin::{ConfigOperation, ConfigResource, ConfigSource, NewTopic, OffsetSpec, ProducerIdentity};
use kafka::cluster::Cluster;
use kafka::error::ResponseError;
use record::TopicPartition;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::configure::{change_and_wait, change_everywhere};
use crate::error::RestoreError;
use crate::exact::gaps::GapMethod;
use crate::job::Job;
use crate::journal::{self, Appended, Journal};
use crate::plan::{self, Finding, RestorePlan, Severity, TopicPlan};
use crate::profile::{self, ConfigValue, Configs};
use crate::wish::{self, KnownTopic};

pub(crate) use finish::finish;
pub use finish::{Finished, Unfinished, finish_interrupted};
pub(crate) use journals::Journals;
use journals::{Place, choice_of, source_of};

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
    /// The configuration that it had when this run began, or was created with.
    pub(crate) configs: Configs,
    place: Place,
    /// Other processes restore other partitions of it.
    shared: bool,
    /// Which of the backup's records are restored, as the journal says it.
    choice: String,
    /// What an earlier run of this restore has put behind others.
    appended: Option<Appended>,
    /// When the logs follow the profile; no record is written before.
    follows_at: Instant,
    /// The journal as it is kept; what is other while restoring is in its originals.
    journal: Mutex<Journal>,
}

impl Prepared {
    /// Waits until records may be written. Reading and encoding them need not wait.
    pub(crate) async fn follows_profile(&self) {
        sleep_until(self.follows_at).await;
    }

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

    /// Where a partition's log ended before the first record of this restore, where that is known.
    pub(crate) async fn base(&self, partition: i32) -> Option<i64> {
        self.journal.lock().await.base(partition)
    }

    /// Where the records of this restore stand in a partition where an earlier run has put all of them behind others.
    pub(crate) fn appended(&self, partition: i32) -> Option<(i64, i64)> {
        self.appended.as_ref()?.range(partition)
    }

    /// Notes, before another record is written, that more come behind those that an earlier run has put there.
    pub(crate) async fn reopen(&self, cluster: &Cluster, partition: i32) -> Result<(), RestoreError> {
        let mut journal = self.journal.lock().await;
        journal.reopen(&self.choice, partition);
        self.place.keep_bases(cluster, &journal).await
    }

    /// Notes, before the first record is written, that this restore begins at `base` in a partition.
    pub(crate) async fn set_base(
        &self,
        cluster: &Cluster,
        partition: i32,
        base: i64,
    ) -> Result<(), RestoreError> {
        let mut journal = self.journal.lock().await;
        journal.set_base(partition, base);
        self.place.keep_bases(cluster, &journal).await
    }

    /// Raises `max.message.bytes` for the time of the restore where it is below `needed`. Safe to call from every
    /// partition. Gives what a person should know of this, and the limit that holds now.
    pub(crate) async fn raise_max_message_bytes(
        &self,
        cluster: &Cluster,
        needed: usize,
    ) -> Result<(Vec<String>, usize), RestoreError> {
        const NAME: &str = "max.message.bytes";
        let mut findings = Vec::new();
        let mut journal = self.journal.lock().await;
        let now = configs(cluster, &self.place.topic).await?;
        let Some(config) = now.get(NAME) else {
            return Ok((findings, 0));
        };
        // Another partition may have met a larger record a moment ago.
        if let Ok(limit) = config.value.parse::<usize>()
            && limit >= needed
        {
            return Ok((findings, limit));
        }
        if !journal.originals.contains_key(NAME) {
            let original = config.own.then(|| config.value.clone());
            journal.originals.insert(NAME.to_owned(), original);
            findings.extend(self.place.keep(cluster, &journal).await);
        }
        let set = vec![(NAME.to_owned(), ConfigOperation::Set(needed.to_string()))];
        change_and_wait(cluster, &self.place.topic, set).await?;
        Ok((findings, needed))
    }
}

/// What preparing topics gave.
#[derive(Default)]
pub(crate) struct Preparation {
    /// The topics, in the order of the plan.
    pub(crate) topics: Vec<Arc<Prepared>>,
    /// What a person should know.
    pub(crate) findings: Vec<String>,
    /// Commands for somebody who may do what this user may not.
    pub(crate) to_do: Vec<String>,
}

/// Creates missing topics, adds partitions, keeps the journal and puts the restore profile on.
pub(crate) async fn prepare(
    job: &Job,
    cluster: &Cluster,
    plan: &RestorePlan,
    journals: &Journals,
    producer: ProducerIdentity,
) -> Result<Preparation, RestoreError> {
    let append = job.target.append;
    let choice = choice_of(&job.source);
    let mut preparation = Preparation {
        findings: journals.findings.clone(),
        ..Preparation::default()
    };
    for topic in &plan.topics {
        let made_here = match &topic.create {
            Some(new) => create(cluster, &topic.target, new).await?,
            None => false,
        };
        if let Some(partitions) = topic.add_partitions {
            for (_, outcome) in cluster
                .create_partitions(&[(topic.target.clone(), partitions)], false)
                .await
            {
                outcome?;
            }
        }
        // First the topic, then the journals of others: see `journals`.
        let configs = configs(cluster, &topic.target).await?;
        let earlier = journals.of(cluster, &topic.target, made_here).await?;
        let source = source_of(plan, topic);
        let mut journal = match &earlier {
            Some(earlier) => earlier.clone(),
            None => Journal::new(source.clone(), producer),
        };
        (journal.producer_id, journal.producer_epoch) = (producer.id, producer.epoch);
        let appended = journal.appended(&source, &choice).cloned();
        match &earlier {
            Some(earlier) if earlier.source == source => {}
            // Where its records end and others begin, nobody would know after the next interruption.
            Some(earlier) if append && earlier.is_under_way() => {
                return Err(RestoreError::Refused(format!(
                    "{0}: a restore of {1} that began at {2} was not finished. Run that one again until it is complete, \
                     or end it with `kafka-restore topics finish -t {0} --forget`, before other records come behind it",
                    topic.target, earlier.source, earlier.started
                )));
            }
            _ => {
                if !journal.is_under_way() {
                    journal.started = jiff::Timestamp::now().to_string();
                }
                journal.source = source;
                journal.append = false;
                let bases = bases(cluster, topic, append).await?.into_iter();
                let stands = |partition: i32| appended.as_ref().and_then(|known| known.range(partition));
                journal.set_bases(bases.filter(|(partition, _)| stands(*partition).is_none()));
            }
        }
        journal.append |= append;
        let (place, shared) = journals.place(&topic.target);
        let mut prepared = Prepared {
            configs,
            place,
            shared,
            choice: choice.clone(),
            appended,
            follows_at: Instant::now(),
            journal: Mutex::new(journal),
        };
        prepared.follows_at = put_profile_on(cluster, topic, &prepared, &mut preparation).await?;
        preparation.topics.push(Arc::new(prepared));
    }
    Ok(preparation)
}

/// Keeps the journal, and makes the changes that the topic needs. Gives the time at which its logs follow them.
async fn put_profile_on(
    cluster: &Cluster,
    topic: &TopicPlan,
    prepared: &Prepared,
    preparation: &mut Preparation,
) -> Result<Instant, RestoreError> {
    let fills = topic.needs_fillers() || topic.gaps == Some(GapMethod::Hidden);
    let changes = profile::changes(&prepared.configs, fills);
    let mut journal = prepared.journal.lock().await;
    for change in &changes {
        journal
            .originals
            .entry(change.name.clone())
            .or_insert_with(|| change.original.clone());
    }
    match journal.append {
        true => prepared.place.keep_bases(cluster, &journal).await?,
        false => preparation
            .findings
            .extend(prepared.place.keep(cluster, &journal).await),
    }
    let (refused, follows_at) = put_on(cluster, topic, &changes, preparation).await?;
    if !refused.is_empty() {
        journal.originals.retain(|name, _| !refused.contains(name));
        preparation
            .findings
            .extend(prepared.place.keep(cluster, &journal).await);
    }
    Ok(follows_at)
}

/// Makes the changes of the profile. One that the cluster refuses is a finding with its meaning, and a command for
/// somebody else; their names are given back, with the time at which the logs follow the others.
async fn put_on(
    cluster: &Cluster,
    topic: &TopicPlan,
    changes: &[profile::ConfigChange],
    preparation: &mut Preparation,
) -> Result<(Vec<String>, Instant), RestoreError> {
    let operation =
        |change: &profile::ConfigChange| (change.name.clone(), ConfigOperation::Set(change.during.clone()));
    match change_everywhere(cluster, &topic.target, changes.iter().map(operation).collect()).await {
        Ok(follows_at) => return Ok((Vec::new(), follows_at)),
        Err(error) if error.is_retriable() => return Err(error.into()),
        Err(_) => {}
    }
    let (mut refused, mut follows_at) = (Vec::new(), Instant::now());
    // All or nothing: one by one shows which one is refused.
    for change in changes {
        match change_everywhere(cluster, &topic.target, vec![operation(change)]).await {
            Ok(time) => follows_at = time,
            Err(error) if error.is_retriable() => return Err(error.into()),
            Err(error) => {
                refused.push(change.name.clone());
                preparation.findings.push(format!(
                    "{}: the cluster does not let this user set {}={} for the time of the restore ({error}): {}",
                    topic.target,
                    change.name,
                    change.during,
                    profile::consequence(&change.name)
                ));
                // What only makes the work easier is nobody's task.
                if profile::matters(&change.name) {
                    preparation.to_do.push(commands::set_command(
                        cluster,
                        &topic.target,
                        &change.name,
                        &change.during,
                    ));
                }
            }
        }
    }
    Ok((refused, follows_at))
}

/// Says of each topic of a plan that gets records behind others whether they are there already.
pub(crate) async fn note_appended(
    job: &Job,
    cluster: &Cluster,
    plan: &mut RestorePlan,
) -> Result<(), RestoreError> {
    let choice = choice_of(&job.source);
    let mut findings = Vec::new();
    for topic in plan.topics.iter().filter(|topic| topic.create.is_none()) {
        let journals = Journals::of_one(cluster, &topic.target, job.target.topics.journal.as_ref()).await?;
        let Some(journal) = Journal::joined(journals.into_values()) else {
            continue;
        };
        let Some(appended) = journal.appended(&source_of(plan, topic), &choice) else {
            continue;
        };
        let stands = |number: i32| appended.range(number).is_some();
        if topic
            .partitions
            .iter()
            .all(|partition| stands(partition.partition))
        {
            findings.push(Finding {
                severity: Severity::Note,
                message: already_there(&topic.target, &appended.completed),
            });
        }
    }
    plan.findings.append(&mut findings);
    Ok(())
}

/// What a person is told who runs a complete restore behind others once more.
fn already_there(target: &str, completed: &str) -> String {
    format!(
        "{target}: a run of this restore that was complete at {completed} has put its records behind those of others. They \
         are not added again; only what the backup has got since then would be. To add all of them once more, say \
         `kafka-restore topics finish -t {target} --forget` before"
    )
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

/// Where a restore that begins now puts its first records: behind all that is there where that is asked for, else at the
/// ends of logs that hold nothing.
async fn bases(cluster: &Cluster, topic: &TopicPlan, append: bool) -> Result<Vec<(i32, i64)>, RestoreError> {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| TopicPartition::new(topic.target.as_str(), partition.partition))
        .collect();
    let mut ends = BTreeMap::new();
    for (partition, end) in cluster.list_offsets(&partitions, OffsetSpec::Latest).await {
        ends.insert(partition.partition, end?);
    }
    if !append {
        for (partition, start) in cluster.list_offsets(&partitions, OffsetSpec::Earliest).await {
            let start = start?;
            ends.retain(|number, end| *number != partition.partition || *end == start);
        }
    }
    Ok(ends.into_iter().collect())
}

/// Creates a topic; true where it was this process that did.
async fn create(cluster: &Cluster, name: &str, topic: &plan::NewTopic) -> Result<bool, RestoreError> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: topic.partitions,
        replication_factor: topic.replication_factor.unwrap_or(-1),
        configs: topic.configs.clone().into_iter().collect(),
    };
    let mut made_here = true;
    for (_, outcome) in cluster.create_topics(&[topic], false).await {
        match outcome {
            // Somebody was faster, or an answer was lost: the topic is there, and what is in it is looked at later.
            Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => made_here = false,
            outcome => outcome.map(drop)?,
        }
    }
    Ok(made_here)
}
