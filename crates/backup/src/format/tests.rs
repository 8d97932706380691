//! Whole objects through [`ObjectDecoder`]: containers, formats, chunk boundaries, damage.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use record::{NO_TIMESTAMP, RecordBlock};

use super::*;

pub(super) type Row = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

pub(super) const ALL: [Field; 5] = [
    Field::Key,
    Field::Value,
    Field::Offset,
    Field::Timestamp,
    Field::Headers,
];

pub(super) fn rows(block: &RecordBlock) -> Vec<Row> {
    block
        .iter()
        .map(|record| {
            (
                record.offset,
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                    .collect(),
            )
        })
        .collect()
}

pub(super) struct Decoded {
    pub(super) rows: Vec<Row>,
    pub(super) error: Option<ObjectError>,
    pub(super) notes: Notes,
    pub(super) status: Option<Status>,
}

/// Decodes an object given in `chunk` bytes at a time into blocks of `block_bytes`.
pub(super) fn decode_in(
    decoding: &Decoding,
    hints: &ObjectHints,
    stored: &[u8],
    chunk: usize,
    block_bytes: usize,
) -> Decoded {
    let mut decoder = ObjectDecoder::new(Arc::new(decoding.clone()), hints.clone());
    let mut chunks = stored.chunks(chunk.max(1));
    let mut block = RecordBlock::new();
    let mut out = Vec::new();
    let (mut error, mut status) = (None, None);
    for _ in 0..10_000_000 {
        let result = decoder.decode(&mut block, block_bytes);
        out.extend(rows(&block));
        block.clear();
        match result {
            Ok(Status::NeedInput) => match chunks.next() {
                Some(chunk) => decoder.push(Bytes::copy_from_slice(chunk)),
                None => decoder.end_of_input(),
            },
            Ok(Status::BlockReady) => {}
            Ok(last) => {
                status = Some(last);
                break;
            }
            Err(found) => {
                error = Some(found);
                break;
            }
        }
    }
    assert!(status.is_some() || error.is_some(), "the decoder comes to an end");
    Decoded {
        rows: out,
        error,
        notes: decoder.notes(),
        status,
    }
}

pub(super) fn decode(decoding: &Decoding, stored: &[u8]) -> Decoded {
    decode_in(decoding, &hints(Some(100)), stored, usize::MAX, 1 << 20)
}

pub(super) fn hints(start_offset: Option<i64>) -> ObjectHints {
    ObjectHints {
        key: "topic-0-100".into(),
        start_offset,
        next_start_offset: None,
    }
}

