//! Parquet files as Aiven's sinks write them, and any other whose rows are values.
//!
//! Sans I/O: [`ParquetDecoder`] says which bytes of the object it needs (first the footer, then one row group
//! after another) and gives blocks. Bytes and strings go from the unpacked pages straight into the block; other
//! values become JSON text through [`value`]. Before the library unpacks anything, [`footer`] and [`pages`] have
//! checked what it is going to believe.
//!
//! Several files written one behind the other into one object are all read: a footer's offsets count from the
//! start of its own file, and the one before ends where that starts.

mod footer;
mod pages;
mod rows;
mod segments;
mod thrift;
mod value;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::parquet::DecodeResult;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::basic::Encoding;
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};
use arrow_array::RecordBatch;
use arrow_schema::Schema as ArrowSchema;
use bytes::Bytes;
use record::RecordBlock;

use self::rows::Rows;
use self::segments::Segments;
use super::{Decoding, Format, Notes, ObjectError, ObjectHints, Rejected, Stage, is_full};

/// What is asked for at a file's end at first: most footers are shorter.
const END_BYTES: u64 = 32 << 10;

/// The fewest and the most rows decoded at once.
const ROWS_AT_ONCE: Range<u64> = 32..4096;

/// The most values of a page in a nested column: with run lengths a few bytes stand for any number of them.
const MAX_NESTED_VALUES: u64 = 8 << 20;

/// The most files that are looked for in one object.
const MAX_FILES: usize = 1000;

/// The key of the sink's own schema in a file's metadata.
const AVRO_SCHEMA: &str = "parquet.avro.schema";

/// How far [`ParquetDecoder::decode`] came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParquetStep {
    /// These ranges of the object must be [pushed](ParquetDecoder::push) first, each in one piece.
    Need(Vec<Range<u64>>),
    /// The block is full.
    BlockReady,
    /// All records are out; the block may hold the last ones.
    Finished,
}

/// Decodes one Parquet object.
pub struct ParquetDecoder {
    decoding: Decoding,
    hints: ObjectHints,
    size: u64,
    memory_limit: u64,
    data: Segments,
    /// Files whose footer has been read, the last one first.
    files: Vec<File>,
    /// Where the file ends whose footer is to be read next; nothing when all have been.
    footer_of: Option<u64>,
    group: usize,
    reading: Option<Reading>,
    /// Memory that the row group at hand takes beside its bytes.
    group_bytes: u64,
    /// Its `records` are rows, delivered or not.
    notes: Notes,
    delivered: u64,
    error: Option<ObjectError>,
    rejected: Option<Rejected>,
}

/// One Parquet file in the object.
struct File {
    /// Where it starts in the object.
    base: u64,
    metadata: ArrowReaderMetadata,
    rows: Rows,
}

/// A row group whose rows are coming out.
struct Reading {
    reader: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    row: usize,
}

/// What went wrong, where in the object.
struct Trouble {
    reason: String,
    byte_offset: u64,
    truncated: bool,
}

impl Trouble {
    fn at(byte_offset: u64, reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            byte_offset,
            truncated: false,
        }
    }
}

impl ParquetDecoder {
    /// A decoder for an object of `size` bytes. A row group that would take more than `memory_limit` bytes is an
    /// error.
    pub fn new(decoding: &Decoding, hints: ObjectHints, size: u64, memory_limit: usize) -> Self {
        Self {
            decoding: decoding.clone(),
            hints,
            size,
            memory_limit: memory_limit as u64,
            data: Segments::default(),
            files: Vec::new(),
            footer_of: Some(size),
            group: 0,
            reading: None,
            group_bytes: 0,
            notes: Notes::default(),
            delivered: 0,
            error: None,
            rejected: None,
        }
    }

    /// Gives the object's bytes from `start` on: one of the needed ranges, or more, or the whole object.
    pub fn push(&mut self, start: u64, bytes: Bytes) {
        self.notes.stored_bytes = self.notes.stored_bytes.saturating_add(bytes.len() as u64);
        self.data.list.push((start, bytes));
    }

