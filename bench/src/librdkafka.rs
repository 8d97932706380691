//! The same job done with the usual client: files into librdkafka's producer, tuned for throughput.
//!
//! Two threads (one per core) take partition after partition, inflate with zlib-rs and large buffers, split lines with
//! memchr, decode base64 with SIMD, and hand each record to a [`BaseProducer`] with acks=all and idempotence, as the
//! program's own batches have.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use kafka::batch::Compression;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use crate::dataset::TOPIC;
use crate::floor::{Part, Watch};
use crate::read::{self, Object, READ_BYTES};

/// Counts what was delivered and what was not.
#[derive(Default)]
struct Deliveries {
    done: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.done.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.failed.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Restores a generated csv backup into [`TOPIC`].
///
/// # Errors
///
/// Where the backup cannot be read or a record is not delivered.
pub fn run(folder: &Path, bootstrap: &str, codec: Compression) -> Result<Part> {
    let watch = Watch::start()?;
    let mut partitions: BTreeMap<i32, Vec<Object>> = BTreeMap::new();
    for object in read::objects(folder)? {
        partitions.entry(object.partition).or_default().push(object);
    }
    let waiting = Mutex::new(partitions.into_values().collect::<Vec<_>>());
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", codec.name())
        .set("batch.size", "1000000")
        .set("batch.num.messages", "1000000")
        .set("linger.ms", "100")
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("max.in.flight.requests.per.connection", "5")
        .create_with_context(Deliveries::default())?;
    let (records, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<()> {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(objects) = next else { return Ok(()) };
            for object in objects {
                let (count, length) = send_object(&producer, &object)?;
                records.fetch_add(count, Ordering::Relaxed);
                bytes.fetch_add(length, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    producer.flush(Duration::from_secs(300))?;
    let (records, bytes) = (records.into_inner(), bytes.into_inner());
    let deliveries = producer.context();
    let (done, failed) = (
        deliveries.done.load(Ordering::Relaxed),
        deliveries.failed.load(Ordering::Relaxed),
    );
    if failed > 0 || done != records {
        bail!("{records} records were sent, {done} delivered, {failed} failed");
    }
    watch.stop(records, bytes)
}

fn send_object(producer: &BaseProducer<Deliveries>, object: &Object) -> Result<(u64, u64)> {
    let file = File::open(&object.path)?;
    let input: Box<dyn Read> = match object.path.extension().and_then(|suffix| suffix.to_str()) {
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(
            READ_BYTES, file,
        ))),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    };
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    let (mut line, mut key, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let (mut records, mut bytes) = (0, 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok((records, bytes));
        }
        let timestamp = parse(&line, &mut key, &mut value).context("not a generated csv line")?;
        send(producer, object.partition, timestamp, &key, &value)?;
        records += 1;
        bytes += (key.len() + value.len()) as u64;
    }
}

/// Takes a line apart; gives the timestamp.
fn parse(line: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) -> Option<i64> {
    let mut start = 0;
    let mut fields = [&line[..0]; 4];
    for field in &mut fields {
        let length = memchr::memchr(b',', &line[start..])?;
        *field = &line[start..start + length];
        start += length + 1;
    }
    for (text, bytes) in [(fields[0], key), (fields[1], value)] {
        bytes.clear();
        base64_simd::STANDARD.decode_append(text, bytes).ok()?;
    }
    std::str::from_utf8(fields[3]).ok()?.parse().ok()
}

fn send(
    producer: &BaseProducer<Deliveries>,
    partition: i32,
    timestamp: i64,
    key: &[u8],
    value: &[u8],
) -> Result<()> {
    let mut record = BaseRecord::to(TOPIC)
        .partition(partition)
        .timestamp(timestamp)
        .key(key)
        .payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                record = same;
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
