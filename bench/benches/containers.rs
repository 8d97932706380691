//! What a container around a file, or a codec of Avro's blocks or Parquet's pages, costs beyond the codec: `cargo bench -p kafka-restore-bench --bench containers`.
//!
//! For each form three things are timed in turns, from memory and on one core: the codec alone with the same library, the
//! decoder alone on the uncompressed file, and both together as the program does it. The table has the best of many
//! rounds, and the third over the sum of the other two.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::format::Decoding;
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress};
use kafka_restore_bench::dataset::{Dataset, Form, Shape};
use kafka_restore_bench::{binary, generate, read};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::reader::{FileReader, SerializedFileReader};
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 60;

/// Bytes that a codec writes at once.
const PIECE: usize = 128 << 10;

/// The most bytes of a page, unpacked.
const PAGE: usize = 2 << 20;

/// What snappy-java puts in a block.
const SNAPPY_BLOCK: usize = 32 << 10;

/// A container of the sinks, with the plainest use of its library.
struct Codec {
    name: &'static str,
    pack: fn(&[u8]) -> Vec<u8>,
    unpack: fn(&[u8]) -> u64,
}

const CODECS: [Codec; 3] = [
    Codec {
        name: "gzip",
        pack: gzip,
        unpack: gunzip,
    },
    Codec {
        name: "zstd",
        pack: zstd,
        unpack: unzstd,
    },
    Codec {
        name: "snappy",
        pack: xerial,
        unpack: unxerial,
    },
];

/// A codec of Avro's blocks or Parquet's pages, likewise.
struct BlockCodec {
    name: &'static str,
    pack: fn(&[u8]) -> Vec<u8>,
    unpack: fn(&[Vec<u8>]),
}

const BLOCK_CODECS: [BlockCodec; 3] = [
    BlockCodec {
        name: "deflate",
        pack: deflate,
        unpack: inflate_blocks,
    },
    BlockCodec {
        name: "zstandard",
        pack: zstd,
        unpack: unzstd_blocks,
    },
    BlockCodec {
        name: "snappy",
        pack: snappy_block,
        unpack: unsnappy_blocks,
    },
];

/// Those of Parquet's pages, with the library's name for them.
fn page_codecs() -> [(BlockCodec, Compression); 3] {
    let codec = |name, pack, unpack| BlockCodec { name, pack, unpack };
    let level = ZstdLevel::try_new(3).expect("a level");
    [
        (
            codec("gzip", gzip, gunzip_pages),
            Compression::GZIP(GzipLevel::default()),
        ),
        (codec("zstd", zstd_page, unzstd_pages), Compression::ZSTD(level)),
        (codec("snappy", snappy_page, unsnappy_pages), Compression::SNAPPY),
    ]
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| form | codec ms | decoder ms | together ms | over the sum |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    let texts = Arc::new(read::decoding());
    let csv = csv();
    for (name, plain) in [("csv", &csv), ("jsonl", &jsonl())] {
        for codec in &CODECS {
            let packed = Bytes::from((codec.pack)(plain));
            assert_eq!((codec.unpack)(&packed), plain.len() as u64);
            let times = best(&mut [
                &mut || {
                    black_box((codec.unpack)(black_box(&packed)));
                },
                &mut || decode(&texts, plain),
                &mut || decode(&texts, &packed),
            ]);
            writeln!(out, "{}", line(name, codec.name, times))?;
        }
    }
    let mut blocks = Vec::new();
    read::decode_stored(&texts, &csv, |block| blocks.push(std::mem::take(block)));
    let decoding = Arc::default();
    let plain = binary::avro_file(&blocks, "null", <[u8]>::to_vec).into();
    for codec in &BLOCK_CODECS {
        let mut packed_blocks = Vec::new();
        let packed = binary::avro_file(&blocks, codec.name, |block| {
            packed_blocks.push((codec.pack)(block));
            packed_blocks[packed_blocks.len() - 1].clone()
        });
        let packed = packed.into();
        let times = best(&mut [
            &mut || (codec.unpack)(black_box(&packed_blocks)),
            &mut || decode(&decoding, &plain),
            &mut || decode(&decoding, &packed),
        ]);
        writeln!(out, "{}", line("Avro", codec.name, times))?;
    }
    let file = |compression| Bytes::from(binary::parquet_file(&blocks, compression).expect("a file"));
    let plain = file(Compression::UNCOMPRESSED);
    let pages = pages(&plain);
    for (codec, compression) in page_codecs() {
        let packed = file(compression);
        let packed_pages: Vec<Vec<u8>> = pages.iter().map(|page| (codec.pack)(page)).collect();
        // They are what the file consists of, but for the headers of its pages and its footer.
        let rest = packed.len() - packed_pages.iter().map(Vec::len).sum::<usize>();
        assert!(rest < packed.len() / 100, "{rest} of {}", packed.len());
        let times = best(&mut [
            &mut || (codec.unpack)(black_box(&packed_pages)),
            &mut || decode_parquet(&decoding, &plain),
            &mut || decode_parquet(&decoding, &packed),
        ]);
        writeln!(out, "{}", line("Parquet", codec.name, times))?;
    }
    Ok(())
}

