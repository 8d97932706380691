//! Real backups in Avro and Parquet, against what was in Kafka.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use testkit::golden::GoldenSet;
use testkit::record::TruthRecord;

use super::tests::{Decoded, Row, decode_in};
use super::*;

/// How a set's values are to be compared.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    Identical,
    /// The payload of the JSON with a schema that was in Kafka.
    Payload,
}

/// Decodes an object in chunks, or by seeking where it is Parquet.
fn decode_object(decoding: &Decoding, hints: &ObjectHints, stored: &[u8], chunk: usize) -> Decoded {
    let decoded = decode_in(decoding, hints, stored, chunk, 64 << 10);
    if decoded.status == Some(Status::Seekable) {
        return parquet::tests::decode(decoding, hints, &Bytes::copy_from_slice(stored), 64 << 10);
    }
    decoded
}

fn value_of(record: &TruthRecord, values: Values) -> Option<Value> {
    let bytes = record.value.as_deref()?;
    Some(match values {
        Values::Identical => Value::from(bytes.to_vec()),
        Values::Payload => serde_json::from_slice::<Value>(bytes).expect("JSON")["payload"].clone(),
    })
}

fn map(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    headers.iter().cloned().collect()
}

/// Decodes all objects of a set and compares every record. Gives the notes of all objects.
fn check(set: &GoldenSet, partial: bool) -> Vec<Notes> {
    let fields = &set.connector["format.output.fields"];
    let fields: Vec<Field> = fields
        .split(',')
        .map(|field| serde_json::from_value(Value::from(field)).expect("a field"))
        .collect();
    let has = |field| fields.contains(&field);
    let values = match set.connector["value.converter"].ends_with("JsonConverter") {
        true => Values::Payload,
        false => Values::Identical,
    };
    let decoding = Decoding {
        envelope: set
            .connector
            .get("format.output.envelope")
            .is_none_or(|text| text != "false"),
        fields: Some(fields.clone()),
        ..Decoding::default()
    };
    let mut truth: BTreeMap<(String, i32, i64), TruthRecord> = set
        .truth()
        .expect("truth")
        .into_iter()
        .map(|record| ((record.topic.clone(), record.partition, record.offset), record))
        .collect();
    let mut notes = Vec::new();
    for (number, object) in set.objects.iter().enumerate() {
        // Dots are in topics, too: only what is behind the start offset goes.
        let (rest, last) = object.key.rsplit_once('-').expect("a name");
        let (topic, partition) = rest.rsplit_once('-').expect("a name");
        let start = last
            .split('.')
            .next()
            .expect("a number")
            .parse()
            .expect("a number");
        let hints = ObjectHints {
            key: object.key.clone(),
            start_offset: Some(start),
            next_start_offset: None,
        };
        let chunk = [usize::MAX, 1000, 7][number % 3];
        let decoded = decode_object(&decoding, &hints, &object.bytes, chunk);
        assert_eq!(decoded.error, None, "{} {}", set.name, object.key);
        let absent = decoded.notes.headers_absent;
        for row in &decoded.rows {
            let (offset, timestamp, key, value, headers): &Row = row;
            let place = (topic.to_owned(), partition.parse().expect("a number"), *offset);
            let record = truth
                .remove(&place)
                .unwrap_or_else(|| panic!("{}: {place:?} is not in the truth, or twice", set.name));
            if has(Field::Key) {
                assert_eq!(*key, record.key, "{} {place:?}", set.name);
            }
            if has(Field::Timestamp) {
                assert_eq!(*timestamp, record.timestamp);
            }
            let found = value.as_deref().map(|bytes| match values {
                Values::Identical => Value::from(bytes.to_vec()),
                Values::Payload => serde_json::from_slice(bytes).expect("JSON"),
            });
            assert_eq!(found, value_of(&record, values), "{} {place:?}", set.name);
            if has(Field::Headers) && !absent {
                let wanted: Vec<_> = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone().into_bytes(), value.clone()))
                    .collect();
                assert_eq!(map(headers), map(&wanted), "{} {place:?}", set.name);
            } else {
                assert!(headers.is_empty());
            }
        }
        notes.push(decoded.notes);
    }
    if !partial {
        assert!(
            truth.is_empty(),
            "{}: {} records are missing",
            set.name,
            truth.len()
        );
    }
    notes
}

