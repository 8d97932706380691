//! From an address to a connection that can be used.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::driver::{self, Driver, Stream};
use super::versions::Versions;
use super::{Connection, Shared, ending};
use crate::auth::Authenticator;
use crate::config::{Address, ClientConfig};
use crate::error::KafkaError;
use crate::tls::TlsClient;

/// Keepalive probes start after this much silence, so that a peer that vanished is noticed while nothing is in flight.
const KEEPALIVE_IDLE: std::time::Duration = std::time::Duration::from_secs(60);

/// Opens connections: the settings, with certificates loaded. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    tls: Option<TlsClient>,
    authenticator: Option<Arc<Authenticator>>,
}

impl Connector {
    /// Reads the certificates and keys that the settings name.
    ///
    /// # Errors
    ///
    /// [`KafkaError::Config`] with the property and the path where one of them cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, KafkaError> {
        let tls = config.security.tls.as_ref().map(TlsClient::new).transpose()?;
        let authenticator = config
            .security
            .sasl
            .as_ref()
            .map(|sasl| Authenticator::new(sasl, config.request_timeout).map(Arc::new))
            .transpose()?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                tls,
                authenticator,
            }),
        })
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Opens a connection: resolves the name, tries its addresses in turn, does TLS, asks for the broker's versions and
    /// authenticates.
    pub async fn connect(&self, address: &Address) -> Result<Connection, KafkaError> {
        let addr: Arc<str> = address.to_string().into();
        let tcp = self.dial(address, &addr).await?;
        let stream: Box<dyn Stream> = match &self.inner.tls {
            Some(tls) => {
                let limit = self.inner.config.connect_timeout;
                match timeout(limit, tls.connect(tcp, &address.host, &addr)).await {
                    Ok(stream) => Box::new(stream?),
                    Err(_) => {
                        return Err(KafkaError::TimedOut {
                            what: "the TLS handshake".to_owned(),
                            addr: addr.to_string(),
                            after: limit,
                        });
                    }
                }
            }
            None => Box::new(tcp),
        };
        self.start(stream, addr).await
    }

    async fn start(&self, stream: Box<dyn Stream>, addr: Arc<str>) -> Result<Connection, KafkaError> {
        let config = &self.inner.config;
        let (outgoing, requests) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        let (close, closed) = mpsc::channel(1);
        let mut shared = Shared {
            addr: addr.clone(),
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout,
            versions: Versions::default(),
            outgoing,
            ended,
            close,
        };
        tokio::spawn(driver::run(
            stream,
            Driver {
                addr,
                client_id: config.client_id.clone(),
                request_timeout: config.request_timeout,
                authenticator: self.inner.authenticator.clone(),
                outgoing: requests,
                ready,
                ended: end,
                close: closed,
            },
        ));
        shared.versions = match is_ready.await {
            Ok(versions) => versions,
            Err(_) => {
                let _ = shared.ended.wait_for(Option::is_some).await;
                let error = shared.ended.borrow().clone();
                return Err(self.with_hint(error.unwrap_or_else(|| ending(&shared.addr, &shared.ended))));
            }
        };
        Ok(Connection {
            shared: Arc::new(shared),
        })
    }

    /// A broker that hangs up on the first request is most often spoken to in the wrong way.
    fn with_hint(&self, error: KafkaError) -> KafkaError {
        match error {
            KafkaError::Disconnected { addr, message } if self.inner.tls.is_none() => {
                KafkaError::Disconnected {
                    addr,
                    message: format!(
                        "{message} at the first request; if this is a TLS port, security.protocol must be SSL or SASL_SSL"
                    ),
                }
            }
            KafkaError::Disconnected { addr, message } if self.inner.authenticator.is_none() => {
                KafkaError::Disconnected {
                    addr,
                    message: format!(
                        "{message} at the first request; the broker may want a client certificate \
                         (ssl.keystore.*) that it trusts"
                    ),
                }
            }
            other => other,
        }
    }

    async fn dial(&self, address: &Address, addr: &str) -> Result<TcpStream, KafkaError> {
        let unreachable = |message: String| KafkaError::Unreachable {
            addr: addr.to_owned(),
            message,
        };
        let limit = self.inner.config.connect_timeout;
        let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
        let found = match timeout(limit, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(unreachable(format!("the name cannot be resolved: {error}"))),
            Err(_) => return Err(unreachable(format!("the name was not resolved within {limit:?}"))),
        };
        let mut last = unreachable("the name has no address".to_owned());
        for ip in found {
            match timeout(limit, TcpStream::connect(ip)).await {
                Ok(Ok(stream)) => {
                    prepare(&stream).map_err(|error| unreachable(error.to_string()))?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = unreachable(error.to_string()),
                Err(_) => last = unreachable(format!("no answer from {} within {limit:?}", ip.ip())),
            }
        }
        Err(last)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
