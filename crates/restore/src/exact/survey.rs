//! What a partition's backup holds, from looking at some of its objects: how many records, how many offsets without
//! one, how large, how old. Small partitions are read whole.

use std::sync::Arc;

use backup::inventory::PartitionObjects;
use backup::stream::{PartitionStream, StreamContext, StreamError, StreamErrorKind, StreamOptions};
use record::{NO_TIMESTAMP, TopicPartition};
use serde::Serialize;

use crate::error::RestoreError;

/// Stored bytes up to which a partition is read whole.
const WHOLE_BYTES: u64 = 2 << 20;
/// Objects that are looked at otherwise.
const OBJECTS: usize = 5;
/// Payload that is looked at in each of them.
const PAYLOAD_BYTES: u64 = 4 << 20;

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
pub(crate) async fn survey(
    context: &StreamContext,
    source: &TopicPartition,
    objects: &Arc<PartitionObjects>,
    options: &StreamOptions,
) -> Result<Survey, RestoreError> {
    let count = objects.len();
    let whole = objects.bytes() <= WHOLE_BYTES
        || count == 0
        || (0..count).any(|index| objects.start_offset(index).is_none());
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
    let mut behind = None;
    for index in chosen {
        let Some(start) = objects.start_offset(index) else {
            continue;
        };
        let next = (index + 1..count)
            .filter_map(|later| objects.start_offset(later))
            .find(|later| *later > start);
        let mut options = options.clone();
        options.from_offset = options.from_offset.max(Some(start));
        options.to_offset = match (options.to_offset, next) {
            (Some(limit), Some(next)) => Some(limit.min(next - 1)),
            (limit, next) => limit.or(next.map(|next| next - 1)),
        };
        let mut part = Survey::default();
        let ended = look(context, source, objects, &options, &mut part, PAYLOAD_BYTES).await?;
        all &= ended;
        let (Some(first), Some(end)) = (part.first_offset, part.end_offset) else {
            survey.merge(part);
            continue;
        };
        // Up to the next object: what is missing between the two counts as well.
        let end_of_window = match next {
            Some(next) if ended && options.to_offset == Some(next - 1) => next,
            _ => end,
        };
        part.missing_offsets += (end_of_window - end).unsigned_abs();
        seen_offsets += (end_of_window - first).unsigned_abs();
        behind = Some(end);
        survey.merge(part);
    }
    survey.end_offset = behind;
    // From what was seen to all of it.
    let span = match (survey.first_offset, survey.end_offset) {
        (Some(first), Some(end)) => (end - first).unsigned_abs(),
        _ => 0,
    };
    let scale = |seen: u64| match seen_offsets {
        0 => seen,
        _ => {
            u64::try_from(u128::from(seen) * u128::from(span) / u128::from(seen_offsets)).unwrap_or(u64::MAX)
        }
    };
    if span > seen_offsets {
        survey.records = scale(survey.records);
        survey.payload_bytes = scale(survey.payload_bytes);
        survey.missing_offsets = scale(survey.missing_offsets);
        survey.gaps = scale(survey.gaps);
    }
    survey.is_complete = all && count <= OBJECTS;
    Ok(survey)
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
