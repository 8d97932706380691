//! A Parquet file's footer: found, looked at before the library believes it, and checked against the object.
//!
//! The library takes memory for as many children as a schema element claims and follows them as deep as they go,
//! so the schema is walked here first. Offsets are checked because writers get them wrong: parquet files of
//! Aiven's sinks beyond 2 GiB have a footer whose offsets overflowed (`ParquetPositionOutputStream` counts in an
//! `int`).
//! Source: "File format" and `FileMetaData` in `parquet.thrift` of Apache Parquet.

use std::ops::Range;

use ::parquet::file::metadata::ParquetMetaData;

use super::thrift::{Reader, kind};

/// What a file begins and ends with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// The end of a file: the footer's length and the magic.
pub(super) const TAIL: u64 = 8;

/// The longest footer that is read. Those of files with a handful of columns have some kilobytes.
const MAX_FOOTER: u64 = 16 << 20;

/// How deep a schema may be nested.
const MAX_DEPTH: usize = 60;

/// The range of the footer in a file of `size` bytes that ends with `tail`.
pub(super) fn range(tail: &[u8], size: u64) -> Result<Range<u64>, (String, bool)> {
    let Some((length, magic)) = tail
        .split_first_chunk::<4>()
        .filter(|(_, magic)| magic.len() == 4)
    else {
        return Err(("the object is too short for a Parquet file".into(), true));
    };
    if magic == b"PARE" {
        return Err((
            "the Parquet file is encrypted, and no key can be given".into(),
            false,
        ));
    }
    if magic != MAGIC {
        let reason = "the object does not end as a Parquet file does: it was cut, and without its footer nothing \
                      of it can be read";
        return Err((reason.into(), true));
    }
    let length = u64::from(u32::from_le_bytes(*length));
    if length > MAX_FOOTER {
        return Err((
            format!(
                "the Parquet footer says that it is {length} bytes long; the longest that is accepted has {MAX_FOOTER}"
            ),
            false,
        ));
    }
    match size
        .checked_sub(TAIL + length)
        .filter(|start| *start >= MAGIC.len() as u64)
    {
        Some(start) => Ok(start..size - TAIL),
        None => Err((
            "the Parquet footer says that it is longer than the object".into(),
            false,
        )),
    }
}

/// Walks over a footer's schema. Fails where it is not a tree of bounded depth.
pub(super) fn check_schema(footer: &[u8]) -> Result<(), String> {
    let mut reader = Reader { data: footer };
    let damaged = "the Parquet footer is damaged";
    let mut id = 0;
    loop {
        let field = reader.field(&mut id).ok_or(damaged)?;
        match field {
            None => return Err(format!("{damaged}: it has no schema")),
            Some(kind::LIST) if id == 2 => break,
            Some(kind) => reader.skip(kind, 0).ok_or(damaged)?,
        }
    }
    let (kind, elements) = reader.list().ok_or(damaged)?;
    if kind != kind::STRUCT {
        return Err(damaged.into());
    }
    // Children that are still to come, for each level.
    let mut open: Vec<u64> = Vec::new();
    for place in 0..elements {
        let mut children = 0;
        let mut id = 0;
        while let Some(kind) = reader.field(&mut id).ok_or(damaged)? {
            match (id, kind) {
                (5, kind::I32) => children = reader.number().ok_or(damaged)?,
                _ => reader.skip(kind, 1).ok_or(damaged)?,
            }
        }
        let children = u64::try_from(children).map_err(|_| damaged)?;
        if children > elements - place {
            return Err(format!("{damaged}: its schema says that it is larger than it is"));
        }
        if let Some(siblings) = open.last_mut() {
            *siblings = siblings.checked_sub(1).ok_or(damaged)?;
        }
        open.push(children);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > MAX_DEPTH {
            return Err(format!(
                "the Parquet schema is nested deeper than {MAX_DEPTH} levels"
            ));
        }
    }
    Ok(())
}

/// Checks that all columns lie in the file, whose footer starts at `footer`. Gives where what the footer tells of
/// ends: column chunks and indexes.
pub(super) fn check_layout(metadata: &ParquetMetaData, footer: u64) -> Result<u64, String> {
    let mut end = MAGIC.len() as u64;
    for group in metadata.row_groups() {
        if group.num_rows() < 0 {
            return Err("a row group of the Parquet file has a negative number of rows".into());
        }
        for column in group.columns() {
            let start = column
                .dictionary_page_offset()
                .unwrap_or(column.data_page_offset());
            let range = u64::try_from(start)
                .ok()
                .zip(u64::try_from(column.compressed_size()).ok())
                .and_then(|(start, length)| Some((start, start.checked_add(length)?)))
                .filter(|(start, end)| *start >= MAGIC.len() as u64 && *end <= footer);
            let Some((_, chunk_end)) = range else {
                let place = format!(
                    "the Parquet footer says that the column {} starts at byte {start} and is {} bytes long, which \
                     is not within the file",
                    column.column_path().string(),
                    column.compressed_size()
                );
                return Err(if footer > i32::MAX as u64 {
                    format!(
                        "{place}: the sink counts positions in 32 bits, and in files beyond 2 GiB they overflow; \
                         this file cannot be read without its offsets"
                    )
                } else {
                    place
                });
            };
            if column.num_values() < 0 || column.uncompressed_size() < 0 {
                return Err("a column of the Parquet file has a negative size".into());
            }
            end = end.max(chunk_end);
            for index in [column.column_index_range(), column.offset_index_range()] {
                end = index.map_or(end, |range| end.max(range.end));
            }
            if let (Some(start), Some(length)) = (column.bloom_filter_offset(), column.bloom_filter_length())
            {
                end = end.max(u64::try_from(start.saturating_add(i64::from(length))).unwrap_or(0));
            } else if column.bloom_filter_offset().is_some() {
                // Its length is not known.
                end = footer;
            }
        }
    }
    Ok(end.min(footer))
}
