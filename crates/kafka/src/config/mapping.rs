//! What the Java clients' properties mean.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use super::jaas::{self, Jaas};
use super::properties::Properties;
use super::{
    Address, ClientConfig, Identity, OAuth, Sasl, ScramHash, SecretString, Security, Source, Store,
    StoreFormat, Tls, Trust,
};
use crate::error::KafkaError;

/// What [`ClientConfig::from_properties`] found.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The settings. `bootstrap` is empty where the properties do not name any broker.
    pub config: ClientConfig,
    /// The keys that mean nothing to this program, sorted. Kafka's own clients pass over such keys too.
    pub unrecognised: Vec<String>,
}

impl ClientConfig {
    /// Gives the Java clients' properties their meaning. Files are not read yet; see
    /// [`Connector::new`](crate::connection::Connector::new).
    ///
    /// # Errors
    ///
    /// [`KafkaError::Config`] with the key of a value that cannot be right, or that is missing.
    pub fn from_properties(properties: &Properties) -> Result<Parsed, KafkaError> {
        let entries = Entries::new(properties, "");
        let mut config = ClientConfig::new(match entries.get("bootstrap.servers") {
            Some(list) => Address::parse_list(list)?,
            None => Vec::new(),
        });
        if let Some(client_id) = entries.get("client.id")
            && !client_id.is_empty()
        {
            config.client_id = client_id.to_owned();
        }
        for (key, field) in [
            ("socket.connection.setup.timeout.ms", &mut config.connect_timeout),
            ("request.timeout.ms", &mut config.request_timeout),
            ("default.api.timeout.ms", &mut config.api_timeout),
            ("retry.backoff.ms", &mut config.retry_backoff),
            ("retry.backoff.max.ms", &mut config.retry_backoff_max),
        ] {
            if let Some(milliseconds) = entries.parse::<u32>(key, "a number of milliseconds")? {
                *field = Duration::from_millis(milliseconds.into());
            }
        }
        config.security = security(&entries)?;
        Ok(Parsed {
            config,
            unrecognised: entries.unused(),
        })
    }
}

fn security(entries: &Entries<'_>) -> Result<Security, KafkaError> {
    let protocol = entries.get("security.protocol").unwrap_or("PLAINTEXT").trim();
    let (with_tls, with_sasl) = match protocol.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        _ => {
            return Err(KafkaError::config(
                "security.protocol",
                format!("\"{protocol}\" is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL"),
            ));
        }
    };
    // Both are read whatever the protocol, so that keys which are merely idle do not count as unrecognised.
    let tls = tls(entries);
    let sasl = sasl(entries);
    Ok(Security {
        tls: if with_tls { Some(tls?) } else { None },
        sasl: if with_sasl { Some(sasl?) } else { None },
    })
}

fn tls(entries: &Entries<'_>) -> Result<Tls, KafkaError> {
    let trust = trust(entries);
    let identity = identity(entries);
    let algorithm = entries
        .get("ssl.endpoint.identification.algorithm")
        .map(str::trim);
    let verify_host_name = match algorithm {
        Some("") => false,
        None => true,
        Some(name) if name.eq_ignore_ascii_case("https") => true,
        Some(name) => {
            return Err(KafkaError::config(
                "ssl.endpoint.identification.algorithm",
                format!("\"{name}\" is neither https nor empty"),
            ));
        }
    };
    Ok(Tls {
        trust: trust?,
        identity: identity?,
        verify_host_name,
    })
}

fn store_format(entries: &Entries<'_>, key: &str) -> Result<StoreFormat, KafkaError> {
    let text = entries.get(key).unwrap_or("JKS").trim();
    match text.to_ascii_uppercase().as_str() {
        "PEM" => Ok(StoreFormat::Pem),
        // Java reads either format under either name.
        "JKS" | "PKCS12" | "P12" => Ok(StoreFormat::Binary),
        _ => Err(KafkaError::config(
            entries.full(key),
            format!("\"{text}\" is none of PEM, PKCS12 and JKS"),
        )),
    }
}

