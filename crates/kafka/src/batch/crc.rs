//! The CRC-32C of batches, and that of two pieces together from those of each: so that a header can be written anew
//! without another look at the records.
//!
//! A CRC is a polynomial modulo the generator; appending n bytes multiplies it by x^(8 n). The power comes from squares
//! that are known at compile time, one multiplication for each bit of n.

use crc_fast::{CrcAlgorithm, Digest, checksum};

/// The Castagnoli polynomial of RFC 3720, its highest power in the lowest bit.
const GENERATOR: u32 = 0x82f6_3b78;

/// x^(2^n) for every n: with the highest power in the lowest bit, 1 is the highest bit and x the next.
const SQUARES: [u32; 64] = {
    let mut squares = [1 << 30; 64];
    let mut n = 1;
    while n < squares.len() {
        squares[n] = multiply(squares[n - 1], squares[n - 1]);
        n += 1;
    }
    squares
};

/// The CRC-32C of `bytes`.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    // A CRC of 32 bits fits into the 64 that the library gives for all.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The CRC-32C of a buffer that grows, taken of what is new now and then, while it is in the processor's cache still.
pub(super) struct RunningCrc {
    digest: Digest,
    /// Bytes that are covered.
    end: usize,
}

/// How many new bytes are worth it.
const STEP: usize = 16 << 10;

impl RunningCrc {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Self {
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
            end: 0,
        }
    }

    /// Covers `buffer`, which has only grown since, where that is worth it.
    #[inline]
    pub(super) fn follow(&mut self, buffer: &[u8]) {
        if buffer.len() - self.end >= STEP {
            self.cover(buffer);
        }
    }

    fn cover(&mut self, buffer: &[u8]) {
        self.digest.update(&buffer[self.end..]);
        self.end = buffer.len();
    }

    /// The CRC of `buffer`, which has only grown since. The next one begins anew.
    pub(super) fn finish(&mut self, buffer: &[u8]) -> u32 {
        self.cover(buffer);
        self.end = 0;
        // 32 bits, in the 64 that the library gives for all.
        self.digest.finalize_reset() as u32
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.digest.reset();
        self.end = 0;
    }
}

/// The CRC of one piece and another of `length` bytes behind it, from the CRCs of both.
pub(super) fn combine(first: u32, second: u32, length: usize) -> u32 {
    let mut power = 1 << 31;
    let mut left = length;
    let mut n = 3;
    while left > 0 {
        if left & 1 == 1 {
            power = multiply(power, SQUARES[n]);
        }
        left >>= 1;
        n += 1;
    }
    multiply(first, power) ^ second
}

/// The product of two polynomials modulo the generator.
const fn multiply(one: u32, mut other: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        if one >> bit & 1 == 1 {
            product ^= other;
        }
        // Times x.
        other = other >> 1 ^ if other & 1 == 1 { GENERATOR } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use crc_fast::{CrcAlgorithm, checksum_combine};
    use proptest::prelude::*;

    use super::crc32c;

    proptest! {
        #[test]
        fn two_pieces_are_as_one(bytes in prop::collection::vec(any::<u8>(), 0..2000), place in any::<prop::sample::Index>()) {
            let (first, second) = bytes.split_at(place.index(bytes.len() + 1));
            let combined = super::combine(crc32c(first), crc32c(second), second.len());
            prop_assert_eq!(combined, crc32c(&bytes));
        }

        #[test]
        fn a_buffer_that_grows_has_its_own_crc(pieces in prop::collection::vec(0usize..40_000, 0..5)) {
            let mut running = super::RunningCrc::new();
            for _ in 0..2 {
                let mut buffer = Vec::new();
                for (number, length) in pieces.iter().enumerate() {
                    buffer.resize(buffer.len() + length, number as u8);
                    running.follow(&buffer);
                }
                prop_assert_eq!(running.finish(&buffer), crc32c(&buffer));
                running.follow(&[7; 20_000]);
                running.reset();
            }
        }

        #[test]
        fn long_pieces_are_as_the_library_says(first: u32, second: u32, length in 0usize..1 << 40) {
            let known = checksum_combine(CrcAlgorithm::Crc32Iscsi, first.into(), second.into(), length as u64);
            prop_assert_eq!(u64::from(super::combine(first, second, length)), known);
        }
    }
}
