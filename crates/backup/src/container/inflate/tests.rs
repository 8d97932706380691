//! Against another implementation (zlib-rs): the same bytes, and the same data refused, however input and output are cut.

use std::io::{Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use proptest::prelude::*;

use super::*;

/// What comes of a stream: its content, and how many bytes of the input it took where it is whole.
type Outcome = (Vec<u8>, Option<usize>);

/// Inflates with input in pieces of `chunk` bytes and room for `room` bytes at a time.
fn inflated(deflated: &[u8], chunk: usize, room: usize) -> Outcome {
    outcome(&mut Inflate::new(), deflated, chunk, room)
}

fn outcome(inflate: &mut Inflate, deflated: &[u8], chunk: usize, room: usize) -> Outcome {
    let (mut whole, mut taken) = (Vec::new(), 0);
    for chunk in deflated.chunks(chunk) {
        let mut used = 0;
        loop {
            let before = whole.len();
            let result = inflate.inflate(&chunk[used..], &mut whole, room);
            assert!(whole.len() - before <= room);
            let Ok(progress) = result else {
                return (whole, None);
            };
            used += progress.used;
            if progress.ended {
                assert_eq!(inflate.total_out(), whole.len() as u64);
                return (whole, Some(taken + used));
            }
            if whole.len() - before < room {
                assert_eq!(used, chunk.len(), "all input is used");
                break;
            }
        }
        taken += used;
    }
    (whole, None)
}

/// The other implementation; nothing where it refuses the data.
fn expected(deflated: &[u8]) -> Outcome {
    let mut inflate = Decompress::new(false);
    let mut whole = Vec::new();
    loop {
        whole.reserve(64 << 10);
        let (used, before) = (inflate.total_in() as usize, whole.len());
        match inflate.decompress_vec(&deflated[used..], &mut whole, FlushDecompress::None) {
            Ok(Status::StreamEnd) => return (whole, Some(inflate.total_in() as usize)),
            Ok(_) if inflate.total_in() as usize == used && whole.len() == before => return (whole, None),
            Ok(_) => {}
            Err(_) => return (whole, None),
        }
    }
}

fn deflated(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

/// Words, digits and runs: with matches of every length and distance.
fn text(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = Vec::new();
    while text.len() < length {
        match random.u8(..8) {
            0..3 => {
                text.extend_from_slice(["order", "berlin", "paid,", "{\"id\":"][random.usize(..4)].as_bytes())
            }
            3..5 => text.extend_from_slice(random.u64(..).to_string().as_bytes()),
            5 => text.extend(std::iter::repeat_n(random.u8(..), random.usize(..400))),
            6 if !text.is_empty() => {
                let from = text.len() - 1 - random.usize(..text.len().min(40_000));
                let end = text.len().min(from + random.usize(..600));
                text.extend_from_within(from..end);
            }
            _ => text.extend((0..random.usize(..20)).map(|_| random.u8(..))),
        }
    }
    text.truncate(length);
    text
}

#[test]
fn every_level_gives_its_content_back_however_it_is_cut() {
    for level in 0..=9 {
        let content = text(300_000, level.into());
        let mut stored = deflated(&content, level);
        let length = stored.len();
        // What follows belongs to somebody else.
        stored.extend_from_slice(&[0xff; 20]);
        for (chunk, room) in [
            (usize::MAX, usize::MAX >> 1),
            (usize::MAX, 1000),
            (1, 77),
            (7, 1),
            (4096, 65_536),
        ] {
            let (found, end) = inflated(&stored, chunk, room);
            assert!(
                found == content,
                "level {level}, {chunk} bytes at a time, room for {room}"
            );
            assert_eq!(end, Some(length));
        }
    }
}

#[test]
fn the_farthest_match_and_the_end_of_the_ring() {
    // A piece that comes again at the greatest distance, and copies that begin at each place around the ring's end.
    let mut content = text(32 << 10, 1);
    content.extend_from_within(..300);
    for place in 0..600 {
        let mut long = text(RING - 300 + place, place as u64);
        let from = long.len() - 32_000;
        long.extend_from_within(from..from + 700);
        long.extend_from_within(..1);
        content.extend_from_slice(&long[long.len() - 1000..]);
        if place % 50 == 0 {
            let stored = deflated(&long, 9);
            assert!(inflated(&stored, usize::MAX, 128 << 10).0 == long, "{place}");
        }
    }
    let stored = deflated(&content, 9);
    assert!(inflated(&stored, usize::MAX, 128 << 10).0 == content);
}

#[test]
fn runs_of_one_byte_and_of_few_bytes() {
    for distance in 1..70 {
        let content: Vec<u8> = (0..70_000).map(|place| (place % distance) as u8).collect();
        for level in [1, 9] {
            let stored = deflated(&content, level);
            assert!(
                inflated(&stored, usize::MAX, 5000).0 == content,
                "distance {distance}"
            );
        }
    }
}

#[test]
fn flushed_blocks_stored_blocks_and_blocks_without_content() {
    let content = text(50_000, 3);
    let mut compress = Compress::new(Compression::new(6), false);
    let mut stored = Vec::with_capacity(200_000);
    for (number, piece) in content.chunks(997).enumerate() {
        if number % 5 == 4 {
            // Behind a full flush, which nothing reaches back over: a stored block.
            stored.push(0);
            stored.extend_from_slice(&(piece.len() as u16).to_le_bytes());
            stored.extend_from_slice(&(!(piece.len() as u16)).to_le_bytes());
            stored.extend_from_slice(piece);
            continue;
        }
        let flush = [
            FlushCompress::Sync,
            FlushCompress::Partial,
            FlushCompress::None,
            FlushCompress::Full,
        ][number % 5];
        compress
            .compress_vec(piece, &mut stored, flush)
            .expect("compresses");
    }
    compress
        .compress_vec(&[], &mut stored, FlushCompress::Finish)
        .expect("compresses");
    for chunk in [1, 3, 100, usize::MAX] {
        assert!(
            inflated(&stored, chunk, 333) == (content.clone(), Some(stored.len())),
            "{chunk}"
        );
    }
    // No content at all, in a fixed and in a stored block.
    assert_eq!(inflated(&[3, 0], 1, 10), (vec![], Some(2)));
    assert_eq!(inflated(&[1, 0, 0, 0xff, 0xff], 1, 10), (vec![], Some(5)));
}

/// Writes deflated data bit by bit.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// A number, its lowest bit first.
    fn number(&mut self, value: usize, bits: usize) {
        for bit in 0..bits {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.count / 8] |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }

    /// A code, its highest bit first.
    fn code(&mut self, code: usize, bits: usize) {
        (0..bits).rev().for_each(|bit| self.number(code >> bit & 1, 1));
    }

    /// A literal, a length or the end in the fixed code: RFC 1951, 3.2.6.
    fn symbol(&mut self, symbol: usize) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }
}

