//! Topics read back with Kafka's own Java client: another opinion than librdkafka's.
//!
//! The reader is one Java file beside this one, which `java` runs from its source with the jars of a broker (so a JDK is
//! needed, not only a runtime).

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::consumer::Isolation;
use crate::jars::KafkaVersion;
use crate::record::{TimestampType, TruthRecord};

/// What the Java client sees of one topic under one isolation level.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Log start and log end (or last stable offset) of each partition, in order of partition numbers.
    pub logs: Vec<(i64, i64)>,
    /// The records by partition, in offset order.
    pub records: Vec<TruthRecord>,
}

/// Reads topics whole with the client of `version`, under both isolation levels.
///
/// # Errors
///
/// Where `java` is missing or its program fails; the message holds what it printed.
pub fn read_topics(
    version: KafkaVersion,
    bootstrap: &str,
    topics: &[&str],
) -> Result<Vec<(String, Isolation, View)>> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let source = folder.path().join("ReadTopics.java");
    std::fs::write(&source, include_str!("ReadTopics.java"))?;
    let output = Command::new("java")
        .args(version.install()?.java_arguments())
        .arg(&source)
        .arg(bootstrap)
        .args(topics)
        .stdin(Stdio::null())
        .output()
        .context("cannot run java: install a Java 17 (Debian: apt-get install openjdk-17-jdk-headless)")?;
    let text = String::from_utf8(output.stdout).context("not UTF-8")?;
    if !output.status.success() {
        bail!(
            "the Java reader failed ({}):\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let mut views: BTreeMap<(String, bool), View> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (isolation, topic) = match fields[..] {
            ["log" | "record", isolation, topic, ..] => (isolation, topic),
            // What the client logs.
            _ => continue,
        };
        let view = views
            .entry((topic.to_owned(), isolation == "read_committed"))
            .or_default();
        put(view, topic, &fields).with_context(|| format!("not understood: {line}"))?;
    }
    let isolation = |is_committed| match is_committed {
        true => Isolation::ReadCommitted,
        false => Isolation::ReadUncommitted,
    };
    Ok(views
        .into_iter()
        .map(|((topic, is_committed), mut view)| {
            view.records
                .sort_by_key(|record| (record.partition, record.offset));
            (topic, isolation(is_committed), view)
        })
        .collect())
}

fn put(view: &mut View, topic: &str, fields: &[&str]) -> Result<()> {
    match fields {
        ["log", _, _, partition, start, end] => {
            let index: usize = partition.parse()?;
            if view.logs.len() <= index {
                view.logs.resize(index + 1, (0, 0));
            }
            view.logs[index] = (start.parse()?, end.parse()?);
        }
        [
            "record",
            _,
            _,
            partition,
            offset,
            timestamp,
            kind,
            key,
            value,
            headers @ ..,
        ] => {
            let headers = headers.chunks(2).map(|header| match header {
                [name, value] => Ok((
                    String::from_utf8(bytes(name)?.unwrap_or_default())?,
                    bytes(value)?,
                )),
                _ => bail!("a header without a value"),
            });
            view.records.push(TruthRecord {
                topic: topic.to_owned(),
                partition: partition.parse()?,
                offset: offset.parse()?,
                timestamp: timestamp.parse()?,
                timestamp_type: match *kind {
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => TimestampType::CreateTime,
                },
                key: bytes(key)?,
                value: bytes(value)?,
                headers: headers.collect::<Result<_>>()?,
            });
        }
        _ => bail!("a line of another shape"),
    }
    Ok(())
}

/// `-` is null, `=...` is base64.
fn bytes(text: &str) -> Result<Option<Vec<u8>>> {
    match text.strip_prefix('=') {
        Some(text) => Ok(Some(STANDARD.decode(text)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let mut view = View::default();
        put(&mut view, "t", &["log", "read_committed", "t", "1", "5", "9"]).expect("a log");
        let record = [
            "record",
            "read_committed",
            "t",
            "1",
            "7",
            "-1",
            "CreateTime",
            "-",
            "=",
            "=YQ==",
            "-",
        ];
        put(&mut view, "t", &record).expect("a record");
        assert_eq!(view.logs, [(0, 0), (5, 9)]);
        let found = &view.records[0];
        assert_eq!(
            (found.offset, &found.key, &found.value),
            (7, &None, &Some(Vec::new()))
        );
        assert_eq!(found.headers, [("a".to_owned(), None)]);
        assert!(put(&mut view, "t", &["record", "read_committed", "t"]).is_err());
    }
}
