//! What a partition's backup holds, from looking at some of its objects: how many records, how many offsets without
//! one, how large, how old. Small partitions are read whole.

use std::sync::Arc;

use backup::inventory::PartitionObjects;
use backup::stream::{PartitionStream, StreamContext, StreamError, StreamErrorKind, StreamOptions};
use record::{NO_TIMESTAMP, TopicPartition};
use serde::Serialize;

use crate::error::RestoreError;

/// Stored bytes up to which a partition is read whole.
const WHOLE_BYTES: u64 = 1 << 20;
/// Objects that are looked at otherwise.
const OBJECTS: usize = 5;
/// Payload that is looked at in each of them, at least.
const PAYLOAD_BYTES: u64 = 128 << 10;
/// Payload up to which one object is read whole, where offsets are missing.
const DENSITY_BYTES: u64 = 64 << 20;

/// See the module's documentation. Numbers are estimates unless `is_complete`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Survey {
    /// Source offset of the first record.
    pub first_offset: Option<i64>,
    /// The source offset behind the last record.
    pub end_offset: Option<i64>,
    /// Records.
    pub records: u64,
    /// Their keys, values and headers in bytes.
    pub payload_bytes: u64,
    /// Offsets between the first and the last record that have none.
    pub missing_offsets: u64,
    /// Ranges of such offsets.
    pub gaps: u64,
    /// Records without a key among those seen.
    pub null_keys: u64,
    /// The largest record seen, in bytes of payload.
    pub largest_record: u64,
    /// The smallest timestamp seen, milliseconds.
    pub first_time: Option<i64>,
    /// The largest timestamp seen, milliseconds.
    pub last_time: Option<i64>,
    /// True where every record was seen.
    pub is_complete: bool,
    /// True where nothing tells how much there is behind what was seen: in the one object of a partition, a large one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_open_ended: bool,
    /// What is wrong with an object that was looked at, in words: the restore of the partition will stop there. What lies
    /// behind was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

/// True where the content of the objects is what is wrong, which the restore of the one partition will report, rather
/// than the store or this program.
pub(crate) fn is_damage(error: &StreamError) -> bool {
    match error.kind {
        StreamErrorKind::Vanished
        | StreamErrorKind::Replaced
        | StreamErrorKind::Container { .. }
        | StreamErrorKind::Decode { .. }
        | StreamErrorKind::Partial { .. }
        | StreamErrorKind::Conflict(_)
        | StreamErrorKind::OutOfOrder { .. } => true,
        StreamErrorKind::Storage(_)
        | StreamErrorKind::Memory { .. }
        | StreamErrorKind::Reject(_)
        | StreamErrorKind::Defect(_)
        | StreamErrorKind::Stopped => false,
    }
}

/// Looks at a partition.
///
/// Each chosen object is read alone, so that looking costs the same however many objects there are. Where objects
/// interleave, an offset that one lacks may stand in another: what one whole object holds for its size then tells how
/// many records there are in all. With `to_the_end` the last object is read to its end, so that `end_offset` is true and
/// no estimate.
pub(crate) async fn survey(
    context: &StreamContext,
    source: &TopicPartition,
    objects: &Arc<PartitionObjects>,
    options: &StreamOptions,
    to_the_end: bool,
) -> Result<Survey, RestoreError> {
    let count = objects.len();
    let whole = objects.bytes() <= WHOLE_BYTES || count == 0 || !objects.have_start_offsets();
    let mut survey = Survey::default();
    if whole {
        let ended = look(context, source, objects, options, &mut survey, WHOLE_BYTES * 64).await?;
        survey.is_complete = ended;
        return Ok(survey);
    }
    let mut chosen: Vec<usize> = (0..OBJECTS)
        .map(|number| number * (count - 1) / (OBJECTS - 1))
        .collect();
    chosen.dedup();
    let mut seen_offsets = 0_u64;
    let mut all = true;
    for &index in &chosen {
        let Some(start) = objects.start_offset(index) else {
            continue;
        };
        let next = (index + 1..count)
            .filter_map(|later| objects.start_offset(later))
            .find(|later| *later > start);
        let is_last = index + 1 == count;
        let limit = if is_last && to_the_end {
            u64::MAX
        } else {
            PAYLOAD_BYTES
        };
        let mut part = Survey::default();
        let ended = look(context, source, &alone(objects, index), options, &mut part, limit).await?;
        all &= ended;
        if let (Some(first), Some(end)) = (part.first_offset, part.end_offset) {
            // Up to the next object: what is missing between the two counts as well.
            let end_of_window = next.filter(|next| ended && *next > end).unwrap_or(end);
            part.missing_offsets += (end_of_window - end).unsigned_abs();
            seen_offsets += (end_of_window - first).unsigned_abs();
        }
        survey.merge(part);
        if is_last && !ended && survey.damage.is_none() {
            survey.end_offset = survey.end_offset.max(likely_end(objects));
            survey.is_open_ended = count == 1;
        }
    }
    // From what was seen to all of it.
    let span = match (survey.first_offset, survey.end_offset) {
        (Some(first), Some(end)) => (end - first).unsigned_abs(),
        _ => 0,
    };
    if span > seen_offsets {
        survey.records = part_of(survey.records, span, seen_offsets);
        survey.payload_bytes = part_of(survey.payload_bytes, span, seen_offsets);
        survey.missing_offsets = part_of(survey.missing_offsets, span, seen_offsets);
        survey.gaps = part_of(survey.gaps, span, seen_offsets);
    }
    let smallest = chosen.into_iter().min_by_key(|index| objects.size(*index));
    if let Some(index) = smallest.filter(|_| survey.missing_offsets > 0) {
        let mut part = Survey::default();
        if look(
            context,
            source,
            &alone(objects, index),
            options,
            &mut part,
            DENSITY_BYTES,
        )
        .await?
        {
            let records = part_of(part.records, objects.bytes(), objects.size(index)).min(span);
            if span - records < survey.missing_offsets {
                survey.gaps = part_of(survey.gaps, span - records, survey.missing_offsets);
                survey.missing_offsets = span - records;
                survey.records = records;
            }
        }
    }
    survey.is_complete = all && count <= OBJECTS && survey.missing_offsets == 0;
    Ok(survey)
}

