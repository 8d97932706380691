//! Certificates and keys from wherever the settings say.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::{jks, pem, pkcs12, public_key};
use crate::config::{Content, Identity, Source, Store, StoreFormat};
use crate::error::KafkaError;

/// No certificate store is larger; the system's has 200 kB.
const MAX_STORE_BYTES: u64 = 64 * 1024 * 1024;

/// The path, as the beginning of a sentence about its content; for text in place, nothing.
pub(super) fn place(source: &Source) -> String {
    match &source.content {
        Content::File(path) => format!("{} ", path.display()),
        Content::Inline(_) => "the value ".to_owned(),
    }
}

/// All certificates of a trust store.
pub(super) fn trusted(store: &Store) -> Result<Vec<CertificateDer<'static>>, KafkaError> {
    let bytes = bytes(&store.source)?;
    let certificates = match kind(store.format, &bytes, &store.source)? {
        Kind::Pem(text) => pem::certificates(text),
        Kind::Jks => jks::read(&bytes, store.password.as_ref()).map(|store| store.trusted),
        Kind::Pkcs12 => pkcs12::trusted(&bytes, store.password.as_ref()),
    };
    let certificates = certificates.map_err(wrong(&store.source))?;
    if certificates.is_empty() {
        return Err(wrong(&store.source)("holds no trusted certificate".to_owned()));
    }
    Ok(certificates)
}

/// The certificate chain and the private key of this side.
pub(super) fn identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), KafkaError> {
    let (chain, key) = load(identity)?;
    let key = public_key::completed(key, &chain);
    Ok((chain, key))
}

fn load(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), KafkaError> {
    match identity {
        Identity::Pem {
            certificates,
            key,
            key_password,
        } => {
            let chain = bytes(certificates)?;
            let chain = text(&chain, certificates)
                .and_then(|text| pem::certificates(text).map_err(wrong(certificates)))?;
            let bytes = bytes(key)?;
            let key = text(&bytes, key)
                .and_then(|text| pem::private_key(text, key_password.as_ref()).map_err(wrong(key)))?;
            Ok((chain, key))
        }
        Identity::Store { store, key_password } => {
            let bytes = bytes(&store.source)?;
            let password = store.password.as_ref();
            match kind(store.format, &bytes, &store.source)? {
                Kind::Pem(text) => pem::certificates(text)
                    .and_then(|chain| Ok((chain, pem::private_key(text, key_password.as_ref())?))),
                Kind::Jks => first_of_jks(&bytes, password, key_password.as_ref().or(password)),
                Kind::Pkcs12 => pkcs12::identity(&bytes, password),
            }
            .map_err(wrong(&store.source))
        }
    }
}

fn first_of_jks(
    bytes: &[u8],
    password: Option<&SecretString>,
    key_password: Option<&SecretString>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let store = jks::read(bytes, password)?;
    let (hidden, chain) = store.keys.into_iter().next().ok_or("holds no private key")?;
    let password = key_password.ok_or("holds a private key, and no password is given (ssl.key.password)")?;
    Ok((chain, jks::uncover(&hidden, password)?))
}

enum Kind<'a> {
    Pem(&'a str),
    Jks,
    Pkcs12,
}

fn kind<'a>(format: StoreFormat, bytes: &'a [u8], source: &Source) -> Result<Kind<'a>, KafkaError> {
    if format == StoreFormat::Pem {
        return Ok(Kind::Pem(text(bytes, source)?));
    }
    match bytes {
        [a, b, c, d, ..] if [*a, *b, *c, *d] == jks::MAGIC => Ok(Kind::Jks),
        [a, b, c, d, ..] if [*a, *b, *c, *d] == jks::JCEKS_MAGIC => Err(wrong(source)(
            "is a JCEKS store; convert it with: keytool -importkeystore -srckeystore OLD -destkeystore NEW \
             -deststoretype PKCS12"
                .to_owned(),
        )),
        // A DER sequence.
        [0x30, ..] => Ok(Kind::Pkcs12),
        _ if bytes.trim_ascii_start().starts_with(b"-----BEGIN ") => Err(wrong(source)(format!(
            "is PEM; set {} to PEM",
            source.key.replace(".location", ".type")
        ))),
        _ => Err(wrong(source)("is neither a PKCS#12 nor a JKS store".to_owned())),
    }
}

fn wrong(source: &Source) -> impl Fn(String) -> KafkaError {
    move |message| KafkaError::config(&source.key, format!("{}{message}", place(source)))
}

fn text<'a>(bytes: &'a [u8], source: &Source) -> Result<&'a str, KafkaError> {
    std::str::from_utf8(bytes).map_err(|_| wrong(source)("is not PEM: it is not text".to_owned()))
}

fn bytes(source: &Source) -> Result<Vec<u8>, KafkaError> {
    match &source.content {
        Content::Inline(text) => Ok(text.expose_secret().as_bytes().to_vec()),
        Content::File(path) => read(path).map_err(|error| {
            KafkaError::config(&source.key, format!("{} cannot be read: {error}", path.display()))
        }),
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_STORE_BYTES {
        return Err(std::io::Error::other(format!(
            "it has {length} bytes, too many for certificates"
        )));
    }
    std::fs::read(path)
}
