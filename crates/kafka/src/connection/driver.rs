//! The task behind a connection: one loop writes, one reads, and whatever ends one ends both.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, WriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::decode::decode_response;
use super::frame::{self, Expected, Outgoing};
use super::versions::Versions;
use crate::auth::{self, Authenticator};
use crate::error::{KafkaError, ResponseError};

/// A byte stream to a broker: TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Requests written with one call, at most; further ones wait for the next.
const WRITE_BATCH: usize = 64;

/// How long the reader gets to find out why a write failed.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// What the driver of a connection starts with.
pub(super) struct Driver {
    pub(super) addr: Arc<str>,
    pub(super) client_id: String,
    pub(super) request_timeout: Duration,
    pub(super) authenticator: Option<Arc<Authenticator>>,
    pub(super) outgoing: mpsc::UnboundedReceiver<Outgoing>,
    /// Gets the broker's versions once the connection can be used, or goes where it never can.
    pub(super) ready: oneshot::Sender<Versions>,
    pub(super) ended: watch::Sender<Option<KafkaError>>,
    pub(super) close: mpsc::Receiver<()>,
}

type InFlight = (i32, Expected);

/// Runs a connection until it ends; then everything that was not answered gets an error.
pub(super) async fn run(stream: Box<dyn Stream>, mut driver: Driver) {
    let (reader, writer) = tokio::io::split(stream);
    let (in_flight, mut expected) = mpsc::unbounded_channel();
    let mut wire = Wire {
        writer,
        in_flight,
        next_id: 0,
        addr: driver.addr.clone(),
        client_id: driver.client_id,
        timeout: driver.request_timeout,
    };
    let write = async {
        let outgoing = &mut driver.outgoing;
        let authenticator = driver.authenticator.as_deref();
        let (versions, session_end) = wire.set_up(authenticator).await?;
        let _ = driver.ready.send(versions);
        write_loop(wire, outgoing, authenticator, session_end).await
    };
    let write = async {
        let result = write.await;
        if let Err(KafkaError::Disconnected { .. }) = result {
            // A broker that refuses says why, and that is on its way to the reader; the failed write only shows that it
            // has hung up.
            tokio::time::sleep(LAST_WORDS).await;
        }
        result
    };
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let read = async {
        let result = read_loop(&mut reader, &mut expected, &driver.addr).await;
        if result.is_err() {
            // The writer may not have seen the last answer yet: "wrong password" says more than "hung up".
            tokio::task::yield_now().await;
        }
        result
    };
    let error = tokio::select! {
        result = async { tokio::try_join!(write, read) } => match result {
            Ok(_) => disconnected(&driver.addr, "this side closed it"),
            Err(error) => error,
        },
        Some(()) = driver.close.recv() => disconnected(&driver.addr, "this side closed it"),
    };
    tracing::debug!(addr = %driver.addr, %error, "connection ended");
    driver.outgoing.close();
    expected.close();
    let left = disconnected(&driver.addr, &reason(&error));
    driver.ended.send_replace(Some(error));
    while let Ok((_, expected)) = expected.try_recv() {
        let _ = expected.reply.send(Err(left.clone()));
    }
    while let Ok(outgoing) = driver.outgoing.try_recv() {
        let _ = outgoing.expected.reply.send(Err(left.clone()));
    }
}

fn disconnected(addr: &str, message: &str) -> KafkaError {
    KafkaError::Disconnected {
        addr: addr.to_owned(),
        message: message.to_owned(),
    }
}

fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::Disconnected { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Takes answers off the stream in the order of the requests. Ends well when the writer has gone and nothing is in
/// flight.
async fn read_loop<R: AsyncRead + Unpin>(
    reader: &mut BufReader<R>,
    in_flight: &mut mpsc::UnboundedReceiver<InFlight>,
    addr: &str,
) -> Result<(), KafkaError> {
    loop {
        let next = tokio::select! {
            biased;
            next = in_flight.recv() => next,
            // Nothing is in flight: a broker that closes now is noticed at once.
            read = reader.fill_buf() => match read {
                Ok([]) => return Err(disconnected(addr, "the broker closed it")),
                Ok(_) => match in_flight.try_recv() {
                    Ok(next) => Some(next),
                    Err(_) => return Err(KafkaError::protocol(addr, "it sent an answer to no request")),
                },
                Err(error) => return Err(frame::broken(addr, &error)),
            },
        };
        let Some((id, expected)) = next else {
            return Ok(());
        };
        let answer = match timeout_at(expected.deadline, frame::read(reader, addr)).await {
            Ok(Ok(frame)) => frame::body(frame, &expected, id, addr),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(KafkaError::TimedOut {
                what: format!("{:?}", expected.api),
                addr: addr.to_owned(),
                after: expected.timeout,
            }),
        };
        let failed = answer.as_ref().err().cloned();
        let _ = expected.reply.send(answer);
        if let Some(error) = failed {
            return Err(error);
        }
    }
}

/// Writes requests in the order in which they were queued. Ends well when every handle of the connection is gone.
async fn write_loop(
    mut wire: Wire,
    outgoing: &mut mpsc::UnboundedReceiver<Outgoing>,
    authenticator: Option<&Authenticator>,
    mut session_end: Option<Instant>,
) -> Result<(), KafkaError> {
    let mut batch = VecDeque::new();
    loop {
        let renew = async {
            match session_end {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = renew => {
                if let Some(authenticator) = authenticator {
                    session_end = auth::authenticate(&mut wire, authenticator).await?;
                    tracing::debug!(addr = %wire.addr, "session renewed");
                }
                continue;
            }
            next = outgoing.recv() => match next {
                Some(next) => batch.push_back(next),
                None => return Ok(()),
            },
        }
        while batch.len() < WRITE_BATCH
            && let Ok(next) = outgoing.try_recv()
        {
            batch.push_back(next);
        }
        wire.write(&mut batch).await?;
    }
}

/// The writing side of a connection.
pub(crate) struct Wire {
    writer: WriteHalf<Box<dyn Stream>>,
    in_flight: mpsc::UnboundedSender<InFlight>,
    next_id: i32,
    addr: Arc<str>,
    client_id: String,
    timeout: Duration,
}

impl Wire {
    /// `host:port` of the broker.
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// Sends one request past the queue and waits for its answer.
    pub(crate) async fn ask<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, KafkaError> {
        let body = self.ask_raw(request, version).await?;
        decode_response::<R>(body, version, &self.addr)
    }

    async fn ask_raw<R: Request>(&mut self, request: &R, version: i16) -> Result<Bytes, KafkaError> {
        let api =
            ApiKey::try_from(R::KEY).map_err(|()| KafkaError::protocol(&self.addr, "no such request"))?;
        let (reply, answer) = oneshot::channel();
        let expected = Expected::new(api, version, self.timeout, reply);
        let outgoing = frame::encode(request, version, &self.client_id, expected)?;
        self.write(&mut VecDeque::from([outgoing])).await?;
        answer
            .await
            .unwrap_or_else(|_| Err(disconnected(&self.addr, "it ended")))
    }

    async fn set_up(
        &mut self,
        authenticator: Option<&Authenticator>,
    ) -> Result<(Versions, Option<Instant>), KafkaError> {
        let versions = self.versions().await?;
        let session_end = match authenticator {
            Some(authenticator) => auth::authenticate(self, authenticator).await?,
            None => None,
        };
        Ok((versions, session_end))
    }

    /// Asks for the broker's versions. A broker that does not know this version of the question answers in version 0
    /// with error 35 (KIP-511), and is asked again in the highest one it names.
    async fn versions(&mut self) -> Result<Versions, KafkaError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("kafka-restore"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let mut version = 3;
        loop {
            let body = self.ask_raw(&request, version).await?;
            let code = body.get(..2).map(|code| i16::from_be_bytes([code[0], code[1]]));
            let refused = code == Some(ResponseError::UnsupportedVersion.code());
            let answered = if refused { 0 } else { version };
            let response = decode_response::<ApiVersionsRequest>(body, answered, &self.addr);
            if refused && version > 0 {
                let offered = response.ok().and_then(|response| {
                    let mut apis = response.api_keys.into_iter();
                    apis.find(|api| api.api_key == ApiKey::ApiVersions as i16)
                });
                version = offered.map_or(0, |api| api.max_version.clamp(0, version - 1));
                continue;
            }
            let response = response?;
            KafkaError::check(response.error_code, "ApiVersions", &*self.addr, None)?;
            return Ok(Versions::new(&response));
        }
    }

    /// Writes requests with as few calls as it takes, big bodies uncopied.
    async fn write(&mut self, requests: &mut VecDeque<Outgoing>) -> Result<(), KafkaError> {
        let mut pieces = Vec::with_capacity(requests.len() * 2);
        for mut outgoing in requests.drain(..) {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1) & i32::MAX;
            outgoing.set_correlation_id(id);
            pieces.push(outgoing.head.freeze());
            pieces.extend(outgoing.body.into_iter().filter(|piece| !piece.is_empty()));
            // Before the first byte is on its way: the reader must know the request when its answer comes, and its
            // deadline covers a broker that does not read.
            if let Err(refused) = self.in_flight.send((id, outgoing.expected)) {
                let _ = refused.0.1.reply.send(Err(disconnected(&self.addr, "it ended")));
                return Err(disconnected(&self.addr, "it ended"));
            }
        }
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            let written = self
                .writer
                .write_vectored(slices)
                .await
                .map_err(|error| frame::broken(&self.addr, &error))?;
            if written == 0 {
                return Err(disconnected(&self.addr, "no more could be written"));
            }
            IoSlice::advance_slices(&mut slices, written);
        }
        self.writer
            .flush()
            .await
            .map_err(|error| frame::broken(&self.addr, &error))
    }
}
