//! Parquet files written by the `parquet` crate, and damaged ones.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use arrow_array::builder::{
    BinaryBuilder, Decimal128Builder, Int32Builder, Int64Builder, ListBuilder, MapBuilder, MapFieldNames,
    StringBuilder,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow_schema::Field as ArrowField;
use bytes::Bytes;
use proptest::prelude::*;
use record::{NO_TIMESTAMP, RecordBlock};

use super::*;
use crate::format::tests::{Decoded, Row, hints, rows as rows_of};
use crate::format::{Interpretation, Status};

/// Decodes an object, giving it exactly the ranges it asks for.
pub(in crate::format) fn decode(
    decoding: &Decoding,
    hints: &ObjectHints,
    stored: &Bytes,
    block_bytes: usize,
) -> Decoded {
    decode_within(decoding, hints, stored, block_bytes, 64 << 20)
}

fn decode_within(
    decoding: &Decoding,
    hints: &ObjectHints,
    stored: &Bytes,
    block_bytes: usize,
    memory: usize,
) -> Decoded {
    let mut decoder = ParquetDecoder::new(decoding, hints.clone(), stored.len() as u64, memory);
    let mut block = RecordBlock::new();
    let mut out = Vec::new();
    let mut error = None;
    for _ in 0..1_000_000 {
        let result = decoder.decode(&mut block, block_bytes);
        out.extend(rows_of(&block));
        block.clear();
        match result {
            Ok(ParquetStep::Need(ranges)) => {
                for range in ranges {
                    let bytes = stored.slice(range.start as usize..range.end as usize);
                    decoder.push(range.start, bytes);
                }
            }
            Ok(ParquetStep::BlockReady) => {}
            Ok(ParquetStep::Finished) => {
                return Decoded {
                    rows: out,
                    error,
                    notes: decoder.notes(),
                    status: Some(Status::Finished),
                };
            }
            Err(found) => {
                error = Some(found);
                break;
            }
        }
    }
    assert!(error.is_some(), "the decoder comes to an end");
    Decoded {
        rows: out,
        error,
        notes: decoder.notes(),
        status: None,
    }
}

fn write(columns: Vec<(&str, ArrayRef)>, properties: WriterPropertiesBuilder) -> Bytes {
    let fields: Vec<ArrowField> = columns
        .iter()
        .map(|(name, array)| ArrowField::new(*name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(ArrowSchema::new(fields));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties.build())).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

/// How a file is written.
#[derive(Clone, Debug)]
struct Style {
    codec: usize,
    strings: bool,
    entries: &'static str,
    dictionary: bool,
    second_version: bool,
    rows_in_group: usize,
    page_bytes: usize,
    columns: Vec<&'static str>,
}

impl Style {
    fn properties(&self) -> WriterPropertiesBuilder {
        let codec = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
        ][self.codec];
        let version = match self.second_version {
            true => WriterVersion::PARQUET_2_0,
            false => WriterVersion::PARQUET_1_0,
        };
        WriterProperties::builder()
            .set_compression(codec)
            .set_dictionary_enabled(self.dictionary)
            .set_writer_version(version)
            .set_max_row_group_row_count(Some(self.rows_in_group))
            .set_data_page_size_limit(self.page_bytes)
            .set_write_batch_size(4)
    }

    fn bytes(&self, values: Vec<Option<&[u8]>>) -> ArrayRef {
        match self.strings {
            true => {
                let texts: Vec<Option<&str>> = values
                    .into_iter()
                    .map(|value| value.map(|bytes| std::str::from_utf8(bytes).unwrap()))
                    .collect();
                Arc::new(StringArray::from(texts))
            }
            false => Arc::new(BinaryArray::from(values)),
        }
    }

    fn write(&self, rows: &[Row]) -> Bytes {
        let columns = self
            .columns
            .iter()
            .map(|name| {
                let array: ArrayRef = match *name {
                    "key" => self.bytes(rows.iter().map(|row| row.2.as_deref()).collect()),
                    "value" => self.bytes(rows.iter().map(|row| row.3.as_deref()).collect()),
                    "offset" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
                    "timestamp" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
                    _ => self.headers(rows),
                };
                (*name, array)
            })
            .collect();
        write(columns, self.properties())
    }

    fn headers(&self, rows: &[Row]) -> ArrayRef {
        let names = MapFieldNames {
            entry: self.entries.into(),
            key: "key".into(),
            value: "value".into(),
        };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), BinaryBuilder::new());
        for row in rows {
            for (name, value) in &row.4 {
                builder.keys().append_value(std::str::from_utf8(name).unwrap());
                builder.values().append_option(value.as_deref());
            }
            builder.append(true).unwrap();
        }
        Arc::new(builder.finish())
    }

    fn expected(&self, place: usize, row: &Row) -> Row {
        let has = |name| self.columns.contains(&name);
        let (offset, timestamp, key, value, headers) = row.clone();
        (
            if has("offset") { offset } else { 100 + place as i64 },
            if has("timestamp") { timestamp } else { NO_TIMESTAMP },
            key.filter(|_| has("key")),
            value.filter(|_| has("value")),
            if has("headers") { headers } else { Vec::new() },
        )
    }
}

