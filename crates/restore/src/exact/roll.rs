//! What the log cleaner needs in order to get at the fillers: it never looks at a log's last segment, so a new one
//! must begin before the last run of records without a gap, on every replica.
//!
//! A segment of the smallest size and one filler as large as that make it begin, whatever the records' timestamps.

use backup::stream::StreamBlock;
use kafka::admin::ConfigOperation;
use kafka::batch::{
    Append, BATCH_HEADER_BYTES, BatchEncoder, BufferPool, Compression, EncodeError, EncodedBatch,
};
use kafka::cluster::Cluster;
use record::RecordBlock;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep};

use crate::configure::change_and_wait;
use crate::encode::FILLER_TIMESTAMP;
use crate::error::RestoreError;
use crate::latest::Records;
use crate::partition::PartitionTask;
use crate::shared::Shared;

/// The smallest `segment.bytes` that Apache Kafka 4 takes.
const SMALLEST_SEGMENT: usize = 1 << 20;
/// Room in a segment beside the filler in which no other batch fits.
const SPARE: usize = BATCH_HEADER_BYTES - 1;
/// How long replicas may take to catch up before it goes on without them.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The source offset at which the backup's last run of records without a gap begins; `None` where there is no gap
/// between its records at all.
///
/// Reads the backup's end twice, as little of it as it takes: its last object, then its last two, four...
pub(crate) async fn last_run(shared: &Shared, task: &PartitionTask) -> Result<Option<i64>, RestoreError> {
    let Records::Objects(objects) = &task.records else {
        return Ok(None);
    };
    let mut width = 1;
    loop {
        let index = objects.len().saturating_sub(width);
        let from = (index > 0).then(|| objects.start_offset(index)).flatten();
        let mut stream = task.stream(shared, from);
        let (mut expected, mut begin) = (None, None);
        while let Some(block) = stream.next().await? {
            if shared.cancel.is_cancelled() {
                return Err(RestoreError::Interrupted);
            }
            begin = last_gap(&block, expected).or(begin);
            expected = block.last().map(|record| record.offset + 1).or(expected);
        }
        if begin.is_some() || from.is_none() {
            return Ok(begin);
        }
        width *= 2;
    }
}

/// The offset behind the last gap in `block`, or before it where its first record is not `expected`.
fn last_gap(block: &StreamBlock, expected: Option<i64>) -> Option<i64> {
    last_gap_of(block, expected)
}

fn last_gap_of(block: &RecordBlock, expected: Option<i64>) -> Option<i64> {
    let (first, last) = (block.first()?.offset, block.last()?.offset);
    let before = expected.filter(|expected| first > *expected).map(|_| first);
    if last - first == block.len() as i64 - 1 {
        return before;
    }
    let mut next = last;
    for record in block.iter().rev().skip(1) {
        if record.offset + 1 != next {
            return Some(next);
        }
        next = record.offset;
    }
    before
}

/// One filler that fills a segment of the smallest size all alone: another segment begins before it, and one behind it.
pub(crate) fn segment_filler() -> Result<EncodedBatch, EncodeError> {
    let wanted = SMALLEST_SEGMENT - SPARE;
    let mut length = wanted - BATCH_HEADER_BYTES;
    loop {
        let batch = one_record(length)?;
        match batch.encoded_bytes().checked_sub(wanted) {
            None | Some(0) => return Ok(batch),
            Some(excess) => length -= excess,
        }
    }
}

/// A record with null key and so many bytes that do not compress.
fn one_record(length: usize) -> Result<EncodedBatch, EncodeError> {
    // Marsaglia's xorshift; no secret, only nothing that a codec could make smaller.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = Vec::with_capacity(length + 8);
    while value.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value.truncate(length);
    let mut block = RecordBlock::new();
    let mut writer = block.append(0, FILLER_TIMESTAMP);
    writer.value(&value);
    writer.finish();
    let limit = 2 * SMALLEST_SEGMENT;
    let mut encoder = BatchEncoder::new(Compression::None, None, limit, &BufferPool::new())?;
    let too_large = EncodeError::RecordTooLarge {
        offset: 0,
        size: length,
        limit,
    };
    match encoder.append(block.get(0))? {
        Append::Added => encoder.finish()?.ok_or(too_large),
        Append::Full => Err(too_large),
    }
}

