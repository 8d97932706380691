//! What becomes of groups in the target: old offset, new offset and lag of every partition, changing nothing.
//!
//! Brokers take nearly everything: offsets below zero and beyond the end of the log, and a commit for a group that does
//! not exist. So everything is checked here.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};
use kafka::admin::OffsetSpec;
use kafka::cluster::{Cluster, TopicMetadata};
use kafka::error::KafkaError;
use kafka::groups::{GroupDescription, GroupKind};
use record::TopicPartition;
use serde::Serialize;

use super::translate::{Place, RestoredTopic, Translation};
use super::{GroupOffset, GroupOffsets};
use crate::error::RestoreError;
use crate::journal::GROUP_PREFIX;
use crate::snapshot::read_group;

/// Groups looked at, or committed, at the same time.
pub(super) const AT_ONCE: usize = 16;

/// What is to be done with groups.
#[derive(Clone, Debug, Serialize)]
pub struct GroupsPlan {
    /// Each group, by id.
    pub groups: Vec<GroupPlan>,
    /// What a person should know, in full sentences.
    pub findings: Vec<String>,
}

/// What is to be done with one group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupPlan {
    /// Its id.
    pub id: String,
    /// `classic`, `consumer` or `share`: what it is in the target, or else what it was.
    pub kind: String,
    /// Whether the target has it already.
    pub exists: bool,
    /// Who is in it at the moment: such a group is left alone.
    pub members: Vec<String>,
    /// Why it cannot be committed to, whoever is in it; such a group is left to somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Its partitions.
    pub rows: Vec<Row>,
}

/// What is to be done with a partition of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The topic in the target.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What the group had committed in the source.
    pub source: Option<i64>,
    /// What the group has committed in the target now.
    pub old: Option<i64>,
    /// What it shall have committed; none: nothing is done, and `note` says why.
    pub new: Option<i64>,
    /// How many offsets lie between `new` and the end of the log.
    pub lag: Option<i64>,
    /// What is special about it.
    pub note: Option<String>,
    /// The text that goes with the commit.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metadata: String,
}

impl GroupPlan {
    /// A plan for a group that looks like `there` in the target, if it is there.
    pub(super) fn new(
        id: &str,
        kind: &GroupKind,
        there: Option<&GroupDescription>,
        rows: impl IntoIterator<Item = Row>,
    ) -> Self {
        let members = there.iter().flat_map(|there| &there.members);
        Self {
            id: id.to_owned(),
            kind: kind.name().to_owned(),
            exists: there.is_some(),
            members: members.map(ToString::to_string).collect(),
            trouble: None,
            rows: rows.into_iter().collect(),
        }
    }

    /// The rows that something is to be done about.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Row, i64)> {
        self.rows.iter().filter_map(|row| Some((row, row.new?)))
    }

    /// The rows whose committed offset finds no place.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(|row| row.source.is_some() && row.new.is_none())
    }

    pub(super) fn is_share(&self) -> bool {
        GroupKind::from_name(&self.kind) == GroupKind::Share
    }
}

/// Plans what becomes of `groups` in the target, changing nothing. Topics that were not restored to their end are left
/// out, unless `incomplete` says that they are wanted all the same.
pub async fn plan(
    cluster: &Cluster,
    groups: &[GroupOffsets],
    translation: &Translation,
    incomplete: bool,
) -> Result<GroupsPlan, RestoreError> {
    let mut findings = Vec::new();
    let logs = logs(cluster, groups, translation).await?;
    let context = Planning {
        cluster,
        translation,
        incomplete,
        logs: &logs,
    };
    let context = &context;
    let planned = stream::iter(groups.iter().filter(|group| !group.id.starts_with(GROUP_PREFIX)))
        .map(|group| async move { context.group(group).await })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut plans = Vec::with_capacity(planned.len());
    for planned in planned {
        let planned = planned?;
        if !planned.rows.is_empty() {
            plans.push(planned);
        }
    }
    let unknown: BTreeSet<&str> = groups
        .iter()
        .flat_map(|group| &group.offsets)
        .map(|offset| offset.topic.as_str())
        .filter(|topic| translation.topic(topic).is_none())
        .collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.into_iter().collect();
        findings.push(format!(
            "topics that this restore knows nothing of, and whose offsets are left out: {}",
            names.join(", ")
        ));
    }
    if plans.iter().any(|plan| plan.changes().next().is_some()) {
        findings.push(RETENTION.to_owned());
    }
    Ok(GroupsPlan {
        groups: plans,
        findings,
    })
}

/// What a person should know of every commit to a group without members.
pub(super) const RETENTION: &str = "brokers drop the offsets of a group that stays without members for \
     offsets.retention.minutes (7 days by default); until its consumers are back, the same command puts them back again";

/// Log start and end of a partition, or why they are not known.
type Log = Result<(i64, i64), String>;

type Logs = BTreeMap<TopicPartition, Log>;