fn line(form: &str, codec: &str, times: [Duration; 3]) -> String {
    let [codec_alone, decoder_alone, together] = times.map(|time| time.as_secs_f64() * 1e3);
    let ratio = together / (codec_alone + decoder_alone);
    format!("| {form}, {codec} | {codec_alone:.1} | {decoder_alone:.1} | {together:.1} | {ratio:.2} |")
}

/// The shortest time of each of these, which run in turns.
fn best<const COUNT: usize>(parts: &mut [&mut dyn FnMut(); COUNT]) -> [Duration; COUNT] {
    let mut best = [Duration::MAX; COUNT];
    for _ in 0..ROUNDS {
        for (part, best) in parts.iter_mut().zip(&mut best) {
            let started = Instant::now();
            part();
            *best = started.elapsed().min(*best);
        }
    }
    best
}

fn decode(decoding: &Arc<Decoding>, stored: &Bytes) {
    read::decode_stored(decoding, black_box(stored), |block| {
        black_box(block);
    });
}

fn decode_parquet(decoding: &Decoding, stored: &Bytes) {
    read::decode_stored_parquet(decoding, black_box(stored), |block| {
        black_box(block);
    });
}

/// The pages of an uncompressed Parquet file.
fn pages(file: &Bytes) -> Vec<Bytes> {
    let file = SerializedFileReader::new(file.clone()).expect("a file");
    let mut pages = Vec::new();
    for number in 0..file.num_row_groups() {
        let group = file.get_row_group(number).expect("a row group");
        for column in 0..group.num_columns() {
            let reader = group.get_column_page_reader(column).expect("a column");
            pages.extend(reader.map(|page| page.expect("a page").buffer().clone()));
        }
    }
    pages
}

/// The bytes of the first object of 50 000 records.
fn object(form: Form) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dataset = Dataset {
        shape: Shape::Small,
        form,
        scale: 0.06,
    };
    let data = generate::ensure(&dataset, folder.path()).expect("a backup");
    let object = read::objects(&data).expect("objects").remove(0);
    std::fs::read(object.path).expect("an object")
}

fn csv() -> Bytes {
    object(Form::Csv).into()
}

fn jsonl() -> Bytes {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&object(Form::JsonlGzip)[..])
        .read_to_end(&mut text)
        .expect("gzip");
    text.into()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("gzip")
}

fn gunzip(packed: &[u8]) -> u64 {
    let mut inflate = Decompress::new(false);
    let mut crc = flate2::Crc::new();
    let mut output = Vec::with_capacity(PIECE);
    // The encoder above writes the shortest header there is.
    let content = &packed[10..];
    loop {
        output.clear();
        let rest = &content[inflate.total_in() as usize..];
        let status = inflate.decompress_vec(rest, &mut output, FlushDecompress::None);
        crc.update(black_box(&output));
        if status.expect("gzip") == flate2::Status::StreamEnd {
            break;
        }
    }
    inflate.total_out()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    // In pieces, as the sinks do: the frame has a window and not the size of its content.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("zstd");
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("zstd")
}

