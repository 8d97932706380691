//! The five codecs, as Kafka frames them, fed piece by piece.
//!
//! Every piece is flushed to the output before [`Compressor::write`] returns, so the compressed size is known
//! exactly at any time. Pieces are as large as the codecs' own blocks, so that costs next to nothing.

use std::fmt;
use std::str::FromStr;

use flate2::{Compress, FlushCompress, Status};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use zstd::stream::raw::{Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

use super::EncodeError;

/// A codec of record batches.
///
/// Source: <https://kafka.apache.org/documentation/#recordbatch>, attributes bits 0 to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// As they are.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Raw snappy blocks in the framing of the snappy-java library (xerial).
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// The Zstandard frame format.
    Zstd,
}

impl Compression {
    /// All codecs, by their number.
    pub const ALL: [Compression; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec's name in configurations (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub(super) fn attributes(self) -> i16 {
        self as i16
    }

    pub(super) fn from_attributes(attributes: i16) -> Option<Self> {
        Self::ALL.get((attributes & 0x07) as usize).copied()
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == text)
            .ok_or_else(|| format!("`{text}` is no compression; known are none, gzip, snappy, lz4 and zstd"))
    }
}

/// zlib's own default and that of the Java client.
const GZIP_LEVEL: i32 = 6;
/// zstd's own default and that of the Java client.
const ZSTD_LEVEL: i32 = 3;

/// The block size of snappy-java's output stream.
const SNAPPY_BLOCK: usize = 32 * 1024;
/// Magic, version 1, oldest compatible version 1.
const XERIAL_HEADER: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];

/// The "256 KB" block size of the LZ4 frame format.
const LZ4_BLOCK: usize = 256 * 1024;
/// Magic; version 1, independent blocks (brokers answer UNKNOWN_SERVER_ERROR to linked ones), no checksums and
/// no size; block size 256 KB; the second byte of the two flag bytes' xxHash-32.
///
/// Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.
const LZ4_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb];
/// Set in a block's size where the block is stored as it is.
const LZ4_STORED: u32 = 0x8000_0000;

/// The largest block of zstd, so a flush there costs nothing.
const ZSTD_BLOCK: usize = 128 * 1024;
const GZIP_PIECE: usize = 128 * 1024;

/// A codec at work. Its contexts are used again from batch to batch.
pub(super) enum Compressor {
    Gzip(Compress),
    Snappy(Box<snap::raw::Encoder>),
    Lz4(CompressTable),
    Zstd(ZstdEncoder<'static>),
}

impl Compressor {
    /// `None` for [`Compression::None`]. `level` is for gzip (1-9) and zstd (1-22), out of range is clamped.
    pub(super) fn new(codec: Compression, level: Option<i32>) -> Result<Option<Self>, EncodeError> {
        Ok(match codec {
            Compression::None => None,
            Compression::Gzip => {
                let level = level.unwrap_or(GZIP_LEVEL).clamp(1, 9);
                Some(Self::Gzip(Compress::new_gzip(
                    flate2::Compression::new(level as u32),
                    15,
                )))
            }
            Compression::Snappy => Some(Self::Snappy(Box::new(snap::raw::Encoder::new()))),
            Compression::Lz4 => Some(Self::Lz4(CompressTable::large())),
            Compression::Zstd => {
                let level = level.unwrap_or(ZSTD_LEVEL).clamp(1, 22);
                let encoder = ZstdEncoder::new(level).map_err(|error| failed(codec, error))?;
                Some(Self::Zstd(encoder))
            }
        })
    }

    /// How many bytes to collect before they are worth a [`write`](Self::write).
    pub(super) fn piece(&self) -> usize {
        match self {
            Self::Gzip(_) => GZIP_PIECE,
            Self::Snappy(_) => 2 * SNAPPY_BLOCK,
            Self::Lz4(_) => LZ4_BLOCK,
            Self::Zstd(_) => ZSTD_BLOCK,
        }
    }

    /// The most bytes that a `write` of `length` bytes and `end` can append.
    pub(super) fn worst_case(&self, length: usize) -> usize {
        match self {
            // Stored blocks of at least 16 KiB with 5 bytes each, a flush, the final block and 8 bytes of trailer.
            Self::Gzip(_) => length + (length >> 10) + 64,
            // A length and a preamble for each block; see `snap::raw::max_compress_len`.
            Self::Snappy(_) => length + length / 6 + (length / SNAPPY_BLOCK + 1) * 40,
            Self::Lz4(_) => length + (length / LZ4_BLOCK + 1) * 4 + 4,
            // Stored blocks with 3 bytes each, the frame header (14), a last empty block.
            Self::Zstd(_) => length + (length / ZSTD_BLOCK + 1) * 3 + 32,
        }
    }

