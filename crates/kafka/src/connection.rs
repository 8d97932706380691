//! One connection to one broker: TCP or TLS, authenticated, its versions known, pipelined.
//!
//! - [`Connector`] holds what all connections share (settings, loaded certificates, tokens) and opens them.
//! - [`Connection`] is a cheap handle. Requests go out in the order of the calls of [`Connection::submit`], answers come
//!   back in that order (Kafka guarantees it per connection), and each is checked against its correlation id.
//! - `driver` is the task behind it: one loop writes, one reads. It also authenticates, at the start and again before a
//!   session ends (KIP-368).
//! - `frame` is the bytes: headers, lengths, bounds.
//!
//! A request that is not answered in time closes the connection, because nobody can know any more what happened to the
//! requests behind it; all of them end at once with [`KafkaError::Disconnected`].

mod connector;
mod decode;
mod driver;
mod frame;
mod versions;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Request};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::KafkaError;
use frame::{Expected, Outgoing};
use versions::Versions;

pub use connector::Connector;
pub use decode::decode_response;
pub(crate) use driver::Wire;
pub use frame::MAX_RESPONSE_BYTES;

/// A connection to one broker. Clones share it; it closes when the last clone is gone and nothing is in flight.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    addr: Arc<str>,
    client_id: String,
    request_timeout: Duration,
    versions: Versions,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// `None` while the connection is open, then why it ended.
    ended: watch::Receiver<Option<KafkaError>>,
    close: mpsc::Sender<()>,
}

impl Connection {
    /// `host:port` of the broker, as it was dialled.
    pub fn addr(&self) -> &str {
        &self.shared.addr
    }

    /// The lowest and highest version of a request that both sides speak.
    pub fn version_range(&self, api_key: i16) -> Option<(i16, i16)> {
        self.shared.versions.common(api_key)
    }

    /// True once the connection has ended, for whatever reason.
    pub fn is_closed(&self) -> bool {
        self.shared.ended.borrow().is_some() || self.shared.outgoing.is_closed()
    }

    /// Ends the connection and waits until it has. Everything in flight gets [`KafkaError::Disconnected`].
    pub async fn close(&self) {
        // A full channel means that somebody else has asked already; a closed one, that it is over.
        let _ = self.shared.close.try_send(());
        let mut ended = self.shared.ended.clone();
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Sends a request in the highest version that both sides speak and waits for the answer. Error codes inside the
    /// answer are the caller's to check.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, KafkaError> {
        self.call_within(request, self.shared.request_timeout).await
    }

    /// Like [`call`](Self::call), with another limit on the time that the answer may take.
    pub async fn call_within<R: Request>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Response, KafkaError> {
        let version = self.shared.versions.choose::<R>(self.addr())?;
        self.submit_within(request, version, timeout)?.await
    }

    /// Puts a request into the queue at once, without waiting: the order of these calls is the order on the wire.
    ///
    /// The queue has no bound, so the caller limits what is in flight. `version` must lie in
    /// [`version_range`](Self::version_range).
    pub fn submit<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<PendingResponse<R::Response>, KafkaError> {
        self.submit_within(request, version, self.shared.request_timeout)
    }

    /// Like [`submit`](Self::submit), with another limit on the time that the answer may take, counted from now.
    pub fn submit_within<R: Request>(
        &self,
        request: &R,
        version: i16,
        timeout: Duration,
    ) -> Result<PendingResponse<R::Response>, KafkaError> {
        let api = self.api(R::KEY)?;
        let (reply, receiver) = oneshot::channel();
        let expected = Expected::new(api, version, timeout, reply);
        let outgoing = frame::encode(request, version, &self.shared.client_id, expected)?;
        self.enqueue(outgoing)?;
        Ok(PendingResponse {
            raw: self.pending(receiver),
            version,
            flexible: decode::is_flexible(R::KEY, version),
            response: PhantomData,
        })
    }

    /// Like [`submit_within`](Self::submit_within) for a body that the caller has encoded: the pieces are written one
    /// after the other, without being copied. The answer's body comes back undecoded (its header taken off).
    pub fn submit_frame(
        &self,
        api_key: i16,
        version: i16,
        body: Vec<Bytes>,
        timeout: Duration,
    ) -> Result<PendingFrame, KafkaError> {
        let api = self.api(api_key)?;
        let (reply, receiver) = oneshot::channel();
        let expected = Expected::new(api, version, timeout, reply);
        let outgoing = frame::encode_raw(version, &self.shared.client_id, body, expected)?;
        self.enqueue(outgoing)?;
        Ok(self.pending(receiver))
    }

    /// The time that [`call`](Self::call) and [`submit`](Self::submit) give the broker to answer.
    pub fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    fn api(&self, api_key: i16) -> Result<ApiKey, KafkaError> {
        ApiKey::try_from(api_key).map_err(|()| KafkaError::UnsupportedVersion {
            addr: self.addr().to_owned(),
            api: format!("request {api_key}"),
            offered: "nothing".to_owned(),
            spoken: "nothing".to_owned(),
        })
    }

    fn enqueue(&self, outgoing: Outgoing) -> Result<(), KafkaError> {
        self.shared
            .outgoing
            .send(outgoing)
            .map_err(|_| ending(&self.shared.addr, &self.shared.ended))
    }

    fn pending(&self, receiver: oneshot::Receiver<Result<Bytes, KafkaError>>) -> PendingFrame {
        PendingFrame {
            receiver,
            addr: self.shared.addr.clone(),
            ended: self.shared.ended.clone(),
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("addr", &self.shared.addr)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// What a request gets that was not answered because the connection ended.
fn ending(addr: &str, ended: &watch::Receiver<Option<KafkaError>>) -> KafkaError {
    let message = match &*ended.borrow() {
        Some(KafkaError::Disconnected { message, .. }) => message.clone(),
        Some(other) => other.to_string(),
        None => "it is closed".to_owned(),
    };
    KafkaError::Disconnected {
        addr: addr.to_owned(),
        message,
    }
}

/// The answer to a request of [`Connection::submit_frame`], when it comes: the body's bytes.
pub struct PendingFrame {
    receiver: oneshot::Receiver<Result<Bytes, KafkaError>>,
    addr: Arc<str>,
    ended: watch::Receiver<Option<KafkaError>>,
}

impl Future for PendingFrame {
    type Output = Result<Bytes, KafkaError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map(|result| result.unwrap_or_else(|_| Err(ending(&self.addr, &self.ended))))
    }
}

/// The answer to a request of [`Connection::submit`], when it comes.
pub struct PendingResponse<T> {
    raw: PendingFrame,
    version: i16,
    flexible: bool,
    response: PhantomData<fn() -> T>,
}

impl<T: Decodable> Future for PendingResponse<T> {
    type Output = Result<T, KafkaError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (version, flexible) = (self.version, self.flexible);
        Pin::new(&mut self.raw)
            .poll(context)
            .map(|result| decode::decode(result?, version, flexible, &self.raw.addr))
    }
}