    /// Bytes of memory in use: pushed ones, and what the row group at hand takes.
    pub fn memory_bytes(&self) -> usize {
        let pushed: usize = self.data.list.iter().map(|(_, bytes)| bytes.len()).sum();
        pushed.saturating_add(usize::try_from(self.group_bytes).unwrap_or(usize::MAX))
    }

    /// What there is to say of the object so far.
    pub fn notes(&self) -> Notes {
        let mut notes = self.notes.clone();
        notes.format = Some(Format::Parquet);
        notes.format_differs = self
            .decoding
            .format
            .is_some_and(|configured| configured != Format::Parquet);
        notes.records = self.delivered;
        notes.numbered &= notes.records > 0;
        notes.stored_bytes = notes.stored_bytes.min(self.size);
        notes
    }

    /// Appends records to `block` until it [is full](is_full), bytes are needed or the object has ended.
    ///
    /// # Errors
    ///
    /// Where the object is damaged; `block` then holds the records before the damage. The same error comes again
    /// until [`resume_after_error`](Self::resume_after_error) steps over the record.
    pub fn decode(
        &mut self,
        block: &mut RecordBlock,
        block_bytes: usize,
    ) -> Result<ParquetStep, ObjectError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let before = block.len();
        let result = self.run(block, block_bytes.clamp(1, 1 << 30));
        self.delivered += (block.len() - before) as u64;
        result.map_err(|trouble| {
            let error = ObjectError {
                object: self.hints.key.clone(),
                stage: Stage::Format,
                reason: trouble.reason,
                byte_offset: trouble.byte_offset,
                unwrapped: false,
                line: None,
                truncated: trouble.truncated,
                can_skip: self.rejected.is_some(),
            };
            self.error = Some(error.clone());
            error
        })
    }

    /// Steps over the row that the last error was about, where that is possible. A row lies in many places of
    /// the object, so there are no bytes to give.
    pub fn resume_after_error(&mut self) -> Option<Rejected> {
        let rejected = self.rejected.take()?;
        self.error = None;
        Some(rejected)
    }

    fn run(&mut self, block: &mut RecordBlock, block_bytes: usize) -> Result<ParquetStep, Trouble> {
        while let Some(end) = self.footer_of {
            if let Some(needed) = self.read_footer(end)? {
                return Ok(ParquetStep::Need(needed));
            }
        }
        loop {
            if is_full(block, block_bytes) {
                return Ok(ParquetStep::BlockReady);
            }
            let Some(file) = self.files.last() else {
                return Ok(ParquetStep::Finished);
            };
            if self.group >= file.metadata.metadata().num_row_groups() {
                self.files.pop();
                self.group = 0;
            } else if self.reading.is_none() {
                if let Some(needed) = self.open_group(block_bytes)? {
                    return Ok(ParquetStep::Need(needed));
                }
            } else {
                self.read_rows(block, block_bytes)?;
            }
        }
    }

    /// Reads the footer of the file that ends at `end`. Gives the bytes that it needs first.
    fn read_footer(&mut self, end: u64) -> Result<Option<Vec<Range<u64>>>, Trouble> {
        let tail = end.saturating_sub(footer::TAIL)..end;
        let Some(bytes) = self.data.get(&tail) else {
            let range = end.saturating_sub(END_BYTES)..end;
            return Ok(Some(vec![range]));
        };
        let range = footer::range(&bytes, end).map_err(|(reason, truncated)| Trouble {
            reason,
            byte_offset: tail.start,
            truncated,
        })?;
        let Some(bytes) = self.data.get(&range) else {
            return Ok(Some(vec![range]));
        };
        let fail = |reason: String| Trouble::at(range.start, reason);
        footer::check_schema(&bytes).map_err(fail)?;
        let failed = |error: String| fail(format!("the Parquet footer cannot be read: {error}"));
        let metadata = contained(|| decode_footer(&bytes)).map_err(failed)?;
        // Positions count from the file's own start; that is known only after their largest is.
        let used = footer::check_layout(&metadata, range.start).map_err(fail)?;
        let mut base = range.start - used;
        if base > 0 {
            let start = base..base + footer::MAGIC.len() as u64;
            let Some(magic) = self.data.get(&start) else {
                return Ok(Some(vec![start]));
            };
            if magic != footer::MAGIC[..] || self.files.len() >= MAX_FILES {
                // Something else between the data and the footer, as the format allows.
                base = 0;
            }
        }
        let file = self.file(Arc::new(metadata), base).map_err(fail)?;
        self.files.push(file);
        self.notes.joined_files += u64::from(base > 0);
        self.footer_of = (base > 0).then_some(base);
        if self.footer_of.is_none() {
            self.data.base = 0;
            self.release();
        }
        Ok(None)
    }

    fn file(&mut self, metadata: Arc<ParquetMetaData>, base: u64) -> Result<File, String> {
        let failed = |error: String| format!("the Parquet schema cannot be read: {error}");
        let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let own = contained(|| ArrowReaderMetadata::try_new(metadata.clone(), options())).map_err(failed)?;
        let views: Arc<ArrowSchema> = rows::with_views(own.schema()).into();
        let with_views = || ArrowReaderMetadata::try_new(metadata.clone(), options().with_schema(views));
        let arrow = contained(with_views).map_err(failed)?;
        let about = metadata.file_metadata();
        let avro = about.key_value_metadata().and_then(|list| {
            let pair = list.iter().find(|pair| pair.key == AVRO_SCHEMA)?;
            pair.value.as_deref()
        });
        let mut notes = Notes::default();
        let rows = Rows::new(
            arrow.schema(),
            about.schema().name(),
            avro,
            &self.decoding,
            self.hints.start_offset,
            &mut notes,
        )?;
        self.notes.headers_absent |= notes.headers_absent;
        self.notes.numbered |= notes.numbered;
        Ok(File {
            base,
            metadata: arrow,
            rows,
        })
    }

    /// Makes the next row group ready. Gives the bytes that it needs first.
    fn open_group(&mut self, block_bytes: usize) -> Result<Option<Vec<Range<u64>>>, Trouble> {
        let Some(file) = self.files.last() else {
            return Ok(None);
        };
        let metadata = file.metadata.metadata().clone();
        let group = metadata.row_group(self.group);
        if group.num_rows() == 0 || group.num_columns() == 0 {
            self.group += 1;
            return Ok(None);
        }
        let ranges: Vec<Range<u64>> = group
            .columns()
            .iter()
            .map(|column| {
                // Checked with the footer: neither is negative, and their sum lies in the file.
                let (start, length) = column.byte_range();
                file.base + start..file.base + start + length
            })
            .collect();
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(file.base);
        let number = self.group;
        let limit = self.memory_limit;
        let check = |bytes: u64| match bytes <= limit {
            true => Ok(()),
            false => Err(Trouble::at(
                start,
                format!(
                    "row group {number} of the Parquet file takes {bytes} bytes of memory and {limit} are allowed: \
                     allow more memory"
                ),
            )),
        };
        let stored = ranges
            .iter()
            .fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
        check(stored)?;
        let missing: Vec<Range<u64>> = ranges
            .iter()
            .filter(|range| self.data.get(range).is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Ok(Some(joined(missing)));
        }
        let (mut memory, mut density, mut total) = (0u64, 0u64, 0u64);
        let mut repeating = false;
        for (column, range) in group.columns().iter().zip(&ranges) {
            let fail = |reason: String| {
                let path = column.column_path().string();
                Trouble::at(
                    range.start,
                    format!("the column {path} of row group {number} is damaged: {reason}"),
                )
            };
            let chunk = self.data.get(range).unwrap_or_default();
            let values = u64::try_from(column.num_values()).unwrap_or(0);
            let pages = pages::walk(&chunk, values).map_err(fail)?;
            if column.column_descr().max_rep_level() > 0 && pages.most_values > MAX_NESTED_VALUES {
                return Err(fail(format!(
                    "a page has {} values and the most that are accepted are {MAX_NESTED_VALUES}",
                    pages.most_values
                )));
            }
            memory = memory
                .saturating_add(pages.dictionary)
                .saturating_add(pages.largest.saturating_mul(2));
            density = density.saturating_add(pages.densest);
            total = total.saturating_add(pages.total);
            // Each value takes its beginning from the one before: few bytes may stand for many.
            repeating |= column
                .encodings()
                .any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY);
        }
        let rows = match repeating {
            true => ROWS_AT_ONCE.start,
            false => (4 * block_bytes as u64 / density.max(1)).clamp(ROWS_AT_ONCE.start, ROWS_AT_ONCE.end),
        };
        memory = memory.saturating_add(total.min(density.saturating_mul(rows)));
        check(stored.saturating_add(memory))?;
        self.group_bytes = memory;
        let source = Segments {
            base: file.base,
            size: self.size - file.base,
            list: self.data.list.clone(),
        };
        let builder = || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(source, file.metadata.clone())
                .with_row_groups(vec![number])
                .with_batch_size(rows as usize)
                .build()
        };
        let reader = contained(builder)
            .map_err(|error| Trouble::at(start, format!("row group {number} cannot be read: {error}")))?;
        self.reading = Some(Reading {
            reader,
            batch: None,
            row: 0,
        });
        Ok(None)
    }

    fn read_rows(&mut self, block: &mut RecordBlock, block_bytes: usize) -> Result<(), Trouble> {
        let (Some(reading), Some(file)) = (&mut self.reading, self.files.last()) else {
            return Ok(());
        };
        let number = self.group;
        let place = || {
            let group = file.metadata.metadata().row_group(number);
            let starts = group.columns().iter().map(|column| column.byte_range().0);
            file.base + starts.min().unwrap_or(0)
        };
        let Some(batch) = &reading.batch else {
            match contained(|| reading.reader.next().transpose()).transpose() {
                Some(Ok(batch)) => {
                    reading.row = 0;
                    reading.batch = Some(batch);
                }
                Some(Err(error)) => {
                    return Err(Trouble::at(
                        place(),
                        format!("row group {number} of the Parquet file is damaged: {error}"),
                    ));
                }
                None => {
                    self.reading = None;
                    self.group += 1;
                    self.group_bytes = 0;
                    self.release();
                }
            }
            return Ok(());
        };
        match file
            .rows
            .append(batch, reading.row, block_bytes, block, &mut self.notes)
        {
            Ok(row) if row >= batch.num_rows() => reading.batch = None,
            Ok(row) => reading.row = row,
            Err((row, reason)) => {
                reading.row = row + 1;
                let byte_offset = place();
                self.rejected = Some(Rejected {
                    bytes: Vec::new(),
                    byte_offset,
                    line: None,
                });
                if reading.row >= batch.num_rows() {
                    reading.batch = None;
                }
                return Err(Trouble::at(byte_offset, reason));
            }
        }
        Ok(())
    }

    /// Lets go of bytes that are not needed again. A small object is there as a whole and stays.
    fn release(&mut self) {
        let size = self.size;
        self.data
            .list
            .retain(|(start, bytes)| *start == 0 && bytes.len() as u64 == size);
    }
}

fn decode_footer(footer: &Bytes) -> Result<ParquetMetaData, ParquetError> {
    // The library looks for the footer at the end of a file: this is one of nothing else.
    let mut end = footer.to_vec();
    let length = u32::try_from(footer.len()).unwrap_or(u32::MAX);
    end.extend_from_slice(&length.to_le_bytes());
    end.extend_from_slice(footer::MAGIC);
    let size = end.len() as u64;
    let mut decoder =
        ParquetMetaDataPushDecoder::try_new(size)?.with_page_index_policy(PageIndexPolicy::Skip);
    decoder.push_range(0..size, end.into())?;
    match decoder.try_decode()? {
        DecodeResult::Data(metadata) => Ok(metadata),
        _ => Err(ParquetError::EOF("the footer is not whole".into())),
    }
}

/// Runs a part of the library, which panics on some damaged files, and makes an error of that. What it was working
/// on is not used again.
fn contained<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, String>
where
    E: std::fmt::Display,
{
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it is damaged in a way that the library for Parquet cannot deal with".into()),
    }
}

/// Ranges that follow one another, as one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
pub(super) mod tests;
