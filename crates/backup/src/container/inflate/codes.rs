//! Huffman codes as tables: what the next bits of the input mean, found with one look.

use super::input::{Damage, Input};
use super::ring::STEP;

/// Bits by which literals and lengths are looked up; longer codes need a second look.
pub(super) const LITERAL_BITS: u32 = 12;

/// Bits by which distances are looked up.
pub(super) const DISTANCE_BITS: u32 = 9;

/// The longest code: RFC 1951, 3.2.7.
const MOST_BITS: usize = 15;

/// The symbol that ends a block.
const END_OF_BLOCK: u16 = 256;

/// The shortest match of each length symbol from 257 on, and how many extra bits add to it: RFC 1951, 3.2.5.
const LENGTHS: [(u16, u8); 29] = {
    let mut lengths = ranges::<29>(3, 8, 4);
    lengths[28] = (258, 0);
    lengths
};

/// The same for distances.
const DISTANCES: [(u16, u8); 30] = ranges(1, 4, 2);

/// Ranges one behind the other from `first` on: `single` of one number each, then ranges twice as long after each `equal`.
const fn ranges<const COUNT: usize>(first: u16, single: usize, equal: usize) -> [(u16, u8); COUNT] {
    let mut ranges = [(0, 0); COUNT];
    let (mut place, mut base) = (0, first);
    while place < COUNT {
        let extra = match place.checked_sub(single) {
            Some(behind) => behind / equal + 1,
            None => 0,
        };
        ranges[place] = (base, extra as u8);
        base += 1 << extra;
        place += 1;
    }
    ranges
}

const INVALID_LITERAL: Damage = Damage("an invalid code for a literal or a length");
const INVALID_DISTANCE: Damage = Damage("an invalid code for a distance");

/// Bits that are no code.
struct Meaningless;

/// What some bits mean: one or two literals; a match, whole, or a length whose distance stands behind it; a distance; or
/// something special.
///
/// Bits 0 to 5: how many bits it takes. 6: a length or distance alone. 7: special. Where neither is set it is *plain*. 8 to
/// 13: the last bits that it takes are extra ones, and so many stand before them. 14 to 29: the payload. 30 and 31: how many
/// literals it is, or what is special about it.
///
/// The payload of literals: the first one in the lower byte, the second one in the upper. Of a whole match: the place of
/// its distance in [`FAR`], and in the upper byte its length. Of a length or distance: the least one. Of a long code: where
/// its rest is looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry(u32);

/// The distances of matches that are found whole, [`STEP`] at least, and in the upper half the mask of their extra bits:
/// the last twenty of [`DISTANCES`]. More than these, so that no place is beyond the end.
const FAR: [u32; 32] = {
    let mut far = [STEP as u32; 32];
    let mut place = 0;
    while FIRST_FAR + place < DISTANCES.len() {
        let (base, extra) = DISTANCES[FIRST_FAR + place];
        far[place] = base as u32 | ((1 << extra) - 1) << 16;
        place += 1;
    }
    far
};

/// The first distance symbol that is [`STEP`] at least.
const FIRST_FAR: usize = 10;

impl Entry {
    const ALONE: u32 = 1 << 6;
    const SPECIAL: u32 = 1 << 7;
    const PAYLOAD: u32 = 14;
    /// One literal.
    const LITERAL: u32 = 1 << 30;
    const END: u32 = Self::SPECIAL | 1 << 30;
    const LONG: u32 = Self::SPECIAL | 1 << 31;
    /// Bits that no code begins with.
    const INVALID: Self = Self(Self::SPECIAL);

    fn new(payload: u16, flags: u32, code_bits: u32, extra_bits: u32) -> Self {
        Self(u32::from(payload) << Self::PAYLOAD | flags | code_bits << 8 | (code_bits + extra_bits))
    }

    fn of_literal(symbol: u16, length: u32) -> Self {
        match symbol {
            0..END_OF_BLOCK => Self::new(symbol, Self::LITERAL, length, 0),
            END_OF_BLOCK => Self::new(0, Self::END, length, 0),
            // Two symbols have codes in the fixed code and no meaning.
            _ => LENGTHS
                .get(usize::from(symbol - END_OF_BLOCK - 1))
                .map_or(Self::INVALID, |(base, extra)| {
                    Self::new(*base, Self::ALONE, length, u32::from(*extra))
                }),
        }
    }

