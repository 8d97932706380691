//! Inflating (RFC 1951), streaming: the largest part of what a restore from gzip costs.
//!
//! Our own, since no library that streams is near it (`bench/README.md` has the measurements). Inflating waits for two
//! things: each look at a table for the one before it, and the processor for branches that it did not foresee. So one
//! look finds two literals, or a whole match with its length and its distance; and both go the same way, without a
//! branch between them, since which of them comes next is what the data is about.
//!
//! Two ways lead through the data. The quick one needs some bytes of input to spare, and has no state but bits and
//! places; the careful one goes symbol by symbol, takes no byte that it does not need, and may stop anywhere. What is
//! accepted and what is refused is what zlib accepts and refuses.

mod codes;
mod input;
mod ring;

use codes::{Codes, Entry};
use input::{Damage, Input};
use ring::{RING, Ring, STEP, copy_any};

/// The order in which the lengths of the code for code lengths are stored: RFC 1951, 3.2.7.
const LENGTH_ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// How far a call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of the input that were used.
    pub(crate) used: usize,
    /// True where the deflated data has ended.
    pub(crate) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the three bits that begin a block.
    Block,
    /// Before the two lengths of a stored block.
    StoredLength,
    /// In a stored block, with so many bytes to go.
    Stored(usize),
    /// Before the three counts of a block with its own codes.
    Counts,
    /// In the lengths of the code for code lengths, of which so many are known.
    LengthCode(usize),
    /// In the code lengths, of which so many are known.
    Lengths(usize),
    /// In the symbols of a block.
    Symbols,
    /// Behind the last block.
    Ended,
}

/// What comes of one step on the careful way.
enum Step {
    /// The state is another one, or more was written.
    Done,
    /// More input is needed.
    Hungry,
}

/// Inflates one stream after the other.
pub(crate) struct Inflate {
    state: State,
    is_last_block: bool,
    /// Bits of the input that were taken and not used, the next one lowest; above `bit_count` all are zero.
    bits: u64,
    bit_count: u32,
    codes: Box<Codes>,
    lengths: Lengths,
    ring: Box<Ring>,
    /// Where the next byte is written in the ring.
    at: usize,
    /// What was written before this place has been given out.
    given: usize,
    /// Bytes that were written to the ring before its present beginning.
    before: u64,
}

/// The code lengths of a block while they come in.
struct Lengths {
    /// Those of literals and lengths, and behind them those of distances.
    all: [u8; 288 + 32],
    literals: usize,
    distances: usize,
    /// How many lengths of the code for code lengths are stored.
    stored: usize,
}

