//! A record as one JSON line.
//!
//! Bytes that are UTF-8 are texts, others go by another name (`key_base64`), so that nothing is lost and texts
//! stay readable.

use backup::inventory::NO_PARTITION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{NO_TIMESTAMP, RecordRef};
use serde::Serialize;

/// A record's line. Of a field and its `_base64` twin exactly one is there; an inner `None` is null.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: Option<i32>,
    offset: i64,
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<Header<'a>>,
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Appends `record` of a partition, or of none, as a line to `out`.
pub(crate) fn put_line(
    out: &mut Vec<u8>,
    topic: &str,
    partition: i32,
    record: RecordRef<'_>,
) -> serde_json::Result<()> {
    let (key, key_base64) = text_or_base64(record.key);
    let (value, value_base64) = text_or_base64(record.value);
    let header = |(name, value)| {
        let (key, key_base64) = text_or_base64(Some(name));
        let (value, value_base64) = text_or_base64(value);
        Header {
            key,
            key_base64,
            value,
            value_base64,
        }
    };
    let headers = record.headers.iter().map(header).collect();
    let timestamp = Some(record.timestamp).filter(|timestamp| *timestamp != NO_TIMESTAMP);
    let offset = record.offset;
    let line = Line {
        topic,
        partition: Some(partition).filter(|partition| *partition != NO_PARTITION),
        offset,
        timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<Option<&str>>, Option<String>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (Some(None), None),
        Some((_, Ok(text))) => (Some(Some(text)), None),
        Some((bytes, Err(_))) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::RecordBlock;

    #[test]
    fn null_is_not_empty_and_bytes_are_kept() {
        let mut block = RecordBlock::new();
        let mut writer = block.append(7, 1_600_000_000_000);
        writer.key(b"");
        writer.value(b"\xff\x00");
        writer.header(b"h", None);
        writer.header(b"h", Some(b"\"x\""));
        writer.header(b"\xfe", Some(b""));
        writer.finish();
        let mut writer = block.append(8, NO_TIMESTAMP);
        writer.key_null();
        writer.value_null();
        writer.finish();
        let mut out = Vec::new();
        for record in block.iter() {
            put_line(&mut out, "orders", 3, record).unwrap();
        }
        let expected = [
            r#"{"topic":"orders","partition":3,"offset":7,"timestamp":1600000000000,"key":"","value_base64":"/wA=","headers":[{"key":"h","value":null},{"key":"h","value":"\"x\""},{"key_base64":"/g==","value":""}]}"#,
            r#"{"topic":"orders","partition":3,"offset":8,"timestamp":null,"key":null,"value":null,"headers":[]}"#,
        ];
        assert_eq!(
            String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(),
            expected
        );
    }
}
