//! Reads generated backups without the program's pipeline: one object after the other, on one thread.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use backup::format::{
    Decoding, Field, Interpretation, ObjectDecoder, ObjectHints, ParquetDecoder, ParquetStep, Status,
};
use bytes::Bytes;
use record::RecordBlock;

use crate::floor::BLOCK_BYTES;

/// Stored bytes read at once.
pub const READ_BYTES: usize = 1 << 20;

/// How a Parquet file begins.
const PARQUET: &[u8; 4] = b"PAR1";

/// The most memory that a row group of a Parquet file may take.
const PARQUET_MEMORY: usize = 256 << 20;

/// A generated object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its partition.
    pub partition: i32,
    /// The offset of its first record.
    pub start: i64,
    /// Its file.
    pub path: PathBuf,
}

/// All objects of a generated backup, by partition and start offset.
///
/// # Errors
///
/// Where the folder cannot be read or holds something else.
pub fn objects(folder: &Path) -> Result<Vec<Object>> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let mut parts = name.split('.').next().unwrap_or_default().rsplitn(3, '-');
        let (start, partition) = (parts.next(), parts.next());
        let (Some(start), Some(partition)) = (start, partition) else {
            bail!("{} is no generated object", path.display());
        };
        objects.push(Object {
            partition: partition.parse()?,
            start: start.parse()?,
            path,
        });
    }
    objects.sort_by_key(|object| (object.partition, object.start));
    Ok(objects)
}

/// How generated objects are to be decoded.
pub fn decoding() -> Decoding {
    Decoding {
        fields: Some(vec![
            Field::Key,
            Field::Value,
            Field::Offset,
            Field::Timestamp,
            Field::Headers,
        ]),
        key_as: Some(Interpretation::Bytes),
        value_as: Some(Interpretation::Bytes),
        ..Decoding::default()
    }
}

/// What is known of an object that is in memory only.
pub fn hints() -> ObjectHints {
    ObjectHints {
        key: "bench-0-0".to_owned(),
        start_offset: Some(0),
        next_start_offset: None,
    }
}

/// Decodes an object that is in memory; gives each full block to `use_block`, which may take it or leave it to be filled
/// again.
///
/// # Panics
///
/// Where the object cannot be decoded: it is a generated one.
pub fn decode_stored(decoding: &Arc<Decoding>, stored: &Bytes, mut use_block: impl FnMut(&mut RecordBlock)) {
    let mut decoder = ObjectDecoder::new(Arc::clone(decoding), hints());
    for start in (0..stored.len()).step_by(READ_BYTES) {
        decoder.push(stored.slice(start..stored.len().min(start + READ_BYTES)));
    }
    decoder.end_of_input();
    let mut block = RecordBlock::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8, BLOCK_BYTES / 256);
    loop {
        let status = decoder.decode(&mut block, BLOCK_BYTES).expect("records");
        use_block(&mut block);
        block.clear();
        if status == Status::Finished {
            return;
        }
    }
}

/// The same for a Parquet file.
///
/// # Panics
///
/// As [`decode_stored`].
pub fn decode_stored_parquet(
    decoding: &Decoding,
    stored: &Bytes,
    mut use_block: impl FnMut(&mut RecordBlock),
) {
    let mut decoder = ParquetDecoder::new(decoding, hints(), stored.len() as u64, PARQUET_MEMORY);
    let mut block = RecordBlock::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8, BLOCK_BYTES / 256);
    loop {
        let step = decoder.decode(&mut block, BLOCK_BYTES).expect("records");
        use_block(&mut block);
        block.clear();
        match step {
            ParquetStep::Need(ranges) => {
                for range in ranges {
                    let bytes = stored.slice(range.start as usize..range.end as usize);
                    decoder.push(range.start, bytes);
                }
            }
            ParquetStep::BlockReady => {}
            ParquetStep::Finished => return,
        }
    }
}

/// Decodes an object, giving each full block (about `block_bytes`) to `use_block`, which may take it or leave it to be
/// filled again.
///
/// # Errors
///
/// Where the object cannot be read or decoded, and what `use_block` says.
pub fn decode(
    object: &Object,
    block_bytes: usize,
    mut use_block: impl FnMut(&mut RecordBlock) -> Result<()>,
) -> Result<()> {
    let mut file = File::open(&object.path)?;
    let hints = ObjectHints {
        key: object.path.display().to_string(),
        start_offset: Some(object.start),
        next_start_offset: None,
    };
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0)?;
    let decoding = match &magic {
        // What is in these is said by their schemas.
        b"Obj\x01" | PARQUET => Decoding::default(),
        _ => decoding(),
    };
    let mut block = RecordBlock::with_capacity(block_bytes + block_bytes / 8, block_bytes / 256);
    if magic == *PARQUET {
        let size = file.metadata()?.len();
        let decoder = ParquetDecoder::new(&decoding, hints, size, PARQUET_MEMORY);
        return decode_parquet(decoder, &file, block, block_bytes, use_block);
    }
    let mut decoder = ObjectDecoder::new(Arc::new(decoding), hints);
    loop {
        match decoder.decode(&mut block, block_bytes)? {
            Status::NeedInput => {
                let mut chunk = Vec::with_capacity(READ_BYTES);
                file.by_ref().take(READ_BYTES as u64).read_to_end(&mut chunk)?;
                match chunk.is_empty() {
                    true => decoder.end_of_input(),
                    false => decoder.push(Bytes::from(chunk)),
                }
            }
            Status::BlockReady => {
                use_block(&mut block)?;
                block.clear();
            }
            Status::Finished => return last(&mut block, use_block),
            Status::Seekable => bail!("Parquet is not read this way"),
        }
    }
}

/// The same for a Parquet file, which is read by seeking.
fn decode_parquet(
    mut decoder: ParquetDecoder,
    file: &File,
    mut block: RecordBlock,
    block_bytes: usize,
    mut use_block: impl FnMut(&mut RecordBlock) -> Result<()>,
) -> Result<()> {
    loop {
        match decoder.decode(&mut block, block_bytes)? {
            ParquetStep::Need(ranges) => {
                for range in ranges {
                    let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
                    file.read_exact_at(&mut bytes, range.start)?;
                    decoder.push(range.start, bytes.into());
                }
            }
            ParquetStep::BlockReady => {
                use_block(&mut block)?;
                block.clear();
            }
            ParquetStep::Finished => return last(&mut block, use_block),
        }
    }
}

fn last(block: &mut RecordBlock, mut use_block: impl FnMut(&mut RecordBlock) -> Result<()>) -> Result<()> {
    match block.is_empty() {
        true => Ok(()),
        false => use_block(block),
    }
}