/// Log start and end of every partition of every topic that is meant.
async fn logs(
    cluster: &Cluster,
    groups: &[GroupOffsets],
    translation: &Translation,
) -> Result<Logs, RestoreError> {
    let targets: BTreeSet<String> = groups
        .iter()
        .flat_map(|group| &group.offsets)
        .filter_map(|offset| Some(translation.topic(&offset.topic)?.target))
        .collect();
    let mut logs = Logs::new();
    if targets.is_empty() {
        return Ok(logs);
    }
    let names: Vec<&str> = targets.iter().map(String::as_str).collect();
    let found = cluster.topics(Some(&names)).await?;
    let partitions: Vec<TopicPartition> = found.iter().flat_map(TopicMetadata::topic_partitions).collect();
    let starts = cluster.list_offsets(&partitions, OffsetSpec::Earliest).await;
    let ends = cluster.list_offsets(&partitions, OffsetSpec::Latest).await;
    for ((partition, start), (_, end)) in starts.into_iter().zip(ends) {
        let log = match (start, end) {
            (Ok(start), Ok(end)) => Ok((start, end)),
            (Err(error), _) | (_, Err(error)) if error.is_retriable() => return Err(error.into()),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        };
        logs.insert(partition, log);
    }
    Ok(logs)
}

/// What all groups are planned with.
struct Planning<'a> {
    cluster: &'a Cluster,
    translation: &'a Translation,
    incomplete: bool,
    logs: &'a Logs,
}

impl Planning<'_> {
    /// The plan of one group. One that this user may not look at is planned without what stands there now.
    async fn group(&self, group: &GroupOffsets) -> Result<GroupPlan, KafkaError> {
        let wanted = group.kind.as_deref().map(GroupKind::from_name);
        match self.look(&group.id, wanted.as_ref()).await {
            Ok((kind, there, old)) => {
                let rows = group.offsets.iter().filter_map(|offset| self.row(offset, &old));
                let mut plan = GroupPlan::new(&group.id, &kind, there.as_ref(), rows);
                let was_share = wanted.map(|wanted| wanted == GroupKind::Share);
                if there.is_some() && was_share.is_some_and(|was| was != plan.is_share()) {
                    plan.trouble = Some(format!(
                        "the target has a {} group of this name, and the source's was a {} group",
                        plan.kind,
                        group.kind.as_deref().unwrap_or("classic")
                    ));
                }
                Ok(plan)
            }
            Err(error) if error.is_retriable() => Err(error),
            Err(error) => {
                let kind = wanted.unwrap_or(GroupKind::Classic);
                let rows = group
                    .offsets
                    .iter()
                    .filter_map(|offset| self.row(offset, &BTreeMap::new()));
                let mut plan = GroupPlan::new(&group.id, &kind, None, rows);
                plan.trouble = Some(format!("it cannot be looked at: {error}"));
                Ok(plan)
            }
        }
    }

    /// The group as it is in the target: its kind, the group itself if it is there, and what it has committed.
    async fn look(
        &self,
        id: &str,
        wanted: Option<&GroupKind>,
    ) -> Result<(GroupKind, Option<GroupDescription>, Committed), KafkaError> {
        let there = self.cluster.describe_group(id, None).await?;
        let kind = match (&there, wanted) {
            (Some(there), _) => there.kind.clone(),
            (None, Some(kind)) => kind.clone(),
            (None, None) => GroupKind::Classic,
        };
        let committed = match there {
            Some(_) => read_group(self.cluster, id, Some(&kind)).await?,
            None => Vec::new(),
        };
        let committed = committed.into_iter().filter_map(|offset| {
            Some((
                TopicPartition::new(offset.topic, offset.partition),
                offset.offset?,
            ))
        });
        Ok((kind, there, committed.collect()))
    }

    /// What becomes of an offset; nothing where its topic is not known.
    fn row(&self, offset: &GroupOffset, old: &Committed) -> Option<Row> {
        let topic = self.translation.topic(&offset.topic)?;
        let at = TopicPartition::new(topic.target.as_str(), offset.partition);
        let mut row = Row {
            old: old.get(&at).copied(),
            topic: topic.target.clone(),
            partition: offset.partition,
            source: offset.offset,
            new: None,
            lag: None,
            note: None,
            metadata: offset.metadata.clone(),
        };
        match (offset.offset, self.logs.get(&at)) {
            (None, _) => row.note = Some("nothing was committed".to_owned()),
            (Some(..0), _) => row.note = Some("the offset is negative".to_owned()),
            (_, None) => row.note = Some("the target has no such partition".to_owned()),
            (Some(_), _) if !topic.complete && !self.incomplete => {
                row.note = Some("the topic is not fully restored".to_owned());
            }
            (Some(_), Some(Err(error))) => row.note = Some(error.clone()),
            (Some(source), Some(Ok(log))) => self.place(&mut row, source, &topic, *log),
        }
        Some(row)
    }

    fn place(&self, row: &mut Row, source: i64, topic: &RestoredTopic, log: (i64, i64)) {
        let place = self.translation.places(topic, row.partition).place(source, log);
        let note = match place {
            Place::At(_) => None,
            Place::End(_) => Some("at the end of the log"),
            Place::Start(_) => Some("at the start of the log: what lay before is not there"),
            Place::Unknown => {
                Some("the reports at hand do not know its place: give those of all runs with --report")
            }
        };
        row.note = note.map(str::to_owned);
        row.new = place.offset();
        row.lag = row.new.map(|new| log.1 - new);
    }
}

type Committed = BTreeMap<TopicPartition, i64>;
