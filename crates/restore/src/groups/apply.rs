//! Puts committed offsets into the target: planned and shown first, committed to groups without members only, read
//! back and compared, with what stood there before kept for [`undo`].
//!
//! Brokers take nearly everything: offsets below zero and beyond the end of the log, and a commit for a group that does
//! not exist. So everything is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use kafka::groups::{CommittedOffset, GroupKind};
use record::TopicPartition;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::translate::{Place, Translation};
use super::{GroupOffset, GroupOffsets, GroupsFile};
use crate::error::RestoreError;
use crate::file::write_whole;
use crate::journal::GROUP_PREFIX;
use crate::snapshot::read_group;

/// Groups looked at, or committed, at the same time.
const AT_ONCE: usize = 16;

/// How often an active group is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(500);

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
    /// The rows that something is to be done about.
    fn changes(&self) -> impl Iterator<Item = (&Row, i64)> {
        self.rows.iter().filter_map(|row| Some((row, row.new?)))
    }

    fn is_share(&self) -> bool {
        GroupKind::from_name(&self.kind) == GroupKind::Share
    }
}

/// How it went with a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Applied {
    /// Committed, read back, and equal.
    Done {
        /// Partitions.
        partitions: usize,
    },
    /// There was nothing to commit.
    Nothing,
    /// It has members; nothing was committed.
    Active {
        /// Who they are.
        members: Vec<String>,
    },
    /// Something could not be committed, or read back differently.
    Failed {
        /// Why, in full sentences.
        errors: Vec<String>,
    },
}

/// How it went with all groups.
#[derive(Clone, Debug, Serialize)]
pub struct GroupsReport {
    /// The version of this schema.
    pub version: u32,
    /// Each group, by id, with what was planned and how it went.
    pub groups: Vec<GroupReport>,
    /// What a person should know.
    pub findings: Vec<String>,
    /// What is left to be done by hand, as commands.
    pub to_do: Vec<String>,
    /// The file that `groups undo` takes, where anything was changed.
    pub undo: Option<String>,
}

/// How it went with a group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// What was planned.
    #[serde(flatten)]
    pub plan: GroupPlan,
    /// How it went.
    pub applied: Applied,
}

impl GroupsReport {
    /// True where everything that was planned is done.
    pub fn is_done(&self) -> bool {
        self.to_do.is_empty()
            && self
                .groups
                .iter()
                .all(|group| matches!(group.applied, Applied::Done { .. } | Applied::Nothing))
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
    let planned = stream::iter(groups.iter().filter(|group| !group.id.starts_with(GROUP_PREFIX)))
        .map(|group| plan_group(cluster, group, translation, incomplete, &logs))
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut plans = Vec::with_capacity(planned.len());
    for (planned, id) in planned {
        match planned {
            Ok(plan) if plan.rows.is_empty() => {}
            Ok(plan) => plans.push(plan),
            Err(error) if error.is_retriable() => return Err(error.into()),
            Err(error) => findings.push(format!(
                "group {id} cannot be looked at, and is left out: {error}"
            )),
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
        findings.push(
            "brokers drop the offsets of a group that stays without members for offsets.retention.minutes (7 days by \
             default); until its consumers are back, the same command puts them back again"
                .to_owned(),
        );
    }
    Ok(GroupsPlan {
        groups: plans,
        findings,
    })
}

type Logs = BTreeMap<TopicPartition, (i64, i64)>;

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
    let partitions: Vec<TopicPartition> = found
        .iter()
        .flat_map(|topic| {
            let numbers = topic.partitions.iter().map(|partition| partition.partition);
            numbers.map(|number| TopicPartition::new(topic.name.as_str(), number))
        })
        .collect();
    let starts = cluster.list_offsets(&partitions, OffsetSpec::Earliest).await;
    let ends = cluster.list_offsets(&partitions, OffsetSpec::Latest).await;
    for ((partition, start), (_, end)) in starts.into_iter().zip(ends) {
        logs.insert(partition, (start?, end?));
    }
    Ok(logs)
}

async fn plan_group<'a>(
    cluster: &Cluster,
    group: &'a GroupOffsets,
    translation: &Translation,
    incomplete: bool,
    logs: &Logs,
) -> (Result<GroupPlan, KafkaError>, &'a str) {
    let planned = async {
        let there = cluster.describe_group(&group.id, None).await?;
        let kind = match (&there, &group.kind) {
            (Some(there), _) => there.kind.clone(),
            (None, Some(kind)) => GroupKind::from_name(kind),
            (None, None) => GroupKind::Classic,
        };
        let committed = match there {
            Some(_) => read_group(cluster, &group.id, Some(&kind)).await?,
            None => Vec::new(),
        };
        let old: BTreeMap<(&str, i32), Option<i64>> = committed
            .iter()
            .map(|offset| ((offset.topic.as_str(), offset.partition), offset.offset))
            .collect();
        let row = |offset: &GroupOffset| {
            let topic = translation.topic(&offset.topic)?;
            let at = TopicPartition::new(topic.target.as_str(), offset.partition);
            let mut row = Row {
                old: old.get(&(&*at.topic, at.partition)).copied().flatten(),
                topic: topic.target.clone(),
                partition: offset.partition,
                source: offset.offset,
                new: None,
                lag: None,
                note: None,
                metadata: offset.metadata.clone(),
            };
            let mut note = |text: &str| row.note = Some(text.to_owned());
            match (offset.offset, logs.get(&at)) {
                (None, _) => note("nothing was committed"),
                (Some(..0), _) => note("the offset is negative"),
                (_, None) => note("the target has no such partition"),
                (Some(_), _) if !topic.complete && !incomplete => note("the topic is not fully restored"),
                (Some(source), Some(log)) => {
                    let place = translation.places(&topic, offset.partition).place(source, *log);
                    match place {
                        Place::At(_) => {}
                        Place::End(_) => note("at the end of the log"),
                        Place::Start(_) => note("at the start of the log: what lay before is not there"),
                        Place::Unknown => {
                            note("its place is in the report of an earlier run: give that with --report too");
                        }
                    }
                    row.new = place.offset();
                    row.lag = row.new.map(|new| log.1 - new);
                }
            }
            Some(row)
        };
        Ok(GroupPlan {
            rows: group.offsets.iter().filter_map(row).collect(),
            id: group.id.clone(),
            kind: kind.name().to_owned(),
            exists: there.is_some(),
            members: there
                .iter()
                .flat_map(|there| &there.members)
                .map(ToString::to_string)
                .collect(),
        })
    };
    (planned.await, &group.id)
}

