//! Backups in the three clouds' emulators, through the config file as people write it.

use testkit::consumer;
use testkit::emulators::{AzureEmulator, GcsEmulator, S3Emulator};
use testkit::expectation::expectation;
use testkit::fidelity::{Offsets, compare};
use testkit::golden::{GoldenObject, GoldenSet};

use crate::backups::{broker, renamed, talk};
use crate::environment::TestEnvironment;

/// Puts a set's objects somewhere and restores them with the `object_storage` section that leads there.
fn restored(
    name: &str,
    environment: &TestEnvironment,
    storage: &serde_json::Value,
    put: impl Fn(&GoldenObject),
) {
    let set = GoldenSet::fixture(name).unwrap();
    set.objects.iter().for_each(put);
    let config = serde_json::json!({
        "kafka": {"kafka_url": broker().bootstrap()},
        "object_storage": storage,
    });
    environment.write("restore.json", config.to_string());
    let kind = storage["type"].as_str().unwrap();
    let connector = set.connector_file();
    let mut arguments = vec!["-c".to_owned(), "restore.json".into()];
    arguments.extend(["--connector-config".to_owned(), connector.display().to_string()]);
    for (topic, partitions) in set.topics() {
        arguments.extend([
            "-t".to_owned(),
            topic.clone(),
            "--partitions".into(),
            partitions.to_string(),
        ]);
        arguments.extend(["--rename".to_owned(), format!("{topic}={kind}.{name}.{topic}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = environment.run(&arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{name} from {kind}: {}",
        talk(&output)
    );
    let mut found = Vec::new();
    for (topic, _) in set.topics() {
        let target = format!("{kind}.{name}.{topic}");
        let records = consumer::read_topic(&broker().internal_bootstrap(), &target).unwrap();
        found.extend(renamed(&records, &topic));
    }
    let expected = expectation(&set, Offsets::Ignored);
    if let Err(difference) = compare(&set.truth().unwrap(), &found, expected.fidelity) {
        panic!("{name} from {kind}: {difference}");
    }
}

#[test]
fn from_gcs_with_the_original_tools_config_file() {
    let emulator = GcsEmulator::start().unwrap();
    for name in ["gcs-csv-none", "gcs-csv-prefix-slash", "gcs-jsonl-gzip"] {
        emulator.create_bucket(name).unwrap();
        let environment = TestEnvironment::new();
        environment.write("example-gcs-credentials.json", emulator.credentials_file());
        let storage = serde_json::json!({
            "type": "gcs", "bucket": name, "credentials_file": "example-gcs-credentials.json",
        });
        restored(name, &environment, &storage, |object| {
            emulator
                .put(
                    name,
                    &object.key,
                    &object.bytes,
                    object.content_encoding.as_deref(),
                )
                .unwrap();
        });
    }
}

#[test]
fn from_s3() {
    let emulator = S3Emulator::start().unwrap();
    for name in ["s3-default-gzip-nosuffix", "s3-jsonl-none"] {
        emulator.create_bucket(name).unwrap();
        let environment = TestEnvironment::new();
        environment.write("secret.txt", S3Emulator::SECRET_ACCESS_KEY);
        let storage = serde_json::json!({
            "type": "s3", "bucket": name, "endpoint": emulator.endpoint(), "region": S3Emulator::REGION,
            "access_key_id": S3Emulator::ACCESS_KEY_ID, "secret_access_key_file": "secret.txt",
        });
        restored(name, &environment, &storage, |object| {
            emulator
                .put(
                    name,
                    &object.key,
                    &object.bytes,
                    object.content_encoding.as_deref(),
                )
                .unwrap();
        });
    }
}

#[test]
fn from_azure() {
    let emulator = AzureEmulator::start().unwrap();
    for name in ["azure-csv-none", "azure-csv-headers-gzip-prefix"] {
        emulator.create_bucket(name).unwrap();
        let environment = TestEnvironment::new();
        let storage = serde_json::json!({
            "type": "azure", "bucket": name, "endpoint": emulator.endpoint(),
            "account": AzureEmulator::ACCOUNT, "account_key": AzureEmulator::ACCOUNT_KEY,
        });
        restored(name, &environment, &storage, |object| {
            emulator
                .put(
                    name,
                    &object.key,
                    &object.bytes,
                    object.content_encoding.as_deref(),
                )
                .unwrap();
        });
    }
}
