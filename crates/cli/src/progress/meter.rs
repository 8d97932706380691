//! Rates over the last seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rates are taken over this time: long enough to be calm, short enough to show a stall.
const WINDOW: Duration = Duration::from_secs(15);

/// Looks closer together than this replace each other, so that the list stays short.
const STEP: Duration = Duration::from_millis(250);

/// Remembers the counts of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Meter {
    looks: VecDeque<(Instant, u64, u64)>,
}

/// Records and bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) records: f64,
    pub(super) bytes: f64,
}

impl Meter {
    /// Notes the counts at `now` and gives the pace since the oldest look within the window.
    pub(super) fn note(&mut self, now: Instant, records: u64, bytes: u64) -> Pace {
        let close = self.looks.len() > 1
            && self
                .looks
                .back()
                .is_some_and(|last| now.duration_since(last.0) < STEP);
        if close {
            self.looks.pop_back();
        }
        self.looks.push_back((now, records, bytes));
        while self.looks.len() > 2 && now.duration_since(self.looks[1].0) >= WINDOW {
            self.looks.pop_front();
        }
        let (then, first_records, first_bytes) = self.looks[0];
        let seconds = now.duration_since(then).as_secs_f64();
        let pace = |first: u64, last: u64| match seconds > 0.0 {
            true => last.saturating_sub(first) as f64 / seconds,
            false => 0.0,
        };
        Pace {
            records: pace(first_records, records),
            bytes: pace(first_bytes, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = Meter::default();
        assert_eq!(
            meter.note(start, 0, 0),
            Pace {
                records: 0.0,
                bytes: 0.0
            }
        );
        for second in 1..=100 {
            let pace = meter.note(start + Duration::from_secs(second), second * 10, second * 1000);
            assert_eq!(
                pace,
                Pace {
                    records: 10.0,
                    bytes: 1000.0
                }
            );
        }
        for second in 101..=130 {
            meter.note(start + Duration::from_secs(second), 1000, 100_000);
        }
        assert_eq!(
            meter.note(start + Duration::from_secs(131), 1000, 100_000),
            Pace {
                records: 0.0,
                bytes: 0.0
            }
        );
        assert!(meter.looks.len() < 20);
    }

    #[test]
    fn frequent_looks_cost_no_memory() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for look in 0..10_000 {
            meter.note(start + Duration::from_millis(look), look, look);
        }
        assert!(meter.looks.len() < 100, "{}", meter.looks.len());
    }
}
