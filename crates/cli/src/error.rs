//! Errors at the edge: what went wrong, what to do next, and with which exit status the program ends.

use std::fmt::Write as _;

use ::restore::error::RestoreError;
use kafka::error::KafkaError;

use crate::config::ConfigError;
use crate::hint;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, and nothing to report.
    Done,
    /// Done, but with findings: verify differs, restore skipped or rejected records.
    Findings,
    /// Stopped at the user's wish; safe to run again.
    Interrupted,
}

impl Outcome {
    /// The exit status, as documented.
    pub(crate) fn exit_status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Findings => 3,
            Self::Interrupted => 130,
        }
    }
}

/// What kind of failure it is: this decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The work failed: 1.
    Failed,
    /// The command line or the configuration is wrong; nothing was tried: 2.
    Usage,
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// What kind of failure it is.
    pub(crate) kind: Kind,
    /// What went wrong, with its causes.
    pub(crate) error: anyhow::Error,
    /// What to do next, in full sentences.
    pub(crate) hints: Vec<String>,
}

impl CommandError {
    /// Wrong usage, in a full sentence.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            kind: Kind::Usage,
            error: anyhow::anyhow!("{message}"),
            hints: Vec::new(),
        }
    }

    /// The exit status, as documented.
    pub(crate) fn exit_status(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
        }
    }

    /// `error: ...`, `  caused by: ...` for every cause that says something new, `hint: ...` for every hint.
    /// `label` draws the words before the colons.
    pub(crate) fn render(&self, label: impl Fn(&str) -> String) -> String {
        let mut text = format!("{} {}\n", label("error:"), self.error);
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            if !said.contains(&cause) {
                let _ = writeln!(text, "  {} {cause}", label("caused by:"));
                said = cause;
            }
        }
        for hint in &self.hints {
            let _ = writeln!(text, "{} {hint}", label("hint:"));
        }
        text
    }
}

/// Everything else failed at work. The hints are those that belong to the causes.
impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        let usage = |cause: &(dyn std::error::Error + 'static)| {
            cause.is::<ConfigError>()
                || matches!(cause.downcast_ref(), Some(KafkaError::Config { .. }))
                // The library's error hands its own cause on as itself, so that it is not in the chain.
                || matches!(cause.downcast_ref(), Some(RestoreError::Kafka(KafkaError::Config { .. })))
        };
        let kind = if error.chain().any(usage) {
            Kind::Usage
        } else {
            Kind::Failed
        };
        let hints = hint::for_error(&error);
        Self { kind, error, hints }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        anyhow::Error::new(error).into()
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::new(error).into()
    }
}
