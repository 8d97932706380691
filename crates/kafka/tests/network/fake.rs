//! A server that speaks just enough of Kafka's protocol to misbehave in it.

use std::future::Future;

use bytes::{Buf, Bytes, BytesMut};
use kafka::config::{Address, ClientConfig};
use kafka::connection::Connector;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::Encodable;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came in, its header taken apart as far as the correlation id.
pub(crate) struct Request {
    pub(crate) api_key: i16,
    pub(crate) version: i16,
    pub(crate) id: i32,
    /// The rest of the header, and the body.
    pub(crate) rest: Bytes,
}

/// Reads one request; `None` at the end of the stream.
pub(crate) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    let mut frame = Bytes::from(frame);
    Some(Request {
        api_key: frame.get_i16(),
        version: frame.get_i16(),
        id: frame.get_i32(),
        rest: frame,
    })
}

/// An answer as it goes over the wire, with the oldest header.
pub(crate) fn answer(id: i32, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(4 + body.len()).unwrap();
    [&length.to_be_bytes()[..], &id.to_be_bytes(), body].concat()
}

/// The body of an ApiVersions answer that offers everything in these versions.
pub(crate) fn offer(min: i16, max: i16, version: i16) -> Vec<u8> {
    let apis = [
        ApiKey::Metadata,
        ApiKey::ApiVersions,
        ApiKey::ListOffsets,
        ApiKey::FindCoordinator,
    ];
    let apis = apis.map(|api| {
        ApiVersion::default()
            .with_api_key(api as i16)
            .with_min_version(min)
            .with_max_version(max)
    });
    let mut body = BytesMut::new();
    ApiVersionsResponse::default()
        .with_api_keys(apis.to_vec())
        .encode(&mut body, version)
        .unwrap();
    body.to_vec()
}

/// Answers the first request, which asks for versions.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let request = read_request(stream).await.unwrap();
    assert_eq!(request.api_key, ApiKey::ApiVersions as i16);
    let body = offer(0, 20, request.version);
    stream.write_all(&answer(request.id, &body)).await.unwrap();
}

/// Listens, and gives every connection to `script`.
pub(crate) async fn serve<F, A>(script: F) -> Address
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// Keeps a connection open and reads what comes, until the other side hangs up.
pub(crate) async fn listen_on<S: AsyncRead + Unpin>(mut stream: S) {
    let mut sink = [0; 4096];
    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
}

/// Settings without security that give up soon where `soon`.
pub(crate) fn config(address: &Address) -> ClientConfig {
    ClientConfig::new(vec![address.clone()])
}

pub(crate) fn connector(config: ClientConfig) -> Connector {
    Connector::new(config).unwrap()
}
