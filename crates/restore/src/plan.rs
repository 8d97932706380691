//! What a restore would do, from reading both sides and changing nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::format::MissingTimestamp;
use backup::inventory::{self, Inventory, NO_PARTITION, NO_TOPIC, PartitionObjects, TopicInventory};
use backup::layout::Grouping;
use kafka::cluster::Cluster;
use record::TopicPartition;
use serde::Serialize;

use crate::content::{self, TopicContent};
use crate::error::RestoreError;
use crate::exact;
use crate::exact::cost::ExactCost;
use crate::exact::gaps::GapMethod;
use crate::exact::survey::Survey;
use crate::execute::source_context;
use crate::job::{Create, Job, OffsetMode};
use crate::latest::{self, LatestRecords, LatestState, Records};
use crate::logs;
use crate::profile::{self, ConfigChange};
use crate::progress::{Event, Phase, Progress};
use crate::shard;
use crate::topics;
use crate::wish::{self, KnownTopic};

/// The version of the plan's schema; it grows with every change that a reader could stumble over.
pub const PLAN_VERSION: u32 = 1;

/// See the module's documentation. Serialises for people and scripts.
#[derive(Clone, Debug, Serialize)]
pub struct RestorePlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// Where the backup lies.
    pub source: String,
    /// How object names were read, in words.
    pub layout: String,
    /// Each topic, by source name.
    pub topics: Vec<TopicPlan>,
    /// Objects that belong to no topic.
    pub unmatched_objects: u64,
    /// Some of their keys.
    pub unmatched_samples: Vec<String>,
    /// What a person should know before it starts.
    pub findings: Vec<Finding>,
    /// How long the listing took.
    #[serde(skip)]
    pub listing: Duration,
    /// What was listed.
    #[serde(skip)]
    pub inventory: Arc<Inventory>,
    /// The records of topics that are restored as the latest state of each key.
    #[serde(skip)]
    pub latest: LatestRecords,
}

/// Something a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How serious it is.
    pub severity: Severity,
    /// In full sentences.
    pub message: String,
}

/// How serious a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The restore works, and something about it may surprise.
    Warning,
    /// The restore must not start like this.
    Error,
}

/// One topic of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct TopicPlan {
    /// The topic's name in the backup.
    pub source: String,
    /// The topic's name in the target.
    pub target: String,
    /// How its objects are read.
    pub content: TopicContent,
    /// The topic to create, where it does not exist.
    pub create: Option<NewTopic>,
    /// Partitions to add to an existing topic: the new number of all.
    pub add_partitions: Option<i32>,
    /// Configuration to change while restoring, and to put back at the end (of a topic that exists; that of a new one
    /// is known once it is created).
    pub profile: Vec<ConfigChange>,
    /// Target offsets equal source offsets.
    pub exact: bool,
    /// Why, in words.
    pub offsets_reason: String,
    /// What was read of a topic that is restored as the latest state of each key; zeros until that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<LatestState>,
    /// How offsets between records that have none are stepped over where offsets are exact.
    pub gaps: Option<GapMethod>,
    /// Where the rates come from by which the costs are estimated, in words.
    pub cost_basis: Option<String>,
    /// Each partition with objects, ascending.
    pub partitions: Vec<PartitionPlan>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewTopic {
    /// The number of partitions.
    pub partitions: i32,
    /// The number of replicas; `None` is the brokers' default.
    pub replication_factor: Option<i16>,
    /// Configuration, by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// One partition of a plan.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionPlan {
    /// The partition.
    pub partition: i32,
    /// Objects that hold its records.
    pub objects: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// The smallest start offset in a name.
    pub first_start_offset: Option<i64>,
    /// The largest start offset in a name.
    pub last_start_offset: Option<i64>,
    /// First offset of the target's log.
    pub target_start: i64,
    /// The offset behind the last one of the target's log.
    pub target_end: i64,
    /// The source's log start, where a snapshot tells it and no record does.
    pub log_start: Option<i64>,
    /// The source's log end, where a snapshot tells it: up to there offsets are exact too.
    pub log_end: Option<i64>,
    /// What its objects hold, where that was looked at.
    pub survey: Option<Survey>,
    /// What exact offsets cost for it, where that was looked at.
    pub cost: Option<ExactCost>,
}

