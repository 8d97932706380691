//! A live bar on a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Status, View, line};

/// One line that is drawn over and over.
pub(super) struct Bar {
    bar: ProgressBar,
    has_length: bool,
}

impl Bar {
    /// A line below everything else that is written through `bars`.
    pub(super) fn new(bars: &MultiProgress) -> Self {
        let bar = bars.add(ProgressBar::no_length());
        bar.set_style(style("{spinner} {wide_msg}"));
        Self {
            bar,
            has_length: false,
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

impl View for Bar {
    fn show(&mut self, status: &Status) {
        let snapshot = &status.state.snapshot;
        let has_length = snapshot.stored_bytes_total > 0;
        if has_length != self.has_length {
            self.bar.set_style(style(if has_length {
                "[{bar:24}] {wide_msg}"
            } else {
                "{spinner} {wide_msg}"
            }));
            self.has_length = has_length;
        }
        if has_length {
            self.bar.set_length(snapshot.stored_bytes_total);
            self.bar
                .set_position(snapshot.stored_bytes_done.min(snapshot.stored_bytes_total));
        }
        self.bar.set_message(line(status));
        self.bar.tick();
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(150)
    }
}