    fn of_distance(symbol: u16, length: u32) -> Self {
        DISTANCES
            .get(usize::from(symbol))
            .map_or(Self::INVALID, |(base, extra)| {
                Self::new(*base, Self::ALONE, length, u32::from(*extra))
            })
    }

    /// Where what follows the bits that were looked at is looked up.
    fn long(place: usize) -> Self {
        Self::new(place as u16, Self::LONG, 0, 0)
    }

    /// The same behind `looked` bits that were taken before.
    fn behind(self, looked: u32) -> Self {
        match self {
            Self::INVALID => self,
            Self(bits) => Self(bits - looked - (looked << 8)),
        }
    }

    /// Two literals as one entry.
    fn and_literal(self, next: Self) -> Self {
        let both = self.payload() | next.payload() << 8;
        Self::new(both, 2 * Self::LITERAL, self.bits() + next.bits(), 0)
    }

    /// A distance as a part of a whole match; special where it cannot be one.
    fn as_whole(self) -> Self {
        let base = u32::from(self.payload());
        if self.is_special() || base < STEP as u32 {
            return Self::INVALID;
        }
        // There are two distance symbols for each power of two: RFC 1951, 3.2.5.
        let power = (base - 1).ilog2();
        let symbol = 2 * power + ((base - 1) >> (power - 1) & 1);
        Self::new(
            symbol as u16 - FIRST_FAR as u16,
            0,
            self.code_bits(),
            self.extra_bits(),
        )
    }

    /// The part of a whole match that a length is, with its extra bits.
    fn of_length(length: usize, bits: u32) -> Self {
        Self::new((length as u16) << 8, 0, bits, 0)
    }

    fn and_distance(self, distance: Self) -> Self {
        Self(self.0 + distance.0)
    }

    /// How many bits it takes.
    #[inline(always)]
    pub(super) fn bits(self) -> u32 {
        self.0 & 63
    }

    /// What is left of `count` bits behind it. Only the lowest six bits of that mean something.
    #[inline(always)]
    pub(super) fn taken_from(self, count: u32) -> u32 {
        count.wrapping_sub(self.0)
    }

    #[inline(always)]
    fn code_bits(self) -> u32 {
        self.0 >> 8 & 63
    }

    pub(super) fn extra_bits(self) -> u32 {
        self.bits() - self.code_bits()
    }

    /// What the extra bits of a length or distance say, where `bits` begins with those that it takes.
    pub(super) fn extra(self, bits: u64) -> usize {
        ((bits & !(u64::MAX << self.bits())) >> self.code_bits()) as usize
    }

    /// True for literals and whole matches.
    #[inline(always)]
    pub(super) fn is_plain(self) -> bool {
        self.0 & (Self::ALONE | Self::SPECIAL) == 0
    }

    /// True for literals.
    pub(super) fn is_literal(self) -> bool {
        self.is_plain() && self.literals() > 0
    }

    pub(super) fn is_special(self) -> bool {
        self.0 & Self::SPECIAL != 0
    }

    /// True where a code is longer than what was looked at.
    fn is_long(self) -> bool {
        self.0 & Self::LONG == Self::LONG
    }

    /// True for the end of a block.
    pub(super) fn is_end(self) -> bool {
        self.0 & Self::END == Self::END
    }

    /// How many literals a plain entry is.
    #[inline(always)]
    pub(super) fn literals(self) -> usize {
        (self.0 >> 30) as usize
    }

    /// The literals, or the least length or distance.
    #[inline(always)]
    pub(super) fn payload(self) -> u16 {
        (self.0 >> Self::PAYLOAD) as u16
    }

    /// Length and distance of a plain entry, where `bits` begins with those that it takes. Of literals the length is 0, and
    /// the distance means nothing.
    #[inline(always)]
    pub(super) fn whole(self, bits: u64) -> (usize, usize) {
        // All ones for a match and zeros for literals: a branch could not be foreseen.
        let mask = 0_u32.wrapping_sub(u32::from(self.0 < Self::LITERAL));
        let (far, length) = (
            self.0 >> Self::PAYLOAD & mask,
            self.0 >> (Self::PAYLOAD + 8) & mask,
        );
        let far = FAR[far as usize & 31];
        let extra = (bits >> (self.0 >> 8 & 63)) as u32 & far >> 16;
        ((length & 63) as usize, ((far & 0xffff) + extra) as usize)
    }
}

