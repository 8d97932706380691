//! Unpacks the records of a batch as a stream, so that a small batch that unpacks to gigabytes takes no memory.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use super::Compression;

/// The largest snappy block that is unpacked; snappy-java writes 32 KiB, librdkafka one block for a whole batch.
const MAX_SNAPPY_BLOCK: usize = 256 << 20;
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// A reader of the uncompressed records, or `None` where they are not compressed.
pub(super) fn reader(codec: Compression, bytes: Bytes) -> io::Result<Option<Box<dyn Read + Send + Sync>>> {
    Ok(match codec {
        Compression::None => None,
        Compression::Gzip => Some(Box::new(flate2::bufread::MultiGzDecoder::new(bytes.reader()))),
        Compression::Snappy => Some(Box::new(SnappyReader::new(bytes))),
        Compression::Lz4 => Some(Box::new(lz4_flex::frame::FrameDecoder::new(bytes.reader()))),
        Compression::Zstd => Some(Box::new(zstd::stream::read::Decoder::with_buffer(
            bytes.reader(),
        )?)),
    })
}

/// Snappy in xerial framing, or one bare block, as some clients write it.
struct SnappyReader {
    input: Bytes,
    framed: bool,
    block: Vec<u8>,
    position: usize,
}

impl SnappyReader {
    fn new(mut input: Bytes) -> Self {
        let framed = input.starts_with(XERIAL_MAGIC) && input.len() >= 16;
        if framed {
            input.advance(16);
        }
        Self {
            input,
            framed,
            block: Vec::new(),
            position: 0,
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message);
        let compressed = if self.framed {
            if self.input.len() < 4 {
                return Err(invalid("a block's length is cut off"));
            }
            let length = self.input.get_u32() as usize;
            if length > self.input.len() {
                return Err(invalid("a block is cut off"));
            }
            self.input.split_to(length)
        } else {
            std::mem::take(&mut self.input)
        };
        let length = snap::raw::decompress_len(&compressed).map_err(io::Error::other)?;
        // Snappy cannot do better than 64 bytes out of 3, so a length beyond that is a lie.
        if length > MAX_SNAPPY_BLOCK || length / 22 > compressed.len() {
            return Err(invalid("a block claims an impossible size"));
        }
        self.block.resize(length, 0);
        self.position = 0;
        snap::raw::Decoder::new()
            .decompress(&compressed, &mut self.block)
            .map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for SnappyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            if self.input.is_empty() {
                return Ok(0);
            }
            self.next_block()?;
        }
        let length = buffer.len().min(self.block.len() - self.position);
        buffer[..length].copy_from_slice(&self.block[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}