pub(super) fn csv(fields: &[Field]) -> Decoding {
    Decoding {
        format: Some(Format::Csv),
        fields: Some(fields.to_vec()),
        ..Decoding::default()
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

/// The four records that the connector's own writer was given for the samples below.
fn sample_rows() -> Vec<Row> {
    let header = |name: &str, value: &str| (name.as_bytes().to_vec(), some(value));
    vec![
        (
            100,
            1554210895000,
            some("k1"),
            some("v1"),
            vec![header("h1", "x"), header("h1", "y")],
        ),
        (101, 1554210895120, None, some("a,b\nc"), vec![]),
        (102, 0, None, None, vec![header("\u{e9}", "")]),
        (105, NO_TIMESTAMP, some("k4"), None, vec![]),
    ]
}

const SAMPLE: &[u8] = b"azE=,djE=,100,1554210895000,aDE=:eA==;aDE=:eQ==;\n,YSxiCmM=,101,1554210895120,\n,,102,0,w6k=:;\nazQ=,,105,,";

#[test]
fn a_connectors_own_csv_is_read() {
    let decoded = decode(&csv(&ALL), SAMPLE);
    assert_eq!(decoded.error, None);
    assert_eq!(decoded.rows, sample_rows());
    assert_eq!((decoded.notes.empty_keys, decoded.notes.empty_values), (2, 2));
    assert_eq!(decoded.notes.records, 4);
    assert!(!decoded.notes.final_newline);
}

#[test]
fn unencoded_values_are_taken_from_both_sides() {
    let stored = b"azE=,v1,100,1554210895000,aDE=:eA==;aDE=:eQ==;\n,a,b\nc,101,1554210895120,\n,,102,0,w6k=:;\nazQ=,,105,,";
    let decoding = Decoding {
        value_encoding: ValueEncoding::None,
        ..csv(&ALL)
    };
    for chunk in [1, 7, usize::MAX] {
        let decoded = decode_in(&decoding, &hints(None), stored, chunk, 1 << 20);
        assert_eq!(decoded.error, None);
        assert_eq!(decoded.rows, sample_rows());
        assert_eq!(decoded.notes.multiline_values, 1);
    }
}

#[test]
fn unencoded_values_without_an_end_are_refused_unless_there_is_one_record() {
    let mut decoding = Decoding {
        value_encoding: ValueEncoding::None,
        ..csv(&[Field::Offset, Field::Value])
    };
    let refused = decode(&decoding, b"1,a").error.expect("refused");
    assert!(refused.reason.contains("file.max.records=1"), "{refused}");
    decoding.one_record_per_object = true;
    let decoded = decode(&decoding, b"1,a\nb,c\n");
    assert_eq!(decoded.rows, [(1, NO_TIMESTAMP, None, some("a\nb,c\n"), vec![])]);
}

#[test]
fn an_empty_field_is_what_the_user_says() {
    let decoding = Decoding {
        csv_empty_key: EmptyField::Empty,
        csv_empty_value: EmptyField::Empty,
        ..csv(&[Field::Key, Field::Value, Field::Offset])
    };
    assert_eq!(
        decode(&decoding, b",,7").rows,
        [(7, NO_TIMESTAMP, some(""), some(""), vec![])]
    );
}

#[test]
fn a_single_field_ends_with_an_empty_record_unless_something_speaks_against_it() {
    let values = csv(&[Field::Value]);
    let modern = decode(&values, b"djE=\nYSxiCmM=\n\n");
    assert_eq!(modern.rows.len(), 4);
    assert_eq!(modern.rows[3].0, 103);
    assert!(modern.notes.ambiguous_end && modern.notes.numbered);
    let next = ObjectHints {
        next_start_offset: Some(103),
        ..hints(Some(100))
    };
    assert_eq!(
        decode_in(&values, &next, b"djE=\nYSxiCmM=\n\n", 1, 1).rows.len(),
        3
    );
    let old = Decoding {
        csv_final_newline: FinalNewline::Terminator,
        ..values.clone()
    };
    assert_eq!(decode(&old, b"djE=\n\n").rows.len(), 2);
    assert_eq!(decode(&old, b"").rows.len(), 0);
    for (key, records) in [
        ("orders-0-0000000017.gz", 2),
        ("orders-0-1000000017.gz", 3),
        ("orders-0-17", 3),
    ] {
        let named = ObjectHints {
            key: key.into(),
            ..hints(Some(17))
        };
        assert_eq!(
            decode_in(&values, &named, b"djE=\nYSxiCmM=\n", 1, 1).rows.len(),
            records,
            "{key}"
        );
    }
    // One null value is no byte at all, with gzip 25.
    assert_eq!(
        decode(&values, b"").rows,
        [(100, NO_TIMESTAMP, None, None, vec![])]
    );
    let empty_gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0\0\0\xff\xff\x03\0\0\0\0\0\0\0\0\0";
    let decoded = decode(&values, empty_gzip);
    assert_eq!((decoded.rows.len(), decoded.error), (1, None));
    assert!(decoded.notes.empty);
    let two = decode(&csv(&[Field::Key, Field::Value]), b"");
    assert_eq!(
        (two.rows.len(), two.notes.empty, two.status),
        (0, true, Some(Status::Finished))
    );
}

#[test]
fn a_final_newline_ends_the_last_record_of_two_fields() {
    let decoded = decode(&csv(&[Field::Key, Field::Offset]), b"azE=,1\n,2\n");
    assert_eq!(decoded.rows.len(), 2);
    assert!(decoded.notes.final_newline);
}

#[test]
fn a_last_timestamp_that_is_shorter_than_the_one_before_is_told() {
    let fields = csv(&[Field::Key, Field::Offset, Field::Timestamp]);
    let of = |text: &[u8]| decode(&fields, text).notes.suspicious_end;
    assert!(of(b"azE=,1,1554210895000\nazE=,2,15542"));
    assert!(of(b"azE=,1,1554210895000\nazE=,2,"));
    assert!(!of(b"azE=,1,1554210895000\nazE=,2,1554210895001"));
    assert!(!of(b"azE=,100,1\nazE=,101,2"));
    assert!(!of(b"azE=,1,1554210895000\nazE=,2,15542\n"));
}

#[test]
fn old_null_timestamps_and_fields_listed_twice() {
    let decoded = decode(
        &csv(&[Field::Offset, Field::Key, Field::Offset, Field::Timestamp]),
        b"5,azE=,5,null\n6,,6,-1000",
    );
    assert_eq!(decoded.error, None);
    assert_eq!(
        decoded.rows,
        [
            (5, NO_TIMESTAMP, some("k1"), None, vec![]),
            (6, -1000, None, None, vec![])
        ]
    );
    let differ = decode(&csv(&[Field::Offset, Field::Key, Field::Offset]), b"5,,6");
    assert!(differ.error.expect("refused").reason.contains("differ"));
}

#[test]
fn partial_csv_is_cut_and_what_was_whole_before_is_delivered() {
    let cases: [(&[u8], &[Field]); 7] = [
        (b"1,djE=\n2,", &[Field::Offset, Field::Value]),
        (b"1,djE=\n2", &[Field::Value, Field::Offset]),
        (b"1,djE=\n2,ZGF", &[Field::Offset, Field::Value]),
        (b"1,djE=,aA==:;\n2,djE=,bm9uYW1l;bnVs:", &ALL[..0]),
        (
            b"1,djE=,aA==:;\n2,djE=,bm9uYW1l:;bnVs:",
            &[Field::Offset, Field::Value, Field::Headers],
        ),
        (
            b"1,djE=,aA==:;\n2,djE=,bm9uYW1l:;bnVs",
            &[Field::Offset, Field::Value, Field::Headers],
        ),
        (b"djE=,1\nazE=,", &[Field::Value, Field::Offset]),
    ];
    for (stored, fields) in cases {
        if fields.is_empty() {
            continue;
        }
        for chunk in [1, 3, usize::MAX] {
            let decoded = decode_in(&csv(fields), &hints(None), stored, chunk, 1 << 20);
            match decoded.error {
                Some(error) if fields[0] == Field::Offset || decoded.rows.len() == 1 => {
                    // `2,` with a value last is a null value and no error; see below.
                    assert!(error.truncated && error.can_skip, "{error}");
                    assert_eq!(error.line, Some(2));
                    assert_eq!(decoded.rows.len(), 1);
                }
                Some(error) => assert!(!error.truncated, "{error}"),
                None => assert_eq!(stored, b"1,djE=\n2,"),
            }
        }
    }
}

#[test]
fn errors_name_line_and_byte_and_can_be_skipped() {
    let stored = b"azE=,1\nazE,2\nazE=,3\nazE=,4,5\nazE=,x\nazE=,6";
    for chunk in [1, 5, usize::MAX] {
        let mut decoder = ObjectDecoder::new(Arc::new(csv(&[Field::Key, Field::Offset])), hints(None));
        stored
            .chunks(chunk)
            .for_each(|chunk| decoder.push(Bytes::copy_from_slice(chunk)));
        decoder.end_of_input();
        let mut block = RecordBlock::new();
        let mut rejected = Vec::new();
        let mut lines = Vec::new();
        loop {
            match decoder.decode(&mut block, 1 << 20) {
                Ok(status) => {
                    assert_eq!(status, Status::Finished);
                    break;
                }
                Err(error) => {
                    assert_eq!(decoder.decode(&mut block, 1 << 20), Err(error.clone()));
                    lines.push((error.line, error.byte_offset));
                    let skipped = decoder.resume_after_error().expect("can be skipped");
                    rejected.push((skipped.bytes, skipped.byte_offset));
                }
            }
        }
        let offsets: Vec<i64> = block.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, [1, 3, 6]);
        assert_eq!(lines, [(Some(2), 10), (Some(4), 26), (Some(5), 34)]);
        assert_eq!(
            rejected,
            [
                (b"azE,2\n".to_vec(), 7),
                (b"azE=,4,5\n".to_vec(), 20),
                (b"azE=,x\n".to_vec(), 29)
            ]
        );
    }
}

#[test]
fn a_record_without_end_is_refused_in_bounded_memory() {
    let decoding = Decoding {
        max_record_bytes: 100_000,
        ..csv(&[Field::Key, Field::Offset])
    };
    let stored = gzip(&vec![b'A'; 30_000_000]);
    let mut decoder = ObjectDecoder::new(Arc::new(decoding), hints(None));
    decoder.push(stored.into());
    decoder.end_of_input();
    let error = decoder
        .decode(&mut RecordBlock::new(), 1 << 20)
        .expect_err("too long");
    assert!(error.reason.contains("longer than 100000"), "{error}");
    assert!(decoder.memory_bytes() <= 2 << 20, "{}", decoder.memory_bytes());
}

#[test]
fn tiny_records_do_not_make_a_huge_block() {
    let mut decoder = ObjectDecoder::new(Arc::new(csv(&[Field::Value])), hints(Some(0)));
    decoder.push(vec![b'\n'; 1_000_000].into());
    decoder.end_of_input();
    let mut block = RecordBlock::new();
    assert_eq!(decoder.decode(&mut block, 10_000), Ok(Status::BlockReady));
    assert!(block.used_bytes() < 10_200);
}

#[test]
fn no_offset_anywhere_is_refused() {
    let decoded = decode_in(&csv(&[Field::Value]), &hints(None), b"djE=", 9, 9);
    assert!(
        decoded
            .error
            .expect("refused")
            .reason
            .contains("offsets cannot be known")
    );
}

#[test]
fn fields_are_guessed_with_words() {
    let guess = |stored: &[u8], start| {
        let decoding = Decoding::default();
        decode_in(&decoding, &hints(start), stored, usize::MAX, 1 << 20)
    };
    let decoded = guess(SAMPLE, Some(100));
    let found = decoded.notes.guess.expect("guessed");
    assert_eq!(found.fields, ALL);
    assert_eq!(found.certainty, guess::Certainty::Assumed);
    assert!(found.words.contains("cannot prove"), "{}", found.words);
    assert_eq!(decoded.rows, sample_rows());
    let refused = guess(b"a\x01,1,1554210895000\nb,2,1554210895001", Some(1));
    assert!(refused.error.expect("refused").reason.contains("column 1"));
}

#[test]
fn a_format_that_the_content_rules_out_is_not_believed() {
    let decoded = decode(&csv(&[Field::Key, Field::Offset]), b"Obj\x01rest of an avro file");
    assert_eq!(decoded.notes.format, Some(Format::Avro));
    assert!(decoded.notes.format_differs);
    let parquet = decode(&Decoding::default(), b"PAR1 and so on to the footer");
    assert_eq!(parquet.status, Some(Status::Seekable));
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 1..40))
}

