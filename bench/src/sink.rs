//! A broker that keeps nothing: it acknowledges every batch as soon as its bytes have arrived, and remembers log ends,
//! configurations and committed offsets, which is all that a restore asks for.
//!
//! What a real broker does with a batch costs about as much as making one, so that on a small machine it is the limit;
//! against the sink the program's own is seen. Requests of one connection are handled one after the other, as brokers do.
//! Two delays stand for a real network and for real followers: `latency` passes between a request's arrival and its
//! answer while the next requests are taken, `service` before the next request is taken. A `bandwidth` stands for a
//! network that carries only so much on one connection.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use serde::{Deserialize, Serialize};

use crate::server;

mod answers;

/// Bytes taken off a connection at once: what stays within the processor's caches.
const READ_BYTES: usize = 256 << 10;

/// The only version of Produce that is answered.
const PRODUCE_VERSION: i16 = 12;

/// How a sink behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Partitions of its one topic.
    pub partitions: i32,
    /// From a Produce request's arrival to its answer; others go on meanwhile.
    pub latency: Duration,
    /// The same, while the connection's next request has to wait: followers that must confirm.
    pub service: Duration,
    /// Bytes of batches that are taken off one connection in a second, where that is bounded.
    pub bandwidth: Option<u64>,
}

/// What a sink has taken.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    /// Records.
    pub records: u64,
    /// Bytes of batches.
    pub bytes: u64,
    /// Produce requests.
    pub requests: u64,
    /// Connections that sent at least one of them.
    pub connections: u64,
    /// Seconds from the end of the first Produce request to the end of the last.
    pub seconds: f64,
}

#[derive(Default)]
struct State {
    taken: Taken,
    first: Option<Instant>,
    /// The end of each partition's log.
    ends: BTreeMap<i32, i64>,
    /// The topic's own configuration.
    configs: BTreeMap<String, String>,
    /// Offsets and their metadata by group, topic and partition.
    committed: HashMap<(String, String, i32), (i64, Option<String>)>,
    next_producer: i64,
}

struct Sink {
    behaviour: Behaviour,
    port: u16,
    state: Mutex<State>,
}

/// One batch of a Produce request.
struct Batch {
    partition: i32,
    records: i64,
    bytes: usize,
}

/// Serves on a free port until standard input ends; `announce` gets the port.
///
/// # Errors
///
/// Where no port can be had.
pub fn serve(behaviour: Behaviour, announce: impl FnOnce(u16) -> Result<()>) -> Result<Taken> {
    let sink = start(behaviour)?;
    server::serve_until_told(sink.port, announce)?;
    let taken = sink.lock().taken;
    Ok(taken)
}

fn start(behaviour: Behaviour) -> Result<Arc<Sink>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let sink = Arc::new(Sink {
        behaviour,
        port: listener.local_addr()?.port(),
        state: Mutex::default(),
    });
    let serving = Arc::clone(&sink);
    server::accept(listener, move |stream| serving.connection(stream));
    Ok(sink)
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut output = stream.try_clone()?;
        let (answers, due) = channel::<(Instant, BytesMut)>();
        if !self.behaviour.latency.is_zero() {
            let output = stream.try_clone()?;
            thread::spawn(move || answer_late(&due, output));
        }
        let mut produced = false;
        // When the bandwidth has let through what was taken so far.
        let mut through = Instant::now();
        let mut input = BufReader::with_capacity(READ_BYTES, stream);
        loop {
            let mut length = [0; 4];
            input.read_exact(&mut length)?;
            let arrived = Instant::now();
            let length = usize::try_from(i32::from_be_bytes(length))?;
            let mut request = (&mut input).take(length as u64);
            let mut head = [0; 8];
            request.read_exact(&mut head)?;
            let [key, version] = [0, 2].map(|at| i16::from_be_bytes([head[at], head[at + 1]]));
            let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            let mut answer = BytesMut::new();
            answer.extend_from_slice(&[0; 4]);
            if key == ApiKey::Produce as i16 {
                ensure!(version == PRODUCE_VERSION, "Produce {version}");
                let batches = read_produce(&mut request)?;
                ensure!(request.limit() == 0, "a Produce request has a rest");
                if !std::mem::replace(&mut produced, true) {
                    self.lock().taken.connections += 1;
                }
                answer_header(&mut answer, key, version, correlation)?;
                self.produce(&batches).encode(&mut answer, version)?;
                if let Some(bandwidth) = self.behaviour.bandwidth {
                    let bytes: usize = batches.iter().map(|batch| batch.bytes).sum();
                    through = through.max(arrived) + Duration::from_secs_f64(bytes as f64 / bandwidth as f64);
                    thread::sleep(through.saturating_duration_since(Instant::now()));
                }
                thread::sleep(self.behaviour.service);
            } else {
                let mut body = Vec::with_capacity(length);
                body.extend_from_slice(&head);
                request.read_to_end(&mut body)?;
                let mut body = Bytes::from(body);
                let api = ApiKey::try_from(key).ok().context("an unknown request")?;
                RequestHeader::decode(&mut body, api.request_header_version(version))?;
                answer_header(&mut answer, key, version, correlation)?;
                self.answer(api, version, body, &mut answer)?;
            }
            let length = u32::try_from(answer.len() - 4)?;
            answer[..4].copy_from_slice(&length.to_be_bytes());
            match self.behaviour.latency.is_zero() {
                true => output.write_all(&answer)?,
                false => {
                    let wait = match key == ApiKey::Produce as i16 {
                        true => self.behaviour.latency,
                        false => Duration::ZERO,
                    };
                    answers.send((Instant::now() + wait, answer))?;
                }
            }
        }
    }

    fn note(&self, batches: &[Batch]) -> Vec<i64> {
        let mut state = self.lock();
        let first = *state.first.get_or_insert_with(Instant::now);
        state.taken.seconds = first.elapsed().as_secs_f64();
        state.taken.requests += 1;
        let mut bases = Vec::new();
        for batch in batches {
            state.taken.records += batch.records.unsigned_abs();
            state.taken.bytes += batch.bytes as u64;
            let end = state.ends.entry(batch.partition).or_default();
            bases.push(*end);
            *end += batch.records;
        }
        bases
    }
}

