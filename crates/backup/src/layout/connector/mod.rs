//! A sink connector's own configuration, as far as it decides what lies in the bucket.
//!
//! Read from the text of the connector's properties file or of its Connect REST resource. Options and their
//! defaults are those of Aiven's GCS, S3 and Azure sinks, legacy names of the S3 sink included. Nothing else
//! of the configuration is kept, secrets least of all.

mod converter;
mod options;
mod properties;

pub use converter::{Converter, Fidelity};
use options::{FORMATS, choice, first};

use super::{Generation, Grouping, Layout, NameTemplate, TemplateError};
use crate::format::{Decoding, Field, Format, ValueEncoding};

/// Where a sink writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Google Cloud Storage.
    Gcs,
    /// S3, or a server that speaks it.
    S3,
    /// Azure Blob Storage.
    Azure,
}

/// How a sink names its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The default names behind a literal prefix.
    Default {
        /// `file.name.prefix`.
        prefix: String,
    },
    /// A configured template behind a literal prefix.
    Template {
        /// `file.name.prefix`.
        prefix: String,
        /// `file.name.template`.
        template: NameTemplate,
    },
    /// The S3 sink's legacy names.
    S3Legacy {
        /// `aws.s3.prefix`: a template of its own.
        prefix: String,
    },
}

/// Which clock the `timestamp` variable shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampSource {
    /// The worker's, when it took the record.
    Wallclock,
    /// The record's: offsets then interleave between objects.
    Event,
}

/// A single message transform of the sink.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Transform {
    /// Its name in the configuration.
    pub name: String,
    /// Its class.
    pub class: String,
    /// True where it is known to give records another topic.
    pub renames_topics: bool,
}

/// What a sink's configuration says of its backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorSettings {
    /// The connector's name.
    pub name: Option<String>,
    /// Where it writes to.
    pub store: StoreKind,
    /// The bucket, or the container.
    pub bucket: Option<String>,
    /// How it names objects.
    pub naming: Naming,
    /// The topics it reads, where they are listed.
    pub topics: Vec<String>,
    /// The pattern of the topics it reads, where that is configured.
    pub topics_regex: Option<String>,
    /// The fields it writes, in order; a field may stand twice.
    pub fields: Vec<Field>,
    /// The format it writes.
    pub format: Format,
    /// The compression it is told to use, in lower case; what objects really have is told from their bytes.
    pub compression: String,
    /// False where each record is its one bare field.
    pub envelope: bool,
    /// How csv values are written.
    pub value_encoding: ValueEncoding,
    /// The zone of the times in names, as configured.
    pub timestamp_zone: String,
    /// Which clock the times in names show.
    pub timestamp_source: TimestampSource,
    /// The most records of one object; 0 for no limit.
    pub max_records: u64,
    /// `key.converter`.
    pub key_converter: Converter,
    /// `value.converter`.
    pub value_converter: Converter,
    /// `header.converter`.
    pub header_converter: Converter,
    /// Transforms, in order.
    pub transforms: Vec<Transform>,
    /// What people should know about this configuration, in full sentences.
    pub warnings: Vec<String>,
}