impl TopicPlan {
    /// True where offsets before the first record will be filled and cut off.
    pub(crate) fn needs_fillers(&self) -> bool {
        let missing = |partition: &PartitionPlan| {
            partition.first_start_offset.or(partition.log_start) > Some(partition.target_end)
        };
        self.exact && self.partitions.iter().any(missing)
    }
}

impl RestorePlan {
    /// The first finding that forbids the restore.
    pub fn refusal(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.severity == Severity::Error)
    }

    /// Objects, stored bytes and partitions of all topics.
    pub fn totals(&self) -> (u64, u64, u64) {
        let partitions = || self.topics.iter().flat_map(|topic| &topic.partitions);
        (
            partitions().map(|partition| partition.objects).sum(),
            partitions().map(|partition| partition.stored_bytes).sum(),
            partitions().count() as u64,
        )
    }
}

impl RestorePlan {
    /// The objects of a partition of the plan.
    pub(crate) fn objects(&self, topic: &str, partition: i32) -> Result<Arc<PartitionObjects>, RestoreError> {
        let listed = self.inventory.topics.get(topic);
        let listed = listed.ok_or_else(|| RestoreError::Internal(format!("topic {topic} is not listed")))?;
        // A partition that only a snapshot knows has none.
        Ok(match listed.partitions.get(&partition) {
            Some(objects) => Arc::clone(objects),
            None => Arc::new(PartitionObjects::from_list([])),
        })
    }

    /// Where the records of a partition of the plan come from.
    pub(crate) fn records(&self, topic: &str, partition: i32) -> Result<Records, RestoreError> {
        match self.latest.get(topic, partition) {
            Some(records) => Ok(Records::Latest(records.clone())),
            None => self.objects(topic, partition).map(Records::Objects),
        }
    }
}

/// Reads both sides.
pub async fn plan(job: &Job, progress: &dyn Progress) -> Result<RestorePlan, RestoreError> {
    let mut plan = list_topics(job, progress).await?;
    let addresses: Vec<String> = job
        .target
        .cluster
        .bootstrap
        .iter()
        .map(ToString::to_string)
        .collect();
    progress.report(&Event::Phase {
        phase: Phase::Examine,
        subject: addresses.join(","),
    });
    let cluster = Cluster::connect(job.target.cluster.clone()).await?;
    examine(job, &cluster, &mut plan, progress).await?;
    if plan.refusal().is_none() {
        exact::decide(job, &cluster, &mut plan).await?;
        for topic in plan.topics.iter_mut().filter(|topic| !topic.exact) {
            forget_logs(topic);
        }
        exact::check(job, &cluster, &mut plan).await?;
        topics::note_appended(job, &cluster, &mut plan).await?;
    }
    // Last: what a topic must be like does not depend on who restores which part of it.
    if let Some(shard) = job.resources.shard {
        if job.target.append && shard.count > 1 {
            plan.findings.push(Finding {
                severity: Severity::Error,
                message: "--append cannot be split between processes with --shard: they would not know of each other \
                          where the logs ended before, which an interrupted run needs in order to go on"
                    .to_owned(),
            });
        }
        shard::keep(&mut plan, shard);
    }
    Ok(plan)
}

