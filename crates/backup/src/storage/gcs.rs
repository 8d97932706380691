//! Google Cloud Storage, over its XML API, which is shaped like S3's.
//!
//! Objects are asked for with `Accept-Encoding: gzip`: without it the server decompresses objects whose
//! `Content-Encoding` is gzip, ignores ranges and tells the wrong size
//! (<https://cloud.google.com/storage/docs/transcoding>). What comes is the stored bytes, never decompressed here.
//! Credentials: a service account's key, a user's login, the metadata server; with the feature `google-cloud-auth`
//! external accounts (workload identity federation) and impersonation too.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::StaticCredentialProvider;
use object_store::client::HttpRequest;
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder, GoogleConfigKey};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Map, Value};

use super::http::{HttpStore, Provider, client_options, credential_retries};
use super::listing::{Page, parse_s3, percent_encode};
use super::open::{bucket_of, checked_endpoint, failed};
use super::ranges::Place;
use super::s3::list_url;
use super::url::StorageConfig;
use super::{RetryPolicy, StorageError, Store};

const DEFAULT_ENDPOINT: &str = "https://storage.googleapis.com";

/// Opens a bucket. No request is made, but the credentials file is read.
///
/// # Errors
///
/// Where the configuration lacks something, or the credentials file cannot be read or understood.
pub fn open(config: &StorageConfig, policy: RetryPolicy) -> Result<Arc<dyn Store>, StorageError> {
    let bucket = bucket_of(config, "gcs")?;
    let location = format!("gs://{bucket}");
    let environment = GoogleCloudStorageBuilder::from_env();
    let file = match &config.credentials_file {
        Some(path) => Some(path.clone()),
        None => environment
            .get_config_value(&GoogleConfigKey::ApplicationCredentials)
            .map(Into::into),
    };
    let file = file
        .map(|path| CredentialsFile::read(&location, &path))
        .transpose()?;
    let endpoint = config
        .endpoint
        .as_deref()
        .or_else(|| file.as_ref()?.text("gcs_base_url"))
        .unwrap_or(DEFAULT_ENDPOINT);
    let endpoint = checked_endpoint(&location, endpoint)?;
    // A file says all; what the environment says beside it must not contradict.
    let builder = if file.is_some() {
        GoogleCloudStorageBuilder::new()
    } else {
        environment
    };
    let credentials = credentials(file.as_ref(), builder, &location, &bucket)?;
    let provider = Gcs {
        bucket_url: format!("{endpoint}/{}", percent_encode(&bucket, b"")),
        credentials,
    };
    Ok(Arc::new(HttpStore::new(provider, location, policy)?))
}

/// A parsed credentials file, of any of Google's types.
struct CredentialsFile {
    path: String,
    fields: Map<String, Value>,
}