/// A topic's segments, small for as long as some partition of it needs that.
pub(crate) struct SmallSegments {
    topic: String,
    /// Its own `segment.bytes` otherwise, if it has one.
    usual: Option<String>,
    users: Mutex<usize>,
}

impl SmallSegments {
    /// For a topic whose own `segment.bytes` is `usual`.
    pub(crate) fn new(topic: &str, usual: Option<String>) -> Self {
        Self {
            topic: topic.to_owned(),
            usual,
            users: Mutex::new(0),
        }
    }

    /// Makes them small. All replicas must be there, or some would keep the fillers in their last segment; gives a
    /// sentence where some are not.
    pub(crate) async fn shrink(&self, shared: &Shared) -> Result<Option<String>, RestoreError> {
        let mut users = self.users.lock().await;
        let missing = self.wait_for_replicas(&shared.cluster).await?;
        if *users == 0 {
            let small = ConfigOperation::Set(SMALLEST_SEGMENT.to_string());
            self.change(&shared.cluster, small).await?;
        }
        *users += 1;
        Ok(missing)
    }

    /// Makes them as usual again once nobody needs them small.
    pub(crate) async fn restore(&self, shared: &Shared) -> Result<(), RestoreError> {
        let mut users = self.users.lock().await;
        *users = users.saturating_sub(1);
        if *users == 0 {
            // A replica that comes later would put fillers and records into one segment.
            self.wait_for_replicas(&shared.cluster).await?;
            let usual = self
                .usual
                .clone()
                .map_or(ConfigOperation::Delete, ConfigOperation::Set);
            self.change(&shared.cluster, usual).await?;
        }
        Ok(())
    }

    async fn change(&self, cluster: &Cluster, operation: ConfigOperation) -> Result<(), RestoreError> {
        let change = vec![("segment.bytes".to_owned(), operation)];
        Ok(change_and_wait(cluster, &self.topic, change).await?)
    }

    async fn wait_for_replicas(&self, cluster: &Cluster) -> Result<Option<String>, RestoreError> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let topics = cluster.topics(Some(&[&self.topic])).await?;
            let behind: Vec<i32> = topics
                .iter()
                .flat_map(|topic| &topic.partitions)
                .filter(|partition| partition.in_sync.len() < partition.replicas.len())
                .map(|partition| partition.partition)
                .collect();
            if behind.is_empty() {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Ok(Some(format!(
                    "replicas of partitions {behind:?} were away; when they come back, the log cleaner may never remove \
                     their fillers"
                )));
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fits_beside_the_segment_filler() {
        let batch = segment_filler().unwrap();
        assert_eq!(batch.record_count(), 1);
        let room = SMALLEST_SEGMENT - batch.encoded_bytes();
        assert!(room < BATCH_HEADER_BYTES, "{room}");
    }

    #[test]
    fn the_last_gap_is_found() {
        let block = |offsets: &[i64]| {
            let mut block = RecordBlock::new();
            offsets
                .iter()
                .for_each(|offset| block.append(*offset, 0).finish());
            block
        };
        for (offsets, expected, found) in [
            (&[3, 4, 5][..], None, None),
            (&[3, 4, 5], Some(3), None),
            (&[3, 4, 5], Some(2), Some(3)),
            (&[3, 5, 6], Some(3), Some(5)),
            (&[3, 5, 7], Some(1), Some(7)),
            (&[], Some(1), None),
        ] {
            assert_eq!(last_gap_of(&block(offsets), expected), found, "{offsets:?}");
        }
    }
}