fn trust(entries: &Entries<'_>) -> Result<Trust, KafkaError> {
    let format = store_format(entries, "ssl.truststore.type");
    let location = entries.get("ssl.truststore.location");
    let inline = entries.secret("ssl.truststore.certificates");
    let password = entries.secret("ssl.truststore.password");
    let format = format?;
    let source = match (location, inline) {
        (None, None) => return Ok(Trust::System),
        (Some(_), Some(_)) => {
            return Err(KafkaError::config(
                entries.full("ssl.truststore.certificates"),
                "it cannot be given together with ssl.truststore.location",
            ));
        }
        (Some(path), None) => Source::file(path, &entries.full("ssl.truststore.location")),
        (None, Some(text)) => {
            let key = entries.full("ssl.truststore.certificates");
            if format != StoreFormat::Pem {
                return Err(KafkaError::config(key, "it needs ssl.truststore.type=PEM"));
            }
            Source::inline(text, &key)
        }
    };
    Ok(Trust::Store(Store {
        format,
        source,
        password,
    }))
}

fn identity(entries: &Entries<'_>) -> Result<Option<Identity>, KafkaError> {
    let format = store_format(entries, "ssl.keystore.type");
    let location = entries.get("ssl.keystore.location");
    let password = entries.secret("ssl.keystore.password");
    let key_password = entries.secret("ssl.key.password");
    let key = entries.secret("ssl.keystore.key");
    let chain = entries.secret("ssl.keystore.certificate.chain");
    let format = format?;
    if let Some(path) = location {
        if key.is_some() || chain.is_some() {
            return Err(KafkaError::config(
                "ssl.keystore.location",
                "it cannot be given together with ssl.keystore.key and ssl.keystore.certificate.chain",
            ));
        }
        let source = Source::file(path, "ssl.keystore.location");
        return Ok(Some(match format {
            StoreFormat::Pem => Identity::Pem {
                certificates: source.clone(),
                key: source,
                key_password,
            },
            StoreFormat::Binary => Identity::Store {
                store: Store {
                    format,
                    source,
                    password,
                },
                key_password,
            },
        }));
    }
    let (key, chain) = match (key, chain) {
        (None, None) => return Ok(None),
        (Some(key), Some(chain)) => (key, chain),
        (Some(_), None) => {
            return Err(KafkaError::config(
                "ssl.keystore.certificate.chain",
                "it is missing, and ssl.keystore.key is given",
            ));
        }
        (None, Some(_)) => {
            return Err(KafkaError::config(
                "ssl.keystore.key",
                "it is missing, and ssl.keystore.certificate.chain is given",
            ));
        }
    };
    if format != StoreFormat::Pem {
        return Err(KafkaError::config(
            "ssl.keystore.type",
            "it must be PEM where ssl.keystore.key is given",
        ));
    }
    Ok(Some(Identity::Pem {
        certificates: Source::inline(chain, "ssl.keystore.certificate.chain"),
        key: Source::inline(key, "ssl.keystore.key"),
        key_password,
    }))
}

