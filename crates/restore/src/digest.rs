//! A digest of records in their order: taken of what is sent, and again of what is read back.
//!
//! It covers timestamp, key, value and headers of each record, with lengths, so that no two different sequences are
//! written alike. Offsets are a sum of their own: the digest of a backup is the same whether its offsets are kept or not.
//! XXH3 with 128 bits finds accidents of any kind; it is not made against people who forge records on purpose.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use record::{RecordBlock, RecordRef, TopicPartition};

use kafka::fetch::{Isolation, PartitionFetcher};

use crate::compare::is_filler;
use crate::error::RestoreError;
use crate::shared::Shared;

/// What reading a partition back gave. Serialises into the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// True where what was read back is what was sent, record by record, each at its offset.
    pub equal: bool,
    /// Records that were sent by this run.
    pub records: u64,
    /// Their digest, 32 hexadecimal digits.
    pub digest: String,
    /// Records that were read back.
    pub target_records: u64,
    /// Their digest.
    pub target_digest: String,
}

/// Takes the digest of records as they come.
#[derive(Clone)]
pub(crate) struct Digester {
    content: XxHash3_128,
    /// Of the target offsets, in order.
    places: u64,
    records: u64,
    /// Records that look like fillers are left out.
    without_fillers: bool,
    buffer: Vec<u8>,
}

impl Digester {
    /// Of no records yet. Where offsets are exact, fillers may stand between the records, and records of the backup
    /// that look like one are left out on both sides.
    pub(crate) fn new(without_fillers: bool) -> Self {
        Self {
            content: XxHash3_128::new(),
            places: 0,
            records: 0,
            without_fillers,
            buffer: Vec::new(),
        }
    }

    /// Adds the next record, which stands at `target` in the target.
    pub(crate) fn add(&mut self, record: RecordRef<'_>, target: i64) {
        if self.without_fillers && is_filler(record) {
            return;
        }
        // One short write of all lengths, then the bytes: the hash is fast only if it is not fed crumbs.
        self.buffer.clear();
        self.buffer.extend_from_slice(&record.timestamp.to_le_bytes());
        put_length(&mut self.buffer, record.key);
        put_length(&mut self.buffer, record.value);
        self.buffer
            .extend_from_slice(&(record.headers.len() as u64).to_le_bytes());
        for (name, value) in record.headers.iter() {
            put_length(&mut self.buffer, Some(name));
            put_length(&mut self.buffer, value);
            self.buffer.extend_from_slice(name);
            self.buffer.extend_from_slice(value.unwrap_or_default());
        }
        self.content.write(&self.buffer);
        self.content.write(record.key.unwrap_or_default());
        self.content.write(record.value.unwrap_or_default());
        // Each step can be undone, so two lists that end alike began alike.
        self.places = (self.places.rotate_left(5) ^ target as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.records += 1;
    }

    /// Adds `block[range]`, whose first record stands at `target` and the others behind it.
    pub(crate) fn add_range(&mut self, block: &RecordBlock, range: std::ops::Range<usize>, target: i64) {
        for (index, target) in range.zip(target..) {
            self.add(block.get(index), target);
        }
    }

    fn digest(&self) -> String {
        format!("{:032x}", self.content.finish_128())
    }

    /// Reads `start .. end` of `partition` back and compares.
    pub(crate) async fn read_back(
        self,
        shared: &Shared,
        partition: &TopicPartition,
        start: i64,
        end: i64,
    ) -> Result<Verified, RestoreError> {
        let mut found = Self::new(self.without_fillers);
        let mut fetcher = PartitionFetcher::new(
            shared.cluster.clone(),
            partition.clone(),
            start,
            end,
            Isolation::ReadUncommitted,
        );
        let mut block = RecordBlock::new();
        loop {
            let more = tokio::select! {
                more = fetcher.next(&mut block) => more?,
                () = shared.cancel.cancelled() => return Err(RestoreError::Interrupted),
            };
            if !more {
                break;
            }
            for index in 0..block.len() {
                let record = block.get(index);
                found.add(record, record.offset);
            }
        }
        Ok(self.against(&found))
    }

    fn against(&self, found: &Self) -> Verified {
        let (digest, target_digest) = (self.digest(), found.digest());
        Verified {
            equal: (self.records, self.places) == (found.records, found.places) && digest == target_digest,
            records: self.records,
            digest,
            target_records: found.records,
            target_digest,
        }
    }
}

/// A length; null is none.
fn put_length(buffer: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    buffer.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::FILLER_TIMESTAMP;

    /// (timestamp, key, value, headers)
    type Content<'a> = (
        i64,
        Option<&'a str>,
        Option<&'a str>,
        &'a [(&'a str, Option<&'a str>)],
    );

