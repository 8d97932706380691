//! TLS to brokers, with rustls on *ring*.
//!
//! [`TlsClient`] is made once per client: it reads the certificates and keys that the settings name ([`stores`]: PEM,
//! PKCS#12, JKS), checks that key and certificate belong together, and does the handshakes. [`explain`] says what a
//! failed handshake means in words that lead to the cause.

mod explain;
mod jks;
mod pem;
mod pkcs12;
mod public_key;
mod stores;
mod verifier;

use std::sync::Arc;

use rustls::ClientConfig as RustlsConfig;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Identity, Tls, Trust};
use crate::error::KafkaError;
pub(crate) use explain::{explain, tls_error};

/// Does TLS handshakes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
}

impl TlsClient {
    /// Reads what the settings name.
    pub(crate) fn new(settings: &Tls) -> Result<Self, KafkaError> {
        let roots = roots(&settings.trust)?;
        let builder = builder()?;
        let builder = if settings.verify_host_name {
            builder.with_root_certificates(roots)
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| KafkaError::config("ssl.truststore.location", error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier::AnyName::new(verifier)))
        };
        let config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = match identity {
                    Identity::Pem { key, .. } => &key.key,
                    Identity::Store { store, .. } => &store.source.key,
                };
                let (chain, private_key) = stores::identity(identity)?;
                builder
                    .with_client_auth_cert(chain, private_key)
                    .map_err(|error| KafkaError::config(key, explain::unusable_identity(&error)))?
            }
        };
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    /// Does the handshake on a fresh connection. `host` is the name (or IP literal) that the certificate must be for.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
        addr: &str,
    ) -> Result<TlsStream<TcpStream>, KafkaError> {
        // A zone index (fe80::1%eth0) is not part of the address that a certificate can name.
        let name = host.split('%').next().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| KafkaError::Tls {
            addr: addr.to_owned(),
            message: format!("\"{host}\" cannot be a name in a certificate: {error}"),
        })?;
        self.connector
            .connect(name, stream)
            .await
            .map_err(|error| explain::handshake(addr, &error))
    }
}

/// A configuration without a client certificate, for HTTPS.
pub(crate) fn plain_client(trust: &Trust) -> Result<RustlsConfig, KafkaError> {
    Ok(builder()?
        .with_root_certificates(roots(trust)?)
        .with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<RustlsConfig, rustls::WantsVerifier>, KafkaError> {
    RustlsConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| KafkaError::config("security.protocol", error.to_string()))
}

fn roots(trust: &Trust) -> Result<RootCertStore, KafkaError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            // Systems carry a few old certificates that cannot be used; the others are.
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(KafkaError::config(
                    "ssl.truststore.location",
                    format!(
                        "it is not given, and the system has no certificate authorities ({})",
                        reasons.join("; ")
                    ),
                ));
            }
        }
        Trust::Store(store) => {
            for certificate in stores::trusted(store)? {
                roots.add(certificate).map_err(|error| {
                    KafkaError::config(
                        &store.source.key,
                        format!(
                            "{}holds a certificate that cannot be used: {error}",
                            stores::place(&store.source)
                        ),
                    )
                })?;
            }
        }
    }
    Ok(roots)
}
