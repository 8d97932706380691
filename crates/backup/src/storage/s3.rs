//! S3 and compatible servers.
//!
//! Requests are signed with `object_store`'s signer (AWS Signature Version 4). On Amazon a bucket is a host name,
//! unless its name has a dot, which certificates do not cover; at any other endpoint it is the first segment of the path. The
//! bucket's region is learnt from Amazon's answers where it is another than the configured one.
//! Credentials: the configuration's, else the chain of the AWS SDK (feature `aws-config`: environment, profiles,
//! single sign-on, web identity, container, instance), else `object_store`'s (environment, web identity,
//! container, instance).

use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use object_store::StaticCredentialProvider;
use object_store::aws::{
    AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential, AwsCredentialProvider,
};
use object_store::client::HttpRequest;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use secrecy::ExposeSecret;

use super::http::{HttpStore, PAGE_OBJECTS, Provider};
use super::listing::{Page, parse_s3, percent_encode};
use super::open::{bucket_of, checked_endpoint, failed};
use super::ranges::Place;
use super::url::StorageConfig;
use super::{RetryPolicy, StorageError, Store};

/// Where the region is told by nobody; Amazon's answers correct it.
const DEFAULT_REGION: &str = "us-east-1";

/// Opens a bucket. No request is made.
///
/// # Errors
///
/// Where the configuration lacks something or contradicts itself.
pub fn open(config: &StorageConfig, policy: RetryPolicy) -> Result<Arc<dyn Store>, StorageError> {
    let bucket = bucket_of(config, "s3")?;
    let location = format!("s3://{bucket}");
    let environment = AmazonS3Builder::from_env();
    let endpoint = match &config.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => environment.get_config_value(&AmazonS3ConfigKey::Endpoint),
    };
    let endpoint = endpoint
        .map(|endpoint| checked_endpoint(&location, &endpoint))
        .transpose()?;
    let region = config
        .region
        .clone()
        .or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Region))
        .or_else(|| environment.get_config_value(&AmazonS3ConfigKey::DefaultRegion))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let credentials = match (&config.access_key_id, &config.secret_access_key) {
        (Some(id), Some(secret)) => Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: id.clone(),
            secret_key: secret.expose_secret().to_owned(),
            token: None,
        })) as AwsCredentialProvider,
        (None, None) => default_credentials(environment, &location, &bucket, &region)?,
        (Some(_), None) => {
            return Err(failed(
                &location,
                "access_key_id needs secret_access_key beside it",
            ));
        }
        (None, Some(_)) => {
            return Err(failed(
                &location,
                "secret_access_key needs access_key_id beside it",
            ));
        }
    };
    let provider = S3 {
        bucket,
        endpoint,
        region: RwLock::new(region.into()),
        credentials,
    };
    Ok(Arc::new(HttpStore::new(provider, location, policy)?))
}

#[cfg(feature = "aws-config")]
fn default_credentials(
    _environment: AmazonS3Builder,
    _location: &str,
    _bucket: &str,
    region: &str,
) -> Result<AwsCredentialProvider, StorageError> {
    Ok(Arc::new(super::aws_sdk::SdkCredentials::new(region)))
}

#[cfg(not(feature = "aws-config"))]
fn default_credentials(
    environment: AmazonS3Builder,
    location: &str,
    bucket: &str,
    region: &str,
) -> Result<AwsCredentialProvider, StorageError> {
    let store = environment
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(super::http::client_options())
        .with_retry(super::http::credential_retries())
        .build()
        .map_err(|error| failed(location, &error.to_string()))?;
    Ok(Arc::clone(store.credentials()))
}

#[derive(Debug)]
struct S3 {
    bucket: String,
    /// Without a slash at its end; None is Amazon.
    endpoint: Option<String>,
    region: RwLock<Arc<str>>,
    credentials: AwsCredentialProvider,
}

