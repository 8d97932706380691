//! `verify`: is the topic what the backup says?

use std::sync::Arc;

use ::restore::job::Job;
use ::restore::verify::{Depth, VerifyReport};
use clap::Args;

use super::Context;
use crate::argument::content::ContentArguments;
use crate::argument::heading;
use crate::argument::limit::LimitArguments;
use crate::argument::offsets::ModeArguments;
use crate::argument::safety::TroubleArguments;
use crate::argument::selection::{RenameArguments, TopicArguments, WindowArguments};
use crate::argument::source::SourceArguments;
use crate::argument::target::TargetArguments;
use crate::error::{CommandError, Kind, Outcome};
use crate::settings::job::{self, Backup};
use crate::settings::{selection, target};
use crate::show;
use crate::value::share;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore verify -c restore.json -t orders
  kafka-restore verify -c restore.json -t orders --sample 1%
  kafka-restore verify -c restore.json -t orders --rename orders=orders-restored --json

Reads both sides and changes neither. Ends with status 0 where they are equal, 3 where they differ.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Which topics and partitions.
    #[command(flatten)]
    pub(crate) topics: TopicArguments,
    /// Which of their records.
    #[command(flatten)]
    pub(crate) window: WindowArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// How its files were written.
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Under which names.
    #[command(flatten)]
    pub(crate) rename: RenameArguments,
    /// At which offsets.
    #[command(flatten)]
    pub(crate) mode: ModeArguments,
    /// What to do with broken content.
    #[command(flatten)]
    pub(crate) trouble: TroubleArguments,
    /// How much of the machine to use.
    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Compare only about this share of each partition's offsets: stretches that are spread evenly over all of it, the
    /// beginning and the end among them. Where target offsets are not the original ones, the backup is still read
    /// whole. [default: everything]
    #[arg(long, value_name = "PERCENT", value_parser = share::parse, help_heading = heading::SAFETY)]
    pub(crate) sample: Option<f64>,

    /// How many differences of each partition are shown; all are counted.
    #[arg(long, value_name = "N", default_value_t = 10, help_heading = heading::OUTPUT)]
    pub(crate) limit: u32,

    /// Print the result as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Compares and prints.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    context.announce(&arguments.topics);
    let backup = Backup {
        selection: selection::chosen(&arguments.topics)?,
        records: selection::records(&arguments.window)?,
        ..Backup::resolve(
            &arguments.source,
            &arguments.content,
            Some(&arguments.trouble),
            context.file,
        )?
    };
    let config = target::resolve(&arguments.target, context.file)?;
    let target = job::renamed_target(config, &arguments.rename, &arguments.mode)?;
    let job = Job {
        source: backup.open(None).await?,
        target,
        resources: job::resources(&arguments.limits)?,
    };
    let watcher = Arc::new(context.watcher());
    let depth = Depth {
        limit: arguments.limit as usize,
        sample: arguments.sample,
    };
    let report =
        ::restore::verify::verify(&job, depth, Arc::clone(&watcher) as _, context.stop.clone()).await;
    drop(watcher);
    if context.stop.is_cancelled() {
        return Ok(Outcome::Interrupted);
    }
    let report = report.map_err(anyhow::Error::new)?;
    match arguments.json {
        true => context.printer.json(&report)?,
        false => context.printer.result(&show::verdict(&report))?,
    }
    outcome(&report)
}

/// A partition that could not be compared weighs more than one that differs.
fn outcome(report: &VerifyReport) -> Result<Outcome, CommandError> {
    if report.is_incomplete() {
        return Err(CommandError {
            kind: Kind::Failed,
            error: anyhow::anyhow!("not every partition could be compared to its end"),
            hints: vec!["The table above says why.".to_owned()],
        });
    }
    Ok(if report.is_equal() {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}
