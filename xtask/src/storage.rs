//! The four kinds of storage that a golden backup is restored from: a plain folder, and emulators of the three clouds.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::emulators::{AzureEmulator, GcsEmulator, S3Emulator};
use testkit::golden::{GoldenObject, GoldenSet};

use crate::say;

/// A kind of storage, by the name that the config file has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A plain folder.
    Local,
    /// Google Cloud Storage's XML API, by moto.
    Gcs,
    /// S3, by moto.
    S3,
    /// Azure Blob Storage, by azurite.
    Azure,
}

/// A storage that is up and takes backups.
pub(crate) enum Storage {
    Local,
    Gcs(GcsEmulator),
    S3(S3Emulator),
    Azure(AzureEmulator),
}

impl Storage {
    /// Starts what the kind needs; the first time this downloads the emulator.
    pub(crate) fn start(kind: Kind) -> Result<Self> {
        let start = |what: &str| say::step(&format!("starting {what} (downloaded once)"));
        Ok(match kind {
            Kind::Local => Storage::Local,
            Kind::Gcs => {
                start("moto, an emulator of GCS");
                Storage::Gcs(GcsEmulator::start()?)
            }
            Kind::S3 => {
                start("moto, an emulator of S3");
                Storage::S3(S3Emulator::start()?)
            }
            Kind::Azure => {
                start("azurite, an emulator of Azure Blob Storage");
                Storage::Azure(AzureEmulator::start()?)
            }
        })
    }

    /// The storage's name in results.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Storage::Local => "local",
            Storage::Gcs(_) => "gcs",
            Storage::S3(_) => "s3",
            Storage::Azure(_) => "azure",
        }
    }

    /// Writes a backup into a bucket of its own and returns the `object_storage` section that leads to it. What must
    /// be a file lies in `folder` afterwards.
    pub(crate) fn fill(&self, set: &GoldenSet, folder: &Path) -> Result<Value> {
        // Containers of Azure have no dots in their names.
        let bucket = set.name.replace('.', "-");
        let section = match self {
            Storage::Local => {
                let backup = folder.join("backup");
                set.write_to(&backup)?;
                return Ok(json!({ "type": "local", "path": backup }));
            }
            Storage::Gcs(emulator) => {
                emulator.create_bucket(&bucket)?;
                let credentials = folder.join("credentials.json");
                fs::write(&credentials, emulator.credentials_file())?;
                json!({ "type": "gcs", "bucket": bucket, "credentials_file": credentials })
            }
            Storage::S3(emulator) => {
                emulator.create_bucket(&bucket)?;
                json!({
                    "type": "s3",
                    "bucket": bucket,
                    "endpoint": emulator.endpoint(),
                    "region": S3Emulator::REGION,
                    "access_key_id": S3Emulator::ACCESS_KEY_ID,
                    "secret_access_key": S3Emulator::SECRET_ACCESS_KEY,
                })
            }
            Storage::Azure(emulator) => {
                emulator.create_bucket(&bucket)?;
                json!({
                    "type": "azure",
                    "bucket": bucket,
                    "endpoint": emulator.endpoint(),
                    "account": AzureEmulator::ACCOUNT,
                    "account_key": AzureEmulator::ACCOUNT_KEY,
                })
            }
        };
        for object in &set.objects {
            self.put(&bucket, object)
                .with_context(|| format!("cannot write {:?} to {}", object.key, self.name()))?;
        }
        Ok(section)
    }

    fn put(&self, bucket: &str, object: &GoldenObject) -> Result<()> {
        let (key, bytes, encoding) = (&object.key, &object.bytes, object.content_encoding.as_deref());
        match self {
            Storage::Local => Ok(()),
            Storage::Gcs(emulator) => emulator.put(bucket, key, bytes, encoding),
            Storage::S3(emulator) => emulator.put(bucket, key, bytes, encoding),
            Storage::Azure(emulator) => emulator.put(bucket, key, bytes, encoding),
        }
    }
}
