//! `inspect`: what lies in a bucket.

use ::restore::progress::{Event, Phase, Progress as _};
use anyhow::Context as _;
use backup::inventory;
use clap::Args;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::heading;
use crate::argument::selection::TopicArguments;
use crate::argument::source::SourceArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::job::Backup;
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
    let watcher = context.watcher();
    let location = source.store.location();
    watcher.report(&Event::Phase {
        phase: Phase::List,
        subject: location.to_owned(),
    });
    let on_page = |page: inventory::ListingProgress| {
        watcher.report(&Event::Listing {
            objects: page.listed.objects,
            matched: page.taken,
        });
    };
    let taking = inventory::take(source.store.as_ref(), &source.layout, &source.selection, on_page);
    let Some(inventory) = context.unless_stopped(taking).await else {
        return Ok(Outcome::Interrupted);
    };
    drop(watcher);
    let inventory = inventory.with_context(|| format!("{location} cannot be inspected"))?;
    let text = show::inventory(location, &inventory, arguments.json);
    context.printer.result(&text)?;
    Ok(Outcome::Done)
}