/// The offset behind the last object, where it has as many for its size as those before it; none where it is alone.
fn likely_end(objects: &PartitionObjects) -> Option<i64> {
    let last = objects.len().checked_sub(1)?;
    let (first, start) = (objects.start_offset(0)?, objects.start_offset(last)?);
    let size = objects.size(last);
    let offsets = part_of((start - first).unsigned_abs(), size, objects.bytes() - size);
    (last > 0).then(|| start.saturating_add_unsigned(offsets))
}

/// One of the objects, as if it were the only one.
fn alone(objects: &PartitionObjects, index: usize) -> Arc<PartitionObjects> {
    Arc::new(PartitionObjects::from_list([objects.get(index)]))
}

/// `seen * whole / part`; `seen` where there is no part.
fn part_of(seen: u64, whole: u64, part: u64) -> u64 {
    match part {
        0 => seen,
        _ => u64::try_from(u128::from(seen) * u128::from(whole) / u128::from(part)).unwrap_or(u64::MAX),
    }
}

impl Survey {
    fn merge(&mut self, part: Survey) {
        let smaller = |a: Option<i64>, b: Option<i64>| a.into_iter().chain(b).min();
        self.first_offset = smaller(self.first_offset, part.first_offset);
        self.end_offset = self.end_offset.max(part.end_offset);
        self.records += part.records;
        self.payload_bytes += part.payload_bytes;
        self.missing_offsets += part.missing_offsets;
        self.gaps += part.gaps;
        self.null_keys += part.null_keys;
        self.largest_record = self.largest_record.max(part.largest_record);
        self.first_time = smaller(self.first_time, part.first_time);
        self.last_time = self.last_time.max(part.last_time);
        self.damage = self.damage.take().or(part.damage);
    }
}

