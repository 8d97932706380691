//! What offsets without records really cost, from the moment the first of them are written.
//!
//! A plan changes nothing, so before the first record only the way to the brokers can be measured; the rest of an
//! estimate are rates of other machines. Here each way of filling offsets has a clock that runs while some of them are
//! on their way, in whatever partition; what is done by then gives the rate of this very cluster, and from that follows
//! how long the rest takes. Where records stand between the offsets, their time is in it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cost;
use super::gaps::GapMethod;
use crate::plan::RestorePlan;

/// A rate is believed after so long, or when all is done.
const TELLING: Duration = Duration::from_secs(2);

/// How offsets are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Batches of null records before the first record.
    Prefix,
    /// Whatever the topic's gaps are closed with.
    Gaps,
}

/// What offsets without records cost in a run, estimated and measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredCost {
    /// Offsets without records that the plan expected to be filled.
    pub expected_offsets: u64,
    /// What the plan expected that to take, seconds.
    pub expected_seconds: f64,
    /// Offsets filled by this run, confirmed.
    pub offsets: u64,
    /// The time during which some were on their way, seconds.
    pub seconds: f64,
    /// What the rest will take at the rates measured so far, seconds.
    pub seconds_left: f64,
}

impl MeasuredCost {
    /// What all of it takes, as far as is known.
    pub fn total_seconds(&self) -> f64 {
        self.seconds + self.seconds_left
    }
}

#[derive(Debug, Default)]
struct Clock {
    expected: u64,
    expected_seconds: f64,
    done: u64,
    under_way: usize,
    since: Option<Instant>,
    spent: Duration,
}

impl Clock {
    fn spent(&self, now: Instant) -> Duration {
        self.spent
            + self
                .since
                .map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    fn begin(&mut self, now: Instant) {
        self.under_way += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, offsets: u64, now: Instant) {
        self.done += offsets;
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            self.spent = self.spent(now);
            self.since = None;
        }
    }

    fn seconds_left(&self, now: Instant) -> f64 {
        let left = self.expected.saturating_sub(self.done) as f64;
        let spent = self.spent(now);
        match spent >= TELLING && self.done > 0 {
            true => left * spent.as_secs_f64() / self.done as f64,
            false if self.expected == 0 => 0.0,
            false => self.expected_seconds * left / self.expected as f64,
        }
    }
}

/// See the module's documentation. Shared by all partitions.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    clocks: Mutex<BTreeMap<Way, Clock>>,
    /// How long it may take before a person is told.
    limit: Option<Duration>,
}

impl Measured {
    /// What the exact topics of `plan` are expected to cost, and may cost before a person is told.
    pub(crate) fn new(plan: &RestorePlan, limit: Duration) -> Self {
        let (mut prefix, mut gaps) = (Clock::default(), Clock::default());
        for topic in plan.topics.iter().filter(|topic| topic.exact) {
            for partition in &topic.partitions {
                let (Some(survey), Some(cost)) = (&partition.survey, partition.cost) else {
                    continue;
                };
                let first = survey.first_offset.unwrap_or(0);
                let before = (first - partition.target_end).max(0).unsigned_abs();
                let seconds = cost::prefix_seconds(before);
                prefix.expected += before;
                prefix.expected_seconds += seconds;
                if topic.gaps != Some(GapMethod::None) {
                    gaps.expected += cost::missing_left(survey, partition.target_end) as u64;
                    gaps.expected_seconds += (cost.seconds - seconds).max(0.0);
                }
            }
        }
        Self {
            clocks: Mutex::new([(Way::Prefix, prefix), (Way::Gaps, gaps)].into()),
            limit: Some(limit),
        }
    }

    fn clocks(&self) -> MutexGuard<'_, BTreeMap<Way, Clock>> {
        self.clocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some offsets are on their way from now on.
    pub(crate) fn begin(&self, way: Way) {
        self.clocks().entry(way).or_default().begin(Instant::now());
    }

