//! `plan`: what restore would do.

use ::restore::error::RestoreError;
use ::restore::job::Job;
use clap::Args;

use super::Context;
use crate::argument::heading;
use crate::argument::job::JobArguments;
use crate::error::{CommandError, Outcome};
use crate::settings::job::JobSettings;
use crate::show;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore plan -c restore.json -t orders
  kafka-restore plan -c restore.json --all-topics --json > plan.json

Takes the options of restore, reads the bucket and the cluster, and changes neither.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Everything that a plan needs.
    #[command(flatten)]
    pub(crate) job: JobArguments,

    /// Print the plan as JSON.
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,
}

/// Plans, prints, and fails where the restore would be refused.
pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let job = JobSettings::resolve(&arguments.job, context.file)?
        .open(None)
        .await?;
    context.announce(&arguments.job.topics);
    print(&job, arguments.json, context).await
}

/// Plans `job` and prints that; for `restore --dry-run` too.
pub(super) async fn print(job: &Job, json: bool, context: &Context<'_>) -> Result<Outcome, CommandError> {
    let watcher = context.watcher();
    let Some(plan) = context.unless_stopped(::restore::plan::plan(job, &watcher)).await else {
        return Ok(Outcome::Interrupted);
    };
    drop(watcher);
    let plan = plan.map_err(anyhow::Error::new)?;
    match json {
        true => context.printer.json(&plan)?,
        false => context.printer.result(&show::plan(&plan))?,
    }
    match plan.refusal() {
        Some(refusal) => Err(anyhow::Error::new(RestoreError::Refused(refusal.message.clone())).into()),
        None => Ok(Outcome::Done),
    }
}
