//! Objects that belong to no one partition, because their names say none: each is read for itself.
//!
//! Their offsets are of several rows, so nothing can be merged, and nothing be missing. Several are read side by side.

use std::ops::ControlFlow;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use record::{RecordBlock, TopicPartition};

use super::merge::PartitionStream;
use super::options::StreamOptions;
use super::{StreamContext, StreamError, StreamStatistics};
use crate::inventory::{ObjectEntry, PartitionObjects};

/// Reads every one of `objects` for itself and gives each of their blocks, with the object's number in the list, to
/// `take`, until that has enough. The blocks of an object come in order, those of different objects in any.
///
/// Of the sums, offsets are the lowest and the highest, and there are no gaps. Records without an offset field are
/// numbered from 0 in every object.
///
/// # Errors
/// The first object that cannot be read, where `options` do not say to skip it.
pub async fn read_alone(
    context: &StreamContext,
    partition: &TopicPartition,
    objects: &PartitionObjects,
    options: &StreamOptions,
    mut take: impl FnMut(usize, &RecordBlock) -> ControlFlow<()>,
) -> Result<StreamStatistics, StreamError> {
    let mut sums = StreamStatistics {
        objects_total: objects.len() as u64,
        ..StreamStatistics::default()
    };
    // A stream of its own for each object costs the reserve of a partition, and some partitions may be read beside.
    let side_by_side = (context.budget.partitions_at_once() / 2).max(1);
    let open = |index: usize| {
        let listed = objects.get(index);
        let object = ObjectEntry {
            start_offset: listed.start_offset.or(Some(0)),
            ..listed
        };
        let object = Arc::new(PartitionObjects::from_list([object]));
        let mut stream = PartitionStream::new(context, partition.clone(), object, options.clone());
        async move {
            let first = stream.next().await;
            (index, stream, first)
        }
    };
    let mut opened = stream::iter(0..objects.len())
        .map(open)
        .buffer_unordered(side_by_side);
    while let Some((index, mut stream, mut next)) = opened.next().await {
        while let Some(block) = next? {
            if take(index, &block).is_break() {
                sums.add(stream.statistics());
                return Ok(sums);
            }
            drop(block);
            next = stream.next().await;
        }
        sums.add(stream.statistics());
    }
    Ok(sums)
}
