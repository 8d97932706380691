//! Records of `__consumer_offsets` and of MirrorMaker's checkpoints, as their writers lay them out.
//!
//! Sources: `OffsetCommitKey.json`, `OffsetCommitValue.json` (versions 0 to 4), `GroupMetadataKey.json` and
//! `ConsumerGroupMetadataKey.json` in Kafka's group coordinator; `Checkpoint` in `connect/mirror-client`. All numbers are
//! big-endian; strings have a length of 2 bytes, or from value version 4 on a varint of the length plus one.

use std::collections::BTreeMap;

use crate::groups::{GroupOffset, GroupOffsets};

/// A record that is not laid out as its version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is not laid out as a {0}")]
pub struct LayoutError(&'static str);

/// Takes fields from the front.
struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    fn new(what: &'static str, rest: &'a [u8]) -> Self {
        Self { rest, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], LayoutError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(LayoutError(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        self.take(N)?.try_into().map_err(|_| LayoutError(self.what))
    }

    fn short(&mut self) -> Result<i16, LayoutError> {
        self.array().map(i16::from_be_bytes)
    }

    fn int(&mut self) -> Result<i32, LayoutError> {
        self.array().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Result<i64, LayoutError> {
        self.array().map(i64::from_be_bytes)
    }

    fn string(&mut self) -> Result<String, LayoutError> {
        let length = usize::try_from(self.short()?).map_err(|_| LayoutError(self.what))?;
        self.text(length)
    }

    fn compact_string(&mut self) -> Result<String, LayoutError> {
        let (mut length, mut shift) = (0_u64, 0);
        loop {
            let byte = self.array::<1>()?[0];
            length |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err(LayoutError(self.what));
            }
        }
        let length = length
            .checked_sub(1)
            .and_then(|length| usize::try_from(length).ok());
        self.text(length.ok_or(LayoutError(self.what))?)
    }

    fn text(&mut self, length: usize) -> Result<String, LayoutError> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| LayoutError(self.what))
    }
}

/// What a record of `__consumer_offsets` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// A group committed an offset; none: it was taken away.
    Offset(String, String, i32, Option<GroupOffset>),
    /// A group is of this kind; none: it is gone.
    Kind(String, Option<&'static str>),
    /// Members, epochs and other things that are of no use without the group's coordinator.
    Other,
}

fn entry(key: &[u8], value: Option<&[u8]>) -> Result<Entry, LayoutError> {
    let mut key = Fields::new("key of __consumer_offsets", key);
    match key.short()? {
        0 | 1 => {
            let (group, topic, partition) = (key.string()?, key.string()?, key.int()?);
            let offset = value
                .map(|value| committed(value, &topic, partition))
                .transpose()?;
            Ok(Entry::Offset(group, topic, partition, offset))
        }
        2 => Ok(Entry::Kind(key.string()?, value.map(|_| "classic"))),
        3 => Ok(Entry::Kind(key.string()?, value.map(|_| "consumer"))),
        _ => Ok(Entry::Other),
    }
}

fn committed(value: &[u8], topic: &str, partition: i32) -> Result<GroupOffset, LayoutError> {
    let mut value = Fields::new("value of __consumer_offsets", value);
    let version = value.short()?;
    if !(0..=4).contains(&version) {
        return Err(LayoutError(
            "value of __consumer_offsets in a version from 0 to 4",
        ));
    }
    let offset = value.long()?;
    let leader_epoch = if version >= 3 { value.int()? } else { -1 };
    let metadata = if version >= 4 {
        value.compact_string()?
    } else {
        value.string()?
    };
    value.long()?;
    Ok(GroupOffset {
        leader_epoch: (leader_epoch >= 0).then_some(leader_epoch),
        metadata,
        ..GroupOffset::new(topic, partition, offset)
    })
}

/// What all groups had committed, from the records of `__consumer_offsets` in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub struct OffsetsLog {
    offsets: BTreeMap<(String, String, i32), GroupOffset>,
    kinds: BTreeMap<String, &'static str>,
    /// Records that were taken into account.
    pub records: u64,
    /// Records that were not laid out as they should be.
    pub unreadable: u64,
}

impl OffsetsLog {
    /// Takes the next record of a partition into account. A null key says nothing.
    pub fn push(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(key) = key else { return };
        self.records += 1;
        match entry(key, value) {
            Ok(Entry::Offset(group, topic, partition, Some(offset))) => {
                self.offsets.insert((group, topic, partition), offset);
            }
            Ok(Entry::Offset(group, topic, partition, None)) => {
                self.offsets.remove(&(group, topic, partition));
            }
            Ok(Entry::Kind(group, Some(kind))) => {
                self.kinds.insert(group, kind);
            }
            Ok(Entry::Kind(group, None)) => {
                self.kinds.remove(&group);
            }
            Ok(Entry::Other) => {}
            Err(_) => self.unreadable += 1,
        }
    }

    /// Takes the next record of MirrorMaker's checkpoints into account: the offset of the group in the cluster that the
    /// topic lies in (the copy), not in the one it was copied from.
    pub fn push_checkpoint(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Some(key) = key else { return };
        self.records += 1;
        match checkpoint(key, value) {
            Ok((at, Some(offset))) => {
                self.offsets.insert(at, offset);
            }
            Ok((at, None)) => {
                self.offsets.remove(&at);
            }
            Err(_) => self.unreadable += 1,
        }
    }

