//! PKCS#12 (RFC 7292), through the `p12-keystore` crate.

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret, SecretString};

fn open(bytes: &[u8], password: Option<&SecretString>) -> Result<KeyStore, String> {
    let password = password.map_or("", ExposeSecret::expose_secret);
    KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Relaxed)
        .map_err(|error| format!("does not open as PKCS#12; is the password right? ({error})"))
}

/// The first private key and its chain.
pub(super) fn identity(
    bytes: &[u8],
    password: Option<&SecretString>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let store = open(bytes, password)?;
    let (_, chain) = store
        .private_key_chain()
        .ok_or_else(|| "holds no private key".to_owned())?;
    let certificates = chain
        .certs()
        .iter()
        .map(|certificate| CertificateDer::from(certificate.as_der().to_vec()))
        .collect();
    let key = PrivatePkcs8KeyDer::from(chain.key().as_der().to_vec());
    Ok((certificates, key.into()))
}

/// All certificates of a trust store.
pub(super) fn trusted(
    bytes: &[u8],
    password: Option<&SecretString>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let store = open(bytes, password)?;
    let certificates = store.entries().filter_map(|(_, entry)| match entry {
        KeyStoreEntry::Certificate(certificate) => Some(CertificateDer::from(certificate.as_der().to_vec())),
        _ => None,
    });
    Ok(certificates.collect())
}
