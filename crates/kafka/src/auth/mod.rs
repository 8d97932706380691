//! SASL: who this side is.
//!
//! [`Authenticator`] is made once per client and holds the credentials; each (re-)authentication of a connection runs an
//! [`Exchange`] of it, which is this side of the conversation as a small state machine: PLAIN (RFC 4616) here, [`scram`]
//! and [`oauth`] in files of their own. The bytes travel in SaslAuthenticate requests (KIP-152), and a broker that ends
//! sessions says after how long (KIP-368).

mod oauth;
mod scram;

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::config::{Sasl, ScramHash};
use crate::connection::Wire;
use crate::error::{KafkaError, ResponseError};
use oauth::TokenSource;
use scram::Scram;

/// The credentials, ready for use on any number of connections.
pub(crate) enum Authenticator {
    Plain {
        username: String,
        password: SecretString,
    },
    Scram {
        hash: ScramHash,
        username: String,
        password: SecretString,
    },
    OAuthBearer(Box<TokenSource>),
}

impl Authenticator {
    /// `timeout` limits each question to a token endpoint.
    pub(crate) fn new(sasl: &Sasl, timeout: Duration) -> Result<Self, KafkaError> {
        Ok(match sasl.clone() {
            Sasl::Plain { username, password } => {
                if username.contains('\0') || password.expose_secret().contains('\0') {
                    return Err(KafkaError::config(
                        "sasl.jaas.config",
                        "a name or password with a zero character cannot be sent by PLAIN",
                    ));
                }
                Self::Plain { username, password }
            }
            Sasl::Scram {
                hash,
                username,
                password,
            } => Self::Scram {
                hash,
                username,
                password,
            },
            Sasl::OAuthBearer(settings) => Self::OAuthBearer(Box::new(TokenSource::new(settings, timeout)?)),
        })
    }

    /// The mechanism, as Kafka names it.
    fn mechanism(&self) -> &'static str {
        match self {
            Self::Plain { .. } => "PLAIN",
            Self::Scram { hash, .. } => match hash {
                ScramHash::Sha256 => "SCRAM-SHA-256",
                ScramHash::Sha512 => "SCRAM-SHA-512",
            },
            Self::OAuthBearer(_) => "OAUTHBEARER",
        }
    }

    /// Starts a conversation: its state, and the first bytes to send.
    async fn start(&self) -> Result<(Exchange, Vec<u8>), KafkaError> {
        Ok(match self {
            Self::Plain { username, password } => {
                let message = format!("\0{username}\0{}", password.expose_secret());
                (Exchange::Plain, message.into_bytes())
            }
            Self::Scram {
                hash,
                username,
                password,
            } => {
                let scram = Scram::new(*hash, username, password.clone(), &scram::nonce());
                let first = scram.client_first().into_bytes();
                (Exchange::Scram(Box::new(scram)), first)
            }
            Self::OAuthBearer(source) => (Exchange::OAuthBearer, source.first_message().await?),
        })
    }
}

/// This side of one conversation.
enum Exchange {
    Plain,
    Scram(Box<Scram>),
    OAuthBearer,
}

impl Exchange {
    /// What to answer to `challenge`; `None` when the conversation is over and the broker has done its part.
    fn step(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Plain => Ok(None),
            Self::Scram(scram) => scram.step(challenge),
            // An empty challenge is success; anything else is an error in JSON, which the client must acknowledge with
            // one 0x01 (RFC 7628, section 3.2.3) before the broker refuses in its own words.
            Self::OAuthBearer if challenge.is_empty() => Ok(None),
            Self::OAuthBearer => Ok(Some(vec![1])),
        }
    }
}

/// More turns than any mechanism takes.
const MAX_TURNS: usize = 8;

/// Authenticates a connection. Returns when the session must be renewed, if ever.
pub(crate) async fn authenticate(
    wire: &mut Wire,
    authenticator: &Authenticator,
) -> Result<Option<Instant>, KafkaError> {
    let mechanism = authenticator.mechanism();
    let addr = wire.addr().to_owned();
    let refused = |message: String| KafkaError::Authentication {
        addr: addr.clone(),
        mechanism,
        message,
    };
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let response = wire.ask(&request, 1).await?;
    match ResponseError::try_from_code(response.error_code) {
        None => {}
        Some(ResponseError::IllegalSaslState) => {
            return Err(refused(
                "this port does not do SASL; security.protocol must be PLAINTEXT or SSL here".to_owned(),
            ));
        }
        Some(ResponseError::UnsupportedSaslMechanism) => {
            let offered: Vec<&str> = response.mechanisms.iter().map(|name| &**name).collect();
            return Err(refused(format!(
                "the broker does not offer this mechanism here; it offers {}",
                offered.join(", ")
            )));
        }
        Some(code) => return Err(refused(code.to_string())),
    }
    let (mut exchange, mut message) = authenticator.start().await?;
    for _ in 0..MAX_TURNS {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let response = wire.ask(&request, 1).await?;
        if let Some(code) = ResponseError::try_from_code(response.error_code) {
            let message = response.error_message.as_deref().filter(|text| !text.is_empty());
            return Err(refused(message.map_or_else(|| code.to_string(), str::to_owned)));
        }
        match exchange.step(&response.auth_bytes).map_err(&refused)? {
            Some(next) => message = next,
            None => return Ok(renewal(response.session_lifetime_ms)),
        }
    }
    Err(refused("the broker asks and asks".to_owned()))
}

/// Renewal comes when 85 % of the session's time has gone, as in Kafka's own clients.
fn renewal(session_lifetime_ms: i64) -> Option<Instant> {
    let lifetime = u64::try_from(session_lifetime_ms)
        .ok()
        .filter(|&lifetime| lifetime > 0)?;
    Instant::now().checked_add(Duration::from_millis(
        lifetime / 100 * 85 + lifetime % 100 * 85 / 100,
    ))
}