/// Lists the backup: a plan that knows nothing of the target yet.
pub(crate) async fn list_topics(job: &Job, progress: &dyn Progress) -> Result<RestorePlan, RestoreError> {
    let source = &job.source;
    progress.report(&Event::Phase {
        phase: Phase::List,
        subject: source.store.location().to_owned(),
    });
    let started = Instant::now();
    let on_page = |listing: inventory::ListingProgress| {
        progress.report(&Event::Listing {
            objects: listing.listed.objects,
            matched: listing.taken,
        });
    };
    let inventory =
        inventory::take(source.store.as_ref(), &source.layout, &source.selection, on_page).await?;
    let listing = started.elapsed();
    inventory.check_ambiguity()?;
    let context = source_context(source, &job.resources)?;
    let mut topics = Vec::with_capacity(inventory.topics.len());
    for (name, found) in &inventory.topics {
        topics.push(TopicPlan {
            source: name.to_string(),
            target: job.target.topic_for(name).to_owned(),
            content: content::resolve(source, &context, found).await?,
            create: None,
            add_partitions: None,
            profile: Vec::new(),
            exact: job.target.offsets == OffsetMode::Exact,
            offsets_reason: "as asked".to_owned(),
            latest: (source.latest_state && latest::is_latest(found)).then(LatestState::default),
            gaps: None,
            cost_basis: None,
            partitions: found
                .partitions
                .iter()
                .map(|(partition, objects)| partition_plan(*partition, objects))
                .collect(),
        });
    }
    let mut findings = findings(job, &inventory);
    let unsaid = source.decoding.missing_timestamp == MissingTimestamp::None;
    for topic in topics
        .iter()
        .filter(|topic| topic.content.lacks_timestamps && unsaid)
    {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "the records of {} have no timestamps in the backup, and none are made up: consumers will see none, and \
                 retention by time cannot tell their age; say --timestamps object (when their object was stored) or \
                 --timestamps now to give them some",
                topic.source
            ),
        });
    }
    let names: Vec<&str> = source
        .layout
        .generations()
        .iter()
        .map(|names| names.description())
        .collect();
    Ok(RestorePlan {
        version: PLAN_VERSION,
        source: source.store.location().to_owned(),
        layout: names.join("; "),
        topics,
        unmatched_objects: inventory.unmatched.tally.objects,
        unmatched_samples: inventory.unmatched.samples.clone(),
        findings,
        listing,
        inventory: Arc::new(inventory),
        latest: LatestRecords::default(),
    })
}

/// What the listing alone tells a person.
fn findings(job: &Job, inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, message| findings.push(Finding { severity, message });
    let named_by_keys = "objects are named by record keys: each holds only the latest record of its key, not the topic's \
                         history";
    if inventory.has_latest_state() && !job.source.latest_state {
        find(
            Severity::Error,
            format!("{named_by_keys}; say --latest-state to restore them as that"),
        );
    }
    let latest = |topic: &&TopicInventory| topic.groupings.contains(&Grouping::LatestState);
    if job.source.latest_state
        && inventory
            .topics
            .values()
            .filter(latest)
            .any(|topic| !latest::is_latest(topic))
    {
        find(
            Severity::Warning,
            format!("{named_by_keys}; they are restored as that, in the order of their offsets"),
        );
    }
    for (name, topic) in &inventory.topics {
        let objects = topic.objects();
        let is_latest = latest::is_latest(topic);
        if topic.partitions.contains_key(&NO_PARTITION) && !is_latest {
            find(
                Severity::Error,
                format!(
                    "the names of some of the {objects} objects of {name:?} say no partition, and others do, so that nobody \
                     knows where their records belong; give one template (--template), or print the records with \
                     kafka-restore cat and produce them with a client that chooses partitions by key"
                ),
            );
        }
        if **name == *NO_TOPIC {
            find(
                Severity::Error,
                format!(
                    "the names of {objects} objects say no topic; name the one topic that they are of with --topic, or give \
                     the connector's configuration (--connector-config)"
                ),
            );
        }
        let records = &job.source.records;
        if is_latest && (records.from_offset, records.to_offset) != (None, None) {
            find(
                Severity::Error,
                format!(
                    "{name}: names that say no partition leave nothing that --from-offset and --to-offset could mean; \
                     --from-time and --to-time choose by timestamp"
                ),
            );
        }
        if is_latest && job.target.offsets == OffsetMode::Exact {
            find(
                Severity::Error,
                format!(
                    "{name}: the latest record of each key cannot get its original offset, since nobody knows which \
                     partition it was in; leave --offsets exact out"
                ),
            );
        }
    }
    findings
}

