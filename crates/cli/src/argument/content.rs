//! How the connector wrote the files, and what to do with content that is wrong.

use backup::format::{EmptyField, Field, Format, Interpretation, ValueEncoding};
use backup::layout::NameTemplate;
use clap::Args;

use super::choice::{Choice, choice};
use super::heading;

/// How the connector wrote the files. What is not given is told from the files themselves, as far as that is
/// certain.
#[derive(Args, Clone, Debug)]
pub(crate) struct ContentArguments {
    /// The sink connector's own configuration: a JSON or properties file, or its Connect REST address.
    ///
    /// Template, fields, encodings and converters are taken from it; the options below win over it. Several, where the
    /// names changed over the years: all of them are found, and what the configurations do not agree on is told from
    /// each object.
    #[arg(long, value_name = "FILE|URL", help_heading = heading::CONTENT)]
    pub(crate) connector_config: Vec<String>,

    /// The template of the objects' names, as in the connector's file.name.template.
    #[arg(long, value_name = "TEMPLATE", value_parser = template, help_heading = heading::CONTENT)]
    pub(crate) template: Option<NameTemplate>,

    /// The fields of each record in their order, as in the connector's format.output.fields.
    #[arg(long, value_name = "FIELD,...", value_delimiter = ',', value_parser = choice(FIELDS), hide_possible_values = true,
          help_heading = heading::CONTENT)]
    pub(crate) fields: Vec<Field>,

    /// The files' format.
    #[arg(long, value_name = "FORMAT", value_parser = choice(FORMATS), help_heading = heading::CONTENT)]
    pub(crate) format: Option<Format>,

    /// How csv values were written, as in the connector's format.output.fields.value.encoding.
    #[arg(long, value_name = "ENCODING", value_parser = choice(VALUE_ENCODINGS), help_heading = heading::CONTENT)]
    pub(crate) value_encoding: Option<ValueEncoding>,

    /// What keys were in Kafka, where the files leave it open.
    #[arg(long, value_name = "TYPE", value_parser = choice(INTERPRETATIONS), help_heading = heading::CONTENT)]
    pub(crate) key_as: Option<Interpretation>,

    /// What values were in Kafka, where the files leave it open. The types are those of --key-as.
    #[arg(long, value_name = "TYPE", value_parser = choice(INTERPRETATIONS), hide_possible_values = true,
          help_heading = heading::CONTENT)]
    pub(crate) value_as: Option<Interpretation>,

    /// What header values were in Kafka, where the files leave it open. The types are those of --key-as.
    #[arg(long, value_name = "TYPE", value_parser = choice(INTERPRETATIONS), hide_possible_values = true,
          help_heading = heading::CONTENT)]
    pub(crate) header_as: Option<Interpretation>,

    /// What an empty csv key was: csv cannot tell. [default: null]
    #[arg(long, value_name = "WHAT", value_parser = choice(EMPTY_FIELDS), help_heading = heading::CONTENT)]
    pub(crate) csv_empty_key: Option<EmptyField>,

    /// What an empty csv value was: csv cannot tell. [default: null]
    #[arg(long, value_name = "WHAT", value_parser = choice(EMPTY_FIELDS), help_heading = heading::CONTENT)]
    pub(crate) csv_empty_value: Option<EmptyField>,

    /// Which timestamps records get that were stored without one. [default: none]
    #[arg(long, value_name = "WHICH", value_parser = choice(TIMESTAMPS), help_heading = heading::CONTENT)]
    pub(crate) timestamps: Option<Timestamps>,
}

/// The reason alone: clap says what the text was.
fn template(text: &str) -> Result<NameTemplate, String> {
    NameTemplate::new(text).map_err(|error| error.reason)
}

/// The timestamps of records that were stored without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timestamps {
    /// When the object was stored.
    Object,
    /// When the run began.
    Now,
    /// None at all.
    None,
}

const TIMESTAMPS: &[Choice<Timestamps>] = &[
    ("object", "when their object was stored last", Timestamps::Object),
    ("now", "when this run began", Timestamps::Now),
    ("none", "no timestamp", Timestamps::None),
];

const FIELDS: &[Choice<Field>] = &[
    ("key", "the record's key", Field::Key),
    ("value", "the record's value", Field::Value),
    ("offset", "the record's offset", Field::Offset),
    ("timestamp", "the record's timestamp", Field::Timestamp),
    ("headers", "the record's headers", Field::Headers),
];

const FORMATS: &[Choice<Format>] = &[
    ("csv", "fields joined by commas, a line per record", Format::Csv),
    ("json", "one JSON array of records", Format::Json),
    ("jsonl", "a JSON value per line", Format::Jsonl),
    ("avro", "Avro object container files", Format::Avro),
    ("parquet", "Apache Parquet files", Format::Parquet),
];

const VALUE_ENCODINGS: &[Choice<ValueEncoding>] = &[
    ("base64", "base64, the connector's default", ValueEncoding::Base64),
    ("none", "the value's own bytes, unescaped", ValueEncoding::None),
];

const INTERPRETATIONS: &[Choice<Interpretation>] = &[
    (
        "bytes",
        "bytes, base64 in the file (ByteArrayConverter)",
        Interpretation::Bytes,
    ),
    ("string", "a string (StringConverter)", Interpretation::String),
    (
        "json",
        "JSON text: equivalent, not identical (JsonConverter)",
        Interpretation::Json,
    ),
    (
        "long",
        "8 bytes, big endian (LongConverter)",
        Interpretation::Long,
    ),
    (
        "integer",
        "4 bytes, big endian (IntegerConverter)",
        Interpretation::Integer,
    ),
    (
        "short",
        "2 bytes, big endian (ShortConverter)",
        Interpretation::Short,
    ),
    (
        "double",
        "8 bytes, IEEE 754 (DoubleConverter)",
        Interpretation::Double,
    ),
    (
        "float",
        "4 bytes, IEEE 754 (FloatConverter)",
        Interpretation::Float,
    ),
];

const EMPTY_FIELDS: &[Choice<EmptyField>] = &[
    ("null", "a null", EmptyField::Null),
    ("empty", "an empty byte array", EmptyField::Empty),
];