fn fixture(name: &str) -> GoldenSet {
    GoldenSet::fixture(name).expect("a fixture")
}

#[test]
fn avro_with_every_codec_the_sink_has() {
    for name in [
        "gcs-avro-null",
        "gcs-avro-deflate",
        "gcs-avro-snappy",
        "gcs-avro-zstandard",
        "gcs-avro-bzip2",
        "gcs-avro-outer-zstd",
        "s3-avro-default",
        "s3-avro-deflate-outer-gzip",
        "head-gcs-avro",
    ] {
        let notes = check(&fixture(name), false);
        assert!(notes.iter().all(|notes| notes.format == Some(Format::Avro)));
        assert!(notes.iter().any(|notes| notes.map_headers > 0), "{name}");
        assert_eq!(notes.iter().map(|notes| notes.json_texts).sum::<u64>(), 0);
    }
}

#[test]
fn avro_strings_and_records() {
    check(&fixture("gcs-avro-string"), false);
    for (name, numbered) in [("gcs-avro-struct", false), ("gcs-avro-struct-noenvelope", true)] {
        let notes = check(&fixture(name), false);
        assert_eq!(notes.iter().map(|notes| notes.json_texts).sum::<u64>(), 25);
        assert!(notes.iter().all(|notes| notes.numbered == numbered));
    }
}

#[test]
fn avro_whose_sink_is_stuck_holds_the_records_before() {
    let notes = check(&fixture("mixed-avro-headers"), true);
    assert_eq!(notes.iter().map(|notes| notes.records).sum::<u64>(), 4);
    let notes = check(&fixture("mixed-avro-headers-firstnone"), true);
    assert_eq!(notes.iter().map(|notes| notes.records).sum::<u64>(), 2);
    assert!(notes.iter().all(|notes| notes.headers_absent));
}

#[test]
fn parquet_with_every_codec_the_sink_has() {
    for name in [
        "gcs-parquet-none",
        "gcs-parquet-gzip",
        "gcs-parquet-snappy",
        "gcs-parquet-zstd",
    ] {
        let notes = check(&fixture(name), false);
        assert!(notes.iter().all(|notes| notes.format == Some(Format::Parquet)));
        assert!(notes.iter().any(|notes| notes.map_headers > 0), "{name}");
        assert_eq!(notes.iter().map(|notes| notes.json_texts).sum::<u64>(), 0);
    }
    check(&fixture("s3-parquet-default"), true);
    check(&fixture("gcs-parquet-string"), false);
    let notes = check(&fixture("head-gcs-parquet-snappy"), true);
    assert!(notes.iter().map(|notes| notes.records).sum::<u64>() > 0);
}

#[test]
fn parquet_records_become_json() {
    let notes = check(&fixture("gcs-parquet-struct"), false);
    assert_eq!(notes.iter().map(|notes| notes.json_texts).sum::<u64>(), 25);
}

#[test]
fn parquet_without_a_place_for_headers_says_so() {
    let notes = check(&fixture("mixed-parquet-headers"), true);
    assert!(
        notes
            .iter()
            .all(|notes| !notes.headers_absent && notes.records > 0)
    );
    let notes = check(&fixture("mixed-parquet-headers-firstnone"), false);
    let absent = notes.iter().filter(|notes| notes.headers_absent).count();
    assert_eq!((absent, notes.len()), (3, 7));
}

/// The sink writes a checksum into each page's header, and statistics that nobody reads.
#[test]
fn a_bit_that_flips_in_a_parquet_file_never_makes_a_wrong_record() {
    let set = fixture("gcs-parquet-none");
    let object = set
        .objects
        .iter()
        .min_by_key(|object| object.bytes.len())
        .expect("an object");
    let decoding = Decoding::default();
    let hints = ObjectHints::default();
    let right = decode_object(&decoding, &hints, &object.bytes, usize::MAX);
    let mut seen = 0;
    for at in (4..object.bytes.len()).step_by(7) {
        let mut damaged = object.bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let decoded = parquet::tests::decode(&decoding, &hints, &damaged.into(), 64 << 10);
        seen += usize::from(decoded.error.is_some());
        if decoded.error.is_none() {
            assert_eq!(decoded.rows, right.rows, "byte {at}");
        }
    }
    assert!(seen > 20, "{seen}");
}