    /// They are not any more; so many of them are confirmed.
    pub(crate) fn end(&self, way: Way, offsets: u64) {
        self.clocks().entry(way).or_default().end(offsets, Instant::now());
    }

    /// More are confirmed, and others still on their way.
    pub(crate) fn add(&self, way: Way, offsets: u64) {
        self.clocks().entry(way).or_default().done += offsets;
    }

    /// What a person is told once offsets without records turn out to cost more than the limit; `None` before.
    pub(crate) fn over_limit(&self) -> Option<String> {
        over_limit(&self.cost()?, self.limit?)
    }

    /// What is known now; `None` where no offsets are to be filled.
    pub(crate) fn cost(&self) -> Option<MeasuredCost> {
        let now = Instant::now();
        let mut cost = MeasuredCost::default();
        for clock in self.clocks().values() {
            cost.expected_offsets += clock.expected;
            cost.expected_seconds += clock.expected_seconds;
            cost.offsets += clock.done;
            cost.seconds += clock.spent(now).as_secs_f64();
            cost.seconds_left += clock.seconds_left(now);
        }
        (cost.expected_offsets > 0 || cost.offsets > 0).then_some(cost)
    }
}

/// See [`Measured::over_limit`].
fn over_limit(cost: &MeasuredCost, limit: Duration) -> Option<String> {
    let is_measured = cost.seconds >= TELLING.as_secs_f64();
    (is_measured && cost.total_seconds() > limit.as_secs_f64()).then(|| {
        format!(
            "original offsets cost about {:.0} s in all at the rate measured here ({} offsets without records in {:.0} s so \
             far; the plan expected {:.0} s), more than --exact-limit allows ({} s). The restore goes on. To do without \
             them, stop it, delete what it has created, and restore with --offsets map",
            cost.total_seconds(),
            cost.offsets,
            cost.seconds,
            cost.expected_seconds,
            limit.as_secs()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(expected: u64, expected_seconds: f64) -> Clock {
        Clock {
            expected,
            expected_seconds,
            ..Clock::default()
        }
    }

    #[test]
    fn the_clock_runs_while_any_partition_fills() {
        let (mut clock, start) = (clock(1_000, 3.0), Instant::now());
        assert_eq!(clock.seconds_left(start), 3.0);
        clock.begin(start);
        clock.begin(start + SECOND);
        clock.end(100, start + 2 * SECOND);
        clock.end(100, start + 4 * SECOND);
        let later = start + 60 * SECOND;
        assert_eq!(clock.spent(later), 4 * SECOND, "nothing was under way since");
        assert_eq!(clock.seconds_left(later), 16.0, "50 a second, 800 to do");
        clock.begin(later);
        assert_eq!(clock.spent(later + SECOND), 5 * SECOND);
    }

    #[test]
    fn the_plans_rate_holds_until_there_is_another() {
        let (mut clock, start) = (clock(1_000, 10.0), Instant::now());
        clock.begin(start);
        clock.end(500, start + SECOND);
        assert_eq!(clock.seconds_left(start + SECOND), 5.0);
        assert_eq!(super::Clock::default().seconds_left(start), 0.0);
        // More gaps than were estimated.
        clock.end(5_000, start + 9 * SECOND);
        assert_eq!(clock.seconds_left(start + 9 * SECOND), 0.0);
    }

    #[test]
    fn more_than_the_limit_is_said_once_it_is_measured() {
        let mut cost = MeasuredCost {
            expected_offsets: 1_000_000,
            expected_seconds: 60.0,
            offsets: 100,
            seconds: 1.0,
            seconds_left: 9_999.0,
        };
        let limit = Duration::from_secs(600);
        assert_eq!(over_limit(&cost, limit), None);
        cost.seconds = 3.0;
        let said = over_limit(&cost, limit).unwrap();
        assert!(
            said.contains("about 10002 s") && said.contains("(600 s)"),
            "{said}"
        );
        cost.seconds_left = 500.0;
        assert_eq!(over_limit(&cost, limit), None);
    }
}
