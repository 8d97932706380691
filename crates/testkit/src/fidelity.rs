//! What a restored topic may differ in from its source, and the comparison that allows exactly that.
//!
//! A sink connector does not store everything: csv cannot tell null from empty, a field that was not listed is gone.
//! [`crate::expectation`] says which losses belong to which golden set; [`compare`] reports the first difference beyond
//! them.

use std::collections::BTreeMap;
use std::fmt;

use crate::record::{TruthRecord, show};

/// How true a key or a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Byte for byte, null apart from empty.
    Exact,
    /// Byte for byte, but null and empty count as equal.
    NullIsEmpty,
    /// The same JSON value, however it is written; null is JSON's null.
    Json,
    /// As [`Field::Json`], where the source's value carried its schema (`{"schema": .., "payload": ..}`) and only the
    /// payload was stored.
    JsonPayload,
    /// Not stored: not compared.
    Lost,
}

/// How true headers must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFidelity {
    /// Names, values, order and duplicates.
    Exact,
    /// Names and values; the order may differ, and of equal names one may be left.
    Map,
    /// Not stored: not compared.
    Lost,
}

/// How true offsets must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offsets {
    /// The source's offsets.
    Exact,
    /// Only the order.
    Ignored,
}

/// What is compared, and how strictly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fidelity {
    /// The key.
    pub key: Field,
    /// The value.
    pub value: Field,
    /// The headers.
    pub headers: HeaderFidelity,
    /// Whether timestamps are compared.
    pub timestamps: bool,
    /// Whether the kinds of timestamps are compared.
    pub timestamp_types: bool,
    /// The offsets.
    pub offsets: Offsets,
}

impl Fidelity {
    /// Nothing may differ.
    pub const EXACT: Fidelity = Fidelity {
        key: Field::Exact,
        value: Field::Exact,
        headers: HeaderFidelity::Exact,
        timestamps: true,
        timestamp_types: true,
        offsets: Offsets::Exact,
    };
}

/// The first difference between what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A partition has fewer records than expected.
    Missing {
        /// How many records came before the end.
        after: usize,
        /// How many were expected in the partition.
        expected: usize,
        /// The first record that is missing.
        record: Box<TruthRecord>,
    },
    /// A partition has more records than expected.
    Surplus {
        /// How many were expected in the partition.
        expected: usize,
        /// How many there are.
        actual: usize,
        /// The first record too many.
        record: Box<TruthRecord>,
    },
    /// Two records that should be equal are not.
    Record {
        /// The index in the partition, from 0.
        index: usize,
        /// What differs, in words: the field and both its values.
        what: String,
        /// The record as expected.
        expected: Box<TruthRecord>,
        /// The record as found.
        actual: Box<TruthRecord>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing {
                after,
                expected,
                record,
            } => write!(
                f,
                "{}-{}: {after} records instead of {expected}; the first one missing is that of source offset {} \
                 (key {})",
                record.topic,
                record.partition,
                record.offset,
                show(record.key.as_deref()),
            ),
            Difference::Surplus {
                expected,
                actual,
                record,
            } => write!(
                f,
                "{}-{}: {actual} records instead of {expected}; the first one too many stands at offset {} (key {})",
                record.topic,
                record.partition,
                record.offset,
                show(record.key.as_deref()),
            ),
            Difference::Record {
                index,
                what,
                expected,
                actual,
            } => write!(
                f,
                "{}-{}, record {index} (source offset {}, target offset {}): {what}",
                expected.topic, expected.partition, expected.offset, actual.offset,
            ),
        }
    }
}

impl std::error::Error for Difference {}

/// Compares what was restored with what should have been, partition by partition, in offset order.
pub fn compare(
    expected: &[TruthRecord],
    actual: &[TruthRecord],
    fidelity: Fidelity,
) -> Result<(), Difference> {
    walk(expected, actual, fidelity, false)
}

/// As [`compare`], but every partition may end early: it must hold the first records of what is expected.
pub fn compare_prefix(
    expected: &[TruthRecord],
    actual: &[TruthRecord],
    fidelity: Fidelity,
) -> Result<(), Difference> {
    walk(expected, actual, fidelity, true)
}

type Partitions<'a> = BTreeMap<(&'a str, i32), Vec<&'a TruthRecord>>;