fn unzstd(packed: &[u8]) -> u64 {
    let mut decoder = zstd::stream::raw::Decoder::new().expect("zstd");
    let mut input = InBuffer::around(packed);
    let mut output: Vec<u8> = Vec::with_capacity(PIECE);
    let mut length = 0;
    loop {
        output.clear();
        let more = decoder
            .run(&mut input, &mut OutBuffer::around(&mut output))
            .expect("zstd");
        length += black_box(&output).len() as u64;
        if more == 0 {
            return length;
        }
    }
}

fn xerial(plain: &[u8]) -> Vec<u8> {
    let mut file = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in plain.chunks(SNAPPY_BLOCK) {
        let packed = snap::raw::Encoder::new().compress_vec(block).expect("snappy");
        file.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        file.extend_from_slice(&packed);
    }
    file
}

fn unxerial(packed: &[u8]) -> u64 {
    let mut output = vec![0; SNAPPY_BLOCK];
    let mut rest = &packed[16..];
    let mut length = 0;
    while let Some((size, blocks)) = rest.split_first_chunk() {
        let (block, behind) = blocks.split_at(u32::from_be_bytes(*size) as usize);
        length += snap::raw::Decoder::new()
            .decompress(block, black_box(&mut output))
            .expect("snappy") as u64;
        rest = behind;
    }
    length
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("deflate")
}

fn inflate_blocks(blocks: &[Vec<u8>]) {
    let mut inflate = Decompress::new(false);
    let mut output = Vec::with_capacity(PIECE);
    for block in blocks {
        inflate.reset(false);
        output.clear();
        let status = inflate.decompress_vec(block, &mut output, FlushDecompress::Finish);
        assert_eq!(status.expect("deflate"), flate2::Status::StreamEnd);
        black_box(&output);
    }
}

fn unzstd_blocks(blocks: &[Vec<u8>]) {
    let mut decoder = zstd::stream::raw::Decoder::new().expect("zstd");
    let mut output: Vec<u8> = Vec::with_capacity(PIECE);
    for block in blocks {
        output.clear();
        let mut input = InBuffer::around(block);
        let more = decoder.run(&mut input, &mut OutBuffer::around(&mut output));
        assert_eq!(more.expect("zstd"), 0);
        black_box(&output);
    }
}

/// Raw snappy with a checksum behind it.
fn snappy_block(plain: &[u8]) -> Vec<u8> {
    let mut packed = snap::raw::Encoder::new().compress_vec(plain).expect("snappy");
    let mut crc = flate2::Crc::new();
    crc.update(plain);
    packed.extend_from_slice(&crc.sum().to_be_bytes());
    packed
}

fn unsnappy_blocks(blocks: &[Vec<u8>]) {
    let mut decoder = snap::raw::Decoder::new();
    let mut output = vec![0; PIECE];
    for block in blocks {
        let (block, checksum) = block.split_last_chunk().expect("a checksum");
        let length = decoder.decompress(block, &mut output).expect("snappy");
        let mut crc = flate2::Crc::new();
        crc.update(&output[..length]);
        assert_eq!(crc.sum(), u32::from_be_bytes(*checksum));
    }
}

/// At once: a frame that says how long its content is.
fn zstd_page(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 3).expect("zstd")
}

fn snappy_page(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).expect("snappy")
}

fn gunzip_pages(pages: &[Vec<u8>]) {
    for page in pages {
        gunzip(page);
    }
}

fn unzstd_pages(pages: &[Vec<u8>]) {
    let mut decoder = zstd::bulk::Decompressor::new().expect("zstd");
    let mut output = Vec::with_capacity(PAGE);
    for page in pages {
        output.clear();
        decoder.decompress_to_buffer(page, &mut output).expect("zstd");
        black_box(&output);
    }
}

fn unsnappy_pages(pages: &[Vec<u8>]) {
    let mut decoder = snap::raw::Decoder::new();
    let mut output = vec![0; PAGE];
    for page in pages {
        decoder.decompress(page, black_box(&mut output)).expect("snappy");
    }
}
