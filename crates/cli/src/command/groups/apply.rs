//! Committed offsets into the target.

use std::path::PathBuf;
use std::time::Duration;

use ::restore::groups::GroupOffsets;
use ::restore::groups::apply::{self, GroupsReport};
use ::restore::groups::plan::GroupsPlan;
use ::restore::groups::translate::{RestoredTopic, Translation};
use ::restore::groups::{locate, time};
use ::restore::job::{Job, OffsetMode, Target};
use ::restore::report::Report;
use anyhow::Context as _;
use kafka::cluster::Cluster;

use super::source::{backup_job, gather};
use super::{Apply, From, absent, print, warn_absent};
use crate::argument::groups::GroupsSource;
use crate::command::Context;
use crate::error::{CommandError, Outcome};
use crate::settings::{job, selection, target};
use crate::show;

/// Plans, and unless it is a dry run commits.
pub(super) async fn run(arguments: &Apply, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let from = &arguments.from;
    let config = target::resolve(&arguments.target, context.file)?;
    let target = job::renamed_target(config.clone(), &arguments.rename, &arguments.mode)?;
    let undo = match &arguments.undo_file {
        // What an earlier apply has kept there is needed to undo that.
        Some(path) if path.exists() && !arguments.dry_run => {
            return Err(CommandError::usage(format!(
                "{} exists already: name another --undo-file",
                path.display()
            )));
        }
        Some(path) => path.clone(),
        None => undo_path(),
    };
    let groups = gather(from, target.clone(), context).await?;
    let cluster = Cluster::connect(config).await.map_err(anyhow::Error::new)?;
    let (plan, mut outcome) = match from.source {
        GroupsSource::Time(time) => {
            if from.groups.group.is_empty() || from.topics.topic.is_empty() {
                return Err(CommandError::usage(
                    "time:TS needs the groups and topics by name: --group ID and --topic NAME",
                ));
            }
            let names: Vec<String> = from
                .topics
                .topic
                .iter()
                .map(|name| target.topic_for(name).to_owned())
                .collect();
            let planned = time::plan(&cluster, &from.groups.group, &names, time.as_millisecond()).await;
            (planned.map_err(anyhow::Error::new)?, Outcome::Done)
        }
        _ => {
            let (translation, findings) = translation(arguments, target, &cluster, context).await?;
            let planned = plan(&cluster, &groups, &translation, findings, arguments.incomplete).await?;
            let mut outcome = warn_absent(&absent(&groups, &from.groups.group), context);
            if planned.groups.is_empty() {
                context.printer.warn(
                    "there is nothing to commit: the source has no committed offsets for these groups and topics",
                );
                outcome = Outcome::Findings;
            }
            (planned, outcome)
        }
    };
    if arguments.dry_run {
        match arguments.json {
            true => context.printer.json(&plan)?,
            false => context.printer.result(&show::groups::plan(&plan))?,
        }
        return Ok(outcome);
    }
    let report = apply::apply_with_undo(&cluster, plan, &undo, arguments.care.wait)
        .await
        .map_err(anyhow::Error::new)?;
    if print(&report, arguments.json, context)? != Outcome::Done {
        outcome = Outcome::Findings;
    }
    Ok(outcome)
}

/// The plan, with what was found out before it.
async fn plan(
    cluster: &Cluster,
    groups: &[GroupOffsets],
    translation: &Translation,
    findings: Vec<String>,
    incomplete: bool,
) -> anyhow::Result<GroupsPlan> {
    let mut plan = ::restore::groups::plan::plan(cluster, groups, translation, incomplete).await?;
    plan.findings.splice(0..0, findings);
    Ok(plan)
}

/// A name for an undo file of now that nothing has yet.
fn undo_path() -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut path = PathBuf::from(format!("groups-undo-{now}.json"));
    let mut number = 1;
    while path.exists() {
        number += 1;
        path = PathBuf::from(format!("groups-undo-{now}-{number}.json"));
    }
    path
}