async fn examine(
    job: &Job,
    cluster: &Cluster,
    plan: &mut RestorePlan,
    progress: &dyn Progress,
) -> Result<(), RestoreError> {
    let existing = cluster.topics(None).await?;
    let known = wish::known(job, &plan.inventory, &mut plan.findings).await?;
    for index in 0..plan.topics.len() {
        let ready = plan.refusal().is_none();
        let topic = &mut plan.topics[index];
        let is_latest = topic.latest.is_some();
        let needed = topic
            .partitions
            .iter()
            .map(|partition| partition.partition + 1)
            .max()
            .unwrap_or(0);
        let Some(metadata) = existing.iter().find(|existing| existing.name == topic.target) else {
            plan_creation(
                job,
                topic,
                known.get(&topic.source),
                needed,
                cluster.brokers().len(),
                existing.iter().map(|topic| topic.name.as_str()),
                &mut plan.findings,
            );
            let count = topic.create.as_ref().map(|new| new.partitions);
            know_logs(job, topic, known.get(&topic.source), count.unwrap_or(0));
            if let Some(count) = count.filter(|_| is_latest && ready) {
                latest::settle(job, plan, index, count, progress).await?;
            }
            continue;
        };
        let count = i32::try_from(metadata.partitions.len()).unwrap_or(i32::MAX);
        if is_latest && ready {
            latest::settle(job, plan, index, count, progress).await?;
        }
        let topic = &mut plan.topics[index];
        let wished = job
            .target
            .topics
            .partitions
            .or(known.get(&topic.source).map(|known| known.partitions));
        plan_partitions(job, topic, count, needed, wished, &mut plan.findings);
        let planned = topic.add_partitions.unwrap_or(count);
        know_logs(job, topic, known.get(&topic.source), planned);
        let configs = topics::configs(cluster, &topic.target).await?;
        let differences =
            topics::differences(job, cluster, topic, known.get(&topic.source), planned, &configs).await;
        plan.findings.extend(differences);
        topic.profile = profile::changes(&configs, topic.needs_fillers());
        let there: Vec<_> = topic
            .partitions
            .iter()
            .map(|plan| plan.partition)
            .filter(|number| (0..count).contains(number))
            .map(|number| TopicPartition::new(topic.target.as_str(), number))
            .collect();
        let logs = logs::ranges(cluster, &there).await?;
        for partition in &mut topic.partitions {
            if let Some(range) = logs.get(&partition.partition) {
                (partition.target_start, partition.target_end) = *range;
            }
        }
    }
    Ok(())
}

/// Notes where the source's logs ended, and adds those of its partitions that left no objects, where original offsets are
/// wanted and nothing is left out behind them.
fn know_logs(job: &Job, topic: &mut TopicPlan, known: Option<&KnownTopic>, count: i32) {
    let (records, selection) = (&job.source.records, &job.source.selection);
    let is_cut = records.to_offset.is_some() || records.from_time.is_some() || records.to_time.is_some();
    if job.target.offsets == OffsetMode::Map || job.target.append || job.source.latest_state || is_cut {
        return;
    }
    let logs = known.map_or(&[][..], |known| &known.logs[..]);
    for (number, log) in (0..count).zip(logs) {
        let Some((start, end)) = log.filter(|(start, end)| *end > 0 && (0..=*end).contains(start)) else {
            continue;
        };
        let found = topic.partitions.iter_mut().find(|plan| plan.partition == number);
        match found {
            Some(partition) => partition.log_end = Some(end),
            None if !selection.has_partition(Some(number)) || records.from_offset.is_some() => {}
            None => topic.partitions.push(PartitionPlan {
                log_start: Some(start),
                log_end: Some(end),
                ..PartitionPlan::empty(number)
            }),
        }
    }
    topic.partitions.sort_by_key(|partition| partition.partition);
}