/// A configuration that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectorError {
    /// The text is neither properties nor JSON.
    #[error("line {line} of the connector's configuration cannot be read: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The connector is another one.
    #[error(
        "the connector's class is {class}, which is none of Aiven's sinks for GCS, S3 and Azure Blob Storage; \
         only their backups can be read"
    )]
    OtherConnector {
        /// Its class, or what stands in its place.
        class: String,
    },
    /// An option has a value that the sink would refuse.
    #[error("the connector's option {option} is {value:?}: {reason}")]
    Value {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name template is not valid.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl ConnectorSettings {
    /// Reads the text of a connector's configuration: Java properties, a JSON object of options, or the answer
    /// of Connect's REST interface for `/connectors/NAME` or `/connectors/NAME/config`.
    pub fn parse(text: &str) -> Result<Self, ConnectorError> {
        let options = properties::read(text)?;
        let mut warnings = Vec::new();
        let store = options::store_kind(&options, &mut warnings)?;
        let format = choice(&options, "format.output.type", &FORMATS, Format::Csv)?;
        let fields = options::fields(&options, store)?;
        let encodings = [("base64", ValueEncoding::Base64), ("none", ValueEncoding::None)];
        let envelope = choice(
            &options,
            "format.output.envelope",
            &[("true", true), ("false", false)],
            true,
        )?;
        if !envelope && fields.len() != 1 {
            return Err(options::value_error(
                "format.output.envelope",
                "false",
                "it needs exactly one field in format.output.fields",
            ));
        }
        let naming = options::naming(&options, store, &mut warnings)?;
        let (zone, source) = match &naming {
            Naming::S3Legacy { .. } => ("timestamp.timezone", "timestamp.source"),
            _ => ("file.name.timestamp.timezone", "file.name.timestamp.source"),
        };
        let sources = [
            ("wallclock", TimestampSource::Wallclock),
            ("event", TimestampSource::Event),
        ];
        let converter = |option: &str| {
            let setting = |name: &str| options.get(&format!("{option}.{name}")).cloned();
            Converter::new(option, options.get(option).map(String::as_str), setting)
        };
        let mut settings = Self {
            name: options.get("name").cloned(),
            store,
            bucket: first(&options, options::bucket_options(store)).map(str::to_owned),
            topics: options::list(options.get("topics")),
            topics_regex: options.get("topics.regex").cloned(),
            fields,
            format,
            compression: options::compression(&options, store)?,
            envelope: envelope || format == Format::Csv,
            value_encoding: choice(
                &options,
                "format.output.fields.value.encoding",
                &encodings,
                ValueEncoding::Base64,
            )?,
            timestamp_zone: options.get(zone).map_or("Z", |zone| zone.trim()).to_owned(),
            timestamp_source: choice(&options, source, &sources, TimestampSource::Wallclock)?,
            max_records: options::max_records(&options)?,
            key_converter: converter("key.converter"),
            value_converter: converter("value.converter"),
            header_converter: converter("header.converter"),
            transforms: options::transforms(&options),
            naming,
            warnings,
        };
        settings.warn();
        Ok(settings)
    }

    /// How to read the objects' content.
    pub fn decoding(&self) -> Decoding {
        Decoding {
            format: Some(self.format),
            fields: Some(self.fields.clone()),
            value_encoding: self.value_encoding,
            envelope: self.envelope,
            key_as: self.key_converter.interpretation,
            value_as: self.value_converter.interpretation,
            header_as: self.header_converter.interpretation,
            one_record_per_object: self.max_records == 1 || self.grouping() == Grouping::LatestState,
            ..Decoding::default()
        }
    }

    /// Which records share an object.
    pub fn grouping(&self) -> Grouping {
        match &self.naming {
            Naming::Template { template, .. } => template.grouping(),
            Naming::Default { .. } | Naming::S3Legacy { .. } => Grouping::Partition,
        }
    }

    /// How to read the objects' names.
    pub fn layout(&self) -> Result<Layout, TemplateError> {
        let generation = match &self.naming {
            Naming::Default { prefix } => Generation::default_names(prefix),
            Naming::Template { prefix, template } => Generation::template(prefix, template),
            Naming::S3Legacy { prefix } => Generation::s3_legacy(prefix)?,
        };
        let layout = Layout::of([generation]);
        // A transform may have given the topics other names.
        if !self.transforms.is_empty() {
            return Ok(layout);
        }
        let only_topic = Some(&self.topics).filter(|topics| topics.len() == 1);
        let assumed = only_topic.and_then(|topics| topics.first()).cloned();
        Ok(layout
            .with_known_topics(self.topics.iter().cloned())
            .with_assumed_topic(assumed))
    }

    /// The converters of the fields that the sink writes, with the field.
    pub fn converters(&self) -> impl Iterator<Item = (Field, &Converter)> {
        [
            (Field::Key, &self.key_converter),
            (Field::Value, &self.value_converter),
            (Field::Headers, &self.header_converter),
        ]
        .into_iter()
        .filter(|(field, _)| self.fields.contains(field))
    }

    fn warn(&mut self) {
        let notes: Vec<String> = self
            .converters()
            .map(|(_, converter)| converter.note.clone())
            .filter(|note| !note.is_empty())
            .collect();
        self.warnings.extend(notes);
        let missing: Vec<&str> = [
            (Field::Key, "key"),
            (Field::Value, "value"),
            (Field::Offset, "offset"),
            (Field::Timestamp, "timestamp"),
            (Field::Headers, "headers"),
        ]
        .into_iter()
        .filter(|(field, _)| !self.fields.contains(field))
        .map(|(_, name)| name)
        .collect();
        if !missing.is_empty() {
            self.warnings.push(format!(
                "The sink does not write these fields: {}.",
                missing.join(", ")
            ));
        }
        for transform in &self.transforms {
            let effect = if transform.renames_topics {
                "gave records other topics; several source topics may share names and offsets, and cannot be told apart then"
            } else {
                "changed records before they were written; what it changed or dropped is not in the backup"
            };
            self.warnings.push(format!(
                "The transform {} ({}) {effect}.",
                transform.name, transform.class
            ));
        }
    }
}

#[cfg(test)]
mod tests;
