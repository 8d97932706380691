//! Options of every command: the config file, and how the program talks.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::heading;

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalArguments {
    /// Config file: where the backup is, which cluster, and any option by its long name.
    ///
    /// JSON, or YAML (.yaml, .yml), or TOML (.toml). Options on the command line win over it. Values may hold
    /// ${NAME} for an environment variable.
    #[arg(short, long, value_name = "FILE", global = true, help_heading = heading::SOURCE)]
    pub(crate) config: Option<PathBuf>,

    /// How progress is shown on stderr.
    #[arg(long, value_name = "WAY", global = true, default_value = "auto", help_heading = heading::OUTPUT)]
    pub(crate) progress: ProgressStyle,

    /// How log lines are written to stderr.
    #[arg(long, value_name = "FORMAT", global = true, default_value = "text", help_heading = heading::OUTPUT)]
    pub(crate) log_format: LogFormat,

    /// Say more: -v what is done, -vv every request, -vvv everything.
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = heading::OUTPUT)]
    pub(crate) verbose: u8,

    /// Say nothing but errors and results.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = heading::OUTPUT)]
    pub(crate) quiet: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// A live bar on a terminal, plain lines otherwise
    Auto,
    /// A line every few seconds
    Plain,
    /// One JSON object per line, for programs
    Json,
    /// Nothing
    None,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}
