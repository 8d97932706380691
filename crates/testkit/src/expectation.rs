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
    /// Only the latest record of each key was stored: compared are the records that the objects hold.
    LatestState,
    /// Two sources under one name, or two lives of one topic: the tool must refuse (exit status 1).
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
        // Zero bytes are what no connector writes, so this is damage that the tool sees.
        "derived-empty-object" => Outcome::Damaged,
        // The framing has no end mark; what is left ends in the middle of a line.
        "derived-snappy-block-cut" => Outcome::Damaged,
        "gcs-recreated-topic" | "gcs-router-merged" => Outcome::Refused,
        "gcs-bytekey-latest" | "gcs-key-latest" | "gcs-key-literal-placeholder" | "s3-tpkey-latest-jsonl" => {
            Outcome::LatestState
        }
        _ if name.starts_with("broken-") || name.starts_with("mixed-avro-") => Outcome::Damaged,
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
    let lost_is = |word: &str| lost.contains(&word);
    let field = |name: &str| {
        if lost_is(name) {
            Field::Lost
        } else if about["decode"][name] == "json"
            || (name == "value" && lost.iter().any(|lost| lost.contains("original bytes")))
        {
            Field::Json
        } else if ambiguous.contains(&name) {
            Field::NullIsEmpty
        } else {
            Field::Exact
        }
    };
    let headers = if lost.iter().any(|lost| lost.starts_with("header")) {
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
    let outcome = exception(&set.name).unwrap_or_else(|| match set.meta["damage"]["deleted"].as_str() {
        Some(key) => Outcome::WithoutObjects(vec![key.to_string()]),
        None => Outcome::Complete,
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
    fn damage_and_refusals_are_declared() {
        assert_eq!(of("derived-gzip-truncated").outcome, Outcome::Damaged);
        assert_eq!(of("broken-csv-null-header").outcome, Outcome::Damaged);
        assert_eq!(of("gcs-key-latest").outcome, Outcome::LatestState);
        assert_eq!(of("gcs-router-merged").outcome, Outcome::Refused);
        assert_eq!(
            of("derived-lost-object").outcome,
            Outcome::WithoutObjects(vec!["orders-0-156".into()])
        );
    }
}
