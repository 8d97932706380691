//! Any bytes as an Avro file, and as the blocks of one with a good header: no panic, bounded memory, the same
//! records however the object is cut in chunks.
#![no_main]

use backup::format::Format;
use kafka_restore_fuzz::decode;
use libfuzzer_sys::fuzz_target;

/// What the sink writes, and types that need more of the decoder: recursion, values without bytes, numbers.
const SCHEMAS: [&str; 4] = [
    r#"{"type":"record","name":"connector_records","fields":[{"name":"key","type":["null","bytes"]},
        {"name":"value","type":["null","string"]},{"name":"offset","type":"long"},{"name":"timestamp","type":"long"},
        {"name":"headers","type":{"type":"map","values":["null","bytes"]}}]}"#,
    r#"{"type":"record","name":"connector_records","fields":[{"name":"offset","type":"int"},{"name":"value","type":
        {"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]},{"name":"a","type":{"type":"array","items":"null"}},
        {"name":"m","type":{"type":"map","values":"double"}},{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}}]}}]}"#,
    r#"{"type":"record","name":"V","fields":[{"name":"f","type":{"type":"fixed","name":"F","size":3}},
        {"name":"n","type":["int","null","boolean","float"]}]}"#,
    r#"["null","long"]"#,
];

const CODECS: [&str; 6] = ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"];

fuzz_target!(|data: &[u8]| {
    let [chunk, kind, rest @ ..] = data else {
        return;
    };
    let schema = SCHEMAS.get(usize::from(kind % 8));
    let Some(schema) = schema else {
        decode(Format::Avro, None, data);
        return;
    };
    let mut file = vec![*chunk];
    file.extend_from_slice(b"Obj\x01\x04");
    bytes(b"avro.schema", &mut file);
    bytes(schema.as_bytes(), &mut file);
    bytes(b"avro.codec", &mut file);
    bytes(CODECS[usize::from(kind / 8) % CODECS.len()].as_bytes(), &mut file);
    file.push(0);
    file.extend_from_slice(&[7; 16]);
    // Each block: how many records, how many bytes.
    let mut rest = rest;
    while let [count, length, behind @ ..] = rest {
        let (block, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        file.push(count & 0x7f);
        bytes(block, &mut file);
        file.extend_from_slice(&[7; 16]);
        rest = behind;
    }
    decode(Format::Avro, None, &file);
});

fn bytes(bytes: &[u8], file: &mut Vec<u8>) {
    let mut length = bytes.len() * 2;
    while length >= 0x80 {
        file.push(length as u8 | 0x80);
        length >>= 7;
    }
    file.push(length as u8);
    file.extend_from_slice(bytes);
}
