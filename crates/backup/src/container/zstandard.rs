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

/// Unwraps Zstandard.
pub struct Zstandard {
    decoder: Option<Decoder<'static>>,
    position: u64,
    /// True where the last byte used was the last one of a frame.
    between_frames: bool,
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
        }
    }
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
