//! What a person should know of how a partition was read, in words.

use backup::stream::StreamStatistics;

/// See the module's documentation.
pub(crate) fn notes(statistics: &StreamStatistics) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |count: u64, text: &str| {
        if count > 0 {
            notes.push(format!("{count} {text}"));
        }
    };
    let sums = &statistics.notes;
    note(
        sums.empty_keys,
        "empty csv keys: each was null or empty, csv cannot tell (--csv-empty-key)",
    );
    note(
        sums.empty_values,
        "empty csv values: each was null or empty, csv cannot tell (--csv-empty-value)",
    );
    note(
        sums.json_texts,
        "keys and values were written anew as JSON: equivalent to the original, not identical",
    );
    note(sums.lone_surrogates, "strings with half of a surrogate pair");
    note(
        sums.numbered_objects,
        "objects without offsets: numbered from the name on, which is wrong behind a gap",
    );
    note(
        sums.guessed_objects,
        "objects whose fields or values had to be guessed (--connector-config says them)",
    );
    note(
        statistics.salvaged_objects,
        "objects stop early; others have the records that follow",
    );
    note(
        statistics.abandoned_objects,
        "objects could not be read to their end",
    );
    note(statistics.empty_objects, "objects are empty");
    note(
        statistics.replaced_objects,
        "objects were replaced while they were read",
    );
    lost(statistics, &mut notes);
    notes.extend(statistics.suspicions.list.iter().map(ToString::to_string));
    notes
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
