//! Which cluster and how to get in: the `kafka` section, `--bootstrap-server` and `--command-config` as one.
//!
//! Single settings of the `kafka` section win over its `properties_file`. `--command-config` replaces all
//! security settings of the config file; only the brokers' addresses are still taken from there.

use std::path::{Path, PathBuf};

use kafka::config::properties::Properties;
use kafka::config::{Address, ClientConfig, Identity, SecretString, Source, Store, Trust};
use secrecy::ExposeSecret;

use crate::argument::target::TargetArguments;
use crate::config::file::{KafkaSection, OneOrMany};
use crate::config::paths::Paths;
use crate::config::{ConfigError, ConfigFile};

/// PEM files for TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// CA certificates; the system's where there is none.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate chain and its private key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// The private key's passphrase.
    pub(crate) key_password: Option<SecretString>,
}

/// A user's name and password for SASL.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    pub(crate) mechanism: &'static str,
    /// The user's name, or the client id.
    pub(crate) username: String,
    /// The password, or the client secret.
    pub(crate) password: SecretString,
}

const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// Merges all; options win over the file.
pub(crate) fn resolve(arguments: &TargetArguments, file: &ConfigFile) -> anyhow::Result<ClientConfig> {
    let (section, paths) = (&file.sections.kafka, file.paths());
    let mut config = match &arguments.command_config {
        Some(path) => {
            let path = Paths::default().find("--command-config", &path.to_string_lossy())?;
            from_properties(&properties(&path)?)?
        }
        None => from_section(section, &paths)?,
    };
    let bootstrap = match &arguments.bootstrap_server[..] {
        [] => section_bootstrap(section)?,
        servers => servers.to_vec(),
    };
    if !bootstrap.is_empty() {
        config.bootstrap = bootstrap;
    }
    if config.bootstrap.is_empty() {
        let what = "which cluster to work with was not said".to_owned();
        let hint = "Give --bootstrap-server HOST:PORT, or a config file with kafka.kafka_url.".to_owned();
        return Err(ConfigError::Missing { what, hint }.into());
    }
    Ok(config)
}

fn properties(path: &Path) -> anyhow::Result<Properties> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        what: "properties file",
        path: path.to_owned(),
        source,
    })?;
    Properties::parse(&bytes).map_err(|error| unusable(error, path))
}

fn unusable(error: kafka::error::KafkaError, path: &Path) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("the properties file {} cannot be used", path.display()))
}

fn from_properties(properties: &Properties) -> anyhow::Result<ClientConfig> {
    let parsed = ClientConfig::from_properties(properties)?;
    for key in parsed.unrecognised {
        tracing::warn!("the property {key} is unknown and was passed over, as Kafka's own tools do");
    }
    Ok(parsed.config)
}

fn from_section(section: &KafkaSection, paths: &Paths) -> anyhow::Result<ClientConfig> {
    let mut properties = match &section.properties_file {
        Some(name) => properties(&paths.find("kafka.properties_file", name)?)?,
        None => Properties::default(),
    };
    let (tls, login) = (tls(section, paths)?, login(section, paths)?);
    let protocol = protocol(
        section,
        &properties,
        tls.ca.is_some() || tls.client.is_some(),
        login.is_some(),
    )?;
    if let Some(protocol) = protocol {
        properties.set("security.protocol", protocol);
    }
    if let Some(mechanism) = mechanism(section)? {
        properties.set("sasl.mechanism", mechanism);
    }
    if let Some(login) = &login {
        properties.set("sasl.jaas.config", login.jaas());
    }
    let mut config = from_properties(&properties)?;
    if let Some(own) = &mut config.security.tls {
        if let Some(path) = tls.ca {
            own.trust = Trust::Store(Store::pem_file(path, "kafka.ssl_ca_file"));
        }
        if let Some((certificates, key)) = tls.client {
            own.identity = Some(Identity::Pem {
                certificates: Source::file(certificates, "kafka.ssl_access_certificate_file"),
                key: Source::file(key, "kafka.ssl_access_key_file"),
                key_password: tls.key_password,
            });
        }
    }
    Ok(config)
}

/// The security protocol: as given, or what the other keys need. None leaves it to the properties file.
fn protocol(
    section: &KafkaSection,
    properties: &Properties,
    has_tls: bool,
    has_login: bool,
) -> Result<Option<&'static str>, ConfigError> {
    let given = match (&section.security_protocol, properties.get("security.protocol")) {
        (Some(name), _) => Some(one_of("kafka.security_protocol", name, &PROTOCOLS)?),
        (None, Some(name)) => PROTOCOLS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(name.trim()))
            .copied(),
        (None, None) => None,
    };
    if has_tls && matches!(given, Some("PLAINTEXT" | "SASL_PLAINTEXT")) {
        return Err(ConfigError::Contradiction {
            what: "the security protocol turns TLS off, and certificates are given".to_owned(),
            hint: "Set kafka.security_protocol to SSL or SASL_SSL, or remove the ssl_* keys.".to_owned(),
        });
    }
    if has_login && matches!(given, Some("PLAINTEXT" | "SSL")) {
        return Err(ConfigError::Contradiction {
            what: "the security protocol has no SASL, and a SASL login is given".to_owned(),
            hint: "Set kafka.security_protocol to SASL_SSL (or SASL_PLAINTEXT), or remove the sasl_* keys."
                .to_owned(),
        });
    }
    Ok(match given {
        // A password never travels in the clear unless somebody says so.
        None if has_login => Some("SASL_SSL"),
        None if has_tls => Some("SSL"),
        given => given,
    })
}