/// Reads the stream of `options` up to `limit` bytes of payload. True where it ended before; damage ends the looking.
async fn look(
    context: &StreamContext,
    source: &TopicPartition,
    objects: &Arc<PartitionObjects>,
    options: &StreamOptions,
    survey: &mut Survey,
    limit: u64,
) -> Result<bool, RestoreError> {
    let mut options = options.clone();
    // What is rejected is written down by the restore itself.
    options.rejected = None;
    // Blocks hold the bookkeeping of their records, too: so one is enough, and not much more than that is decoded.
    let most = usize::try_from(limit.saturating_mul(2)).unwrap_or(usize::MAX);
    options.block_bytes = options.block_bytes.min(most);
    let mut stream = PartitionStream::new(context, source.clone(), Arc::clone(objects), options);
    loop {
        let block = match stream.next().await {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(true),
            Err(error) if is_damage(&error) => {
                survey.damage = Some(error.to_string());
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        for record in block.iter() {
            let expected = survey.end_offset.unwrap_or(record.offset);
            survey.first_offset.get_or_insert(record.offset);
            survey.missing_offsets += (record.offset - expected).unsigned_abs();
            survey.gaps += u64::from(record.offset > expected);
            survey.end_offset = Some(record.offset + 1);
            survey.records += 1;
            survey.null_keys += u64::from(record.key.is_none());
            survey.largest_record = survey.largest_record.max(record.payload_bytes() as u64);
            if record.timestamp != NO_TIMESTAMP {
                survey.first_time = Some(
                    survey
                        .first_time
                        .map_or(record.timestamp, |time| time.min(record.timestamp)),
                );
                survey.last_time = survey.last_time.max(Some(record.timestamp));
            }
        }
        survey.payload_bytes += block.payload_bytes() as u64;
        if survey.payload_bytes > limit {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use backup::format::{Decoding, Field};
    use backup::inventory::ObjectEntry;
    use backup::storage::memory::MemoryStore;
    use backup::stream::{CpuPool, MemoryBudget};

    use super::*;

    /// Surveys objects of csv lines, one for each list of offsets; the values do not compress.
    async fn surveyed(lists: &[Vec<i64>]) -> Survey {
        surveyed_with(lists, false).await
    }

    async fn surveyed_with(lists: &[Vec<i64>], to_the_end: bool) -> Survey {
        let value = "QUFB".repeat(50);
        let store = MemoryStore::new();
        let mut listed = Vec::new();
        for (number, offsets) in lists.iter().enumerate() {
            let lines: Vec<String> = offsets.iter().map(|offset| format!("{value},{offset}")).collect();
            let (key, text) = (format!("t-0-{number}"), lines.join("\n"));
            listed.push((key.clone(), offsets[0], text.len() as u64));
            store.insert(&key, text, 0);
        }
        let objects = listed.iter().map(|(key, start, size)| ObjectEntry {
            key: key.into(),
            start_offset: Some(*start),
            size: *size,
            last_modified: 0,
        });
        let objects = Arc::new(PartitionObjects::from_list(objects));
        let (cpu, budget) = (CpuPool::new(1).unwrap(), MemoryBudget::new(32 << 20));
        let context = StreamContext::new(Arc::new(store), cpu, budget, 8);
        let options = StreamOptions::new(Arc::new(Decoding {
            fields: Some(vec![Field::Value, Field::Offset]),
            ..Decoding::default()
        }));
        let source = TopicPartition::new("t", 0);
        survey(&context, &source, &objects, &options, to_the_end)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_small_partition_is_read_whole() {
        let survey = surveyed(&[(5..10).collect(), vec![12, 14]]).await;
        assert!(survey.is_complete);
        assert_eq!((survey.first_offset, survey.end_offset), (Some(5), Some(15)));
        assert_eq!((survey.records, survey.missing_offsets, survey.gaps), (7, 3, 2));
    }

    #[tokio::test]
    async fn a_large_one_without_gaps_has_none_in_the_estimate() {
        let lists: Vec<Vec<i64>> = (0..9)
            .map(|object| (object * 10_000..(object + 1) * 10_000).collect())
            .collect();
        let survey = surveyed(&lists).await;
        assert!(!survey.is_complete);
        assert_eq!((survey.missing_offsets, survey.gaps), (0, 0));
        assert!((89_000..=91_000).contains(&survey.records), "{survey:?}");
    }

    #[tokio::test]
    async fn the_end_is_estimated_or_read_where_it_is_asked_for() {
        let mut lists: Vec<Vec<i64>> = (0..9)
            .map(|object| (object * 10_000..(object + 1) * 10_000).collect())
            .collect();
        // Denser than it looks: the second half of the last object has every other offset only.
        lists[8].retain(|offset| *offset < 85_000 || offset % 2 == 0);
        let estimated = surveyed(&lists).await.end_offset.unwrap();
        assert!((85_000..90_000).contains(&estimated), "{estimated}");
        assert_eq!(surveyed_with(&lists, true).await.end_offset, Some(89_999));
    }

    #[tokio::test]
    async fn of_one_large_object_the_end_is_not_known() {
        let lists = [(0..50_000).collect::<Vec<i64>>()];
        let survey = surveyed(&lists).await;
        assert!(survey.is_open_ended && survey.records < 10_000, "{survey:?}");
        let survey = surveyed_with(&lists, true).await;
        assert!(
            survey.is_complete && !survey.is_open_ended && survey.records == 50_000,
            "{survey:?}"
        );
    }

    #[tokio::test]
    async fn gaps_are_estimated_from_those_seen() {
        let lists: Vec<Vec<i64>> = (0..9)
            .map(|object| (object * 10_000..(object + 1) * 10_000).step_by(2).collect())
            .collect();
        let survey = surveyed(&lists).await;
        assert!((40_000..=50_000).contains(&survey.missing_offsets), "{survey:?}");
        assert!((40_000..=50_000).contains(&survey.gaps), "{survey:?}");
    }

    #[tokio::test]
    async fn interleaved_objects_have_no_gaps_between_them() {
        let lists: Vec<Vec<i64>> = (0..9)
            .map(|object| (object..90_000).step_by(9).collect())
            .collect();
        let survey = surveyed(&lists).await;
        assert!(survey.missing_offsets < 2_000, "{survey:?}");
    }
}
