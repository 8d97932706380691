//! How many connections a broker is sent to over, and which partition goes over which. No I/O, no clock of its own.
//!
//! A broker handles one request of a connection at a time, so that over a few of them its threads work side by side.
//! More than these are needed where a network carries only so much on one (a window of 4 MB and 100 ms there and back are
//! 40 MB/s; clouds bound a single flow), or where the partitions of a broker have more to send than fits the requests
//! while each waits for the followers. Neither can be told beforehand, so it is tried: while a broker is kept busy
//! [`Search`] opens one connection more, and closes it again where that brings nothing.

use std::cmp::Reverse;
use std::time::Duration;

use tokio::time::Instant;

use super::links::LinkKey;

/// Windows after a change that are not measured: partitions move to the new connection, and TCP begins slowly. The
/// comparison is between the windows before and behind.
const UNMEASURED: u32 = 1;
/// Windows until something is tried again after it has brought nothing.
const PATIENCE: u32 = 30;
/// What part of a window a broker must have been kept busy. Not all of it: while an answer makes room, a partition has
/// nothing more to send for a moment.
const BUSY: f64 = 0.75;
/// What one more connection must bring.
const GAIN: f64 = 1.1;

/// Seeks the number of connections to one broker.
#[derive(Debug)]
pub(super) struct Search {
    most: usize,
    window: Duration,
    number: usize,
    phase: Phase,
    /// The window: when it began, when it was looked at last and what was seen then, for how long the broker was kept
    /// busy, what it has confirmed, and whether it has asked for a pause.
    since: Instant,
    seen: Instant,
    is_busy: bool,
    busy: Duration,
    confirmed: u64,
    is_throttled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nothing is tried before this time.
    Watching { not_before: Instant },
    /// One more is being opened. The rate is that of the window before, in bytes per second.
    Opening { before: f64 },
    /// One more is open, for so many windows before this one.
    Trying { before: f64, windows: u32 },
}

/// What became of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    /// The connection of this index is to be opened; [`Search::opened`] or [`Search::lost`] tells what came of it.
    Open(usize),
    /// The last one is kept. The rates before and after are bytes per second.
    Keep { before: f64, after: f64 },
    /// The last one brought nothing and is not used any more.
    GoBack { before: f64, after: f64 },
}

impl Search {
    /// Begins with `first` connections, and goes up to `most`.
    pub(super) fn new(first: usize, most: usize, window: Duration, now: Instant) -> Self {
        Self {
            most,
            window,
            number: first.max(1),
            phase: Phase::Watching { not_before: now },
            since: now,
            seen: now,
            is_busy: false,
            busy: Duration::ZERO,
            confirmed: 0,
            is_throttled: false,
        }
    }

    /// The number of connections.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The broker has confirmed so many bytes.
    pub(super) fn confirmed(&mut self, bytes: u64) {
        self.confirmed += bytes;
    }

    /// The broker has asked for a pause: it is a quota that bounds it, not a connection.
    pub(super) fn throttled(&mut self) {
        self.is_throttled = true;
    }

    /// Takes whether the broker is kept busy from now on: there is more to send to it, and its answers are waited for.
    /// `partitions` have something to send to it.
    pub(super) fn look(&mut self, now: Instant, is_busy: bool, partitions: usize) -> Option<Decision> {
        if self.is_busy {
            self.busy += now.saturating_duration_since(self.seen);
        }
        (self.seen, self.is_busy) = (now, is_busy);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < self.window || elapsed.is_zero() {
            return None;
        }
        let rate = self.confirmed as f64 / elapsed.as_secs_f64();
        let was_busy = self.busy.as_secs_f64() >= BUSY * elapsed.as_secs_f64() && !self.is_throttled;
        self.begin_window(now);
        match self.phase {
            Phase::Watching { not_before } => {
                let may_try = now >= not_before && self.number < self.most.min(partitions);
                if !(may_try && was_busy && rate > 0.0) {
                    return None;
                }
                self.phase = Phase::Opening { before: rate };
                Some(Decision::Open(self.number))
            }
            Phase::Opening { .. } => None,
            Phase::Trying { before, windows } if windows < UNMEASURED => {
                let windows = windows + 1;
                self.phase = Phase::Trying { before, windows };
                None
            }
            Phase::Trying { before, .. } if rate >= GAIN * before => {
                self.phase = Phase::Watching { not_before: now };
                Some(Decision::Keep { before, after: rate })
            }
            Phase::Trying { before, .. } => {
                self.fall_back(self.number - 1, now);
                Some(Decision::GoBack { before, after: rate })
            }
        }
    }

