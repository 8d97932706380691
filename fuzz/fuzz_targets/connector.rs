//! Any text as a sink connector's configuration: no panic, and what is accepted gives names and a way to read.
#![no_main]

use backup::layout::connector::ConnectorSettings;
use libfuzzer_sys::fuzz_target;

/// The beginnings of configurations, so that the fuzzer need not find them.
const HEADS: [&str; 4] = [
    "connector.class=io.aiven.kafka.connect.gcs.GcsSinkConnector\ngcs.bucket.name=b\n",
    "connector.class=io.aiven.kafka.connect.s3.AivenKafkaConnectS3SinkConnector\naws.s3.bucket.name=b\n",
    r#"{"name":"n","config":{"connector.class":"io.aiven.kafka.connect.gcs.GcsSinkConnector","#,
    r#"{"connector.class":"io.aiven.kafka.connect.azure.sink.AzureBlobSinkConnector","#,
];

fuzz_target!(|input: (u8, &str)| {
    let (choice, rest) = input;
    let head = HEADS.get(usize::from(choice % 6)).copied().unwrap_or_default();
    let Ok(settings) = ConnectorSettings::parse(&format!("{head}{rest}")) else {
        return;
    };
    assert!(!settings.fields.is_empty(), "a sink writes at least one field");
    let decoding = settings.decoding();
    assert_eq!(decoding.fields.as_deref(), Some(&settings.fields[..]));
    assert!(settings.converters().count() <= 3);
    if let Ok(layout) = settings.layout() {
        layout.match_key("orders-0-17.gz");
        layout.listing_prefixes(None);
    }
});