fn answer_header(answer: &mut BytesMut, key: i16, version: i16, correlation: i32) -> Result<()> {
    let api = ApiKey::try_from(key).ok().context("an unknown request")?;
    ResponseHeader::default()
        .with_correlation_id(correlation)
        .encode(answer, api.response_header_version(version))
}

/// Writes each answer when its time has come.
fn answer_late(due: &Receiver<(Instant, BytesMut)>, mut output: TcpStream) -> Result<()> {
    for (time, answer) in due {
        thread::sleep(time.saturating_duration_since(Instant::now()));
        output.write_all(&answer)?;
    }
    Ok(())
}

/// Reads a Produce request behind its correlation id, version 12, all for one topic; the records are thrown away unread.
fn read_produce(request: &mut impl BufRead) -> Result<Vec<Batch>> {
    let client = read_i16(request)?;
    skip(request, usize::try_from(client).unwrap_or(0))?;
    tags(request)?;
    ensure!(length(request)? == 0, "a transaction");
    skip(request, 2 + 4)?;
    let mut batches = Vec::new();
    for _ in 0..length(request)? {
        let name = length(request)?;
        skip(request, name)?;
        for _ in 0..length(request)? {
            let partition = read_i32(request)?;
            let bytes = length(request)?;
            // The count of records stands at the end of a batch's header: KIP-98.
            ensure!(bytes >= 61, "a batch of {bytes} bytes");
            skip(request, 57)?;
            let records = i64::from(read_i32(request)?);
            skip(request, bytes - 61)?;
            tags(request)?;
            batches.push(Batch {
                partition,
                records,
                bytes,
            });
        }
        tags(request)?;
    }
    tags(request)?;
    Ok(batches)
}

fn read_i16(request: &mut impl BufRead) -> Result<i16> {
    let mut bytes = [0; 2];
    request.read_exact(&mut bytes)?;
    Ok(i16::from_be_bytes(bytes))
}

fn read_i32(request: &mut impl BufRead) -> Result<i32> {
    let mut bytes = [0; 4];
    request.read_exact(&mut bytes)?;
    Ok((&bytes[..]).get_i32())
}

/// A varint that is one more than a length; 0 where there is nothing.
fn length(request: &mut impl BufRead) -> Result<usize> {
    Ok(varint(request)?.saturating_sub(1))
}

fn varint(request: &mut impl BufRead) -> Result<usize> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        request.read_exact(&mut byte)?;
        value |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number of more than five bytes")
}

/// Tagged fields: there are none.
fn tags(request: &mut impl BufRead) -> Result<()> {
    ensure!(varint(request)? == 0, "a tagged field");
    Ok(())
}

fn skip(request: &mut impl BufRead, mut bytes: usize) -> Result<()> {
    while bytes > 0 {
        let here = request.fill_buf()?.len().min(bytes);
        ensure!(here > 0, "the request ends early");
        request.consume(here);
        bytes -= here;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka::batch::{Compression, EncodedBatch};
    use kafka::cluster::Cluster;
    use kafka::config::ClientConfig;
    use kafka::producer::{Producer, ProducerOptions};
    use record::{RecordBlock, TopicPartition};

    use super::*;
    use crate::dataset::TOPIC;
    use crate::floor::Encoder;

    fn batches(records: i64) -> Vec<EncodedBatch> {
        let mut block = RecordBlock::new();
        for offset in 0..records {
            let mut record = block.append(offset, offset);
            record.value(&[7; 300]);
            record.finish();
        }
        let (mut batches, mut encoder) = (Vec::new(), Encoder::new(Compression::None).unwrap());
        encoder.encode(&block, |batch| batches.push(batch)).unwrap();
        encoder.finish(|batch| batches.push(batch)).unwrap();
        batches
    }

    #[tokio::test]
    async fn batches_are_counted_and_their_offsets_told() {
        for latency in [0, 2] {
            let sink = start(Behaviour {
                partitions: 2,
                latency: Duration::from_millis(latency),
                service: Duration::ZERO,
                bandwidth: None,
            })
            .unwrap();
            let bootstrap = format!("127.0.0.1:{}", sink.port).parse().unwrap();
            let cluster = Cluster::connect(ClientConfig::new(vec![bootstrap]))
                .await
                .unwrap();
            let options = ProducerOptions {
                identity: Some(cluster.init_producer_id().await.unwrap()),
                ..ProducerOptions::default()
            };
            let producer = Producer::new(cluster, options);
            for partition in 0..2 {
                let mut into = producer.partition(TopicPartition::new(TOPIC, partition), 0, 0);
                for batch in batches(10_000) {
                    into.append(batch).await.unwrap();
                }
                assert_eq!(into.flush().await.unwrap(), 10_000);
            }
            let taken = sink.lock().taken;
            assert_eq!((taken.records, taken.connections), (20_000, 1));
            assert!(taken.bytes > 20_000 * 300);
        }
    }
}