#[test]
fn every_symbol_of_the_fixed_codes_behind_every_other() {
    let mut bits = Bits::default();
    bits.number(1 | 1 << 1, 3);
    // Something to reach back to.
    let mut random = fastrand::Rng::with_seed(1);
    let mut content: Vec<u8> = (0..40_000).map(|_| random.u8(..)).collect();
    content.iter().for_each(|byte| bits.symbol(usize::from(*byte)));
    for distance in 0..30 {
        for symbol in (0..256).chain(257..286) {
            bits.symbol(symbol);
            if symbol < 256 {
                content.push(symbol as u8);
                continue;
            }
            let (length, extra) = codes::length(symbol);
            let more = random.usize(..1 << extra);
            bits.number(more, extra);
            bits.code(distance, 5);
            let (back, extra) = codes::distance(distance);
            let farther = random.usize(..1 << extra);
            bits.number(farther, extra);
            for _ in 0..length + more {
                content.push(content[content.len() - back - farther]);
            }
        }
    }
    bits.symbol(256);
    let end = Some(bits.bytes.len());
    assert!(expected(&bits.bytes) == (content.clone(), end));
    for (chunk, room) in [(usize::MAX, 1 << 20), (1000, 1000), (1, 1)] {
        assert!(
            inflated(&bits.bytes, chunk, room) == (content.clone(), end),
            "{chunk}"
        );
    }
}