fn by_partition(records: &[TruthRecord]) -> Partitions<'_> {
    let mut partitions = Partitions::new();
    for record in records {
        partitions
            .entry((&record.topic, record.partition))
            .or_default()
            .push(record);
    }
    for records in partitions.values_mut() {
        records.sort_by_key(|record| record.offset);
    }
    partitions
}

fn walk(
    expected: &[TruthRecord],
    actual: &[TruthRecord],
    fidelity: Fidelity,
    may_end_early: bool,
) -> Result<(), Difference> {
    let expected = by_partition(expected);
    let actual = by_partition(actual);
    for (partition, records) in &expected {
        let found = actual.get(partition).map_or(&[][..], Vec::as_slice);
        for (index, (&expected, &actual)) in records.iter().zip(found).enumerate() {
            if let Some(what) = difference(expected, actual, fidelity) {
                let (expected, actual) = (Box::new(expected.clone()), Box::new(actual.clone()));
                return Err(Difference::Record {
                    index,
                    what,
                    expected,
                    actual,
                });
            }
        }
        if let (Some(&record), false) = (records.get(found.len()), may_end_early) {
            return Err(Difference::Missing {
                after: found.len(),
                expected: records.len(),
                record: Box::new(record.clone()),
            });
        }
    }
    for (partition, found) in &actual {
        let expected = expected.get(partition).map_or(0, Vec::len);
        if let Some(&record) = found.get(expected) {
            return Err(Difference::Surplus {
                expected,
                actual: found.len(),
                record: Box::new(record.clone()),
            });
        }
    }
    Ok(())
}

/// What differs between two records, in words, or nothing.
fn difference(expected: &TruthRecord, actual: &TruthRecord, fidelity: Fidelity) -> Option<String> {
    let fields = [
        ("key", fidelity.key, &expected.key, &actual.key),
        ("value", fidelity.value, &expected.value, &actual.value),
    ];
    for (name, field, expected, actual) in fields {
        if !same_field(field, expected.as_deref(), actual.as_deref()) {
            return Some(format!(
                "the {name} is {} instead of {}",
                show(actual.as_deref()),
                show(expected.as_deref())
            ));
        }
    }
    let headers = match fidelity.headers {
        HeaderFidelity::Exact => expected.headers == actual.headers,
        HeaderFidelity::Map => {
            let map = |record: &TruthRecord| -> BTreeMap<String, Option<Vec<u8>>> {
                record.headers.iter().cloned().collect()
            };
            map(expected) == map(actual)
        }
        HeaderFidelity::Lost => true,
    };
    if !headers {
        return Some(format!(
            "the headers are {:?} instead of {:?}",
            actual.headers, expected.headers
        ));
    }
    if fidelity.timestamps && expected.timestamp != actual.timestamp {
        return Some(format!(
            "the timestamp is {} instead of {}",
            actual.timestamp, expected.timestamp
        ));
    }
    if fidelity.timestamp_types && expected.timestamp_type != actual.timestamp_type {
        return Some(format!(
            "the timestamp is a {:?} instead of a {:?}",
            actual.timestamp_type, expected.timestamp_type
        ));
    }
    if fidelity.offsets == Offsets::Exact && expected.offset != actual.offset {
        return Some(format!(
            "the offset is {} instead of {}",
            actual.offset, expected.offset
        ));
    }
    None
}