    fn block(records: &[Content<'_>]) -> RecordBlock {
        let mut block = RecordBlock::new();
        for (offset, (timestamp, key, value, headers)) in (0..).zip(records) {
            let mut writer = block.append(offset, *timestamp);
            key.inspect(|key| writer.key(key.as_bytes()));
            value.inspect(|value| writer.value(value.as_bytes()));
            for (name, value) in *headers {
                writer.header(name.as_bytes(), value.map(str::as_bytes));
            }
            writer.finish();
        }
        block
    }

    fn digester(records: &[Content<'_>], targets: &[i64]) -> Digester {
        let block = block(records);
        let mut digester = Digester::new(true);
        for (index, target) in targets.iter().enumerate() {
            digester.add(block.get(index), *target);
        }
        digester
    }

    const RECORDS: &[Content<'static>] = &[
        (
            7,
            Some("k"),
            Some("v"),
            &[("a", Some("1")), ("b", None), ("a", Some("2"))],
        ),
        (7, None, Some(""), &[]),
        (8, Some(""), None, &[("c", Some(""))]),
        (9, Some("ab"), Some("c"), &[]),
    ];

    #[test]
    fn the_same_records_have_the_same_digest_wherever_they_stand() {
        let (one, other) = (
            digester(RECORDS, &[0, 1, 2, 3]),
            digester(RECORDS, &[5, 9, 10, 11]),
        );
        assert_eq!(one.digest(), other.digest());
        assert!(!one.against(&other).equal, "but not at the same places");
        assert!(one.against(&one.clone()).equal);
        let mut ranges = Digester::new(false);
        let block = block(RECORDS);
        ranges.add_range(&block, 0..3, 0);
        ranges.add_range(&block, 3..4, 3);
        assert!(one.against(&ranges).equal);
    }

    #[test]
    fn any_difference_makes_another_digest() {
        type Change = fn(&mut Vec<Content<'static>>);
        let changes: &[Change] = &[
            |records| records[0].0 = 8,
            |records| records[0].1 = Some("l"),
            |records| records[0].1 = None,
            |records| records[1].2 = None,
            |records| records[2].2 = Some(""),
            |records| records[3].1 = Some("a"),
            |records| (records[3].1, records[3].2) = (Some("a"), Some("bc")),
            |records| records[0].3 = &[("b", None), ("a", Some("1")), ("a", Some("2"))],
            |records| records[0].3 = &[("a", Some("1")), ("b", Some("")), ("a", Some("2"))],
            |records| records[0].3 = &[("a", Some("1")), ("b", None)],
            |records| records[2].3 = &[("c", None)],
            |records| records.swap(1, 2),
            |records| records.truncate(3),
            |records| records.push(records[3]),
        ];
        let whole = digester(RECORDS, &[0, 1, 2, 3]);
        for (number, change) in changes.iter().enumerate() {
            let mut records = RECORDS.to_vec();
            change(&mut records);
            let targets: Vec<i64> = (0..records.len() as i64).collect();
            let changed = digester(&records, &targets);
            assert_ne!(whole.digest(), changed.digest(), "change {number}");
            assert!(!whole.against(&changed).equal, "change {number}");
        }
    }

    #[test]
    fn fillers_between_records_do_not_count() {
        let with_filler: Vec<Content<'_>> = vec![RECORDS[0], (FILLER_TIMESTAMP, None, None, &[]), RECORDS[3]];
        let filled = digester(&with_filler, &[0, 1, 2]);
        let without = digester(&[RECORDS[0], RECORDS[3]], &[0, 2]);
        assert!(without.against(&filled).equal);
    }
}
