//! The emulators take every key that a connector can write; Azure's signature covers the key as it is sent.

use kafka_restore_testkit::emulators::{AzureEmulator, GcsEmulator, S3Emulator};

const KEYS: [&str; 8] = [
    "plain-0-17",
    "a//b",
    "folder/",
    "with blank + plus",
    "100%",
    "é空",
    "[B@1f-0-3?x=y&z",
    "a:b,c;d@e!f$g'h(i)j*k=l",
];

#[test]
fn odd_keys_and_encodings_are_taken() {
    let azure = AzureEmulator::start().expect("azurite");
    let gcs = GcsEmulator::start().expect("moto");
    let s3 = S3Emulator::start().expect("moto");
    azure.create_bucket("odd").expect("container");
    gcs.create_bucket("odd").expect("bucket");
    s3.create_bucket("odd").expect("bucket");
    for key in KEYS {
        for (bytes, encoding) in [(&b""[..], None), (b"bytes", Some("gzip"))] {
            azure.put("odd", key, bytes, encoding).expect(key);
            gcs.put("odd", key, bytes, encoding).expect(key);
            s3.put("odd", key, bytes, encoding).expect(key);
        }
    }
    assert!(azure.put("no-such-container", "key", b"", None).is_err());
}
