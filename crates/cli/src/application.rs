//! From the words on the command line to the exit status.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::FromArgMatches;
use tokio_util::sync::CancellationToken;

use crate::command::{
    Context, cat, completions, groups, inspect, man, offsets, plan, restore, snapshot, topics, verify,
};
use crate::command_line::{self, CommandLine, Commands};
use crate::config::environment::Environment;
use crate::config::{ConfigFile, section};
use crate::error::{CommandError, Outcome};
use crate::interrupt::Interrupts;
use crate::logging;
use crate::printer::Printer;

/// Runs the program: `arguments` begin with its name.
pub(crate) fn run(arguments: Vec<OsString>, environment: Environment<'_>) -> ExitCode {
    let no_color = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
    let (line, file) = match read(arguments, environment) {
        Ok(read) => read,
        Err(Unread::Line(error)) => {
            // Help and version are no errors to clap either: they go to stdout, with status 0.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
        Err(Unread::File(error)) => {
            Printer::new(false, no_color).error(&error);
            return ExitCode::from(error.exit_status());
        }
    };
    let printer = Printer::new(line.global.quiet, no_color);
    logging::start(&line.global, &printer, no_color);
    match dispatch(&line, &file, &printer) {
        Ok(outcome) => ExitCode::from(outcome.exit_status()),
        // Whoever reads stdout has seen enough, as in `kafka-restore cat ... | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.exit_status())
        }
    }
}

enum Unread {
    /// The command line is wrong, or asks for help.
    Line(clap::Error),
    /// The config file is wrong.
    File(CommandError),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Line(error)
    }
}

/// Reads the command line, then the config file that it names, then both as one.
fn read(arguments: Vec<OsString>, environment: Environment<'_>) -> Result<(CommandLine, ConfigFile), Unread> {
    let definition = command_line::definition();
    let (mut arguments, behind_command) = command_line::with_command(&definition, arguments);
    let matches = definition.clone().try_get_matches_from(&arguments)?;
    let mut file = ConfigFile::default();
    if let (Some((name, given)), Some(behind_command)) = (matches.subcommand(), behind_command)
        && let Some(path) = given.get_one::<PathBuf>("config")
        && let (Some(restore), Some(running)) = (
            definition.find_subcommand("restore"),
            definition.find_subcommand(name),
        )
    {
        let (running, given, behind_command) = innermost(running, given, &arguments, behind_command);
        file = ConfigFile::load(path, environment).map_err(|error| Unread::File(error.into()))?;
        let more = section::arguments(&file, restore, running, given);
        let more = more.map_err(|error| Unread::File(error.into()))?;
        arguments.splice(
            behind_command..behind_command,
            more.into_iter().map(OsString::from),
        );
    }
    let matches = definition.try_get_matches_from(arguments)?;
    Ok((CommandLine::from_arg_matches(&matches)?, file))
}

/// Of a command with commands of its own, such as `groups apply`, the inner one is what runs.
fn innermost<'a>(
    running: &'a clap::Command,
    given: &'a clap::ArgMatches,
    arguments: &[OsString],
    behind_command: usize,
) -> (&'a clap::Command, &'a clap::ArgMatches, usize) {
    let inner = given.subcommand().and_then(|(name, given)| {
        let place = arguments
            .iter()
            .skip(behind_command)
            .position(|word| word == name)?;
        Some((running.find_subcommand(name)?, given, behind_command + place + 1))
    });
    inner.unwrap_or((running, given, behind_command))
}

/// Threads for the network: half the cores, since unwrapping, decoding and encoding have threads of their own. With one
/// for each core they only wake each other.
fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn dispatch(line: &CommandLine, file: &ConfigFile, printer: &Printer) -> Result<Outcome, CommandError> {
    match &line.command {
        Commands::Completions(arguments) => return completions::run(arguments, printer),
        Commands::Man(arguments) => return man::run(arguments, printer),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(network_threads())
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let interrupts = Interrupts::listen()?;
        let stop = CancellationToken::new();
        let context = Context {
            global: &line.global,
            file,
            printer,
            stop: stop.clone(),
        };
        tokio::select! {
            outcome = work(&line.command, &context) => outcome,
            () = interrupts.twice(stop, printer) => Ok(Outcome::Interrupted),
        }
    });
    // Whatever still runs must not hold up the end.
    runtime.shutdown_background();
    outcome
}

async fn work(command: &Commands, context: &Context<'_>) -> Result<Outcome, CommandError> {
    match command {
        Commands::Restore(arguments) => restore::run(arguments, context).await,
        Commands::Plan(arguments) => plan::run(arguments, context).await,
        Commands::Inspect(arguments) => inspect::run(arguments, context).await,
        Commands::Cat(arguments) => cat::run(arguments, context).await,
        Commands::Verify(arguments) => verify::run(arguments, context).await,
        Commands::Groups(arguments) => groups::run(arguments, context).await,
        Commands::Snapshot(arguments) => snapshot::run(arguments, context).await,
        Commands::Topics(arguments) => topics::run(arguments, context).await,
        Commands::Offsets(arguments) => offsets::run(arguments, context),
        Commands::Completions(_) | Commands::Man(_) => Ok(Outcome::Done),
    }
}

fn is_broken_pipe(error: &CommandError) -> bool {
    let mut causes = error
        .error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
