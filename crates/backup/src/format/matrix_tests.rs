//! Every list of fields, in every format of lines, in every container; and Avro files in every container.

use serde_json::{Map, Value, json};
use testkit::golden::GoldenSet;

use super::tests::{ALL, Row, decode, gzip, write_csv};
use super::*;

type Wrap = fn(&[u8]) -> Vec<u8>;

/// What the sinks may put around a file.
const CONTAINERS: [Wrap; 4] = [<[u8]>::to_vec, gzip, xerial, zstandard];

fn xerial(bytes: &[u8]) -> Vec<u8> {
    let mut stored = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    // Small blocks, so that there are several.
    for block in bytes.chunks(100) {
        let packed = snap::raw::Encoder::new().compress_vec(block).expect("compresses");
        stored.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        stored.extend_from_slice(&packed);
    }
    stored
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("compresses")
}

/// Offsets that are counted on from the start offset of the tests' names, so that they are right without a field too.
fn source() -> Vec<Row> {
    let header = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), Some(value.to_vec()));
    let two = vec![header("h", b"1"), header("h", b"\xff")];
    vec![
        (
            100,
            1_600_000_000_000,
            Some(b"key".to_vec()),
            Some(b"value".to_vec()),
            two,
        ),
        (
            101,
            1_600_000_000_001,
            Some(vec![0xff, 0]),
            Some(b"\"a,b\n".to_vec()),
            Vec::new(),
        ),
        (
            102,
            1_600_000_000_000,
            Some(b"k".to_vec()),
            Some(b"v".to_vec()),
            Vec::new(),
        ),
    ]
}

/// What is left of a row where only `fields` were written.
fn kept((offset, timestamp, key, value, headers): Row, fields: &[Field]) -> Row {
    let has = |field| fields.contains(&field);
    (
        offset,
        if has(Field::Timestamp) {
            timestamp
        } else {
            record::NO_TIMESTAMP
        },
        key.filter(|_| has(Field::Key)),
        value.filter(|_| has(Field::Value)),
        if has(Field::Headers) { headers } else { Vec::new() },
    )
}

fn json_record((offset, timestamp, key, value, headers): &Row, fields: &[Field]) -> Value {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = |bytes: &Option<Vec<u8>>| json!(bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)));
    let header = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| json!({"key": std::str::from_utf8(name).expect("text"), "value": text(value)});
    let mut record = Map::new();
    for field in fields {
        let instant = jiff::Timestamp::from_millisecond(*timestamp).expect("in range");
        let (name, value) = match field {
            Field::Key => ("key", text(key)),
            Field::Value => ("value", text(value)),
            Field::Offset => ("offset", json!(offset)),
            Field::Timestamp => ("timestamp", json!(instant.to_string())),
            Field::Headers => ("headers", headers.iter().map(header).collect()),
        };
        record.insert(name.to_owned(), value);
    }
    Value::Object(record)
}

/// Every list of fields in the usual order: 31 of them.
fn field_lists() -> impl Iterator<Item = Vec<Field>> {
    (1..1 << ALL.len()).map(|chosen: usize| {
        let is_chosen = |(place, _): &(usize, Field)| chosen >> place & 1 == 1;
        ALL.into_iter()
            .enumerate()
            .filter(is_chosen)
            .map(|(_, field)| field)
            .collect()
    })
}

#[test]
fn every_list_of_fields_in_every_format_of_lines_and_every_container() {
    for fields in field_lists() {
        let rows = source();
        let lines: Vec<String> = rows
            .iter()
            .map(|row| json_record(row, &fields).to_string())
            .collect();
        let files = [
            (Format::Csv, write_csv(&rows, &fields, false)),
            (Format::Json, format!("[\n{}\n]", lines.join(",\n")).into_bytes()),
            (Format::Jsonl, lines.join("\n").into_bytes()),
        ];
        let expected: Vec<Row> = rows.into_iter().map(|row| kept(row, &fields)).collect();
        for (format, plain) in files {
            let decoding = Decoding {
                format: Some(format),
                fields: Some(fields.clone()),
                key_as: Some(Interpretation::Bytes),
                value_as: Some(Interpretation::Bytes),
                header_as: Some(Interpretation::Bytes),
                ..Decoding::default()
            };
            for container in CONTAINERS {
                let decoded = decode(&decoding, &container(&plain));
                assert_eq!(decoded.error, None, "{format:?} of {fields:?}");
                assert_eq!(decoded.rows, expected, "{format:?} of {fields:?}");
                assert_eq!(decoded.notes.numbered, !fields.contains(&Field::Offset));
            }
        }
    }
}

#[test]
fn avro_files_in_every_container() {
    let set = GoldenSet::fixture("gcs-avro-null").expect("a fixture");
    let object = set.objects.first().expect("an object");
    let file = &object.bytes;
    let plain = decode(&Decoding::default(), file);
    assert_eq!(plain.error, None);
    assert!(!plain.rows.is_empty());
    for container in CONTAINERS {
        let decoded = decode(&Decoding::default(), &container(file));
        assert_eq!(decoded.error, None);
        assert_eq!(decoded.rows, plain.rows);
    }
}
