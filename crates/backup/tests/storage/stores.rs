//! The conformance suite on each store, and what is special about each.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use kafka_restore_backup::storage::local::LocalStore;
use kafka_restore_backup::storage::memory::MemoryStore;
use kafka_restore_backup::storage::url::{Location, StorageConfig, StoreKind};
use kafka_restore_backup::storage::{StorageErrorKind, Store, open};
use testkit::emulators::{AzureEmulator, FakeGcsServer, GcsEmulator, S3Emulator};

use crate::conformance::{Abilities, check, check_missing_bucket, check_pages};

const LONG: u64 = 300 << 20;
const SHORTER: u64 = 24 << 20;

/// `raw`, compressed.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03+J,\x07\x00U\xdb\xb3\x1a\x03\x00\x00\x00";

async fn whole(store: &dyn Store, key: &str) -> Vec<u8> {
    let chunks: Vec<Bytes> = store
        .get(key, None, None)
        .await
        .unwrap()
        .chunks
        .try_collect()
        .await
        .unwrap();
    chunks.concat()
}

async fn check_stored_gzip(store: &dyn Store, key: &str) {
    assert_eq!(whole(store, key).await, GZIP);
    let body = store.get(key, Some(2..6), None).await.unwrap();
    assert_eq!((body.meta.size, body.range), (GZIP.len() as u64, 2..6));
    assert_eq!(
        body.chunks.try_collect::<Vec<Bytes>>().await.unwrap().concat(),
        GZIP[2..6]
    );
}

#[tokio::test]
async fn memory() {
    check(
        Arc::new(MemoryStore::new()),
        &Abilities {
            keys_beyond_paths: true,
            long_object: SHORTER,
        },
    )
    .await;
}

#[tokio::test]
async fn local() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = open(&StorageConfig::from(&Location::parse(&url).unwrap())).unwrap();
    assert_eq!(store.location(), url);
    check(
        store,
        &Abilities {
            keys_beyond_paths: false,
            long_object: LONG,
        },
    )
    .await;
    check_missing_bucket(&LocalStore::new(folder.path().join("missing"))).await;
}

fn s3_config(emulator: &S3Emulator, bucket: &str) -> StorageConfig {
    let mut config = StorageConfig::new(StoreKind::S3);
    config.bucket = Some(bucket.to_owned());
    config.endpoint = Some(emulator.endpoint());
    config.region = Some(S3Emulator::REGION.to_owned());
    config.access_key_id = Some(S3Emulator::ACCESS_KEY_ID.to_owned());
    config.secret_access_key = Some(S3Emulator::SECRET_ACCESS_KEY.to_owned().into());
    config
}

#[tokio::test]
async fn s3() {
    let emulator = S3Emulator::start().unwrap();
    emulator.create_bucket("bucket").unwrap();
    let store = open(&s3_config(&emulator, "bucket")).unwrap();
    check(
        Arc::clone(&store),
        &Abilities {
            keys_beyond_paths: true,
            long_object: LONG,
        },
    )
    .await;
    emulator
        .put("bucket", "other//client.gz", GZIP, Some("gzip"))
        .unwrap();
    check_stored_gzip(&*store, "other//client.gz").await;
    check_missing_bucket(&*open(&s3_config(&emulator, "wrong")).unwrap()).await;

    emulator.create_bucket("large").unwrap();
    check_pages(&*open(&s3_config(&emulator, "large")).unwrap(), 4_500, 3).await;

    let (id, secret) = emulator.create_powerless_user("night").unwrap();
    emulator.check_permissions(true).unwrap();
    let error = store.get("ab", None, None).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error}");
    let mut config = s3_config(&emulator, "bucket");
    config.access_key_id = Some(id.clone());
    config.secret_access_key = Some(secret.clone().into());
    let powerless = open(&config).unwrap();
    let errors = [
        powerless.get("ab", None, None).await.map(|_| ()).unwrap_err(),
        powerless.list("").try_collect::<Vec<_>>().await.unwrap_err(),
        powerless.put("x", Bytes::new()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind, StorageErrorKind::PermissionDenied, "{error}");
        assert!(!error.to_string().contains(&secret));
    }
    config.secret_access_key = Some("wrong".to_owned().into());
    let error = open(&config).unwrap().get("ab", None, None).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error}");
}

