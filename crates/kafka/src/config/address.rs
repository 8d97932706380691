//! `host:port`, with IPv6 literals in brackets.

use std::fmt;
use std::str::FromStr;

use crate::error::KafkaError;

/// A broker's host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, an IPv4 or an IPv6 literal (without brackets).
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// As written in `bootstrap.servers`: `host:port`, `[::1]:port`; a listener name in front (`SSL://`) is passed over, as
/// Kafka's clients do.
impl FromStr for Address {
    type Err = KafkaError;

    fn from_str(text: &str) -> Result<Self, KafkaError> {
        let refuse = |reason: &str| KafkaError::config("bootstrap.servers", format!("\"{text}\" {reason}"));
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest).trim();
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| refuse("has no port; write HOST:PORT"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .ok_or_else(|| refuse("has a bracket that does not close"))?,
            None if host.contains(':') => {
                return Err(refuse("has colons; write an IPv6 address as [ADDRESS]:PORT"));
            }
            None => host,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(refuse("has no host; write HOST:PORT"));
        }
        match port.parse() {
            Ok(0) | Err(_) => Err(refuse("has no port between 1 and 65535 at its end")),
            Ok(port) => Ok(Self {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl Address {
    /// A list with commas between, as in `bootstrap.servers`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, KafkaError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::parse).collect()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals_are_read_and_written_alike() {
        for text in [
            "broker-1.example:9092",
            "10.0.0.1:1",
            "[::1]:65535",
            "[fe80::1%eth0]:9092",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("SASL_SSL://b:9".parse::<Address>().unwrap().to_string(), "b:9");
        let list = Address::parse_list("a:1, b:2 ,,[::1]:3,").unwrap();
        assert_eq!(
            list.iter().map(Address::to_string).collect::<Vec<_>>(),
            ["a:1", "b:2", "[::1]:3"]
        );
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in [
            "",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            ":9092",
            "::1:9092",
            "[::1:9092",
            "[]:1",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.starts_with("bootstrap.servers: "), "{error}");
        }
    }
}
