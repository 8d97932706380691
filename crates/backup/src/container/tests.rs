//! Containers by themselves: connector's own bytes, several members, padding, damage, bombs.

use std::io::Write;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Unwraps with input in `chunk` bytes and output in pieces of `piece`.
fn unwrap_in(stored: &[u8], chunk: usize, piece: usize) -> (Vec<u8>, Result<u64, ContainerError>) {
    let mut unwrap = unwrapper(sniff(stored)).expect("a container");
    let mut whole = Vec::new();
    let mut output = Vec::with_capacity(piece);
    for chunk in stored.chunks(chunk) {
        let mut used = 0;
        loop {
            let result = unwrap.unwrap(&chunk[used..], &mut output, piece);
            let quiet = output.is_empty();
            whole.append(&mut output);
            match result {
                Ok(step) => {
                    used += step;
                    if step == 0 && quiet {
                        assert_eq!(used, chunk.len(), "all input is used");
                        break;
                    }
                }
                Err(error) => return (whole, Err(error)),
            }
        }
    }
    let end = unwrap.finish();
    (whole, end.map(|()| unwrap.padding_bytes()))
}

fn unwrapped(stored: &[u8]) -> (Vec<u8>, Result<u64, ContainerError>) {
    unwrap_in(stored, usize::MAX, 1 << 16)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fn xerial(bytes: &[u8], block: usize) -> Vec<u8> {
    let mut out = hex("82534e41505059000000000100000001");
    for block in bytes.chunks(block) {
        let packed = snap::raw::Encoder::new().compress_vec(block).expect("compresses");
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

#[test]
fn a_connectors_own_gzip_and_snappy() {
    let stored = hex("1f8b08000000000000ff4ac972b505000000ffff0300ef06260504000000");
    assert_eq!(unwrapped(&stored), (b"djE=".to_vec(), Ok(0)));
    let stored = hex("82534e4150505900000000010000000100000005 0308612c62");
    assert_eq!(unwrapped(&stored), (b"a,b".to_vec(), Ok(0)));
    assert_eq!(
        unwrapped(&hex("82534e41505059000000000100000001")),
        (vec![], Ok(0))
    );
}

#[test]
fn members_frames_and_headers_may_come_again() {
    for stored in [
        [gzip(b"one"), gzip(b""), gzip(b"two")].concat(),
        [xerial(b"one", 2), xerial(b"two", 9)].concat(),
        [
            zstd::encode_all(&b"one"[..], 1).expect("encodes"),
            hex("502a4d1803000000aabbcc"),
            zstd::encode_all(&b"two"[..], 1).expect("encodes"),
        ]
        .concat(),
    ] {
        for chunk in 1..stored.len() {
            assert_eq!(unwrap_in(&stored, chunk, 2), (b"onetwo".to_vec(), Ok(0)));
        }
    }
}

#[test]
fn gzip_headers_with_all_parts() {
    let stored = flate2::GzBuilder::new()
        .extra(vec![7; 300])
        .filename("name")
        .comment("comment")
        .write(Vec::new(), flate2::Compression::default());
    let mut stored = stored;
    stored.write_all(b"content").expect("writes");
    let stored = stored.finish().expect("writes");
    for chunk in [1, 2, 11, usize::MAX] {
        assert_eq!(unwrap_in(&stored, chunk, 3), (b"content".to_vec(), Ok(0)));
    }
    // A header with its own checksum (flag 2), as RFC 1952 gives it.
    let plain = gzip(b"content");
    let mut header = plain[..10].to_vec();
    header[3] |= 2;
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let good = [&header[..], &(crc.sum() as u16).to_le_bytes(), &plain[10..]].concat();
    assert_eq!(unwrapped(&good), (b"content".to_vec(), Ok(0)));
    let bad = [&header[..], &[0, 0], &plain[10..]].concat();
    assert!(unwrapped(&bad).1.expect_err("refused").reason.contains("header"));
}

#[test]
fn zeros_behind_gzip_are_padding_and_anything_else_is_not() {
    let padded = [gzip(b"content"), vec![0; 512]].concat();
    for chunk in [1, 100, usize::MAX] {
        assert_eq!(unwrap_in(&padded, chunk, 3), (b"content".to_vec(), Ok(512)));
    }
    for tail in [&b"x"[..], b"\0x", b"\x1fx"] {
        let (content, end) = unwrapped(&[&gzip(b"content")[..], tail].concat());
        assert_eq!(content, b"content");
        let error = end.expect_err("refused");
        assert!(!error.truncated || tail == b"\x1fx", "{error}");
    }
}

#[test]
fn cut_containers_are_told_from_damaged_ones() {
    for (stored, whole_at) in [
        (gzip(&[7; 5000]), vec![]),
        (zstd::encode_all(&[7; 5000][..], 3).expect("encodes"), vec![]),
        (xerial(&[7; 5000], 2000), vec![16, 16 + 98 + 4, 0]),
    ] {
        for cut in 8..stored.len() {
            let (_, end) = unwrapped(&stored[..cut]);
            match end {
                Err(error) => assert!(error.truncated, "{error} at {cut}"),
                // Between two snappy blocks nothing tells that there were more.
                Ok(_) => assert!(!whole_at.is_empty(), "cut at {cut} of {}", stored.len()),
            }
        }
    }
    let mut stored = gzip(b"content");
    let crc = stored.len() - 8;
    stored[crc] ^= 1;
    let error = unwrapped(&stored).1.expect_err("wrong checksum");
    assert!(error.reason.contains("checksum") && !error.truncated, "{error}");
    let mut stored = gzip(b"content");
    *stored.last_mut().expect("bytes") ^= 1;
    assert!(
        unwrapped(&stored)
            .1
            .expect_err("wrong length")
            .reason
            .contains("length")
    );
}

#[test]
fn snappy_lengths_are_not_believed() {
    let header = hex("82534e41505059000000000100000001");
    for block in [
        "7fffffff",
        "00000000",
        "00000005 ffffff7f00",
        "00000006 8080801f0000",
    ] {
        let stored = [header.clone(), hex(block)].concat();
        let (content, end) = unwrapped(&stored);
        assert!(content.is_empty());
        assert!(!end.expect_err("refused").truncated);
    }
}

#[test]
fn a_bomb_costs_no_memory() {
    let zeros = vec![0u8; 8 << 20];
    for stored in [
        gzip(&gzip(&zeros)),
        zstd::encode_all(&zeros[..], 3).expect("encodes"),
        xerial(&zeros, 1 << 20),
    ] {
        let mut chain = Chain::default();
        chain.push(sniff(&stored), Vec::new()).expect("one container");
        let mut bytes = StoredBytes::default();
        bytes.push(Bytes::from(stored));
        bytes.end();
        let mut output = Vec::with_capacity(4096);
        let mut total = 0;
        while !chain.unwrap(&mut bytes, &mut output, 4096).expect("whole") {
            assert_eq!(output.capacity(), 4096);
            total += output.len();
            output.clear();
        }
        total += output.len();
        assert!(total == zeros.len() || total < 100_000, "{total}");
    }
}

#[test]
fn nesting_is_bounded() {
    let mut chain = Chain::default();
    for _ in 0..4 {
        chain.push(Container::Gzip, Vec::new()).expect("within the depth");
    }
    assert!(chain.push(Container::Gzip, Vec::new()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn content_comes_back_whatever_the_pieces(
        content in proptest::collection::vec(0u8..4, 0..3000),
        chunk in 1usize..200,
        piece in 1usize..500,
        block in 1usize..700,
    ) {
        for stored in [
            gzip(&content),
            xerial(&content, block),
            zstd::encode_all(&content[..], 3).expect("encodes"),
        ] {
            let (out, end) = unwrap_in(&stored, chunk, piece);
            prop_assert_eq!(end, Ok(0));
            prop_assert!(out == content);
        }
    }

    #[test]
    fn damage_never_hangs_and_gzip_sees_it(
        content in proptest::collection::vec(any::<u8>(), 0..500),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        for (kind, mut stored) in [
            gzip(&content),
            xerial(&content, 100),
            zstd::encode_all(&content[..], 3).expect("encodes"),
        ].into_iter().enumerate() {
            let at = at.index(stored.len());
            stored[at] ^= 1 << bit;
            if sniff(&stored) == Container::None {
                continue;
            }
            let (out, end) = unwrap_in(&stored, 61, 100);
            if kind == 0 && end.is_ok() {
                prop_assert!(out == content);
            }
        }
    }
}
