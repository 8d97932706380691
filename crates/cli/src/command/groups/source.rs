//! Committed offsets out of anything that has them.

use ::restore::groups::GroupOffsets;
use ::restore::groups::gather::{self, LoggedAs};
use ::restore::groups::source;
use ::restore::job::{Job, Target};
use ::restore::snapshot::{Snapshot, keep};
use anyhow::Context as _;
use backup::inventory::Selection;

use super::From;
use crate::argument::groups::{GroupsSource, RestoredGroups};
use crate::argument::selection::WindowArguments;
use crate::command::Context;
use crate::error::CommandError;
use crate::settings::job::{self, Backup};
use crate::settings::selection;

/// A job that reads the chosen topics of the backup.
pub(super) async fn backup_job(
    from: &From,
    topics: Selection,
    target: Target,
    context: &Context<'_>,
) -> anyhow::Result<Job> {
    let window = WindowArguments {
        from_time: None,
        to_time: from.before,
        from_offset: None,
        to_offset: None,
    };
    let backup = Backup {
        selection: topics,
        records: selection::records(&window)?,
        ..Backup::resolve(&from.backup, &from.content, None, context.file)?
    };
    Ok(Job {
        source: backup.open(None).await?,
        target,
        resources: job::resources(&from.limits)?,
    })
}

/// The chosen groups of the source; a time has none.
pub(super) async fn gather(
    from: &From,
    target: Target,
    context: &Context<'_>,
) -> Result<Vec<GroupOffsets>, CommandError> {
    let watcher = context.watcher();
    let named = match from.groups.group.as_slice() {
        [group] => Some(group.as_str()),
        _ => None,
    };
    let mut groups = match &from.source {
        GroupsSource::Time(_) => Vec::new(),
        GroupsSource::File(path) => read_file(path, named)?,
        GroupsSource::Snapshot => {
            let job = backup_job(from, selection::any(&from.topics), target, context).await?;
            let end = from.before.map(jiff::Timestamp::as_millisecond);
            newest_snapshot(&job, end, context).await?.groups
        }
        GroupsSource::Lenses(prefix) => {
            let job = backup_job(from, selection::any(&from.topics), target, context).await?;
            gather::from_lenses(&job, prefix)
                .await
                .map_err(anyhow::Error::new)?
        }
        GroupsSource::ConsumerOffsets => {
            logged(
                from,
                "__consumer_offsets",
                LoggedAs::Commits,
                target,
                &watcher,
                context,
            )
            .await?
        }
        GroupsSource::Checkpoints(topic) => {
            logged(from, topic, LoggedAs::Checkpoints, target, &watcher, context).await?
        }
    };
    drop(watcher);
    let wanted = selection::any(&from.topics);
    groups.retain(|group| from.groups.group.is_empty() || from.groups.group.contains(&group.id));
    for group in &mut groups {
        group
            .offsets
            .retain(|offset| wanted.has_topic(&offset.topic) && wanted.has_partition(Some(offset.partition)));
    }
    Ok(groups)
}

async fn logged(
    from: &From,
    topic: &str,
    logged_as: LoggedAs,
    target: Target,
    watcher: &crate::progress::Watcher,
    context: &Context<'_>,
) -> Result<Vec<GroupOffsets>, CommandError> {
    let job = backup_job(from, Selection::topics([topic]), target, context).await?;
    let found = gather::from_backup(&job, logged_as, watcher)
        .await
        .map_err(anyhow::Error::new)?;
    if found.unreadable > 0 {
        context.printer.warn(&format!(
            "{} of {} records of {topic} are not laid out as Kafka does, and are left out",
            found.unreadable, found.records
        ));
    }
    Ok(found.groups)
}

fn read_file(path: &std::path::Path, group: Option<&str>) -> anyhow::Result<Vec<GroupOffsets>> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    Ok(source::read_file(&name, &bytes, group)?)
}

async fn newest_snapshot(
    job: &Job,
    end: Option<i64>,
    context: &Context<'_>,
) -> Result<Snapshot, CommandError> {
    let found = gather::newest_snapshot(job, end)
        .await
        .map_err(anyhow::Error::new)?;
    let Some((place, snapshot)) = found else {
        let (location, folder) = (
            job.source.store.location().to_owned(),
            job.source.snapshots.clone(),
        );
        return Err(anyhow::Error::new(keep::KeepError::NoneThere { location, folder }).into());
    };
    context
        .printer
        .say(&format!("groups as they were at {} ({place})", snapshot.taken));
    Ok(snapshot)
}

/// The groups that a restore is to put back at its end; none where none are wanted. Asked for before the restore begins:
/// what cannot be read then would be missed much later.
pub(crate) async fn for_restore(
    wanted: &RestoredGroups,
    job: &Job,
    context: &Context<'_>,
) -> Result<Option<Vec<GroupOffsets>>, CommandError> {
    Ok(match wanted {
        RestoredGroups::None => None,
        RestoredGroups::File(path) => Some(read_file(path, None)?),
        RestoredGroups::Snapshot => Some(newest_snapshot(job, None, context).await?.groups),
    })
}