impl CredentialsFile {
    fn read(location: &str, path: &std::path::Path) -> Result<Self, StorageError> {
        let shown = path.display();
        let bytes = std::fs::read(path).map_err(|error| {
            failed(
                location,
                &format!("cannot read the credentials file {shown}: {error}"),
            )
        })?;
        let fields = serde_json::from_slice(&bytes).map_err(|error| {
            // The error's text would not hold the file's, but its kind and place are enough.
            let (line, column) = (error.line(), error.column());
            failed(
                location,
                &format!("the credentials file {shown} is no JSON object (line {line}, column {column})"),
            )
        })?;
        Ok(Self {
            path: shown.to_string(),
            fields,
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The `type`; files of emulators have none.
    fn kind(&self) -> &str {
        self.text("type").unwrap_or("service_account")
    }
}

fn credentials(
    file: Option<&CredentialsFile>,
    builder: GoogleCloudStorageBuilder,
    location: &str,
    bucket: &str,
) -> Result<GcpCredentialProvider, StorageError> {
    let mut builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client_options())
        .with_retry(credential_retries());
    let mut origin = "the default credentials".to_owned();
    if let Some(file) = file {
        origin = format!("the credentials file {}", file.path);
        if file.fields.get("disable_oauth") == Some(&Value::Bool(true)) {
            // Emulators ask for a token, but for no particular one.
            let credential = GcpCredential {
                bearer: "none".to_owned(),
            };
            return Ok(Arc::new(StaticCredentialProvider::new(credential)));
        }
        builder = match file.kind() {
            "service_account" => {
                for name in ["client_email", "private_key"] {
                    if file.text(name).is_none() {
                        return Err(failed(location, &format!("{origin} has no {name}")));
                    }
                }
                let mut fields = file.fields.clone();
                // Google's own libraries do without it.
                fields
                    .entry("private_key_id")
                    .or_insert_with(|| Value::String(String::new()));
                builder.with_service_account_key(Value::Object(fields).to_string())
            }
            "authorized_user" => builder.with_application_credentials(&file.path),
            kind => return federated(kind, file, location, &origin),
        };
    }
    let store = builder
        .build()
        .map_err(|error| failed(location, &format!("{origin} cannot be used: {error}")))?;
    Ok(Arc::clone(store.credentials()))
}

#[cfg(feature = "google-cloud-auth")]
fn federated(
    kind: &str,
    file: &CredentialsFile,
    location: &str,
    origin: &str,
) -> Result<GcpCredentialProvider, StorageError> {
    match super::google_auth::credentials(kind, file.fields.clone()) {
        Ok(credentials) => Ok(credentials),
        Err(message) => Err(failed(location, &format!("{origin} cannot be used: {message}"))),
    }
}

#[cfg(not(feature = "google-cloud-auth"))]
fn federated(
    kind: &str,
    _file: &CredentialsFile,
    location: &str,
    origin: &str,
) -> Result<GcpCredentialProvider, StorageError> {
    let text =
        format!("{origin} is of type {kind:?}, which this program was built without (google-cloud-auth)");
    Err(failed(location, &text))
}

struct Gcs {
    /// Without a slash at its end.
    bucket_url: String,
    credentials: GcpCredentialProvider,
}

impl std::fmt::Debug for Gcs {
    /// `object_store` prints tokens in full: the credentials are left out.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Gcs")
            .field("bucket_url", &self.bucket_url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for Gcs {
    fn object_url(&self, key: &str) -> String {
        // Google asks for slashes within names to be encoded too.
        format!("{}/{}", self.bucket_url, percent_encode(key, b""))
    }

    fn list_url(&self, prefix: &str, place: &Place) -> String {
        list_url(&self.bucket_url, prefix, place)
    }

    /// <https://cloud.google.com/storage/docs/xml-api/get-bucket-list>
    fn lists_behind_keys(&self) -> bool {
        true
    }

    fn parse_page(&self, body: &[u8]) -> Result<Page, String> {
        parse_s3(body)
    }

    fn get_headers(&self) -> &[(&'static str, &'static str)] {
        &[("accept-encoding", "gzip")]
    }

    async fn authorise(&self, request: &mut HttpRequest) -> Result<(), String> {
        let credential = self
            .credentials
            .get_credential()
            .await
            .map_err(|error| error.to_string())?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", credential.bearer))
            .map_err(|_| "the access token is no header".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::url::StoreKind;

    fn open_with(text: &str) -> Result<Arc<dyn Store>, StorageError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        std::fs::write(&path, text).unwrap();
        let mut config = StorageConfig::new(StoreKind::Gcs);
        config.bucket = Some("b".into());
        config.credentials_file = Some(path);
        open(&config, RetryPolicy::default())
    }

    #[test]
    fn emulators_files_are_taken() {
        let text = r#"{"gcs_base_url":"http://127.0.0.1:1","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#;
        assert_eq!(open_with(text).unwrap().location(), "gs://b");
    }

    #[test]
    fn bad_credentials_files_are_explained_without_their_contents() {
        for (text, words) in [
            ("{\"private_key\": HUSH", "is no JSON object (line 1"),
            (
                r#"{"type":"service_account","client_email":"a@b"}"#,
                "has no private_key",
            ),
            (
                r#"{"type":"service_account","private_key":"HUSH"}"#,
                "has no client_email",
            ),
            (
                r#"{"type":"service_account","client_email":"a@b","private_key":"HUSH"}"#,
                "cannot be used",
            ),
            (
                r#"{"type":"authorized_user","refresh_token":"HUSH"}"#,
                "cannot be used",
            ),
            (r#"{"type":"who_knows","x":"HUSH"}"#, "who_knows"),
        ] {
            let error = open_with(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("HUSH"), "{error}");
        }
    }

    #[cfg(feature = "google-cloud-auth")]
    #[tokio::test]
    async fn external_accounts_are_taken() {
        let text = r#"{"type":"external_account","audience":"//iam.googleapis.com/x","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"/nowhere"}}"#;
        open_with(text).unwrap();
        let error = open_with(r#"{"type":"external_account"}"#)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(error.contains("cannot be used"), "{error}");
    }

    #[test]
    fn every_byte_of_a_key_is_encoded() {
        let credential = GcpCredential {
            bearer: "none".into(),
        };
        let credentials = Arc::new(StaticCredentialProvider::new(credential));
        let gcs = Gcs {
            bucket_url: "http://h/b".into(),
            credentials,
        };
        assert_eq!(gcs.object_url("/a//b c"), "http://h/b/%2Fa%2F%2Fb%20c");
        assert!(!format!("{gcs:?}").contains("none"));
    }
}