fn tls(section: &KafkaSection, paths: &Paths) -> Result<TlsFiles, ConfigError> {
    let find = |key: &str, name: &Option<String>| -> Result<Option<PathBuf>, ConfigError> {
        name.as_deref().map(|name| paths.find(key, name)).transpose()
    };
    let ca = match find("kafka.ssl_ca_file", &section.ssl_ca_file)? {
        Some(path) => Some(path),
        None => find("kafka.ssl_cafile", &section.ssl_cafile)?,
    };
    let certificate = find(
        "kafka.ssl_access_certificate_file",
        &section.ssl_access_certificate_file,
    )?;
    let key = find("kafka.ssl_access_key_file", &section.ssl_access_key_file)?;
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (certificate, _) => {
            let missing = if certificate.is_some() {
                "ssl_access_key_file"
            } else {
                "ssl_access_certificate_file"
            };
            return Err(ConfigError::Missing {
                what: format!("kafka.{missing} is missing"),
                hint: "A client certificate needs both ssl_access_certificate_file and ssl_access_key_file."
                    .to_owned(),
            });
        }
    };
    let key_password = paths.secret(
        "kafka.ssl_access_key_password",
        section.ssl_access_key_password.as_ref(),
        section.ssl_access_key_password_file.as_deref(),
    )?;
    Ok(TlsFiles {
        ca,
        client,
        key_password,
    })
}

fn login(section: &KafkaSection, paths: &Paths) -> Result<Option<Login>, ConfigError> {
    let password = paths.secret(
        "kafka.sasl_password",
        section.sasl_password.as_ref(),
        section.sasl_password_file.as_deref(),
    )?;
    let missing = |key: &str, hint: &str| ConfigError::Missing {
        what: format!("kafka.{key} is missing"),
        hint: hint.to_owned(),
    };
    match (mechanism(section)?, &section.sasl_username, password) {
        // The mechanism alone goes with a properties file that holds the rest.
        (_, None, None) if section.sasl_mechanism.is_none() || section.properties_file.is_some() => Ok(None),
        (None, _, _) => Err(missing(
            "sasl_mechanism",
            "It must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.",
        )),
        (_, None, _) => Err(missing(
            "sasl_username",
            "A SASL login needs sasl_username and sasl_password.",
        )),
        (_, _, None) => Err(missing(
            "sasl_password",
            "Give it as ${NAME} of an environment variable, or name a file that holds it in sasl_password_file.",
        )),
        (Some(mechanism), Some(username), Some(password)) => Ok(Some(Login {
            mechanism,
            username: username.clone(),
            password,
        })),
    }
}

fn mechanism(section: &KafkaSection) -> Result<Option<&'static str>, ConfigError> {
    section
        .sasl_mechanism
        .as_deref()
        .map(|name| one_of("kafka.sasl_mechanism", name, &MECHANISMS))
        .transpose()
}

impl Login {
    /// The login as the Java clients' `sasl.jaas.config`.
    fn jaas(&self) -> String {
        let (class, user, secret) = match self.mechanism {
            "PLAIN" => ("plain.PlainLoginModule", "username", "password"),
            "OAUTHBEARER" => ("oauthbearer.OAuthBearerLoginModule", "clientId", "clientSecret"),
            _ => ("scram.ScramLoginModule", "username", "password"),
        };
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        format!(
            "org.apache.kafka.common.security.{class} required {user}={} {secret}={};",
            quote(&self.username),
            quote(self.password.expose_secret())
        )
    }
}

