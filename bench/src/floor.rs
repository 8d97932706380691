//! What cannot be avoided: each stage alone, on one thread, without network.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;
use flate2::{Decompress, FlushDecompress};
use kafka::batch::{Append, BatchEncoder, BufferPool, Compression, EncodedBatch};
use record::RecordBlock;
use serde::{Deserialize, Serialize};
use testkit::cpu;

use crate::read::{self, READ_BYTES};

/// Bytes of batches that the encoders aim at, as the program does.
pub const BATCH_BYTES: usize = 1_000_000;

/// Blocks that decoders fill, about as large as the program's.
pub const BLOCK_BYTES: usize = 700_000;

/// A stage of the way from an object to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Reading the files and nothing else.
    Read,
    /// Inflating gzip with zlib-rs.
    Gunzip,
    /// Unwrapping and parsing into blocks.
    Decode,
    /// Encoding blocks that are there already.
    Encode,
    /// Unwrapping, parsing and encoding, batches thrown away.
    Pipeline,
}

/// What a part of a process took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Records that went through.
    pub records: u64,
    /// Bytes of their keys and values.
    pub payload_bytes: u64,
    /// Seconds of CPU of the whole process meanwhile.
    pub cpu: f64,
    /// Seconds on the clock.
    pub wall: f64,
}

/// Starts to measure a part of this process.
pub struct Watch {
    cpu: f64,
    started: Instant,
}

impl Watch {
    /// Starts now.
    ///
    /// # Errors
    ///
    /// Where `/proc` is not there.
    pub fn start() -> Result<Self> {
        Ok(Self {
            cpu: cpu::own()?,
            started: Instant::now(),
        })
    }

    /// What happened since.
    ///
    /// # Errors
    ///
    /// Where `/proc` is not there.
    pub fn stop(self, records: u64, payload_bytes: u64) -> Result<Part> {
        Ok(Part {
            records,
            payload_bytes,
            cpu: cpu::own()? - self.cpu,
            wall: self.started.elapsed().as_secs_f64(),
        })
    }
}

/// Runs one stage over a generated backup; the pipeline `times` times.
///
/// # Errors
///
/// Where the backup cannot be read.
pub fn run(stage: Stage, folder: &Path, codec: Compression, times: usize) -> Result<Part> {
    match stage {
        Stage::Read => read_files(folder),
        Stage::Gunzip => gunzip(folder),
        Stage::Decode => decode(folder),
        Stage::Encode => encode(folder, codec),
        Stage::Pipeline => pipeline(folder, codec, times),
    }
}

fn read_files(folder: &Path) -> Result<Part> {
    let watch = Watch::start()?;
    let mut chunk = vec![0; READ_BYTES];
    for object in read::objects(folder)? {
        let mut file = File::open(&object.path)?;
        while file.read(&mut chunk)? > 0 {}
    }
    watch.stop(0, 0)
}

fn gunzip(folder: &Path) -> Result<Part> {
    let watch = Watch::start()?;
    let mut chunk = vec![0; READ_BYTES];
    let mut output = Vec::with_capacity(128 << 10);
    for object in read::objects(folder)? {
        let mut file = File::open(&object.path)?;
        let mut inflate = Decompress::new(false);
        let mut crc = flate2::Crc::new();
        // The generator writes the shortest header there is.
        let mut header = 10;
        loop {
            let length = file.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            let mut input = &chunk[std::mem::take(&mut header)..length];
            loop {
                let before = inflate.total_in();
                output.clear();
                let status = inflate.decompress_vec(input, &mut output, FlushDecompress::None)?;
                crc.update(&output);
                input = &input[(inflate.total_in() - before) as usize..];
                if status == flate2::Status::StreamEnd || input.is_empty() && output.len() < output.capacity()
                {
                    break;
                }
            }
        }
        if crc.amount() == 0 {
            bail!("{} is empty", object.path.display());
        }
    }
    watch.stop(0, 0)
}

fn decode(folder: &Path) -> Result<Part> {
    let watch = Watch::start()?;
    let (mut records, mut bytes) = (0, 0);
    for object in read::objects(folder)? {
        read::decode(&object, BLOCK_BYTES, |block| {
            records += block.len() as u64;
            bytes += block.payload_bytes() as u64;
            Ok(())
        })?;
    }
    watch.stop(records, bytes)
}

/// Takes about 64 MB of blocks and encodes them until as many records have gone through as the backup has.
fn encode(folder: &Path, codec: Compression) -> Result<Part> {
    let mut blocks: Vec<RecordBlock> = Vec::new();
    let mut total = 0;
    for object in read::objects(folder)? {
        read::decode(&object, BLOCK_BYTES, |block| {
            total += block.len() as u64;
            if blocks.len() < 96 {
                blocks.push(std::mem::take(block));
            }
            Ok(())
        })?;
    }
    let mut encoder = Encoder::new(codec)?;
    let watch = Watch::start()?;
    let (mut records, mut bytes) = (0, 0);
    for block in blocks.iter().cycle() {
        if records >= total {
            break;
        }
        encoder.encode(block, drop)?;
        records += block.len() as u64;
        bytes += block.payload_bytes() as u64;
    }
    encoder.finish(drop)?;
    watch.stop(records, bytes)
}

fn pipeline(folder: &Path, codec: Compression, times: usize) -> Result<Part> {
    let mut encoder = Encoder::new(codec)?;
    let watch = Watch::start()?;
    let (mut records, mut bytes) = (0, 0);
    let objects = read::objects(folder)?;
    for object in objects.iter().cycle().take(objects.len() * times) {
        read::decode(object, BLOCK_BYTES, |block| {
            records += block.len() as u64;
            bytes += block.payload_bytes() as u64;
            encoder.encode(block, drop)
        })?;
    }
    encoder.finish(drop)?;
    watch.stop(records, bytes)
}

/// Batches of [`BATCH_BYTES`] out of blocks.
pub struct Encoder(BatchEncoder);

impl Encoder {
    /// An encoder with its own pool of buffers.
    ///
    /// # Errors
    ///
    /// Where the codec cannot be set up.
    pub fn new(codec: Compression) -> Result<Self> {
        Ok(Self(BatchEncoder::new(
            codec,
            None,
            BATCH_BYTES,
            &BufferPool::new(),
        )?))
    }

    /// Encodes all records of a block; full batches go to `take`.
    ///
    /// # Errors
    ///
    /// Where a record is larger than a batch.
    pub fn encode(&mut self, block: &RecordBlock, mut take: impl FnMut(EncodedBatch)) -> Result<()> {
        for record in block.iter() {
            if self.0.append(record)? == Append::Full {
                self.0.finish()?.into_iter().for_each(&mut take);
                let _ = self.0.append(record)?;
            }
        }
        Ok(())
    }

    /// Gives the last batch to `take`.
    ///
    /// # Errors
    ///
    /// Where the codec fails.
    pub fn finish(&mut self, take: impl FnMut(EncodedBatch)) -> Result<()> {
        self.0.finish()?.into_iter().for_each(take);
        Ok(())
    }
}
