//! What a failed handshake means, with what to do about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

use crate::error::KafkaError;

/// A TLS error in words.
pub(crate) fn explain(error: &Error) -> String {
    let hint = match error {
        Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => {
                "the broker's certificate was signed by an authority that is not trusted here; give that authority's \
                 certificate (ssl.truststore.*, or ssl_ca_file)"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the broker's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the broker's certificate is not valid yet; is this machine's clock right?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the broker's certificate is for another host name; dial the broker by a name in its certificate, or \
                 set ssl.endpoint.identification.algorithm to nothing where the network is trusted"
            }
            _ => "the broker's certificate is not accepted",
        },
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired => {
                "the broker wants a client certificate (ssl.keystore.*, or ssl_access_certificate_file and \
                 ssl_access_key_file)"
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => {
                "the broker did not accept this side's certificate, or wants one and got none (ssl.keystore.*)"
            }
            AlertDescription::ProtocolVersion => "the broker speaks neither TLS 1.2 nor TLS 1.3",
            AlertDescription::HandshakeFailure => {
                "the broker found no common ground: no common cipher, or it wants a client certificate \
                 (ssl.keystore.*)"
            }
            _ => "the broker ended the handshake",
        },
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the broker does not speak TLS here; security.protocol must be PLAINTEXT or SASL_PLAINTEXT for this port"
        }
        Error::PeerIncompatible(_) => "the broker and this program have no TLS version or cipher in common",
        _ => return error.to_string(),
    };
    format!("{hint} ({error})")
}

/// Why a certificate and key cannot be shown to brokers.
pub(super) fn unusable_identity(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate".to_owned(),
        other => {
            format!("the certificate or the private key cannot be used; do they belong together? ({other})")
        }
    }
}

/// What a failed handshake means.
pub(super) fn handshake(addr: &str, error: &io::Error) -> KafkaError {
    if let Some(error) = tls_error(error) {
        return KafkaError::Tls {
            addr: addr.to_owned(),
            message: explain(error),
        };
    }
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the broker closed it during the TLS handshake; if this port does not do TLS, security.protocol must be \
             PLAINTEXT or SASL_PLAINTEXT"
                .to_owned()
        }
        _ => format!("{error} during the TLS handshake"),
    };
    KafkaError::Disconnected {
        addr: addr.to_owned(),
        message,
    }
}

/// The TLS error inside an I/O error, if there is one.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}