/// What stands where `plan` would commit, for [`undo`].
pub async fn before(cluster: &Cluster, plan: &GroupsPlan) -> Result<GroupsFile, RestoreError> {
    let mut groups = Vec::with_capacity(plan.groups.len());
    for group in plan
        .groups
        .iter()
        .filter(|group| group.changes().next().is_some())
    {
        let kind = GroupKind::from_name(&group.kind);
        let there = match group.exists {
            true => read_group(cluster, &group.id, Some(&kind)).await?,
            false => Vec::new(),
        };
        let offsets = group.changes().map(|(row, _)| {
            let found = there
                .iter()
                .find(|offset| offset.topic == row.topic && offset.partition == row.partition);
            found.cloned().unwrap_or_else(|| GroupOffset {
                offset: None,
                ..GroupOffset::new(row.topic.as_str(), row.partition, 0)
            })
        });
        groups.push(GroupOffsets {
            id: group.id.clone(),
            kind: Some(group.kind.clone()),
            state: None,
            offsets: offsets.collect(),
        });
    }
    Ok(GroupsFile::new(groups))
}

/// Keeps what stands there in the file `undo`, if there is anything to change, and then does what `plan` says.
pub async fn apply_with_undo(
    cluster: &Cluster,
    plan: GroupsPlan,
    undo: &Path,
    wait: Duration,
) -> Result<GroupsReport, RestoreError> {
    let before = before(cluster, &plan).await?;
    if !before.groups.is_empty() {
        let failed = |message: String| {
            RestoreError::Refused(format!(
                "the undo file {} cannot be written, and nothing was committed: {message}",
                undo.display()
            ))
        };
        let bytes = serde_json::to_vec_pretty(&before).map_err(|error| failed(error.to_string()))?;
        write_whole(undo, &bytes).map_err(|error| failed(error.to_string()))?;
    }
    let mut report = apply(cluster, plan, wait).await;
    if !before.groups.is_empty() {
        report.undo = Some(undo.display().to_string());
    }
    Ok(report)
}