impl Inflate {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Block,
            is_last_block: false,
            bits: 0,
            bit_count: 0,
            codes: Box::default(),
            lengths: Lengths {
                all: [0; 320],
                literals: 0,
                distances: 0,
                stored: 0,
            },
            ring: ring::empty(),
            at: 0,
            given: 0,
            before: 0,
        }
    }

    /// Ready for the first byte of another stream.
    pub(crate) fn reset(&mut self) {
        self.state = State::Block;
        (self.bits, self.bit_count) = (0, 0);
        (self.at, self.given, self.before) = (0, 0, 0);
    }

    /// Bytes that the stream has given so far.
    pub(crate) fn total_out(&self) -> u64 {
        self.before + self.given as u64
    }

    /// Bytes of memory beside this structure.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.codes.memory_bytes() + size_of::<Ring>()
    }

    /// Appends to `output` until `room` bytes were added, the input is used up or the stream ends.
    ///
    /// Where an error comes back, what was inflated before it is in `output`, and the stream can only be reset.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        output: &mut Vec<u8>,
        room: usize,
    ) -> Result<Progress, Damage> {
        let mut from = Input {
            bytes: input,
            position: 0,
            bits: self.bits,
            count: self.bit_count,
        };
        let wanted = output.len().saturating_add(room);
        let mut result = Ok(Step::Done);
        loop {
            // A match may have passed what was wanted.
            let made = (self.at - self.given).min(wanted - output.len());
            output.extend_from_slice(&self.ring[self.given..][..made]);
            self.given += made;
            let is_over = !matches!(result, Ok(Step::Done)) || self.state == State::Ended;
            if is_over || output.len() == wanted {
                break;
            }
            if self.at >= RING {
                self.ring.copy_within(RING..self.at, 0);
                self.at -= RING;
                self.given = self.at;
                self.before += RING as u64;
            }
            result = self.run(&mut from, RING.min(self.at.saturating_add(wanted - output.len())));
        }
        (self.bits, self.bit_count) = (from.bits, from.count);
        result.map(|_| Progress {
            used: from.position,
            ended: self.state == State::Ended && self.given == self.at,
        })
    }

    /// Writes to the ring up to `stop`, if there is enough of the input.
    fn run(&mut self, from: &mut Input<'_>, stop: usize) -> Result<Step, Damage> {
        while self.state != State::Ended && self.at < stop {
            if self.state == State::Symbols {
                self.quickly(from, stop)?;
                if self.at >= stop {
                    break;
                }
            }
            if let Step::Hungry = self.step(from, stop)? {
                return Ok(Step::Hungry);
            }
        }
        Ok(Step::Done)
    }

    /// Goes through symbols as long as there is enough of the input. Ends before a symbol, or behind the block.
    fn quickly(&mut self, from: &mut Input<'_>, stop: usize) -> Result<(), Damage> {
        let (codes, ring, bytes) = (&*self.codes, &mut *self.ring, from.bytes);
        let (mut position, mut at) = (from.position, self.at);
        // Of the count the lowest six bits mean something while literals and matches are plain.
        let (mut bits, mut count) = (from.bits, from.count);
        // How far back from the beginning of the ring a match may reach.
        let before = self.before.min(RING as u64) as usize;
        let stop = stop.min(RING);
        let mut result = Ok(());
        macro_rules! take {
            ($count:expr) => {
                bits >>= $count;
                count -= $count;
            };
        }
        macro_rules! write_plain {
            ($entry:expr) => {
                let Some(next) = plain(ring, at, before, $entry, bits) else {
                    result = Err(TOO_FAR);
                    break;
                };
                at = next;
                bits >>= $entry.bits();
                count = $entry.taken_from(count);
            };
        }
        while at < stop
            && let Some(word) = bytes.get(position..).and_then(|rest| rest.first_chunk())
        {
            // As many whole bytes as there is room for; bits above `count` are what will be taken again, the same.
            bits |= u64::from_le_bytes(*word) << (count & 63);
            position += ((!count & 63) >> 3) as usize;
            count |= 56;
            let mut entry = codes.literal(bits);
            if entry.is_plain() {
                write_plain!(entry);
                // There are bits for two of them, each of which takes 25 at most.
                entry = codes.literal(bits);
                if at < stop && entry.is_plain() {
                    write_plain!(entry);
                }
                continue;
            }
            count &= 63;
            if entry.is_special() {
                let (rest, looked) = match codes.special_literal(entry, bits) {
                    Ok(found) => found,
                    Err(damage) => {
                        result = Err(damage);
                        break;
                    }
                };
                entry = rest;
                take!(looked);
                if entry.is_end() {
                    take!(entry.bits());
                    self.state = behind_block(self.is_last_block);
                    break;
                }
                if entry.is_literal() {
                    ring[at] = entry.payload() as u8;
                    at += 1;
                    take!(entry.bits());
                    continue;
                }
            }
            let length = usize::from(entry.payload()) + entry.extra(bits);
            take!(entry.bits());
            // At most 20 bits were taken, and a distance has at most 28.
            let (entry, looked) = match codes.distance(bits) {
                Ok(found) => found,
                Err(damage) => {
                    result = Err(damage);
                    break;
                }
            };
            take!(looked);
            let distance = usize::from(entry.payload()) + entry.extra(bits);
            take!(entry.bits());
            if distance > at + before {
                result = Err(TOO_FAR);
                break;
            }
            copy_any(ring, at, distance, length);
            at += length;
        }
        // Whole bytes that were taken in advance go back.
        count &= 63;
        let ahead = (count >> 3) as usize;
        let back = ahead.min(position - from.position);
        from.position = position - back;
        from.count = count - 8 * back as u32;
        from.bits = bits & !(u64::MAX << from.count);
        self.at = at;
        result
    }

    /// One step on the careful way. It takes no byte of the input that it does not need.
    fn step(&mut self, from: &mut Input<'_>, stop: usize) -> Result<Step, Damage> {
        let next = match self.state {
            State::Block => match from.take(3) {
                None => return Ok(Step::Hungry),
                Some(header) => {
                    self.is_last_block = header & 1 == 1;
                    match header >> 1 {
                        0 => State::StoredLength,
                        1 => {
                            self.codes.set_fixed();
                            State::Symbols
                        }
                        2 => State::Counts,
                        _ => return Err(Damage("a block of an invalid kind")),
                    }
                }
            },
            State::StoredLength => {
                from.skip_to_byte();
                let Some(lengths) = from.take(32) else {
                    return Ok(Step::Hungry);
                };
                let (length, inverted) = (lengths as u16, (lengths >> 16) as u16);
                if length != !inverted {
                    return Err(Damage("the two lengths of a stored block differ"));
                }
                State::Stored(length.into())
            }
            State::Stored(0) => behind_block(self.is_last_block),
            State::Stored(left) => {
                let stored = from.rest();
                let copied = stored.len().min(left).min(stop - self.at);
                if copied == 0 {
                    return Ok(Step::Hungry);
                }
                self.ring[self.at..][..copied].copy_from_slice(&stored[..copied]);
                self.at += copied;
                from.position += copied;
                State::Stored(left - copied)
            }
            State::Counts => match from.take(14) {
                None => return Ok(Step::Hungry),
                Some(counts) => {
                    self.lengths.literals = 257 + (counts & 31) as usize;
                    self.lengths.distances = 1 + (counts >> 5 & 31) as usize;
                    self.lengths.stored = 4 + (counts >> 10) as usize;
                    if self.lengths.literals > 286 || self.lengths.distances > 30 {
                        return Err(Damage("too many codes for literals, lengths or distances"));
                    }
                    self.lengths.all = [0; 320];
                    State::LengthCode(0)
                }
            },
            State::LengthCode(known) if known < self.lengths.stored => match from.take(3) {
                None => return Ok(Step::Hungry),
                Some(length) => {
                    self.lengths.all[usize::from(LENGTH_ORDER[known])] = length as u8;
                    State::LengthCode(known + 1)
                }
            },
            State::LengthCode(_) => {
                self.codes.set_lengths(&self.lengths.all[..19])?;
                self.lengths.all = [0; 320];
                State::Lengths(0)
            }
            State::Lengths(known) if known < self.lengths.total() => {
                match self.lengths.next(known, &self.codes, from)? {
                    None => return Ok(Step::Hungry),
                    Some(known) => State::Lengths(known),
                }
            }
            State::Lengths(_) => {
                let (literals, distances) = self.lengths.both();
                self.codes.set(literals, distances)?;
                State::Symbols
            }
            State::Symbols => match self.symbol(from)? {
                None => {
                    from.load();
                    return Ok(Step::Hungry);
                }
                Some(next) => next,
            },
            State::Ended => State::Ended,
        };
        self.state = next;
        Ok(Step::Done)
    }

    /// Takes a literal, a length with its distance, or the end of the block: all of it or nothing.
    fn symbol(&mut self, from: &mut Input<'_>) -> Result<Option<State>, Damage> {
        let mut ahead = from.clone();
        let Some(entry) = self.codes.careful_literal(&mut ahead)? else {
            return Ok(None);
        };
        let state = if entry.is_literal() {
            self.ring[self.at] = entry.payload() as u8;
            self.at += 1;
            State::Symbols
        } else if entry.is_end() {
            behind_block(self.is_last_block)
        } else {
            let Some(extra) = ahead.take(entry.extra_bits()) else {
                return Ok(None);
            };
            let length = usize::from(entry.payload()) + extra as usize;
            let Some(entry) = self.codes.careful_distance(&mut ahead)? else {
                return Ok(None);
            };
            let Some(extra) = ahead.take(entry.extra_bits()) else {
                return Ok(None);
            };
            let distance = usize::from(entry.payload()) + extra as usize;
            if distance as u64 > self.before + self.at as u64 {
                return Err(TOO_FAR);
            }
            copy_any(&mut self.ring, self.at, distance, length);
            self.at += length;
            State::Symbols
        };
        *from = ahead;
        Ok(Some(state))
    }
}

