//! `completions`: a script that completes this program's command line in a shell.

use clap::Args;
use clap_complete::Shell;

use crate::command_line;
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore completions bash > /etc/bash_completion.d/kafka-restore
  kafka-restore completions zsh > \"${fpath[1]}/_kafka-restore\"
  kafka-restore completions fish > ~/.config/fish/completions/kafka-restore.fish";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The shell that reads the script.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(arguments: &Arguments, printer: &Printer) -> Result<Outcome, CommandError> {
    let mut script = Vec::new();
    let mut definition = command_line::definition();
    clap_complete::generate(arguments.shell, &mut definition, "kafka-restore", &mut script);
    printer.result_bytes(&script)?;
    Ok(Outcome::Done)
}