const ALL: [&str; 5] = ["key", "value", "offset", "timestamp", "headers"];

fn styles() -> impl Strategy<Value = Style> {
    let columns = proptest::sample::subsequence(ALL.to_vec(), 0..=5)
        .prop_map(|mut columns| {
            // What makes rows an envelope whatever the file's name for them.
            for needed in ["value", "offset"] {
                if !columns.contains(&needed) {
                    columns.push(needed);
                }
            }
            columns
        })
        .prop_shuffle();
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (columns, 0usize..5, switches, 1usize..20, 1usize..4000).prop_map(
        |(columns, codec, (strings, map, dictionary, second_version), rows_in_group, page_bytes)| Style {
            codec,
            strings,
            entries: if map { "map" } else { "key_value" },
            dictionary,
            second_version,
            rows_in_group,
            page_bytes,
            columns,
        },
    )
}

fn usual() -> Style {
    Style {
        codec: 1,
        strings: false,
        entries: "key_value",
        dictionary: true,
        second_version: false,
        rows_in_group: 1000,
        page_bytes: 1 << 20,
        columns: ALL.to_vec(),
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![
        "[a-zé\u{1F600}]{0,12}".prop_map(String::into_bytes),
        (0usize..2000).prop_map(|length| vec![b'x'; length]),
        Just(b"again and again".to_vec()),
    ];
    let optional = || proptest::option::weighted(0.8, text.clone());
    let headers = proptest::collection::vec(("[a-c]{0,3}".prop_map(String::into_bytes), optional()), 0..4);
    let row = (0..i64::MAX, any::<i64>(), optional(), optional(), headers);
    proptest::collection::vec(row, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn envelopes_come_back_however_they_are_written(style in styles(), rows in rows(), block_bytes in 1usize..4000) {
        let stored = style.write(&rows);
        let decoded = decode(&Decoding::default(), &hints(Some(100)), &stored, block_bytes);
        prop_assert_eq!(decoded.error, None);
        let expected: Vec<_> = rows.iter().enumerate().map(|(place, row)| style.expected(place, row)).collect();
        prop_assert_eq!(decoded.rows, expected);
        prop_assert_eq!(decoded.notes.records, rows.len() as u64);
    }

    #[test]
    fn damaged_files_come_to_an_end(
        style in styles(), rows in rows(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        footer in any::<bool>(),
    ) {
        let mut stored = style.write(&rows).to_vec();
        let from = if footer { stored.len() - stored.len() / 4 } else { 0 };
        for (at, byte) in flips {
            let at = from + at.index(stored.len() - from);
            stored[at] = byte;
        }
        decode(&Decoding::default(), &hints(Some(1)), &stored.into(), 1000);
    }

    #[test]
    fn a_cut_file_says_so(rows in rows(), cut in any::<prop::sample::Index>()) {
        let stored = usual().write(&rows);
        let cut = stored.slice(..cut.index(stored.len()));
        let error = decode(&Decoding::default(), &hints(None), &cut, 1000).error.expect("an error");
        prop_assert!(error.truncated, "{}", error);
    }
}

fn row(offset: i64, value: &[u8]) -> Row {
    (offset, 5, Some(b"k".to_vec()), Some(value.to_vec()), Vec::new())
}

#[test]
fn files_one_behind_the_other_are_all_read() {
    let one = usual().write(&[row(1, b"one"), row(2, b"two")]);
    let two = usual().write(&[row(3, b"three")]);
    let stored: Bytes = [&one[..], &two, &one].concat().into();
    let decoded = decode(&Decoding::default(), &hints(None), &stored, 1000);
    assert_eq!(decoded.error, None);
    let offsets: Vec<i64> = decoded.rows.iter().map(|row| row.0).collect();
    assert_eq!(offsets, [1, 2, 3, 1, 2]);
    assert_eq!(decoded.notes.joined_files, 2);
    let decoded = decode(&Decoding::default(), &hints(None), &one, 1000);
    assert_eq!((decoded.rows.len(), decoded.notes.joined_files), (2, 0));
}

#[test]
fn a_row_group_beyond_the_memory_is_refused_before_it_is_unpacked() {
    let mut style = usual();
    style.codec = 3;
    style.dictionary = false;
    style.page_bytes = 64 << 20;
    let zeros = vec![b'0'; 200_000];
    let rows: Vec<Row> = (0..50).map(|offset| row(offset, &zeros)).collect();
    let stored = style.write(&rows);
    assert!(stored.len() < 100_000);
    let decoded = decode_within(&Decoding::default(), &hints(None), &stored, 1000, 4 << 20);
    let error = decoded.error.expect("an error");
    assert!(error.reason.contains("allow more memory"), "{error}");
    let decoded = decode_within(&Decoding::default(), &hints(None), &stored, 1000, 64 << 20);
    assert_eq!(decoded.rows, rows);
}

#[test]
fn a_value_that_a_dictionary_holds_once_is_not_multiplied() {
    let value = vec![b'v'; 100_000];
    let rows: Vec<Row> = (0..3000).map(|offset| row(offset, &value)).collect();
    let mut style = usual();
    style.rows_in_group = 10_000;
    style.page_bytes = 8 << 20;
    style.codec = 0;
    let mut stored = style.properties();
    stored = stored.set_dictionary_page_size_limit(8 << 20);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "value",
            style.bytes(rows.iter().map(|row| row.3.as_deref()).collect()),
        ),
        ("offset", Arc::new(Int64Array::from_iter_values(0..3000))),
    ];
    let stored = write(columns, stored);
    assert!(stored.len() < 1 << 20, "{}", stored.len());
    // 300 MB of records, in a few megabytes.
    let mut decoder = ParquetDecoder::new(&Decoding::default(), hints(None), stored.len() as u64, 4 << 20);
    decoder.push(0, stored.clone());
    let mut block = RecordBlock::new();
    let mut records = 0;
    while decoder.decode(&mut block, 1 << 20).unwrap() == ParquetStep::BlockReady {
        records += block.len();
        assert!(block.memory_bytes() < 4 << 20);
        block.clear();
    }
    assert_eq!(records + block.len(), 3000);
}

#[test]
fn bad_rows_are_refused_one_by_one() {
    let offsets: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4)]));
    let values: ArrayRef = Arc::new(Int64Array::from(vec![7, 8, 9, 70_000]));
    let stored = write(
        vec![("value", values), ("offset", offsets)],
        WriterProperties::builder(),
    );
    let decoding = Decoding {
        value_as: Some(Interpretation::Short),
        ..Decoding::default()
    };
    let mut decoder = ParquetDecoder::new(&decoding, hints(None), stored.len() as u64, 1 << 20);
    decoder.push(0, stored);
    let mut block = RecordBlock::new();
    let mut reasons = Vec::new();
    loop {
        match decoder.decode(&mut block, 1000) {
            Ok(step) => {
                assert_eq!(step, ParquetStep::Finished);
                break;
            }
            Err(error) => {
                assert!(error.can_skip);
                reasons.push(error.reason);
                decoder.resume_after_error().expect("can be skipped");
            }
        }
    }
    assert_eq!(block.len(), 1);
    assert_eq!(block.get(0).value, Some(&[0, 7][..]));
    assert_eq!(reasons.len(), 3);
    assert!(
        reasons[0].contains("null") && reasons[1].contains("negative"),
        "{reasons:?}"
    );
    assert!(reasons[2].contains("70000"), "{reasons:?}");
    assert_eq!(decoder.notes().records, 1);
}

