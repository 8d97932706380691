//! Frames: a big-endian `i32` length, a header, a body.
//!
//! Source: <https://kafka.apache.org/protocol#protocol_common>.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::KafkaError;
use crate::tls;

/// The longest answer that is accepted, in bytes. Brokers answer a Fetch with at least one whole batch however large,
/// and a batch may have up to `max.message.bytes`; nothing else comes near this.
pub const MAX_RESPONSE_BYTES: usize = 512 * 1024 * 1024;

/// How much of an announced length is allocated before any of it has arrived.
const READ_STEP: usize = 4 * 1024 * 1024;

/// What a timeout beyond all clocks comes down to.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the correlation id stands in [`Outgoing::head`]: after the length (4), the key (2) and the version (2).
const CORRELATION_AT: usize = 8;

/// A request on its way to the writer.
pub(super) struct Outgoing {
    /// Length, header and (for requests that this crate encodes) body. The correlation id is set by the writer.
    pub(super) head: BytesMut,
    /// The rest of the body.
    pub(super) body: Vec<Bytes>,
    pub(super) expected: Expected,
}

/// What the reader needs to know of a request to handle its answer.
pub(super) struct Expected {
    pub(super) api: ApiKey,
    pub(super) response_header_version: i16,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
    pub(super) reply: oneshot::Sender<Result<Bytes, KafkaError>>,
}

impl Outgoing {
    pub(super) fn set_correlation_id(&mut self, id: i32) {
        self.head[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&id.to_be_bytes());
    }
}

impl Expected {
    pub(super) fn new(
        api: ApiKey,
        version: i16,
        timeout: Duration,
        reply: oneshot::Sender<Result<Bytes, KafkaError>>,
    ) -> Self {
        let now = Instant::now();
        Self {
            api,
            response_header_version: api.response_header_version(version),
            deadline: now.checked_add(timeout).unwrap_or(now + LONGEST),
            timeout,
            reply,
        }
    }
}

/// A request with its body encoded behind the header.
pub(super) fn encode<R: Request>(
    request: &R,
    version: i16,
    client_id: &str,
    expected: Expected,
) -> Result<Outgoing, KafkaError> {
    let mut head = header(expected.api, version, client_id)?;
    request
        .encode(&mut head, version)
        .map_err(|error| unwritable(expected.api, version, &error))?;
    finish(head, Vec::new(), version, expected)
}

/// A request with a body that the caller has encoded.
pub(super) fn encode_raw(
    version: i16,
    client_id: &str,
    body: Vec<Bytes>,
    expected: Expected,
) -> Result<Outgoing, KafkaError> {
    let head = header(expected.api, version, client_id)?;
    finish(head, body, version, expected)
}

fn header(api: ApiKey, version: i16, client_id: &str) -> Result<BytesMut, KafkaError> {
    let mut head = BytesMut::with_capacity(128);
    head.extend_from_slice(&[0; 4]);
    RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())))
        .encode(&mut head, api.request_header_version(version))
        .map_err(|error| unwritable(api, version, &error))?;
    Ok(head)
}

fn finish(
    mut head: BytesMut,
    body: Vec<Bytes>,
    version: i16,
    expected: Expected,
) -> Result<Outgoing, KafkaError> {
    let length = head.len() - 4 + body.iter().map(Bytes::len).sum::<usize>();
    let length = i32::try_from(length).map_err(|_| KafkaError::Request {
        api: format!("{:?}", expected.api),
        version,
        message: format!("it has {length} bytes, and a request has less than 2 GiB"),
    })?;
    head[..4].copy_from_slice(&length.to_be_bytes());
    Ok(Outgoing { head, body, expected })
}

fn unwritable(api: ApiKey, version: i16, error: &impl std::fmt::Display) -> KafkaError {
    KafkaError::Request {
        api: format!("{api:?}"),
        version,
        message: format!("{error:#}"),
    }
}

/// Reads one frame without its length. Nothing is allocated on the word of the length alone beyond [`READ_STEP`].
pub(super) async fn read<R: AsyncRead + Unpin>(reader: &mut R, addr: &str) -> Result<Bytes, KafkaError> {
    let mut length = [0; 4];
    reader
        .read_exact(&mut length)
        .await
        .map_err(|error| broken(addr, &error))?;
    let length = check_length(length, addr)?;
    let mut frame = BytesMut::with_capacity(length.min(READ_STEP));
    while frame.len() < length {
        let missing = length - frame.len();
        // Doubles at most: what is allocated stays in proportion to what has really come.
        frame.reserve(missing.min(READ_STEP.max(frame.len())));
        let read = (&mut *reader)
            .take(missing as u64)
            .read_buf(&mut frame)
            .await
            .map_err(|error| broken(addr, &error))?;
        if read == 0 {
            return Err(KafkaError::Disconnected {
                addr: addr.to_owned(),
                message: format!(
                    "the broker closed it after {} of {length} bytes of an answer",
                    frame.len()
                ),
            });
        }
    }
    Ok(frame.freeze())
}

fn check_length(bytes: [u8; 4], addr: &str) -> Result<usize, KafkaError> {
    // A TLS record starts with its type (0x15 alert, 0x16 handshake) and the version 3.x.
    if matches!(bytes, [0x15 | 0x16, 3, 0..=4, _]) {
        return Err(KafkaError::Tls {
            addr: addr.to_owned(),
            message:
                "the broker speaks TLS here, and this connection does not: security.protocol must be SSL or \
                      SASL_SSL"
                    .to_owned(),
        });
    }
    if &bytes == b"HTTP" {
        return Err(KafkaError::protocol(
            addr,
            "it is a web server, not a Kafka broker",
        ));
    }
    let length = i32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(length @ 4..=MAX_RESPONSE_BYTES) => Ok(length),
        _ => Err(KafkaError::protocol(
            addr,
            format!("an answer of {length} bytes was announced (4 to {MAX_RESPONSE_BYTES} can be)"),
        )),
    }
}

/// Takes the header off an answer, and checks that it answers the request with this correlation id.
pub(super) fn body(
    mut frame: Bytes,
    expected: &Expected,
    correlation_id: i32,
    addr: &str,
) -> Result<Bytes, KafkaError> {
    let found = frame.get(..4).map(|mut bytes| bytes.get_i32());
    if found != Some(correlation_id) {
        return Err(KafkaError::protocol(
            addr,
            format!("the answer to request {correlation_id} was expected, and one to {found:?} came"),
        ));
    }
    ResponseHeader::decode(&mut frame, expected.response_header_version).map_err(|error| {
        KafkaError::protocol(addr, format!("the header of an answer is broken: {error:#}"))
    })?;
    Ok(frame)
}

/// What a failed read or write means.
pub(super) fn broken(addr: &str, error: &std::io::Error) -> KafkaError {
    // With TLS 1.3 a broker refuses a client certificate only after the handshake.
    if let Some(error) = tls::tls_error(error) {
        return KafkaError::Tls {
            addr: addr.to_owned(),
            message: tls::explain(error),
        };
    }
    let message = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the broker closed it".to_owned(),
        _ => error.to_string(),
    };
    KafkaError::Disconnected {
        addr: addr.to_owned(),
        message,
    }
}
