//! Many short texts one after the other, in pieces that stay where they are while more come.

/// Bits of a place that say where in its piece a text begins.
const PIECE_BITS: u32 = 16;
/// Texts are put into another piece when they would fill one.
const PIECE: usize = 1 << PIECE_BITS;

/// Texts that can be found again by their places.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pieces: Vec<String>,
    /// Where the last text begins.
    last: u64,
}

impl Texts {
    /// Puts `text` behind the others, unless it is the last of them already, and gives its place.
    pub(super) fn push(&mut self, text: &str) -> u64 {
        if self.from(self.last) == text {
            return self.last;
        }
        let last = self.pieces.last();
        if last.is_none_or(|piece| piece.len() + text.len() >= PIECE) {
            self.pieces.push(String::new());
        }
        let number = self.pieces.len() - 1;
        let piece = &mut self.pieces[number];
        self.last = (number as u64) << PIECE_BITS | piece.len() as u64;
        piece.push_str(text);
        self.last
    }

    /// The text at `place`, with those that may follow it.
    pub(super) fn from(&self, place: u64) -> &str {
        let (piece, at) = (place >> PIECE_BITS, place % PIECE as u64);
        let piece = self.pieces.get(piece as usize);
        piece.map_or("", |piece| &piece[at as usize..])
    }

    /// Gives back the memory that is not needed.
    pub(super) fn shrink(&mut self) {
        self.pieces.iter_mut().for_each(String::shrink_to_fit);
        self.pieces.shrink_to_fit();
    }

    /// Bytes of memory beside its own.
    pub(super) fn memory(&self) -> usize {
        let texts: usize = self.pieces.iter().map(String::capacity).sum();
        texts + self.pieces.capacity() * size_of::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_found_again() {
        let lengths = [0, 0, 1, PIECE - 2, 0, 1, 0, PIECE, 0, 3, 3 * PIECE, PIECE - 1, 5];
        let texts: Vec<String> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| char::from(b'a' + number as u8).to_string().repeat(*length))
            .collect();
        let mut all = Texts::default();
        let places: Vec<u64> = texts.iter().map(|text| all.push(text)).collect();
        for (text, place) in texts.iter().zip(places) {
            assert!(all.from(place).starts_with(text.as_str()), "{place:x}");
        }
        let held: usize = all.pieces.iter().map(String::len).sum();
        assert_eq!(held, lengths.iter().sum::<usize>());
    }

    #[test]
    fn neighbours_share_a_text() {
        let mut all = Texts::default();
        let places = ["", "", "2026", "2026", "2027", "2026"].map(|text| all.push(text));
        assert_eq!(places, [0, 0, 0, 0, 4, 8]);
        all.shrink();
        assert_eq!(all.memory(), 12 + size_of::<String>());
    }
}
