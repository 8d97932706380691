use super::Compression;

/// Why records could not be put into a batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EncodeError {
    /// The record alone is larger than a batch may be. Trying again cannot help; raising the topic's
    /// `max.message.bytes` can.
    #[error(
        "the record at source offset {offset} needs a batch of {size} bytes, and the limit is {limit} bytes; \
         raise max.message.bytes of the topic"
    )]
    RecordTooLarge {
        /// The record's source offset.
        offset: i64,
        /// Bytes of a batch that holds only this record, as it would be sent (compressed, if it is).
        size: usize,
        /// The largest batch allowed.
        limit: usize,
    },
    /// A compressor failed, which none should.
    #[error("compressing a batch with {codec} failed: {message}")]
    Compressor {
        /// The codec.
        codec: Compression,
        /// What the library said.
        message: String,
    },
}

/// Why bytes fetched from a broker could not be decoded. Trying again cannot help.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the format says.
    #[error("the batch at offset {base_offset} is malformed: {message}")]
    Malformed {
        /// Base offset of the batch, as its header says it.
        base_offset: i64,
        /// What is wrong.
        message: String,
    },
    /// Messages of the formats before Kafka 0.11.
    #[error(
        "the log holds messages of the old format {magic} at offset {base_offset}; only format 2 (Kafka 0.11 and \
         later) is read"
    )]
    OldFormat {
        /// Offset of the message.
        base_offset: i64,
        /// The format's number.
        magic: i8,
    },
    /// The checksum does not match: the bytes were damaged on the way or on the broker's disk.
    #[error(
        "the batch at offset {base_offset} is damaged: its CRC-32C is {actual:08x}, its header says {expected:08x}"
    )]
    Crc {
        /// Base offset of the batch.
        base_offset: i64,
        /// What the header says.
        expected: u32,
        /// What the bytes have.
        actual: u32,
    },
    /// The compressed records cannot be unpacked.
    #[error("the batch at offset {base_offset} cannot be decompressed with {codec}: {message}")]
    Decompress {
        /// Base offset of the batch.
        base_offset: i64,
        /// The codec its header names.
        codec: Compression,
        /// What is wrong.
        message: String,
    },
}
