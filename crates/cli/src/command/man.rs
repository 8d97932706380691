//! `man`: the manual pages, made from the same definitions as `--help`.

use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use crate::command_line;
use crate::error::{CommandError, Outcome};
use crate::printer::Printer;

const AFTER_HELP: &str = "\
Examples:
  kafka-restore man | man -l -
  kafka-restore man --output /usr/local/share/man/man1";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// A folder that gets one page per command, instead of the main page on stdout.
    #[arg(long, value_name = "FOLDER", help_heading = crate::argument::heading::OUTPUT)]
    output: Option<PathBuf>,
}

/// Prints or writes the pages.
pub(crate) fn run(arguments: &Arguments, printer: &Printer) -> Result<Outcome, CommandError> {
    let definition = command_line::definition().disable_help_subcommand(true);
    let Some(folder) = &arguments.output else {
        printer.result_bytes(&page(definition)?)?;
        return Ok(Outcome::Done);
    };
    let write = |name: &str, page: Vec<u8>| {
        let path = folder.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(|error| {
            anyhow::Error::new(error).context(format!("{} cannot be written", path.display()))
        })
    };
    for command in definition.get_subcommands() {
        let name = format!("kafka-restore-{}", command.get_name());
        // clap wants names that live as long as the program; there are eight of them.
        let command = command.clone().name(name.clone().leak() as &'static str);
        write(&name, page(command)?)?;
    }
    write("kafka-restore", page(definition)?)?;
    Ok(Outcome::Done)
}

fn page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
