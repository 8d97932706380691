//! Credentials for S3 from the AWS SDK's default chain: environment, profiles, single sign-on, web identity,
//! container, instance.
//!
//! `object_store` knows neither profiles nor single sign-on. The SDK's requests go over rustls with ring.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use tokio::sync::{Mutex, OnceCell};

/// Credentials that expire within this time are fetched anew.
const LEAST_LIFE: Duration = Duration::from_secs(300);

/// The SDK's chain, asked when a credential is needed for the first time.
#[derive(Debug)]
pub(super) struct SdkCredentials {
    region: String,
    chain: OnceCell<SharedCredentialsProvider>,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug)]
struct Cached {
    credential: Arc<AwsCredential>,
    expiry: Option<SystemTime>,
}

impl SdkCredentials {
    /// `region` is where the chain's own requests (to STS) go, unless the profile names another.
    pub(super) fn new(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            chain: OnceCell::new(),
            cached: Mutex::new(None),
        }
    }

    async fn chain(&self) -> &SharedCredentialsProvider {
        self.chain
            .get_or_init(|| async {
                let region =
                    RegionProviderChain::default_provider().or_else(Region::new(self.region.clone()));
                let chain = DefaultCredentialsChain::builder()
                    .configure(settings())
                    .region(region)
                    .build()
                    .await;
                SharedCredentialsProvider::new(chain)
            })
            .await
    }
}

/// The SDK has no HTTP client of its own in this build: its default one needs another library for TLS.
fn settings() -> ProviderConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_https();
    ProviderConfig::default().with_http_client(http)
}

fn failure(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source }
}

/// The SDK's own text says little ("an error occurred while loading credentials"); the causes say what.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    format!(
        "no credentials found (access_key_id in the configuration, environment, profile, web identity, container, \
         instance): {text}"
    )
}

impl From<Credentials> for Cached {
    fn from(found: Credentials) -> Self {
        let credential = AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        };
        Self {
            credential: Arc::new(credential),
            expiry: found.expiry(),
        }
    }
}

impl Cached {
    fn is_fresh(&self) -> bool {
        self.expiry
            .is_none_or(|expiry| expiry > SystemTime::now() + LEAST_LIFE)
    }
}

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // The lock is held over the request: one task fetches, the others wait for what it gets.
        let mut cached = self.cached.lock().await;
        if let Some(known) = cached.as_ref().filter(|known| known.is_fresh()) {
            return Ok(Arc::clone(&known.credential));
        }
        let found = self.chain().await.provide_credentials().await;
        let found = Cached::from(found.map_err(|error| failure(explain(&error).into()))?);
        let credential = Arc::clone(&found.credential);
        *cached = Some(found);
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_chain_is_asked_again_only_near_the_expiry() {
        let provider = SdkCredentials::new("us-east-1");
        let given = |secret: &str, life: u64| {
            let expiry = SystemTime::now() + Duration::from_secs(life);
            Cached::from(Credentials::new(
                "id",
                secret,
                Some("session".to_owned()),
                Some(expiry),
                "test",
            ))
        };
        let chain =
            SharedCredentialsProvider::new(Credentials::new("id", "from the chain", None, None, "test"));
        provider.chain.set(chain).unwrap();
        *provider.cached.lock().await = Some(given("fresh", 3_600));
        assert_eq!(provider.get_credential().await.unwrap().secret_key, "fresh");
        assert_eq!(
            provider.get_credential().await.unwrap().token.as_deref(),
            Some("session")
        );
        *provider.cached.lock().await = Some(given("stale", 60));
        assert_eq!(
            provider.get_credential().await.unwrap().secret_key,
            "from the chain"
        );
        assert_eq!(provider.get_credential().await.unwrap().token, None);
    }

    #[tokio::test]
    async fn profiles_are_read() {
        use aws_config::profile::ProfileFileCredentialsProvider;
        use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(
            &file,
            "[night]\naws_access_key_id = AKID\naws_secret_access_key = HUSH\n",
        )
        .unwrap();
        let files = EnvConfigFiles::builder()
            .with_file(EnvConfigFileKind::Credentials, &file)
            .build();
        let profile = ProfileFileCredentialsProvider::builder()
            .configure(&settings())
            .profile_files(files)
            .profile_name("night")
            .build();
        let provider = SdkCredentials::new("us-east-1");
        provider
            .chain
            .set(SharedCredentialsProvider::new(profile))
            .unwrap();
        let credential = provider.get_credential().await.unwrap();
        assert_eq!(
            (credential.key_id.as_str(), credential.secret_key.as_str()),
            ("AKID", "HUSH")
        );
        assert!(!format!("{provider:?}").contains("HUSH"));
    }
}
