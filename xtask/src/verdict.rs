//! Whether a golden set was restored as it must be: the exit status and every record.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use anyhow::Result;
use testkit::expectation::{Expectation, Outcome};
use testkit::fidelity::{compare, compare_prefix};
use testkit::golden::GoldenSet;
use testkit::record::TruthRecord;

/// One line about a set that is as it must be, or what is wrong.
pub(crate) type Verdict = Result<String, String>;

/// Judges what stands in the topics after the program ended.
pub(crate) fn judge(
    set: &GoldenSet,
    expectation: &Expectation,
    status: ExitStatus,
    restored: &[TruthRecord],
) -> Result<Verdict> {
    let expected = stored(set, set.truth()?, &expectation.outcome);
    let wanted_status = match expectation.outcome {
        Outcome::Complete | Outcome::WithoutObjects(_) | Outcome::Beginning | Outcome::LatestState => 0,
        Outcome::WithFindings(_) => 3,
        Outcome::Damaged | Outcome::Refused => 1,
    };
    if status.code() != Some(wanted_status) {
        return Ok(Err(format!("{status} instead of exit status {wanted_status}")));
    }
    let fidelity = expectation.fidelity;
    Ok(match &expectation.outcome {
        Outcome::Complete | Outcome::WithoutObjects(_) | Outcome::WithFindings(_) => {
            match compare(&expected, restored, fidelity) {
                Ok(()) => Ok(format!("{} records", restored.len())),
                Err(difference) => Err(difference.to_string()),
            }
        }
        Outcome::Damaged => match compare_prefix(&expected, restored, fidelity) {
            Ok(()) => cut_partitions(set, &expected, restored),
            Err(difference) => Err(difference.to_string()),
        },
        Outcome::Beginning => match compare_prefix(&expected, restored, fidelity) {
            Ok(()) if restored.is_empty() => Err("nothing was restored".into()),
            Ok(()) => Ok(format!("{} records, all that is there", restored.len())),
            Err(difference) => Err(difference.to_string()),
        },
        Outcome::LatestState => latest_state(set, &expected, restored, expectation),
        Outcome::Refused => Ok("refused".into()),
    })
}

/// The records that the objects of a set can hold.
fn stored(set: &GoldenSet, mut truth: Vec<TruthRecord>, outcome: &Outcome) -> Vec<TruthRecord> {
    // A sink that reads committed records only never saw the aborted ones.
    let isolation = set.connector.get("consumer.override.isolation.level");
    if isolation.is_some_and(|level| level == "read_committed") {
        truth.retain(|record| !set.aborted(record));
    }
    if let Outcome::WithoutObjects(keys) | Outcome::WithFindings(keys) = outcome {
        for (topic, partition, from, to) in keys.iter().filter_map(|key| range_of(set, key)) {
            truth.retain(|record| {
                record.topic != topic || record.partition != partition || !(from..to).contains(&record.offset)
            });
        }
    }
    truth
}

/// The source offsets of an object with a default name: from its own number up to that of the next object.
fn range_of(set: &GoldenSet, key: &str) -> Option<(String, i32, i64, i64)> {
    let (topic, partition, from) = default_name(key)?;
    let next = set
        .objects
        .iter()
        .filter_map(|object| default_name(&object.key))
        .filter(|(other, number, start)| (other, number) == (&topic, &partition) && *start > from)
        .map(|(_, _, start)| start)
        .min();
    Some((topic, partition, from, next.unwrap_or(i64::MAX)))
}

/// `topic-partition-offset` with any suffix.
fn default_name(key: &str) -> Option<(String, i32, i64)> {
    let mut parts = key.rsplitn(3, '-');
    let (offset, partition, topic) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = offset.split('.').next()?;
    Some((topic.to_string(), partition.parse().ok()?, digits.parse().ok()?))
}