/// Contiguous offsets have nothing to do with where the source's logs ended.
fn forget_logs(topic: &mut TopicPlan) {
    topic
        .partitions
        .retain(|partition| partition.objects > 0 || partition.log_end.is_none());
    for partition in &mut topic.partitions {
        partition.log_end = None;
    }
}

fn plan_creation<'a>(
    job: &Job,
    topic: &mut TopicPlan,
    known: Option<&KnownTopic>,
    needed: i32,
    brokers: usize,
    existing: impl Iterator<Item = &'a str>,
    findings: &mut Vec<Finding>,
) {
    let wishes = &job.target.topics;
    let target = &topic.target;
    if wishes.create == Create::Never {
        let near = near_names(target, existing);
        findings.push(Finding {
            severity: Severity::Error,
            message: format!("the cluster has no topic {target}{near}; create it, or let the restore do it with --create auto"),
        });
        return;
    }
    if topic.latest.is_some() && wishes.partitions.is_none() && known.is_none() {
        findings.push(Finding {
            severity: Severity::Error,
            message: format!(
                "the names of the objects of {} say no partition, so that nobody knows how many {target} had; say it with \
                 --partitions (keys go where producers put them among so many), or create the topic first",
                topic.source
            ),
        });
        return;
    }
    topic.create = Some(wish::creation(wishes, target, known, needed, brokers, findings));
}

/// A topic of `count` partitions gets as many as the backup needs, and as many as are wished for, if it may.
fn plan_partitions(
    job: &Job,
    topic: &mut TopicPlan,
    count: i32,
    needed: i32,
    wished: Option<i32>,
    findings: &mut Vec<Finding>,
) {
    if job.target.topics.add_partitions {
        let enough = needed.max(wished.unwrap_or(0));
        topic.add_partitions = Some(enough).filter(|enough| *enough > count);
        return;
    }
    if count >= needed {
        return;
    }
    let target = &topic.target;
    findings.push(Finding {
        severity: Severity::Error,
        message: format!(
            "{target} has {count} partitions and the backup has records for {needed}; add them with --add-partitions \
             (keys then map to other partitions for producers), or restore into another topic with --rename"
        ),
    });
}

impl PartitionPlan {
    /// A partition of which nothing is known yet.
    pub(crate) fn empty(partition: i32) -> Self {
        Self {
            partition,
            objects: 0,
            stored_bytes: 0,
            first_start_offset: None,
            last_start_offset: None,
            target_start: 0,
            target_end: 0,
            log_start: None,
            log_end: None,
            survey: None,
            cost: None,
        }
    }
}

fn partition_plan(partition: i32, objects: &PartitionObjects) -> PartitionPlan {
    let last = objects.len().checked_sub(1);
    PartitionPlan {
        objects: objects.len() as u64,
        stored_bytes: objects.bytes(),
        first_start_offset: last.and_then(|_| objects.start_offset(0)),
        last_start_offset: last.and_then(|last| objects.start_offset(last)),
        ..PartitionPlan::empty(partition)
    }
}

/// `; did you mean X or Y?`, or nothing.
fn near_names<'a>(name: &str, existing: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<_> = existing
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(distance, other)| {
            *distance <= 2.max(name.len() / 4) || other.contains(name) || name.contains(*other)
        })
        .collect();
    near.sort();
    match near
        .iter()
        .take(3)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => String::new(),
        names => format!(" (there is {})", names.join(", ")),
    }
}
