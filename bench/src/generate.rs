//! Writes generated backups. The same data set is always the same bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use parquet::basic::Compression;
use record::RecordBlock;

use crate::binary;
use crate::dataset::{Dataset, Form, KEY_BYTES, Shape};

/// The timestamp of the first record of a partition: 14 November 2023.
const FIRST_TIMESTAMP: u64 = 1_700_000_000_000;

const WORDS: [&str; 24] = [
    "order",
    "paid",
    "berlin",
    "parcel",
    "refund",
    "helsinki",
    "invoice",
    "standard",
    "express",
    "pending",
    "customer",
    "warehouse",
    "lisbon",
    "cancelled",
    "voucher",
    "returned",
    "mobile",
    "desktop",
    "priority",
    "gift",
    "oslo",
    "partial",
    "review",
    "shipped",
];

/// Writes the backup below `data` unless it is there already, and gives its folder.
///
/// # Errors
///
/// Where files cannot be written.
pub fn ensure(dataset: &Dataset, data: &Path) -> Result<PathBuf> {
    let folder = dataset.folder(data);
    if folder.is_dir() {
        return Ok(folder);
    }
    // Under its final name only when it is whole.
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    let per_partition = dataset.records_per_partition();
    let per_object = dataset.records_per_object().min(per_partition);
    let objects = per_partition.div_ceil(per_object);
    let next = AtomicU64::new(0);
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= objects * dataset.partitions() as u64 {
                return Ok(());
            }
            let (partition, start) = ((number / objects) as i32, number % objects * per_object);
            write_object(
                dataset,
                &part,
                partition,
                start,
                per_object.min(per_partition - start),
            )?;
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a writer panicked"))?)
    })?;
    fs::rename(&part, &folder)?;
    Ok(folder)
}

fn write_object(dataset: &Dataset, folder: &Path, partition: i32, start: u64, count: u64) -> Result<()> {
    let path = folder.join(dataset.object_name(partition, start));
    let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    match dataset.form {
        Form::Avro => write_whole(
            file,
            &binary::avro_file(
                &[block(dataset, partition, start, count)?],
                "null",
                <[u8]>::to_vec,
            ),
        )?,
        Form::Parquet => write_whole(
            file,
            &binary::parquet_file(
                &[block(dataset, partition, start, count)?],
                Compression::UNCOMPRESSED,
            )?,
        )?,
        Form::Csv => write_records(dataset, partition, start, count, file)?.flush()?,
        Form::CsvGzip | Form::JsonlGzip => {
            let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            write_records(dataset, partition, start, count, gzip)?
                .finish()?
                .flush()?;
        }
        Form::CsvZstd => {
            let zstd = zstd::Encoder::new(file, 3)?;
            write_records(dataset, partition, start, count, zstd)?
                .finish()?
                .flush()?;
        }
    }
    Ok(())
}

fn write_whole(mut file: impl Write, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes)?;
    Ok(file.flush()?)
}

fn write_records<W: Write>(
    dataset: &Dataset,
    partition: i32,
    start: u64,
    count: u64,
    mut output: W,
) -> Result<W> {
    let mut text = Vec::new();
    each_record(
        dataset,
        partition,
        start,
        count,
        |key, value, offset, timestamp| {
            text.clear();
            if offset > start {
                // The sinks write it before a record: one at the end would say that a record is missing.
                text.push(b'\n');
            }
            match dataset.form {
                Form::JsonlGzip => write_json(key, value, offset, timestamp, &mut text)?,
                _ => write_csv(key, value, offset, timestamp, &mut text)?,
            }
            Ok(output.write_all(&text)?)
        },
    )?;
    Ok(output)
}

/// The records of an object as a block.
fn block(dataset: &Dataset, partition: i32, start: u64, count: u64) -> Result<RecordBlock> {
    let mut block = RecordBlock::new();
    each_record(
        dataset,
        partition,
        start,
        count,
        |key, value, offset, timestamp| {
            let mut record = block.append(i64::try_from(offset)?, i64::try_from(timestamp)?);
            record.key(key);
            record.value(value);
            record.finish();
            Ok(())
        },
    )?;
    Ok(block)
}

