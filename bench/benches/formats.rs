//! Decoders alone, uncompressed and from memory, in payload bytes per second of one core:
//! `cargo bench -p kafka-restore-bench --bench formats`.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kafka_restore_bench::dataset::{Dataset, Form, Shape};
use kafka_restore_bench::{binary, generate, read};
use parquet::basic::Compression;
use record::RecordBlock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// The bytes of the first object of 50 000 records.
fn object(form: Form, folder: &Path) -> Vec<u8> {
    let dataset = Dataset {
        shape: Shape::Small,
        form,
        scale: 0.06,
    };
    let data = generate::ensure(&dataset, folder).expect("a backup");
    let object = read::objects(&data).expect("objects").remove(0);
    std::fs::read(object.path).expect("an object")
}

#[divan::bench(args = ["csv", "jsonl", "avro", "parquet"], sample_count = 40, sample_size = 1)]
fn payload_bytes(bencher: Bencher<'_, '_>, form: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let texts = Arc::new(read::decoding());
    let csv = Bytes::from(object(Form::Csv, folder.path()));
    let mut blocks = Vec::new();
    read::decode_stored(&texts, &csv, |block| blocks.push(std::mem::take(block)));
    let payload: usize = blocks.iter().map(RecordBlock::payload_bytes).sum();
    let (decoding, stored) = match form {
        "csv" => (texts, csv),
        "jsonl" => {
            let gzip = object(Form::JsonlGzip, folder.path());
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..])
                .read_to_end(&mut text)
                .expect("gzip");
            (texts, text.into())
        }
        "avro" => (
            Arc::default(),
            binary::avro_file(&blocks, "null", <[u8]>::to_vec).into(),
        ),
        _ => (
            Arc::default(),
            binary::parquet_file(&blocks, Compression::UNCOMPRESSED)
                .expect("a file")
                .into(),
        ),
    };
    bencher
        .counter(BytesCount::new(payload))
        .bench_local(|| match form {
            "parquet" => read::decode_stored_parquet(&decoding, black_box(&stored), |block| {
                black_box(block);
            }),
            _ => read::decode_stored(&decoding, black_box(&stored), |block| {
                black_box(block);
            }),
        });
}