fn gcs_config(credentials: &str, folder: &tempfile::TempDir, bucket: &str) -> StorageConfig {
    let file = folder.path().join("credentials.json");
    std::fs::write(&file, credentials).unwrap();
    let mut config = StorageConfig::new(StoreKind::Gcs);
    config.bucket = Some(bucket.to_owned());
    config.credentials_file = Some(file);
    config
}

#[tokio::test]
async fn gcs() {
    let emulator = GcsEmulator::start().unwrap();
    emulator.create_bucket("bucket").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&gcs_config(&emulator.credentials_file(), &folder, "bucket")).unwrap();
    check(
        Arc::clone(&store),
        &Abilities {
            keys_beyond_paths: true,
            long_object: SHORTER,
        },
    )
    .await;
    emulator
        .put("bucket", "other//client.gz", GZIP, Some("gzip"))
        .unwrap();
    check_stored_gzip(&*store, "other//client.gz").await;
    check_missing_bucket(&*open(&gcs_config(&emulator.credentials_file(), &folder, "wrong")).unwrap()).await;
}

#[tokio::test]
async fn gcs_objects_with_an_encoding_are_not_decompressed() {
    let Some(emulator) = FakeGcsServer::start().unwrap() else {
        tracing::warn!("no Go toolchain: fake-gcs-server is not tried");
        return;
    };
    emulator.create_bucket("bucket").unwrap();
    emulator.put("bucket", "t-0-0", GZIP, Some("gzip")).unwrap();
    emulator.put("bucket", "t-0-1", b"plain", None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&gcs_config(&emulator.credentials_file(), &folder, "bucket")).unwrap();
    assert_eq!(whole(&*store, "t-0-0").await, GZIP);
    assert_eq!(whole(&*store, "t-0-1").await, b"plain");
    // Asked without Accept-Encoding the same server decompresses: what the header is for.
    let url = format!("{}/bucket/t-0-0", emulator.endpoint());
    let transcoded = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    assert_eq!(transcoded, "raw");
}

fn azure_config(emulator: &AzureEmulator, container: &str) -> StorageConfig {
    let url = format!("az://{}/{container}", AzureEmulator::ACCOUNT);
    let mut config = StorageConfig::from(&Location::parse(&url).unwrap());
    config.endpoint = Some(emulator.endpoint());
    config.account_key = Some(AzureEmulator::ACCOUNT_KEY.to_owned().into());
    config
}

#[tokio::test]
async fn azure() {
    let emulator = AzureEmulator::start().unwrap();
    emulator.create_bucket("container").unwrap();
    let store = open(&azure_config(&emulator, "container")).unwrap();
    check(
        Arc::clone(&store),
        &Abilities {
            keys_beyond_paths: true,
            long_object: SHORTER,
        },
    )
    .await;
    emulator
        .put("container", "other//client.gz", GZIP, Some("gzip"))
        .unwrap();
    check_stored_gzip(&*store, "other//client.gz").await;
    check_missing_bucket(&*open(&azure_config(&emulator, "wrong")).unwrap()).await;

    let mut config = azure_config(&emulator, "container");
    config.account_key = Some("d3Jvbmcga2V5".to_owned().into());
    let error = open(&config).unwrap().get("ab", None, None).await.unwrap_err();
    let refused = [
        StorageErrorKind::PermissionDenied,
        StorageErrorKind::Unauthenticated,
    ];
    assert!(refused.contains(&error.kind), "{error}");
    assert!(
        !error.retryable && !error.to_string().contains("d3Jvbmcga2V5"),
        "{error}"
    );
}