/// True for the default name of an object of `topic`.
pub(crate) fn is_of_topic(key: &str, topic: &str) -> bool {
    default_name(key).is_some_and(|(named, _, _)| named == topic)
}

/// A damaged set stops the partition that is damaged; the others are complete.
fn cut_partitions(set: &GoldenSet, expected: &[TruthRecord], restored: &[TruthRecord]) -> Verdict {
    let mut counts: BTreeMap<(&str, i32), [usize; 2]> = BTreeMap::new();
    for (column, records) in [expected, restored].into_iter().enumerate() {
        for record in records {
            counts.entry((&record.topic, record.partition)).or_default()[column] += 1;
        }
    }
    let cut: Vec<String> = counts
        .iter()
        .filter(|(_, [expected, restored])| restored < expected)
        .map(|((topic, partition), [expected, restored])| {
            format!("{topic}-{partition} ({restored} of {expected})")
        })
        .collect();
    // Damage by hand is in one object; a sink that failed left several partitions short.
    match (cut.len(), set.name.starts_with("derived-")) {
        (0, _) => Err("exit status 1, but nothing is missing".into()),
        (2.., true) => Err(format!(
            "more partitions than the damaged one are short: {}",
            cut.join(", ")
        )),
        _ => Ok(format!(
            "{} records before the damage, short: {}",
            restored.len(),
            cut.join(", ")
        )),
    }
}

