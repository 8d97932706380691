//! json and jsonl through [`ObjectDecoder`].

use proptest::prelude::*;
use record::NO_TIMESTAMP;

use super::tests::{Decoded, Row, decode, decode_in, gzip, hints};
use super::*;

fn reading(format: Format, interpretation: Interpretation) -> Decoding {
    Decoding {
        format: Some(format),
        key_as: Some(interpretation),
        value_as: Some(interpretation),
        header_as: Some(interpretation),
        ..Decoding::default()
    }
}

fn some(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

const LINES: [&str; 4] = [
    r#"{"headers":[{"key":"h1","value":"eA=="},{"key":"h1","value":"eQ=="}],"offset":100,"value":"djE=","key":"azE=","timestamp":"2019-04-02T13:14:55Z"}"#,
    r#"{"headers":[{"key":"nul","value":null}],"offset":101,"value":"YSxiCmM=","key":null,"timestamp":"2019-04-02T13:14:55.120Z"}"#,
    "{\"headers\":[{\"key\":\"\u{e9}\",\"value\":\"\"}],\"offset\":102,\"value\":\"\",\"key\":\"\",\"timestamp\":\"1970-01-01T00:00:00Z\"}",
    r#"{"headers":[],"offset":105,"value":null,"key":"azQ=","timestamp":null}"#,
];

fn sample_rows() -> Vec<Row> {
    let header = |name: &str, value: Option<&str>| (name.as_bytes().to_vec(), value.and_then(some));
    vec![
        (
            100,
            1554210895000,
            some("k1"),
            some("v1"),
            vec![header("h1", Some("x")), header("h1", Some("y"))],
        ),
        (
            101,
            1554210895120,
            None,
            some("a,b\nc"),
            vec![header("nul", None)],
        ),
        (102, 0, some(""), some(""), vec![header("\u{e9}", Some(""))]),
        (105, NO_TIMESTAMP, some("k4"), None, vec![]),
    ]
}

/// Decodes in one piece and byte by byte, which must come to the same.
fn both(decoding: &Decoding, stored: &[u8]) -> Decoded {
    let one = decode_in(decoding, &hints(Some(100)), stored, 1, 1);
    let whole = decode(decoding, stored);
    assert_eq!(one.rows, whole.rows);
    assert_eq!(one.error, whole.error);
    whole
}

/// Decodes values of bare jsonl.
fn bare(lines: &str, interpretation: Interpretation) -> Decoded {
    let decoding = Decoding {
        envelope: false,
        ..reading(Format::Jsonl, interpretation)
    };
    both(&decoding, lines.as_bytes())
}

fn values(decoded: &Decoded) -> Vec<Option<Vec<u8>>> {
    decoded.rows.iter().map(|row| row.3.clone()).collect()
}

#[test]
fn a_connectors_own_jsonl_and_json_are_read() {
    let jsonl = both(
        &reading(Format::Jsonl, Interpretation::Bytes),
        LINES.join("\n").as_bytes(),
    );
    assert_eq!((jsonl.error, jsonl.rows), (None, sample_rows()));
    assert!(!jsonl.notes.final_newline && !jsonl.notes.numbered);
    let array = format!("[\n{}\n]", LINES.join(",\n"));
    let json = both(&reading(Format::Json, Interpretation::Bytes), array.as_bytes());
    assert_eq!((json.error, json.rows), (None, sample_rows()));
    // With nothing known the format is told, and the interpretation guessed aloud.
    let told = both(&Decoding::default(), array.as_bytes());
    assert_eq!((told.error, told.rows), (None, sample_rows()));
    assert_eq!(told.notes.format, Some(Format::Json));
    assert_eq!(told.notes.interpretations.len(), 3);
    assert!(told.notes.interpretations[0].words.contains("cannot be proved"));
}

#[test]
fn partial_files_give_their_whole_records_and_say_that_they_are_partial() {
    let jsonl = both(
        &reading(Format::Jsonl, Interpretation::Bytes),
        format!("{}\n", LINES.join("\n")).as_bytes(),
    );
    assert_eq!((jsonl.error, jsonl.rows), (None, sample_rows()));
    assert!(jsonl.notes.final_newline);
    for tail in [",\n\n]", ",\n]", ",\n", ",\n{\"headers\":[", "", "\n"] {
        let stored = format!("[\n{}{tail}", LINES.join(",\n"));
        let json = both(&reading(Format::Json, Interpretation::Bytes), stored.as_bytes());
        let error = json.error.expect("partial");
        assert!(error.truncated, "{error} behind {tail:?}");
        assert_eq!(json.rows, sample_rows(), "behind {tail:?}");
    }
    for stored in ["[\n\n]", "[", "[\n"] {
        let json = both(&reading(Format::Json, Interpretation::Bytes), stored.as_bytes());
        assert!(json.error.expect("partial").truncated, "{stored:?}");
    }
    let lines = LINES.join("\n");
    let cut = &lines[..lines.len() - 10];
    let jsonl = both(&reading(Format::Jsonl, Interpretation::Bytes), cut.as_bytes());
    assert!(jsonl.error.expect("cut").truncated);
    assert_eq!(jsonl.rows, sample_rows()[..3]);
}

#[test]
fn frames_that_are_none_are_refused() {
    for stored in [
        "[\n{}\n{}\n]",
        "[\n{},\n{}\n]x",
        "[\n{}\n]\nx",
        "[{}]",
        "[\n{},\n{},\n\nx",
    ] {
        let decoded = both(&reading(Format::Json, Interpretation::Bytes), stored.as_bytes());
        assert!(decoded.error.is_some(), "{stored:?}");
    }
}

#[test]
fn a_partial_array_can_be_stepped_over() {
    let mut decoder = ObjectDecoder::new(
        std::sync::Arc::new(reading(Format::Json, Interpretation::Bytes)),
        hints(None),
    );
    decoder.push(format!("[\n{},\n\n]", LINES[0]).into());
    decoder.end_of_input();
    let mut block = record::RecordBlock::new();
    let error = decoder.decode(&mut block, 1 << 20).expect_err("partial");
    assert!(error.can_skip && error.truncated);
    assert_eq!(
        decoder.resume_after_error().map(|rejected| rejected.bytes),
        Some(b"\n".to_vec())
    );
    assert_eq!(decoder.decode(&mut block, 1 << 20), Ok(Status::Finished));
    assert_eq!(block.len(), 1);
}

#[test]
fn bare_values() {
    let decoded = bare("\"djE=\"\n\"YSxiCmM=\"\n\"\"\nnull", Interpretation::Bytes);
    assert_eq!(values(&decoded), [some("v1"), some("a,b\nc"), some(""), None]);
    assert_eq!(decoded.rows[3].0, 103);
    assert!(decoded.notes.numbered);
    let decoding = Decoding {
        envelope: false,
        fields: Some(vec![Field::Key]),
        ..reading(Format::Json, Interpretation::Bytes)
    };
    let json = both(&decoding, b"[\n\"djE=\",\nnull\n]");
    assert_eq!(json.rows[0].2, some("v1"));
    assert_eq!(json.rows.len(), 2);
    let many = Decoding {
        fields: Some(vec![Field::Key, Field::Value]),
        ..decoding
    };
    assert!(both(&many, b"[\n\"djE=\"\n]").error.is_some());
}

#[test]
fn strings_are_unescaped_as_java_would_write_their_bytes() {
    let decoded = bare(
        "\"\\uD83D\\uDE00 \\u00e9 \u{2028} \\b\\f\\n\\r\\t\\\"\\\\\\/ \\u0000\"\n\"\\uD800x \\uDC00 \\uD800\\uD800\\uDC00\"",
        Interpretation::String,
    );
    assert_eq!(
        values(&decoded),
        [
            some("\u{1f600} \u{e9} \u{2028} \u{8}\u{c}\n\r\t\"\\/ \0"),
            some("?x ? ?\u{10000}")
        ]
    );
    assert_eq!(decoded.notes.lone_surrogates, 3);
}

#[test]
fn json_values_stay_as_they_are_written() {
    let decoded = bare(
        "{\"a\":[1, 2.50,1E5,{\"a\":1,\"a\":\"\\uD800\"}]}\n\"x\"\nnull\n12345678901234567890",
        Interpretation::Json,
    );
    assert_eq!(
        values(&decoded),
        [
            some("{\"a\":[1, 2.50,1E5,{\"a\":1,\"a\":\"\\uD800\"}]}"),
            some("\"x\""),
            None,
            some("12345678901234567890")
        ]
    );
    assert_eq!(decoded.notes.json_texts, 3);
}

#[test]
fn numbers_have_their_converters_width() {
    let one = |text: &str, interpretation| bare(text, interpretation).rows[0].3.clone();
    assert_eq!(
        one("-2", Interpretation::Long),
        Some((-2i64).to_be_bytes().to_vec())
    );
    assert_eq!(one("7", Interpretation::Integer), Some(vec![0, 0, 0, 7]));
    assert_eq!(one("-1", Interpretation::Short), Some(vec![255, 255]));
    assert_eq!(
        one("0.1", Interpretation::Float),
        Some(0.1f32.to_be_bytes().to_vec())
    );
    assert_eq!(
        one("1.0E10", Interpretation::Double),
        Some(1e10f64.to_be_bytes().to_vec())
    );
    assert_eq!(
        one("\"-Infinity\"", Interpretation::Float),
        Some(f32::NEG_INFINITY.to_be_bytes().to_vec())
    );
    assert_eq!(
        one("\"NaN\"", Interpretation::Double),
        Some(vec![0x7f, 0xf8, 0, 0, 0, 0, 0, 0])
    );
    for (text, interpretation) in [
        ("32768", Interpretation::Short),
        ("1.5", Interpretation::Long),
        ("\"1\"", Interpretation::Integer),
        ("true", Interpretation::Double),
        ("1", Interpretation::String),
        ("\"a\"", Interpretation::Bytes),
        ("{}", Interpretation::Bytes),
    ] {
        let error = bare(text, interpretation).error.expect("refused");
        assert!(error.can_skip && !error.truncated, "{error}");
    }
}

#[test]
fn the_last_of_two_equal_names_counts_and_unknown_names_do_not() {
    let decoding = reading(Format::Jsonl, Interpretation::String);
    let decoded = both(&decoding, br#"{"key":"a","offset":1,"key":"b","k\u0065y":"c"}"#);
    assert_eq!(decoded.rows[0].2, some("c"));
    assert_eq!(decoded.notes.duplicate_names, 2);
    let error = both(&decoding, br#"{"name":"John"}"#).error.expect("refused");
    assert!(error.reason.contains("format.output.envelope=false"), "{error}");
}

#[test]
fn wrong_fields_are_refused() {
    let decoding = reading(Format::Jsonl, Interpretation::String);
    for line in [
        r#"{"offset":-1}"#,
        r#"{"offset":1.5}"#,
        r#"{"offset":null}"#,
        r#"{"offset":1,"timestamp":5}"#,
        r#"{"offset":1,"timestamp":"2019-04-02"}"#,
        r#"{"offset":1,"headers":{"a":"b"}}"#,
        r#"{"offset":1,"headers":[{"value":"b"}]}"#,
        r#"{"offset":1,"headers":[{"key":1,"value":"b"}]}"#,
        r#"{"offset":1,"headers":[{"key":"k","value":"b","offset":1}]}"#,
        r#"{"offset":1} x"#,
        "{\"offset\":1,\"key\":\"\n\"}",
        "[1]",
        "",
    ] {
        let stored = format!("{line}\n{{\"offset\":2}}");
        let error = both(&decoding, stored.as_bytes()).error.expect("refused");
        assert_eq!(error.line, Some(1), "{line}");
        assert!(!error.truncated && error.can_skip, "{line}");
    }
    let invalid = both(&decoding, b"{\"offset\":1,\"key\":\"\xff\"}");
    assert!(invalid.error.is_some());
}

#[test]
fn deep_nesting_needs_no_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let line = format!("{{\"offset\":1,\"value\":{deep}}}");
    let decoded = decode(&reading(Format::Jsonl, Interpretation::Json), line.as_bytes());
    assert_eq!(decoded.rows[0].3.as_ref().map(Vec::len), Some(400_000));
}

#[test]
fn a_line_of_any_length_is_bounded() {
    let decoding = Decoding {
        max_record_bytes: 5000,
        ..reading(Format::Jsonl, Interpretation::String)
    };
    let line = format!("{{\"offset\":1,\"value\":\"{}\"}}", "x".repeat(5000));
    for stored in [line.clone(), format!("{line}\n{{}}")] {
        let decoded = both(&decoding, stored.as_bytes());
        assert!(decoded.error.expect("too long").reason.contains("5000 bytes"));
    }
}

#[test]
fn guesses_say_what_they_saw() {
    let (interpretation, words) = guess::interpretation(["\"YWJj\"", "\"\"", "null"]);
    assert_eq!(interpretation, Interpretation::Bytes);
    assert!(words.contains("cannot be proved"));
    assert_eq!(
        guess::interpretation(["\"YWJj\"", "\"abc\""]).0,
        Interpretation::String
    );
    assert_eq!(guess::interpretation(["\"YWJj\"", "{}"]).0, Interpretation::Json);
    assert_eq!(guess::interpretation(["1", "2"]).0, Interpretation::Json);
    assert_eq!(guess::interpretation(["null"]).0, Interpretation::Bytes);
}

#[test]
fn of_a_small_damaged_gzip_nothing_is_delivered() {
    let mut stored = gzip(LINES.join("\n").as_bytes());
    let crc = stored.len() - 8;
    stored[crc] ^= 1;
    let decoded = both(&reading(Format::Jsonl, Interpretation::Bytes), &stored);
    assert_eq!(decoded.rows, []);
    assert_eq!(decoded.error.map(|error| error.stage), Some(Stage::Container));
    let cut = gzip(LINES.join("\n").as_bytes());
    let decoded = both(
        &reading(Format::Jsonl, Interpretation::Bytes),
        &cut[..cut.len() - 6],
    );
    // The last line may go on behind the cut.
    assert_eq!(decoded.rows, sample_rows()[..3]);
    assert!(decoded.error.expect("cut").truncated);
}

/// The slow oracle: the record as a tree of JSON values.
fn tree(row: &Row) -> serde_json::Value {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes));
    let headers: Vec<_> = row
        .4
        .iter()
        .map(|(name, value)| serde_json::json!({"key": String::from_utf8_lossy(name), "value": text(value)}))
        .collect();
    let timestamp = jiff::Timestamp::from_millisecond(row.1).expect("in range");
    let timestamp = match row.1 % 1000 {
        0 => format!("{timestamp:.0}"),
        _ => format!("{timestamp:.3}"),
    };
    serde_json::json!({
        "offset": row.0, "timestamp": timestamp, "key": text(&row.2), "value": text(&row.3), "headers": headers
    })
}

