//! Records that become what their consumer wants while they are still in the processor's cache.
//!
//! A consumer that only packs runs of records (into batches, say) would touch each of them again when it has long left the
//! cache of the core that decoded it, on another thread. So it may give the stream a [`Packing`], and the thread that
//! decodes an object packs the records in the same go, a few at a time. What comes out is a [`StreamBlock`]
//! like any other: where somebody wants to see its records after all (objects overlap, a place in the middle is asked for),
//! they are unpacked.
//!
//! Only consecutive offsets are packed, of objects that are worth it; an object in which others turn up goes on
//! as blocks of records.
//!
//! [`StreamBlock`]: super::StreamBlock

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use record::RecordBlock;

use super::block::Facts;

/// Bytes of records that are decoded before they are packed: few enough to stay in the cache nearest to the core, beside
/// what they are made of and what is made of them.
const AT_ONCE: usize = 64 << 10;

/// An object is packed where its stored bytes are at least this many packs: its last one is seldom full.
const LEAST_PACKS: u64 = 4;

/// The largest packs, in blocks. Beside a pack in the making there are none of its records in memory, but for a few.
const BLOCKS_IN_PACK: usize = 2;

/// Makes packs.
pub trait Packing: Send + Sync {
    /// A packer for one object. `None` where its packs would take more memory than `bytes` each.
    fn packer(self: Arc<Self>, bytes: usize) -> Option<Box<dyn Packer>>;
}

/// Packs the records of one object into one pack after the other.
pub trait Packer: Send {
    /// Adds all records of `block` to the pack. False where there is one among them that it does not take: then none was
    /// added.
    fn add(&mut self, block: &RecordBlock) -> bool;

    /// True where the pack is as large as it should be.
    fn is_full(&self) -> bool;

    /// The pack of all records that were added since the last one.
    fn finish(&mut self) -> Box<dyn Pack>;
}

/// Records, packed.
pub trait Pack: Any + Send + Sync {
    /// Bytes of memory in use.
    fn memory_bytes(&self) -> usize;

    /// The records again; their offsets may be anything.
    ///
    /// # Panics
    /// Where they do not come out of it again, which is a defect of this program.
    fn unpack(&self) -> RecordBlock;
}

/// A pack, and what is known of its records, whose offsets are consecutive.
pub(super) struct Packed {
    pub(super) pack: Box<dyn Pack>,
    pub(super) first_offset: i64,
    pub(super) first_timestamp: i64,
    pub(super) records: usize,
    pub(super) payload_bytes: usize,
}

impl Packed {
    /// The records again.
    ///
    /// # Panics
    /// Where they are not as many as were packed.
    pub(super) fn unpack(&self) -> RecordBlock {
        let mut block = self.pack.unpack();
        assert!(
            block.len() == self.records && block.payload_bytes() == self.payload_bytes,
            "a pack of {} records with {} bytes holds {} with {}",
            self.records,
            self.payload_bytes,
            block.len(),
            block.payload_bytes()
        );
        block.number_from(self.first_offset);
        block
    }
}

/// Packs the records of one object while they are decoded.
pub(super) struct ObjectPacking {
    packer: Box<dyn Packer>,
    most_bytes: usize,
    at_once: usize,
    run: Option<Run>,
    took: Duration,
}

/// The records of the pack in the making.
struct Run {
    facts: Facts,
    first_timestamp: i64,
    records: usize,
    payload_bytes: usize,
}

impl ObjectPacking {
    /// The packing of an object of `size` stored bytes, where that is worth it.
    pub(super) fn new(packing: Option<&Arc<dyn Packing>>, size: u64, block_bytes: usize) -> Option<Self> {
        let most_bytes = block_bytes.saturating_mul(BLOCKS_IN_PACK);
        let packing = packing.filter(|_| size / LEAST_PACKS >= most_bytes as u64)?;
        Some(Self {
            packer: Arc::clone(packing).packer(most_bytes)?,
            most_bytes,
            at_once: AT_ONCE.min(block_bytes / 8).max(1),
            run: None,
            took: Duration::ZERO,
        })
    }

    /// Memory that a pack takes at most, about.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// Bytes of records to decode before they are [added](Self::add).
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// Takes the records of `block`, of which `facts` are true, and leaves it empty. False where they stay in it, as they
    /// do not belong into the pack; the object is packed no further then.
    pub(super) fn add(&mut self, block: &mut RecordBlock, facts: &Facts) -> bool {
        let follows = self
            .run
            .as_ref()
            .is_none_or(|run| run.facts.last.checked_add(1) == Some(facts.first));
        if !follows || !facts.contiguous(block.len()) || facts.timeless {
            return false;
        }
        let Some(first_timestamp) = block.first().map(|record| record.timestamp) else {
            return true;
        };
        let started = Instant::now();
        let added = self.packer.add(block);
        self.took += started.elapsed();
        if !added {
            return false;
        }
        let run = self.run.get_or_insert(Run {
            facts: *facts,
            first_timestamp,
            records: 0,
            payload_bytes: 0,
        });
        run.facts.last = facts.last;
        run.facts.first_time = run.facts.first_time.min(facts.first_time);
        run.facts.last_time = run.facts.last_time.max(facts.last_time);
        run.records += block.len();
        run.payload_bytes += block.payload_bytes();
        block.clear();
        true
    }

    /// True where there is a pack in the making.
    pub(super) fn has_begun(&self) -> bool {
        self.run.is_some()
    }

    /// True where the pack is as large as it should be.
    pub(super) fn is_full(&self) -> bool {
        self.packer.is_full()
    }

    /// The pack, where anything is in it.
    pub(super) fn finish(&mut self) -> Option<(Packed, Facts)> {
        let run = self.run.take()?;
        let started = Instant::now();
        let pack = self.packer.finish();
        self.took += started.elapsed();
        let packed = Packed {
            pack,
            first_offset: run.facts.first,
            first_timestamp: run.first_timestamp,
            records: run.records,
            payload_bytes: run.payload_bytes,
        };
        Some((packed, run.facts))
    }

    /// The time spent on packing since this was asked last.
    pub(super) fn took(&mut self) -> Duration {
        std::mem::take(&mut self.took)
    }
}
