//! Any bytes as a Parquet file: no panic, no hang, bounded memory, and the same records from small and large
//! blocks. Start it with real files (see README.md): the fuzzer does not find a footer by itself.
#![no_main]

use backup::format::{Decoding, ObjectHints, ParquetDecoder, ParquetStep};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use record::RecordBlock;

const MEMORY: usize = 8 << 20;

// The library panics on some damaged files, which the decoder makes errors of; a panic that comes out of the decoder
// still ends the fuzzing.
fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    let stored = Bytes::copy_from_slice(data);
    let large = decode(&stored, 1 << 20);
    let small = decode(&stored, 100);
    // Damage may be met after fewer rows where fewer are decoded at once.
    let shorter = large.len().min(small.len());
    assert_eq!(large[..shorter], small[..shorter]);
});

fn decode(stored: &Bytes, block_bytes: usize) -> Vec<String> {
    let decoding = Decoding {
        max_record_bytes: 4096,
        ..Decoding::default()
    };
    let hints = ObjectHints {
        key: "object".into(),
        start_offset: Some(0),
        next_start_offset: None,
    };
    let mut decoder = ParquetDecoder::new(&decoding, hints, stored.len() as u64, MEMORY);
    let mut block = RecordBlock::new();
    let mut seen = Vec::new();
    loop {
        let result = decoder.decode(&mut block, block_bytes);
        // A handful of bytes may stand for any number of rows.
        seen.extend(
            block
                .iter()
                .take(10_000 - seen.len().min(10_000))
                .map(|record| format!("{record:?}")),
        );
        block.clear();
        match result {
            Ok(ParquetStep::Need(ranges)) => {
                for range in ranges {
                    decoder.push(
                        range.start,
                        stored.slice(range.start as usize..range.end as usize),
                    );
                }
            }
            Ok(ParquetStep::BlockReady) if seen.len() < 10_000 => {}
            Ok(_) => return seen,
            Err(_) if decoder.resume_after_error().is_some() => {}
            Err(_) => return seen,
        }
        assert!(
            decoder.memory_bytes() < 2 * MEMORY + stored.len(),
            "memory is bounded"
        );
    }
}