fn same_field(field: Field, expected: Option<&[u8]>, actual: Option<&[u8]>) -> bool {
    match field {
        Field::Exact => expected == actual,
        Field::NullIsEmpty => expected.unwrap_or_default() == actual.unwrap_or_default(),
        Field::Json => {
            let parse = |bytes: Option<&[u8]>| match bytes {
                None => Some(serde_json::Value::Null),
                Some(bytes) => serde_json::from_slice(bytes).ok(),
            };
            expected == actual || (parse(expected).is_some() && parse(expected) == parse(actual))
        }
        Field::JsonPayload => {
            let payload = |bytes: Option<&[u8]>| match bytes {
                None => Some(serde_json::Value::Null),
                Some(bytes) => serde_json::from_slice::<serde_json::Value>(bytes)
                    .ok()?
                    .get("payload")
                    .cloned(),
            };
            let actual = match actual {
                None => Some(serde_json::Value::Null),
                Some(bytes) => serde_json::from_slice(bytes).ok(),
            };
            payload(expected).is_some_and(|payload| actual.is_some_and(|actual| actual == payload))
        }
        Field::Lost => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::TimestampType;

    fn record(partition: i32, offset: i64) -> TruthRecord {
        TruthRecord {
            topic: "t".into(),
            partition,
            offset,
            timestamp: 7,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(b"{\"a\": 1}".to_vec()),
            headers: vec![("h".into(), None), ("i".into(), Some(vec![1]))],
        }
    }

    #[test]
    fn equal_records_are_equal_in_any_order_of_partitions() {
        let records = [record(0, 1), record(0, 5), record(1, 0)];
        let shuffled = [record(1, 0), record(0, 5), record(0, 1)];
        assert_eq!(compare(&records, &shuffled, Fidelity::EXACT), Ok(()));
    }

    #[test]
    fn missing_and_surplus_records_are_found_in_both_directions() {
        let full = [record(0, 1), record(0, 5), record(1, 0)];
        let cut = [record(0, 1), record(1, 0)];
        let missing = compare(&full, &cut, Fidelity::EXACT).expect_err("one is missing");
        assert!(
            matches!(&missing, Difference::Missing { after: 1, expected: 2, record } if record.offset == 5)
        );
        let surplus = compare(&cut, &full, Fidelity::EXACT).expect_err("one too many");
        assert!(matches!(
            &surplus,
            Difference::Surplus {
                expected: 1,
                actual: 2,
                ..
            }
        ));
        let other_partition = compare(&full[..2], &full, Fidelity::EXACT).expect_err("a partition too many");
        assert!(matches!(other_partition, Difference::Surplus { expected: 0, .. }));
        assert_eq!(compare_prefix(&full, &cut, Fidelity::EXACT), Ok(()));
        assert!(compare_prefix(&full, &full[1..], Fidelity::EXACT).is_err());
    }

    /// A way to change a record, and the fidelity under which that is no difference.
    type Change = (fn(&mut TruthRecord), fn(&mut Fidelity));

    #[test]
    fn every_field_counts_unless_it_is_declared_lost() {
        let changes: [Change; 7] = [
            (|r| r.key = Some(Vec::new()), |f| f.key = Field::NullIsEmpty),
            (|r| r.key = Some(b"k".to_vec()), |f| f.key = Field::Lost),
            (
                |r| r.value = Some(b"{\"a\":1}".to_vec()),
                |f| f.value = Field::Json,
            ),
            (|r| r.headers.reverse(), |f| f.headers = HeaderFidelity::Map),
            (|r| r.headers.clear(), |f| f.headers = HeaderFidelity::Lost),
            (|r| r.timestamp = 8, |f| f.timestamps = false),
            (|r| r.offset = 9, |f| f.offsets = Offsets::Ignored),
        ];
        for (number, (change, allow)) in changes.iter().enumerate() {
            let expected = [record(0, 1)];
            let mut actual = expected.clone();
            change(&mut actual[0]);
            assert!(
                compare(&expected, &actual, Fidelity::EXACT).is_err(),
                "change {number}"
            );
            let mut fidelity = Fidelity::EXACT;
            allow(&mut fidelity);
            assert_eq!(compare(&expected, &actual, fidelity), Ok(()), "change {number}");
        }
    }

    #[test]
    fn a_difference_names_the_record_and_both_values() {
        let mut actual = [record(0, 1)];
        actual[0].value = None;
        let text = compare(&[record(0, 1)], &actual, Fidelity::EXACT)
            .expect_err("differs")
            .to_string();
        assert_eq!(
            text,
            "t-0, record 0 (source offset 1, target offset 1): the value is null instead of \"{\\\"a\\\": 1}\""
        );
    }

    #[test]
    fn json_null_is_null_but_broken_text_is_not_json() {
        assert!(same_field(Field::Json, None, Some(b"null")));
        assert!(!same_field(Field::Json, Some(b"{"), Some(b"[")));
        assert!(same_field(Field::Json, Some(b"{"), Some(b"{")));
        let with_schema = br#"{"schema":{},"payload":{"a":1,"b":[]}}"#;
        assert!(same_field(
            Field::JsonPayload,
            Some(with_schema),
            Some(br#"{"b":[],"a":1}"#)
        ));
        assert!(!same_field(
            Field::JsonPayload,
            Some(with_schema),
            Some(br#"{"b":[],"a":2}"#)
        ));
        assert!(!same_field(Field::JsonPayload, Some(with_schema), None));
    }
}
