//! Speed and memory.

use bytesize::ByteSize;
use clap::Args;
use kafka::batch::Compression;

use super::choice::{Choice, choice};
use super::heading;
use crate::value::shard::{self, ShardArgument};
use crate::value::size;

/// How much of the machine a run may use.
#[derive(Args, Clone, Debug)]
pub(crate) struct LimitArguments {
    /// Memory for everything in flight, whatever the size of objects and topics.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size::parse, help_heading = heading::LIMITS)]
    pub(crate) memory: ByteSize,

    /// The most payload bytes per second, over the whole run. [default: no limit]
    #[arg(long, value_name = "BYTES/s", value_parser = size::parse_rate, help_heading = heading::LIMITS)]
    pub(crate) rate_limit: Option<ByteSize>,

    /// Threads that unwrap, decode and encode. [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = heading::LIMITS)]
    pub(crate) jobs: Option<u16>,

    /// Take only the I-th of N shares of the partitions, I from 0. [default: all]
    ///
    /// Several processes with the same N and each I once restore a backup together. With N alone, I is read from
    /// JOB_COMPLETION_INDEX, as Kubernetes sets it for the pods of an indexed Job.
    #[arg(long, value_name = "I/N", value_parser = shard::parse, help_heading = heading::LIMITS)]
    pub(crate) shard: Option<ShardArgument>,

    /// What Kubernetes says; only looked at where --shard has no I.
    #[arg(long, env = "JOB_COMPLETION_INDEX", hide = true)]
    pub(crate) job_completion_index: Option<String>,
}

/// How batches are compressed.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompressionArguments {
    /// The codec of the batches that are sent. [default: what the topic's compression.type says]
    #[arg(long, value_name = "CODEC", value_parser = choice(CODECS), hide_possible_values = true,
          help_heading = heading::LIMITS)]
    pub(crate) compression: Option<Compression>,
}

const CODECS: &[Choice<Compression>] = &[
    ("none", "no compression", Compression::None),
    ("gzip", "gzip", Compression::Gzip),
    ("snappy", "snappy", Compression::Snappy),
    ("lz4", "lz4", Compression::Lz4),
    ("zstd", "zstd", Compression::Zstd),
];
