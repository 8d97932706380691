//! The sink connector's own configuration, from a file or from Connect's REST interface.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use backup::layout::connector::ConnectorSettings;

use crate::config::ConfigError;
use crate::config::paths::Paths;

/// A configuration is a few kilobytes; whatever answers with more is something else.
const MOST_BYTES: usize = 1 << 20;

/// Reads what `place` names: a file, or an address such as `http://connect:8083/connectors/NAME`.
pub(crate) async fn read(place: &str) -> anyhow::Result<ConnectorSettings> {
    let text = match place.starts_with("http://") || place.starts_with("https://") {
        true => fetch(place)
            .await
            .with_context(|| format!("the connector's configuration {place} cannot be fetched"))?,
        false => file(&Paths::default().find("--connector-config", place)?)?,
    };
    let settings = ConnectorSettings::parse(&text).map_err(|error| ConfigError::Contradiction {
        what: format!("{place}: {error}"),
        hint:
            "Give the sink connector's own configuration: its JSON or properties file, or its Connect REST \
                   address (http://connect:8083/connectors/NAME)."
                .to_owned(),
    })?;
    for warning in &settings.warnings {
        tracing::warn!("{place}: {warning}");
    }
    Ok(settings)
}

fn file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        what: "connector configuration",
        path: path.to_owned(),
        source,
    })
}

async fn fetch(address: &str) -> anyhow::Result<String> {
    // The provider of TLS is a matter of the whole process; where one was chosen, it stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()?;
    let mut answer = client.get(address).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        anyhow::ensure!(
            bytes.len() <= MOST_BYTES,
            "the answer is larger than {MOST_BYTES} bytes"
        );
    }
    String::from_utf8(bytes).context("the answer is not UTF-8")
}
