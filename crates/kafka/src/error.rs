//! What can go wrong between this program and the brokers.
//!
//! Every error says where it arose (address, topic, partition), in whole sentences, and
//! [`KafkaError::is_retriable`] says whether the same thing may work later. A *retriable* error of a request that
//! changes something (Produce above all) does not say that nothing happened: after [`KafkaError::Disconnected`] and
//! [`KafkaError::TimedOut`] the outcome is unknown.

use std::time::Duration;

pub use kafka_protocol::error::ResponseError;

/// An error of a broker, of the way to it, or of the settings for it. Cheap enough to clone: when a connection
/// breaks, every request in flight gets the same one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// No TCP connection could be made: name not found, refused, no route, or nothing answered in time.
    #[error("{addr} cannot be reached: {message}")]
    Unreachable {
        /// `host:port` of the broker, or of all that were tried.
        addr: String,
        /// What the operating system said.
        message: String,
    },
    /// The connection ended while (or before) the request was in flight. Whether the broker carried the request out
    /// is not known.
    #[error("the connection to {addr} ended: {message}")]
    Disconnected {
        /// `host:port` of the broker.
        addr: String,
        /// Who ended it, and why, as far as this side knows.
        message: String,
    },
    /// No answer came in time. The connection was closed; whether the broker carried the request out is not known.
    #[error("{addr} did not answer {what} within {} s", after.as_secs_f32())]
    TimedOut {
        /// The request, by its name in Kafka's protocol, or the operation.
        what: String,
        /// `host:port` of the broker.
        addr: String,
        /// The time that was given.
        after: Duration,
    },
    /// TLS failed: a certificate was not accepted by one of the sides, or the other side does not speak TLS.
    #[error("TLS with {addr} failed: {message}")]
    Tls {
        /// `host:port` of the broker.
        addr: String,
        /// The reason, with a hint where the cause is a common mistake.
        message: String,
    },
    /// The broker (or the token endpoint) did not accept the credentials, or the broker could not prove that it
    /// knows them.
    #[error("{addr} refused {mechanism} authentication: {message}")]
    Authentication {
        /// `host:port` of the broker, or the token endpoint.
        addr: String,
        /// The SASL mechanism, as Kafka names it.
        mechanism: &'static str,
        /// What the other side said.
        message: String,
    },
    /// The broker and this program have no common version of a request.
    #[error("{addr} cannot do {api}: it offers {offered}, and this program speaks {spoken}")]
    UnsupportedVersion {
        /// `host:port` of the broker.
        addr: String,
        /// The request, by its name in Kafka's protocol.
        api: String,
        /// The versions that the broker offers, or `nothing`.
        offered: String,
        /// The versions that this program speaks.
        spoken: String,
    },
    /// A request of this program cannot be written in a version that the broker speaks.
    #[error(
        "{api} cannot be written in version {version}, which is the highest one that the broker speaks: {message}"
    )]
    Request {
        /// The request, by its name in Kafka's protocol.
        api: String,
        /// The version that was tried.
        version: i16,
        /// Which field cannot be expressed.
        message: String,
    },
    /// An answer carried an error code.
    #[error("{what} of {resource} was refused: {code} (error {}){}", code.code(), with_message(message))]
    Broker {
        /// The code, as Kafka names it.
        code: ResponseError,
        /// The request, by its name in Kafka's protocol.
        what: &'static str,
        /// What the code is about: a topic, a partition, a group, a broker.
        resource: String,
        /// The broker's own words, where the answer had any.
        message: Option<String>,
    },
    /// An answer that cannot be right: a length out of bounds, an unknown correlation id, bytes that do not parse.
    #[error("{addr} sent an answer that is not Kafka's protocol: {message}")]
    Protocol {
        /// `host:port` of the broker.
        addr: String,
        /// What is wrong with it.
        message: String,
    },
    /// A setting that cannot work, or a file named in one that cannot be used.
    #[error("{key}: {message}")]
    Config {
        /// The property, by the name the Java clients give it.
        key: String,
        /// What is wrong with the value. Never the value of a secret.
        message: String,
    },
}

fn with_message(message: &Option<String>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!(": {message}"),
        _ => String::new(),
    }
}

impl KafkaError {
    /// True where the same request may succeed later, perhaps at another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => true,
            // Retriable to the Java clients, and not in `kafka-protocol`'s table.
            Self::Broker { code, .. } => {
                code.is_retriable() || *code == ResponseError::ConcurrentTransactions
            }
            Self::Tls { .. }
            | Self::Authentication { .. }
            | Self::UnsupportedVersion { .. }
            | Self::Request { .. }
            | Self::Protocol { .. }
            | Self::Config { .. } => false,
        }
    }

    /// The error code, where a broker answered with one.
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// `Ok` for code 0, else the error for `code`. `what` is the request, `resource` what the code is about.
    pub fn check(
        code: i16,
        what: &'static str,
        resource: impl Into<String>,
        message: Option<&str>,
    ) -> Result<(), KafkaError> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(code) => Err(Self::Broker {
                code,
                what,
                resource: resource.into(),
                message: message.map(str::to_owned),
            }),
        }
    }

    pub(crate) fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            message: message.into(),
        }
    }

    pub(crate) fn protocol(addr: &str, message: impl Into<String>) -> Self {
        Self::Protocol {
            addr: addr.to_owned(),
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_zero_is_success_and_others_name_code_resource_and_message() {
        assert_eq!(KafkaError::check(0, "CreateTopics", "orders", None), Ok(()));
        let error = KafkaError::check(40, "CreateTopics", "orders", Some("Unknown topic config name: x"))
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("CreateTopics of orders was refused: "), "{text}");
        assert!(
            text.ends_with("(error 40): Unknown topic config name: x"),
            "{text}"
        );
        assert!(!error.is_retriable());
        assert_eq!(error.code(), Some(ResponseError::InvalidConfig));
    }

    #[test]
    fn codes_that_pass_by_themselves_are_retriable() {
        for code in [3, 5, 6, 7, 14, 15, 16, 41, 51, 78] {
            assert!(
                KafkaError::check(code, "X", "y", None)
                    .unwrap_err()
                    .is_retriable(),
                "{code}"
            );
        }
        for code in [-1, 10, 29, 31, 36, 37, 44, 45, 47, 58, 87] {
            assert!(
                !KafkaError::check(code, "X", "y", None)
                    .unwrap_err()
                    .is_retriable(),
                "{code}"
            );
        }
    }
}
