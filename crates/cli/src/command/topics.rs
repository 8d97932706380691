//! `topics`: puts a topic's own configuration back after an interrupted restore.

use std::path::PathBuf;

use ::restore::journal::JournalFile;
use ::restore::topics::{Finished, finish_interrupted};
use clap::{Args, Subcommand};
use kafka::cluster::Cluster;

use super::Context;
use crate::argument::heading;
use crate::argument::target::TargetArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::target;
use crate::show;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore topics finish -c restore.json -t orders
  kafka-restore topics finish --bootstrap-server localhost:9092
      every topic that an interrupted restore has left behind

The journal of a restore stands on the cluster itself, in the group kafka-restore.TOPIC, so this works from any
machine. Where the user has no rights on groups, --report names the report that the journal lies beside.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with topics.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Action {
    /// Put topics' own configuration back after an interrupted restore, or after one with --keep-profile
    Finish(Finish),
}

/// Arguments of `finish`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Finish {
    /// A topic, by its name in the target. Repeatable. [default: all that have a journal]
    #[arg(short, long, value_name = "NAME", help_heading = heading::SELECTION)]
    pub(crate) topic: Vec<String>,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Forget too what a restore with --append has put behind other records: the same restore would add all of it once
    /// more.
    #[arg(long, requires = "topic", help_heading = heading::SELECTION)]
    pub(crate) forget: bool,
    /// The report of the restore, which the journal may lie beside.
    #[arg(long, value_name = "FILE", help_heading = heading::TARGET)]
    pub(crate) report: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// The journal that lies beside a report.
pub(crate) fn journal_beside(report: &std::path::Path) -> JournalFile {
    let mut path = report.as_os_str().to_owned();
    path.push(".journal");
    JournalFile::new(path.into())
}

/// Puts back and prints.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let Action::Finish(arguments) = &arguments.action;
    let work = finish(arguments, context);
    context
        .unless_stopped(work)
        .await
        .unwrap_or(Ok(Outcome::Interrupted))
}

async fn finish(arguments: &Finish, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let config = target::resolve(&arguments.target, context.file)?;
    let cluster = Cluster::connect(config).await.map_err(anyhow::Error::new)?;
    let file = arguments.report.as_deref().map(journal_beside);
    let finished: Vec<Finished> =
        finish_interrupted(&cluster, &arguments.topic, file.as_ref(), arguments.forget)
            .await
            .map_err(anyhow::Error::new)?;
    match arguments.json {
        true => context.printer.json(&finished)?,
        false => context.printer.result(&show::topics::finished(&finished))?,
    }
    Ok(match finished.iter().any(|topic| topic.failed.is_some()) {
        true => Outcome::Findings,
        false => Outcome::Done,
    })
}
