//! The command line as a whole, and the original tool's form of it.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, CommandFactory, Parser, Subcommand};

use crate::argument::global::GlobalArguments;
use crate::command::{
    cat, completions, groups, inspect, man, offsets, plan, restore, snapshot, topics, verify,
};

const USAGE: &str = "kafka-restore -c FILE -t TOPIC [--since TS]\n       kafka-restore <COMMAND> [OPTIONS]";

const AFTER_HELP: &str = "\
Examples:
  kafka-restore inspect --from gs://my-bucket/kafka/
      what lies in the bucket: topics, partitions, offsets
  kafka-restore plan -c restore.json -t orders
      what a restore would do, changing nothing
  kafka-restore -c restore.json -t orders
      do it (the same as `kafka-restore restore ...`)
  kafka-restore verify -c restore.json -t orders
      compare the topic with its backup, record by record
  kafka-restore cat -c restore.json -t orders --limit 10
      records of the backup, as JSON lines

Exit status:
  0 done and nothing to report; 1 failed; 2 wrong usage or configuration; 3 done, but with findings;
  130 interrupted, and safe to run again";

/// Puts Apache Kafka topics back from the files that sink connectors left in object storage.
#[derive(Parser, Debug)]
#[command(name = "kafka-restore", version, override_usage = USAGE, after_help = AFTER_HELP, max_term_width = 110)]
#[command(
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct CommandLine {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Commands,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Commands {
    /// Put topics back
    Restore(restore::Arguments),
    /// Show what restore would do, reading both sides, changing nothing
    Plan(plan::Arguments),
    /// Show what lies in a bucket: topics, partitions, offsets, formats, gaps
    Inspect(inspect::Arguments),
    /// Print records of a backup as JSON lines
    Cat(cat::Arguments),
    /// Compare a restored topic with the backup, record by record
    Verify(verify::Arguments),
    /// Consumer groups' committed offsets: export, show, apply, undo
    Groups(groups::Arguments),
    /// Save a live cluster's topic configurations, partition counts and group offsets
    Snapshot(snapshot::Arguments),
    /// Put a topic's own configuration back after an interrupted restore
    Topics(topics::Arguments),
    /// Source offsets to target offsets through the offset map of a restore
    Offsets(offsets::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print or write the manual pages
    Man(man::Arguments),
}

/// The definition of the command line, with global options handed down to the commands.
pub(crate) fn definition() -> Command {
    let mut command = CommandLine::command();
    command.build();
    command
}

/// Puts `restore` in where a command line names no command, as the original tool's has none. Gives the
/// arguments, and the index behind the command's name where there is one.
pub(crate) fn with_command(definition: &Command, arguments: Vec<OsString>) -> (Vec<OsString>, Option<usize>) {
    let restore = definition.find_subcommand("restore");
    let takes_value = |option: &OsStr| {
        let option = option.to_str()?;
        let arg = restore?.get_arguments().find(|arg| names(arg, option))?;
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append).then_some(())
    };
    let mut index = 1;
    while index < arguments.len() {
        let argument = &arguments[index];
        let text = argument.to_string_lossy();
        if index == 1 && matches!(&*text, "--help" | "-h" | "--version" | "-V") {
            return (arguments, None);
        }
        if !text.starts_with('-') || text == "-" {
            let known = definition.find_subcommand(argument).is_some();
            return (arguments, known.then_some(index + 1));
        }
        index += 1 + usize::from(takes_value(argument).is_some());
    }
    if arguments.len() < 2 {
        return (arguments, None);
    }
    let mut arguments = arguments;
    arguments.insert(1, "restore".into());
    (arguments, Some(2))
}

/// True where `option`, as typed and without a value, is `arg`.
fn names(arg: &Arg, option: &str) -> bool {
    match option.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => option.len() == 2 && arg.get_short() == option.chars().nth(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_nothing_wrong_with_the_definition() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_option_has_help_and_a_heading() {
        for command in definition().get_subcommands() {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let place = format!("{} {}", command.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "{place} has no help");
                let plain = arg.is_positional() || matches!(arg.get_id().as_str(), "help" | "version");
                assert!(
                    plain || arg.get_help_heading().is_some(),
                    "{place} has no heading"
                );
            }
        }
    }

    #[test]
    fn a_command_line_without_a_command_restores() {
        let definition = definition();
        for (typed, read) in [
            ("", ""),
            ("-c f -t orders", "restore -c f -t orders"),
            ("-c f -t plan", "restore -c f -t plan"),
            (
                "-cf --topic=orders --since 2020-06-09",
                "restore -cf --topic=orders --since 2020-06-09",
            ),
            ("-c f plan -t orders", "-c f plan -t orders"),
            ("-v restore -t x", "-v restore -t x"),
            ("--help", "--help"),
            ("-c f -t x -h", "restore -c f -t x -h"),
            ("unknown", "unknown"),
        ] {
            let words = |text: &str| -> Vec<OsString> {
                std::iter::once("kafka-restore")
                    .chain(text.split_whitespace())
                    .map(OsString::from)
                    .collect()
            };
            assert_eq!(
                with_command(&definition, words(typed)).0,
                words(read),
                "{typed:?}"
            );
        }
    }
}
