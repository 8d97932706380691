//! Produce and WriteTxnMarkers requests for many partitions at once.
//!
//! Produce bodies are laid out by hand, so that the records of a batch are never copied. The layout:
//! <https://kafka.apache.org/protocol#The_Messages_Produce>, versions 3 to 12; from 9 on lengths are varints plus one
//! and structures end with tagged fields (KIP-482). Version 13 has topic ids and is not used.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use record::TopicPartition;

use super::ProducerIdentity;
use crate::batch::EncodedBatch;

/// The versions written here.
pub(super) const PRODUCE_VERSIONS: (i16, i16) = (3, 12);
/// The version that all brokers from 2.8 on have; the first flexible one.
pub(super) const MARKERS_VERSION: i16 = 1;

const ACKS_ALL: i16 = -1;

/// The body of a Produce request. No partition may be in `batches` twice: brokers drop one of them silently.
pub(super) fn produce_body(
    version: i16,
    timeout_ms: i32,
    batches: &[(TopicPartition, EncodedBatch)],
) -> Vec<Bytes> {
    let flexible = version >= 9;
    let mut topics: BTreeMap<&str, Vec<(i32, &EncodedBatch)>> = BTreeMap::new();
    for (partition, batch) in batches {
        topics
            .entry(&partition.topic)
            .or_default()
            .push((partition.partition, batch));
    }
    let mut pieces = Vec::with_capacity(2 * batches.len() + 1);
    let mut head = BytesMut::with_capacity(64 + batches.len() * 100);
    // No transactional id: null.
    if flexible {
        head.put_u8(0);
    } else {
        head.put_i16(-1);
    }
    head.put_i16(ACKS_ALL);
    head.put_i32(timeout_ms);
    put_length(&mut head, topics.len(), flexible);
    for (name, partitions) in topics {
        if flexible {
            put_length(&mut head, name.len(), true);
        } else {
            head.put_i16(name.len() as i16);
        }
        head.put_slice(name.as_bytes());
        put_length(&mut head, partitions.len(), flexible);
        for (partition, batch) in partitions {
            head.put_i32(partition);
            put_length(&mut head, batch.encoded_bytes(), flexible);
            head.put_slice(&batch.header());
            pieces.push(head.split().freeze());
            pieces.push(batch.records().clone());
            put_tags(&mut head, flexible);
        }
        put_tags(&mut head, flexible);
    }
    put_tags(&mut head, flexible);
    if !head.is_empty() {
        pieces.push(head.freeze());
    }
    pieces
}

