//! Records that were read, chosen and put in order before: a partition of them as a stream like any other.

use std::sync::Arc;

use record::{RecordBlock, RecordRef, TopicPartition};

use super::StreamContext;
use super::block::StreamBlock;
use super::merge::PartitionStream;
use super::options::StreamOptions;
use crate::inventory::PartitionObjects;

/// Records in memory, in an order of their own. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ChosenRecords {
    blocks: Arc<[RecordBlock]>,
    order: Arc<[(u32, u32)]>,
}

impl ChosenRecords {
    /// The records of `blocks` at the places `order`: each a block and a record in it, from 0.
    ///
    /// # Panics
    /// Where there is no record at one of the places.
    pub fn new(blocks: Arc<[RecordBlock]>, order: Arc<[(u32, u32)]>) -> Self {
        let exists = |(block, record): &(u32, u32)| (*record as usize) < blocks[*block as usize].len();
        assert!(order.iter().all(exists), "each place holds a record");
        Self { blocks, order }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True where there is no record.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The records in their order, each with its number for its offset.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Record number `index`, from 0, with this number for its offset.
    fn get(&self, index: usize) -> Option<RecordRef<'_>> {
        let (block, record) = self.order.get(index)?;
        let record = self.blocks[*block as usize].get(*record as usize);
        let offset = i64::try_from(index).ok()?;
        Some(RecordRef { offset, ..record })
    }
}

/// A place in [`ChosenRecords`].
pub(super) struct Chosen {
    records: ChosenRecords,
    next: usize,
}

impl PartitionStream {
    /// The stream of records that are in memory already. They are numbered from 0, and of `options` only the limits of
    /// these numbers and the size of blocks have a meaning.
    pub fn of_chosen(
        context: &StreamContext,
        partition: TopicPartition,
        records: ChosenRecords,
        options: StreamOptions,
    ) -> Self {
        let from = options.from_offset.unwrap_or(0).max(0);
        let next = usize::try_from(from).unwrap_or(usize::MAX);
        let no_objects = Arc::new(PartitionObjects::from_list([]));
        let mut stream = Self::new(context, partition, no_objects, options);
        stream.chosen = Some(Chosen { records, next });
        stream
    }

    pub(super) fn next_chosen(&mut self) -> Option<StreamBlock> {
        let Chosen { records, next } = self.chosen.as_mut()?;
        let mut block = RecordBlock::new();
        while let Some(record) = records.get(*next)
            && self.options.to_offset.is_none_or(|to| record.offset <= to)
            && block.used_bytes() < self.options.block_bytes
        {
            *next += 1;
            self.statistics.give(&record);
            block.push(record);
        }
        if block.is_empty() {
            return None;
        }
        let charge = self.account.hold(block.memory_bytes());
        Some(StreamBlock::new(block, charge, self.context.blocks.clone()))
    }
}