/// One record of each key, and of each partition where names say that.
///
/// Where each key has one object, that holds whichever record the sink wrote last: of keys in several partitions it need
/// not be the latest. Where a key has many (keys of bytes), the latest of all that was in Kafka must have been chosen.
fn latest_state(
    set: &GoldenSet,
    truth: &[TruthRecord],
    restored: &[TruthRecord],
    expectation: &Expectation,
) -> Verdict {
    let template = set.connector.get("file.name.template");
    let placed = template.is_some_and(|template| template.contains("{{partition"));
    let key = |record: &TruthRecord| (placed.then_some(record.partition), record.key.clone());
    let mut histories = BTreeMap::<_, Vec<&TruthRecord>>::new();
    for record in truth {
        histories.entry(key(record)).or_default().push(record);
    }
    if restored.len() != histories.len() {
        return Err(format!("{} records of {} keys", restored.len(), histories.len()));
    }
    let sink_chose = set.objects.len() == histories.len() && !placed;
    for record in restored {
        // Each once: csv writes a null key and an empty one alike.
        let Some(history) = histories
            .remove(&key(record))
            .or_else(|| histories.remove(&(key(record).0, None)))
        else {
            return Err(format!(
                "nobody had this key, or another record has it: {record:?}"
            ));
        };
        let latest = history.iter().max_by_key(|record| match placed {
            true => (0, record.offset),
            false => (record.timestamp, record.offset),
        });
        let is_it = |source: &&TruthRecord| {
            let expected = TruthRecord {
                partition: record.partition,
                ..(*source).clone()
            };
            compare(
                std::slice::from_ref(&expected),
                std::slice::from_ref(record),
                expectation.fidelity,
            )
            .is_ok()
        };
        let good = match sink_chose {
            true => history.iter().any(&is_it),
            false => latest.is_some_and(is_it),
        };
        if !good {
            return Err(format!(
                "{record:?} is not the latest record of its key, {latest:?}"
            ));
        }
    }
    Ok(format!("{} records, the latest of each key", restored.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::expectation::expectation;
    use testkit::fidelity::Offsets;

    fn status(code: i32) -> ExitStatus {
        std::os::unix::process::ExitStatusExt::from_raw(code << 8)
    }

    fn judged(name: &str, code: i32, change: impl Fn(&mut Vec<TruthRecord>)) -> Verdict {
        let set = GoldenSet::fixture(name).expect("a fixture");
        let expected = expectation(&set, Offsets::Ignored);
        let mut restored = stored(&set, set.truth().expect("truth"), &expected.outcome);
        change(&mut restored);
        judge(&set, &expected, status(code), &restored).expect("a verdict")
    }

    #[test]
    fn a_complete_set_is_good_and_any_change_is_not() {
        assert!(judged("gcs-csv-none", 0, |_| {}).is_ok());
        assert!(judged("gcs-csv-none", 1, |_| {}).is_err());
        assert!(judged("gcs-csv-none", 0, |records| drop(records.pop())).is_err());
        assert!(judged("gcs-csv-none", 0, |records| records[7].timestamp += 1).is_err());
        assert!(
            judged("gcs-csv-none", 0, |records| records[7].headers.clear()).is_ok(),
            "csv without headers"
        );
        assert!(
            judged("gcs-jsonl-gzip", 0, |records| records.swap(0, 1)).is_ok(),
            "order is by offset"
        );
    }

    #[test]
    fn a_damaged_set_must_end_early_in_one_partition_and_say_so() {
        let cut = |records: &mut Vec<TruthRecord>| {
            records.retain(|record| record.partition != 0 || record.offset < 98);
        };
        assert!(judged("derived-csv-cut", 1, cut).is_ok());
        assert!(judged("derived-csv-cut", 0, cut).is_err());
        assert!(judged("derived-csv-cut", 1, |_| {}).is_err());
        assert!(
            judged("derived-csv-cut", 1, Vec::clear).is_err(),
            "the other partitions must be complete"
        );
        let hole = |records: &mut Vec<TruthRecord>| {
            records.retain(|record| record.partition != 0 || !(98..130).contains(&record.offset));
        };
        assert!(
            judged("derived-csv-cut", 1, hole).is_err(),
            "nothing may follow the damage"
        );
    }

    #[test]
    fn of_each_key_the_latest_record_must_be_there() {
        let set = GoldenSet::fixture("gcs-bytekey-latest").expect("a fixture");
        let latest = |records: &mut Vec<TruthRecord>| {
            records.sort_by_key(|record| (record.key.clone(), record.timestamp));
            let next = records.split_off(1);
            for record in next {
                let last = records.last_mut().expect("one at least");
                match last.key == record.key {
                    true => *last = record,
                    false => records.push(record),
                }
            }
            // Wherever their keys belong.
            records.iter_mut().for_each(|record| record.partition = 1);
        };
        let verdict = judged(&set.name, 0, latest);
        assert!(verdict.is_ok(), "{verdict:?}");
        assert!(
            judged(&set.name, 0, |_| {}).is_err(),
            "the whole history is too much"
        );
        let without = |records: &mut Vec<TruthRecord>| {
            latest(records);
            records.pop();
        };
        assert!(judged(&set.name, 0, without).is_err());
        let older = |records: &mut Vec<TruthRecord>| {
            let old = records
                .iter()
                .min_by_key(|record| record.timestamp)
                .cloned()
                .expect("one");
            latest(records);
            let place = records
                .iter()
                .position(|record| record.key == old.key)
                .expect("its key");
            records[place] = old;
        };
        assert!(judged(&set.name, 0, older).is_err());
    }

    #[test]
    fn a_lost_object_takes_its_offsets_with_it() {
        let set = GoldenSet::fixture("derived-lost-object").expect("a fixture");
        let (topic, partition, from, to) = range_of(&set, "orders-0-156").expect("a default name");
        assert_eq!((topic.as_str(), partition, from), ("orders", 0, 156));
        let truth = set.truth().expect("truth").len();
        let verdict = judged("derived-lost-object", 0, |records| {
            assert_eq!(records.len(), truth - lost(&set, from, to))
        });
        assert!(verdict.is_ok());
    }

    fn lost(set: &GoldenSet, from: i64, to: i64) -> usize {
        let truth = set.truth().expect("truth");
        let lost = truth
            .iter()
            .filter(|record| record.partition == 0 && (from..to).contains(&record.offset))
            .count();
        assert!(lost > 0);
        lost
    }
}
