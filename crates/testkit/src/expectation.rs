//! How a restore of each golden set must end, and what of it is compared.
//!
//! This is the one place that declares losses: from the set's own `meta.json` (what its sink did not store), and a short
//! table of sets that are damaged, hold only latest states, or cannot be restored. The comparison is in
//! [`crate::fidelity`].

use crate::fidelity::{Fidelity, Field, HeaderFidelity, Offsets};
use crate::golden::GoldenSet;

/// How a restore of a golden set must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every record of the truth, exit status 0.
    Complete,
    /// Exit status 1: the backup is damaged and the tool can tell. Partitions hold a part of the truth, from its start.
    Damaged,
    /// Exit status 0 with records missing that were in these objects; nothing in the backup proves the loss.
    WithoutObjects(Vec<String>),
    /// Exit status 3 with records missing that were in these objects; the backup shows where, and the report tells it.
    WithFindings(Vec<String>),
    /// Exit status 0 with the first records of each partition only: valid files of a sink that got stuck. Nothing in
    /// them proves that more was to come.
    Beginning,
    /// Only the latest record of each key was stored: compared are the records that the objects hold.
    LatestState,
    /// Two sources under one name, two lives of one topic, or records whose ends nobody can tell: the tool must refuse
    /// (exit status 1).
    Refused,
}

/// What is expected of a golden set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// How the restore ends.
    pub outcome: Outcome,
    /// What is compared.
    pub fidelity: Fidelity,
}

/// Exceptions to what `meta.json` says, by the set's name.
fn exception(name: &str) -> Option<Outcome> {
    Some(match name {
        // The files say so themselves: a checksum, a length, an alphabet.
        "derived-csv-bad-base64" | "derived-csv-cut" | "derived-gzip-bitflip" | "derived-gzip-truncated" => {
            Outcome::Damaged
        }
        // The framing has no end mark; what is left ends in the middle of a line.
        "derived-snappy-block-cut" => Outcome::Damaged,
        "gcs-recreated-topic" | "gcs-router-merged" => Outcome::Refused,
        // Unencoded values as the only field, with newlines inside, and several records in an object.
        "s3-csv-rawvalue-only" => Outcome::Refused,
        "gcs-bytekey-latest" | "gcs-key-latest" | "gcs-key-literal-placeholder" | "s3-tpkey-latest-jsonl" => {
            Outcome::LatestState
        }
        // An Avro container that ends behind a block is whole; so is a Parquet file with its footer.
        "mixed-avro-headers" | "mixed-avro-headers-firstnone" | "head-gcs-parquet-snappy" => {
            Outcome::Beginning
        }
        _ if name.starts_with("broken-") => Outcome::Damaged,
        _ => return None,
    })
}

/// Headers that an envelope keeps as a map.
fn headers_are_a_map(set: &GoldenSet) -> bool {
    matches!(
        set.connector.get("format.output.type").map(String::as_str),
        Some("avro" | "parquet")
    )
}

/// True where values were JSON with its schema in every message, of which the sink kept the payload only.
fn values_lost_their_schema(set: &GoldenSet) -> bool {
    let has = |name: &str, what: &str| set.connector.get(name).is_some_and(|value| value == what);
    has("value.converter", "org.apache.kafka.connect.json.JsonConverter")
        && !has("value.converter.schemas.enable", "false")
}

