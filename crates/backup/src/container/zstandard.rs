//! Zstandard (RFC 8878): any number of frames, skippable ones included.
//!
//! The sinks write no content checksum, so damage inside a block may go unseen by the container; where a frame
//! has one it is checked. The window that a frame may ask for is bounded.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{ContainerError, Unwrap, make_room};

/// The first four bytes of a frame.
pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The largest window, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support and levels up
/// to 19 stay within.
const WINDOW_LOG_MAX: u32 = 23;

const PIECE: usize = 128 << 10;

/// What a decoder keeps beside buffers, in bytes: tables, and literals of the block at hand.
const TABLES: usize = 96 << 10;

/// Unwraps Zstandard.
pub struct Zstandard {
    decoder: Option<Decoder<'static>>,
    position: u64,
    /// True where the last byte used was the last one of a frame.
    between_frames: bool,
    /// The first bytes of the first frame, which tell its window.
    header: Vec<u8>,
    /// Unwrapped bytes so far.
    written: u64,
}

impl Default for Zstandard {
    fn default() -> Self {
        Self::new()
    }
}

impl Zstandard {
    /// Ready for the first byte of a file.
    pub fn new() -> Self {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
            Ok(decoder)
        });
        Self {
            decoder: decoder.ok(),
            position: 0,
            between_frames: false,
            header: Vec::with_capacity(HEADER_BYTES),
            written: 0,
        }
    }
}

/// Bytes of a frame up to and with its window descriptor, or its content size without one (RFC 8878, 3.1.1.1).
const HEADER_BYTES: usize = 13;

/// The window of a frame that begins so, in bytes: what a decoder keeps of the content. None where it is not told yet.
fn window(header: &[u8]) -> Option<u64> {
    let descriptor = *header.get(4)?;
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let (exponent, mantissa) = (header.get(5)? >> 3, header.get(5)? & 7);
        let base = 1_u64 << (10 + exponent);
        return Some(base + base / 8 * u64::from(mantissa));
    }
    // No window: the content itself, whose size stands behind the dictionary's number.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let width = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let bytes = header.get(5 + dictionary..5 + dictionary + width);
    let Some(bytes) = bytes.filter(|_| dictionary == 0) else {
        return Some(1 << WINDOW_LOG_MAX);
    };
    let size = bytes
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    Some(if width == 2 { size + 256 } else { size })
}

impl Unwrap for Zstandard {
    fn unwrap(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<usize, ContainerError> {
        let Some(decoder) = &mut self.decoder else {
            return Err(ContainerError {
                reason: "there is no memory for a zstd decoder".into(),
                byte_offset: 0,
                truncated: false,
            });
        };
        let missing = HEADER_BYTES.saturating_sub(self.header.len()).min(input.len());
        if self.written == 0 {
            self.header.extend_from_slice(&input[..missing]);
        }
        let mut used = 0;
        while output.len() < output_limit {
            if used == input.len() && self.between_frames {
                break;
            }
            make_room(output, output_limit, PIECE);
            let before = output.len();
            let mut source = InBuffer::around(&input[used..]);
            let result = {
                let mut sink = OutBuffer::around_pos(output, before);
                decoder.run(&mut source, &mut sink)
            };
            let step = source.pos();
            used += step;
            self.position += step as u64;
            self.written += (output.len() - before) as u64;
            let remaining = result.map_err(|error| ContainerError {
                reason: format!("the zstd data is damaged: {error}"),
                byte_offset: self.position,
                truncated: false,
            })?;
            if step == 0 && output.len() == before {
                break;
            }
            self.between_frames = remaining == 0;
        }
        Ok(used)
    }

    /// The window, as far as there is content for it, the decoder's buffers of a block each, and its tables.
    fn memory_bytes(&self) -> usize {
        let window = window(&self.header).unwrap_or(0).min(1 << WINDOW_LOG_MAX);
        usize::try_from(window.min(self.written)).unwrap_or(usize::MAX) + 2 * PIECE + TABLES
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        if self.between_frames {
            return Ok(());
        }
        Err(ContainerError {
            reason: "the zstd data stops inside a frame: the upload was cut".into(),
            byte_offset: self.position,
            truncated: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_frame_is_what_it_says() {
        let content: Vec<u8> = (0..5_000_000_u32)
            .flat_map(|number| [(number >> 9) as u8])
            .collect();
        // As the sinks write it: no content size, so a window that goes with the level.
        let streamed = zstd::stream::encode_all(content.as_slice(), 3).unwrap();
        assert_eq!(window(&streamed), Some(2 << 20));
        assert_eq!(window(&streamed[..5]), None);
        let mut unwrapper = Zstandard::new();
        assert!(unwrapper.memory_bytes() < 1 << 20);
        let (mut used, mut output) = (0, Vec::new());
        while used < streamed.len() {
            let end = (used + 100).min(streamed.len());
            used += unwrapper
                .unwrap(&streamed[used..end], &mut output, usize::MAX)
                .unwrap();
        }
        assert_eq!(output, content);
        assert_eq!(unwrapper.memory_bytes(), (2 << 20) + 2 * PIECE + TABLES);
        // In one piece, the content is the window.
        let whole = zstd::bulk::compress(&content[..1000], 3).unwrap();
        assert_eq!(window(&whole), Some(1000));
    }
}
