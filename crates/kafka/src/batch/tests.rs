use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use record::{RecordBlock, RecordRef};

use super::*;

type Fields = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn bytes_of_any_kind() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..40),
        (any::<u8>(), 0_usize..3000).prop_map(|(byte, count)| vec![byte; count]),
        vec(any::<u8>(), 100..400),
    ]
}

fn timestamps() -> impl Strategy<Value = i64> {
    // From 1985 to 2025, no timestamp, and the far ends.
    prop_oneof![8 => 473_385_600_000_i64..1_735_689_600_000, 1 => Just(-1), 1 => any::<i64>()]
}

fn records(most: usize) -> impl Strategy<Value = RecordBlock> {
    let record = (
        timestamps(),
        option::of(bytes_of_any_kind()),
        option::of(bytes_of_any_kind()),
        vec(
            (vec(any::<u8>(), 0..5), option::of(vec(any::<u8>(), 0..20))),
            0..4,
        ),
    );
    vec(record, 1..most).prop_map(|records: Vec<Fields>| {
        let mut block = RecordBlock::new();
        for (offset, (timestamp, key, value, headers)) in records.into_iter().enumerate() {
            let mut writer = block.append(1000 + 3 * offset as i64, timestamp);
            if let Some(key) = key {
                writer.key(&key);
            }
            if let Some(value) = value {
                writer.value(&value);
            }
            for (name, value) in headers {
                writer.header(&name, value.as_deref());
            }
            writer.finish();
        }
        block
    })
}

fn codecs() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL[..])
}

fn encode(block: &RecordBlock, codec: Compression, limit: usize) -> Vec<EncodedBatch> {
    let mut encoder = BatchEncoder::new(codec, None, limit, &BufferPool::new()).unwrap();
    let mut batches = Vec::new();
    for record in block.iter() {
        if encoder.append(record).unwrap() == Append::Full {
            batches.push(encoder.finish().unwrap().unwrap());
            assert_eq!(encoder.append(record).unwrap(), Append::Added);
        }
        assert!(encoder.encoded_bytes_bound() <= limit || encoder.record_count() == 1);
    }
    batches.extend(encoder.finish().unwrap());
    batches
}

fn decode(bytes: Bytes) -> Result<RecordBlock, DecodeError> {
    let mut block = RecordBlock::new();
    for batch in batches(bytes) {
        let batch = batch?;
        let mut records = batch.records()?;
        while records.read(&mut block, usize::MAX)? {}
    }
    Ok(block)
}

fn same_contents(left: &RecordBlock, right: &RecordBlock) -> bool {
    left.len() == right.len() && left.iter().zip(right.iter()).all(|(a, b)| a.same_content(&b))
}

/// A batch as a log holds it, at `base_offset`.
fn stored_at(batch: &EncodedBatch, base_offset: i64) -> BytesMut {
    let mut bytes = BytesMut::from(&batch.to_bytes()[..]);
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_goes_in_comes_out(block in records(60), codec in codecs(), limit in 8_000_usize..40_000) {
        let batches = encode(&block, codec, limit);
        let mut log = BytesMut::new();
        let mut source_offsets = Vec::new();
        let mut next = 0;
        for batch in &batches {
            prop_assert!(batch.encoded_bytes() <= limit);
            prop_assert_eq!(batch.to_bytes().len(), batch.encoded_bytes());
            log.extend_from_slice(&stored_at(batch, next));
            next += i64::from(batch.record_count());
            source_offsets.push((batch.first_source_offset(), batch.last_source_offset()));
        }
        let back = decode(log.freeze()).unwrap();
        prop_assert!(same_contents(&block, &back));
        prop_assert!(back.iter().map(|record| record.offset).eq(0..block.len() as i64));
        prop_assert_eq!(source_offsets.first().unwrap().0, block.first().unwrap().offset);
        prop_assert_eq!(source_offsets.last().unwrap().1, block.last().unwrap().offset);
        prop_assert!(source_offsets.windows(2).all(|pair| pair[1].0 == pair[0].1 + 3));
    }

    #[test]
    fn stamping_changes_the_stamp_alone(block in records(8), codec in codecs(), id: i64, epoch: i16, sequence: i32) {
        let stamp = ProducerStamp { id, epoch, sequence };
        let mut batch = encode(&block, codec, 1 << 20).remove(0);
        batch.set_stamp(stamp);
        prop_assert_eq!(batch.stamp(), stamp);
        let raw = batches(batch.to_bytes()).next().unwrap().unwrap();
        prop_assert!(raw.check_crc().is_ok());
        prop_assert_eq!(raw.header().producer_id, id);
        prop_assert_eq!(raw.header().producer_epoch, epoch);
        prop_assert_eq!(raw.header().base_sequence, sequence);
        prop_assert!(same_contents(&block, &decode(batch.to_bytes()).unwrap()));
    }

    #[test]
    fn a_cut_or_a_flipped_bit_is_never_silent(block in records(8), codec in codecs(), place: prop::sample::Index, bit in 0..8) {
        let whole = encode(&block, codec, 1 << 20)[0].to_bytes();
        let place = place.index(whole.len());
        prop_assert_eq!(decode(whole.slice(..place)).unwrap().len(), 0);
        let mut damaged = BytesMut::from(&whole[..]);
        damaged[place] ^= 1_u8 << bit;
        // Base offset and leader epoch are not covered by the checksum: brokers set them.
        if place >= 16 {
            prop_assert!(decode(damaged.freeze()).map_or(true, |block| block.is_empty()));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200), codec in 0..5_u8, count in 0..4_i32) {
        let _ = decode(Bytes::from(bytes.clone()));
        // The same bytes as records of a batch whose header and checksum are right.
        let mut header = *batches(encode(&sample(), Compression::None, 1 << 20)[0].to_bytes()).next().unwrap().unwrap().header();
        header.attributes = i16::from(codec);
        header.record_count = count;
        let mut block = RecordBlock::new();
        if let Ok(mut records) = BatchRecords::new(header, bytes.into()) {
            while let Ok(true) = records.read(&mut block, 1 << 20) {}
        }
    }
}

