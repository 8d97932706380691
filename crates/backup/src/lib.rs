//! What lies in a bucket, as records in offset order. Knows nothing of Kafka's brokers.
//!
//! - [`storage`]: the raw-key store over GCS, S3, Azure, a local folder or memory.
//! - [`layout`]: object key <-> topic, partition, start offset; the connector's own configuration.
//! - [`container`]: magic bytes -> gzip, xerial snappy, zstd or plain, streaming.
//! - [`mod@format`]: csv, json, jsonl, avro, parquet -> [`record::RecordBlock`].
//! - [`inventory`]: listing + layout -> topics, partitions and objects in numeric order.
//! - [`stream`]: one partition's records, ordered, de-duplicated, bounded in memory.

pub mod container;
pub mod format;
pub mod inventory;
pub mod layout;
pub mod storage;
pub mod stream;