    /// The connection of this index is open.
    pub(super) fn opened(&mut self, index: usize, now: Instant) {
        if let Phase::Opening { before } = self.phase
            && index == self.number
        {
            self.number += 1;
            self.phase = Phase::Trying { before, windows: 0 };
            self.begin_window(now);
        }
    }

    /// The connection of this index (not 0) cannot be opened; a broker may allow only so many.
    pub(super) fn lost(&mut self, index: usize, now: Instant) {
        if index <= self.number {
            self.fall_back(index, now);
            self.begin_window(now);
        }
    }

    fn fall_back(&mut self, number: usize, now: Instant) {
        self.number = number.max(1);
        let not_before = now + self.window * PATIENCE;
        self.phase = Phase::Watching { not_before };
    }

    fn begin_window(&mut self, now: Instant) {
        self.since = now;
        self.busy = Duration::ZERO;
        self.confirmed = 0;
        self.is_throttled = false;
    }
}

/// Gives each partition of a broker one of its `number` connections, as many to each as to the others. No more of them
/// leave the one that they have than must: a move costs a partition a pause.
pub(super) fn distribute(broker: i32, number: usize, places: &mut [&mut Option<LinkKey>]) {
    let number = number.max(1);
    let mut taken = vec![0_usize; number];
    for place in places.iter_mut() {
        match **place {
            Some((of, index)) if of == broker && index < number => taken[index] += 1,
            _ => **place = None,
        }
    }
    // Where it does not come out even, those that have most have one more.
    let mut fullest_first: Vec<usize> = (0..number).collect();
    fullest_first.sort_by_key(|index| Reverse(taken[*index]));
    let mut room = vec![places.len() / number; number];
    for index in fullest_first.into_iter().take(places.len() % number) {
        room[index] += 1;
    }
    for place in places.iter_mut() {
        if let Some((_, index)) = **place {
            match room[index].checked_sub(1) {
                Some(left) => room[index] = left,
                None => **place = None,
            }
        }
    }
    let left = room.into_iter().enumerate();
    let mut left = left.flat_map(|(index, room)| std::iter::repeat_n((broker, index), room));
    for place in places.iter_mut().filter(|place| place.is_none()) {
        **place = left.next();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);
    const STEP: Duration = Duration::from_millis(10);

    /// A search and the time that its world has.
    struct World {
        search: Search,
        now: Instant,
    }

    impl World {
        fn new(most: usize) -> Self {
            Self::beginning_with(1, most)
        }

        fn beginning_with(first: usize, most: usize) -> Self {
            let now = Instant::now();
            Self {
                search: Search::new(first, most, WINDOW, now),
                now,
            }
        }

        /// One step of ten in a window.
        fn step(&mut self, bytes: u64, is_busy: bool, partitions: usize) -> Option<Decision> {
            self.search.confirmed(bytes);
            self.now += STEP;
            self.search.look(self.now, is_busy, partitions)
        }

        /// A broker that is kept busy all the time; `carries` says how many bytes so many connections carry in a step.
        fn run(&mut self, windows: u32, partitions: usize, carries: impl Fn(usize) -> u64) -> Vec<Decision> {
            let mut decisions = Vec::new();
            for _ in 0..windows * 10 {
                let Some(decision) = self.step(carries(self.search.number()), true, partitions) else {
                    continue;
                };
                if let Decision::Open(index) = decision {
                    self.search.opened(index, self.now);
                }
                decisions.push(decision);
            }
            decisions
        }
    }

    #[test]
    fn goes_up_while_that_brings_something() {
        let mut world = World::new(8);
        // A broker that takes three times what a connection carries.
        let decisions = world.run(35, 100, |number| 1000 * number.min(3) as u64);
        let opened = decisions
            .iter()
            .filter(|decision| matches!(decision, Decision::Open(_)));
        assert_eq!(opened.count(), 3, "{decisions:?}");
        assert!(matches!(decisions.last(), Some(Decision::GoBack { .. })));
        assert_eq!(world.search.number(), 3);
        // In the end it is tried once more.
        assert_eq!(world.run(30, 100, |_| 1000)[0], Decision::Open(3));
    }

    #[test]
    fn never_more_than_the_most_or_than_there_are_partitions() {
        for (most, partitions, reached) in [(4, 100, 4), (4, 3, 3), (4, 1, 1), (1, 100, 1), (0, 100, 1)] {
            let mut world = World::new(most);
            world.run(100, partitions, |number| 1000 * number as u64);
            assert_eq!(world.search.number(), reached, "{most} {partitions}");
        }
    }

    #[test]
    fn what_it_begins_with_is_not_given_up_but_for_what_cannot_be_opened() {
        let mut world = World::beginning_with(3, 8);
        let decisions = world.run(35, 100, |_| 1000);
        assert_eq!(decisions[0], Decision::Open(3));
        assert_eq!(world.search.number(), 3);
        let mut world = World::beginning_with(3, 8);
        world.search.lost(2, world.now);
        world.search.lost(1, world.now);
        assert_eq!(world.search.number(), 1);
        assert_eq!(World::beginning_with(0, 8).search.number(), 1);
    }

    #[test]
    fn a_short_run_opens_nothing() {
        let mut world = World::new(4);
        assert_eq!(world.run(1, 10, |_| 1000), [Decision::Open(1)]);
        let mut world = World::new(4);
        for _ in 0..9 {
            assert_eq!(world.step(1000, true, 10), None);
        }
    }

    #[test]
    fn a_broker_that_waits_is_throttled_or_confirms_nothing_is_left_alone() {
        let mut world = World::new(4);
        for step in 0..1000 {
            assert_eq!(world.step(1000, step % 10 < 7, 10), None, "it waits for us");
        }
        for step in 0..1000 {
            if step % 10 == 3 {
                world.search.throttled();
            }
            assert_eq!(world.step(1000, true, 10), None, "it has a quota");
        }
        let mut world = World::new(4);
        for _ in 0..1000 {
            assert_eq!(world.step(0, true, 10), None, "it stands still");
        }
    }

    #[test]
    fn a_connection_that_cannot_be_opened_is_not_asked_for_again_at_once() {
        let mut world = World::new(4);
        world.run(3, 10, |number| 1000 * number as u64);
        assert_eq!(world.search.number(), 2);
        let Some(Decision::Open(2)) = (0..20).find_map(|_| world.step(2000, true, 10)) else {
            panic!("it does not go on")
        };
        world.search.lost(2, world.now);
        assert_eq!(world.search.number(), 2);
        assert_eq!(world.run(PATIENCE - 1, 10, |_| 2000), []);
        // One that was in use and broke.
        world.search.lost(1, world.now);
        assert_eq!(world.search.number(), 1);
        assert_eq!(world.run(PATIENCE - 1, 10, |_| 2000), []);
        assert_eq!(world.run(2, 10, |_| 2000)[0], Decision::Open(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Where every connection carries the same up to what the broker takes, the search ends where one more would
        /// bring less than it must.
        #[test]
        fn finds_what_is_worth_it(carries in 100_u64..1000, takes in 100_u64..5000, partitions in 1_usize..9) {
            let rate = |number: usize| (carries * number as u64).min(takes);
            let mut world = World::new(4);
            let decisions = world.run(20, partitions, rate);
            let mut expected = 1;
            while expected < 4.min(partitions) && rate(expected + 1) as f64 >= GAIN * rate(expected) as f64 {
                expected += 1;
            }
            prop_assert_eq!(world.search.number(), expected, "{:?}", decisions);
        }

        /// Whatever happens: the number moves by one, in its bounds, and is told only of what was asked for.
        #[test]
        fn stays_in_its_bounds(steps in vec((0_u64..2000, 0_u32..20, 0_usize..6, 0_u8..20), 1..400), most in 0_usize..6) {
            let mut world = World::new(most);
            let mut opening = None;
            let mut quiet_until = world.now;
            for (bytes, pauses, partitions, event) in steps {
                let before = world.search.number();
                world.now += STEP * pauses;
                match (event, opening) {
                    (0 | 1, Some(index)) => {
                        world.search.opened(index, world.now);
                        opening = None;
                        prop_assert_eq!(world.search.number(), before + 1);
                    }
                    (2, Some(index)) => {
                        world.search.lost(index, world.now);
                        (opening, quiet_until) = (None, world.now + WINDOW * PATIENCE);
                        prop_assert_eq!(world.search.number(), before);
                    }
                    (3, None) if before > 1 => {
                        world.search.lost(before - 1, world.now);
                        quiet_until = world.now + WINDOW * PATIENCE;
                        prop_assert_eq!(world.search.number(), before - 1);
                    }
                    // What nobody waits for.
                    (4, None) => world.search.opened(before, world.now),
                    (5, _) => world.search.throttled(),
                    _ => {}
                }
                let before = world.search.number();
                match world.step(bytes, event % 7 != 6, partitions) {
                    Some(Decision::Open(index)) => {
                        prop_assert!(opening.is_none() && index == before && index < most.min(partitions));
                        prop_assert!(world.now >= quiet_until, "too early");
                        opening = Some(index);
                        prop_assert_eq!(world.search.number(), before);
                    }
                    Some(Decision::GoBack { before: rate, after }) => {
                        prop_assert!(after < GAIN * rate && before > 1);
                        prop_assert_eq!(world.search.number(), before - 1);
                        quiet_until = world.now + WINDOW * PATIENCE;
                    }
                    Some(Decision::Keep { before: rate, after }) => {
                        prop_assert!(after >= GAIN * rate);
                        prop_assert_eq!(world.search.number(), before);
                    }
                    None => prop_assert_eq!(world.search.number(), before),
                }
                prop_assert!((1..=most.max(1)).contains(&world.search.number()));
            }
        }

        /// Every partition has a connection of its broker, all have as many, and no more move than must.
        #[test]
        fn places_are_even_and_kept(
            mut places in vec(proptest::option::of((0_i32..2, 0_usize..6)), 0..40),
            number in 1_usize..5,
        ) {
            let before = places.clone();
            let mut borrowed: Vec<&mut Option<LinkKey>> = places.iter_mut().collect();
            distribute(1, number, &mut borrowed);
            let count = |places: &[Option<LinkKey>], index| {
                places.iter().filter(|place| **place == Some((1, index))).count()
            };
            let (least, most) = (places.len() / number, places.len().div_ceil(number));
            for index in 0..number {
                let (had, has) = (count(&before, index), count(&places, index));
                prop_assert!((least..=most).contains(&has));
                let left = (0..places.len()).filter(|at| before[*at] == Some((1, index)) && places[*at] != before[*at]);
                prop_assert!(left.count() <= had.saturating_sub(least));
            }
            let total: usize = (0..number).map(|index| count(&places, index)).sum();
            prop_assert_eq!(total, places.len());
            let again = places.clone();
            let mut borrowed: Vec<&mut Option<LinkKey>> = places.iter_mut().collect();
            distribute(1, number, &mut borrowed);
            prop_assert_eq!(again, places, "nobody moves twice");
        }
    }
}
