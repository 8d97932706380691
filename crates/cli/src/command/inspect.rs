//! `inspect`: what lies in a bucket.

use std::sync::Arc;

use ::restore::inspect::{Depth, inspect};
use anyhow::Context as _;
use clap::Args;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::heading;
use crate::argument::limit::LimitArguments;
use crate::argument::selection::TopicArguments;
use crate::argument::source::SourceArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::job::{Backup, resources};
use crate::settings::selection;
use crate::show;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore inspect --from gs://my-bucket/kafka/
  kafka-restore inspect -c restore.json -t orders --json

Needs no cluster. Without --topic, every topic is shown.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which topics and partitions.
    #[command(flatten)]
    pub(crate) topics: TopicArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// How its files were written.
    #[command(flatten)]
    pub(crate) content: ContentArguments,

    /// Read everything: counts, gaps, overlaps and conflicts are then exact, not estimated from a sample.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) deep: bool,

    /// How much of the machine it may use.
    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Print what was found as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Lists and prints.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    context.announce(&arguments.topics);
    let backup = Backup {
        selection: selection::any(&arguments.topics),
        ..Backup::resolve(&arguments.source, &arguments.content, None, context.file)?
    };
    let source = backup.open(None).await?;
    let watcher = Arc::new(context.watcher());
    let depth = if arguments.deep {
        Depth::Deep
    } else {
        Depth::Sample
    };
    let resources = resources(&arguments.limits)?;
    let inspecting = inspect(
        &source,
        &resources,
        depth,
        Arc::clone(&watcher) as _,
        context.stop.clone(),
    );
    let Some(inspection) = context.unless_stopped(inspecting).await else {
        return Ok(Outcome::Interrupted);
    };
    drop(watcher);
    let inspection =
        inspection.with_context(|| format!("{} cannot be inspected", source.store.location()))?;
    match arguments.json {
        true => context.printer.json(&inspection)?,
        false => context.printer.result(&show::inspection(&inspection))?,
    }
    Ok(Outcome::Done)
}