/// A code as its lengths tell it: how many codes of each length there are, and the symbols in the order of their codes.
struct Canonical {
    counts: [u16; MOST_BITS + 1],
    symbols: [u16; 288],
    used: usize,
}

impl Canonical {
    const EMPTY: Self = Self {
        counts: [0; MOST_BITS + 1],
        symbols: [0; 288],
        used: 0,
    };

    /// Takes the code length of each symbol; 0 for those that do not occur. As zlib does, a code that leaves bits without
    /// meaning is taken only where it is one code of one bit, or none.
    fn set(&mut self, lengths: &[u8], may_be_single: bool, wrong: &'static str) -> Result<(), Damage> {
        self.counts = [0; MOST_BITS + 1];
        for length in lengths {
            self.counts[usize::from(*length)] += 1;
        }
        self.used = lengths.len() - usize::from(self.counts[0]);
        self.counts[0] = 0;
        let mut left = 1_i32;
        let mut places = [0; MOST_BITS + 2];
        for length in 1..=MOST_BITS {
            let count = self.counts[length];
            left = 2 * left - i32::from(count);
            if left < 0 {
                return Err(Damage(wrong));
            }
            places[length + 1] = places[length] + usize::from(count);
        }
        let is_single = self.used == usize::from(self.counts[1]);
        if left > 0 && !(may_be_single && is_single) {
            return Err(Damage(wrong));
        }
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let place = &mut places[usize::from(*length)];
            self.symbols[*place] = symbol as u16;
            *place += 1;
        }
        Ok(())
    }

    /// The longest code.
    fn longest(&self) -> u32 {
        self.counts.iter().rposition(|count| *count > 0).unwrap_or(0) as u32
    }

    /// Each symbol with the length of its code and the code itself, its first bit lowest, as it comes in. Short codes first.
    fn codes(&self) -> impl Iterator<Item = (u16, u32, usize)> {
        let mut code = 0_usize;
        let lengths =
            (1..=MOST_BITS).flat_map(|length| std::iter::repeat_n(length as u32, self.counts[length].into()));
        lengths.zip(&self.symbols).map(move |(length, symbol)| {
            let this = code;
            // The next code: carries go from the last bit to the first, which is the lowest.
            let zeros = !code & ((1 << length) - 1);
            if zeros != 0 {
                let bit = 1 << zeros.ilog2();
                code = code & (bit - 1) | bit;
            }
            (*symbol, length, this)
        })
    }

    /// Fills a table that is looked up by the next bits of the input, `table.len()` a power of two, and one for longer
    /// codes behind it.
    fn fill(&self, table: &mut [Entry], long: &mut Vec<Entry>, entry: impl Fn(u16, u32) -> Entry) {
        let looked = table.len().ilog2();
        let rest = self.longest().saturating_sub(looked);
        long.clear();
        table[..2].fill(Entry::INVALID);
        let mut known = 1;
        for (symbol, length, code) in self.codes() {
            // What is known of shorter codes is true whatever bit follows.
            while known < length.min(looked) {
                table.copy_within(..1 << known, 1 << known);
                known += 1;
            }
            let entry = entry(symbol, length);
            if length <= looked {
                table[code] = entry;
                continue;
            }
            let first = code & (table.len() - 1);
            if code >> looked == 0 {
                // The first code with this beginning: its last bits are zeros.
                table[first] = Entry::long(long.len());
                long.resize(long.len() + (1 << rest), Entry::INVALID);
            }
            let place = usize::from(table[first].payload());
            for at in (code >> looked..1 << rest).step_by(1 << (length - looked)) {
                long[place + at] = entry.behind(looked);
            }
        }
        while known < looked {
            table.copy_within(..1 << known, 1 << known);
            known += 1;
        }
    }

    /// Takes one code bit by bit: of the input not one byte more than it needs. None where the input ends before.
    fn take(&self, from: &mut Input<'_>) -> Result<Option<(u16, u32)>, Meaningless> {
        let (mut code, mut first, mut place) = (0, 0, 0);
        for length in 1..=MOST_BITS {
            if !from.need(length as u32) {
                return Ok(None);
            }
            code |= (from.bits >> (length - 1) & 1) as usize;
            let count = usize::from(self.counts[length]);
            if code < first + count {
                from.drop_bits(length as u32);
                return Ok(Some((self.symbols[place + code - first], length as u32)));
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Meaningless)
    }
}