fn sample() -> RecordBlock {
    let mut block = RecordBlock::new();
    for index in 0..10 {
        let mut writer = block.append(index, 1_400_000_000_000 + index);
        writer.key(b"key");
        writer.value(&[index as u8; 100]);
        writer.header(b"twice", Some(b"1"));
        writer.header(b"twice", None);
        writer.finish();
    }
    block
}

#[test]
fn forty_years_fit_into_one_batch() {
    let mut block = RecordBlock::new();
    for timestamp in [0, 1_262_304_000_000, -1, i64::MAX, i64::MIN, 5] {
        block.append(0, timestamp).finish();
    }
    for codec in Compression::ALL {
        let batch = encode(&block, codec, 1 << 20).remove(0);
        assert_eq!(batch.max_timestamp(), i64::MAX);
        assert!(
            same_contents(&block, &decode(batch.to_bytes()).unwrap()),
            "{codec}"
        );
    }
}

#[test]
fn one_record_may_be_larger_than_the_pieces_and_than_the_limit_before_compression() {
    let mut block = RecordBlock::new();
    block.append(0, 0).finish();
    let mut writer = block.append(1, 0);
    writer.value(&vec![7; 3 << 20]);
    writer.finish();
    block.append(2, 0).finish();
    for codec in Compression::ALL {
        let limit = if codec == Compression::None {
            4 << 20
        } else {
            1 << 20
        };
        let batches = encode(&block, codec, limit);
        let bytes: BytesMut = batches.iter().flat_map(|batch| batch.to_bytes()).collect();
        assert!(same_contents(&block, &decode(bytes.freeze()).unwrap()), "{codec}");
    }
}

#[test]
fn a_record_that_no_batch_can_hold_is_an_error_and_the_encoder_goes_on() {
    let mut state = 1_u64;
    let random: Vec<u8> = (0..20_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let mut block = RecordBlock::new();
    let mut writer = block.append(77, 0);
    writer.value(&random);
    writer.finish();
    block.append(78, 0).finish();
    for codec in Compression::ALL {
        let mut encoder = BatchEncoder::new(codec, None, 10_000, &BufferPool::new()).unwrap();
        let result = encoder.append(block.get(0)).and_then(|_| encoder.finish());
        assert!(
            matches!(
                result,
                Err(EncodeError::RecordTooLarge {
                    offset: 77,
                    limit: 10_000,
                    ..
                })
            ),
            "{codec}: {result:?}"
        );
        assert!(encoder.is_empty());
        assert_eq!(encoder.append(block.get(1)).unwrap(), Append::Added);
        let batch = encoder.finish().unwrap().unwrap();
        assert_eq!(decode(batch.to_bytes()).unwrap().len(), 1, "{codec}");
    }
}

#[test]
fn batches_are_filled_well() {
    let mut block = RecordBlock::new();
    let mut state = 1_u32;
    for index in 0..30_000_i64 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut writer = block.append(index, index);
        writer.value(format!("{{\"id\":{state},\"name\":\"somebody\",\"amount\":{index}}}").as_bytes());
        writer.finish();
    }
    for codec in Compression::ALL {
        let batches = encode(&block, codec, 200_000);
        for batch in &batches[..batches.len() - 1] {
            let bytes = batch.encoded_bytes();
            assert!((180_000..=200_000).contains(&bytes), "{codec}: {bytes}");
        }
    }
}

