//! Batches as the packs of a stream: records are encoded by the thread that has just decoded them.
//!
//! A batch begins with the first record of a pack and ends with its last one, so what it says of offsets and times does
//! not depend on anything before it; where it goes in the target is seen when its turn comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::stream::packing::{Pack, Packer, Packing};
use kafka::batch::{BatchEncoder, Compression, EncodeError, EncodedBatch};
use record::RecordBlock;

use crate::cut::RECORD_OVERHEAD;
use crate::encode::{Encoding, append_records};

/// The batches of one pack, usually one.
pub(crate) struct Batches {
    encoded: Result<Vec<EncodedBatch>, EncodeError>,
}

impl Batches {
    /// The batches, which share their bytes with these.
    pub(crate) fn get(&self) -> Result<Vec<EncodedBatch>, EncodeError> {
        self.encoded.clone()
    }
}

impl Pack for Batches {
    fn memory_bytes(&self) -> usize {
        let batches = self.encoded.iter().flatten();
        batches.map(EncodedBatch::encoded_bytes).sum()
    }

    fn unpack(&self) -> RecordBlock {
        let mut block = RecordBlock::new();
        for batch in self.encoded.iter().flatten() {
            let read = batch
                .decode()
                .and_then(|mut records| records.read(&mut block, usize::MAX));
            assert!(
                matches!(read, Ok(false)),
                "a batch cannot be decoded again: {read:?}"
            );
        }
        block
    }
}

impl Packing for Encoding {
    fn packer(self: Arc<Self>, bytes: usize) -> Option<Box<dyn Packer>> {
        // A packer keeps its encoder while its object waits for bytes, and those of zstd take megabytes.
        let fits = self.target_bytes() <= bytes && self.compression() != Compression::Zstd;
        fits.then(|| Box::new(BatchPacker::new(self)) as Box<dyn Packer>)
    }
}

/// Makes batches out of the records of one object.
struct BatchPacker {
    encoding: Arc<Encoding>,
    /// With the largest batch that it makes.
    encoder: Option<(usize, BatchEncoder)>,
    encoded: Result<Vec<EncodedBatch>, EncodeError>,
    /// Bytes before compression in the pack, in the last block that was added, and where a pack is full.
    bytes: usize,
    added: usize,
    most: usize,
    took: Duration,
}

impl BatchPacker {
    fn new(encoding: Arc<Encoding>) -> Self {
        Self {
            encoding,
            encoder: None,
            encoded: Ok(Vec::new()),
            bytes: 0,
            added: 0,
            most: 0,
            took: Duration::ZERO,
        }
    }

    /// Adds to the batches, or leaves it where one of them could not be made.
    fn encode(&mut self, block: &RecordBlock) -> Result<(), EncodeError> {
        let Ok(batches) = &mut self.encoded else {
            return Ok(());
        };
        let (_, encoder) = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(self.encoding.take_encoder()?),
        };
        append_records(encoder, block, 0..block.len(), batches)
    }

    /// Ends the last batch.
    fn end(&mut self) -> Result<Vec<EncodedBatch>, EncodeError> {
        let encoder = self.encoder.take();
        let mut batches = std::mem::replace(&mut self.encoded, Ok(Vec::new()))?;
        if let Some((limit, mut encoder)) = encoder {
            batches.extend(encoder.finish()?);
            self.encoding.give_back(limit, encoder);
        }
        self.encoding.learn(&batches);
        Ok(batches)
    }
}

impl Packer for BatchPacker {
    fn add(&mut self, block: &RecordBlock) -> bool {
        let started = Instant::now();
        let added = block.payload_bytes() + block.len() * RECORD_OVERHEAD;
        if self.bytes == 0 {
            self.most = self.encoding.batch_bytes();
        }
        // A record that may need a larger batch than the topic takes is a matter for the writer, which can raise that.
        let largest = self.encoding.target_bytes() / 2;
        let is_large = |index: usize| block.payload_bytes_of(index..index + 1) > largest;
        if added > largest && (0..block.len()).any(is_large) {
            return false;
        }
        if let Err(error) = self.encode(block) {
            self.encoded = Err(error);
        }
        self.bytes += added;
        self.added = added;
        self.took += started.elapsed();
        true
    }

    fn is_full(&self) -> bool {
        self.bytes + self.added > self.most || self.encoded.is_err()
    }

    fn finish(&mut self) -> Box<dyn Pack> {
        let started = Instant::now();
        let encoded = self.end();
        self.bytes = 0;
        self.took += started.elapsed();
        self.encoding.was_busy(std::mem::take(&mut self.took));
        Box::new(Batches { encoded })
    }
}

#[cfg(test)]
mod tests {
    use kafka::batch::BufferPool;
    use proptest::prelude::*;

    use super::*;

    /// Aims at batches of 2 000 bytes.
    fn encoding(codec: Compression, limit: usize) -> Arc<Encoding> {
        let encoding = Encoding::new(codec, false, 2_000, limit, &BufferPool::new(), &Arc::default());
        Arc::new(encoding)
    }

    fn block(first: i64, values: &[Vec<u8>]) -> RecordBlock {
        let mut block = RecordBlock::new();
        for (offset, value) in (first..).zip(values) {
            let mut writer = block.append(offset, 1_000 - offset);
            writer.value(value);
            if offset % 3 == 0 {
                writer.key(b"key");
                writer.header(b"name", None);
            }
            writer.finish();
        }
        block
    }

    proptest! {
        #[test]
        fn batches_hold_what_was_packed_and_keep_to_their_size(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..120),
            at_once in 1usize..20,
            codec in prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4]),
        ) {
            let limit = 4_000;
            let encoding = encoding(codec, limit);
            let mut packer = encoding.packer(2_000).unwrap();
            let (mut given, mut packed) = (RecordBlock::new(), RecordBlock::new());
            let mut packs = Vec::new();
            for (number, values) in values.chunks(at_once).enumerate() {
                let block = block((number * at_once) as i64, values);
                block.iter().for_each(|record| given.push(record));
                prop_assert!(packer.add(&block));
                if packer.is_full() {
                    packs.push(packer.finish());
                }
            }
            // Something is in the last one at least.
            if packs.iter().map(|pack| pack.unpack().len()).sum::<usize>() < given.len() {
                packs.push(packer.finish());
            }
            for pack in &packs {
                pack.unpack().iter().for_each(|record| packed.push(record));
                let pack: &dyn std::any::Any = &**pack;
                let batches = pack.downcast_ref::<Batches>().unwrap().get().unwrap();
                prop_assert!(batches.iter().all(|batch| batch.encoded_bytes() <= limit));
            }
            packed.number_from(0);
            prop_assert!(packed == given);
        }
    }

    #[test]
    fn a_record_that_might_need_a_larger_batch_is_not_taken_and_neither_is_what_comes_with_it() {
        let encoding = encoding(Compression::None, 2_000);
        assert!(Arc::clone(&encoding).packer(1_999).is_none());
        let mut packer = encoding.packer(2_000).unwrap();
        assert!(packer.add(&block(0, &[vec![1; 10], vec![2; 20]])));
        assert!(!packer.add(&block(2, &[vec![3; 10], vec![4; 1_001], vec![5; 10]])));
        let pack = packer.finish().unpack();
        assert_eq!(pack.len(), 2);
    }

    #[test]
    fn encoders_of_megabytes_do_not_wait_with_their_objects() {
        let encoding = encoding(Compression::Zstd, 2_000);
        assert!(encoding.packer(1 << 20).is_none());
    }
}