fn json_rows() -> impl Strategy<Value = Vec<Row>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let header = ("\\PC{0,8}".prop_map(String::into_bytes), bytes());
    let row = (
        0i64..=i64::MAX,
        0i64..253_402_207_200_000,
        bytes(),
        bytes(),
        proptest::collection::vec(header, 0..4),
    );
    proptest::collection::vec(row, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn json_comes_back_however_it_is_cut_and_packed(
        rows in json_rows(),
        array: bool,
        packed: bool,
        chunk in 1usize..300,
        block_bytes in 1usize..2000,
    ) {
        let lines: Vec<String> = rows.iter().map(|row| tree(row).to_string()).collect();
        let (plain, format) = match array {
            true => (format!("[\n{}\n]", lines.join(",\n")), Format::Json),
            false => (lines.join("\n"), Format::Jsonl),
        };
        let stored = if packed { gzip(plain.as_bytes()) } else { plain.into_bytes() };
        let decoded = decode_in(&reading(format, Interpretation::Bytes), &hints(None), &stored, chunk, block_bytes);
        prop_assert_eq!(decoded.error, None);
        prop_assert_eq!(decoded.rows, rows);
    }

    #[test]
    fn strings_agree_with_the_json_library(text in any::<String>()) {
        let line = serde_json::Value::String(text.clone()).to_string();
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let decoded = bare(&format!("{line}\n\"{escaped}\""), Interpretation::String);
        prop_assert_eq!(decoded.error, None);
        prop_assert_eq!(decoded.rows[0].3.as_deref(), Some(text.as_bytes()));
        prop_assert_eq!(decoded.rows[1].3.as_deref(), Some(text.as_bytes()));
    }

    #[test]
    fn damaged_json_never_panics(rows in json_rows(), at in any::<prop::sample::Index>(), byte: u8, array: bool) {
        let lines: Vec<String> = rows.iter().map(|row| tree(row).to_string()).collect();
        let mut stored = match array {
            true => format!("[\n{}\n]", lines.join(",\n")),
            false => lines.join("\n"),
        }.into_bytes();
        let at = at.index(stored.len());
        stored[at] = byte;
        let format = if array { Format::Json } else { Format::Jsonl };
        let decoding = reading(format, Interpretation::Bytes);
        let one = decode_in(&decoding, &hints(Some(1)), &stored, 7, 100);
        let whole = decode(&decoding, &stored);
        prop_assert_eq!(one.rows.len(), whole.rows.len());
        prop_assert_eq!(one.error.map(|error| error.byte_offset), whole.error.map(|error| error.byte_offset));
    }
}

#[test]
fn header_values_whose_type_the_sink_guessed_become_text() {
    let line = br#"{"headers":[{"key":"b","value":true},{"key":"n","value":1.5},{"key":"s","value":"x"},{"key":"z","value":null}],"offset":0,"value":"v","key":null}"#;
    let decoded = both(&reading(Format::Jsonl, Interpretation::String), line);
    assert!(decoded.error.is_none());
    let texts: Vec<Option<Vec<u8>>> = decoded.rows[0].4.iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(texts, [some("true"), some("1.5"), some("x"), None]);
    assert_eq!(decoded.notes.json_texts, 2);
}
