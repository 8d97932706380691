//! What all partitions of a run share: connections, threads, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup::stream::StreamContext;
use kafka::cluster::Cluster;
use kafka::producer::{Producer, ProducerIdentity};
use tokio_util::sync::CancellationToken;

use crate::exact::measured::Measured;
use crate::interim::Interim;
use crate::pace::Pace;
use crate::progress::{Event, Progress, Snapshot};
use crate::stages::Clock;

/// See the module's documentation.
pub(crate) struct Shared {
    pub(crate) stream: StreamContext,
    pub(crate) cluster: Cluster,
    pub(crate) producer: Producer,
    pub(crate) identity: ProducerIdentity,
    /// How fast payload may go to the brokers.
    pub(crate) pace: Pace,
    /// How long brokers may be away.
    pub(crate) patience: Duration,
    pub(crate) counters: Arc<Counters>,
    /// Where partitions tell how far they are.
    pub(crate) interim: Interim,
    pub(crate) cancel: CancellationToken,
    pub(crate) progress: Arc<dyn Progress>,
}

/// Counts of what happened, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) objects_done: AtomicU64,
    pub(crate) stored_bytes_done: AtomicU64,
    pub(crate) records_read: AtomicU64,
    pub(crate) records_done: AtomicU64,
    pub(crate) payload_bytes_done: AtomicU64,
    pub(crate) partitions_done: AtomicU64,
    /// What offsets without records cost.
    pub(crate) measured: Measured,
    pub(crate) clock: Clock,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// The totals that a phase works towards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) objects: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) partitions: u64,
}

/// Tells the progress of a phase a few times a second until it is dropped.
pub(crate) struct Ticker(tokio::task::JoinHandle<()>);

impl Ticker {
    pub(crate) fn start(progress: Arc<dyn Progress>, counters: Arc<Counters>, totals: Totals) -> Self {
        let started = Instant::now();
        Self(tokio::spawn(async move {
            let mut interval = tokio::time::interval(Duration::from_millis(200));
            let mut is_told = false;
            loop {
                interval.tick().await;
                progress.report(&Event::Advance(snapshot(&counters, totals, started)));
                if !is_told && let Some(message) = counters.measured.over_limit() {
                    is_told = true;
                    progress.report(&Event::Notice { message });
                }
            }
        }))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the counters say now.
pub(crate) fn snapshot(counters: &Counters, totals: Totals, started: Instant) -> Snapshot {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Snapshot {
        elapsed_milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        objects_done: load(&counters.objects_done),
        objects_total: totals.objects,
        stored_bytes_done: load(&counters.stored_bytes_done),
        stored_bytes_total: totals.stored_bytes,
        records_read: load(&counters.records_read),
        records_done: load(&counters.records_done),
        payload_bytes_done: load(&counters.payload_bytes_done),
        partitions_done: load(&counters.partitions_done),
        partitions_total: totals.partitions,
        shares: counters.clock.stages(started.elapsed(), Duration::ZERO).shares,
        exact: counters.measured.cost(),
    }
}
