//! A backup for the soak: one partition of csv, with the records as they stood in Kafka.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::record::{TimestampType, TruthRecord};

/// Records of each object.
const PER_OBJECT: usize = 20_000;
/// 2015-03-04, in milliseconds: old enough that brokers forget who produced it.
const OLD: i64 = 1_425_427_200_000;

/// See the module's documentation; its folder goes when this is dropped.
pub(super) struct Backup {
    folder: tempfile::TempDir,
    pub(super) topic: String,
    pub(super) records: Vec<TruthRecord>,
}

impl Backup {
    /// With a record at each of `offsets`, about 130 bytes each, all with different keys.
    pub(super) fn new(topic: &str, offsets: impl IntoIterator<Item = i64>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let records: Vec<TruthRecord> = offsets.into_iter().map(|offset| record(topic, offset)).collect();
        for part in records.chunks(PER_OBJECT) {
            let mut text = String::new();
            for record in part {
                let [key, value] = [&record.key, &record.value]
                    .map(|bytes| STANDARD.encode(bytes.as_deref().unwrap_or_default()));
                let _ = writeln!(text, "{key},{value},{},{}", record.offset, record.timestamp);
            }
            std::fs::write(folder.path().join(format!("{topic}-0-{}", part[0].offset)), text)?;
        }
        Ok(Self {
            folder,
            topic: topic.to_owned(),
            records,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The offset behind the last record.
    pub(super) fn end(&self) -> i64 {
        self.records.last().map_or(0, |record| record.offset + 1)
    }
}

fn record(topic: &str, offset: i64) -> TruthRecord {
    let mut value = format!("{{\"offset\":{offset},\"noise\":\"");
    let mut state = (offset as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while value.len() < 110 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(value, "{:x}", state >> 32);
    }
    value.push_str("\"}");
    TruthRecord {
        topic: topic.to_owned(),
        partition: 0,
        offset,
        timestamp: OLD + offset,
        timestamp_type: TimestampType::CreateTime,
        key: Some(format!("key {offset}").into_bytes()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}
