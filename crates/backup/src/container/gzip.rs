//! gzip (RFC 1952): any number of members, each checked against its own CRC-32 and length.
//!
//! A missing trailer, a wrong checksum, broken deflate data and bytes behind the end are four different messages.

use crc_fast::{CrcAlgorithm, Digest};

use super::{ContainerError, Inflate, Unwrap, make_room};

/// The first two bytes of every member.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Output made by one call of the inflater: large enough that the calls cost nothing, small enough that the
/// checksum finds the bytes in the cache.
const PIECE: usize = 128 << 10;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Where in the file the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the ten fixed bytes of a header.
    Fixed,
    /// In the two bytes of the extra field's length.
    ExtraLength,
    /// In the extra field, with this many bytes to go.
    Extra(u16),
    /// In the file name, up to a zero.
    Name,
    /// In the comment, up to a zero.
    Comment,
    /// In the two bytes of the header's checksum.
    HeaderCrc,
    /// In the compressed data.
    Body,
    /// In the eight bytes of checksum and length.
    Trailer,
    /// Behind a whole member.
    Between,
    /// In zeros behind the last member.
    Padding,
}

/// The checksum of gzip.
fn crc32() -> Digest {
    Digest::new(CrcAlgorithm::Crc32IsoHdlc)
}

/// Unwraps gzip.
pub struct Gzip {
    state: State,
    /// The bytes of the fixed-size part at hand.
    part: [u8; 10],
    part_length: usize,
    flags: u8,
    header_crc: Digest,
    inflate: Inflate,
    crc: Digest,
    /// Bytes of input used so far.
    position: u64,
    members: u64,
    padding: u64,
}

impl Default for Gzip {
    fn default() -> Self {
        Self::new()
    }
}

impl Gzip {
    /// Ready for the first byte of a file.
    pub fn new() -> Self {
        Self {
            state: State::Fixed,
            part: [0; 10],
            part_length: 0,
            flags: 0,
            header_crc: crc32(),
            inflate: Inflate::new(),
            crc: crc32(),
            position: 0,
            members: 0,
            padding: 0,
        }
    }

    fn error(&self, reason: impl Into<String>) -> ContainerError {
        ContainerError {
            reason: reason.into(),
            byte_offset: self.position,
            truncated: false,
        }
    }

    /// Collects bytes for a part of fixed size; gives the bytes used and whether the part is whole.
    fn collect(&mut self, input: &[u8], size: usize) -> (usize, bool) {
        let take = input.len().min(size - self.part_length);
        self.part[self.part_length..][..take].copy_from_slice(&input[..take]);
        self.part_length += take;
        let whole = self.part_length == size;
        if whole {
            self.part_length = 0;
        }
        (take, whole)
    }

    /// The state behind the header parts that come before `after`, by the header's flags.
    fn next_header_part(&self, after: State) -> State {
        let has = |flag| self.flags & flag != 0;
        match after {
            State::Fixed if has(EXTRA) => State::ExtraLength,
            State::Fixed | State::Extra(_) if has(NAME) => State::Name,
            State::Fixed | State::Extra(_) | State::Name if has(COMMENT) => State::Comment,
            State::Fixed | State::Extra(_) | State::Name | State::Comment if has(HEADER_CRC) => {
                State::HeaderCrc
            }
            _ => State::Body,
        }
    }

    fn start_body(&mut self) {
        self.inflate.reset();
        self.crc.reset();
    }

    /// Uses some bytes of a header. `input` is not empty.
    fn header(&mut self, input: &[u8]) -> Result<usize, ContainerError> {
        let (used, next) = match self.state {
            State::Fixed => {
                let (used, whole) = self.collect(input, 10);
                if !whole {
                    (used, None)
                } else {
                    if self.part[..2] != MAGIC {
                        return Err(self.error("not gzip: the magic bytes 1f 8b are missing"));
                    }
                    if self.part[2] != 8 {
                        return Err(self.error(format!(
                            "gzip with the unknown compression method {}",
                            self.part[2]
                        )));
                    }
                    self.flags = self.part[3];
                    if self.flags & RESERVED != 0 {
                        return Err(
                            self.error("a gzip header with reserved flags set: the header is damaged")
                        );
                    }
                    self.header_crc.reset();
                    (used, Some(self.next_header_part(State::Fixed)))
                }
            }
            State::ExtraLength => {
                let (used, whole) = self.collect(input, 2);
                let length = u16::from_le_bytes([self.part[0], self.part[1]]);
                let next = match length {
                    0 => self.next_header_part(State::Extra(0)),
                    length => State::Extra(length),
                };
                (used, whole.then_some(next))
            }
            State::Extra(length) => {
                let used = input.len().min(length.into());
                let left = length - used as u16;
                let next = match left {
                    0 => self.next_header_part(State::Extra(0)),
                    left => State::Extra(left),
                };
                (used, Some(next))
            }
            State::Name | State::Comment => match memchr::memchr(0, input) {
                Some(end) => (end + 1, Some(self.next_header_part(self.state))),
                None => (input.len(), None),
            },
            State::HeaderCrc => {
                let (used, whole) = self.collect(input, 2);
                if whole {
                    let stored = u16::from_le_bytes([self.part[0], self.part[1]]);
                    if stored != self.header_crc.finalize() as u16 {
                        return Err(self.error("the gzip header does not match its checksum"));
                    }
                }
                (used, whole.then_some(State::Body))
            }
            _ => (0, None),
        };
        // The header's checksum covers all of it, the ten fixed bytes included.
        match self.state {
            State::Fixed if next.is_some() => self.header_crc.update(&self.part),
            State::Fixed | State::HeaderCrc => {}
            _ => self.header_crc.update(&input[..used]),
        }
        if let Some(next) = next {
            self.state = next;
            if next == State::Body {
                self.start_body();
            }
        }
        Ok(used)
    }