const TOO_FAR: Damage = Damage("a match reaches back beyond the beginning");

fn behind_block(is_last: bool) -> State {
    match is_last {
        true => State::Ended,
        false => State::Block,
    }
}

/// Writes literals or a whole match to `at`; gives the place behind it, or nothing where a match reaches back too far.
///
/// Both go one way, since which of them comes next cannot be foreseen: always the two bytes of literals and [`STEP`] bytes
/// of a match, and what is not wanted of these is written again.
#[inline(always)]
fn plain(ring: &mut Ring, at: usize, before: usize, entry: Entry, bits: u64) -> Option<usize> {
    let (length, distance) = entry.whole(bits);
    ring[at..at + 2].copy_from_slice(&entry.payload().to_le_bytes());
    let at = at + entry.literals();
    let from = at.wrapping_sub(distance) % RING;
    if distance <= at + before
        && from <= RING - STEP
        && let Some(piece) = ring[from..].first_chunk::<STEP>().copied()
    {
        ring[at..at + STEP].copy_from_slice(&piece);
    } else if length > 0 {
        if distance > at + before {
            return None;
        }
        copy_any(ring, at, distance, length);
    }
    Some(at + length)
}

impl Lengths {
    fn total(&self) -> usize {
        self.literals + self.distances
    }

    /// The lengths of literals and lengths, and those of distances.
    fn both(&self) -> (&[u8], &[u8]) {
        self.all[..self.total()].split_at(self.literals)
    }

    /// Takes the next lengths, one or a repetition. Gives how many are known then.
    fn next(&mut self, known: usize, codes: &Codes, from: &mut Input<'_>) -> Result<Option<usize>, Damage> {
        let mut ahead = from.clone();
        let Some(symbol) = codes.length(&mut ahead) else {
            from.load();
            return Ok(None);
        };
        let (repeated, least, bits) = match symbol {
            16 => (known.checked_sub(1).map(|last| self.all[last]), 3, 2),
            17 => (Some(0), 3, 3),
            18 => (Some(0), 11, 7),
            length => (Some(length), 1, 0),
        };
        let Some(more) = ahead.take(bits) else {
            from.load();
            return Ok(None);
        };
        let repeated = repeated.ok_or(Damage("a code length is repeated before the first one"))?;
        let end = known + least + more as usize;
        if end > self.total() {
            return Err(Damage("a code length is repeated beyond the last one"));
        }
        self.all[known..end].fill(repeated);
        *from = ahead;
        Ok(Some(end))
    }
}

#[cfg(test)]
mod tests;
