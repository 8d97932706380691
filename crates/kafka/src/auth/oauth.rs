//! OAUTHBEARER tokens from an OAuth 2 token endpoint (client credentials), kept until they get old.
//!
//! Source: RFC 6749 section 4.4 (the grant), RFC 7628 section 3.1 (the first message), KIP-768 (the Java clients' form of
//! it: id and secret in a Basic header), KIP-342 (extensions).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::OAuth;
use crate::error::KafkaError;
use crate::tls;

const KEY: &str = "sasl.oauthbearer.token.endpoint.url";

/// An answer of a token endpoint is a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How long a token is used that comes without `expires_in`.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Gives tokens, a kept one where it is fresh enough.
pub(crate) struct TokenSource {
    settings: OAuth,
    client: reqwest::Client,
    url: reqwest::Url,
    kept: Mutex<Option<Token>>,
}

struct Token {
    text: SecretString,
    fresh_until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<SecretStringVisitor>,
    expires_in: Option<f64>,
}

/// `secrecy` has no deserialisation without another feature; this goes straight into a secret.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretStringVisitor(SecretString);

impl From<String> for SecretStringVisitor {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

impl TokenSource {
    pub(super) fn new(settings: OAuth, timeout: Duration) -> Result<Self, KafkaError> {
        let url: reqwest::Url = settings
            .token_endpoint
            .parse()
            .map_err(|error| KafkaError::config(KEY, format!("\"{}\": {error}", settings.token_endpoint)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(KafkaError::config(
                KEY,
                "it is neither an http nor an https address",
            ));
        }
        for (name, value) in &settings.extensions {
            // RFC 7628, section 3.1; `auth` is the token's own name.
            let name_is_right =
                !name.is_empty() && name != "auth" && name.bytes().all(|b| b.is_ascii_alphabetic());
            let value_is_right = value
                .bytes()
                .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
            if !name_is_right || !value_is_right {
                return Err(KafkaError::config(
                    "sasl.jaas.config",
                    format!("extension_{name} has a name or value that cannot be sent"),
                ));
            }
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::plain_client(&settings.trust)?)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| KafkaError::config(KEY, error.to_string()))?;
        Ok(Self {
            settings,
            client,
            url,
            kept: Mutex::new(None),
        })
    }

    /// The client's first (and in the good case only) message.
    pub(super) async fn first_message(&self) -> Result<Vec<u8>, KafkaError> {
        let token = self.token().await?;
        let mut message = format!("n,,\u{1}auth=Bearer {}", token.expose_secret());
        for (name, value) in &self.settings.extensions {
            message.push_str(&format!("\u{1}{name}={value}"));
        }
        message.push_str("\u{1}\u{1}");
        Ok(message.into_bytes())
    }

    async fn token(&self) -> Result<SecretString, KafkaError> {
        // Held over the request: connections that start together share one question.
        let mut kept = self.kept.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.fresh_until) {
            return Ok(token.text.clone());
        }
        let (text, lifetime) = self.fetch().await?;
        // Renewed when 80 % of its time has gone, as in Kafka's own clients.
        let fresh_until = Instant::now() + lifetime.mul_f64(0.8);
        *kept = Some(Token {
            text: text.clone(),
            fresh_until,
        });
        Ok(text)
    }

    async fn fetch(&self) -> Result<(SecretString, Duration), KafkaError> {
        let addr = self.settings.token_endpoint.as_str();
        let refused = |message: String| KafkaError::Authentication {
            addr: addr.to_owned(),
            mechanism: "OAUTHBEARER",
            message,
        };
        let unreachable = |error: reqwest::Error| KafkaError::Unreachable {
            addr: addr.to_owned(),
            message: chain(&error),
        };
        // `Url` writes the form encoding that the body needs.
        let mut form = self.url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.settings.scope {
            form.query_pairs_mut().append_pair("scope", scope);
        }
        let credentials = STANDARD.encode(format!(
            "{}:{}",
            self.settings.client_id,
            self.settings.client_secret.expose_secret()
        ));
        let mut authorization = reqwest::header::HeaderValue::try_from(format!("Basic {credentials}"))
            .map_err(|_| refused("the credentials cannot be sent".to_owned()))?;
        authorization.set_sensitive(true);
        let mut response = self
            .client
            .post(self.url.clone())
            .header(reqwest::header::AUTHORIZATION, authorization)
            .header(reqwest::header::ACCEPT, "application/json")
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(refused("the answer is too long for a token".to_owned()));
            }
        }
        if !status.is_success() {
            let message = match serde_json::from_slice::<Refusal>(&body) {
                Ok(Refusal {
                    error,
                    error_description,
                }) => format!("{status}: {error} {}", error_description.unwrap_or_default()),
                Err(_) => status.to_string(),
            };
            if status.is_server_error() {
                return Err(KafkaError::Unreachable {
                    addr: addr.to_owned(),
                    message,
                });
            }
            return Err(refused(message.trim_end().to_owned()));
        }
        // The parser's own error could quote the token.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| refused("the answer is not a token in JSON".to_owned()))?;
        let token = answer
            .access_token
            .ok_or_else(|| refused("the answer has no access_token".to_owned()))?;
        if token.0.expose_secret().contains(|c: char| !c.is_ascii_graphic()) {
            return Err(refused("the token has characters that no token has".to_owned()));
        }
        let lifetime = answer
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.min(86_400.0)).ok())
            .unwrap_or(DEFAULT_LIFETIME);
        Ok((token.0, lifetime))
    }
}

/// An error with its causes; reqwest keeps the telling part in them.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
