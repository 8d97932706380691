//! What the fuzz targets of the record formats share.

use std::sync::Arc;

use backup::format::{Decoding, Field, Format, Interpretation, ObjectDecoder, ObjectHints, Status};
use bytes::Bytes;
use record::RecordBlock;

/// All five fields in the connector's usual order.
pub const FIELDS: [Field; 5] = [
    Field::Key,
    Field::Value,
    Field::Offset,
    Field::Timestamp,
    Field::Headers,
];

/// A small limit, so that the fuzzer reaches it.
const MAX_RECORD_BYTES: usize = 4096;

/// Decodes `stored` twice, whole and in chunks of a size that its first byte gives, steps over what can be
/// stepped over, and asserts that both come to the same and keep within their memory.
pub fn decode(format: Format, fields: Option<Vec<Field>>, data: &[u8]) {
    let Some((first, stored)) = data.split_first() else {
        return;
    };
    let decoding = Arc::new(Decoding {
        format: Some(format),
        fields,
        key_as: Some(Interpretation::String),
        value_as: Some(Interpretation::Json),
        header_as: Some(Interpretation::Bytes),
        max_record_bytes: MAX_RECORD_BYTES,
        ..Decoding::default()
    });
    let whole = run(&decoding, stored, usize::MAX, 1 << 20);
    let chunked = run(&decoding, stored, usize::from(*first) + 1, 300);
    assert_eq!(whole, chunked);
}

fn run(decoding: &Arc<Decoding>, stored: &[u8], chunk: usize, block_bytes: usize) -> Vec<String> {
    let hints = ObjectHints {
        key: "object".into(),
        start_offset: Some(0),
        next_start_offset: None,
    };
    let mut decoder = ObjectDecoder::new(decoding.clone(), hints);
    let mut chunks = stored.chunks(chunk);
    let mut block = RecordBlock::new();
    let mut seen = Vec::new();
    loop {
        let result = decoder.decode(&mut block, block_bytes);
        seen.extend(block.iter().map(|record| format!("{record:?}")));
        block.clear();
        match result {
            Ok(Status::NeedInput) => match chunks.next() {
                Some(chunk) => decoder.push(Bytes::copy_from_slice(chunk)),
                None => decoder.end_of_input(),
            },
            Ok(Status::BlockReady) => {}
            Ok(Status::Finished | Status::Seekable) => break,
            Err(_) => match decoder.resume_after_error() {
                Some(rejected) => seen.push(format!("rejected {} bytes", rejected.bytes.len())),
                None => break,
            },
        }
        assert!(decoder.memory_bytes() < 8 << 20, "the buffer is bounded");
    }
    seen
}
