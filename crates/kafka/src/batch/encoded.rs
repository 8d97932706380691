use std::fmt;

use bytes::{Bytes, BytesMut};

use super::crc::{combine, crc32c};
use super::header::{BATCH_HEADER_BYTES, BatchHeader, CRC_START};
use super::{BatchRecords, DecodeError};

/// Who wrote a batch, for the broker's duplicate detection: producer id, epoch and the first record's sequence
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id, or -1 for none.
    pub id: i64,
    /// The producer's epoch, or -1 for none.
    pub epoch: i16,
    /// Sequence number of the first record, or -1 for none.
    pub sequence: i32,
}

impl ProducerStamp {
    /// No producer: the broker does not look for duplicates.
    pub const NONE: ProducerStamp = ProducerStamp {
        id: -1,
        epoch: -1,
        sequence: -1,
    };
}

/// A batch ready to be sent. Cheap to clone: the records are shared.
///
/// The base offset in it is 0, which brokers replace with the offset they assign.
#[derive(Clone)]
pub struct EncodedBatch {
    /// Attributes, timestamps, count; size and CRC are filled in by [`header`](Self::header).
    pub(super) fields: BatchHeader,
    pub(super) records: Bytes,
    pub(super) records_crc: u32,
    pub(super) first_source_offset: i64,
    pub(super) last_source_offset: i64,
    pub(super) uncompressed_bytes: usize,
}

impl fmt::Debug for EncodedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedBatch")
            .field("records", &self.record_count())
            .field("bytes", &self.encoded_bytes())
            .field(
                "source_offsets",
                &(self.first_source_offset..=self.last_source_offset),
            )
            .field("stamp", &self.stamp())
            .finish()
    }
}

impl EncodedBatch {
    /// The number of records, fillers included: the log end grows by it.
    pub fn record_count(&self) -> i32 {
        self.fields.record_count
    }

    /// Source offset of the first record.
    pub fn first_source_offset(&self) -> i64 {
        self.first_source_offset
    }

    /// Source offset of the last record.
    pub fn last_source_offset(&self) -> i64 {
        self.last_source_offset
    }

    /// The largest timestamp, milliseconds since 1970.
    pub fn max_timestamp(&self) -> i64 {
        self.fields.max_timestamp
    }

    /// Bytes of the batch as it is sent.
    pub fn encoded_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records.len()
    }

    /// Bytes of the batch before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.uncompressed_bytes
    }

    /// Who the batch says it is from.
    pub fn stamp(&self) -> ProducerStamp {
        ProducerStamp {
            id: self.fields.producer_id,
            epoch: self.fields.producer_epoch,
            sequence: self.fields.base_sequence,
        }
    }

    /// Says who the batch is from. Costs nothing: the CRC is put together from its parts when the header is
    /// written.
    pub fn set_stamp(&mut self, stamp: ProducerStamp) {
        self.fields.producer_id = stamp.id;
        self.fields.producer_epoch = stamp.epoch;
        self.fields.base_sequence = stamp.sequence;
    }

    /// The first 61 bytes of the batch.
    pub fn header(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut fields = self.fields;
        fields.size = self.encoded_bytes();
        let mut bytes = fields.write();
        let head = crc32c(&bytes[CRC_START..]);
        let crc = combine(head, self.records_crc, self.records.len());
        bytes[CRC_START - 4..CRC_START].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// The bytes behind the header.
    pub fn records(&self) -> &Bytes {
        &self.records
    }

    /// Decodes the records again; their offsets count from 0.
    pub fn decode(&self) -> Result<BatchRecords, DecodeError> {
        BatchRecords::new(self.fields, self.records.clone())
    }

    /// The whole batch in one piece; copies the records.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.encoded_bytes());
        bytes.extend_from_slice(&self.header());
        bytes.extend_from_slice(&self.records);
        bytes.freeze()
    }
}