fn csv_rows() -> impl Strategy<Value = Vec<Row>> {
    let header = (
        proptest::collection::vec(any::<u8>(), 0..6),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Some),
    );
    let row = (
        0i64..=i64::MAX,
        any::<i64>(),
        bytes(),
        bytes(),
        proptest::collection::vec(header, 0..4),
    );
    proptest::collection::vec(row, 1..20)
}

/// The slow oracle: what the connector's plain writer does.
pub(super) fn write_csv(rows: &[Row], fields: &[Field], raw: bool) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let lines: Vec<Vec<u8>> = rows
        .iter()
        .map(|(offset, timestamp, key, value, headers)| {
            let cells: Vec<Vec<u8>> = fields
                .iter()
                .map(|field| {
                    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes).into_bytes();
                    let plain = |bytes: &Option<Vec<u8>>| encode(bytes.as_deref().unwrap_or_default());
                    match field {
                        Field::Key => plain(key),
                        Field::Value if raw => value.clone().unwrap_or_default(),
                        Field::Value => plain(value),
                        Field::Offset => offset.to_string().into_bytes(),
                        Field::Timestamp => timestamp.to_string().into_bytes(),
                        Field::Headers => headers
                            .iter()
                            .flat_map(|(name, value)| {
                                [encode(name), b":".to_vec(), plain(value), b";".to_vec()].concat()
                            })
                            .collect(),
                    }
                })
                .collect();
            cells.join(&b',')
        })
        .collect();
    lines.join(&b'\n')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn csv_comes_back_however_it_is_cut_and_packed(
        rows in csv_rows(),
        order in Just(ALL.to_vec()).prop_shuffle(),
        chunk in 1usize..300,
        block_bytes in 1usize..2000,
        packing in 0u8..4,
    ) {
        let plain = write_csv(&rows, &order, false);
        let stored = match packing {
            0 => plain,
            1 => gzip(&plain),
            2 => zstd::encode_all(&plain[..], 3).expect("encodes"),
            _ => gzip(&gzip(&plain)),
        };
        let decoded = decode_in(&csv(&order), &hints(None), &stored, chunk, block_bytes);
        prop_assert_eq!(decoded.error, None);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn cut_csv_gives_a_prefix(rows in csv_rows(), cut in any::<prop::sample::Index>()) {
        let order = [Field::Offset, Field::Timestamp, Field::Key, Field::Value, Field::Headers];
        let plain = write_csv(&rows, &order, false);
        let cut = cut.index(plain.len() + 1);
        let decoded = decode_in(&csv(&order), &hints(None), &plain[..cut], 64, 1 << 20);
        // The last record may have lost whole headers without a trace; all before it are right.
        let sure = decoded.rows.len().saturating_sub(1);
        prop_assert_eq!(&decoded.rows[..sure], &rows[..sure]);
        if let Some(error) = decoded.error {
            prop_assert!(error.truncated, "{}", error);
        }
    }

    #[test]
    fn damaged_gzip_never_passes(rows in csv_rows(), at in any::<prop::sample::Index>(), bit in 0u8..8, chunk in 1usize..99) {
        let order = [Field::Offset, Field::Timestamp, Field::Key, Field::Value, Field::Headers];
        let plain = write_csv(&rows, &order, false);
        let mut stored = gzip(&plain);
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        let decoded = decode_in(&csv(&order), &hints(None), &stored, chunk, 1 << 20);
        // Bytes 4 to 9 (time, level, system) mean nothing; the name flags may only add to the header.
        if decoded.error.is_none() {
            prop_assert_eq!(decoded.rows, rows);
        }
    }

    #[test]
    fn any_bytes_come_to_an_end(stored in proptest::collection::vec(any::<u8>(), 0..400), magic in 0usize..6, chunk in 1usize..50) {
        let magics: [&[u8]; 6] = [b"", b"\x1f\x8b\x08\0\0\0\0\0\0\0", b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", b"\x28\xb5\x2f\xfd", b"[\n", b"{"];
        let stored = [magics[magic], &stored].concat();
        let one = decode_in(&csv(&ALL), &hints(Some(1)), &stored, chunk, 100);
        let whole = decode_in(&csv(&ALL), &hints(Some(1)), &stored, usize::MAX, 1 << 20);
        prop_assert_eq!(one.rows, whole.rows);
        let kind = |error: Option<ObjectError>| error.map(|error| (error.stage, error.truncated));
        prop_assert_eq!(kind(one.error), kind(whole.error));
    }
}
