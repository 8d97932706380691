//! `groups`: consumer groups' committed offsets, out of anything that has them and into the target.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::restore::file::write_whole;
use ::restore::groups::apply::{self, GroupsReport};
use ::restore::groups::gather::{self, LoggedAs};
use ::restore::groups::source;
use ::restore::groups::translate::{RestoredTopic, Translation};
use ::restore::groups::{GroupOffsets, GroupsFile};
use ::restore::job::{Job, OffsetMode, Target};
use ::restore::report::Report;
use ::restore::snapshot::{self, keep};
use anyhow::Context as _;
use backup::inventory::Selection;
use clap::{Args, Subcommand};
use kafka::cluster::Cluster;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::groups::{CareArguments, GroupArguments, GroupsSource, RestoredGroups, groups_source};
use crate::argument::heading;
use crate::argument::limit::LimitArguments;
use crate::argument::offsets::ModeArguments;
use crate::argument::selection::{RenameArguments, TopicArguments, WindowArguments};
use crate::argument::source::SourceArguments;
use crate::argument::target::TargetArguments;
use crate::error::{CommandError, Kind, Outcome};
use crate::settings::job::{self, Backup};
use crate::settings::{selection, target};
use crate::show;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore groups export --bootstrap-server old:9092 --to groups.json
  kafka-restore groups apply groups.json --bootstrap-server new:9092 --report report.json --dry-run
  kafka-restore groups apply snapshot -c restore.json --offsets exact
  kafka-restore groups apply time:2026-06-09T12:00Z --group billing -t orders -c restore.json
  kafka-restore groups undo groups-undo-20260609T120000Z.json -c restore.json";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with groups.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Action {
    /// Write what the groups of a live cluster have committed to a file
    Export(Export),
    /// Show the committed offsets that a source has
    Show(Box<Show>),
    /// Put committed offsets into the target cluster, each at the place of the first record at or after it
    Apply(Box<Apply>),
    /// Put back what stood there before an apply
    Undo(Undo),
}

/// Arguments of `export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Export {
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Which groups.
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// Write to FILE instead of stdout.
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT)]
    pub(crate) to: Option<PathBuf>,
}

/// Where committed offsets come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct From {
    /// A file (a snapshot, an export, what kafka-consumer-groups printed with --describe or --export), snapshot (the
    /// newest one in the bucket), consumer-offsets (the backup of that topic), checkpoints:TOPIC, or time:TS.
    #[arg(value_name = "SOURCE", value_parser = groups_source)]
    pub(crate) source: GroupsSource,
    /// Which groups.
    #[command(flatten)]
    pub(crate) groups: GroupArguments,
    /// Which topics.
    #[command(flatten)]
    pub(crate) topics: TopicArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) backup: SourceArguments,
    /// How its files were written.
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// How much of the machine to use.
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    /// Only what was committed at or before TS, where the source is a backup; of snapshots, the newest one of then.
    #[arg(long, value_name = "TS", value_parser = crate::value::moment::parse, help_heading = heading::SELECTION)]
    pub(crate) before: Option<jiff::Timestamp>,
}

/// Arguments of `show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// Where from.
    #[command(flatten)]
    pub(crate) from: From,
    /// Print as JSON, in the form of an export.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Arguments of `apply`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Apply {
    /// Where from.
    #[command(flatten)]
    pub(crate) from: From,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Under which names the topics were restored.
    #[command(flatten)]
    pub(crate) rename: RenameArguments,
    /// At which offsets they were restored.
    #[command(flatten)]
    pub(crate) mode: ModeArguments,
    /// The report of the restore, whose offset maps say where each record is. Repeatable, first run first.
    #[arg(long, value_name = "FILE", help_heading = heading::TARGET)]
    pub(crate) report: Vec<PathBuf>,
    /// How carefully.
    #[command(flatten)]
    pub(crate) care: CareArguments,
    /// Also for topics that were not restored to their end.
    #[arg(long, help_heading = heading::SAFETY)]
    pub(crate) incomplete: bool,
    /// Keep what stands there now in FILE. [default: groups-undo-TIME.json]
    #[arg(long, value_name = "FILE", help_heading = heading::SAFETY)]
    pub(crate) undo_file: Option<PathBuf>,
    /// Show what would be committed, changing nothing.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) dry_run: bool,
    /// Print the result as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Arguments of `undo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Undo {
    /// The undo file that apply wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// How carefully.
    #[command(flatten)]
    pub(crate) care: CareArguments,
    /// Print the result as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Does it.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let work = async {
        match &arguments.action {
            Action::Export(arguments) => export(arguments, context).await,
            Action::Show(arguments) => show(arguments, context).await,
            Action::Apply(arguments) => apply(arguments, context).await,
            Action::Undo(arguments) => undo(arguments, context).await,
        }
    };
    context
        .unless_stopped(work)
        .await
        .unwrap_or(Ok(Outcome::Interrupted))
}