fn one_of(key: &str, name: &str, names: &[&'static str]) -> Result<&'static str, ConfigError> {
    let found = names.iter().find(|known| known.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| ConfigError::Contradiction {
        what: format!("{key} is {name:?}"),
        hint: format!("It must be one of {}.", names.join(", ")),
    })
}

fn section_bootstrap(section: &KafkaSection) -> Result<Vec<Address>, ConfigError> {
    let servers: Vec<&str> = match &section.kafka_url {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => text.split(',').collect(),
        Some(OneOrMany::Many(list)) => list.iter().map(String::as_str).collect(),
    };
    let read = |server: &&str| {
        bootstrap_server(server).map_err(|message| ConfigError::Contradiction {
            what: format!("kafka.kafka_url: {message}"),
            hint: "Several brokers are joined by commas.".to_owned(),
        })
    };
    servers.iter().map(read).collect()
}

/// Reads `host:port`, `[::1]:port` or a host alone, whose port is then 9092.
pub(crate) fn bootstrap_server(text: &str) -> Result<Address, String> {
    let text = text.trim();
    let has_port = match text.strip_prefix('[') {
        Some(rest) => rest.contains("]:"),
        None => text.contains(':'),
    };
    let whole = if has_port {
        text.to_owned()
    } else {
        format!("{text}:9092")
    };
    whole
        .parse()
        .map_err(|_| format!("expected HOST:PORT, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka::config::{Content, Sasl, ScramHash};

    fn section(json: &str) -> anyhow::Result<ClientConfig> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/configs/valid");
        from_section(
            &serde_json::from_str(json).unwrap(),
            &Paths { beside: Some(folder) },
        )
    }

    #[test]
    fn bootstrap_servers() {
        for (text, server) in [
            (
                "kafka-example.aivencloud.com:11397",
                "kafka-example.aivencloud.com:11397",
            ),
            (" broker ", "broker:9092"),
            ("[::1]:9093", "[::1]:9093"),
            ("[fe80::1]", "[fe80::1]:9092"),
        ] {
            assert_eq!(
                bootstrap_server(text)
                    .map(|address| address.to_string())
                    .as_deref(),
                Ok(server)
            );
        }
        for text in [
            "",
            ":9092",
            "host:",
            "host:0",
            "host:99999",
            "::1:9092",
            "[::1",
            "[::1]9092",
        ] {
            assert!(bootstrap_server(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_originals_keys_turn_tls_on() {
        let config = section(
            r#"{"ssl_ca_file": "ca.crt", "ssl_access_certificate_file": "service.crt", "ssl_access_key_file": "service.key"}"#,
        );
        let security = config.unwrap().security;
        let tls = security.tls.unwrap();
        assert!(security.sasl.is_none() && tls.verify_host_name);
        let Trust::Store(store) = tls.trust else {
            panic!("the given CA must be the only trusted one")
        };
        assert!(matches!(store.source.content, Content::File(path) if path.ends_with("ca.crt")));
        let Some(Identity::Pem {
            certificates, key, ..
        }) = tls.identity
        else {
            panic!("a client certificate")
        };
        assert!(matches!(certificates.content, Content::File(path) if path.ends_with("service.crt")));
        assert!(matches!(key.content, Content::File(path) if path.ends_with("service.key")));
    }

    #[test]
    fn without_security_keys_there_is_no_tls() {
        let security = section("{}").unwrap().security;
        assert!(security.tls.is_none() && security.sasl.is_none());
    }

    #[test]
    fn a_login_needs_tls_unless_told_otherwise() {
        let login = |protocol: &str| {
            let keys =
                r#""sasl_mechanism": "scram-sha-512", "sasl_username": "a\"b\\", "sasl_password": "p;\"\\'"#;
            section(&format!("{{{keys}\"{protocol}}}")).unwrap().security
        };
        let security = login("");
        assert!(security.tls.is_some());
        let Some(Sasl::Scram {
            hash: ScramHash::Sha512,
            username,
            password,
        }) = security.sasl
        else {
            panic!()
        };
        assert_eq!(
            (username.as_str(), password.expose_secret()),
            ("a\"b\\", "p;\"\\'")
        );
        assert!(login(r#", "security_protocol": "SASL_PLAINTEXT""#).tls.is_none());
        assert!(!format!("{:?}", login("")).contains("p;"));
    }

    #[test]
    fn a_properties_file_holds_what_the_section_does_not() {
        let security = section(r#"{"properties_file": "client.properties", "ssl_ca_file": "ca.crt"}"#)
            .unwrap()
            .security;
        assert!(matches!(security.tls.unwrap().trust, Trust::Store(_)));
    }

    #[test]
    fn contradictions() {
        for (json, words) in [
            (
                r#"{"security_protocol": "TLS"}"#,
                "kafka.security_protocol is \"TLS\"",
            ),
            (
                r#"{"security_protocol": "PLAINTEXT", "ssl_ca_file": "ca.crt"}"#,
                "turns TLS off",
            ),
            (
                r#"{"ssl_access_key_file": "service.key"}"#,
                "kafka.ssl_access_certificate_file is missing",
            ),
            (r#"{"sasl_username": "x"}"#, "kafka.sasl_mechanism is missing"),
            (r#"{"sasl_mechanism": "PLAIN"}"#, "kafka.sasl_username is missing"),
            (
                r#"{"sasl_mechanism": "PLAIN", "sasl_username": "x"}"#,
                "kafka.sasl_password is missing",
            ),
            (
                r#"{"security_protocol": "SSL", "sasl_mechanism": "PLAIN", "sasl_username": "x", "sasl_password": "y"}"#,
                "has no SASL",
            ),
        ] {
            let error = section(json).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
