//! The codecs of Avro's blocks.
//!
//! Each unpacks one block into a buffer that is used again, up to a limit, whatever lengths the data claims.
//! Source: "Required Codecs" and "Optional Codecs" of the Apache Avro specification, version 1.12.

use std::io::Read;

use crc_fast::CrcAlgorithm;

use crate::container::{Inflate, Unwrap, Zstandard};

/// How a file's blocks are packed.
pub(super) enum Codec {
    /// Not at all.
    Null,
    Deflate(Box<Inflate>),
    /// Raw snappy, with a CRC-32 of the unpacked bytes behind it.
    Snappy(snap::raw::Decoder),
    Zstandard(Box<Zstandard>),
    Bzip2,
    Xz,
}

/// How much an xz block's dictionary may take: what the highest preset asks for.
const XZ_MEMORY_KIB: u32 = 66 << 10;

impl Codec {
    /// The codec of that name in a file's header.
    pub(super) fn named(name: &[u8]) -> Result<Self, String> {
        Ok(match name {
            b"" | b"null" => Codec::Null,
            b"deflate" => Codec::Deflate(Box::new(Inflate::new())),
            b"snappy" => Codec::Snappy(snap::raw::Decoder::new()),
            b"zstandard" => Codec::Zstandard(Box::default()),
            b"bzip2" => Codec::Bzip2,
            b"xz" => Codec::Xz,
            _ => return Err(format!("the codec \"{}\" is not known", name.escape_ascii())),
        })
    }

    /// Unpacks `packed` into `plain`, whose former content is lost. Gives the unpacked length: `plain` itself may
    /// be longer, so that it need not be cleared each time.
    pub(super) fn unpack(
        &mut self,
        packed: &[u8],
        plain: &mut Vec<u8>,
        limit: usize,
    ) -> Result<usize, String> {
        let too_long =
            || format!("unpacked, the block is longer than {limit} bytes, the largest that is accepted");
        match self {
            // Read where it is.
            Codec::Null => Ok(0),
            Codec::Deflate(inflate) => {
                plain.clear();
                inflate.reset();
                let mut used = 0;
                loop {
                    grow(plain, packed.len(), limit).ok_or_else(too_long)?;
                    let room = plain.capacity() - plain.len();
                    let progress = inflate
                        .inflate(&packed[used..], plain, room)
                        .map_err(|damage| format!("the deflate data is damaged: {damage}"))?;
                    used += progress.used;
                    if progress.ended {
                        return whole(plain, used, packed, limit, too_long);
                    }
                    if plain.len() < plain.capacity() {
                        return Err("the deflate data stops early".into());
                    }
                }
            }
            Codec::Snappy(decoder) => {
                let Some((packed, checksum)) = packed.split_last_chunk::<4>() else {
                    return Err("the snappy block is too short for its checksum".into());
                };
                let damaged = |error: snap::Error| format!("the snappy data is damaged: {error}");
                let length = snap::raw::decompress_len(packed).map_err(damaged)?;
                if length > limit {
                    return Err(too_long());
                }
                // Three bytes stand for 64 at most.
                if length / 32 > packed.len() {
                    return Err("the snappy data is damaged: it is too short for its length".into());
                }
                if plain.len() < length {
                    plain.resize(length, 0);
                }
                let length = decoder.decompress(packed, plain).map_err(damaged)?;
                let found = crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &plain[..length]);
                if found != u64::from(u32::from_be_bytes(*checksum)) {
                    return Err("the checksum of a block does not match its content".into());
                }
                Ok(length)
            }
            Codec::Zstandard(decoder) => {
                plain.clear();
                let mut used = 0;
                let result = loop {
                    match decoder.unwrap(&packed[used..], plain, limit + 1) {
                        Err(error) => break Err(error.reason),
                        Ok(_) if plain.len() > limit => break Err(too_long()),
                        Ok(0) if used < packed.len() => break Err("the zstd data is damaged".into()),
                        Ok(step) => used += step,
                    }
                    if used == packed.len() {
                        break decoder
                            .finish()
                            .map_err(|_| "the zstd data stops early".to_owned());
                    }
                };
                if result.is_err() {
                    // The old one would go on in the middle of a frame.
                    **decoder = Zstandard::default();
                }
                result.map(|()| plain.len())
            }
            Codec::Bzip2 => {
                plain.clear();
                let mut decoder = bzip2::Decompress::new(false);
                loop {
                    let used = decoder.total_in() as usize;
                    grow(plain, packed.len(), limit).ok_or_else(too_long)?;
                    let before = plain.len();
                    let status = decoder
                        .decompress_vec(&packed[used..], plain)
                        .map_err(|error| format!("the bzip2 data is damaged: {error}"))?;
                    let now = decoder.total_in() as usize;
                    if status == bzip2::Status::StreamEnd {
                        return whole(plain, now, packed, limit, too_long);
                    }
                    if now == used && plain.len() == before && plain.len() < plain.capacity() {
                        return Err("the bzip2 data stops early".into());
                    }
                }
            }
            Codec::Xz => {
                plain.clear();
                lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_MEMORY_KIB)
                    .take(limit as u64 + 1)
                    .read_to_end(plain)
                    .map_err(|error| format!("the xz data is damaged: {error}"))?;
                if plain.len() > limit {
                    return Err(too_long());
                }
                Ok(plain.len())
            }
        }
    }
}

/// Makes room in `plain` behind its content: some at first, then twice as much each time, up to one byte more
/// than the limit. Nothing where it holds that much.
fn grow(plain: &mut Vec<u8>, packed: usize, limit: usize) -> Option<()> {
    if plain.len() < plain.capacity() {
        return (plain.len() <= limit).then_some(());
    }
    let room = (limit + 1).checked_sub(plain.len()).filter(|room| *room > 0)?;
    plain.reserve_exact(room.min(plain.len().max(packed.saturating_mul(4)).max(4096)));
    Some(())
}

/// The unpacked length, where all of `packed` was used.
fn whole(
    plain: &[u8],
    used: usize,
    packed: &[u8],
    limit: usize,
    too_long: impl Fn() -> String,
) -> Result<usize, String> {
    if plain.len() > limit {
        return Err(too_long());
    }
    if used != packed.len() {
        return Err("there are other bytes behind the packed data of a block".into());
    }
    Ok(plain.len())
}
