//! Puts committed offsets into the target, as planned: committed to groups without members only, read back and
//! compared, with what stood there before kept for [`undo`](super::undo).

use std::path::Path;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use kafka::groups::{CommittedOffset, GroupKind};
use record::TopicPartition;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::plan::{AT_ONCE, GroupPlan, GroupsPlan, Row};
use super::{GroupOffset, GroupOffsets, GroupsFile};
use crate::error::RestoreError;
use crate::file::write_whole;
use crate::snapshot::read_group;
use crate::topics::commands::servers;

/// How often an active group is looked at while it is waited for.
const POLL: Duration = Duration::from_millis(500);

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
    /// How it went with `groups`, and what is left to do by hand.
    pub(super) fn new(cluster: &Cluster, groups: Vec<GroupReport>, findings: Vec<String>) -> Self {
        let unfinished = groups
            .iter()
            .filter(|group| matches!(group.applied, Applied::Active { .. } | Applied::Failed { .. }));
        let to_do = unfinished
            .flat_map(|group| commands(cluster, &group.plan))
            .collect();
        Self {
            version: super::GROUPS_VERSION,
            groups,
            findings,
            to_do,
            undo: None,
        }
    }

    /// True where everything that the source has is done.
    pub fn is_done(&self) -> bool {
        self.to_do.is_empty()
            && self.groups.iter().all(|group| {
                matches!(group.applied, Applied::Done { .. } | Applied::Nothing)
                    && group.plan.left_out().next().is_none()
            })
    }
}

/// The moment when patience is over.
pub(super) fn deadline(wait: Duration) -> Instant {
    Instant::now() + wait.min(Duration::from_secs(365 * 86_400))
}

/// What stands where `plan` would commit, for [`super::undo`].
pub async fn before(cluster: &Cluster, plan: &GroupsPlan) -> Result<GroupsFile, RestoreError> {
    let mut groups = Vec::with_capacity(plan.groups.len());
    for group in plan
        .groups
        .iter()
        .filter(|group| group.trouble.is_none() && group.changes().next().is_some())
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
    let deadline = deadline(wait);
    let applied = stream::iter(plan.groups)
        .map(|group| async move {
            let applied = apply_group(cluster, &group, deadline).await;
            GroupReport { plan: group, applied }
        })
        .buffered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    GroupsReport::new(cluster, applied, plan.findings)
}

pub(super) async fn apply_group(cluster: &Cluster, group: &GroupPlan, deadline: Instant) -> Applied {
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
    if let Some(trouble) = &group.trouble {
        return Applied::Failed {
            errors: vec![trouble.clone()],
        };
    }
    if let Err(left_alone) = wait_for(cluster, group, deadline).await {
        return left_alone;
    }
    commit(cluster, &group.id, group.is_share(), &changes).await
}

/// Waits until the group has no members; where it still has some when patience is over, or nobody knows, says so.
pub(super) async fn wait_for(cluster: &Cluster, group: &GroupPlan, deadline: Instant) -> Result<(), Applied> {
    loop {
        let there = cluster.describe_group(&group.id, None).await;
        let there = there.map_err(|error| Applied::Failed {
            errors: vec![error.to_string()],
        })?;
        let members = there.map(|there| there.members).unwrap_or_default();
        if members.is_empty() {
            return Ok(());
        }
        if Instant::now() + POLL > deadline {
            return Err(Applied::Active {
                members: members.iter().map(ToString::to_string).collect(),
            });
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
    let servers = servers(cluster);
    let tool = if group.is_share() {
        "kafka-share-groups.sh"
    } else {
        "kafka-consumer-groups.sh"
    };
    let command = |(row, new): (&Row, i64)| {
        format!(
            "{tool} --bootstrap-server {} --group {} --topic {}:{} --reset-offsets --to-offset {new} --execute",
            servers,
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
