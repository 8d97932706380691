//! Plain lines, for logs and for terminals that cannot move a cursor.

use std::time::Duration;

use super::{Status, View, line};
use crate::printer::Printer;

/// A line every few seconds.
pub(super) struct Plain {
    printer: Printer,
    last: String,
}

impl Plain {
    /// Writes to the printer's stderr.
    pub(super) fn new(printer: Printer) -> Self {
        Self {
            printer,
            last: String::new(),
        }
    }
}

impl View for Plain {
    fn show(&mut self, status: &Status) {
        let line = line(status);
        if line != self.last {
            self.printer.say(&line);
            self.last = line;
        }
    }

    fn end(&mut self) {}

    fn interval(&self) -> Duration {
        Duration::from_secs(5)
    }
}
