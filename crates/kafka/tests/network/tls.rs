//! TLS against a small rustls server: who is trusted, by which name, with which certificate.

use std::sync::Arc;

use kafka::config::{Address, ClientConfig, Identity, SecretString, Source, Store, StoreFormat, Tls, Trust};
use kafka::connection::Connector;
use kafka::error::KafkaError;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::fake::{config, connector, greet, listen_on, serve};

/// A private authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Signed {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn sign(&self, names: &[&str], expired: bool) -> Signed {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        }
    }
}

/// A TLS server that answers the question for versions. With `clients`, it wants certificates signed by that authority.
async fn tls_server(
    server: &Signed,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> Address {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivatePkcs8KeyDer::from(server.key_der.clone());
    let config = builder
        .with_single_cert(vec![server.der.clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not like this server hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            greet(&mut stream).await;
            listen_on(stream).await;
        }
    })
    .await
}

pub(crate) fn inline(text: &str, key: &str) -> Source {
    Source::inline(SecretString::from(text), key)
}

fn trusting(authority: &Authority) -> Tls {
    Tls {
        trust: Trust::Store(Store {
            format: StoreFormat::Pem,
            source: inline(&authority.pem, "ssl.truststore.certificates"),
            password: None,
        }),
        ..Tls::default()
    }
}

fn showing(tls: Tls, certificate: &Signed, key: &Signed) -> Tls {
    Tls {
        identity: Some(Identity::Pem {
            certificates: inline(&certificate.pem, "ssl.keystore.certificate.chain"),
            key: inline(&key.key_pem, "ssl.keystore.key"),
            key_password: None,
        }),
        ..tls
    }
}

fn with(tls: Tls, address: &Address) -> ClientConfig {
    let mut config = config(address);
    config.security.tls = Some(tls);
    config
}

async fn connect(tls: Tls, address: &Address) -> Result<(), KafkaError> {
    let connection = connector(with(tls, address)).connect(address).await?;
    connection.close().await;
    Ok(())
}

fn named(address: &Address, host: &str) -> Address {
    Address {
        host: host.to_owned(),
        port: address.port,
    }
}

async fn refusal(tls: Tls, address: &Address) -> String {
    let error = connect(tls, address).await.unwrap_err();
    assert!(matches!(error, KafkaError::Tls { .. }), "{error:?}");
    assert!(!error.is_retriable());
    error.to_string()
}

#[tokio::test]
async fn names_and_addresses_in_the_certificate_are_accepted_and_others_are_not() {
    let authority = Authority::new("a");
    let address = tls_server(
        &authority.sign(&["localhost", "127.0.0.1"], false),
        None,
        &[&TLS12, &TLS13],
    )
    .await;
    connect(trusting(&authority), &address).await.unwrap();
    connect(trusting(&authority), &named(&address, "localhost"))
        .await
        .unwrap();

    let other = tls_server(&authority.sign(&["broker.example"], false), None, &[&TLS13]).await;
    for host in ["127.0.0.1", "localhost"] {
        let text = refusal(trusting(&authority), &named(&other, host)).await;
        assert!(
            text.contains("for another host name") && text.contains("broker.example"),
            "{text}"
        );
    }
    for version in [&TLS12, &TLS13] {
        let other = tls_server(&authority.sign(&["broker.example"], false), None, &[version]).await;
        let any_name = Tls {
            verify_host_name: false,
            ..trusting(&authority)
        };
        connect(any_name, &other).await.unwrap();
    }
}

#[tokio::test]
async fn an_ipv6_literal_is_a_name_too() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        // A machine without IPv6.
        return;
    };
    let authority = Authority::new("a");
    let forward = tls_server(&authority.sign(&["::1"], false), None, &[&TLS13]).await;
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        while let Ok((mut inner, _)) = listener.accept().await {
            let mut outer = tokio::net::TcpStream::connect(forward.to_string()).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
            });
        }
    });
    connect(trusting(&authority), &address).await.unwrap();
}

