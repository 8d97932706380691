//! stdout is for results, stderr for talk; both go through here.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use serde::Serialize;

use crate::error::CommandError;

/// Writes to stdout and stderr, around a live progress bar.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    quiet: bool,
    color: bool,
    /// The live bars, which have to step aside for every line.
    pub(crate) bars: MultiProgress,
}

impl Printer {
    /// `quiet` silences the talk; `no_color` is whether NO_COLOR is set to something.
    pub(crate) fn new(quiet: bool, no_color: bool) -> Self {
        Self {
            quiet,
            color: !no_color && io::stderr().is_terminal(),
            bars: MultiProgress::new(),
        }
    }

    /// A result, to stdout.
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        self.result_bytes(text.as_bytes())
    }

    /// A result that is bytes, to stdout.
    pub(crate) fn result_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            stdout.flush()
        })
    }

    /// A result for programs, to stdout.
    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.result(&text)
    }

    /// A line for the person who watches, to stderr.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            self.stderr(&format!("{line}\n"));
        }
    }

    /// A line that matters even to those who asked for quiet.
    pub(crate) fn warn(&self, line: &str) {
        self.stderr(&format!("{} {line}\n", self.label("warning:", "33")));
    }

    /// Why the command failed, to stderr.
    pub(crate) fn error(&self, error: &CommandError) {
        self.stderr(&error.render(|word| {
            let color = match word {
                "error:" => "31",
                "hint:" => "36",
                _ => "2",
            };
            self.label(word, color)
        }));
    }

    fn label(&self, word: &str, color: &str) -> String {
        if self.color {
            format!("\u{1b}[1;{color}m{word}\u{1b}[0m")
        } else {
            word.to_owned()
        }
    }

    /// Where nobody can be told, nothing is left to be done about it.
    fn stderr(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        });
    }
}

/// A writer for log lines that steps around the live bars too.
impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
