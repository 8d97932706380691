//! PEM: certificates and keys as text.
//!
//! Source: RFC 7468. As in Kafka's own clients, line ends may be any blanks, so that a whole certificate fits on one line
//! of a properties file. Keys: PKCS#8, PKCS#8 encrypted (RFC 5958), PKCS#1 (`RSA PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use secrecy::{ExposeSecret, SecretString};

/// One `-----BEGIN LABEL-----` ... `-----END LABEL-----`.
struct Section<'a> {
    label: &'a str,
    body: &'a str,
}

/// All certificates, in order.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for section in sections(text)? {
        if matches!(section.label, "CERTIFICATE" | "X509 CERTIFICATE") {
            found.push(CertificateDer::from(section.bytes()?));
        }
    }
    if found.is_empty() {
        return Err("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(found)
}

/// The first private key.
pub(super) fn private_key(
    text: &str,
    password: Option<&SecretString>,
) -> Result<PrivateKeyDer<'static>, String> {
    for section in sections(text)? {
        if !section.label.ends_with("PRIVATE KEY") {
            continue;
        }
        if section.body.contains("Proc-Type:") {
            return Err(
                "holds a private key that is encrypted in OpenSSL's old way; convert it with: openssl pkcs8 \
                        -topk8 -in OLD.key -out NEW.key"
                    .to_owned(),
            );
        }
        let bytes = section.bytes()?;
        return match section.label {
            "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(bytes).into()),
            "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(bytes).into()),
            "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(bytes).into()),
            "ENCRYPTED PRIVATE KEY" => decrypt(&bytes, password),
            other => Err(format!("holds a key of a kind that cannot be used: {other}")),
        };
    }
    Err("holds no PEM private key (-----BEGIN PRIVATE KEY-----)".to_owned())
}

fn decrypt(bytes: &[u8], password: Option<&SecretString>) -> Result<PrivateKeyDer<'static>, String> {
    let Some(password) = password else {
        return Err("holds an encrypted private key, and no password is given (ssl.key.password)".to_owned());
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(bytes)
        .map_err(|error| format!("holds an encrypted private key that cannot be read: {error}"))?;
    let key = encrypted
        .decrypt(password.expose_secret())
        .map_err(|error| format!("holds a private key that the password does not open ({error})"))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

impl Section<'_> {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        let text: Vec<u8> = self
            .body
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        STANDARD
            .decode(text)
            .map_err(|_| format!("has a {} that is not base64", self.label))
    }
}

fn sections(text: &str) -> Result<Vec<Section<'_>>, String> {
    const BEGIN: &str = "-----BEGIN ";
    const DASHES: &str = "-----";
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(BEGIN) {
        rest = &rest[start + BEGIN.len()..];
        let (label, after) = rest
            .split_once(DASHES)
            .ok_or("has a PEM section without an end of its first line")?;
        let end = format!("-----END {label}-----");
        let (body, after) = after
            .split_once(&end)
            .ok_or_else(|| format!("has a PEM section that does not end: {label}"))?;
        found.push(Section { label, body });
        rest = after;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sections_on_many_lines_and_on_one() {
        let many = "junk\n-----BEGIN CERTIFICATE-----\r\nAQ\r\nID\r\n-----END CERTIFICATE-----\n";
        let one = "-----BEGIN CERTIFICATE----- AQ ID -----END CERTIFICATE-----";
        for text in [many, one] {
            assert_eq!(certificates(text).unwrap(), [CertificateDer::from(vec![1, 2, 3])]);
        }
        let chain = [
            one,
            "-----BEGIN PRIVATE KEY-----AA==-----END PRIVATE KEY-----",
            one,
        ]
        .concat();
        assert_eq!(certificates(&chain).unwrap().len(), 2);
        assert!(matches!(private_key(&chain, None), Ok(PrivateKeyDer::Pkcs8(_))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("", "no PEM private key"),
            ("-----BEGIN PRIVATE KEY", "without an end of its first line"),
            ("-----BEGIN PRIVATE KEY-----AA==", "does not end"),
            (
                "-----BEGIN PRIVATE KEY-----*-----END PRIVATE KEY-----",
                "not base64",
            ),
            (
                "-----BEGIN DSA PRIVATE KEY-----AA==-----END DSA PRIVATE KEY-----",
                "DSA",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----AA==-----END ENCRYPTED PRIVATE KEY-----",
                "no password",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n-----END RSA PRIVATE KEY-----",
                "openssl pkcs8",
            ),
        ] {
            let error = private_key(text, None).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_read_or_refused(text in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY)-----|[A-Za-z=\n -]){0,12}") {
            let _ = certificates(&text);
            let _ = private_key(&text, Some(&"x".into()));
        }
    }
}
