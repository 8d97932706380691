//! Credentials for GCS that `object_store` does not know: external accounts (workload identity federation) and
//! impersonated service accounts, through Google's own library.

use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_auth::credentials::{AccessTokenCredentials, external_account, impersonated};
use object_store::CredentialProvider;
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use serde_json::{Map, Value};

/// Enough to read and write objects, whatever the account may do beside.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// Credentials from a file's fields.
///
/// # Errors
///
/// Where the type is unknown or a field is missing or wrong.
pub(super) fn credentials(kind: &str, fields: Map<String, Value>) -> Result<GcpCredentialProvider, String> {
    // The library makes requests over TLS as soon as it is asked.
    super::http::client_options();
    let fields = Value::Object(fields);
    let credentials = match kind {
        "external_account" => external_account::Builder::new(fields)
            .with_scopes([SCOPE])
            .build_access_token_credentials(),
        "impersonated_service_account" => impersonated::Builder::new(fields)
            .with_scopes([SCOPE])
            .build_access_token_credentials(),
        other => return Err(format!("the type {other:?} is unknown")),
    };
    let credentials = credentials.map_err(|error| explain(&error))?;
    Ok(Arc::new(GoogleCredentials(credentials)))
}

fn explain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// The library keeps a token until it is about to expire.
#[derive(Debug)]
struct GoogleCredentials(AccessTokenCredentials);

#[async_trait]
impl CredentialProvider for GoogleCredentials {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let token = self
            .0
            .access_token()
            .await
            .map_err(|error| object_store::Error::Generic {
                store: "GCS",
                source: explain(&error).into(),
            })?;
        Ok(Arc::new(GcpCredential { bearer: token.token }))
    }
}