#[test]
fn what_an_encoder_never_writes_is_refused() {
    for (bytes, reason) in [
        (&[7][..], "kind"),
        (&[1, 1, 0, 0, 0], "differ"),
        // A fixed block whose first symbol is a match: nothing is there to be copied.
        (&[0x03, 0x02, 0, 0], "beyond the beginning"),
        // Symbol 286 of the fixed code: 11000110.
        (&[0b0001_1011, 0b0000_0011, 0, 0], "invalid code"),
        // 31 codes of distances, 288 of literals.
        (&[0b1111_0101, 0xff, 0xff, 0xff], "too many"),
        // A code for code lengths that is none.
        (
            &[0b0000_0101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "code of the code lengths",
        ),
    ] {
        let mut output = Vec::new();
        let damage = Inflate::new().inflate(bytes, &mut output, 100).expect_err(reason);
        assert!(damage.to_string().contains(reason), "{damage}: {reason}");
        assert_eq!(expected(bytes).1, None);
        assert_eq!(inflated(bytes, 1, 100).1, None);
    }
}

#[test]
fn one_decoder_serves_stream_after_stream() {
    let mut inflate = Inflate::new();
    for seed in 0..5 {
        let content = text(100_000, seed);
        let stored = deflated(&content, 6);
        // The next one begins anew, also behind one that was left in the middle or refused.
        inflate.reset();
        let _ = outcome(&mut inflate, &stored[..stored.len() / 2], 100, 1000);
        inflate.reset();
        let _ = outcome(&mut inflate, &[7], 100, 1000);
        inflate.reset();
        assert!(
            outcome(&mut inflate, &stored, 999, 1000) == (content, Some(stored.len())),
            "{seed}"
        );
    }
    // A match must not reach into the stream before.
    inflate.reset();
    assert!(
        inflate
            .inflate(&[0x03, 0x02, 0, 0], &mut Vec::new(), 100)
            .is_err()
    );
}

#[test]
fn real_gzip_of_connectors() {
    let folder = testkit::golden::fixtures_folder();
    let mut checked = 0;
    for set in testkit::golden::GoldenSet::load_all(&folder).expect("golden backups") {
        for object in set
            .objects
            .iter()
            .filter(|object| object.bytes.starts_with(&[0x1f, 0x8b, 8, 0]))
        {
            let mut content = Vec::new();
            if flate2::read::GzDecoder::new(&object.bytes[..])
                .read_to_end(&mut content)
                .is_ok()
            {
                assert!(
                    inflated(&object.bytes[10..], 1000, 1 << 16).0 == content,
                    "{}: {}",
                    set.name,
                    object.key
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked} objects");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_data_gives_what_it_gives_elsewhere(
        seed: u64,
        length in 0_usize..20_000,
        level in 0_u32..10,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut: prop::sample::Index,
        is_cut: bool,
        chunk in 1_usize..300,
        room in 1_usize..3000,
    ) {
        let mut stored = deflated(&text(length, seed), level);
        for (place, byte) in damage {
            let place = place.index(stored.len());
            stored[place] = byte;
        }
        if is_cut {
            stored.truncate(cut.index(stored.len()));
        }
        let (content, end) = expected(&stored);
        let (whole, whole_end) = inflated(&stored, usize::MAX, 1 << 20);
        prop_assert_eq!(end, whole_end);
        // Where the data is refused the other one may have held some bytes back.
        let common = content.len().min(whole.len());
        prop_assert!(content[..common] == whole[..common]);
        prop_assert!(end.is_none() || content.len() == whole.len());
        prop_assert!(inflated(&stored, chunk, room) == (whole, whole_end));
    }

    #[test]
    fn any_bytes_are_taken_or_refused_as_elsewhere(stored in prop::collection::vec(any::<u8>(), 0..300), kind in 0_u8..8) {
        let mut stored = stored;
        if let Some(first) = stored.first_mut() {
            *first = *first & !7 | kind;
        }
        let (content, end) = expected(&stored);
        let (whole, whole_end) = inflated(&stored, usize::MAX, 1 << 20);
        prop_assert_eq!(end, whole_end);
        let common = content.len().min(whole.len());
        prop_assert!(content[..common] == whole[..common]);
        prop_assert!(inflated(&stored, 1, 7) == (whole, whole_end));
    }
}
