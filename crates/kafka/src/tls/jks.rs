//! JKS, Java's own key store format. Read only.
//!
//! Source: OpenJDK, `sun.security.provider.JavaKeyStore` (the layout and the digest over it) and
//! `sun.security.provider.KeyProtector` (how a key is hidden): a magic number, a version, entries (1 = key and chain,
//! 2 = trusted certificate), and SHA-1 over the password in UTF-16, a fixed phrase and everything before. No crate for it
//! is both kept well and free of panics on broken files.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY as SHA1, SHA1_OUTPUT_LEN, digest};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret, SecretString};

/// The first bytes of a JKS file.
pub(super) const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// The first bytes of a JCEKS file, another format.
pub(super) const JCEKS_MAGIC: [u8; 4] = [0xce, 0xce, 0xce, 0xce];

const PHRASE: &[u8] = b"Mighty Aphrodite";

/// Content of a store.
#[derive(Default)]
pub(super) struct Jks {
    /// Private keys, still hidden, with their chains.
    pub(super) keys: Vec<(Vec<u8>, Vec<CertificateDer<'static>>)>,
    /// Trusted certificates.
    pub(super) trusted: Vec<CertificateDer<'static>>,
}

/// Reads a store. Without a password its digest is not checked, as in Java.
pub(super) fn read(bytes: &[u8], password: Option<&SecretString>) -> Result<Jks, String> {
    if let Some(password) = password {
        let (content, found) = bytes
            .split_at_checked(bytes.len().saturating_sub(SHA1_OUTPUT_LEN))
            .ok_or("is cut off")?;
        let mut context = Context::new(&SHA1);
        context.update(&utf16(password));
        context.update(PHRASE);
        context.update(content);
        if context.finish().as_ref() != found {
            return Err("does not open with this password, or is damaged".to_owned());
        }
    }
    parse(bytes).ok_or_else(|| "is cut off or damaged".to_owned())
}

fn parse(bytes: &[u8]) -> Option<Jks> {
    let mut input = Input { rest: bytes };
    input.take(MAGIC.len())?;
    let version = input.number()?;
    let count = input.number()?;
    let mut store = Jks::default();
    for _ in 0..count {
        let tag = input.number()?;
        input.text()?;
        input.take(8)?;
        match tag {
            1 => {
                let key = input.bytes()?.to_vec();
                let length = input.number()?;
                let mut chain = Vec::new();
                for _ in 0..length {
                    chain.push(input.certificate(version)?);
                }
                store.keys.push((key, chain));
            }
            2 => store.trusted.push(input.certificate(version)?),
            _ => return None,
        }
    }
    // The digest, and nothing else.
    (input.rest.len() == SHA1_OUTPUT_LEN).then_some(store)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(length.into())
    }

    fn certificate(&mut self, version: u32) -> Option<CertificateDer<'static>> {
        if version == 2 {
            self.text()?;
        }
        Some(CertificateDer::from(self.bytes()?.to_vec()))
    }
}

fn utf16(password: &SecretString) -> Vec<u8> {
    password
        .expose_secret()
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect()
}

/// Uncovers a private key.
///
/// The hidden key is an `EncryptedPrivateKeyInfo` whose bytes are: 20 of salt, the key XORed with a chain of SHA-1 digests
/// of password and the digest before, and SHA-1 of password and key.
pub(super) fn uncover(hidden: &[u8], password: &SecretString) -> Result<PrivateKeyDer<'static>, String> {
    let damaged = || "holds a private key that cannot be read".to_owned();
    let info = pkcs8_content(hidden).ok_or_else(damaged)?;
    let (salt, rest) = info.split_at_checked(SHA1_OUTPUT_LEN).ok_or_else(damaged)?;
    let length = rest.len().checked_sub(SHA1_OUTPUT_LEN).ok_or_else(damaged)?;
    let (covered, check) = rest.split_at(length);
    let password = utf16(password);
    let mut key = covered.to_vec();
    let mut link = salt.to_vec();
    for chunk in key.chunks_mut(SHA1_OUTPUT_LEN) {
        link = digest(&SHA1, &[&password[..], &link].concat()).as_ref().to_vec();
        chunk.iter_mut().zip(&link).for_each(|(byte, mask)| *byte ^= mask);
    }
    if digest(&SHA1, &[&password[..], &key].concat()).as_ref() != check {
        return Err("holds a private key that the password does not open (ssl.key.password)".to_owned());
    }
    Ok(PrivatePkcs8KeyDer::from(key).into())
}

/// The octets of `SEQUENCE { SEQUENCE { OID 1.3.6.1.4.1.42.2.17.1.1, NULL }, OCTET STRING }`.
fn pkcs8_content(bytes: &[u8]) -> Option<&[u8]> {
    const OID: &[u8] = &[
        0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01,
    ];
    let (sequence, _) = element(bytes, 0x30)?;
    let (algorithm, rest) = element(sequence, 0x30)?;
    if !algorithm.starts_with(OID) {
        return None;
    }
    element(rest, 0x04).map(|(content, _)| content)
}

/// Splits one DER element with this tag off the front: its content, and what follows.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (
                digits
                    .iter()
                    .fold(0, |length, &digit| length << 8 | usize::from(digit)),
                rest,
            )
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = uncover(&bytes, &"x".into());
            let _ = read(&bytes, None);
            bytes.splice(..0, [MAGIC.as_slice(), &[0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1]].concat());
            let _ = read(&bytes, None);
            let _ = read(&bytes, Some(&"x".into()));
        }
    }
}
