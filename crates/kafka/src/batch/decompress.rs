//! Unpacks the records of a batch as a stream, so that a small batch that unpacks to gigabytes takes no memory.

use std::io::{self, Read};

use super::Compression;

/// The largest snappy block that is unpacked; snappy-java writes 32 KiB, librdkafka one block for a whole batch.
const MAX_SNAPPY_BLOCK: usize = 256 << 20;
const XERIAL_MAGIC: &[u8] = &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// A reader of the uncompressed records, or `None` where they are not compressed.
pub(super) fn reader<'a>(
    codec: Compression,
    bytes: &'a [u8],
) -> io::Result<Option<Box<dyn Read + Send + 'a>>> {
    Ok(match codec {
        Compression::None => None,
        Compression::Gzip => Some(Box::new(flate2::bufread::MultiGzDecoder::new(bytes))),
        Compression::Snappy => Some(Box::new(SnappyReader::new(bytes))),
        Compression::Lz4 => Some(Box::new(lz4_flex::frame::FrameDecoder::new(bytes))),
        Compression::Zstd => Some(Box::new(zstd::stream::read::Decoder::with_buffer(bytes)?)),
    })
}

/// Snappy in xerial framing, or one bare block, as some clients write it.
struct SnappyReader<'a> {
    input: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
}

impl<'a> SnappyReader<'a> {
    fn new(input: &'a [u8]) -> Self {
        let framed = input.starts_with(XERIAL_MAGIC) && input.len() >= 16;
        Self {
            input: if framed { &input[16..] } else { input },
            framed,
            block: Vec::new(),
            position: 0,
        }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message);
        let compressed = if self.framed {
            let (length, rest) = self
                .input
                .split_first_chunk::<4>()
                .ok_or_else(|| invalid("a block's length is cut off"))?;
            let length = u32::from_be_bytes(*length) as usize;
            if length > rest.len() {
                return Err(invalid("a block is cut off"));
            }
            let (compressed, rest) = rest.split_at(length);
            self.input = rest;
            compressed
        } else {
            std::mem::take(&mut self.input)
        };
        let length = snap::raw::decompress_len(compressed).map_err(io::Error::other)?;
        // Snappy cannot do better than 64 bytes out of 3, so a length beyond that is a lie.
        if length > MAX_SNAPPY_BLOCK || length / 22 > compressed.len() {
            return Err(invalid("a block claims an impossible size"));
        }
        self.block.resize(length, 0);
        self.position = 0;
        snap::raw::Decoder::new()
            .decompress(compressed, &mut self.block)
            .map_err(io::Error::other)?;
        Ok(())
    }
}

impl Read for SnappyReader<'_> {
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