/// The length of an array or of bytes.
fn put_length(buffer: &mut BytesMut, length: usize, flexible: bool) {
    if !flexible {
        buffer.put_i32(length as i32);
        return;
    }
    let mut value = length as u32 + 1;
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// The end of a structure: no tagged fields.
fn put_tags(buffer: &mut BytesMut, flexible: bool) {
    if flexible {
        buffer.put_u8(0);
    }
}

/// The body of a WriteTxnMarkers request (version 1) that advances each partition by its count. A partition stands in
/// each marker once at most (a broker never answers a marker with a partition twice); the marker is repeated instead.
///
/// Laid out by hand, since thousands of markers are the same bytes:
/// <https://kafka.apache.org/protocol#The_Messages_WriteTxnMarkers>.
pub(super) fn markers_body(identity: ProducerIdentity, gaps: &[(TopicPartition, i64)]) -> Vec<Bytes> {
    let mut counts: Vec<i64> = gaps
        .iter()
        .map(|(_, count)| *count)
        .filter(|count| *count > 0)
        .collect();
    counts.sort_unstable();
    counts.dedup();
    let most = counts.last().copied().unwrap_or(0);
    let mut body = BytesMut::new();
    put_length(&mut body, usize::try_from(most).unwrap_or(0), true);
    // Between two counts every marker names the same partitions.
    let mut number = 0;
    for end in counts {
        let marker = marker(
            identity,
            gaps.iter().filter(|(_, count)| *count > number).map(|(at, _)| at),
        );
        body.reserve(marker.len() * usize::try_from(end - number).unwrap_or(0));
        for _ in number..end {
            body.put_slice(&marker);
        }
        number = end;
    }
    put_tags(&mut body, true);
    vec![body.freeze()]
}

fn marker<'a>(identity: ProducerIdentity, partitions: impl Iterator<Item = &'a TopicPartition>) -> BytesMut {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition);
    }
    let mut bytes = BytesMut::new();
    bytes.put_i64(identity.id);
    bytes.put_i16(identity.epoch);
    bytes.put_u8(1); // Committed.
    put_length(&mut bytes, topics.len(), true);
    for (name, partitions) in topics {
        put_length(&mut bytes, name.len(), true);
        bytes.put_slice(name.as_bytes());
        put_length(&mut bytes, partitions.len(), true);
        for partition in partitions {
            bytes.put_i32(partition);
        }
        put_tags(&mut bytes, true);
    }
    bytes.put_i32(0); // The coordinator's epoch.
    put_tags(&mut bytes, true);
    bytes
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ProduceRequest, WriteTxnMarkersRequest};
    use kafka_protocol::protocol::Decodable;

    use super::*;
    use crate::batch::filler_batch;

    #[test]
    fn every_version_is_what_kafka_protocol_reads() {
        let name = "t".repeat(200);
        let batches = [
            (TopicPartition::new("a", 7), filler_batch(3, 0).unwrap()),
            (TopicPartition::new(&*name, 0), filler_batch(100, 5).unwrap()),
            (TopicPartition::new("a", 1), filler_batch(30_000, -1).unwrap()),
        ];
        for version in PRODUCE_VERSIONS.0..=PRODUCE_VERSIONS.1 {
            let bytes: BytesMut = produce_body(version, 1234, &batches)
                .into_iter()
                .flatten()
                .collect();
            let mut bytes = bytes.freeze();
            let request = ProduceRequest::decode(&mut bytes, version).unwrap();
            assert!(bytes.is_empty(), "{version}");
            assert_eq!(request.transactional_id, None);
            assert_eq!((request.acks, request.timeout_ms), (-1, 1234));
            let mut seen = Vec::new();
            for topic in &request.topic_data {
                for data in &topic.partition_data {
                    seen.push((topic.name.to_string(), data.index, data.records.clone().unwrap()));
                }
            }
            let expected = [&batches[0], &batches[2], &batches[1]].map(|(partition, batch)| {
                (partition.topic.to_string(), partition.partition, batch.to_bytes())
            });
            assert_eq!(seen, expected, "{version}");
        }
    }

    #[test]
    fn no_marker_holds_a_partition_twice() {
        let gaps = [
            (TopicPartition::new("a", 0), 3),
            (TopicPartition::new("b", 0), 1),
            (TopicPartition::new("a", 1), 2),
        ];
        let body = markers_body(ProducerIdentity { id: 9, epoch: 2 }, &gaps);
        let mut bytes: Bytes = body.into_iter().flatten().collect();
        let request = WriteTxnMarkersRequest::decode(&mut bytes, MARKERS_VERSION).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(request.markers.len(), 3);
        let mut counts: BTreeMap<(String, i32), i64> = BTreeMap::new();
        for marker in &request.markers {
            assert_eq!(
                (
                    marker.producer_id.0,
                    marker.producer_epoch,
                    marker.coordinator_epoch
                ),
                (9, 2, 0)
            );
            assert!(marker.transaction_result);
            let mut names = std::collections::BTreeSet::new();
            for topic in &marker.topics {
                assert!(names.insert(topic.name.to_string()));
                for partition in &topic.partition_indexes {
                    *counts.entry((topic.name.to_string(), *partition)).or_default() += 1;
                }
            }
        }
        for (partition, count) in gaps {
            assert_eq!(counts[&(partition.topic.to_string(), partition.partition)], count);
        }
    }
}
