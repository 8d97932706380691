//! `offsets`: source offsets to target offsets through the offset map of a restore.

use std::fmt::Write as _;
use std::path::PathBuf;

use ::restore::groups::translate::{Place, Translation};
use clap::{Args, Subcommand};

use super::Context;
use super::groups::read_reports;
use crate::argument::heading;
use crate::error::{CommandError, Outcome};

const AFTER_HELP: &str = "\
Examples:
  kafka-restore offsets translate -t orders -p 0 1017 2034 --report report.json

Prints a line for each offset: source offset, target offset. The target offset is that of the first record at or
after the source offset, or the end of what was restored where there is none. Needs neither the backup nor the
cluster.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do with offsets.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Action {
    /// Say where records of the source are in the target
    Translate(Translate),
}

/// Arguments of `translate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Translate {
    /// The topic, by the name it has in the backup.
    #[arg(short, long, value_name = "NAME", help_heading = heading::SELECTION)]
    pub(crate) topic: String,
    /// The partition.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), help_heading = heading::SELECTION)]
    pub(crate) partition: i32,
    /// The report of the restore. Repeatable, first run first.
    #[arg(long, value_name = "FILE", required = true, help_heading = heading::SELECTION)]
    pub(crate) report: Vec<PathBuf>,
    /// Source offsets.
    #[arg(value_name = "OFFSET", required = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) offset: Vec<i64>,
}

/// Translates and prints.
pub(crate) fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let Action::Translate(arguments) = &arguments.action;
    let translation = Translation::of_reports(&read_reports(&arguments.report)?);
    let (name, partition) = (&arguments.topic, arguments.partition);
    let topic = translation
        .topic(name)
        .ok_or_else(|| CommandError::usage(format!("the reports say nothing of a topic {name}")))?;
    if !topic.partitions.contains_key(&partition) {
        return Err(CommandError::usage(format!(
            "the reports say nothing of partition {partition} of {name}"
        )));
    }
    let places = translation.places(&topic, partition);
    let mut text = String::new();
    let mut unknown = false;
    for offset in &arguments.offset {
        // The log's end is not in the reports; it lies behind everything.
        let _ = match places.place(*offset, (0, i64::MAX)) {
            Place::At(target) | Place::Start(target) => writeln!(text, "{offset}\t{target}"),
            Place::End(_) => writeln!(text, "{offset}\tend"),
            Place::Unknown => {
                unknown = true;
                writeln!(text, "{offset}\tunknown")
            }
        };
    }
    context.printer.result(&text)?;
    if unknown {
        context
            .printer
            .warn("some offsets were restored by an earlier run: give its report with --report too");
    }
    Ok(if unknown { Outcome::Findings } else { Outcome::Done })
}
