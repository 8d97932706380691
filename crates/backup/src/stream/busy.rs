//! What all streams of a run spend their time on, readable at any moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Adds up times from any thread.
#[derive(Debug, Default)]
pub struct StageClock {
    unwrapping: AtomicU64,
    decoding: AtomicU64,
    waiting: AtomicU64,
    waiting_for_store: AtomicU64,
}

/// Sums over all streams, threads and objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusyTimes {
    /// Time of the CPU threads in containers: gzip, snappy, zstd.
    pub unwrapping: Duration,
    /// Time of the CPU threads in formats.
    pub decoding: Duration,
    /// Time in which a stream was asked for a block and had none.
    pub waiting: Duration,
    /// Of that, time in which the object at the head had to wait for the store.
    pub waiting_for_store: Duration,
}

impl StageClock {
    /// Notes a visit to the CPU threads of `took` in all, `unwrapping` of it in containers.
    pub(super) fn worked(&self, took: Duration, unwrapping: Duration) {
        add(&self.unwrapping, unwrapping);
        add(&self.decoding, took.saturating_sub(unwrapping));
    }

    /// Notes that a stream had to wait for `waited` in all, `for_store` of it for the store.
    pub(super) fn waited(&self, waited: Duration, for_store: Duration) {
        add(&self.waiting, waited);
        add(&self.waiting_for_store, for_store);
    }

    /// The sums so far.
    pub fn times(&self) -> BusyTimes {
        let load = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed));
        BusyTimes {
            unwrapping: load(&self.unwrapping),
            decoding: load(&self.decoding),
            waiting: load(&self.waiting),
            waiting_for_store: load(&self.waiting_for_store),
        }
    }
}

fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
}
