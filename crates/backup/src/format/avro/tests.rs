//! Avro files written with the help of `apache-avro`, and damaged ones.

use std::io::Write;

use apache_avro::Schema as Oracle;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use record::NO_TIMESTAMP;

use crate::format::tests::{Row, decode, decode_in, hints};
use crate::format::{Decoding, Interpretation};

const MARKER: [u8; 16] = *b"0123456789abcdef";

/// `["null","bytes"]` everywhere, as ByteArrayConverter makes it.
const USUAL: &str = r#"{"type":"record","name":"connector_records","namespace":"io.aiven.avro.output.schema","fields":[
    {"name":"key","type":["null","bytes"]},{"name":"value","type":["null","bytes"]},{"name":"offset","type":"long"},
    {"name":"timestamp","type":"long"},{"name":"headers","type":{"type":"map","values":["null","bytes"]}}]}"#;

fn long(number: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

fn header(schema: &str, codec: &str) -> Vec<u8> {
    let mut out = b"Obj\x01".to_vec();
    long(2, &mut out);
    bytes(b"avro.schema", &mut out);
    bytes(schema.as_bytes(), &mut out);
    bytes(b"avro.codec", &mut out);
    bytes(codec.as_bytes(), &mut out);
    long(0, &mut out);
    out.extend_from_slice(&MARKER);
    out
}

fn block(count: i64, packed: &[u8], out: &mut Vec<u8>) {
    long(count, out);
    bytes(packed, out);
    out.extend_from_slice(&MARKER);
}

fn pack(codec: &str, plain: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "snappy" => {
            let mut packed = snap::raw::Encoder::new().compress_vec(plain).unwrap();
            let mut checksum = flate2::Crc::new();
            checksum.update(plain);
            packed.extend_from_slice(&checksum.sum().to_be_bytes());
            packed
        }
        "zstandard" => zstd::encode_all(plain, 1).unwrap(),
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        _ => plain.to_vec(),
    }
}

/// A file of datums, so many in a block.
fn file(schema: &str, codec: &str, datums: &[Vec<u8>], in_block: usize) -> Vec<u8> {
    let mut out = header(schema, codec);
    for chunk in datums.chunks(in_block.max(1)) {
        block(chunk.len() as i64, &pack(codec, &chunk.concat()), &mut out);
    }
    out
}

/// A datum by the oracle; arrays and maps in several blocks with their sizes, where they are long enough.
fn encode(schema: &Oracle, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema)
        .target_block_size(4)
        .build()
        .unwrap();
    writer.write_value_to_vec(value).unwrap()
}

const CODECS: [&str; 5] = ["null", "deflate", "snappy", "zstandard", "bzip2"];

/// What the sink's envelope may look like.
#[derive(Clone, Debug)]
struct Envelope {
    order: Vec<&'static str>,
    strings: bool,
    null_last: bool,
    headers: bool,
}

