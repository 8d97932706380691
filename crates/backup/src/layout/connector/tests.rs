use proptest::prelude::*;

use super::*;
use crate::format::Interpretation;
use crate::layout::{KeyMatch, Layout};

fn parse(text: &str) -> ConnectorSettings {
    ConnectorSettings::parse(text).unwrap()
}

fn topic_of(layout: &Layout, key: &str) -> Option<String> {
    match layout.match_key(key) {
        KeyMatch::Name(name) => name.topic().map(str::to_owned),
        _ => None,
    }
}

#[test]
fn a_gcs_sink_with_everything_set() {
    let settings = parse(
        "name=backup\nconnector.class=io.aiven.kafka.connect.gcs.GcsSinkConnector\ngcs.bucket.name=b\n\
         topics= orders , orders-1\nfile.name.prefix=kafka/\n\
         file.name.template={{topic}}/{{timestamp:unit=yyyy}}/{{partition}}-{{start_offset:padding=true}}.x\n\
         file.name.timestamp.timezone=Europe/Helsinki\nfile.name.timestamp.source=EVENT\nfile.max.records=20\n\
         file.compression.type=ZSTD\nformat.output.type=jsonl\nformat.output.fields=key, Value,offset,timestamp,headers\n\
         key.converter=org.apache.kafka.connect.converters.LongConverter\n\
         value.converter=org.apache.kafka.connect.converters.ByteArrayConverter\n\
         header.converter=org.apache.kafka.connect.storage.StringConverter\ngcs.credentials.json={\"private_key\":\"secret\"}\n",
    );
    assert_eq!(
        (settings.store, settings.bucket.as_deref()),
        (StoreKind::Gcs, Some("b"))
    );
    assert_eq!(settings.topics, ["orders", "orders-1"]);
    assert_eq!(
        (settings.timestamp_zone.as_str(), settings.timestamp_source),
        ("Europe/Helsinki", TimestampSource::Event)
    );
    assert_eq!(
        (settings.max_records, settings.compression.as_str()),
        (20, "zstd")
    );
    assert_eq!(settings.warnings, [""; 0]);
    let decoding = settings.decoding();
    assert_eq!(decoding.format, Some(Format::Jsonl));
    assert_eq!(decoding.fields.unwrap().len(), 5);
    assert_eq!(decoding.key_as, Some(Interpretation::Long));
    assert_eq!(decoding.value_as, Some(Interpretation::Bytes));
    assert_eq!(decoding.header_as, Some(Interpretation::String));
    let layout = settings.layout().unwrap();
    assert_eq!(
        topic_of(&layout, "kafka/orders/2026/0-00000000000000000007.x").as_deref(),
        Some("orders")
    );
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn objects_of_one_record_are_known() {
    let one = |more: &str| {
        parse(&format!("connector.class=GcsSinkConnector\n{more}"))
            .decoding()
            .one_record_per_object
    };
    assert!(one("file.max.records=1"));
    assert!(one("file.name.template={{topic}}-{{key}}"));
    assert!(!one(
        "file.name.template={{topic}}-{{partition}}-{{key}}-{{start_offset}}"
    ));
    assert!(!one("file.max.records=2"));
}

#[test]
fn defaults_of_the_three_sinks() {
    let gcs = parse("connector.class=GcsSinkConnector\ngcs.bucket.name=b\ntopics=t");
    assert_eq!(
        (gcs.format, gcs.compression.as_str(), gcs.fields.as_slice()),
        (Format::Csv, "none", &[Field::Value][..])
    );
    assert_eq!(
        gcs.naming,
        Naming::Default {
            prefix: String::new()
        }
    );
    assert_eq!(
        (gcs.envelope, gcs.timestamp_zone.as_str(), gcs.max_records),
        (true, "Z", 0)
    );
    let s3 = parse("connector.class=io.aiven.kafka.connect.s3.AivenKafkaConnectS3SinkConnector");
    assert_eq!(
        (s3.store, s3.compression.as_str(), s3.bucket),
        (StoreKind::S3, "gzip", None)
    );
    let azure = parse(
        r#"{"connector.class":"io.aiven.kafka.connect.azure.sink.AzureBlobSinkConnector","azure.storage.container.name":"c","file.name.prefix":"az/"}"#,
    );
    assert_eq!(
        (azure.store, azure.bucket.as_deref()),
        (StoreKind::Azure, Some("c"))
    );
    assert_eq!(azure.naming, Naming::Default { prefix: "az/".into() });
}

#[test]
fn legacy_options_of_the_s3_sink() {
    let class = "connector.class=io.aiven.kafka.connect.s3.AivenKafkaConnectS3SinkConnector\n";
    let old = parse(&format!(
        "{class}aws_s3_bucket=old\naws_s3_prefix=p-\noutput_fields=offset,key,value\noutput_compression=none\ntopics=stock\ntimestamp.source=event"
    ));
    assert_eq!(old.bucket.as_deref(), Some("old"));
    assert_eq!(old.fields, [Field::Offset, Field::Key, Field::Value]);
    assert_eq!(
        (old.compression.as_str(), old.timestamp_source),
        ("none", TimestampSource::Event)
    );
    assert_eq!(old.naming, Naming::S3Legacy { prefix: "p-".into() });
    assert_eq!(
        topic_of(&old.layout().unwrap(), "p-stock-0-0000000007").as_deref(),
        Some("stock")
    );
    let both = parse(&format!(
        "{class}aws.s3.bucket.name=new\naws_s3_bucket=old\naws.s3.prefix=new/\naws_s3_prefix=old/\n\
         output_compression=none\nfile.compression.type=snappy\noutput_fields=key\nformat.output.fields=value"
    ));
    assert_eq!(
        (both.bucket.as_deref(), both.compression.as_str()),
        (Some("new"), "snappy")
    );
    assert_eq!(
        both.naming,
        Naming::S3Legacy {
            prefix: "new/".into()
        }
    );
    assert_eq!(both.fields, [Field::Value]);
    let ignored = parse(&format!("{class}file.name.prefix=x/"));
    assert_eq!(
        ignored.naming,
        Naming::Default {
            prefix: String::new()
        }
    );
    assert!(
        ignored
            .warnings
            .iter()
            .any(|warning| warning.contains("no option file.name.prefix"))
    );
}

#[test]
fn several_configurations_make_one_layout() {
    let class = "connector.class=AivenKafkaConnectS3SinkConnector\ntopics=stock\n";
    let [old, new] = ["aws_s3_prefix=p-", "aws.s3.bucket.name=b"]
        .map(|more| parse(&format!("{class}{more}")).layout().unwrap());
    let layout = old.and(new);
    for key in [
        "p-stock-0-00000000000000000082.gz",
        "stock-2-33",
        "p-stock-0-0000000001",
        "stock-0-5.gz",
    ] {
        assert_eq!(topic_of(&layout, key).as_deref(), Some("stock"), "{key}");
    }
}

#[test]
fn converters_say_how_well_bytes_come_back() {
    let gcs = "connector.class=GcsSinkConnector\nformat.output.fields=key,value,headers\n";
    for (converter, interpretation, fidelity) in [
        (
            "org.apache.kafka.connect.converters.ByteArrayConverter",
            Some(Interpretation::Bytes),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.storage.StringConverter",
            Some(Interpretation::String),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.converters.IntegerConverter",
            Some(Interpretation::Integer),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.converters.ShortConverter",
            Some(Interpretation::Short),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.converters.DoubleConverter",
            Some(Interpretation::Double),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.converters.FloatConverter",
            Some(Interpretation::Float),
            Fidelity::Exact,
        ),
        (
            "org.apache.kafka.connect.json.JsonConverter",
            Some(Interpretation::Json),
            Fidelity::Equivalent,
        ),
        ("io.confluent.connect.avro.AvroConverter", None, Fidelity::Lost),
        (
            "io.confluent.connect.protobuf.ProtobufConverter",
            None,
            Fidelity::Lost,
        ),
        ("com.example.SecretConverter", None, Fidelity::Unknown),
    ] {
        let settings = parse(&format!("{gcs}value.converter={converter}"));
        assert_eq!(
            settings.value_converter.interpretation, interpretation,
            "{converter}"
        );
        assert_eq!(settings.value_converter.fidelity, fidelity, "{converter}");
        let named = settings
            .warnings
            .iter()
            .any(|warning| warning.contains(converter));
        assert_eq!(
            named,
            fidelity != Fidelity::Exact,
            "{converter}: {:?}",
            settings.warnings
        );
    }
    let settings = parse(&format!(
        "{gcs}value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false"
    ));
    assert!(settings.value_converter.note.contains("spelling of numbers"));
    assert_eq!(settings.key_converter.fidelity, Fidelity::Unknown);
    assert_eq!(settings.converters().count(), 3);
}

#[test]
fn transforms_are_named_and_topics_are_then_not_taken_for_known() {
    let settings = parse(
        "connector.class=GcsSinkConnector\ntopics=route-a\ntransforms=r, f\n\
         transforms.r.type=org.apache.kafka.connect.transforms.RegexRouter\n\
         transforms.f.type=org.apache.kafka.connect.transforms.InsertField$Value",
    );
    assert_eq!(
        settings
            .transforms
            .iter()
            .map(|transform| transform.renames_topics)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert!(
        settings
            .warnings
            .iter()
            .any(|warning| warning.contains("RegexRouter) gave records other topics"))
    );
    let layout = settings.layout().unwrap();
    assert!(layout.known_topics().is_empty());
    assert_eq!(layout.assumed_topic(), None);
}

#[test]
fn what_a_sink_would_refuse_is_refused() {
    for (text, reason) in [
        ("", "connector.class is missing"),
        (
            "connector.class=io.confluent.connect.s3.S3SinkConnector\naws.s3.bucket.name=b",
            "none of Aiven's sinks",
        ),
        (
            "connector.class=io.aiven.kafka.connect.s3.source.S3SourceConnector\naws.s3.bucket.name=b",
            "none of Aiven's sinks",
        ),
        (
            "connector.class=GcsSinkConnector\nformat.output.type=xml",
            "one of csv, json, jsonl, avro, parquet",
        ),
        (
            "connector.class=GcsSinkConnector\nformat.output.fields=key,valeu",
            "\"valeu\"",
        ),
        (
            "connector.class=GcsSinkConnector\nformat.output.fields=",
            "at least one field",
        ),
        (
            "connector.class=GcsSinkConnector\nformat.output.envelope=false\nformat.output.fields=key,value",
            "exactly one field",
        ),
        (
            "connector.class=GcsSinkConnector\nfile.max.records=many",
            "whole number",
        ),
        (
            "connector.class=GcsSinkConnector\nfile.name.template={{topic}}",
            "set of variables",
        ),
        (
            "connector.class=AivenKafkaConnectS3SinkConnector\naws.s3.prefix={{timestamp:unit=x}}",
            "unit=yyyy",
        ),
        (
            "connector.class=GcsSinkConnector\nfile.compression.type=lz4",
            "none, gzip, snappy, zstd",
        ),
    ] {
        let error = ConnectorSettings::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let other = parse("connector.class=com.example.Sink\ngcs.bucket.name=b");
    assert!(other.warnings[0].contains("com.example.Sink"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_panics(template in "[{}a-z:_]{0,20}", text in "\\PC{0,60}") {
        let _ = ConnectorSettings::parse(&text);
        let known = format!("connector.class=GcsSinkConnector\nfile.name.template={template}\nfile.name.prefix={text}");
        if let Ok(settings) = ConnectorSettings::parse(&known) {
            prop_assert!(settings.layout().is_ok());
        }
    }
}