    /// Starts the records of a batch.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Gzip(compress) => compress.reset(),
            Self::Snappy(_) => out.extend_from_slice(&XERIAL_HEADER),
            Self::Lz4(_) => out.extend_from_slice(&LZ4_HEADER),
            Self::Zstd(encoder) => encoder
                .reinit()
                .map_err(|error| failed(Compression::Zstd, error))?,
        }
        Ok(())
    }

    /// Compresses `input` and appends all of it to `out`.
    pub(super) fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let worst_case = self.worst_case(input.len());
        match self {
            Self::Gzip(compress) => {
                out.reserve(worst_case);
                deflate(compress, input, out, FlushCompress::Sync)
            }
            Self::Snappy(encoder) => {
                for block in input.chunks(SNAPPY_BLOCK) {
                    let start = out.len();
                    out.resize(start + 4 + snap::raw::max_compress_len(block.len()), 0);
                    let length = encoder
                        .compress(block, &mut out[start + 4..])
                        .map_err(|error| failed(Compression::Snappy, error))?;
                    out[start..start + 4].copy_from_slice(&(length as u32).to_be_bytes());
                    out.truncate(start + 4 + length);
                }
                Ok(())
            }
            Self::Lz4(table) => {
                for block in input.chunks(LZ4_BLOCK) {
                    let start = out.len();
                    out.resize(start + 4 + get_maximum_output_size(block.len()), 0);
                    let length = compress_into_with_table(block, &mut out[start + 4..], table)
                        .map_err(|error| failed(Compression::Lz4, error))?;
                    let (length, flag) = if length < block.len() {
                        (length, 0)
                    } else {
                        out[start + 4..start + 4 + block.len()].copy_from_slice(block);
                        (block.len(), LZ4_STORED)
                    };
                    out[start..start + 4].copy_from_slice(&(length as u32 | flag).to_le_bytes());
                    out.truncate(start + 4 + length);
                }
                Ok(())
            }
            Self::Zstd(encoder) => {
                let failed = |error| failed(Compression::Zstd, error);
                let mut input = InBuffer::around(input);
                out.reserve(worst_case);
                while input.pos() < input.src.len() {
                    out.reserve(64);
                    let position = out.len();
                    encoder
                        .run(&mut input, &mut OutBuffer::around_pos(out, position))
                        .map_err(failed)?;
                }
                loop {
                    out.reserve(64);
                    let position = out.len();
                    if encoder
                        .flush(&mut OutBuffer::around_pos(out, position))
                        .map_err(failed)?
                        == 0
                    {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Ends the records of a batch.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Gzip(compress) => {
                out.reserve(64);
                deflate(compress, &[], out, FlushCompress::Finish)
            }
            Self::Snappy(_) => Ok(()),
            Self::Lz4(_) => {
                out.extend_from_slice(&[0; 4]);
                Ok(())
            }
            Self::Zstd(encoder) => loop {
                out.reserve(64);
                let position = out.len();
                let left = encoder
                    .finish(&mut OutBuffer::around_pos(out, position), true)
                    .map_err(|error| failed(Compression::Zstd, error))?;
                if left == 0 {
                    return Ok(());
                }
            },
        }
    }
}

fn deflate(
    compress: &mut Compress,
    mut input: &[u8],
    out: &mut Vec<u8>,
    flush: FlushCompress,
) -> Result<(), EncodeError> {
    loop {
        let before = compress.total_in();
        let status = compress
            .compress_vec(input, out, flush)
            .map_err(|error| failed(Compression::Gzip, error))?;
        let used = (compress.total_in() - before) as usize;
        input = input.get(used..).unwrap_or_default();
        let finished = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            // Room left behind a flush says that the flush is complete.
            _ => input.is_empty() && out.len() < out.capacity(),
        };
        if finished {
            return Ok(());
        }
        out.reserve(4096);
    }
}

fn failed(codec: Compression, error: impl fmt::Display) -> EncodeError {
    EncodeError::Compressor {
        codec,
        message: error.to_string(),
    }
}