impl S3 {
    fn region(&self) -> Arc<str> {
        Arc::clone(
            &self
                .region
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// The bucket's URL, without a slash at its end.
    fn bucket_url(&self) -> String {
        let bucket = percent_encode(&self.bucket, b"");
        match &self.endpoint {
            Some(endpoint) => format!("{endpoint}/{bucket}"),
            None => {
                let region = self.region();
                // China is a partition of its own.
                let domain = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                if bucket.contains('.') {
                    format!("https://s3.{region}.{domain}/{bucket}")
                } else {
                    format!("https://{bucket}.s3.{region}.{domain}")
                }
            }
        }
    }
}

#[async_trait]
impl Provider for S3 {
    fn object_url(&self, key: &str) -> String {
        format!("{}/{}", self.bucket_url(), percent_encode(key, b"/"))
    }

    fn list_url(&self, prefix: &str, place: &Place) -> String {
        // The slash matters where the bucket is a host name: signatures need a path.
        let slash = if self.endpoint.is_none() { "/" } else { "" };
        list_url(&format!("{}{slash}", self.bucket_url()), prefix, place)
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>; directory buckets and some compatible
    /// servers cannot.
    fn lists_behind_keys(&self) -> bool {
        true
    }

    fn parse_page(&self, body: &[u8]) -> Result<Page, String> {
        parse_s3(body)
    }

    async fn authorise(&self, request: &mut HttpRequest) -> Result<(), String> {
        let credential = self
            .credentials
            .get_credential()
            .await
            .map_err(|error| error.to_string())?;
        let region = self.region();
        AwsAuthorizer::new(&credential, "s3", &region)
            .try_authorize(request, None)
            .map_err(|error| error.to_string())
    }

    fn learn(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        if self.endpoint.is_some() || !(status.is_redirection() || matches!(status.as_u16(), 400 | 403)) {
            return false;
        }
        let Some(found) = headers
            .get("x-amz-bucket-region")
            .and_then(|value| value.to_str().ok())
        else {
            return false;
        };
        // It becomes part of a host name.
        if found.is_empty()
            || !found
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return false;
        }
        let mut region = self
            .region
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if **region == *found {
            return false;
        }
        tracing::info!(bucket = %self.bucket, before = %region, now = found, "the bucket is in another region");
        *region = found.into();
        true
    }
}

/// The URL of a page of a listing (ListObjectsV2), for S3 and for the XML API of GCS.
pub(super) fn list_url(bucket_url: &str, prefix: &str, place: &Place) -> String {
    // In the order in which signatures want them.
    let (token, after) = match place {
        Place::Start => (String::new(), String::new()),
        Place::Behind(key) => (
            String::new(),
            format!("&start-after={}", percent_encode(key, b"")),
        ),
        Place::Token(token) => (
            format!("continuation-token={}&", percent_encode(token, b"")),
            String::new(),
        ),
    };
    let prefix = percent_encode(prefix, b"");
    format!("{bucket_url}?{token}list-type=2&max-keys={PAGE_OBJECTS}&prefix={prefix}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amazon(bucket: &str, region: &str) -> S3 {
        let credential = AwsCredential {
            key_id: "k".into(),
            secret_key: "s".into(),
            token: Some("session".into()),
        };
        S3 {
            bucket: bucket.into(),
            endpoint: None,
            region: RwLock::new(region.into()),
            credentials: Arc::new(StaticCredentialProvider::new(credential)),
        }
    }

    #[test]
    fn amazon_urls() {
        let plain = amazon("b", "eu-west-1");
        assert_eq!(
            plain.object_url("/a//b c%2F+ü"),
            "https://b.s3.eu-west-1.amazonaws.com//a//b%20c%252F%2B%C3%BC"
        );
        assert_eq!(
            plain.list_url("a/", &Place::Token("t=".into())),
            "https://b.s3.eu-west-1.amazonaws.com/?continuation-token=t%3D&list-type=2&max-keys=1000&prefix=a%2F"
        );
        assert_eq!(
            plain.list_url("a/", &Place::Behind("a/b c".into())),
            "https://b.s3.eu-west-1.amazonaws.com/?list-type=2&max-keys=1000&prefix=a%2F&start-after=a%2Fb%20c"
        );
        assert_eq!(
            amazon("b.c", "us-east-1").object_url("k"),
            "https://s3.us-east-1.amazonaws.com/b.c/k"
        );
        assert_eq!(
            amazon("b", "cn-north-1").object_url("k"),
            "https://b.s3.cn-north-1.amazonaws.com.cn/k"
        );
    }

    #[test]
    fn the_region_is_learnt_once() {
        let s3 = amazon("b", "us-east-1");
        let mut headers = HeaderMap::new();
        assert!(!s3.learn(StatusCode::BAD_REQUEST, &headers));
        headers.insert("x-amz-bucket-region", "evil.example/".parse().unwrap());
        assert!(!s3.learn(StatusCode::BAD_REQUEST, &headers));
        headers.insert("x-amz-bucket-region", "eu-north-1".parse().unwrap());
        assert!(!s3.learn(StatusCode::NOT_FOUND, &headers));
        assert!(s3.learn(StatusCode::MOVED_PERMANENTLY, &headers));
        assert!(!s3.learn(StatusCode::FORBIDDEN, &headers));
        assert!(s3.object_url("k").contains("eu-north-1"));
    }

    #[tokio::test]
    async fn requests_are_signed_and_the_session_is_sent() {
        let s3 = amazon("b", "us-east-1");
        let mut request = HttpRequest::new(object_store::client::HttpRequestBody::empty());
        *request.uri_mut() = s3.object_url("a//b").parse().unwrap();
        s3.authorise(&mut request).await.unwrap();
        let signature = request.headers()["authorization"].to_str().unwrap();
        assert!(
            signature.starts_with("AWS4-HMAC-SHA256 Credential=k/"),
            "{signature}"
        );
        assert_eq!(request.headers()["x-amz-security-token"], "session");
    }
}