#[test]
fn nested_values_become_the_json_that_connect_would_write() {
    let mut tags = ListBuilder::new(StringBuilder::new());
    tags.append_value([Some("a"), None]);
    tags.append_null();
    let mut numbers = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    numbers.keys().append_value(1);
    numbers.values().append_value("x");
    numbers.append(true).unwrap();
    numbers.append(true).unwrap();
    let mut names = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    names.keys().append_value("n\"");
    names.values().append_value(-1);
    names.append(true).unwrap();
    names.append(true).unwrap();
    let mut price = Decimal128Builder::new().with_precision_and_scale(9, 2).unwrap();
    price.append_value(12345);
    price.append_value(-1);
    let member = |name: &str, array: ArrayRef| {
        (
            Arc::new(ArrowField::new(name, array.data_type().clone(), true)),
            array,
        )
    };
    let union = StructArray::from(vec![
        member("member0", Arc::new(Int32Array::from(vec![Some(3), None]))),
        member("member1", Arc::new(StringArray::from(vec![None, Some("s")]))),
    ]);
    let value = StructArray::from(vec![
        member("tags", Arc::new(tags.finish())),
        member("numbers", Arc::new(numbers.finish())),
        member("names", Arc::new(names.finish())),
        member("price", Arc::new(price.finish())),
        member("day", Arc::new(Date32Array::from(vec![3, -1]))),
        member("at", Arc::new(TimestampMillisecondArray::from(vec![1234, 0]))),
        member("color", Arc::new(BinaryArray::from(vec![&b"RED"[..], b"BLUE"]))),
        member("blob", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""]))),
        member("ratio", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
        member("score", Arc::new(Float64Array::from(vec![Some(49.75), None]))),
        member("ok", Arc::new(BooleanArray::from(vec![true, false]))),
        member("either", Arc::new(union)),
    ]);
    let avro = r#"{"type":"record","name":"connector_records","namespace":"io.aiven.parquet.output.schema","fields":[
        {"name":"value","type":["null",{"type":"record","name":"V","fields":[
            {"name":"color","type":{"type":"enum","name":"C","symbols":["RED","BLUE"]}},
            {"name":"either","type":["null","int","string"]}]}]},
        {"name":"offset","type":"long"},{"name":"headers","type":"null"}]}"#;
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new(AVRO_SCHEMA.to_owned(), avro.to_owned())]));
    let stored = write(
        vec![
            ("value", Arc::new(value) as ArrayRef),
            ("offset", Arc::new(Int64Array::from(vec![1, 2]))),
        ],
        properties,
    );
    let decoded = decode(&Decoding::default(), &hints(None), &stored, 1000);
    assert_eq!(decoded.error, None);
    let texts: Vec<&str> = decoded
        .rows
        .iter()
        .map(|row| std::str::from_utf8(row.3.as_deref().unwrap()).unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            r#"{"tags":["a",null],"numbers":[[1,"x"]],"names":{"n\"":-1},"price":"MDk=","day":3,"at":1234,"color":"RED","blob":"AP8=","ratio":0.1,"score":49.75,"ok":true,"either":3}"#,
            r#"{"tags":null,"numbers":[],"names":{},"price":"/w==","day":-1,"at":0,"color":"BLUE","blob":"","ratio":"NaN","score":null,"ok":false,"either":"s"}"#,
        ]
    );
    assert_eq!(decoded.notes.json_texts, 2);
    // The sink's schema has headers and the file has no column for them.
    assert!(decoded.notes.headers_absent);
}

