//! Any bytes as a gzip, xerial snappy or zstd container: no panic, no hang, output within its limit, and the
//! same content however input and output are cut. What is inflated is what another implementation inflates.
#![no_main]

use backup::container::{Container, ContainerError, sniff, unwrapper};
use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;

/// Content behind this is not asked for: bombs are cheap to write and slow to read.
const MAX_CONTENT: usize = 1 << 20;

const MAGICS: [&[u8]; 3] = [
    &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0],
    b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
    &[0x28, 0xb5, 0x2f, 0xfd],
];

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    // Half of the inputs get a magic, so that the fuzzer need not find it.
    let magic = MAGICS.get(usize::from(first % 6)).copied().unwrap_or_default();
    let stored = [magic, rest].concat();
    let container = sniff(&stored);
    if container == Container::None {
        return;
    }
    let whole = unwrap(container, &stored, usize::MAX, 1 << 16);
    if magic == MAGICS[0] {
        let (content, ended) = inflated(rest);
        let shorter = whole.0.len().min(content.len());
        assert_eq!(whole.0[..shorter], content[..shorter]);
        // Behind its end there may be another member, or what is none.
        assert!(!ended || whole.0.len() >= content.len());
    }
    let pieces = unwrap(container, &stored, 7, 100);
    let shorter = whole.0.len().min(pieces.0.len());
    assert_eq!(whole.0[..shorter], pieces.0[..shorter]);
    // Where one was stopped for its size, the other may not have come to the damage behind.
    if let (Some(whole), Some(pieces)) = (whole.1, pieces.1) {
        assert_eq!(whole.is_ok(), pieces.is_ok());
    }
});

/// What zlib-rs makes of deflated data, and whether it is whole.
fn inflated(deflated: &[u8]) -> (Vec<u8>, bool) {
    let mut inflate = Decompress::new(false);
    let mut content = Vec::new();
    while content.len() <= MAX_CONTENT {
        content.reserve(64 << 10);
        let (used, before) = (inflate.total_in() as usize, content.len());
        match inflate.decompress_vec(&deflated[used..], &mut content, FlushDecompress::None) {
            Ok(Status::StreamEnd) => return (content, true),
            Ok(_) if inflate.total_in() as usize == used && content.len() == before => break,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (content, false)
}

fn unwrap(
    container: Container,
    stored: &[u8],
    chunk: usize,
    piece: usize,
) -> (Vec<u8>, Option<Result<(), ContainerError>>) {
    let mut unwrap = unwrapper(container).expect("a container has an unwrapper");
    let mut whole = Vec::new();
    let mut output = Vec::with_capacity(piece);
    for chunk in stored.chunks(chunk) {
        let mut used = 0;
        loop {
            let result = unwrap.unwrap(&chunk[used..], &mut output, piece);
            assert!(output.len() <= piece);
            let quiet = output.is_empty();
            whole.append(&mut output);
            match result {
                Ok(0) if quiet => break,
                Ok(step) => used += step,
                Err(error) => return (whole, Some(Err(error))),
            }
            if whole.len() > MAX_CONTENT {
                return (whole, None);
            }
        }
        assert_eq!(used, chunk.len(), "all input is used");
    }
    let end = unwrap.finish();
    (whole, Some(end))
}
