//! `restore`: put topics back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::restore::error::RestoreError;
use ::restore::report::{self, Report};
use ::restore::snapshot::keep;
use anyhow::Context as _;
use backup::stream::RejectSink;
use clap::Args;

use super::{Context, groups, plan, topics};
use crate::argument::groups::{RestoredGroups, restored_groups};
use crate::argument::heading;
use crate::argument::job::JobArguments;
use crate::error::{CommandError, Kind, Outcome};
use crate::rejects::RejectFile;
use crate::settings::job::JobSettings;
use crate::show;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore restore -c restore.json -t orders
  kafka-restore restore --from s3://backups/kafka/ --bootstrap-server localhost:9092 -t orders
      without a config file; credentials from the environment
  kafka-restore restore -c restore.json -t 'orders*' --since '2026-06-09 12:00'
      only objects stored since then, of every topic whose name begins with orders
  kafka-restore restore -c restore.json -t orders --rename orders=orders-restored
      into another topic, beside the living one

Run the same command again after an interruption: it looks at what stands in the target, compares it with the
backup, and goes on from there. Ctrl-C stops cleanly, Ctrl-C twice stops at once; both are safe.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Everything that a plan needs.
    #[command(flatten)]
    pub(crate) job: JobArguments,

    /// Commit consumer groups' offsets at the end: of a FILE (a snapshot, an export, what kafka-consumer-groups printed),
    /// of the newest snapshot in the bucket, or none. Groups with members are left alone. [default: none]
    #[arg(long, value_name = "FILE|snapshot|none", value_parser = restored_groups, help_heading = heading::TARGET)]
    pub(crate) groups: Option<RestoredGroups>,

    /// Stop after the plan and print it, as the plan command does.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) dry_run: bool,

    /// Write the report to FILE, as JSON: ranges, records, gaps and offset maps of every partition.
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT)]
    pub(crate) report: Option<PathBuf>,

    /// Print the report as JSON instead of tables.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Plans, restores, prints and writes the report.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let rejects = Arc::new(RejectFile::new(
        arguments.report.as_deref(),
        jiff::Timestamp::now(),
    ));
    let settings = JobSettings::resolve(&arguments.job, context.file)?;
    let mut job = settings
        .open(Some(Arc::clone(&rejects) as Arc<dyn RejectSink>))
        .await?;
    job.target.interim_report = arguments.report.clone();
    job.target.topics.journal = arguments.report.as_deref().map(topics::journal_beside);
    if let Some(RestoredGroups::File(path)) = &arguments.groups {
        // A snapshot knows the topics too; anything else only groups.
        job.target.topics.snapshot = keep::read_file(path)
            .ok()
            .map(|snapshot| (path.display().to_string(), Arc::new(snapshot)));
    }
    context.announce(&arguments.job.topics);
    if arguments.dry_run {
        return plan::print(&job, arguments.json, context).await;
    }
    let wanted = arguments.groups.as_ref().unwrap_or(&RestoredGroups::None);
    if *wanted != RestoredGroups::None && job.resources.shard.is_some_and(|shard| shard.count > 1) {
        return Err(CommandError::usage(
            "--groups with --shard: no share knows where the others put their records; when all are done, give all \
             their reports to `groups apply --report`",
        ));
    }
    let groups = groups::for_restore(wanted, &job, context).await?;
    let watcher = Arc::new(context.watcher());
    let Some(plan) = context
        .unless_stopped(::restore::plan::plan(&job, &*watcher))
        .await
    else {
        context.printer.say("stopped before anything was written");
        return Ok(Outcome::Interrupted);
    };
    let plan = plan.map_err(anyhow::Error::new)?;
    if plan.refusal().is_some() {
        context.printer.say(&show::plan(&plan));
    } else {
        context.printer.say(&show::plan_line(&plan));
    }
    let report =
        ::restore::execute::execute(&job, &plan, Arc::clone(&watcher) as _, context.stop.clone()).await;
    drop(watcher);
    let report = match report {
        Err(RestoreError::Interrupted) => return Ok(Outcome::Interrupted),
        report => report.map_err(anyhow::Error::new)?,
    };
    if let Some(path) = &arguments.report {
        write(path, &report)?;
    }
    match arguments.json {
        true => context.printer.json(&report)?,
        false => context.printer.result(&show::report(&report))?,
    }
    if let Some(path) = rejects.written() {
        context
            .printer
            .warn(&format!("what could not be read is kept in {}", path.display()));
    }
    let outcome = outcome(&report, context.stop.is_cancelled())?;
    let Some(groups) = groups.filter(|_| outcome != Outcome::Interrupted) else {
        return Ok(outcome);
    };
    Ok(
        match groups::after_restore(&groups, &job, &report, arguments.json, context).await? {
            Outcome::Done => outcome,
            other => other,
        },
    )
}

/// Writes the report whole or not at all: a crash must not leave half of one under its name.
fn write(path: &Path, report: &Report) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| {
            format!(
                "the report {} cannot be written; the restore itself is done",
                path.display()
            )
        })
}

/// How it ended; `stopped` where the user has asked for that.
fn outcome(report: &Report, stopped: bool) -> Result<Outcome, CommandError> {
    let mut failed = 0_u64;
    let (mut interrupted, mut again) = (false, false);
    for (_, partition) in report.partitions() {
        match &partition.outcome {
            report::Outcome::Complete => {}
            report::Outcome::Interrupted => interrupted = true,
            report::Outcome::Failed { retriable, .. } => {
                failed += 1;
                again |= retriable;
            }
        }
    }
    if failed > 0 {
        let all = report.partitions().count();
        let hint = match again {
            true => "Run the same command again: it goes on where the target ends now.",
            false => {
                "The report above says why. What was confirmed stays; after the cause is removed, the same \
                      command goes on from there."
            }
        };
        return Err(CommandError {
            kind: Kind::Failed,
            error: anyhow::anyhow!("{failed} of {all} partitions could not be restored to their end"),
            hints: vec![hint.to_owned()],
        });
    }
    if let Some(reason) = report.unfinished.as_ref().filter(|_| !interrupted && !stopped) {
        return Err(CommandError {
            kind: Kind::Failed,
            error: anyhow::anyhow!("the records are restored, and what follows could not be done: {reason}"),
            hints: vec![
                "Run the same command again: it finds the records there and does the rest.".to_owned(),
            ],
        });
    }
    interrupted |= report.unfinished.is_some();
    let findings = report.has_losses() || !report.to_do.is_empty();
    Ok(match (interrupted, findings) {
        (true, _) => Outcome::Interrupted,
        (false, true) => Outcome::Findings,
        (false, false) => Outcome::Done,
    })
}