#[test]
fn rows_that_are_no_envelope_are_values() {
    let stored = write(
        vec![
            ("id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
            ("name", Arc::new(StringArray::from(vec!["n"]))),
        ],
        WriterProperties::builder(),
    );
    let decoded = decode(&Decoding::default(), &hints(Some(40)), &stored, 1000);
    let expected = (
        40,
        NO_TIMESTAMP,
        None,
        Some(br#"{"id":7,"name":"n"}"#.to_vec()),
        Vec::new(),
    );
    assert_eq!(decoded.rows, [expected]);
    assert!(decoded.notes.numbered);
    let error = decode(&Decoding::default(), &hints(None), &stored, 1000)
        .error
        .expect("an error");
    assert!(error.reason.contains("cannot be known"), "{error}");
}

#[test]
fn offsets_that_overflowed_are_explained() {
    let stored = usual().write(&[row(1, b"v")]);
    let range = footer::range(&stored[stored.len() - 8..], stored.len() as u64).unwrap();
    let bytes = stored.slice(range.start as usize..range.end as usize);
    assert_eq!(footer::check_schema(&bytes), Ok(()));
    let metadata = decode_footer(&bytes).unwrap();
    let used = footer::check_layout(&metadata, range.start).unwrap();
    assert_eq!(
        used, range.start,
        "nothing stands between the data and the footer"
    );
    let group = metadata.row_group(0).clone();
    let columns = group
        .columns()
        .iter()
        .map(|column| {
            let builder = column.clone().into_builder().set_dictionary_page_offset(None);
            builder.set_data_page_offset(-2_000_000_000).build().unwrap()
        })
        .collect();
    let group = group.into_builder().set_column_metadata(columns).build().unwrap();
    let broken = metadata.into_builder().set_row_groups(vec![group]).build();
    let error = footer::check_layout(&broken, 3 << 30).unwrap_err();
    assert!(error.contains("2 GiB"), "{error}");
    assert!(
        !footer::check_layout(&broken, 3 << 20)
            .unwrap_err()
            .contains("GiB")
    );
}

#[test]
fn lengths_in_footers_are_not_believed() {
    let reason = |tail: &[u8], size| footer::range(tail, size).unwrap_err().0;
    assert!(reason(b"\xff\xff\xff\x7fPAR1", u64::MAX).contains("longest"));
    assert!(reason(b"\xff\x00\x00\x00PAR1", 100).contains("longer than the object"));
    assert!(reason(b"\x01\x00\x00\x00PARE", 100).contains("encrypted"));
    assert!(reason(b"\x01\x00\x00\x00PAR2", 100).contains("cut"));
    assert!(reason(b"PAR1", 4).contains("too short"));
    // version 1, a list of one schema element that claims a billion children.
    let footer = [0x15, 2, 0x19, 0x1c, 0x55, 0x80, 0xa8, 0xd6, 0xb9, 0x07, 0, 0];
    assert!(
        footer::check_schema(&footer)
            .unwrap_err()
            .contains("larger than it is")
    );
    // A chain of elements with one child each.
    let mut deep = vec![0x15, 2, 0x19, 0xfc, 0xe8, 0x07];
    for _ in 0..1000 {
        deep.extend([0x55, 2, 0]);
    }
    assert!(footer::check_schema(&deep).unwrap_err().contains("nested deeper"));
}
