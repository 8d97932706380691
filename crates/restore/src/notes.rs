//! What a person should know of how a partition was read, in words.

use backup::stream::{NoteSums, StreamStatistics};

/// See the module's documentation.
pub(crate) fn notes(statistics: &StreamStatistics) -> Vec<String> {
    let mut notes = decoded(&statistics.notes);
    let counted = [
        (
            statistics.salvaged_objects,
            "objects stop early; others have the records that follow",
        ),
        (
            statistics.abandoned_objects,
            "objects could not be read to their end",
        ),
        (statistics.empty_objects, "objects are empty"),
        (
            statistics.replaced_objects,
            "objects were replaced while they were read",
        ),
    ];
    notes.extend(sentences(&counted));
    lost(statistics, &mut notes);
    notes.extend(statistics.suspicions.list.iter().map(ToString::to_string));
    notes
}

/// What the decoders noted: a sentence for each of the numbers that is not zero and says something about the records.
pub fn decoded(sums: &NoteSums) -> Vec<String> {
    // Formats are told elsewhere, and that objects end with a newline says only which version of a sink wrote them.
    let NoteSums {
        formats: _,
        final_newlines: _,
        empty_keys,
        empty_values,
        ambiguous_ends,
        suspicious_ends,
        format_differs,
        numbered_objects,
        guessed_objects,
        lone_surrogates,
        duplicate_names,
        json_texts,
        map_headers,
        headerless_objects,
        joined_files,
    } = sums;
    sentences(&[
        (
            *empty_keys,
            "empty csv keys: each was null or empty, csv cannot tell (--csv-empty-key)",
        ),
        (
            *empty_values,
            "empty csv values: each was null or empty, csv cannot tell (--csv-empty-value)",
        ),
        (
            *ambiguous_ends,
            "csv objects of one field end with a newline: the end of their last record, or one more record that is null or \
             empty; the next object's start offset decided, and without one it was taken for a record",
        ),
        (
            *suspicious_ends,
            "csv objects end with a number that nothing shows to be whole: the object may be cut there",
        ),
        (
            *format_differs,
            "objects are of another format than the configured one, and were read as what they are",
        ),
        (
            *json_texts,
            "keys and values were written anew as JSON: equivalent to the original, not identical",
        ),
        (
            *lone_surrogates,
            "strings with half of a surrogate pair, which no UTF-8 text can hold: they came from bytes that were no text",
        ),
        (
            *duplicate_names,
            "names stand twice in one JSON object; the last one counts, as in the sink",
        ),
        (
            *numbered_objects,
            "objects without offsets: numbered from the name on, which is wrong behind a gap",
        ),
        (
            *guessed_objects,
            "objects whose fields or values had to be guessed (--connector-config says them)",
        ),
        (
            *map_headers,
            "records with headers in avro or parquet, which keep neither their order nor all of several equal names",
        ),
        (
            *headerless_objects,
            "avro or parquet objects have no place for headers, since their first record had none: those of later records \
             were lost when the sink wrote them",
        ),
        (
            *joined_files,
            "parquet files stand behind another one in the same object, and were read too",
        ),
    ])
}

fn sentences(counted: &[(u64, &str)]) -> Vec<String> {
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, what)| format!("{count} {what}")).collect()
}

/// Suspicious places that are told one by one.
const LOSSES_TOLD: usize = 10;

/// What was probably lost before this program saw the backup: where, and which object shows it.
fn lost(statistics: &StreamStatistics, notes: &mut Vec<String>) {
    let gaps = &statistics.gaps;
    let suspicious = gaps.list.iter().filter(|gap| gap.suspicious);
    for gap in suspicious.take(LOSSES_TOLD) {
        let object = gap.troubled_object.as_deref().unwrap_or_default();
        notes.push(format!(
            "the offsets {}..{} have no record, and the object {object}, which should hold records there, is empty or cut \
             short: they are probably lost",
            gap.first, gap.last
        ));
    }
    if let Some(more) = gaps
        .suspicious
        .checked_sub(LOSSES_TOLD as u64)
        .filter(|more| *more > 0)
    {
        notes.push(format!(
            "{more} more gaps lie at objects that are empty or cut short"
        ));
    }
    if let Some((offset, object)) = &gaps.trouble_at_end {
        notes.push(format!(
            "the object {object}, which should hold records from offset {offset} on, is empty or cut short, and no other \
             has them: they are probably lost"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_decoders_is_told() {
        let sums = NoteSums {
            formats: Vec::new(),
            final_newlines: 1,
            empty_keys: 2,
            empty_values: 3,
            ambiguous_ends: 4,
            suspicious_ends: 5,
            format_differs: 6,
            numbered_objects: 7,
            guessed_objects: 8,
            lone_surrogates: 9,
            duplicate_names: 10,
            json_texts: 11,
            map_headers: 12,
            headerless_objects: 13,
            joined_files: 14,
        };
        let told = decoded(&sums);
        let mut numbers: Vec<u64> = told
            .iter()
            .filter_map(|line| line.split(' ').next()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=14).collect::<Vec<_>>(), "{told:?}");
        assert_eq!(decoded(&NoteSums::default()), Vec::<String>::new());
    }
}