/// Does what `plan` says. A group with members is waited for until `wait` is over, and else left alone.
pub async fn apply(cluster: &Cluster, plan: GroupsPlan, wait: Duration) -> GroupsReport {
    let deadline = Instant::now() + wait.min(Duration::from_secs(365 * 86_400));
    let applied = stream::iter(plan.groups)
        .map(|group| async move {
            let applied = apply_group(cluster, &group, deadline).await;
            GroupReport { plan: group, applied }
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let unfinished = applied
        .iter()
        .filter(|group| matches!(group.applied, Applied::Active { .. } | Applied::Failed { .. }));
    let to_do = unfinished
        .flat_map(|group| commands(cluster, &group.plan))
        .collect();
    GroupsReport {
        version: super::GROUPS_VERSION,
        groups: applied,
        findings: plan.findings,
        to_do,
        undo: None,
    }
}

async fn apply_group(cluster: &Cluster, group: &GroupPlan, deadline: Instant) -> Applied {
    let changes: Vec<(TopicPartition, CommittedOffset)> = group
        .changes()
        .map(|(row, new)| {
            let committed = CommittedOffset {
                offset: new,
                // That of the source says nothing about the logs of this cluster.
                leader_epoch: None,
                metadata: row.metadata.clone(),
            };
            (TopicPartition::new(row.topic.as_str(), row.partition), committed)
        })
        .collect();
    if changes.is_empty() {
        return Applied::Nothing;
    }
    match wait_for(cluster, group, deadline).await {
        Ok(members) if members.is_empty() => {}
        Ok(members) => return Applied::Active { members },
        Err(error) => {
            return Applied::Failed {
                errors: vec![error.to_string()],
            };
        }
    }
    commit(cluster, &group.id, group.is_share(), &changes).await
}

/// The members that a group still has when patience is over; none once it has none.
async fn wait_for(
    cluster: &Cluster,
    group: &GroupPlan,
    deadline: Instant,
) -> Result<Vec<String>, KafkaError> {
    loop {
        let there = cluster.describe_group(&group.id, None).await?;
        let members = there.map(|there| there.members).unwrap_or_default();
        if members.is_empty() || Instant::now() + POLL > deadline {
            return Ok(members.iter().map(ToString::to_string).collect());
        }
        sleep(POLL).await;
    }
}

/// Commits, reads back and compares.
async fn commit(
    cluster: &Cluster,
    id: &str,
    share: bool,
    changes: &[(TopicPartition, CommittedOffset)],
) -> Applied {
    let mut errors = Vec::new();
    let outcomes: Vec<Result<(), KafkaError>> = if share {
        match cluster.has_share_groups().await {
            Ok(true) => {
                let starts: Vec<_> = changes
                    .iter()
                    .map(|(at, committed)| (at.clone(), committed.offset))
                    .collect();
                let done = cluster.alter_share_group_starts(id, &starts).await;
                done.into_iter().map(|(_, outcome)| outcome).collect()
            }
            Ok(false) => {
                let errors =
                    vec!["it is a share group, and this cluster has none (brokers from 4.1 on)".to_owned()];
                return Applied::Failed { errors };
            }
            Err(error) => vec![Err(error)],
        }
    } else {
        let done = cluster.commit_offsets(id, changes).await;
        done.into_iter().map(|(_, outcome)| outcome).collect()
    };
    for error in outcomes.into_iter().filter_map(Result::err) {
        if error.code() == Some(ResponseError::UnknownMemberId)
            || error.code() == Some(ResponseError::NonEmptyGroup)
        {
            return Applied::Active {
                members: vec!["somebody who joined a moment ago".to_owned()],
            };
        }
        errors.push(error.to_string());
    }
    if errors.is_empty() {
        let kind = if share {
            GroupKind::Share
        } else {
            GroupKind::Classic
        };
        match read_group(cluster, id, Some(&kind)).await {
            Err(error) => errors.push(format!("what was committed cannot be read back: {error}")),
            Ok(found) => errors.extend(changes.iter().filter_map(|(at, wanted)| {
                let stands = found
                    .iter()
                    .find(|found| *found.topic == *at.topic && found.partition == at.partition)
                    .and_then(|found| found.offset);
                (stands != Some(wanted.offset)).then(|| {
                    let stands = stands.map_or_else(|| "nothing".to_owned(), |offset| offset.to_string());
                    format!("{at} reads back as {stands} instead of {}", wanted.offset)
                })
            })),
        }
    }
    // Many partitions mostly fail for one reason.
    let more = errors.len().saturating_sub(5);
    errors.truncate(5);
    if more > 0 {
        errors.push(format!("and {more} more"));
    }
    match errors.is_empty() {
        true => Applied::Done {
            partitions: changes.len(),
        },
        false => Applied::Failed { errors },
    }
}

/// The commands that do by hand what could not be done, with Kafka's own tool.
fn commands(cluster: &Cluster, group: &GroupPlan) -> Vec<String> {
    let servers: Vec<String> = cluster
        .config()
        .bootstrap
        .iter()
        .map(ToString::to_string)
        .collect();
    let tool = if group.is_share() {
        "kafka-share-groups.sh"
    } else {
        "kafka-consumer-groups.sh"
    };
    let command = |(row, new): (&Row, i64)| {
        format!(
            "{tool} --bootstrap-server {} --group {} --topic {}:{} --reset-offsets --to-offset {new} --execute",
            servers.join(","),
            quoted(&group.id),
            row.topic,
            row.partition
        )
    };
    group.changes().map(command).collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Puts back what stood there before: commits what was committed, and takes away what was not.
pub async fn undo(
    cluster: &Cluster,
    file: &GroupsFile,
    wait: Duration,
) -> Result<GroupsReport, RestoreError> {
    let deadline = Instant::now() + wait.min(Duration::from_secs(365 * 86_400));
    let mut groups = Vec::with_capacity(file.groups.len());
    for group in &file.groups {
        let there = cluster.describe_group(&group.id, None).await?;
        let kind = match (&there, &group.kind) {
            (Some(there), _) => there.kind.clone(),
            (None, kind) => GroupKind::from_name(kind.as_deref().unwrap_or_default()),
        };
        let old = match &there {
            Some(_) => read_group(cluster, &group.id, Some(&kind)).await?,
            None => Vec::new(),
        };
        let rows = group.offsets.iter().map(|offset| Row {
            topic: offset.topic.clone(),
            partition: offset.partition,
            source: None,
            old: old
                .iter()
                .find(|old| old.topic == offset.topic && old.partition == offset.partition)
                .and_then(|old| old.offset),
            new: offset.offset,
            lag: None,
            note: offset.offset.is_none().then(|| "nothing stood there".to_owned()),
            metadata: offset.metadata.clone(),
        });
        let plan = GroupPlan {
            rows: rows.collect(),
            id: group.id.clone(),
            kind: kind.name().to_owned(),
            exists: there.is_some(),
            members: there
                .iter()
                .flat_map(|there| &there.members)
                .map(ToString::to_string)
                .collect(),
        };
        let applied = match apply_group(cluster, &plan, deadline).await {
            Applied::Done { .. } | Applied::Nothing if plan.exists => {
                take_away(cluster, &plan, deadline).await
            }
            applied => applied,
        };
        groups.push(GroupReport { plan, applied });
    }
    let unfinished = groups
        .iter()
        .filter(|group| matches!(group.applied, Applied::Active { .. } | Applied::Failed { .. }));
    let to_do = unfinished
        .flat_map(|group| commands(cluster, &group.plan))
        .collect();
    Ok(GroupsReport {
        version: super::GROUPS_VERSION,
        groups,
        findings: Vec::new(),
        to_do,
        undo: None,
    })
}

/// Takes away what the rows without a new offset have committed.
async fn take_away(cluster: &Cluster, plan: &GroupPlan, deadline: Instant) -> Applied {
    let surplus: Vec<TopicPartition> = plan
        .rows
        .iter()
        .filter(|row| row.new.is_none() && row.old.is_some())
        .map(|row| TopicPartition::new(row.topic.as_str(), row.partition))
        .collect();
    let partitions = plan.changes().count() + surplus.len();
    let done = match partitions {
        0 => Applied::Nothing,
        partitions => Applied::Done { partitions },
    };
    if surplus.is_empty() {
        return done;
    }
    if plan.is_share() {
        return Applied::Failed {
            errors: vec!["the start of a share group can be set and not taken away".to_owned()],
        };
    }
    match wait_for(cluster, plan, deadline).await {
        Ok(members) if members.is_empty() => {}
        Ok(members) => return Applied::Active { members },
        Err(error) => {
            return Applied::Failed {
                errors: vec![error.to_string()],
            };
        }
    }
    let outcomes = cluster.delete_offsets(&plan.id, &surplus).await;
    let gone = |error: &KafkaError| error.code() == Some(ResponseError::GroupIdNotFound);
    let errors: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(_, outcome)| outcome.err())
        .filter(|error| !gone(error))
        .map(|error| error.to_string())
        .collect();
    match errors.is_empty() {
        true => done,
        false => Applied::Failed { errors },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        assert_eq!(quoted("billing-1.x_y"), "billing-1.x_y");
        assert_eq!(quoted("my group"), "'my group'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
