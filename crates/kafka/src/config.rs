//! How to reach the brokers: [`ClientConfig`], by hand or from the Java clients' properties.
//!
//! The names and meanings of the properties are those of Apache Kafka's clients
//! (<https://kafka.apache.org/documentation/#producerconfigs>), so that a `client.properties` file that works with
//! Kafka's own tools works here. [`properties`] reads such a file, `mapping` gives its entries their meaning. Secrets
//! are [`SecretString`]s and never show in `Debug`.

mod address;
mod jaas;
mod mapping;
pub mod properties;

use std::path::PathBuf;
use std::time::Duration;

pub use address::Address;
pub use mapping::Parsed;
pub use secrecy::SecretString;

/// How to reach a cluster. [`ClientConfig::new`] gives the Java clients' defaults.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The brokers that are asked for the rest of the cluster (`bootstrap.servers`).
    pub bootstrap: Vec<Address>,
    /// TLS and SASL.
    pub security: Security,
    /// What brokers write in their request logs and quotas are given to (`client.id`).
    pub client_id: String,
    /// The limit for a TCP connection and for the TLS handshake on it, each
    /// (`socket.connection.setup.timeout.ms`, 10 s).
    pub connect_timeout: Duration,
    /// The limit for one answer (`request.timeout.ms`, 30 s).
    pub request_timeout: Duration,
    /// How long something that may work later is tried again (`default.api.timeout.ms`, 60 s).
    pub api_timeout: Duration,
    /// The first pause before trying again (`retry.backoff.ms`, 100 ms); it doubles each time.
    pub retry_backoff: Duration,
    /// The longest pause before trying again (`retry.backoff.max.ms`, 1 s).
    pub retry_backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults: no TLS, no SASL.
    pub fn new(bootstrap: Vec<Address>) -> Self {
        Self {
            bootstrap,
            security: Security::default(),
            client_id: "kafka-restore".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
        }
    }
}

/// How a connection is protected, and who this side is.
///
/// `security.protocol` says which of the two there are: PLAINTEXT neither, SSL the first, SASL_PLAINTEXT the second,
/// SASL_SSL both.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// TLS, where it is used.
    pub tls: Option<Tls>,
    /// SASL, where it is used.
    pub sasl: Option<Sasl>,
}

/// Whom to trust, and which certificate to show.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The authorities that may have signed the broker's certificate.
    pub trust: Trust,
    /// The certificate and key that this side shows, if the broker asks for one.
    pub identity: Option<Identity>,
    /// Whether the broker's certificate must be for the host name that was dialled
    /// (false: `ssl.endpoint.identification.algorithm=`, empty). The certificate is checked all the same.
    pub verify_host_name: bool,
}

impl Default for Tls {
    /// The system's authorities, no client certificate, host names verified.
    fn default() -> Self {
        Self {
            trust: Trust::System,
            identity: None,
            verify_host_name: true,
        }
    }
}

/// The authorities that may have signed the broker's certificate.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those of the operating system.
    System,
    /// The certificates in this store, and no others.
    Store(Store),
}

/// The certificate and key that this side shows.
#[derive(Debug, Clone)]
pub enum Identity {
    /// PEM: the chain (own certificate first) and the key in one or two places.
    Pem {
        /// The certificate chain.
        certificates: Source,
        /// The private key: PKCS#8, PKCS#1 or SEC1; PKCS#8 may be encrypted.
        key: Source,
        /// The password of an encrypted key (`ssl.key.password`).
        key_password: Option<SecretString>,
    },
    /// A PKCS#12 or JKS store; the first private key in it is taken.
    Store {
        /// The store.
        store: Store,
        /// The password of the key, where it differs from the store's (`ssl.key.password`).
        key_password: Option<SecretString>,
    },
}

/// Certificates (and a key, perhaps) in one of Java's formats.
#[derive(Debug, Clone)]
pub struct Store {
    /// What the bytes are.
    pub format: StoreFormat,
    /// Where they are.
    pub source: Source,
    /// The store's password, where it has one.
    pub password: Option<SecretString>,
}

impl Store {
    /// PEM certificates in a file.
    pub fn pem_file(path: impl Into<PathBuf>, key: &str) -> Self {
        Self {
            format: StoreFormat::Pem,
            source: Source::file(path, key),
            password: None,
        }
    }
}

/// The format of a store (`ssl.truststore.type`, `ssl.keystore.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFormat {
    /// PEM text.
    Pem,
    /// PKCS#12 or JKS: what it really is, its first bytes say, as in Java.
    Binary,
}

/// Where bytes come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The property that named it, for errors.
    pub key: String,
    /// The bytes.
    pub content: Content,
}

impl Source {
    /// A file; `key` is the property that named it.
    pub fn file(path: impl Into<PathBuf>, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            content: Content::File(path.into()),
        }
    }

    /// Text given in place; `key` is the property that held it.
    pub fn inline(text: SecretString, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            content: Content::Inline(text),
        }
    }
}

/// The bytes of a [`Source`].
#[derive(Debug, Clone)]
pub enum Content {
    /// A file.
    File(PathBuf),
    /// Text given in place.
    Inline(SecretString),
}

/// Who this side is, for SASL.
#[derive(Debug, Clone)]
pub enum Sasl {
    /// PLAIN (RFC 4616): name and password in the clear, so only over TLS.
    Plain {
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// SCRAM (RFC 5802, RFC 7677).
    Scram {
        /// Which of the two mechanisms.
        hash: ScramHash,
        /// The user's name.
        username: String,
        /// The user's password.
        password: SecretString,
    },
    /// OAUTHBEARER (RFC 7628) with a token of the client-credentials grant (RFC 6749, section 4.4).
    OAuthBearer(OAuth),
}

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

/// Where OAUTHBEARER tokens come from.
#[derive(Debug, Clone)]
pub struct OAuth {
    /// The URL that gives tokens (`sasl.oauthbearer.token.endpoint.url`), http or https.
    pub token_endpoint: String,
    /// The client's id there.
    pub client_id: String,
    /// The client's secret there.
    pub client_secret: SecretString,
    /// The scope to ask for.
    pub scope: Option<String>,
    /// Extensions sent along with the token (KIP-342; the `extension_` options of `sasl.jaas.config`).
    pub extensions: Vec<(String, String)>,
    /// Whom to trust at the token endpoint.
    pub trust: Trust,
}