    /// Inflates one piece; gives the bytes used and whether anything happened.
    fn body(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<(usize, bool), ContainerError> {
        make_room(output, output_limit, PIECE);
        let before = output.len();
        let room = (output_limit - before).min(PIECE);
        let result = self.inflate.inflate(input, output, room);
        let made = &output[before..];
        self.crc.update(made);
        let progress = result.map_err(|damage| self.error(format!("the gzip data is damaged: {damage}")))?;
        if progress.ended {
            self.state = State::Trailer;
        }
        Ok((
            progress.used,
            progress.ended || progress.used > 0 || !made.is_empty(),
        ))
    }

    fn trailer(&mut self, input: &[u8]) -> Result<usize, ContainerError> {
        let (used, whole) = self.collect(input, 8);
        if whole {
            let word = |at: usize| {
                u32::from_le_bytes([
                    self.part[at],
                    self.part[at + 1],
                    self.part[at + 2],
                    self.part[at + 3],
                ])
            };
            let (crc, length) = (word(0), word(4));
            let wrong = |reason: String| ContainerError {
                reason,
                // Where the trailer starts, some of which may have come with earlier calls.
                byte_offset: (self.position + used as u64).saturating_sub(8),
                truncated: false,
            };
            if crc != self.crc.finalize() as u32 {
                return Err(wrong(format!(
                    "the gzip checksum is wrong: {:08x} is stored, {crc_found:08x} was found; the content was damaged after it was written",
                    crc,
                    crc_found = self.crc.finalize() as u32,
                )));
            }
            // RFC 1952: the length modulo 2^32.
            if length != self.inflate.total_out() as u32 {
                return Err(wrong(format!(
                    "the gzip length is wrong: {length} is stored, {} was found",
                    self.inflate.total_out() as u32
                )));
            }
            self.members += 1;
            self.state = State::Between;
        }
        Ok(used)
    }
}

impl Unwrap for Gzip {
    fn unwrap(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        output_limit: usize,
    ) -> Result<usize, ContainerError> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let step = match self.state {
                State::Body => {
                    if output.len() >= output_limit {
                        return Ok(used);
                    }
                    let (step, progress) = self.body(rest, output, output_limit)?;
                    if !progress {
                        return Ok(used);
                    }
                    step
                }
                _ if rest.is_empty() => return Ok(used),
                State::Trailer => self.trailer(rest)?,
                State::Between => match rest[0] {
                    0 => {
                        self.state = State::Padding;
                        0
                    }
                    byte if byte == MAGIC[0] => {
                        self.state = State::Fixed;
                        0
                    }
                    _ => return Err(self.error("there are other bytes behind the end of the gzip data")),
                },
                State::Padding => {
                    let zeros = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
                    self.padding += zeros as u64;
                    if zeros == 0 {
                        return Err(self.error("there are other bytes behind the end of the gzip data"));
                    }
                    zeros
                }
                _ => self.header(rest)?,
            };
            used += step;
            self.position += step as u64;
        }
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        let part = match self.state {
            State::Between | State::Padding => return Ok(()),
            State::Body => "in its compressed data",
            State::Trailer => "before its checksum is complete",
            _ => "in its header",
        };
        Err(ContainerError {
            reason: format!("the gzip data stops {part}: the upload was cut"),
            byte_offset: self.position,
            truncated: true,
        })
    }

    fn memory_bytes(&self) -> usize {
        self.inflate.memory_bytes()
    }

    fn padding_bytes(&self) -> u64 {
        self.padding
    }
}