async fn connect(arguments: &TargetArguments, context: &Context<'_>) -> anyhow::Result<Cluster> {
    Ok(Cluster::connect(target::resolve(arguments, context.file)?).await?)
}

async fn export(arguments: &Export, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let cluster = connect(&arguments.target, context).await?;
    let groups = snapshot::live_groups(&cluster, &arguments.groups.group)
        .await
        .map_err(anyhow::Error::new)?;
    let absent = absent(&groups, &arguments.groups.group);
    let file = GroupsFile::new(groups);
    match &arguments.to {
        None => context.printer.json(&file)?,
        Some(path) => write(path, &file)?,
    }
    Ok(warn_absent(&absent, context))
}

/// Writes JSON whole or not at all.
fn write(path: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_whole(path, &bytes).with_context(|| format!("{} cannot be written", path.display()))
}

/// Groups that were asked for and are not there.
fn absent(groups: &[GroupOffsets], asked: &[String]) -> Vec<String> {
    let is_there = |id: &&String| groups.iter().any(|group| group.id == **id);
    asked.iter().filter(|id| !is_there(id)).cloned().collect()
}

fn warn_absent(absent: &[String], context: &Context<'_>) -> Outcome {
    for id in absent {
        context
            .printer
            .warn(&format!("there is no group {id}, or it has committed nothing"));
    }
    match absent.is_empty() {
        true => Outcome::Done,
        false => Outcome::Findings,
    }
}

