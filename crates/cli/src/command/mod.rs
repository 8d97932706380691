//! One file per command: its arguments, its help, and one `run` that calls the library and prints.

use tokio_util::sync::CancellationToken;

use crate::argument::global::GlobalArguments;
use crate::argument::selection::TopicArguments;
use crate::config::ConfigFile;
use crate::printer::Printer;
use crate::progress::Watcher;
use crate::value::moment;

pub(crate) mod cat;
pub(crate) mod completions;
pub(crate) mod groups;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod offsets;
pub(crate) mod plan;
pub(crate) mod restore;
pub(crate) mod snapshot;
pub(crate) mod topics;
pub(crate) mod verify;

/// What every command gets beside its own arguments.
pub(crate) struct Context<'a> {
    /// Options of every command.
    pub(crate) global: &'a GlobalArguments,
    /// The config file; an empty one where none was given.
    pub(crate) file: &'a ConfigFile,
    /// Where results and talk go.
    pub(crate) printer: &'a Printer,
    /// Is cancelled when the user wants the command to stop.
    pub(crate) stop: CancellationToken,
}

impl Context<'_> {
    /// Shows the events of a job until it is dropped.
    pub(crate) fn watcher(&self) -> Watcher {
        Watcher::start(self.global.progress, self.global.quiet, self.printer)
    }

    /// Says how a date was understood, since there are many ways to write one.
    pub(crate) fn announce(&self, topics: &TopicArguments) {
        if let Some(since) = topics.since {
            self.printer.say(&format!(
                "only objects modified at or after {}",
                moment::show(since)
            ));
        }
    }

    /// What `work` gives, or none where the user wants to stop first. For work that changes nothing.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.stop.cancelled() => None,
        }
    }
}
