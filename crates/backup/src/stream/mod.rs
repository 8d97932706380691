//! One partition's records: ordered, de-duplicated, gap-aware, bounded in memory.
//!
//! [`PartitionStream`] gives blocks whose records ascend strictly by offset, whatever the objects look like:
//! overlapping, interleaved, replayed, cut, replaced. Objects that do not overlap pass through untouched.
//! Reading ahead, unwrapping and decoding go on beside the consumer, as far as the [`MemoryBudget`] lets them.
//!
//! - [`cpu`]: threads for CPU work. [`budget`]: who may have how much memory, without deadlock.
//! - `object`: one object as a source of blocks. `fetch`: one range of it. `requests`: how many at once. `visit`: bytes
//!   into a block, on the CPU threads. [`packing`]: or into what the consumer makes of it. `seekable`: Parquet's way.
//!   `recognition`: one that is read again.
//! - `alone`: objects that belong to no one partition. `chosen`: records that were read and put in order before.
//! - `merge`: the stream itself. `members`: who takes part in it. `cursor`: one of them. `resolve`: several records
//!   at one offset. `start`: where to begin in the middle.

mod alone;
mod block;
pub mod budget;
mod busy;
mod chosen;
pub mod cpu;
mod cursor;
mod error;
mod fetch;
mod members;
mod merge;
mod object;
mod options;
pub mod packing;
mod recognition;
mod requests;
mod resolve;
mod seekable;
mod start;
mod statistics;
mod visit;

use std::fmt;
use std::sync::Arc;

pub use alone::read_alone;
use block::BlockPool;
pub use block::StreamBlock;
pub use budget::{Charge, DEFAULT_MEMORY, LEAST_MEMORY, MemoryBudget};
pub use busy::{BusyTimes, StageClock};
pub use chosen::ChosenRecords;
pub use cpu::{CpuError, CpuJob, CpuPool};
pub use error::{Conflict, ConflictingRecord, StreamError, StreamErrorKind};
pub use merge::PartitionStream;
pub use options::{DEFAULT_BLOCK_BYTES, OnBadRecord, OnConflict, RejectSink, RejectedRecord, StreamOptions};
use requests::Requests;
pub use statistics::{
    Gap, Gaps, LISTED_GAPS, LISTED_SUSPICIONS, NoteSums, StreamStatistics, Suspicion, Suspicions,
};

use crate::storage::{RetryPolicy, Store};

/// How many requests to the store are under way at most at first, unless said otherwise.
pub const DEFAULT_REQUESTS: usize = 64;

/// What all partitions of a run share. Cheap to clone.
#[derive(Clone)]
pub struct StreamContext {
    /// Where the objects are.
    pub store: Arc<dyn Store>,
    /// Threads for CPU work.
    pub cpu: CpuPool,
    /// Memory for everything in flight.
    pub budget: MemoryBudget,
    requests: Arc<Requests>,
    retry: RetryPolicy,
    blocks: BlockPool,
    clock: Arc<StageClock>,
}

impl StreamContext {
    /// The context of a run that keeps at most `requests` requests to the store under way, at least one; and up to four
    /// times as many where the store answers slowly and objects are small.
    pub fn new(store: Arc<dyn Store>, cpu: CpuPool, budget: MemoryBudget, requests: usize) -> Self {
        let blocks = BlockPool::new(budget.total() / 16);
        budget.lend_to_threads(cpu.threads());
        Self {
            store,
            cpu,
            budget,
            requests: Arc::new(Requests::new(requests)),
            retry: RetryPolicy::default(),
            blocks,
            clock: Arc::default(),
        }
    }

    /// What all streams of this context spend their time on.
    pub fn clock(&self) -> &Arc<StageClock> {
        &self.clock
    }

    /// A stream had to wait for the store although objects are read ahead: more memory is lent and more requests are
    /// sent from now on.
    fn read_further_ahead(&self) {
        self.budget.lend_more();
        self.requests.grow();
    }

    /// Sets how often, and after what waits, a body that broke is asked for again.
    pub fn with_retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }
}

impl fmt::Debug for StreamContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamContext")
            .field("store", &self.store)
            .field("cpu", &self.cpu)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
