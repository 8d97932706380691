//! How the files were written, as far as a person said.

use backup::format::{Decoding, MissingTimestamp};
use backup::layout::NameTemplate;
use backup::stream::{OnBadRecord, OnConflict};

use crate::argument::content::{ContentArguments, Timestamps};
use crate::argument::safety::TroubleArguments;

/// How the files were written, and what to do where they are wrong.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// What was said of the files; the rest comes from the connector's configuration or from the files.
    said: ContentArguments,
    /// Two objects hold different records for one offset.
    pub(crate) on_conflict: OnConflict,
    /// A record cannot be read.
    pub(crate) on_bad_record: OnBadRecord,
    /// A backup of only the latest record of each key is wanted as what it is.
    pub(crate) latest_state: bool,
}

impl Content {
    /// What was said, with the defaults for the rest.
    pub(crate) fn resolve(said: &ContentArguments, trouble: Option<&TroubleArguments>) -> Self {
        Self {
            said: said.clone(),
            on_conflict: trouble
                .and_then(|trouble| trouble.on_conflict)
                .unwrap_or_default(),
            on_bad_record: trouble
                .and_then(|trouble| trouble.on_bad_record)
                .unwrap_or_default(),
            latest_state: trouble.is_some_and(|trouble| trouble.latest_state),
        }
    }

    /// The connector's own configurations: files or REST addresses.
    pub(crate) fn connector_configs(&self) -> &[String] {
        &self.said.connector_config
    }

    /// The template of the objects' names.
    pub(crate) fn template(&self) -> Option<&NameTemplate> {
        self.said.template.as_ref()
    }

    /// `known` (from the connector's configuration, or the defaults) with everything on top that was said.
    pub(crate) fn decoding(&self, known: Decoding) -> Decoding {
        let said = &self.said;
        Decoding {
            format: said.format.or(known.format),
            fields: if said.fields.is_empty() {
                known.fields
            } else {
                Some(said.fields.clone())
            },
            value_encoding: said.value_encoding.unwrap_or(known.value_encoding),
            key_as: said.key_as.or(known.key_as),
            value_as: said.value_as.or(known.value_as),
            header_as: said.header_as.or(known.header_as),
            csv_empty_key: said.csv_empty_key.unwrap_or(known.csv_empty_key),
            missing_timestamp: said.timestamps.map_or(known.missing_timestamp, missing_timestamp),
            csv_empty_value: said.csv_empty_value.unwrap_or(known.csv_empty_value),
            ..known
        }
    }
}

fn missing_timestamp(timestamps: Timestamps) -> MissingTimestamp {
    match timestamps {
        Timestamps::Object => MissingTimestamp::Object,
        Timestamps::Now => MissingTimestamp::At(jiff::Timestamp::now().as_millisecond()),
        Timestamps::None => MissingTimestamp::None,
    }
}
