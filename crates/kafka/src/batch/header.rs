use super::{Compression, DecodeError};

/// Bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = 61;

/// Bytes before those that `batchLength` counts (base offset and the length itself).
pub(super) const LENGTH_END: usize = 12;
/// Where the bytes begin that the CRC covers (attributes and on).
pub(super) const CRC_START: usize = 21;
/// The format's number.
pub(super) const MAGIC: i8 = 2;

const TIMESTAMP_TYPE: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The header of a record batch.
///
/// Source: <https://kafka.apache.org/documentation/#recordbatch>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the original first one, where the log was compacted).
    pub base_offset: i64,
    /// Bytes of the whole batch, this header included.
    pub size: usize,
    /// Epoch of the leader that wrote the batch, or -1.
    pub leader_epoch: i32,
    /// CRC-32C of the bytes from the attributes on.
    pub crc: u32,
    /// Codec in bits 0-2, timestamp type 3, transactional 4, control 5, delete horizon 6.
    pub attributes: i16,
    /// Offset of the last record minus the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas are added to, milliseconds since 1970.
    pub base_timestamp: i64,
    /// The largest timestamp, milliseconds since 1970.
    pub max_timestamp: i64,
    /// The producer's id, or -1.
    pub producer_id: i64,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// The number of records in the batch.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the start of `bytes`. `None` where `bytes` end inside the batch (brokers cut the last
    /// batch of an answer anywhere).
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        Self::parse_header(bytes).map(|header| header.filter(|header| header.size <= bytes.len()))
    }

    /// As [`parse`](Self::parse), but `bytes` need to hold the header only.
    pub fn parse_header(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some(length_end) = bytes.first_chunk::<LENGTH_END>() else {
            return Ok(None);
        };
        let base_offset = i64::from_be_bytes(field(length_end, 0));
        let length = i32::from_be_bytes(field(length_end, 8));
        let malformed = |message: String| DecodeError::Malformed { base_offset, message };
        // The oldest format's smallest message has 14 bytes; its magic stands where format 2 has it.
        let Ok(length) = usize::try_from(length) else {
            return Err(malformed(format!("its length is {length}")));
        };
        if length < 14 {
            return Err(malformed(format!("its length is {length}")));
        }
        let Some(&magic) = bytes.get(16) else {
            return Ok(None);
        };
        let magic = magic as i8;
        if magic != MAGIC {
            return Err(if (0..MAGIC).contains(&magic) {
                DecodeError::OldFormat { base_offset, magic }
            } else {
                malformed(format!("its format is {magic}"))
            });
        }
        let size = length + LENGTH_END;
        if size < BATCH_HEADER_BYTES {
            return Err(malformed(format!("its length is {length}")));
        }
        let Some(bytes) = bytes.first_chunk::<BATCH_HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Self {
            base_offset,
            size,
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        };
        if header.last_offset_delta < 0 || header.record_count < 0 || header.base_offset < 0 {
            return Err(malformed(format!(
                "its last offset delta is {} and its record count {}",
                header.last_offset_delta, header.record_count
            )));
        }
        if header
            .base_offset
            .checked_add(i64::from(header.last_offset_delta) + 1)
            .is_none()
        {
            return Err(malformed("its offsets pass the largest number".to_owned()));
        }
        Ok(Some(header))
    }

    /// The header's bytes. The CRC is written as it stands in the field.
    pub(super) fn write(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        let length = (self.size - LENGTH_END) as i32;
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[16] = MAGIC as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// The offset behind the batch: where the next one begins at the earliest.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// True for a transaction's commit or abort marker and other records that are not data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// True where the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// True where the broker stamped the records when it appended them; all have `max_timestamp` then.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & TIMESTAMP_TYPE != 0
    }

    /// The codec of the records, or `None` for a number that no version of Kafka knows.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }
}

/// `N` bytes from `at` on. All callers pass constants inside the array.
fn field<const SIZE: usize, const N: usize>(bytes: &[u8; SIZE], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}
