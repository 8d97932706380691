//! `groups`: consumer groups' committed offsets, out of anything that has them and into the target.

mod apply;
mod source;

use std::path::{Path, PathBuf};

use ::restore::file::write_whole;
use ::restore::groups::apply::GroupsReport;
use ::restore::groups::source::read_groups_file;
use ::restore::groups::undo;
use ::restore::groups::{GroupOffsets, GroupsFile};
use ::restore::job::Target;
use ::restore::snapshot;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use kafka::cluster::Cluster;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::groups::{CareArguments, GroupArguments, GroupsSource, groups_source};
use crate::argument::heading;
use crate::argument::limit::LimitArguments;
use crate::argument::offsets::ModeArguments;
use crate::argument::selection::{RenameArguments, TopicArguments};
use crate::argument::source::SourceArguments;
use crate::argument::target::TargetArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::target;
use crate::show;

pub(crate) use apply::{after_restore, read_reports};
pub(crate) use source::for_restore;

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
    /// newest one in the bucket), consumer-offsets (the backup of that topic), checkpoints:TOPIC (of MirrorMaker),
    /// lenses:PREFIX (offset objects in the bucket), or time:TS.
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
            Action::Apply(arguments) => apply::run(arguments, context).await,
            Action::Undo(arguments) => put_back(arguments, context).await,
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

async fn show(arguments: &Show, context: &Context<'_>) -> Result<Outcome, CommandError> {
    if let GroupsSource::Time(_) = arguments.from.source {
        return Err(CommandError::usage(
            "a time has no groups to show; `groups apply time:TS --dry-run` shows places",
        ));
    }
    let target = Target::new(kafka::config::ClientConfig::new(Vec::new()));
    let groups = source::gather(&arguments.from, target, context).await?;
    let absent = absent(&groups, &arguments.from.groups.group);
    match arguments.json {
        true => context.printer.json(&GroupsFile::new(groups))?,
        false => context.printer.result(&show::groups::source(&groups))?,
    }
    Ok(warn_absent(&absent, context))
}

async fn put_back(arguments: &Undo, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let place = arguments.file.display().to_string();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("{place} cannot be read"))?;
    let file = read_groups_file(&place, &bytes).map_err(anyhow::Error::new)?;
    let cluster = connect(&arguments.target, context).await?;
    let report = undo::undo(&cluster, &file, arguments.care.wait)
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
