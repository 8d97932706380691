//! A look at the pages of a column chunk before the library unpacks them.
//!
//! A page's header says how long it is unpacked, and the library takes that much memory. Here the headers are
//! walked first, so that what a row group takes is known, and refused where it is too much.
//! Source: `PageHeader` in `parquet.thrift` of Apache Parquet.

use super::thrift::{Reader, kind};

/// What the pages of one column chunk take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    /// The largest data page, unpacked.
    pub(super) largest: u64,
    /// The dictionary, unpacked.
    pub(super) dictionary: u64,
    /// All data pages, unpacked.
    pub(super) total: u64,
    /// The most bytes for each value of a page.
    pub(super) densest: u64,
    /// The most values of a page.
    pub(super) most_values: u64,
}

/// Walks the headers of all pages in `chunk`, which holds `values` values.
///
/// # Errors
///
/// Where the headers do not lead from one page to the next up to the end.
pub(super) fn walk(chunk: &[u8], values: u64) -> Result<Pages, String> {
    let mut pages = Pages::default();
    let mut seen = 0u64;
    let mut position = 0;
    // Some writers count other bytes behind the last page.
    while position < chunk.len() && seen < values {
        let mut reader = Reader {
            data: &chunk[position..],
        };
        let header = Header::read(&mut reader).ok_or("a page's header is damaged")?;
        // The library takes it for granted that they fit.
        if !matches!((header.kind, header.described_by), (0, 5) | (2, 7) | (3, 8)) {
            return Err("a page's header is damaged".into());
        }
        let length = reader.data.len();
        let packed = usize::try_from(header.packed)
            .ok()
            .filter(|packed| *packed <= length);
        let packed = packed.ok_or("a page is longer than its column")?;
        position = chunk.len() - (length - packed);
        let unpacked = u64::try_from(header.unpacked).map_err(|_| "a page's length is negative")?;
        match u64::try_from(header.values) {
            _ if header.dictionary => pages.dictionary = pages.dictionary.max(unpacked),
            Ok(count) => {
                seen = seen.saturating_add(count);
                pages.largest = pages.largest.max(unpacked);
                pages.total = pages.total.saturating_add(unpacked);
                pages.densest = pages.densest.max(unpacked / count.max(1));
                pages.most_values = pages.most_values.max(count);
            }
            Err(_) => return Err("a page's number of values is negative".into()),
        }
    }
    Ok(pages)
}

#[derive(Default)]
struct Header {
    /// The kind of page, and the number of the header's field that tells more of it.
    kind: i64,
    described_by: i64,
    unpacked: i64,
    packed: i64,
    values: i64,
    dictionary: bool,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut header = Header::default();
        let mut id = 0;
        while let Some(kind) = reader.field(&mut id)? {
            match (id, kind) {
                (1, kind::I32) => header.kind = reader.number()?,
                (2, kind::I32) => header.unpacked = reader.number()?,
                (3, kind::I32) => header.packed = reader.number()?,
                // Data page, dictionary page, data page of version 2: their first field is the number of values.
                (5 | 7 | 8, kind::STRUCT) => {
                    header.dictionary |= id == 7;
                    header.described_by = id;
                    let mut inner = 0;
                    while let Some(kind) = reader.field(&mut inner)? {
                        match (inner, kind) {
                            (1, kind::I32) => header.values = reader.number()?,
                            _ => reader.skip(kind, 1)?,
                        }
                    }
                }
                _ => reader.skip(kind, 0)?,
            }
        }
        Some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data page's header: `unpacked` and `packed` below 64.
    fn page(unpacked: u8, packed: u8, values: u8) -> Vec<u8> {
        let mut page = vec![
            0x15,
            0,
            0x15,
            unpacked * 2,
            0x15,
            packed * 2,
            0x2c,
            0x15,
            values * 2,
            0x15,
            0,
            0,
            0,
        ];
        page.extend(vec![7; usize::from(packed)]);
        page
    }

    #[test]
    fn pages_are_followed_to_the_end() {
        let chunk = [page(40, 10, 4), page(60, 3, 2)].concat();
        let pages = walk(&chunk, 6).unwrap();
        let expected = Pages {
            largest: 60,
            dictionary: 0,
            total: 100,
            densest: 30,
            most_values: 4,
        };
        assert_eq!(pages, expected);
        assert!(
            walk(&chunk[..chunk.len() - 1], 6)
                .unwrap_err()
                .contains("longer than its column")
        );
        assert!(walk(&[0x2c; 4000], 6).unwrap_err().contains("header"));
        assert!(walk(&[0xff; 40], 6).is_err());
        // A list of so many things that it would take for ever.
        assert!(walk(&[0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 6).is_err());
    }
}