/// Makes records: key, value, offset and timestamp.
fn each_record(
    dataset: &Dataset,
    partition: i32,
    start: u64,
    count: u64,
    mut take: impl FnMut(&[u8], &[u8], u64, u64) -> Result<()>,
) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(u64::from(partition.unsigned_abs()) << 40 | start);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for offset in start..start + count {
        key.clear();
        write!(key, "{:0width$x}", random.u64(..1 << 40), width = KEY_BYTES)?;
        make_value(dataset, offset, &mut random, &mut value);
        let timestamp = FIRST_TIMESTAMP + offset * 3 + random.u64(..3);
        take(&key, &value, offset, timestamp)?;
    }
    Ok(())
}

/// `key,value,offset,timestamp,headers`, as Aiven's sinks write it.
fn write_csv(key: &[u8], value: &[u8], offset: u64, timestamp: u64, text: &mut Vec<u8>) -> Result<()> {
    base64_simd::STANDARD.encode_append(key, text);
    text.push(b',');
    base64_simd::STANDARD.encode_append(value, text);
    write!(text, ",{offset},{timestamp},")?;
    Ok(())
}

fn write_json(key: &[u8], value: &[u8], offset: u64, timestamp: u64, text: &mut Vec<u8>) -> Result<()> {
    text.extend_from_slice(b"{\"headers\":[],\"offset\":");
    write!(text, "{offset},\"value\":\"")?;
    base64_simd::STANDARD.encode_append(value, text);
    text.extend_from_slice(b"\",\"key\":\"");
    base64_simd::STANDARD.encode_append(key, text);
    // As Java's ISO_INSTANT: three digits of a second, or none.
    let format = match timestamp % 1000 {
        0 => "%Y-%m-%dT%H:%M:%SZ",
        _ => "%Y-%m-%dT%H:%M:%S.%3fZ",
    };
    let instant = jiff::Timestamp::from_millisecond(i64::try_from(timestamp)?)?;
    write!(text, "\",\"timestamp\":\"{}\"}}", instant.strftime(format))?;
    Ok(())
}

/// An order as a JSON document of exactly the data set's size, or random bytes.
fn make_value(dataset: &Dataset, offset: u64, random: &mut fastrand::Rng, value: &mut Vec<u8>) {
    let length = dataset.value_bytes();
    value.clear();
    if dataset.shape == Shape::Random {
        value.resize(length, 0);
        random.fill(value);
        return;
    }
    // Writing to a vector cannot fail.
    let _ = write!(
        value,
        "{{\"id\":\"{:016x}\",\"sequence\":{offset},\"customer\":{},\"amount\":{}.{:02},\"paid\":{},\"note\":\"",
        random.u64(..),
        random.u32(..1_000_000),
        random.u32(..10_000),
        random.u32(..100),
        random.bool()
    );
    while value.len() + 2 < length {
        value.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        value.push(b' ');
    }
    value.truncate(length - 2);
    value.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::read;

    #[test]
    fn every_form_holds_the_same_records_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for form in Form::value_variants().iter().copied() {
            let dataset = Dataset {
                shape: Shape::Small,
                form,
                scale: 0.0002,
            };
            let data = ensure(&dataset, folder.path()).unwrap();
            assert_eq!(ensure(&dataset, folder.path()).unwrap(), data);
            let mut blocks = Vec::new();
            let mut records = 0;
            for object in read::objects(&data).unwrap() {
                read::decode(&object, 1 << 20, |block| {
                    records += block.len() as u64;
                    blocks.push(std::mem::take(block));
                    Ok(())
                })
                .unwrap();
            }
            assert_eq!(records, dataset.records());
            let first = blocks[0].get(0);
            assert_eq!(first.value.unwrap().len(), 200);
            assert!(serde_json::from_slice::<serde_json::Value>(first.value.unwrap()).is_ok());
            all.push(blocks);
        }
        assert!(all.iter().all(|blocks| *blocks == all[0]));
    }
}
