//! What a restore would do, from reading both sides and changing nothing.

mod listing;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backup::inventory::{Inventory, PartitionObjects};
use kafka::cluster::Cluster;
use serde::Serialize;

use crate::content::TopicContent;
use crate::error::RestoreError;
use crate::exact;
use crate::exact::cost::ExactCost;
use crate::exact::gaps::GapMethod;
use crate::exact::survey::Survey;
use crate::job::Job;
use crate::latest::{LatestRecords, LatestState, Records};
use crate::profile::ConfigChange;
use crate::progress::{Event, Phase, Progress};
use crate::shard;
use crate::topics;

pub(crate) use listing::list_topics;

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
    target::examine(job, &cluster, &mut plan, progress).await?;
    if plan.refusal().is_none() {
        exact::decide(job, &cluster, &mut plan).await?;
        for topic in plan.topics.iter_mut().filter(|topic| !topic.exact) {
            target::forget_logs(topic);
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