/// What a restore of the set must give, with offsets compared as told.
pub fn expectation(set: &GoldenSet, offsets: Offsets) -> Expectation {
    let about = &set.meta["fidelity"];
    let words = |key: &str| -> Vec<&str> {
        about[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect()
    };
    let (lost, ambiguous) = (words("lost"), words("ambiguous_null_empty"));
    // `format.output.fields` has the last word: without an envelope the value is all that is there.
    let written = set.connector.get("format.output.fields");
    let not_written = |word: &str| {
        written.is_some_and(|fields| {
            ["key", "offset", "timestamp"].contains(&word)
                && !fields.split(',').any(|field| field.trim() == word)
        })
    };
    let lost_is = |word: &str| lost.contains(&word) || not_written(word);
    let is_csv = set
        .connector
        .get("format.output.type")
        .is_none_or(|format| format == "csv");
    let field = |name: &str| {
        if lost_is(name) {
            Field::Lost
        } else if name == "value" && values_lost_their_schema(set) {
            Field::JsonPayload
        } else if about["decode"][name] == "json"
            || (name == "value" && lost.iter().any(|lost| lost.contains("original bytes")))
        {
            Field::Json
        } else if ambiguous.contains(&name) || is_csv {
            Field::NullIsEmpty
        } else {
            Field::Exact
        }
    };
    // SimpleHeaderConverter takes bytes for text and guesses types.
    let guessed = set.connector.get("header.converter");
    let guessed = guessed.is_some_and(|name| name.ends_with("SimpleHeaderConverter"));
    let headers = if guessed || lost.iter().any(|lost| lost.starts_with("header")) {
        HeaderFidelity::Lost
    } else if headers_are_a_map(set) {
        HeaderFidelity::Map
    } else {
        HeaderFidelity::Exact
    };
    let fidelity = Fidelity {
        key: field("key"),
        value: field("value"),
        headers,
        timestamps: !lost_is("timestamp"),
        // No sink stores who gave a timestamp.
        timestamp_types: false,
        offsets: if lost_is("offset") {
            Offsets::Ignored
        } else {
            offsets
        },
    };
    let damage = |what: &str| set.meta["damage"][what].as_str().map(|key| vec![key.to_string()]);
    let outcome = exception(&set.name).unwrap_or_else(|| match (damage("deleted"), damage("emptied")) {
        (Some(keys), _) => Outcome::WithoutObjects(keys),
        // Zero bytes are what no sink writes in these formats, so this is a loss that shows.
        (None, Some(keys)) => Outcome::WithFindings(keys),
        (None, None) => Outcome::Complete,
    });
    Expectation { outcome, fidelity }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Expectation {
        expectation(&GoldenSet::fixture(name).expect("a fixture"), Offsets::Exact)
    }

    #[test]
    fn losses_come_from_the_set_itself() {
        let csv = of("gcs-csv-none");
        assert_eq!(csv.outcome, Outcome::Complete);
        let expected = Fidelity {
            key: Field::NullIsEmpty,
            value: Field::NullIsEmpty,
            headers: HeaderFidelity::Lost,
            timestamp_types: false,
            ..Fidelity::EXACT
        };
        assert_eq!(csv.fidelity, expected);
        let jsonl = Fidelity {
            timestamp_types: false,
            ..Fidelity::EXACT
        };
        assert_eq!(of("gcs-jsonl-nullhdr").fidelity, jsonl);
        assert_eq!(
            of("gcs-avro-null").fidelity,
            Fidelity {
                headers: HeaderFidelity::Map,
                ..jsonl
            }
        );
        assert_eq!(
            of("gcs-jsonl-jsonconv").fidelity,
            Fidelity {
                value: Field::Json,
                ..jsonl
            }
        );
        let value_only = of("s3-all-defaults-valueonly").fidelity;
        assert_eq!(
            (value_only.key, value_only.offsets),
            (Field::Lost, Offsets::Ignored)
        );
        assert!(!value_only.timestamps);
    }

    #[test]
    fn a_schema_in_every_message_is_not_stored() {
        assert_eq!(of("s3-jsonl-struct").fidelity.value, Field::JsonPayload);
        let bare = of("gcs-avro-struct-noenvelope").fidelity;
        assert_eq!(
            (bare.key, bare.value, bare.timestamps, bare.offsets),
            (Field::Lost, Field::JsonPayload, false, Offsets::Ignored)
        );
    }

    #[test]
    fn damage_and_refusals_are_declared() {
        assert_eq!(of("derived-gzip-truncated").outcome, Outcome::Damaged);
        assert_eq!(of("broken-csv-null-header").outcome, Outcome::Damaged);
        assert_eq!(of("gcs-key-latest").outcome, Outcome::LatestState);
        assert_eq!(of("mixed-avro-headers").outcome, Outcome::Beginning);
        assert_eq!(
            of("derived-empty-object").outcome,
            Outcome::WithFindings(vec!["orders-0-130".into()])
        );
        assert_eq!(of("gcs-router-merged").outcome, Outcome::Refused);
        assert_eq!(
            of("derived-lost-object").outcome,
            Outcome::WithoutObjects(vec!["orders-0-156".into()])
        );
    }
}