#[tokio::test]
async fn without_host_names_certificates_are_checked_all_the_same() {
    let authority = Authority::new("a");
    let other = Authority::new("a");
    let any_name = |authority: &Authority| Tls {
        verify_host_name: false,
        ..trusting(authority)
    };
    let address = tls_server(&authority.sign(&["x"], false), None, &[&TLS13]).await;
    let text = refusal(any_name(&other), &address).await;
    assert!(
        text.contains("not accepted") || text.contains("not trusted"),
        "{text}"
    );
    let expired = tls_server(&authority.sign(&["x"], true), None, &[&TLS13]).await;
    let text = refusal(any_name(&authority), &expired).await;
    assert!(text.contains("has expired"), "{text}");
}

#[tokio::test]
async fn strangers_and_expired_certificates_are_refused_with_the_reason() {
    let authority = Authority::new("a");
    let stranger = Authority::new("stranger");
    let address = tls_server(&authority.sign(&["127.0.0.1"], false), None, &[&TLS13]).await;
    let text = refusal(trusting(&stranger), &address).await;
    assert!(
        text.contains("signed by an authority that is not trusted here"),
        "{text}"
    );
    let expired = tls_server(&authority.sign(&["127.0.0.1"], true), None, &[&TLS13]).await;
    let text = refusal(trusting(&authority), &expired).await;
    assert!(text.contains("has expired"), "{text}");
}

#[tokio::test]
async fn client_certificates() {
    let authority = Authority::new("a");
    let stranger = Authority::new("stranger");
    for version in [&TLS12, &TLS13] {
        let server = authority.sign(&["127.0.0.1"], false);
        let address = tls_server(&server, Some(&authority), &[version]).await;
        let client = authority.sign(&[], false);
        connect(showing(trusting(&authority), &client, &client), &address)
            .await
            .unwrap();

        let text = refusal(trusting(&authority), &address).await;
        assert!(text.contains("ssl.keystore"), "{text}");
        let unknown = stranger.sign(&[], false);
        let text = refusal(showing(trusting(&authority), &unknown, &unknown), &address).await;
        assert!(
            text.contains("did not accept this side's certificate") || text.contains("handshake"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_as_it_is() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let own = Signed {
        pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        der: certificate.der().clone(),
        key_der: key.serialize_der(),
    };
    let address = tls_server(&own, None, &[&TLS12, &TLS13]).await;
    let trust = Trust::Store(Store {
        format: StoreFormat::Pem,
        source: inline(&own.pem, "ssl.truststore.certificates"),
        password: None,
    });
    connect(
        Tls {
            trust,
            ..Tls::default()
        },
        &address,
    )
    .await
    .unwrap();
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_found_before_any_connection() {
    let authority = Authority::new("a");
    let (one, two) = (authority.sign(&[], false), authority.sign(&[], false));
    let address = "127.0.0.1:1".parse().unwrap();
    let error = Connector::new(with(showing(trusting(&authority), &one, &two), &address)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ssl.keystore.key: the private key does not belong to the certificate"
    );
}

#[tokio::test]
async fn each_side_recognises_the_other_speaking_plain_text() {
    let authority = Authority::new("a");
    let plain = serve(|stream| async move { drop(stream) }).await;
    let error = connect(trusting(&authority), &plain).await.unwrap_err();
    assert!(
        error.to_string().contains("if this port does not do TLS"),
        "{error}"
    );
    let talking = serve(|mut stream| async move {
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"\0\0\0\x04what")
            .await
            .unwrap();
        listen_on(stream).await;
    })
    .await;
    let text = refusal(trusting(&authority), &talking).await;
    assert!(text.contains("does not speak TLS here"), "{text}");

    let tls = tls_server(&authority.sign(&["127.0.0.1"], false), None, &[&TLS13]).await;
    let error = connector(config(&tls)).connect(&tls).await.unwrap_err();
    assert!(
        error.to_string().contains("security.protocol must be SSL"),
        "{error}"
    );
}
