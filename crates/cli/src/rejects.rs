//! The file that keeps what `--on-bad-record skip` left out: one JSON object per line, with place and bytes.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use backup::stream::{RejectSink, RejectedRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

/// Writes rejected bytes to a file, which is made when the first ones come.
#[derive(Debug)]
pub(crate) struct RejectFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl RejectFile {
    /// Beside the report where there is one, else in the current folder under a name with the time `now`.
    pub(crate) fn new(report: Option<&Path>, now: Timestamp) -> Self {
        let path = match report {
            Some(report) => report.with_extension("rejected.jsonl"),
            None => PathBuf::from(format!(
                "kafka-restore-{}.rejected.jsonl",
                now.strftime("%Y%m%dT%H%M%SZ")
            )),
        };
        Self {
            path,
            file: Mutex::new(None),
        }
    }

    /// Where the file is, if anything was rejected.
    pub(crate) fn written(&self) -> Option<&Path> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.is_some().then_some(self.path.as_path())
    }
}

impl RejectSink for RejectFile {
    fn reject(&self, rejected: RejectedRecord<'_>) -> io::Result<()> {
        let mut line = json!({
            "topic": &*rejected.partition.topic,
            "partition": rejected.partition.partition,
            "object": rejected.object,
            "byte_offset": rejected.byte_offset,
            "line": rejected.line,
            "after_offset": rejected.after_offset,
            "reason": rejected.reason,
            "bytes_base64": rejected.rejected.map(|rejected| STANDARD.encode(&rejected.bytes)),
        })
        .to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(File::options().append(true).create(true).open(&self.path)?),
        };
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backup::format::Rejected;
    use record::TopicPartition;

    #[test]
    fn place_and_bytes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let sink = RejectFile::new(Some(&folder.path().join("report.json")), Timestamp::UNIX_EPOCH);
        assert_eq!(sink.written(), None);
        let partition = TopicPartition::new("orders", 1);
        let rejected = Rejected {
            bytes: b"\xff,x\n".to_vec(),
            byte_offset: 120,
            line: Some(4),
        };
        let record = RejectedRecord {
            partition: &partition,
            object: "orders-1-0.gz",
            rejected: Some(&rejected),
            byte_offset: 120,
            line: Some(4),
            reason: "bad base64",
            after_offset: Some(2),
        };
        sink.reject(record).unwrap();
        sink.reject(RejectedRecord {
            rejected: None,
            ..record
        })
        .unwrap();
        let path = folder.path().join("report.rejected.jsonl");
        assert_eq!(sink.written(), Some(path.as_path()));
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["bytes_base64"], "/yx4Cg==");
        assert_eq!(lines[0]["byte_offset"], 120);
        assert!(lines[1]["bytes_base64"].is_null());
    }
}