/// The codes of a block.
pub(super) struct Codes {
    literal: [Entry; 1 << LITERAL_BITS],
    long_literal: Vec<Entry>,
    literal_rest: u32,
    distance: [Entry; 1 << DISTANCE_BITS],
    long_distance: Vec<Entry>,
    distance_rest: u32,
    literal_code: Canonical,
    distance_code: Canonical,
    length_code: Canonical,
    is_fixed: bool,
}

impl Default for Codes {
    fn default() -> Self {
        Self {
            literal: [Entry::INVALID; 1 << LITERAL_BITS],
            long_literal: Vec::new(),
            literal_rest: 0,
            distance: [Entry::INVALID; 1 << DISTANCE_BITS],
            long_distance: Vec::new(),
            distance_rest: 0,
            literal_code: Canonical::EMPTY,
            distance_code: Canonical::EMPTY,
            length_code: Canonical::EMPTY,
            is_fixed: false,
        }
    }
}

impl Codes {
    pub(super) fn memory_bytes(&self) -> usize {
        let long = self.long_literal.capacity() + self.long_distance.capacity();
        size_of::<Self>() + long * size_of::<Entry>()
    }

    /// The code for code lengths.
    pub(super) fn set_lengths(&mut self, lengths: &[u8]) -> Result<(), Damage> {
        self.length_code
            .set(lengths, false, "the code of the code lengths is none")
    }

    /// The codes of a block that brings its own.
    pub(super) fn set(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), Damage> {
        self.is_fixed = false;
        if literals[usize::from(END_OF_BLOCK)] == 0 {
            return Err(Damage("there is no code for the end of a block"));
        }
        let wrong = "the code of literals and lengths is none";
        self.literal_code.set(literals, true, wrong)?;
        self.distance_code
            .set(distances, true, "the code of distances is none")?;
        self.fill();
        Ok(())
    }

    /// The fixed codes: RFC 1951, 3.2.6.
    pub(super) fn set_fixed(&mut self) {
        if self.is_fixed {
            return;
        }
        let mut literals = [8; 288];
        literals[144..256].fill(9);
        literals[256..280].fill(7);
        // They are codes, so nothing can be wrong with them.
        let _ = self.literal_code.set(&literals, false, "");
        let _ = self.distance_code.set(&[5; 32], false, "");
        self.fill();
        self.is_fixed = true;
    }

    fn fill(&mut self) {
        self.literal_code
            .fill(&mut self.literal, &mut self.long_literal, Entry::of_literal);
        self.distance_code
            .fill(&mut self.distance, &mut self.long_distance, Entry::of_distance);
        self.literal_rest = self.literal_code.longest().saturating_sub(LITERAL_BITS);
        self.distance_rest = self.distance_code.longest().saturating_sub(DISTANCE_BITS);
        self.join();
    }

    /// Joins a literal with the one behind it, and a length with its distance, where the bits that are looked at tell both.
    fn join(&mut self) {
        let alone = self.literal;
        let whole = self.distance.map(Entry::as_whole);
        for (_, length, code) in self.literal_code.codes() {
            if length >= LITERAL_BITS {
                break;
            }
            let entry = alone[code];
            if entry.is_special() {
                continue;
            }
            let left = LITERAL_BITS - length;
            if entry.is_literal() {
                let places = self.literal[code..].iter_mut().step_by(1 << length);
                for (place, next) in places.zip(&alone[..1 << left]) {
                    if next.is_literal() & (next.bits() <= left) {
                        *place = entry.and_literal(*next);
                    }
                }
                continue;
            }
            let Some(left) = left.checked_sub(entry.extra_bits()) else {
                continue;
            };
            for extra in 0..1 << entry.extra_bits() {
                let length_here = usize::from(entry.payload()) + extra;
                if length_here > STEP {
                    break;
                }
                let places = self.literal[code | extra << length..]
                    .iter_mut()
                    .step_by(1 << entry.bits());
                let begin = Entry::of_length(length_here, entry.bits());
                for (place, next) in places.zip(whole.iter().cycle().take(1 << left)) {
                    if !next.is_special() & (next.code_bits() <= left) {
                        *place = begin.and_distance(*next);
                    }
                }
            }
        }
    }

