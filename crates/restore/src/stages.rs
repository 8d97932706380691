//! Where the time of a run goes: what somebody who wants it faster has to buy.
//!
//! Every partition ends in one task that waits for something nearly all the time: for records (because the store is slow,
//! or the CPU threads are busy unwrapping and decoding), for the encoding of a batch, or for room at the brokers. The
//! waits of all partitions together are the time of the run, so their proportions say what held it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup::stream::StageClock;
use serde::{Deserialize, Serialize};

/// Seconds per stage, and what part of the run each stage held up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stages {
    /// Listing the backup.
    pub list_seconds: f64,
    /// Partitions that waited for the store, summed.
    pub fetch_seconds: f64,
    /// CPU threads in containers (gzip, snappy, zstd), summed.
    pub unwrap_seconds: f64,
    /// CPU threads in formats, summed.
    pub decode_seconds: f64,
    /// CPU threads that make and compress batches, summed.
    pub encode_seconds: f64,
    /// Partitions that waited for the brokers, summed.
    pub broker_seconds: f64,
    /// Pauses that brokers asked for (quotas).
    pub throttled_seconds: f64,
    /// The most connections over which one broker was written to, without those that were tried and brought nothing.
    pub connections_per_broker: usize,
    /// What part of the run each stage held up.
    pub shares: Shares,
}

/// What part of the run's time each stage held up, from 0 to 1; together 1, unless nothing was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// Listing the backup.
    pub list: f64,
    /// The store, or the network to it.
    pub fetch: f64,
    /// The CPU, unwrapping.
    pub unwrap: f64,
    /// The CPU, decoding.
    pub decode: f64,
    /// The CPU, encoding and compressing.
    pub encode: f64,
    /// The brokers, or the network to them.
    pub broker: f64,
}

impl Shares {
    /// Each stage's name and share, in the order in which records pass them.
    pub fn all(&self) -> [(&'static str, f64); 6] {
        [
            ("list", self.list),
            ("fetch", self.fetch),
            ("unwrap", self.unwrap),
            ("decode", self.decode),
            ("encode", self.encode),
            ("broker", self.broker),
        ]
    }

    /// The stage with the largest share; nothing where nothing was done.
    pub fn limit(&self) -> Option<&'static str> {
        let largest = self
            .all()
            .into_iter()
            .max_by(|one, other| one.1.total_cmp(&other.1));
        largest.filter(|(_, share)| *share > 0.0).map(|(name, _)| name)
    }
}

/// Adds up the times of a run, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    list: AtomicU64,
    waiting_for_records: AtomicU64,
    waiting_for_encoding: AtomicU64,
    waiting_for_brokers: AtomicU64,
    encoding: Arc<AtomicU64>,
    streams: Arc<StageClock>,
}

impl Clock {
    /// A clock of a run whose listing took `list` and whose streams keep `streams`.
    pub(crate) fn new(list: Duration, streams: &Arc<StageClock>) -> Self {
        let clock = Self {
            streams: Arc::clone(streams),
            ..Self::default()
        };
        add(&clock.list, list);
        clock
    }

    /// Counts the nanoseconds that CPU threads spend on encoding.
    pub(crate) fn encoding(&self) -> &Arc<AtomicU64> {
        &self.encoding
    }

    /// A partition had no batch to send since `since`: none was read and cut.
    pub(crate) fn waited_for_records(&self, since: Instant) {
        add(&self.waiting_for_records, since.elapsed());
    }

    /// A partition's next batch was not encoded yet since `since`.
    pub(crate) fn waited_for_encoding(&self, since: Instant) {
        add(&self.waiting_for_encoding, since.elapsed());
    }

    /// A partition's next batch found no room, or the last ones were not confirmed, since `since`.
    pub(crate) fn waited_for_brokers(&self, since: Instant) {
        add(&self.waiting_for_brokers, since.elapsed());
    }

    /// The times so far, of a run that takes `elapsed` without the listing.
    pub(crate) fn stages(&self, elapsed: Duration, throttled: Duration) -> Stages {
        let seconds = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed)).as_secs_f64();
        let streams = self.streams.times();
        let (waiting, for_store) = (
            streams.waiting.as_secs_f64(),
            streams.waiting_for_store.as_secs_f64(),
        );
        let (for_records, broker) = (
            seconds(&self.waiting_for_records),
            seconds(&self.waiting_for_brokers),
        );
        // A reader that is ahead waits for the store while its writer has other things to wait for: only the part of the
        // writer's own wait counts.
        let fetch = for_records * part(for_store, waiting);
        let cpu = for_records - fetch + seconds(&self.waiting_for_encoding);
        let (unwrap, decode, encode) = (
            streams.unwrapping.as_secs_f64(),
            streams.decoding.as_secs_f64(),
            seconds(&self.encoding),
        );
        let (list, elapsed) = (seconds(&self.list), elapsed.as_secs_f64());
        let list_share = part(list, list + elapsed);
        let scale = part(1.0 - list_share, fetch + cpu + broker);
        let of_cpu = |busy: f64| cpu * part(busy, unwrap + decode + encode) * scale;
        Stages {
            list_seconds: list,
            fetch_seconds: for_store,
            unwrap_seconds: unwrap,
            decode_seconds: decode,
            encode_seconds: encode,
            broker_seconds: broker,
            throttled_seconds: throttled.as_secs_f64(),
            connections_per_broker: 0,
            shares: Shares {
                list: list_share,
                fetch: fetch * scale,
                unwrap: of_cpu(unwrap),
                decode: of_cpu(decode),
                encode: of_cpu(encode),
                broker: broker * scale,
            },
        }
    }
}

fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { of / whole } else { 0.0 }
}

fn add(sum: &AtomicU64, time: Duration) {
    sum.fetch_add(
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_parts_of_the_whole_run() {
        let clock = Clock::new(Duration::from_secs(10), &Arc::default());
        add(&clock.waiting_for_records, Duration::from_secs(10));
        add(&clock.waiting_for_encoding, Duration::from_secs(20));
        add(&clock.waiting_for_brokers, Duration::from_secs(60));
        add(&clock.encoding, Duration::from_secs(7));
        let stages = clock.stages(Duration::from_secs(30), Duration::ZERO);
        let shares = stages.shares;
        let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(close(shares.list, 0.25), "{shares:?}");
        assert!(close(shares.broker, 0.5), "{shares:?}");
        assert!(close(shares.encode, 0.25), "{shares:?}");
        let sum: f64 = shares.all().iter().map(|(_, share)| share).sum();
        assert!(close(sum, 1.0), "{shares:?}");
        assert_eq!(shares.limit(), Some("broker"));
        assert_eq!(stages.encode_seconds, 7.0);
    }

    #[test]
    fn a_run_that_does_nothing_has_no_limit() {
        let stages = Clock::default().stages(Duration::ZERO, Duration::ZERO);
        assert_eq!(stages, Stages::default());
        assert_eq!(stages.shares.limit(), None);
    }
}