    /// The groups, by id.
    pub fn groups(self) -> Vec<GroupOffsets> {
        let mut groups: BTreeMap<String, Vec<GroupOffset>> = BTreeMap::new();
        for ((group, ..), offset) in self.offsets {
            groups.entry(group).or_default().push(offset);
        }
        groups
            .into_iter()
            .map(|(id, offsets)| GroupOffsets {
                kind: self.kinds.get(&id).map(|kind| (*kind).to_owned()),
                state: None,
                id,
                offsets,
            })
            .collect()
    }
}

type At = (String, String, i32);

fn checkpoint(key: &[u8], value: Option<&[u8]>) -> Result<(At, Option<GroupOffset>), LayoutError> {
    let mut key = Fields::new("key of a checkpoint", key);
    let at = (key.string()?, key.string()?, key.int()?);
    let Some(value) = value else { return Ok((at, None)) };
    let mut value = Fields::new("value of a checkpoint", value);
    if value.short()? != 0 {
        return Err(LayoutError("value of a checkpoint in version 0"));
    }
    let _upstream = value.long()?;
    let offset = value.long()?;
    let metadata = value.string()?;
    let offset = GroupOffset {
        metadata,
        ..GroupOffset::new(at.1.as_str(), at.2, offset)
    };
    Ok((at, Some(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let length = i16::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    }

    fn key(version: i16, group: &str, topic: &str, partition: i32) -> Vec<u8> {
        [
            version.to_be_bytes().to_vec(),
            string(group),
            string(topic),
            partition.to_be_bytes().to_vec(),
        ]
        .concat()
    }

    fn value(version: i16, offset: i64, epoch: i32, metadata: &str) -> Vec<u8> {
        let mut bytes = [version.to_be_bytes().to_vec(), offset.to_be_bytes().to_vec()].concat();
        if version >= 3 {
            bytes.extend(epoch.to_be_bytes());
        }
        match version >= 4 {
            true => {
                bytes.push(u8::try_from(metadata.len() + 1).unwrap());
                bytes.extend(metadata.as_bytes());
            }
            false => bytes.extend(string(metadata)),
        }
        bytes.extend(1_600_000_000_000_i64.to_be_bytes());
        if version == 1 {
            bytes.extend((-1_i64).to_be_bytes());
        }
        if version >= 4 {
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn every_version_of_a_commit() {
        for version in 0..=4 {
            let mut log = OffsetsLog::default();
            log.push(
                Some(&key(1, "billing", "orders", 3)),
                Some(&value(version, 17, 5, "note")),
            );
            assert_eq!((log.records, log.unreadable), (1, 0), "{version}");
            let group = log.groups().remove(0);
            let expected = GroupOffset {
                leader_epoch: (version >= 3).then_some(5),
                metadata: "note".to_owned(),
                ..GroupOffset::new("orders", 3, 17)
            };
            assert_eq!(
                (group.id.as_str(), &group.offsets[..]),
                ("billing", &[expected][..]),
                "{version}"
            );
        }
    }

    #[test]
    fn the_last_one_counts_and_tombstones_take_away() {
        let mut log = OffsetsLog::default();
        let commit = |log: &mut OffsetsLog, partition: i32, offset: Option<i64>| {
            let value = offset.map(|offset| value(3, offset, -1, ""));
            log.push(Some(&key(0, "billing", "orders", partition)), value.as_deref());
        };
        commit(&mut log, 0, Some(5));
        commit(&mut log, 0, Some(9));
        commit(&mut log, 1, Some(7));
        commit(&mut log, 1, None);
        let group_key = |version: i16| [version.to_be_bytes().to_vec(), string("billing")].concat();
        log.push(Some(&group_key(3)), Some(b"x"));
        log.push(Some(&group_key(8)), Some(b"x"));
        log.push(None, Some(b"x"));
        log.push(Some(b"\x00\x01\x00\x09bill"), Some(b"x"));
        log.push(Some(&key(1, "g", "t", 0)), Some(b"\x00\x09"));
        assert_eq!((log.records, log.unreadable), (8, 2));
        let groups = log.groups();
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].offsets, [GroupOffset::new("orders", 0, 9)]);
        assert_eq!(groups[0].kind.as_deref(), Some("consumer"));
    }

    #[test]
    fn checkpoints() {
        let mut log = OffsetsLog::default();
        let key = &key(1, "billing", "a.orders", 2)[2..];
        let value = [
            0_i16.to_be_bytes().to_vec(),
            100_i64.to_be_bytes().to_vec(),
            90_i64.to_be_bytes().to_vec(),
            string(""),
        ]
        .concat();
        log.push_checkpoint(Some(key), Some(&value));
        assert_eq!(
            log.clone().groups()[0].offsets,
            [GroupOffset::new("a.orders", 2, 90)]
        );
        log.push_checkpoint(Some(key), None);
        assert_eq!(log.groups(), []);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(key: Vec<u8>, value: Option<Vec<u8>>) {
            let mut log = OffsetsLog::default();
            log.push(Some(&key), value.as_deref());
            log.push_checkpoint(Some(&key), value.as_deref());
        }
    }
}
