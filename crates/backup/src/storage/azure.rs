//! Azure Blob Storage.
//!
//! Requests are signed with `object_store`'s signer. Credentials: the configuration's account key, else
//! `object_store`'s chain (environment: key, SAS token, client secret, federated token; workload and managed
//! identity).

use std::sync::Arc;

use async_trait::async_trait;
use object_store::StaticCredentialProvider;
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureConfigKey, AzureCredential, AzureCredentialProvider,
    MicrosoftAzureBuilder,
};
use object_store::client::HttpRequest;
use secrecy::ExposeSecret;

use super::http::{HttpStore, PAGE_OBJECTS, Provider, client_options, credential_retries};
use super::listing::{Page, parse_azure, percent_encode};
use super::open::{bucket_of, checked_endpoint, failed};
use super::ranges::Place;
use super::url::StorageConfig;
use super::{RetryPolicy, StorageError, Store};

/// Opens a container. No request is made.
///
/// # Errors
///
/// Where the configuration lacks something, or the account key is no key.
pub fn open(config: &StorageConfig, policy: RetryPolicy) -> Result<Arc<dyn Store>, StorageError> {
    let container = bucket_of(config, "azure")?;
    let environment = MicrosoftAzureBuilder::from_env();
    let account = config
        .account
        .clone()
        .or_else(|| environment.get_config_value(&AzureConfigKey::AccountName))
        .ok_or_else(|| {
            failed(
                &format!("az://?/{container}"),
                "the storage account is missing: set account, or az://ACCOUNT/…",
            )
        })?;
    if account.is_empty()
        || !account
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        // It becomes part of a host name.
        return Err(failed(
            &format!("az://?/{container}"),
            &format!("{account:?} is no name of a storage account"),
        ));
    }
    let location = format!("az://{account}/{container}");
    let endpoint = match &config.endpoint {
        Some(endpoint) => {
            let endpoint = checked_endpoint(&location, endpoint)?;
            // Emulators have the account as the first segment of the path.
            let authority = endpoint.split_once("://").map_or("", |(_, rest)| rest);
            let bare = !authority.contains('/');
            let of_the_account = authority.starts_with(&format!("{account}."));
            if bare && !of_the_account {
                format!("{endpoint}/{account}")
            } else {
                endpoint
            }
        }
        None => format!("https://{account}.blob.core.windows.net"),
    };
    let credentials: AzureCredentialProvider = match &config.account_key {
        Some(key) => {
            let key = AzureAccessKey::try_new(key.expose_secret().trim())
                // The error would show a part of the key.
                .map_err(|_| failed(&location, "account_key is no key: it must be base64"))?;
            Arc::new(StaticCredentialProvider::new(AzureCredential::AccessKey(key)))
        }
        None => {
            let store = environment
                .with_account(&account)
                .with_container_name(&container)
                .with_client_options(client_options())
                .with_retry(credential_retries())
                .build()
                .map_err(|error| failed(&location, &error.to_string()))?;
            Arc::clone(store.credentials())
        }
    };
    let container_url = format!("{endpoint}/{}", percent_encode(&container, b"$"));
    let provider = Azure {
        account,
        container_url,
        credentials,
    };
    Ok(Arc::new(HttpStore::new(provider, location, policy)?))
}

struct Azure {
    account: String,
    /// Without a slash at its end.
    container_url: String,
    credentials: AzureCredentialProvider,
}

impl std::fmt::Debug for Azure {
    /// `object_store` prints an account key in full: the credentials are left out.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Azure")
            .field("container_url", &self.container_url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Provider for Azure {
    fn object_url(&self, key: &str) -> String {
        format!("{}/{}", self.container_url, percent_encode(key, b"/"))
    }

    fn list_url(&self, prefix: &str, place: &Place) -> String {
        // Markers are opaque, and only the newest versions of the service can begin at a name.
        let token = match place {
            Place::Token(token) => format!("&marker={}", percent_encode(token, b"")),
            Place::Start | Place::Behind(_) => String::new(),
        };
        let prefix = percent_encode(prefix, b"");
        format!(
            "{}?restype=container&comp=list&maxresults={PAGE_OBJECTS}&prefix={prefix}{token}",
            self.container_url
        )
    }

    fn parse_page(&self, body: &[u8]) -> Result<Page, String> {
        parse_azure(body)
    }

    fn put_headers(&self) -> &[(&'static str, &'static str)] {
        &[("x-ms-blob-type", "BlockBlob")]
    }

    async fn authorise(&self, request: &mut HttpRequest) -> Result<(), String> {
        let credential = self
            .credentials
            .get_credential()
            .await
            .map_err(|error| error.to_string())?;
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(request)
            .map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::url::StoreKind;

    fn config(account: Option<&str>, key: &str) -> StorageConfig {
        let mut config = StorageConfig::new(StoreKind::Azure);
        config.bucket = Some("c".into());
        config.account = account.map(str::to_owned);
        config.account_key = Some(key.to_owned().into());
        config
    }

    #[test]
    fn the_key_is_never_shown() {
        let store = open(&config(Some("acc"), "SFVTSA=="), RetryPolicy::default()).unwrap();
        let shown = format!("{store:?}");
        assert!(
            !shown.contains("SFVTSA") && !shown.contains("72, 85, 83"),
            "{shown}"
        );
        let error = open(&config(Some("acc"), "HUSH!"), RetryPolicy::default())
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains("must be base64") && !format!("{error:?}").contains("HUSH"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let error = open(&config(Some("evil/host"), "SFVTSA=="), RetryPolicy::default())
            .map(|_| ())
            .unwrap_err();
        assert!(
            error.to_string().contains("no name of a storage account"),
            "{error}"
        );
    }
}
