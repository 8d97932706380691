//! snappy-java's stream ("xerial"): a header of 16 bytes, then blocks of raw snappy with a length each.
//!
//! There is no checksum and no end marker, so a file that is cut between two blocks looks whole. Headers may
//! come again between blocks, as where two streams were joined. It is not the snappy frame format.
//!
//! Source: `SnappyOutputStream` and `SnappyCodec` of xerial/snappy-java.

use super::{ContainerError, Unwrap, make_room};

/// The first eight bytes of the header; the last one is zero.
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// The largest block, unwrapped, that is accepted. snappy-java writes 32 KiB unless told otherwise.
const MAX_BLOCK: usize = 32 << 20;

/// snappy's worst case for [`MAX_BLOCK`]: 32 + n + n/6.
const MAX_STORED_BLOCK: usize = 32 + MAX_BLOCK + MAX_BLOCK / 6;

/// No element of snappy's format gives more bytes than 64 for 2.
const MAX_RATIO: usize = 32;

const HEADER_BYTES: usize = 16;

/// Unwraps xerial snappy.
pub struct XerialSnappy {
    /// A header or a block (length included) whose bytes have not all come yet.
    partial: Vec<u8>,
    /// Unwrapped bytes of a block that found no room yet.
    pending: Vec<u8>,
    pending_start: usize,
    position: u64,
    header_seen: bool,
    decoder: snap::raw::Decoder,
}

impl Default for XerialSnappy {
    fn default() -> Self {
        Self::new()
    }
}

impl XerialSnappy {
    /// Ready for the first byte of a file.
    pub fn new() -> Self {
        Self {
            partial: Vec::new(),
            pending: Vec::new(),
            pending_start: 0,
            position: 0,
            header_seen: false,
            decoder: snap::raw::Decoder::new(),
        }
    }

    fn error(&self, reason: impl Into<String>) -> ContainerError {
        ContainerError {
            reason: reason.into(),
            byte_offset: self.position,
            truncated: false,
        }
    }

    /// The bytes of the header or block that `bytes` starts with, or how many are needed to tell.
    fn unit_length(&self, bytes: &[u8]) -> Result<usize, ContainerError> {
        let compare = bytes.len().min(MAGIC.len());
        if !self.header_seen {
            if bytes[..compare] != MAGIC[..compare] {
                return Err(self.error("not snappy-java's format: its magic bytes are missing"));
            }
            return Ok(HEADER_BYTES);
        }
        if bytes.len() < 4 {
            return Ok(4);
        }
        // As a length the magic would be over 2 GiB, so the two cannot be mistaken for one another.
        if bytes[..4] == MAGIC[..4] {
            if bytes[..compare] != MAGIC[..compare] {
                return Err(self.error("a snappy block of over 2 GiB: the data is damaged"));
            }
            return Ok(HEADER_BYTES);
        }
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if length == 0 || length > MAX_STORED_BLOCK {
            return Err(self.error(format!(
                "a snappy block of {length} bytes: the data is damaged (1 to {MAX_STORED_BLOCK} are accepted)"
            )));
        }
        Ok(4 + length)
    }

    /// Takes a whole header or block.
    fn unit(&mut self, unit: &[u8], output: &mut Vec<u8>, output_limit: usize) -> Result<(), ContainerError> {
        if unit[..4] == MAGIC[..4] {
            // Version and lowest compatible version; snappy-java has written 1 and 1 ever since and refuses
            // streams whose version is below its own lowest.
            let version = u32::from_be_bytes([unit[8], unit[9], unit[10], unit[11]]);
            let compatible = u32::from_be_bytes([unit[12], unit[13], unit[14], unit[15]]);
            if version < 1 || compatible > 1 {
                return Err(self.error(format!(
                    "snappy data of the unknown version {version} (compatible with {compatible})"
                )));
            }
            self.header_seen = true;
        } else {
            let block = &unit[4..];
            let length = snap::raw::decompress_len(block)
                .map_err(|error| self.error(format!("a snappy block is damaged: {error}")))?;
            if length > MAX_BLOCK || length > block.len().saturating_mul(MAX_RATIO) {
                return Err(self.error(format!(
                    "a snappy block of {} bytes that says it unwraps to {length} bytes: the data is damaged",
                    block.len()
                )));
            }
            if output.len() + length <= output_limit {
                let start = output.len();
                output.resize(start + length, 0);
                if let Err(error) = self.decoder.decompress(block, &mut output[start..]) {
                    output.truncate(start);
                    return Err(self.error(format!("a snappy block is damaged: {error}")));
                }
            } else {
                self.pending.clear();
                self.pending_start = 0;
                self.pending.resize(length, 0);
                if let Err(error) = self.decoder.decompress(block, &mut self.pending) {
                    self.pending.clear();
                    return Err(self.error(format!("a snappy block is damaged: {error}")));
                }
            }
        }
        self.position += unit.len() as u64;
        Ok(())
    }

    fn give_pending(&mut self, output: &mut Vec<u8>, output_limit: usize) {
        let rest = &self.pending[self.pending_start..];
        let take = rest.len().min(output_limit.saturating_sub(output.len()));
        output.extend_from_slice(&rest[..take]);
        self.pending_start += take;
    }
}

impl Unwrap for XerialSnappy {
    fn unwrap(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<usize, ContainerError> {
        make_room(output, output_limit, 64 << 10);
        let mut used = 0;
        loop {
            self.give_pending(output, output_limit);
            if output.len() >= output_limit || self.pending_start < self.pending.len() {
                return Ok(used);
            }
            let rest = &input[used..];
            if self.partial.is_empty() {
                if rest.is_empty() {
                    return Ok(used);
                }
                let length = self.unit_length(rest)?;
                if rest.len() >= length {
                    self.unit(&rest[..length], output, output_limit)?;
                    used += length;
                } else {
                    // Not whole: kept, in memory that grows with what really comes.
                    self.partial.extend_from_slice(rest);
                    return Ok(input.len());
                }
            } else {
                let length = self.unit_length(&self.partial)?;
                if self.partial.len() < length {
                    let take = rest.len().min(length - self.partial.len());
                    if take == 0 {
                        return Ok(used);
                    }
                    self.partial.extend_from_slice(&rest[..take]);
                    used += take;
                } else {
                    let unit = std::mem::take(&mut self.partial);
                    let result = self.unit(&unit, output, output_limit);
                    self.partial = unit;
                    self.partial.clear();
                    result?;
                }
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        self.partial.capacity() + self.pending.capacity()
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        if self.partial.is_empty() && self.header_seen {
            return Ok(());
        }
        Err(ContainerError {
            reason: if self.header_seen {
                "the snappy data stops inside a block: the upload was cut".into()
            } else {
                "the snappy data stops inside its header: the upload was cut".into()
            },
            byte_offset: self.position + self.partial.len() as u64,
            truncated: true,
        })
    }
}
