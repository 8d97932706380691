//! What the brokers speak. Knows nothing of backups.
//!
//! - [`config`]: the Java clients' property names -> [`config::ClientConfig`].
//! - [`connection`], `tls`, `auth`, [`cluster`]: TCP and TLS, SASL, ApiVersions, metadata and routing.
//! - [`admin`]: topics, configs, offsets of logs.
//! - [`batch`]: RecordBatch v2, encode and decode, codecs, CRC-32C. Records never pass through
//!   `kafka-protocol`'s record types, which keep headers in a map and lose duplicates and order.
//! - [`producer`]: batches in order, with the expected base offset of each known before it is sent.
//! - [`groups`]: groups, their members and committed offsets.
//! - [`partitioner`]: where producers put a key.
//! - [`fetch`]: records of a partition, in order. [`scan`]: what one replica holds.

pub mod admin;
mod auth;
pub mod batch;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod error;
pub mod fetch;
pub mod groups;
pub mod partitioner;
pub mod producer;
pub mod scan;
mod tls;
