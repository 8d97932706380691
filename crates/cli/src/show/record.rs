//! A record as one JSON line.
//!
//! Bytes that are UTF-8 are texts, others go by another name (`key_base64`), so that nothing is lost and texts
//! stay readable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use record::{NO_TIMESTAMP, RecordRef};
use serde_json::{Map, Value};

/// Appends `record` of a partition as a line to `out`.
pub(crate) fn put_line(out: &mut Vec<u8>, topic: &str, partition: i32, record: RecordRef<'_>) {
    let mut line = Map::new();
    line.insert("topic".into(), topic.into());
    line.insert("partition".into(), partition.into());
    line.insert("offset".into(), record.offset.into());
    let timestamp = Some(record.timestamp).filter(|timestamp| *timestamp != NO_TIMESTAMP);
    line.insert("timestamp".into(), timestamp.into());
    put_bytes(&mut line, "key", record.key);
    put_bytes(&mut line, "value", record.value);
    let header = |(name, value): (&[u8], Option<&[u8]>)| {
        let mut header = Map::new();
        put_bytes(&mut header, "key", Some(name));
        put_bytes(&mut header, "value", value);
        Value::Object(header)
    };
    line.insert("headers".into(), record.headers.iter().map(header).collect());
    out.extend_from_slice(Value::Object(line).to_string().as_bytes());
    out.push(b'\n');
}

fn put_bytes(map: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => map.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => map.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => map.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
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
            put_line(&mut out, "orders", 3, record);
        }
        let expected = [
            r#"{"headers":[{"key":"h","value":null},{"key":"h","value":"\"x\""},{"key_base64":"/g==","value":""}],"key":"","offset":7,"partition":3,"timestamp":1600000000000,"topic":"orders","value_base64":"/wA="}"#,
            r#"{"headers":[],"key":null,"offset":8,"partition":3,"timestamp":null,"topic":"orders","value":null}"#,
        ];
        let lines: Vec<Value> = out
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let expected: Vec<Value> = expected
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines, expected);
    }
}