fn sasl(entries: &Entries<'_>) -> Result<Sasl, KafkaError> {
    let mechanism = entries.get("sasl.mechanism").unwrap_or("GSSAPI").trim();
    let jaas = entries.get("sasl.jaas.config");
    let endpoint = entries.get("sasl.oauthbearer.token.endpoint.url");
    let client_id = entries.get("sasl.oauthbearer.client.credentials.client.id");
    let client_secret = entries.get("sasl.oauthbearer.client.credentials.client.secret");
    let scope = entries.get("sasl.oauthbearer.scope");
    entries.get("sasl.login.callback.handler.class");
    let jaas = jaas
        .map(|text| jaas::parse(text).map_err(|reason| KafkaError::config("sasl.jaas.config", reason)))
        .transpose();
    match mechanism {
        "PLAIN" => {
            let (username, password) = user(jaas?.as_ref(), "PlainLoginModule")?;
            Ok(Sasl::Plain { username, password })
        }
        "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
            let (username, password) = user(jaas?.as_ref(), "ScramLoginModule")?;
            let hash = match mechanism {
                "SCRAM-SHA-256" => ScramHash::Sha256,
                _ => ScramHash::Sha512,
            };
            Ok(Sasl::Scram {
                hash,
                username,
                password,
            })
        }
        "OAUTHBEARER" => {
            let jaas = jaas?;
            let options = options_of(jaas.as_ref(), "OAuthBearerLoginModule")?;
            let option = |name: &str| options.get(name);
            let missing =
                |key: &str| KafkaError::config(key, "it is missing, and sasl.mechanism is OAUTHBEARER");
            let trust_options = Entries::new(options, "sasl.jaas.config: ");
            Ok(Sasl::OAuthBearer(OAuth {
                token_endpoint: endpoint
                    .ok_or_else(|| missing("sasl.oauthbearer.token.endpoint.url"))?
                    .to_owned(),
                client_id: client_id
                    .or_else(|| option("clientId"))
                    .ok_or_else(|| missing("sasl.jaas.config (clientId)"))?
                    .to_owned(),
                client_secret: client_secret
                    .or_else(|| option("clientSecret"))
                    .ok_or_else(|| missing("sasl.jaas.config (clientSecret)"))?
                    .into(),
                scope: scope.or_else(|| option("scope")).map(str::to_owned),
                extensions: options
                    .keys()
                    .filter_map(|key| {
                        Some((
                            key.strip_prefix("extension_")?.to_owned(),
                            option(key)?.to_owned(),
                        ))
                    })
                    .collect(),
                trust: trust(&trust_options)?,
            }))
        }
        other => Err(KafkaError::config(
            "sasl.mechanism",
            format!(
                "\"{other}\" is not supported; PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are (the Java \
                 clients' default is GSSAPI)"
            ),
        )),
    }
}

fn options_of<'a>(jaas: Option<&'a Jaas>, module: &str) -> Result<&'a Properties, KafkaError> {
    let Some(jaas) = jaas else {
        return Err(KafkaError::config(
            "sasl.jaas.config",
            "it is missing, and security.protocol asks for SASL",
        ));
    };
    if !jaas.module.ends_with(module) {
        return Err(KafkaError::config(
            "sasl.jaas.config",
            format!("its login module does not go with sasl.mechanism, which needs {module}"),
        ));
    }
    Ok(&jaas.options)
}

fn user(jaas: Option<&Jaas>, module: &str) -> Result<(String, SecretString), KafkaError> {
    let options = options_of(jaas, module)?;
    let option = |name: &str| {
        options
            .get(name)
            .ok_or_else(|| KafkaError::config("sasl.jaas.config", format!("{name} is missing in it")))
    };
    Ok((option("username")?.to_owned(), option("password")?.into()))
}

/// Properties that remember which of them were asked for.
struct Entries<'a> {
    properties: &'a Properties,
    /// Said in front of a key in errors.
    place: &'static str,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Entries<'a> {
    fn new(properties: &'a Properties, place: &'static str) -> Self {
        Self {
            properties,
            place,
            used: RefCell::default(),
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.place)
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.used.borrow_mut().insert(key.to_owned());
        self.properties.get(key)
    }

    fn secret(&self, key: &str) -> Option<SecretString> {
        self.get(key).map(SecretString::from)
    }

    fn parse<T: FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, KafkaError> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        text.trim()
            .parse()
            .map(Some)
            .map_err(|_| KafkaError::config(self.full(key), format!("\"{text}\" is not {what}")))
    }

    fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        self.properties
            .keys()
            .filter(|key| !used.contains(*key))
            .map(str::to_owned)
            .collect()
    }
}
