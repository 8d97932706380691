//! The pieces of an object that are here, as the file that the library reads.

use std::ops::Range;

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::{Buf, Bytes};

/// Bytes of the object that are here.
#[derive(Clone, Default)]
pub(super) struct Segments {
    /// Where the file starts in the object.
    pub(super) base: u64,
    /// Where the object ends, from there.
    pub(super) size: u64,
    /// Pieces with their places in the object.
    pub(super) list: Vec<(u64, Bytes)>,
}

impl Segments {
    /// A range of the object, where it lies in one piece.
    pub(super) fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        self.list.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
            (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
        })
    }
}

impl Length for Segments {
    fn len(&self) -> u64 {
        self.size
    }
}

/// Reads a file from its own start, wherever that is in the object.
impl ChunkReader for Segments {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let start = start.saturating_add(self.base);
        let rest = self.list.iter().find_map(|(first, bytes)| {
            let from = usize::try_from(start.checked_sub(*first)?).ok()?;
            (from <= bytes.len()).then(|| bytes.slice(from..))
        });
        match rest {
            Some(bytes) => Ok(bytes.reader()),
            None => Err(ParquetError::EOF(format!("there is nothing at byte {start}"))),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let start = start.saturating_add(self.base);
        self.get(&(start..start.saturating_add(length as u64)))
            .ok_or_else(|| ParquetError::EOF(format!("there are no {length} bytes at byte {start}")))
    }
}
