//! Committed offsets from wherever they are left.
//!
//! [`read_file`] knows by the content what it has: a snapshot, a file of `groups export`, or what Kafka's own tool
//! printed ([`describe`], [`export`]). [`log`] decodes a backup of `__consumer_offsets` or of MirrorMaker's checkpoints,
//! [`lenses`] the offset objects of Lenses.

pub mod describe;
pub mod export;
pub mod lenses;
pub mod log;

use crate::snapshot::{Snapshot, SnapshotError};

use super::{GROUPS_KIND, GROUPS_VERSION, GroupOffset, GroupOffsets, GroupsFile};

/// Why a file with committed offsets cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It claims to be a snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A newer program wrote it.
    #[error("{place} has schema version {found}, and this program knows version {GROUPS_VERSION}")]
    Version {
        /// The file.
        place: String,
        /// The version found.
        found: u64,
    },
    /// A line is not what the ones before it promise.
    #[error("{place}, line {line}: {message}")]
    Line {
        /// The file.
        place: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// It is none of the known forms.
    #[error(
        "{place} holds no committed offsets in a form that is known: a snapshot, a file of `groups export`, or what \
         kafka-consumer-groups printed with --describe or --export ({message})"
    )]
    Unknown {
        /// The file.
        place: String,
        /// What was looked for.
        message: String,
    },
}

/// Reads committed offsets, whatever the form. `group` names the group where the form does not; `place` is for errors.
pub fn read_file(place: &str, bytes: &[u8], group: Option<&str>) -> Result<Vec<GroupOffsets>, SourceError> {
    let unknown = |message: &str| SourceError::Unknown {
        place: place.to_owned(),
        message: message.to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| unknown("it is no text"))?;
    let text = text.trim_start_matches('\u{feff}');
    let trimmed = text.trim_start();
    if trimmed.starts_with('{') {
        return read_json(place, text);
    }
    match text.lines().find(|line| !line.trim().is_empty()) {
        None => Err(unknown("it is empty")),
        Some(first) if export::is_row(first) => export::read(place, text, group),
        Some(_) => describe::read(place, text, group),
    }
}

fn read_json(place: &str, text: &str) -> Result<Vec<GroupOffsets>, SourceError> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        SourceError::Snapshot(SnapshotError::Syntax {
            place: place.to_owned(),
            message: error.to_string(),
        })
    })?;
    if value.get("kind").and_then(serde_json::Value::as_str) != Some(GROUPS_KIND) {
        return Ok(Snapshot::from_bytes(place, text.as_bytes())?.groups);
    }
    Ok(read_groups(place, value)?.groups)
}

/// Reads a file of `groups export`, or an undo file.
pub fn read_groups_file(place: &str, bytes: &[u8]) -> Result<GroupsFile, SourceError> {
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| {
        SourceError::Snapshot(SnapshotError::Syntax {
            place: place.to_owned(),
            message: error.to_string(),
        })
    })?;
    match value.get("kind").and_then(serde_json::Value::as_str) {
        Some(GROUPS_KIND) => read_groups(place, value),
        _ => Err(SourceError::Unknown {
            place: place.to_owned(),
            message: format!("its \"kind\" is not {GROUPS_KIND:?}"),
        }),
    }
}

fn read_groups(place: &str, value: serde_json::Value) -> Result<GroupsFile, SourceError> {
    let unknown = |message: String| SourceError::Unknown {
        place: place.to_owned(),
        message,
    };
    match value.get("version").and_then(serde_json::Value::as_u64) {
        None => return Err(unknown("it has no version".to_owned())),
        Some(version) if version != u64::from(GROUPS_VERSION) => {
            return Err(SourceError::Version {
                place: place.to_owned(),
                found: version,
            });
        }
        Some(_) => {}
    }
    serde_json::from_value(value).map_err(|error| unknown(error.to_string()))
}

/// Rows by group, each group's offsets in order. A partition that stands there twice keeps the last.
pub(super) fn collect(
    rows: impl IntoIterator<Item = (String, Option<&'static str>, GroupOffset)>,
) -> Vec<GroupOffsets> {
    let mut groups: std::collections::BTreeMap<String, GroupOffsets> = std::collections::BTreeMap::new();
    for (id, kind, offset) in rows {
        let group = groups.entry(id.clone()).or_insert_with(|| GroupOffsets {
            id,
            kind: kind.map(str::to_owned),
            state: None,
            offsets: Vec::new(),
        });
        let same =
            |other: &&mut GroupOffset| other.topic == offset.topic && other.partition == offset.partition;
        match group.offsets.iter_mut().find(same) {
            Some(there) => *there = offset,
            None => group.offsets.push(offset),
        }
    }
    let mut groups: Vec<GroupOffsets> = groups.into_values().collect();
    for group in &mut groups {
        group.offsets.sort();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known_by_its_content() {
        let snapshot = crate::snapshot::tests::small();
        let read = |text: &str| read_file("x", text.as_bytes(), Some("billing"));
        let offsets = [GroupOffset::new("orders", 0, 18)];
        for text in [
            String::from_utf8(snapshot.to_bytes()).unwrap(),
            serde_json::to_string(&GroupsFile::new(snapshot.groups.clone())).unwrap(),
            "orders,0,18\n".to_owned(),
            "\u{feff}\"billing\",\"orders\",0,18\n".to_owned(),
            "TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET\norders 0 18 20\n".to_owned(),
        ] {
            let groups = read(&text).unwrap();
            assert_eq!(groups.len(), 1, "{text}");
            assert_eq!(
                (groups[0].id.as_str(), &groups[0].offsets[..]),
                ("billing", &offsets[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_none_of_them_is_an_error() {
        for (text, words) in [
            (&b""[..], "it is empty"),
            (b"\xff\xfe\x00", "no text"),
            (b"hello\nworld\n", "no line with the columns"),
            (
                b"{\"kind\":\"kafka-restore groups\",\"version\":2}",
                "schema version 2",
            ),
            (
                b"{\"kind\":\"kafka-restore groups\",\"version\":1}",
                "missing field",
            ),
            (
                b"{\"kind\":\"kafka-restore snapshot\",\"version\":1,",
                "cut short",
            ),
            (b"{}", "no snapshot"),
        ] {
            let error = read_file("x", text, None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
