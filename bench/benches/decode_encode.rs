//! Decoders and encoders alone, in payload bytes per second of one core: `cargo bench -p kafka-restore-bench`.

use std::path::PathBuf;
use std::sync::OnceLock;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kafka::batch::Compression;
use kafka_restore_bench::dataset::{Dataset, Form, Shape};
use kafka_restore_bench::floor::{BLOCK_BYTES, Encoder};
use kafka_restore_bench::{generate, read};
use record::RecordBlock;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// One object of 50 000 records.
fn object(shape: Shape, form: Form) -> read::Object {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder"));
    let scale = match shape {
        Shape::Small => 0.06,
        _ => 0.1,
    };
    let data: PathBuf = generate::ensure(&Dataset { shape, form, scale }, folder.path()).expect("a backup");
    read::objects(&data).expect("objects").remove(0)
}

fn blocks(shape: Shape) -> Vec<RecordBlock> {
    let mut blocks = Vec::new();
    let object = object(shape, Form::Csv);
    read::decode(&object, BLOCK_BYTES, |block| {
        blocks.push(std::mem::take(block));
        Ok(())
    })
    .expect("a readable object");
    blocks
}

fn payload(blocks: &[RecordBlock]) -> BytesCount {
    BytesCount::new(blocks.iter().map(RecordBlock::payload_bytes).sum::<usize>())
}

#[divan::bench(args = ["csv", "csv-gzip", "csv-zstd", "jsonl-gzip"], sample_count = 20, sample_size = 1)]
fn decode(bencher: Bencher<'_, '_>, form: &str) {
    let form = <Form as clap::ValueEnum>::from_str(form, false).expect("a form");
    let object = object(Shape::Small, form);
    bencher.counter(payload(&blocks(Shape::Small))).bench_local(|| {
        read::decode(black_box(&object), BLOCK_BYTES, |block| {
            black_box(block);
            Ok(())
        })
    });
}

#[divan::bench(args = Compression::ALL, sample_count = 20, sample_size = 1)]
fn encode(bencher: Bencher<'_, '_>, codec: Compression) {
    let blocks = blocks(Shape::Small);
    let mut encoder = Encoder::new(codec).expect("an encoder");
    bencher.counter(payload(&blocks)).bench_local(|| {
        for block in &blocks {
            encoder
                .encode(block, |batch| drop(black_box(batch)))
                .expect("batches");
        }
        encoder.finish(|batch| drop(black_box(batch))).expect("a batch");
    });
}