impl Envelope {
    fn optional(&self) -> String {
        let kind = if self.strings { "string" } else { "bytes" };
        match self.null_last {
            true => format!(r#"["{kind}","null"]"#),
            false => format!(r#"["null","{kind}"]"#),
        }
    }

    fn schema(&self) -> String {
        let fields: Vec<String> = self
            .order
            .iter()
            .map(|name| {
                let kind = match *name {
                    "key" | "value" => self.optional(),
                    "headers" if self.headers => format!(r#"{{"type":"map","values":{}}}"#, self.optional()),
                    "headers" => "\"null\"".into(),
                    _ => "\"long\"".into(),
                };
                format!(r#"{{"name":"{name}","type":{kind}}}"#)
            })
            .collect();
        format!(
            r#"{{"type":"record","name":"connector_records","fields":[{}]}}"#,
            fields.join(",")
        )
    }

    fn value(&self, bytes: &Option<Vec<u8>>) -> Value {
        let null = u32::from(self.null_last);
        match bytes {
            None => Value::Union(null, Value::Null.into()),
            Some(bytes) if self.strings => Value::Union(
                1 - null,
                Value::String(String::from_utf8(bytes.clone()).unwrap()).into(),
            ),
            Some(bytes) => Value::Union(1 - null, Value::Bytes(bytes.clone()).into()),
        }
    }

    fn datum(&self, schema: &Oracle, row: &Row) -> Vec<u8> {
        let (offset, timestamp, key, value, headers) = row;
        let fields = self
            .order
            .iter()
            .map(|name| {
                let field = match *name {
                    "key" => self.value(key),
                    "value" => self.value(value),
                    "offset" => Value::Long(*offset),
                    "timestamp" => Value::Long(*timestamp),
                    _ if self.headers => Value::Map(
                        headers
                            .iter()
                            .map(|(name, value)| {
                                (String::from_utf8(name.clone()).unwrap(), self.value(value))
                            })
                            .collect(),
                    ),
                    _ => Value::Null,
                };
                ((*name).to_owned(), field)
            })
            .collect();
        encode(schema, Value::Record(fields))
    }

    /// What of the row comes back.
    fn expected(&self, place: usize, row: &Row) -> Row {
        let has = |name| self.order.contains(&name);
        let (offset, timestamp, key, value, headers) = row.clone();
        (
            if has("offset") { offset } else { 100 + place as i64 },
            if has("timestamp") { timestamp } else { NO_TIMESTAMP },
            key.filter(|_| has("key")),
            value.filter(|_| has("value")),
            if self.headers && has("headers") {
                headers
            } else {
                Vec::new()
            },
        )
    }
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let all = vec!["key", "value", "offset", "timestamp", "headers"];
    let order = proptest::sample::subsequence(all, 1..=5).prop_shuffle();
    (order, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(order, strings, null_last, headers)| {
        Envelope {
            order,
            strings,
            null_last,
            headers,
        }
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zé\u{1F600}\"\\\\\n]{0,12}".prop_map(String::into_bytes),
        (0usize..3000).prop_map(|length| vec![b'x'; length]),
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let optional = || proptest::option::weighted(0.8, text());
    let headers =
        proptest::collection::btree_map("[a-c]{0,3}".prop_map(String::into_bytes), optional(), 0..4);
    let row = (0..i64::MAX, any::<i64>(), optional(), optional(), headers).prop_map(
        |(offset, timestamp, key, value, headers)| {
            (
                offset,
                timestamp,
                key,
                value,
                headers.into_iter().collect::<Vec<_>>(),
            )
        },
    );
    proptest::collection::vec(row, 0..12)
}

/// A map has no order.
fn sorted(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter()
        .map(|mut row| {
            row.4.sort();
            row
        })
        .collect()
}

/// A type and a value of it, with the value's JSON.
#[derive(Clone, Debug)]
enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed,
    Enum,
    Array(Box<Kind>),
    Map(Box<Kind>),
    Optional(Box<Kind>),
    Record(Vec<Kind>),
}

fn kinds() -> impl Strategy<Value = Kind> {
    use Kind::{Array, Boolean, Bytes, Double, Enum, Fixed, Float, Int, Long, Map, Null, Optional, Record};
    let leaf = prop_oneof![
        Just(Null),
        Just(Boolean),
        Just(Int),
        Just(Long),
        Just(Float),
        Just(Double),
        Just(Bytes),
        Just(Kind::String),
        Just(Fixed),
        Just(Enum),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|kind| Array(kind.into())),
            inner.clone().prop_map(|kind| Map(kind.into())),
            inner
                .clone()
                .prop_filter("no union in a union, and no second null", |kind| {
                    !matches!(kind, Null | Optional(_))
                })
                .prop_map(|kind| Optional(kind.into())),
            proptest::collection::vec(inner, 0..4).prop_map(Record),
        ]
    })
}

fn schema_of(kind: &Kind, names: &mut usize) -> serde_json::Value {
    use serde_json::json;
    let mut name = || {
        *names += 1;
        format!("N{names}")
    };
    match kind {
        Kind::Null => json!("null"),
        Kind::Boolean => json!("boolean"),
        Kind::Int => json!("int"),
        Kind::Long => json!("long"),
        Kind::Float => json!("float"),
        Kind::Double => json!("double"),
        Kind::Bytes => json!("bytes"),
        Kind::String => json!("string"),
        Kind::Fixed => json!({"type": "fixed", "name": name(), "size": 3}),
        Kind::Enum => json!({"type": "enum", "name": name(), "symbols": ["A", "B"]}),
        Kind::Array(items) => json!({"type": "array", "items": schema_of(items, names)}),
        Kind::Map(values) => json!({"type": "map", "values": schema_of(values, names)}),
        Kind::Optional(inner) => json!(["null", schema_of(inner, names)]),
        Kind::Record(fields) => {
            let name = name();
            let fields: Vec<_> = fields
                .iter()
                .enumerate()
                .map(|(place, field)| json!({"name": format!("f{place}"), "type": schema_of(field, names)}))
                .collect();
            json!({"type": "record", "name": name, "fields": fields})
        }
    }
}

/// A value of a type, chosen by numbers, with its JSON.
fn value_of(kind: &Kind, random: &mut fastrand::Rng) -> (Value, serde_json::Value) {
    use base64::Engine as _;
    use serde_json::json;
    let base64 = |bytes: &[u8]| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    match kind {
        Kind::Null => (Value::Null, json!(null)),
        Kind::Boolean => {
            let truth = random.bool();
            (Value::Boolean(truth), json!(truth))
        }
        Kind::Int => {
            let number = random.i32(..);
            (Value::Int(number), json!(number))
        }
        Kind::Long => {
            let number = random.i64(..);
            (Value::Long(number), json!(number))
        }
        Kind::Float => match random.u8(0..4) {
            0 => (Value::Float(f32::NAN), json!("NaN")),
            1 => (Value::Float(f32::INFINITY), json!("Infinity")),
            _ => {
                let number = random.f32() * 1e6;
                // The text of a 32-bit number is not that of the same 64-bit number.
                let text = serde_json::to_string(&number).unwrap();
                (Value::Float(number), serde_json::from_str(&text).unwrap())
            }
        },
        Kind::Double => {
            let number = random.f64() * 1e9;
            // The library reads the last digit inexactly, on both sides alike.
            let text = serde_json::to_string(&number).unwrap();
            (Value::Double(number), serde_json::from_str(&text).unwrap())
        }
        Kind::Bytes => {
            let bytes: Vec<u8> = (0..random.usize(0..5)).map(|_| random.u8(..)).collect();
            (Value::Bytes(bytes.clone()), base64(&bytes))
        }
        Kind::String => {
            let text: String = (0..random.usize(0..5)).map(|_| random.char(..)).collect();
            (Value::String(text.clone()), json!(text))
        }
        Kind::Fixed => {
            let bytes = [random.u8(..), random.u8(..), random.u8(..)];
            (Value::Fixed(3, bytes.to_vec()), base64(&bytes))
        }
        Kind::Enum => match random.bool() {
            true => (Value::Enum(0, "A".into()), json!("A")),
            false => (Value::Enum(1, "B".into()), json!("B")),
        },
        Kind::Array(items) => {
            let (values, texts): (Vec<_>, Vec<_>) =
                (0..random.usize(0..4)).map(|_| value_of(items, random)).unzip();
            (Value::Array(values), json!(texts))
        }
        Kind::Map(values) => {
            let (mut map, mut texts) = (std::collections::HashMap::new(), serde_json::Map::new());
            for place in 0..random.usize(0..4) {
                let (value, text) = value_of(values, random);
                map.insert(format!("k{place}"), value);
                texts.insert(format!("k{place}"), text);
            }
            (Value::Map(map), texts.into())
        }
        Kind::Optional(inner) => match random.bool() {
            true => (Value::Union(0, Value::Null.into()), json!(null)),
            false => {
                let (value, text) = value_of(inner, random);
                (Value::Union(1, value.into()), text)
            }
        },
        Kind::Record(fields) => {
            let (mut record, mut texts) = (Vec::new(), serde_json::Map::new());
            for (place, field) in fields.iter().enumerate() {
                let (value, text) = value_of(field, random);
                record.push((format!("f{place}"), value));
                texts.insert(format!("f{place}"), text);
            }
            (Value::Record(record), texts.into())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn envelopes_come_back_however_they_are_packed_and_cut(
        envelope in envelopes(), rows in rows(), codec in 0usize..5, in_block in 1usize..6, chunk in 1usize..5000,
        block_bytes in 1usize..4000,
    ) {
        let schema = envelope.schema();
        let oracle = Oracle::parse_str(&schema).unwrap();
        let datums: Vec<_> = rows.iter().map(|row| envelope.datum(&oracle, row)).collect();
        // Rows without bytes are no envelope that a sink writes.
        prop_assume!(datums.iter().all(|datum| !datum.is_empty()));
        let stored = file(&schema, CODECS[codec], &datums, in_block);
        let decoded = decode_in(&Decoding::default(), &hints(Some(100)), &stored, chunk, block_bytes);
        prop_assert_eq!(decoded.error, None);
        let expected: Vec<_> = rows.iter().enumerate().map(|(place, row)| envelope.expected(place, row)).collect();
        prop_assert_eq!(sorted(decoded.rows), expected);
        prop_assert_eq!(decoded.notes.numbered, !rows.is_empty() && !envelope.order.contains(&"offset"));
    }

    #[test]
    fn any_value_becomes_the_json_that_connect_would_write(kind in kinds(), seed in any::<u64>(), chunk in 1usize..300) {
        let schema = schema_of(&kind, &mut 0);
        let envelope = serde_json::json!({"type": "record", "name": "connector_records", "fields": [
            {"name": "value", "type": schema}, {"name": "offset", "type": "long"}]}).to_string();
        let oracle = Oracle::parse_str(&envelope).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let (values, texts): (Vec<_>, Vec<_>) = (0..4).map(|_| value_of(&kind, &mut random)).unzip();
        let datums: Vec<_> = values.into_iter().zip(0..).map(|(value, offset)| {
            let record = Value::Record(vec![("value".into(), value), ("offset".into(), Value::Long(offset))]);
            encode(&oracle, record)
        }).collect();
        let decoding = Decoding { value_as: Some(Interpretation::Json), ..Decoding::default() };
        let decoded = decode_in(&decoding, &hints(None), &file(&envelope, "null", &datums, 3), chunk, 100);
        prop_assert_eq!(decoded.error, None);
        let found: Vec<serde_json::Value> = decoded.rows.iter().map(|row| match &row.3 {
            Some(text) => serde_json::from_slice(text).unwrap(),
            None => serde_json::Value::Null,
        }).collect();
        prop_assert_eq!(found, texts);
    }

    #[test]
    fn a_cut_file_gives_its_first_records(rows in rows(), codec in 0usize..5, cut in any::<prop::sample::Index>(), chunk in 1usize..900) {
        let envelope = Envelope { order: vec!["key", "value", "offset", "timestamp", "headers"], strings: false, null_last: false, headers: true };
        let oracle = Oracle::parse_str(&envelope.schema()).unwrap();
        let datums: Vec<_> = rows.iter().map(|row| envelope.datum(&oracle, row)).collect();
        let stored = file(&envelope.schema(), CODECS[codec], &datums, 2);
        let stored = &stored[..5 + cut.index(stored.len() - 5)];
        let decoded = decode_in(&Decoding::default(), &hints(None), stored, chunk, 1000);
        let found = sorted(decoded.rows);
        prop_assert_eq!(&found[..], &rows[..found.len()]);
        if let Some(error) = decoded.error {
            prop_assert!(error.truncated && !error.can_skip, "{}", error);
        }
        if codec == 0 {
            // Every record that is all there.
            let whole = datums.iter().zip(0..).scan(header(&envelope.schema(), "null").len(), |end, (datum, place)| {
                if place % 2 == 0 {
                    let data: usize = datums[place..datums.len().min(place + 2)].iter().map(Vec::len).sum();
                    let mut sizes = Vec::new();
                    long(2, &mut sizes);
                    long(data as i64, &mut sizes);
                    *end += sizes.len() + if place > 0 { 16 } else { 0 };
                }
                *end += datum.len();
                Some(*end)
            }).filter(|end| *end <= stored.len()).count();
            prop_assert_eq!(found.len(), whole);
        }
    }

    #[test]
    fn damaged_files_come_to_an_end_and_in_chunks_alike(
        rows in rows(), codec in 0usize..5, flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        chunk in 1usize..300,
    ) {
        let envelope = Envelope { order: vec!["key", "value", "offset", "timestamp", "headers"], strings: true, null_last: true, headers: true };
        let oracle = Oracle::parse_str(&envelope.schema()).unwrap();
        let datums: Vec<_> = rows.iter().map(|row| envelope.datum(&oracle, row)).collect();
        let mut stored = file(&envelope.schema(), CODECS[codec], &datums, 3);
        for (at, byte) in flips {
            let at = at.index(stored.len());
            stored[at] = byte;
        }
        let decoding = Decoding { max_record_bytes: 10_000, ..Decoding::default() };
        let whole = decode_in(&decoding, &hints(Some(1)), &stored, usize::MAX, 1 << 20);
        let chunked = decode_in(&decoding, &hints(Some(1)), &stored, chunk, 500);
        prop_assert_eq!(whole.rows, chunked.rows);
        prop_assert_eq!(whole.error, chunked.error);
    }
}

fn usual(value: &[u8], offset: i64) -> Vec<u8> {
    let mut out = vec![0, 2];
    bytes(value, &mut out);
    long(offset, &mut out);
    out.extend_from_slice(&[2, 0]);
    out
}

#[test]
fn xz_blocks() {
    // Three longs, packed by xz itself.
    let packed = [
        253, 55, 122, 88, 90, 0, 0, 4, 230, 214, 180, 70, 2, 0, 33, 1, 22, 0, 0, 0, 116, 47, 229, 163, 1, 0,
        2, 2, 4, 6, 0, 0, 9, 36, 143, 217, 226, 33, 199, 218, 0, 1, 27, 3, 11, 47, 185, 16, 31, 182, 243,
        125, 1, 0, 0, 0, 0, 4, 89, 90,
    ];
    let schema = r#"{"type":"record","name":"connector_records","fields":[{"name":"offset","type":"long"}]}"#;
    let mut stored = header(schema, "xz");
    block(3, &packed, &mut stored);
    let decoded = decode(&Decoding::default(), &stored);
    assert_eq!(decoded.error, None);
    let offsets: Vec<i64> = decoded.rows.iter().map(|row| row.0).collect();
    assert_eq!(offsets, [1, 2, 3]);
    let at = stored.len() - MARKER.len() - 40;
    stored[at] ^= 4;
    assert!(decode(&Decoding::default(), &stored).error.is_some());
}

#[test]
fn a_damaged_block_can_be_stepped_over() {
    let mut stored = header(USUAL, "snappy");
    block(1, &pack("snappy", &usual(b"one", 1)), &mut stored);
    let mut packed = pack("snappy", &usual(b"two", 2));
    *packed.last_mut().unwrap() ^= 1;
    block(1, &packed, &mut stored);
    block(1, &pack("snappy", &usual(b"three", 3)), &mut stored);
    for chunk in [1, 10, 1000] {
        let (offsets, rejected) = with_skipping(&Decoding::default(), &stored, chunk);
        assert_eq!(offsets, [1, 3]);
        assert_eq!(rejected.len(), 1);
        assert!(rejected[0].1.contains("checksum"), "{}", rejected[0].1);
    }
}

#[test]
fn a_value_that_does_not_fit_is_rejected_alone() {
    let schema = r#"{"type":"record","name":"connector_records","fields":[{"name":"value","type":"long"},{"name":"offset","type":"long"}]}"#;
    let datum = |value, offset| {
        let mut out = Vec::new();
        long(value, &mut out);
        long(offset, &mut out);
        out
    };
    let datums = [datum(7, 1), datum(70_000, 2), datum(8, -3), datum(9, 4)];
    let decoding = Decoding {
        value_as: Some(Interpretation::Short),
        ..Decoding::default()
    };
    for codec in CODECS {
        for chunk in [1, 1000] {
            let (offsets, rejected) = with_skipping(&decoding, &file(schema, codec, &datums, 10), chunk);
            assert_eq!(offsets, [1, 4]);
            assert_eq!(rejected.len(), 2);
            assert_eq!(rejected[0].0, datums[1]);
            assert!(
                rejected[0].1.contains("the value is the number 70000"),
                "{}",
                rejected[0].1
            );
            assert_eq!(rejected[1].0, datums[2]);
            assert!(rejected[1].1.contains("negative"), "{}", rejected[1].1);
        }
    }
    let decoded = decode(
        &Decoding {
            value_as: Some(Interpretation::Long),
            ..Decoding::default()
        },
        &file(schema, "null", &datums[..1], 1),
    );
    assert_eq!(decoded.rows[0].3.as_deref(), Some(&7i64.to_be_bytes()[..]));
    let decoded = decode(&Decoding::default(), &file(schema, "null", &datums[..1], 1));
    assert_eq!(decoded.rows[0].3.as_deref(), Some(&b"7"[..]));
    assert_eq!(decoded.notes.json_texts, 1);
}

/// The offsets of the records, and what was rejected with the reason.
fn with_skipping(decoding: &Decoding, stored: &[u8], chunk: usize) -> (Vec<i64>, Vec<(Vec<u8>, String)>) {
    use crate::format::{ObjectDecoder, Status};
    let mut decoder = ObjectDecoder::new(std::sync::Arc::new(decoding.clone()), hints(None));
    let mut chunks = stored.chunks(chunk);
    let mut block = record::RecordBlock::new();
    let (mut offsets, mut rejected) = (Vec::new(), Vec::new());
    loop {
        let result = decoder.decode(&mut block, 1);
        offsets.extend(block.iter().map(|record| record.offset));
        block.clear();
        match result {
            Ok(Status::NeedInput) => match chunks.next() {
                Some(chunk) => decoder.push(bytes::Bytes::copy_from_slice(chunk)),
                None => decoder.end_of_input(),
            },
            Ok(Status::BlockReady) => {}
            Ok(_) => return (offsets, rejected),
            Err(error) => {
                let piece = decoder.resume_after_error().expect("can be skipped");
                rejected.push((piece.bytes, error.reason));
            }
        }
    }
}

#[test]
fn lengths_are_not_believed() {
    let error_of = |stored: &[u8]| {
        decode(&Decoding::default(), stored)
            .error
            .expect("an error")
            .reason
    };
    let with = |sizes: &[i64], data: &[u8]| {
        let mut stored = header(USUAL, "null");
        sizes.iter().for_each(|size| long(*size, &mut stored));
        stored.extend_from_slice(data);
        stored
    };
    assert!(error_of(&with(&[1, i64::MAX], b"")).contains("largest that is accepted"));
    assert!(error_of(&with(&[1, -5], b"")).contains("negative"));
    assert!(error_of(&with(&[1, 2], b"ab0123456789abcdeX")).contains("marker"));
    let mut stored = header(USUAL, "null");
    block(i64::MAX, b"abc", &mut stored);
    assert!(error_of(&stored).contains("records in 3 bytes"));
    let mut stored = header(USUAL, "null");
    // A value that says it is long.
    block(1, &[0, 2, 0xfe, 0xff, 0xff, 0xff, 0x0f], &mut stored);
    assert!(error_of(&stored).contains("longer than its block"));
    let mut stored = header(USUAL, "null");
    block(1, &[usual(b"v", 1), vec![0]].concat(), &mut stored);
    let decoded = decode(&Decoding::default(), &stored);
    assert_eq!(decoded.rows.len(), 1);
    assert!(
        decoded
            .error
            .expect("an error")
            .reason
            .contains("behind the records")
    );
    let mut bomb = header(USUAL, "deflate");
    block(1, &pack("deflate", &vec![0; 3 << 20]), &mut bomb);
    let small = Decoding {
        max_record_bytes: 1000,
        ..Decoding::default()
    };
    let error = decode(&small, &bomb).error.expect("an error");
    assert!(error.reason.contains("unpacked"), "{error}");
    for codec in ["lzma", "Snappy"] {
        assert!(error_of(&header(USUAL, codec)).contains("not known"));
    }
    assert!(error_of(&header("{}", "null")).contains("schema"));
    assert!(error_of(b"Obj\x01").contains("cut"));
}

#[test]
fn headers_that_have_no_place_are_noted() {
    let schema = r#"{"type":"record","name":"connector_records","fields":[{"name":"offset","type":"long"},{"name":"headers","type":"null"}]}"#;
    let decoded = decode(&Decoding::default(), &file(schema, "null", &[vec![2]], 1));
    assert_eq!(decoded.rows.len(), 1);
    assert!(decoded.notes.headers_absent);
    let decoded = decode(&Decoding::default(), &file(USUAL, "null", &[usual(b"v", 1)], 1));
    assert!(!decoded.notes.headers_absent);
}
