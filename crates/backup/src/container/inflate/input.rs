//! The input bit by bit, the first bit of a byte lowest: RFC 1951, 3.1.1.

/// Deflated data that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Damage(pub(super) &'static str);

/// Where a call reads, and the bits that it has in hand.
#[derive(Clone)]
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    pub(super) bits: u64,
    pub(super) count: u32,
}

impl Input<'_> {
    /// Makes sure that there are `wanted` bits, at most 57, taking bytes as they are needed; false where there are not.
    pub(super) fn need(&mut self, wanted: u32) -> bool {
        while self.count < wanted {
            let Some(byte) = self.bytes.get(self.position) else {
                return false;
            };
            self.bits |= u64::from(*byte) << self.count;
            self.count += 8;
            self.position += 1;
        }
        true
    }

    /// Takes all bytes that there are, fewer than a symbol needs.
    pub(super) fn load(&mut self) {
        self.need(57);
    }

    pub(super) fn take(&mut self, count: u32) -> Option<u64> {
        self.need(count).then(|| {
            let taken = self.bits & !(u64::MAX << count);
            self.drop_bits(count);
            taken
        })
    }

    pub(super) fn drop_bits(&mut self, count: u32) {
        self.bits >>= count;
        self.count -= count;
    }

    pub(super) fn skip_to_byte(&mut self) {
        self.drop_bits(self.count % 8);
    }

    /// The bytes that were not taken.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }
}