    /// What the next bits mean.
    #[inline(always)]
    pub(super) fn literal(&self, bits: u64) -> Entry {
        self.literal[bits as usize & ((1 << LITERAL_BITS) - 1)]
    }

    /// What the next bits mean where [`literal`](Self::literal) gave something special: an entry, and the bits that stand
    /// before those that it speaks of.
    #[cold]
    pub(super) fn special_literal(&self, entry: Entry, bits: u64) -> Result<(Entry, u32), Damage> {
        if !entry.is_long() {
            return if entry.is_end() {
                Ok((entry, 0))
            } else {
                Err(INVALID_LITERAL)
            };
        }
        let entry = rest(entry, bits, LITERAL_BITS, self.literal_rest, &self.long_literal);
        let is_invalid = entry.is_special() && !entry.is_end();
        if is_invalid {
            Err(INVALID_LITERAL)
        } else {
            Ok((entry, LITERAL_BITS))
        }
    }

    /// The distance that the next bits are: an entry, and the bits that stand before those that it speaks of.
    pub(super) fn distance(&self, bits: u64) -> Result<(Entry, u32), Damage> {
        let entry = self.distance[bits as usize & ((1 << DISTANCE_BITS) - 1)];
        if !entry.is_special() {
            return Ok((entry, 0));
        }
        if !entry.is_long() {
            return Err(INVALID_DISTANCE);
        }
        let entry = rest(
            entry,
            bits,
            DISTANCE_BITS,
            self.distance_rest,
            &self.long_distance,
        );
        if entry.is_special() {
            Err(INVALID_DISTANCE)
        } else {
            Ok((entry, DISTANCE_BITS))
        }
    }

    /// The next literal, length or end, without the extra bits; None where the input ends before.
    pub(super) fn careful_literal(&self, from: &mut Input<'_>) -> Result<Option<Entry>, Damage> {
        careful(&self.literal_code, from, Entry::of_literal, INVALID_LITERAL)
    }

    /// The next distance.
    pub(super) fn careful_distance(&self, from: &mut Input<'_>) -> Result<Option<Entry>, Damage> {
        careful(&self.distance_code, from, Entry::of_distance, INVALID_DISTANCE)
    }

    /// The next symbol of the code lengths.
    pub(super) fn length(&self, from: &mut Input<'_>) -> Option<u8> {
        // This code gives a meaning to all bits.
        self.length_code
            .take(from)
            .ok()
            .flatten()
            .map(|(symbol, _)| symbol as u8)
    }
}

/// What a long code means, of whose bits `looked` have led to `entry`.
fn rest(entry: Entry, bits: u64, looked: u32, rest: u32, long: &[Entry]) -> Entry {
    let place = (bits >> looked) as usize & ((1 << rest) - 1);
    let found = long.get(usize::from(entry.payload()) + place);
    found.copied().unwrap_or(Entry::INVALID)
}

fn careful(
    code: &Canonical,
    from: &mut Input<'_>,
    entry: fn(u16, u32) -> Entry,
    invalid: Damage,
) -> Result<Option<Entry>, Damage> {
    let Some((symbol, length)) = code.take(from).map_err(|Meaningless| invalid)? else {
        return Ok(None);
    };
    let entry = entry(symbol, length);
    let is_invalid = entry.is_special() && !entry.is_end();
    if is_invalid { Err(invalid) } else { Ok(Some(entry)) }
}

/// The least length of a symbol, and its extra bits.
#[cfg(test)]
pub(super) fn length(symbol: usize) -> (usize, usize) {
    let (base, extra) = LENGTHS[symbol - 257];
    (base.into(), extra.into())
}

/// The same for distances.
#[cfg(test)]
pub(super) fn distance(symbol: usize) -> (usize, usize) {
    let (base, extra) = DISTANCES[symbol];
    (base.into(), extra.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_specification() {
        let lengths = [(3, 0), (10, 0), (11, 1), (17, 1), (19, 2), (227, 5), (258, 0)];
        assert_eq!([257, 264, 265, 268, 269, 284, 285].map(length), lengths);
        let distances = [(1, 0), (4, 0), (5, 1), (25, 3), (33, 4), (24_577, 13)];
        assert_eq!([0, 3, 4, 9, 10, 29].map(distance), distances);
        assert_eq!(usize::from(DISTANCES[FIRST_FAR].0), STEP + 1);
    }
}
