//! Connect's converters: how what a sink wrote becomes the bytes that were in Kafka, and how surely.

use crate::format::Interpretation;

/// How well a part of a record can be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fidelity {
    /// The very bytes.
    Exact,
    /// Bytes that mean the same and may not be the same.
    Equivalent,
    /// The sink did not keep what the bytes were made of.
    Lost,
    /// Not known from this configuration.
    Unknown,
}

/// A converter of a sink's configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Converter {
    /// Its class as configured; none where the Connect worker's own setting applies.
    pub class: Option<String>,
    /// How its values become bytes again.
    pub interpretation: Option<Interpretation>,
    /// How well.
    pub fidelity: Fidelity,
    /// What there is to say about it, for people; empty where it is exact.
    pub note: String,
}

impl Converter {
    /// Understands the converter that `option` (`key.converter`, ..) names.
    ///
    /// Source: Kafka Connect's converters, and what Aiven's sinks write of their values (`docs/formats.md`).
    pub(super) fn new(option: &str, class: Option<&str>, setting: impl Fn(&str) -> Option<String>) -> Self {
        use Fidelity::{Equivalent, Exact, Lost, Unknown};
        let Some(class) = class.map(str::trim).filter(|class| !class.is_empty()) else {
            let note = format!(
                "{option} is not set, so the Connect worker's own applied; say what it was if the backup is not csv"
            );
            return Self {
                class: None,
                interpretation: None,
                fidelity: Unknown,
                note,
            };
        };
        let simple = class.rsplit(['.', '$']).next().unwrap_or(class);
        let kind = simple.strip_suffix("Converter").unwrap_or(simple);
        let (interpretation, fidelity, note) = match kind {
            "ByteArray" => (Some(Interpretation::Bytes), Exact, ""),
            "String" => {
                let encoding = setting("converter.encoding").unwrap_or_else(|| "UTF-8".into());
                if encoding.eq_ignore_ascii_case("utf-8") || encoding.eq_ignore_ascii_case("utf8") {
                    (Some(Interpretation::String), Exact, "")
                } else {
                    (
                        Some(Interpretation::String),
                        Equivalent,
                        "strings were not in UTF-8, and are restored in UTF-8",
                    )
                }
            }
            "Long" => (Some(Interpretation::Long), Exact, ""),
            "Integer" => (Some(Interpretation::Integer), Exact, ""),
            "Short" => (Some(Interpretation::Short), Exact, ""),
            "Double" => (Some(Interpretation::Double), Exact, ""),
            "Float" => (Some(Interpretation::Float), Exact, ""),
            "Json" => {
                let schemas =
                    setting("schemas.enable").is_none_or(|value| value.trim().eq_ignore_ascii_case("true"));
                let note = if schemas {
                    "JSON is written anew, without the schema that each message carried"
                } else {
                    "JSON is written anew: blanks, the order of names and the spelling of numbers may differ"
                };
                (Some(Interpretation::Json), Equivalent, note)
            }
            "Simple" | "SimpleHeader" => (
                Some(Interpretation::String),
                Lost,
                "SimpleHeaderConverter guesses types (007 becomes 7, dates become day numbers): the text cannot be told",
            ),
            "Avro" | "Protobuf" | "JsonSchema" => (
                None,
                Lost,
                "the schema registry's framing and schema ids were not kept: messages cannot be rebuilt as they were",
            ),
            _ => (
                None,
                Unknown,
                "this converter is not known: say how its values become bytes",
            ),
        };
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("{option} is {class}: {note}")
        };
        Self {
            class: Some(class.to_owned()),
            interpretation,
            fidelity,
            note,
        }
    }
}