/// Where the records of the source went, and what a person should know about that: as the reports say, by their original
/// offsets, or found out from the backup.
async fn translation(
    arguments: &Apply,
    target: Target,
    cluster: &Cluster,
    context: &Context<'_>,
) -> Result<(Translation, Vec<String>), CommandError> {
    if !arguments.report.is_empty() {
        let translation = Translation::of_reports(&read_reports(&arguments.report)?);
        return Ok((translation, Vec::new()));
    }
    if target.offsets == OffsetMode::Exact {
        let topics = target.rename.iter().map(|(old, new)| {
            let restored = RestoredTopic {
                target: new.clone(),
                complete: true,
                partitions: Default::default(),
            };
            (old.clone(), restored)
        });
        let translation = Translation {
            topics: topics.collect(),
            otherwise_exact: true,
        };
        return Ok((translation, Vec::new()));
    }
    let window = From {
        before: None,
        ..arguments.from.clone()
    };
    let job = backup_job(&window, selection::any(&arguments.from.topics), target, context)
        .await
        .context(
            "where the records went is not known: give the restore's report with --report, say --offsets exact where \
             it kept the original offsets, or say where the backup is",
        )?;
    context
        .printer
        .say("no --report: the backup is read to find out where its records are in the target");
    let watcher = context.watcher();
    let found = locate::from_target(&job, cluster, &watcher).await;
    Ok(found.map_err(anyhow::Error::new)?)
}

/// Reads reports of restores.
pub(crate) fn read_reports(paths: &[PathBuf]) -> anyhow::Result<Vec<Report>> {
    let read = |path: &PathBuf| {
        let name = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("the report {name} cannot be read"))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{name} is no report of a restore"))
    };
    paths.iter().map(read).collect()
}

/// Commits groups' offsets at the end of a restore, by the report's own offset maps. Whatever goes wrong, the records are
/// restored: what is left to do is said.
pub(crate) async fn after_restore(
    groups: &[GroupOffsets],
    job: &Job,
    report: &Report,
    json: bool,
    context: &Context<'_>,
) -> Result<Outcome, CommandError> {
    let applied = match put(groups, job, report, context).await {
        Ok(applied) => applied,
        Err(error) => {
            context.printer.warn(&format!(
                "the records are restored, and the groups are not: {error:#}\nleft to do by hand: `kafka-restore groups \
                 apply` with the same source of groups, and with the report (--report) of this restore if it was written"
            ));
            return Ok(Outcome::Findings);
        }
    };
    let text = show::groups::report(&applied);
    match json {
        true => context.printer.say(&text),
        false => context.printer.result(&text)?,
    }
    Ok(match applied.is_done() {
        true => Outcome::Done,
        false => Outcome::Findings,
    })
}

async fn put(
    groups: &[GroupOffsets],
    job: &Job,
    report: &Report,
    context: &Context<'_>,
) -> anyhow::Result<GroupsReport> {
    let cluster = Cluster::connect(job.target.cluster.clone()).await?;
    // The report of a run that went on behind an earlier one does not know where that put its records.
    let partial = report
        .partitions()
        .any(|(_, partition)| !partition.exact && partition.resumed_at.is_some());
    let (translation, findings) = match partial {
        false => (Translation::of_reports(std::slice::from_ref(report)), Vec::new()),
        true => {
            let watcher = context.watcher();
            locate::from_target(job, &cluster, &watcher).await?
        }
    };
    // Partitions that were not asked for are not touched.
    let mut groups = groups.to_vec();
    for group in &mut groups {
        group
            .offsets
            .retain(|offset| job.source.selection.has_partition(Some(offset.partition)));
    }
    let plan = plan(&cluster, &groups, &translation, findings, false).await?;
    Ok(apply::apply_with_undo(&cluster, plan, &undo_path(), Duration::ZERO).await?)
}
