//! Elliptic-curve keys without their public half.
//!
//! Java writes such keys (the public half is optional in RFC 5915), and *ring* refuses them. The certificate has what is
//! missing, and *ring* checks that the two halves belong together.

use pkcs8::der::Encode;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sec1::EcPrivateKey;

/// id-ecPublicKey, RFC 5480.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The key with the public half of the first certificate, where it is a key that lacks it; else the key as it is.
pub(super) fn completed(
    key: PrivateKeyDer<'static>,
    chain: &[CertificateDer<'static>],
) -> PrivateKeyDer<'static> {
    let complete = match (&key, chain.first()) {
        (PrivateKeyDer::Pkcs8(key), Some(certificate)) => complete(key.secret_pkcs8_der(), certificate),
        _ => None,
    };
    match complete {
        Some(bytes) => PrivatePkcs8KeyDer::from(bytes).into(),
        None => key,
    }
}

fn complete(pkcs8: &[u8], certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let info = PrivateKeyInfoRef::try_from(pkcs8).ok()?;
    if info.algorithm.oid != EC {
        return None;
    }
    let key = EcPrivateKey::try_from(info.private_key.as_bytes()).ok()?;
    if key.public_key.is_some() {
        return None;
    }
    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let public = certificate.subject_public_key_info();
    let public = SubjectPublicKeyInfoRef::try_from(public.as_ref()).ok()?;
    let key = EcPrivateKey {
        public_key: public.subject_public_key.as_bytes(),
        ..key
    };
    let key = key.to_der().ok()?;
    PrivateKeyInfoRef::new(info.algorithm, OctetStringRef::new(&key).ok()?)
        .to_der()
        .ok()
}
