//! The library's events as they are, one JSON object per line on stderr, for programs that watch.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::restore::progress::Event;

/// Events that come many times a second are written this often.
const STEP: Duration = Duration::from_secs(1);

/// Writes events, the frequent ones thinned out.
#[derive(Debug, Default)]
pub(super) struct Events {
    last: Mutex<Option<Instant>>,
}

impl Events {
    /// Writes `event`, which came at `now`, unless another of its frequent kind was written just before.
    pub(super) fn write(&self, event: &Event, now: Instant) {
        if self.is_due(event, now)
            && let Ok(mut line) = serde_json::to_string(event)
        {
            line.push('\n');
            // Where nobody listens any more, the work goes on.
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn is_due(&self, event: &Event, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Listing { .. } | Event::Advance(_) => {
                let due = last.is_none_or(|last| now.duration_since(last) >= STEP);
                if due {
                    *last = Some(now);
                }
                due
            }
            // Whatever comes first in a new phase is written.
            Event::Phase { .. } => {
                *last = None;
                true
            }
            Event::PartitionDone { .. } | Event::Notice { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::restore::progress::{Phase, Snapshot};

    #[test]
    fn frequent_events_are_thinned_out() {
        let (events, start) = (Events::default(), Instant::now());
        let advance = Event::Advance(Snapshot::default());
        let phase = Event::Phase {
            phase: Phase::Restore,
            subject: String::new(),
        };
        let notice = Event::Notice { message: "x".into() };
        let due = |event: &Event, milliseconds: u64| {
            events.is_due(event, start + Duration::from_millis(milliseconds))
        };
        assert!(due(&phase, 0));
        assert!(due(&advance, 1));
        assert!(!due(&advance, 500));
        assert!(due(&notice, 501));
        assert!(due(&advance, 1001));
        assert!(due(&phase, 1002));
        assert!(due(&advance, 1003));
    }
}