/// A job that reads the chosen topics of the backup.
async fn backup_job(
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
async fn gather(
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
        GroupsSource::File(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            source::read_file(&path.display().to_string(), &bytes, named).map_err(anyhow::Error::new)?
        }
        GroupsSource::Snapshot => {
            let job = backup_job(from, selection::any(&from.topics), target, context).await?;
            let end = from.before.map(jiff::Timestamp::as_millisecond);
            let found = gather::newest_snapshot(&job, end)
                .await
                .map_err(anyhow::Error::new)?;
            let Some((place, snapshot)) = found else {
                let location = job.source.store.location().to_owned();
                return Err(anyhow::Error::new(keep::KeepError::NoneThere { location }).into());
            };
            context
                .printer
                .say(&format!("groups as they were at {} ({place})", snapshot.taken));
            snapshot.groups
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

async fn show(arguments: &Show, context: &Context<'_>) -> Result<Outcome, CommandError> {
    if let GroupsSource::Time(_) = arguments.from.source {
        return Err(usage(
            "a time has no groups to show; `groups apply time:TS --dry-run` shows places",
        ));
    }
    let target = Target::new(kafka::config::ClientConfig::new(Vec::new()));
    let groups = gather(&arguments.from, target, context).await?;
    let absent = absent(&groups, &arguments.from.groups.group);
    match arguments.json {
        true => context.printer.json(&GroupsFile::new(groups))?,
        false => context.printer.result(&show::groups::source(&groups))?,
    }
    Ok(warn_absent(&absent, context))
}

fn usage(message: &str) -> CommandError {
    CommandError {
        kind: Kind::Usage,
        error: anyhow::anyhow!("{message}"),
        hints: Vec::new(),
    }
}

async fn apply(arguments: &Apply, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let from = &arguments.from;
    let config = target::resolve(&arguments.target, context.file)?;
    let defaults = Target::new(config.clone());
    let target = Target {
        rename: selection::renames(&arguments.rename)?
            .into_iter()
            .map(|rename| (rename.old, rename.new))
            .collect(),
        offsets: arguments.mode.offsets.unwrap_or(defaults.offsets),
        ..defaults
    };
    let groups = gather(from, target.clone(), context).await?;
    let cluster = Cluster::connect(config).await.map_err(anyhow::Error::new)?;
    let plan = match from.source {
        GroupsSource::Time(time) => {
            if from.groups.group.is_empty() || from.topics.topic.is_empty() {
                return Err(usage(
                    "time:TS needs the groups and topics by name: --group ID and --topic NAME",
                ));
            }
            let names: Vec<String> = from
                .topics
                .topic
                .iter()
                .map(|name| target.topic_for(name).to_owned())
                .collect();
            gather::plan_for_time(&cluster, &from.groups.group, &names, time.as_millisecond()).await
        }
        _ => {
            let translation = translation(arguments, target, &cluster, context).await?;
            apply::plan(&cluster, &groups, &translation, arguments.incomplete).await
        }
    };
    let plan = plan.map_err(anyhow::Error::new)?;
    let absent = match from.source {
        GroupsSource::Time(_) => Vec::new(),
        _ => absent(&groups, &from.groups.group),
    };
    if arguments.dry_run {
        match arguments.json {
            true => context.printer.json(&plan)?,
            false => context.printer.result(&show::groups::plan(&plan))?,
        }
        return Ok(warn_absent(&absent, context));
    }
    let undo = arguments.undo_file.clone().unwrap_or_else(undo_path);
    let report = apply::apply_with_undo(&cluster, plan, &undo, arguments.care.wait)
        .await
        .map_err(anyhow::Error::new)?;
    let outcome = print(&report, arguments.json, context)?;
    Ok(match warn_absent(&absent, context) {
        Outcome::Done => outcome,
        findings => findings,
    })
}

/// A name for an undo file of now.
pub(crate) fn undo_path() -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("groups-undo-{now}.json"))
}

/// Where the records of the source went: as the reports say, by their original offsets, or found out from the backup.
async fn translation(
    arguments: &Apply,
    target: Target,
    cluster: &Cluster,
    context: &Context<'_>,
) -> Result<Translation, CommandError> {
    if !arguments.report.is_empty() {
        return Ok(Translation::of_reports(&read_reports(&arguments.report)?));
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
        return Ok(Translation {
            topics: topics.collect(),
            otherwise_exact: true,
        });
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
    let found = gather::from_offsets(&job, cluster, &watcher).await;
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

async fn undo(arguments: &Undo, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let place = arguments.file.display().to_string();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("{place} cannot be read"))?;
    let file = source::read_groups_file(&place, &bytes).map_err(anyhow::Error::new)?;
    let cluster = connect(&arguments.target, context).await?;
    let report = apply::undo(&cluster, &file, arguments.care.wait)
        .await
        .map_err(anyhow::Error::new)?;
    print(&report, arguments.json, context)
}

/// Prints how it went.
pub(crate) fn print(
    report: &GroupsReport,
    json: bool,
    context: &Context<'_>,
) -> Result<Outcome, CommandError> {
    match json {
        true => context.printer.json(report)?,
        false => context.printer.result(&show::groups::report(report))?,
    }
    Ok(match report.is_done() {
        true => Outcome::Done,
        false => Outcome::Findings,
    })
}

/// Commits groups' offsets at the end of a restore, by the report's own offset maps.
pub(crate) async fn after_restore(
    wanted: &RestoredGroups,
    job: &Job,
    report: &Report,
    json: bool,
    context: &Context<'_>,
) -> Result<Outcome, CommandError> {
    let groups = match wanted {
        RestoredGroups::None => return Ok(Outcome::Done),
        RestoredGroups::File(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            source::read_file(&path.display().to_string(), &bytes, None).map_err(anyhow::Error::new)?
        }
        RestoredGroups::Snapshot => match gather::newest_snapshot(job, None)
            .await
            .map_err(anyhow::Error::new)?
        {
            Some((place, snapshot)) => {
                context
                    .printer
                    .say(&format!("groups as they were at {} ({place})", snapshot.taken));
                snapshot.groups
            }
            None => {
                let location = job.source.store.location().to_owned();
                return Err(anyhow::Error::new(keep::KeepError::NoneThere { location }).into());
            }
        },
    };
    let cluster = Cluster::connect(job.target.cluster.clone())
        .await
        .map_err(anyhow::Error::new)?;
    // The report of a run that went on behind an earlier one does not know where that put its records.
    let partial = report
        .partitions()
        .any(|(_, partition)| !partition.exact && partition.resumed_at.is_some());
    let translation = match partial {
        false => Translation::of_reports(std::slice::from_ref(report)),
        true => {
            let watcher = context.watcher();
            gather::from_offsets(job, &cluster, &watcher)
                .await
                .map_err(anyhow::Error::new)?
        }
    };
    let plan = apply::plan(&cluster, &groups, &translation, false)
        .await
        .map_err(anyhow::Error::new)?;
    let applied = apply::apply_with_undo(&cluster, plan, &undo_path(), Duration::ZERO)
        .await
        .map_err(anyhow::Error::new)?;
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
