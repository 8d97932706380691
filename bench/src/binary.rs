//! Generated records as Avro and Parquet files, in memory: with the schemas that Aiven's sinks give bytes.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::builder::{BinaryBuilder, Int64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use record::RecordBlock;

const AVRO_SCHEMA: &str = r#"{"type":"record","name":"connector_records","namespace":"io.aiven.avro.output.schema","fields":[{"name":"key","type":["null","bytes"]},{"name":"value","type":["null","bytes"]},{"name":"offset","type":"long"},{"name":"timestamp","type":"long"},{"name":"headers","type":{"type":"map","values":["null","bytes"]}}]}"#;

/// Records of one block of an Avro file: about 16 KB, as Avro's writer in Java makes them.
const AVRO_BLOCK_RECORDS: usize = 70;

/// An Avro object container file with the codec of that name, whose blocks `pack` makes of their records.
pub fn avro_file(blocks: &[RecordBlock], codec: &str, mut pack: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    long(&mut file, 2);
    for (name, value) in [("avro.schema", AVRO_SCHEMA), ("avro.codec", codec)] {
        bytes(&mut file, name.as_bytes());
        bytes(&mut file, value.as_bytes());
    }
    long(&mut file, 0);
    let marker = [7; 16];
    file.extend_from_slice(&marker);
    let (mut body, mut records) = (Vec::new(), 0);
    for record in blocks.iter().flat_map(RecordBlock::iter) {
        for field in [record.key, record.value] {
            long(&mut body, i64::from(field.is_some()));
            if let Some(field) = field {
                bytes(&mut body, field);
            }
        }
        long(&mut body, record.offset);
        long(&mut body, record.timestamp);
        // A map without entries.
        long(&mut body, 0);
        records += 1;
        if records == AVRO_BLOCK_RECORDS {
            avro_block(&mut file, records, &pack(&body), &marker);
            body.clear();
            records = 0;
        }
    }
    if records > 0 {
        avro_block(&mut file, records, &pack(&body), &marker);
    }
    file
}

fn avro_block(file: &mut Vec<u8>, records: usize, packed: &[u8], marker: &[u8]) {
    long(file, records as i64);
    bytes(file, packed);
    file.extend_from_slice(marker);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// A long as Avro writes it: zigzag, seven bits to a byte.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A Parquet file whose pages are compressed so, with the dictionaries that its writers use by default.
///
/// # Errors
///
/// What the writer says.
pub fn parquet_file(blocks: &[RecordBlock], compression: Compression) -> Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", DataType::Int64, false),
    ]));
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
    for block in blocks {
        let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
        let (mut offsets, mut timestamps) = (Int64Builder::new(), Int64Builder::new());
        for record in block.iter() {
            keys.append_option(record.key);
            values.append_option(record.value);
            offsets.append_value(record.offset);
            timestamps.append_value(record.timestamp);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(keys.finish()),
            Arc::new(values.finish()),
            Arc::new(offsets.finish()),
            Arc::new(timestamps.finish()),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    Ok(writer.into_inner()?)
}
