//! `snapshot`: what sinks never store, of a live cluster, into a file or the bucket.

use std::path::Path;

use ::restore::snapshot::{self, keep};
use backup::storage::url::Location;
use clap::Args;
use kafka::cluster::Cluster;

use super::Context;
use crate::argument::heading;
use crate::argument::source::SourceArguments;
use crate::argument::target::TargetArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::{source, target};

const AFTER_HELP: &str = "\
Examples:
  kafka-restore snapshot -c restore.json --keep 48
      into the bucket, under PREFIX/_kafka-restore/snapshots/; restore and groups find it there
  kafka-restore snapshot --bootstrap-server localhost:9092 --to cluster.json

Made for cron: prints nothing but warnings with -q. Ends with status 0, or with 3 where something could not be
read, which the snapshot then says.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) source: SourceArguments,

    /// Write to this FILE, or into the bucket of this URL, instead of the backup's bucket.
    #[arg(long, value_name = "FILE|URL", help_heading = heading::OUTPUT)]
    pub(crate) to: Option<String>,

    /// Delete all snapshots in the bucket but the newest N, after the new one is there.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = heading::OUTPUT)]
    pub(crate) keep: Option<u32>,
}

/// Takes a snapshot and keeps it.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let work = take(arguments, context);
    context
        .unless_stopped(work)
        .await
        .unwrap_or(Ok(Outcome::Interrupted))
}

async fn take(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let config = target::resolve(&arguments.target, context.file)?;
    let file = arguments.to.as_deref().filter(|to| !to.contains("://"));
    let store = match (file, &arguments.to) {
        (Some(_), _) => None,
        (None, Some(url)) => {
            let location = Location::parse(url).map_err(anyhow::Error::new)?;
            let from = SourceArguments { from: Some(location) };
            Some(source::resolve(&from, context.file)?)
        }
        (None, None) => Some(source::resolve(&arguments.source, context.file)?),
    };
    let folder = store.as_ref().and_then(|config| config.prefix.as_deref());
    let folder = keep::folder(folder.unwrap_or_default());
    let store = store
        .map(|config| backup::storage::open(&config))
        .transpose()
        .map_err(anyhow::Error::new)?;
    let cluster = Cluster::connect(config).await.map_err(anyhow::Error::new)?;
    let taken = snapshot::take(&cluster).await.map_err(anyhow::Error::new)?;
    let keeping = match (&store, file) {
        (Some(store), _) => {
            let keep = arguments.keep.map(|keep| keep as usize);
            let (key, deleted) = keep::put(store.as_ref(), &folder, &taken, keep)
                .await
                .map_err(anyhow::Error::new)?;
            let deleted = match deleted.len() {
                0 => String::new(),
                count => format!("; {count} older ones deleted"),
            };
            format!("{}/{key}{deleted}", store.location())
        }
        (None, Some(path)) => {
            keep::write_file(Path::new(path), &taken).map_err(anyhow::Error::new)?;
            path.to_owned()
        }
        (None, None) => String::new(),
    };
    for missing in &taken.missing {
        context.printer.warn(&format!("not in the snapshot: {missing}"));
    }
    context.printer.say(&format!(
        "{} topics and {} groups: {keeping}",
        taken.topics.len(),
        taken.groups.len()
    ));
    Ok(match taken.missing.is_empty() {
        true => Outcome::Done,
        false => Outcome::Findings,
    })
}
