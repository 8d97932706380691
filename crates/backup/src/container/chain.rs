//! Stored bytes on their way through the containers that lie around the content.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{Container, ContainerError, Unwrap, unwrapper};

/// How many containers may lie in one another. Sinks write one, people who archive add one.
const MAX_DEPTH: usize = 4;

/// Unwrapped bytes that one container hands to the next at once.
const PIECE: usize = 64 << 10;

/// Stored bytes that have come and were not used yet.
#[derive(Default)]
pub struct StoredBytes {
    chunks: VecDeque<Bytes>,
    ended: bool,
    length: usize,
    total: u64,
}

impl StoredBytes {
    /// Adds bytes behind those already here.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len();
            self.total += bytes.len() as u64;
            self.chunks.push_back(bytes);
        }
    }

    /// Says that no more bytes will come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// True where no more bytes will come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes here and not used yet.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True where no byte is here.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All bytes ever pushed.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The first bytes in one piece; never an empty slice.
    pub fn front(&self) -> Option<&[u8]> {
        self.chunks.front().map(Bytes::as_ref)
    }

    /// True where the front piece is the last one that there will ever be.
    pub fn front_is_last(&self) -> bool {
        self.ended && self.chunks.len() <= 1
    }

    /// Drops `count` bytes, which lie in the front piece.
    pub fn advance(&mut self, count: usize) {
        if let Some(chunk) = self.chunks.front_mut() {
            let count = count.min(chunk.len());
            chunk.advance(count);
            self.length -= count;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Takes out all bytes that are here and not used yet.
    pub fn take(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.length = 0;
        std::mem::take(&mut self.chunks).into_iter()
    }

    /// Copies the first bytes, at most `count`, without using them.
    pub fn peek(&self, count: usize) -> Vec<u8> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().copied())
            .take(count)
            .collect()
    }
}

struct Layer {
    container: Container,
    unwrap: Box<dyn Unwrap>,
    /// What the container around this one gave, for all but the outermost.
    input: Vec<u8>,
    start: usize,
    ended: bool,
}

/// A stack of containers, outermost first.
#[derive(Default)]
pub struct Chain {
    layers: Vec<Layer>,
}

impl Chain {
    /// Bytes of memory that the containers hold.
    pub fn memory_bytes(&self) -> usize {
        let layers = self.layers.iter();
        layers
            .map(|layer| layer.unwrap.memory_bytes() + layer.input.capacity())
            .sum()
    }

    /// The containers found so far, outermost first.
    pub fn containers(&self) -> impl Iterator<Item = Container> + '_ {
        self.layers.iter().map(|layer| layer.container)
    }

    /// True where the content lies in no container.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Meaningless bytes passed over behind the ends of containers.
    pub fn padding_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.unwrap.padding_bytes()).sum()
    }

    /// Puts a container inside the innermost one. `unwrapped` is what was already unwrapped by that one.
    pub fn push(&mut self, container: Container, unwrapped: Vec<u8>) -> Result<(), ContainerError> {
        if self.layers.len() == MAX_DEPTH {
            return Err(ContainerError {
                reason: format!("there are more than {MAX_DEPTH} containers in one another"),
                byte_offset: 0,
                truncated: false,
            });
        }
        if let Some(unwrap) = unwrapper(container) {
            self.layers.push(Layer {
                container,
                unwrap,
                input: unwrapped,
                start: 0,
                ended: false,
            });
        }
        Ok(())
    }

    /// Appends unwrapped bytes to `output` until its length reaches `limit` or no more stored bytes are here.
    /// True where the content has ended and its containers were found to be whole.
    pub fn unwrap(
        &mut self,
        stored: &mut StoredBytes,
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, ContainerError> {
        unwrap_layers(&mut self.layers, stored, output, limit)
    }
}

fn unwrap_layers(
    layers: &mut [Layer],
    stored: &mut StoredBytes,
    output: &mut Vec<u8>,
    limit: usize,
) -> Result<bool, ContainerError> {
    let Some((last, around)) = layers.split_last_mut() else {
        return Ok(stored.is_empty() && stored.has_ended());
    };
    if last.ended {
        return Ok(true);
    }
    while output.len() < limit {
        let before = output.len();
        let outermost = around.is_empty();
        if !outermost && last.start == last.input.len() {
            last.input.clear();
            last.start = 0;
            let ended = unwrap_layers(around, stored, &mut last.input, PIECE)?;
            if last.input.is_empty() && !ended {
                return Ok(false);
            }
        }
        let input = if outermost {
            stored.front().unwrap_or_default()
        } else {
            &last.input[last.start..]
        };
        let (none_left, input_length) = (input.is_empty(), input.len());
        let used = last.unwrap.unwrap(input, output, limit)?;
        if outermost {
            stored.advance(used);
        } else {
            last.start += used;
        }
        if used == 0 && output.len() == before {
            if !none_left {
                return Err(ContainerError {
                    reason: format!("the {} data makes no progress: it is damaged", last.container),
                    byte_offset: stored.total() - input_length as u64,
                    truncated: false,
                });
            }
            if outermost && !stored.has_ended() {
                return Ok(false);
            }
            last.unwrap.finish()?;
            last.ended = true;
            return Ok(true);
        }
    }
    Ok(false)
}