#[test]
fn a_batch_of_fillers_is_small_and_whole() {
    let batch = filler_batch(100_000, 0).unwrap();
    assert_eq!(batch.record_count(), 100_000);
    assert!(batch.encoded_bytes() < 100_000, "{}", batch.encoded_bytes());
    let block = decode(batch.to_bytes()).unwrap();
    assert_eq!(block.len(), 100_000);
    assert!(
        block
            .iter()
            .all(|record: RecordRef<'_>| record.key.is_none() && record.value.is_none())
    );
    assert_eq!(filler_batch(3, 5).unwrap().record_count(), 3);
}

#[test]
fn fillers_and_records_share_batches() {
    let mut encoder = BatchEncoder::new(Compression::Lz4, None, 1 << 20, &BufferPool::new()).unwrap();
    let block = sample();
    for offset in 0..30 {
        let result = match block.iter().find(|record| record.offset * 3 == offset) {
            Some(record) => encoder.append(record),
            None => encoder.append_filler(offset, 0),
        };
        assert_eq!(result.unwrap(), Append::Added);
    }
    let back = decode(encoder.finish().unwrap().unwrap().to_bytes()).unwrap();
    assert_eq!(back.len(), 30);
    for record in block.iter() {
        assert!(back.get(record.offset as usize * 3).same_content(&record));
    }
    assert_eq!(back.get(1).value, None);
}

#[test]
fn buffers_are_used_again() {
    let pool = BufferPool::new();
    let mut encoder = BatchEncoder::new(Compression::None, None, 1 << 20, &pool).unwrap();
    let mut places = Vec::new();
    for _ in 0..3 {
        for record in sample().iter() {
            assert_eq!(encoder.append(record).unwrap(), Append::Added);
        }
        places.push(encoder.finish().unwrap().unwrap().records().as_ptr());
    }
    assert_eq!(places[0], places[1]);
    assert_eq!(places[1], places[2]);
}

#[test]
fn blocks_are_read_in_bounded_steps() {
    let batch = filler_batch(50_000, 0).unwrap();
    let raw = batches(batch.to_bytes()).next().unwrap().unwrap();
    let mut records = raw.records().unwrap();
    let mut block = RecordBlock::new();
    let mut seen = 0;
    loop {
        block.clear();
        let more = records.read(&mut block, 16_000).unwrap();
        assert!(block.len() <= 1000);
        seen += block.len();
        if !more {
            break;
        }
    }
    assert_eq!(seen, 50_000);
}

#[test]
fn lz4_frames_with_linked_blocks_and_bare_snappy_blocks_are_read() {
    use std::io::Write as _;

    let block = sample();
    let plain = encode(&block, Compression::None, 1 << 20).remove(0);
    let header = *batches(plain.to_bytes()).next().unwrap().unwrap().header();
    let info = lz4_flex::frame::FrameInfo::new()
        .block_mode(lz4_flex::frame::BlockMode::Linked)
        .block_checksums(true)
        .content_checksum(true);
    let mut lz4 = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    lz4.write_all(plain.records()).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(plain.records()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain.records()[..50]).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(gzip.finish().unwrap(), flate2::Compression::fast());
    gzip.write_all(&plain.records()[50..]).unwrap();
    let cases = [
        (3, lz4.finish().unwrap()),
        (2, snappy),
        (1, gzip.finish().unwrap()),
    ];
    for (attributes, records) in cases {
        let header = BatchHeader { attributes, ..header };
        let mut back = RecordBlock::new();
        BatchRecords::new(header, records.into())
            .unwrap()
            .read(&mut back, 1 << 20)
            .unwrap();
        assert!(same_contents(&block, &back), "{attributes}");
    }
}

#[test]
fn control_batches_are_recognised() {
    // Abort and commit markers as brokers write them: key is version 0 and the type, value version and epoch.
    for (kind, expected) in [
        (0_u8, ControlType::Abort),
        (1, ControlType::Commit),
        (2, ControlType::Other(2)),
    ] {
        let mut block = RecordBlock::new();
        let mut writer = block.append(0, 0);
        writer.key(&[0, 0, 0, kind]);
        writer.value(&[0; 6]);
        writer.finish();
        let mut batch = encode(&block, Compression::None, 1000).remove(0);
        assert_eq!(
            batches(batch.to_bytes())
                .next()
                .unwrap()
                .unwrap()
                .control()
                .unwrap(),
            None
        );
        batch.fields.attributes |= 0x30;
        let raw = batches(batch.to_bytes()).next().unwrap().unwrap();
        assert!(raw.header().is_control() && raw.header().is_transactional());
        assert_eq!(raw.control().unwrap(), Some(expected));
    }
}

#[test]
fn old_formats_and_wrong_counts_are_told_apart() {
    let batch = encode(&sample(), Compression::None, 1 << 20).remove(0).to_bytes();
    let mut old = BytesMut::from(&batch[..]);
    old[16] = 1;
    assert!(matches!(
        decode(old.freeze()),
        Err(DecodeError::OldFormat { magic: 1, .. })
    ));
    let header = *batches(batch.clone()).next().unwrap().unwrap().header();
    for record_count in [9, 11] {
        let header = BatchHeader {
            record_count,
            ..header
        };
        let mut records = BatchRecords::new(header, batch.slice(BATCH_HEADER_BYTES..)).unwrap();
        assert!(
            records.read(&mut RecordBlock::new(), 1 << 20).is_err(),
            "{record_count}"
        );
    }
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let mut batch = encode(&sample(), Compression::Zstd, 1 << 20).remove(0);
    batch.fields.attributes |= 0x08;
    batch.fields.max_timestamp = 99;
    let block = decode(batch.to_bytes()).unwrap();
    assert!(block.iter().all(|record| record.timestamp == 99));
}
