//! Which backups are generated: shapes of data, and forms in which a sink stores them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// The topic of every generated backup.
pub const TOPIC: &str = "bench";

/// Bytes of each key.
pub const KEY_BYTES: usize = 16;

/// How much data of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// 5 000 000 records with values of 200 bytes, in 6 partitions: 1 GB of payload.
    Small,
    /// 1 000 000 records with values of 1 KB, in 6 partitions.
    Kilo,
    /// 200 000 objects of about 2 KB.
    Tiny,
    /// One partition, many objects: 5 000 000 records of 200 bytes.
    Single,
    /// One partition, one object: 25 000 000 records of 200 bytes, 5 GB of payload.
    Huge,
    /// 1 000 partitions, 5 000 000 records of 200 bytes.
    Many,
    /// 1 000 000 records with values of 1 KB that no codec makes smaller.
    Random,
}

/// How the sink wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// csv with all five fields, gzip.
    CsvGzip,
    /// csv with all five fields.
    Csv,
    /// csv with all five fields, zstd.
    CsvZstd,
    /// JSON lines with base64 keys and values, gzip.
    JsonlGzip,
    /// Avro files, bytes, uncompressed.
    Avro,
    /// Parquet files, binary columns, uncompressed.
    Parquet,
}

/// One generated backup.
#[derive(Clone, Copy, Debug)]
pub struct Dataset {
    /// What is in it.
    pub shape: Shape,
    /// How it is stored.
    pub form: Form,
    /// The part of the shape's records that is really generated, 1.0 for all.
    pub scale: f64,
}

impl Dataset {
    /// The number of partitions.
    pub fn partitions(&self) -> i32 {
        match self.shape {
            Shape::Small | Shape::Kilo | Shape::Tiny | Shape::Random => 6,
            Shape::Single | Shape::Huge => 1,
            Shape::Many => 1000,
        }
    }

    /// Records in each partition.
    pub fn records_per_partition(&self) -> u64 {
        let records = match self.shape {
            Shape::Small | Shape::Single | Shape::Many => 5_000_000.0,
            Shape::Kilo | Shape::Random => 1_000_000.0,
            Shape::Tiny => 1_600_000.0,
            Shape::Huge => 25_000_000.0,
        };
        ((records * self.scale) as u64 / self.partitions() as u64).max(1)
    }

    /// All records.
    pub fn records(&self) -> u64 {
        self.records_per_partition() * self.partitions() as u64
    }

    /// Records in each object but the last one of a partition.
    pub fn records_per_object(&self) -> u64 {
        match self.shape {
            Shape::Small | Shape::Single | Shape::Many => 100_000,
            Shape::Kilo | Shape::Random => 20_000,
            Shape::Tiny => 8,
            Shape::Huge => u64::MAX,
        }
    }

    /// Bytes of each value.
    pub fn value_bytes(&self) -> usize {
        match self.shape {
            Shape::Kilo | Shape::Random => 1000,
            _ => 200,
        }
    }

    /// Bytes of all keys and values.
    pub fn payload_bytes(&self) -> u64 {
        self.records() * (self.value_bytes() + KEY_BYTES) as u64
    }

    /// Where it lies below the folder of all generated backups.
    pub fn folder(&self, data: &Path) -> PathBuf {
        data.join(format!("{}-{}", self.name(), self.records()))
    }

    /// Its name in tables.
    pub fn name(&self) -> String {
        let part = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        format!(
            "{}-{}",
            part(self.shape.to_possible_value()),
            part(self.form.to_possible_value())
        )
    }

    /// The key of the object that begins with the record `start` of a partition.
    pub fn object_name(&self, partition: i32, start: u64) -> String {
        let suffix = match self.form {
            Form::CsvGzip | Form::JsonlGzip => ".gz",
            Form::CsvZstd => ".zst",
            Form::Csv | Form::Avro | Form::Parquet => "",
        };
        format!("{TOPIC}-{partition}-{start}{suffix}")
    }
}
