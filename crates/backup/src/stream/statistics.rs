//! What a stream has seen and done so far.

use std::time::Duration;

use record::{NO_TIMESTAMP, RecordRef};

use crate::format::{Format, Notes};

/// How many gaps are listed one by one.
pub const LISTED_GAPS: usize = 1_000;

/// How many suspicions are listed one by one.
pub const LISTED_SUSPICIONS: usize = 20;

/// Counts of one partition's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStatistics {
    /// Records given.
    pub records: u64,
    /// Payload bytes of the records given.
    pub payload_bytes: u64,
    /// The first offset given.
    pub first_offset: Option<i64>,
    /// The last offset given.
    pub last_offset: Option<i64>,
    /// The earliest timestamp given, in milliseconds.
    pub first_time: Option<i64>,
    /// The latest timestamp given, in milliseconds.
    pub last_time: Option<i64>,
    /// Objects of the partition.
    pub objects_total: u64,
    /// Objects that were not read because what is wanted lies behind or before them.
    pub objects_not_needed: u64,
    /// Objects read to their end.
    pub objects_done: u64,
    /// Stored bytes read from the store and used.
    pub stored_bytes: u64,
    /// Unwrapped bytes of them.
    pub unwrapped_bytes: u64,
    /// Requests for objects' bytes.
    pub requests: u64,
    /// Records with an offset and content that were given already.
    pub duplicates: u64,
    /// Offsets with records of different content, decided by [`OnConflict`](super::OnConflict).
    pub conflicts: u64,
    /// Records that were given up for another of the same offset and different content.
    pub conflicting_records: u64,
    /// Records left out because of their offset.
    pub outside_offsets: u64,
    /// Records left out because of their timestamp.
    pub outside_times: u64,
    /// Pieces handed to the [`RejectSink`](super::RejectSink).
    pub rejected: u64,
    /// Objects whose rest could not be read; each is also one of `rejected`.
    pub abandoned_objects: u64,
    /// Objects that stop early while others have the records that follow.
    pub salvaged_objects: u64,
    /// Objects without content.
    pub empty_objects: u64,
    /// Objects that were replaced between the listing and the end of their reading.
    pub replaced_objects: u64,
    /// Objects that were read with others side by side because their offsets overlap.
    pub overlapping_objects: u64,
    /// Ranges of offsets without records.
    pub gaps: Gaps,
    /// Signs that the objects are not one partition's history.
    pub suspicions: Suspicions,
    /// What the decoders noted, summed up.
    pub notes: NoteSums,
    /// Processor time spent on unwrapping and decoding.
    pub decoding: Duration,
    /// Time that the reader of the stream waited for its next block.
    pub waiting: Duration,
    /// Of this, the time in which the awaited object waited for the store.
    pub waiting_for_store: Duration,
}

impl StreamStatistics {
    /// Counts a record that is given.
    pub(super) fn give(&mut self, record: &RecordRef<'_>) {
        self.records += 1;
        self.payload_bytes += record.payload_bytes() as u64;
        self.first_offset.get_or_insert(record.offset);
        self.last_offset = Some(record.offset);
        if record.timestamp != NO_TIMESTAMP {
            self.time(record.timestamp);
        }
    }

    pub(super) fn time(&mut self, timestamp: i64) {
        self.first_time = Some(self.first_time.map_or(timestamp, |first| first.min(timestamp)));
        self.last_time = Some(self.last_time.map_or(timestamp, |last| last.max(timestamp)));
    }

    /// Adds what another stream has seen, of objects that have nothing to do with these: gaps are not taken over.
    pub(super) fn add(&mut self, other: &Self) {
        let lower = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        self.records += other.records;
        self.payload_bytes += other.payload_bytes;
        self.first_offset = lower(self.first_offset, other.first_offset);
        self.last_offset = self.last_offset.max(other.last_offset);
        self.first_time = lower(self.first_time, other.first_time);
        self.last_time = self.last_time.max(other.last_time);
        self.objects_not_needed += other.objects_not_needed;
        self.objects_done += other.objects_done;
        self.stored_bytes += other.stored_bytes;
        self.unwrapped_bytes += other.unwrapped_bytes;
        self.requests += other.requests;
        self.duplicates += other.duplicates;
        self.conflicts += other.conflicts;
        self.conflicting_records += other.conflicting_records;
        self.outside_offsets += other.outside_offsets;
        self.outside_times += other.outside_times;
        self.rejected += other.rejected;
        self.abandoned_objects += other.abandoned_objects;
        self.salvaged_objects += other.salvaged_objects;
        self.empty_objects += other.empty_objects;
        self.replaced_objects += other.replaced_objects;
        self.overlapping_objects += other.overlapping_objects;
        self.notes.add_sums(&other.notes);
        self.decoding += other.decoding;
        self.waiting += other.waiting;
        self.waiting_for_store += other.waiting_for_store;
    }
}

/// Sums of [`Notes`] over objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct NoteSums {
    /// Formats found, with the number of objects of each.
    pub formats: Vec<(Format, u64)>,
    /// csv: empty keys, each of which was null or empty.
    pub empty_keys: u64,
    /// csv: empty values, each of which was null or empty.
    pub empty_values: u64,
    /// Objects that end with a newline.
    pub final_newlines: u64,
    /// csv with one field: objects whose last, empty record is doubtful.
    pub ambiguous_ends: u64,
    /// csv: objects whose last number may be cut.
    pub suspicious_ends: u64,
    /// Objects whose format differs from the configured one.
    pub format_differs: u64,
    /// Objects whose offsets were numbered from the name.
    pub numbered_objects: u64,
    /// Objects whose csv fields, or whose values' meaning, had to be guessed.
    pub guessed_objects: u64,
    /// json: strings with half of a surrogate pair.
    pub lone_surrogates: u64,
    /// json: names that one object held twice.
    pub duplicate_names: u64,
    /// Keys and values taken as, or written anew as, JSON text: equivalent, not identical.
    pub json_texts: u64,
    /// avro, parquet: records with headers, whose order is lost, and of equal names all but the last.
    pub map_headers: u64,
    /// avro, parquet: objects without a place for headers, which were lost in silence if later records had some.
    pub headerless_objects: u64,
    /// parquet: files that stand behind another one in their object.
    pub joined_files: u64,
}

impl NoteSums {
    pub(super) fn add(&mut self, notes: &Notes) {
        if let Some(format) = notes.format {
            match self.formats.iter_mut().find(|(known, _)| *known == format) {
                Some((_, objects)) => *objects += 1,
                None => self.formats.push((format, 1)),
            }
        }
        self.empty_keys += notes.empty_keys;
        self.empty_values += notes.empty_values;
        self.final_newlines += u64::from(notes.final_newline);
        self.ambiguous_ends += u64::from(notes.ambiguous_end);
        self.suspicious_ends += u64::from(notes.suspicious_end);
        self.format_differs += u64::from(notes.format_differs);
        self.numbered_objects += u64::from(notes.numbered);
        self.guessed_objects += u64::from(notes.guess.is_some() || !notes.interpretations.is_empty());
        self.lone_surrogates += notes.lone_surrogates;
        self.duplicate_names += notes.duplicate_names;
        self.json_texts += notes.json_texts;
        self.map_headers += notes.map_headers;
        self.headerless_objects += u64::from(notes.headers_absent);
        self.joined_files += notes.joined_files;
    }

    /// Adds the sums of other objects.
    fn add_sums(&mut self, other: &Self) {
        for (format, objects) in &other.formats {
            match self.formats.iter_mut().find(|(known, _)| known == format) {
                Some((_, known)) => *known += objects,
                None => self.formats.push((*format, *objects)),
            }
        }
        self.empty_keys += other.empty_keys;
        self.empty_values += other.empty_values;
        self.final_newlines += other.final_newlines;
        self.ambiguous_ends += other.ambiguous_ends;
        self.suspicious_ends += other.suspicious_ends;
        self.format_differs += other.format_differs;
        self.numbered_objects += other.numbered_objects;
        self.guessed_objects += other.guessed_objects;
        self.lone_surrogates += other.lone_surrogates;
        self.duplicate_names += other.duplicate_names;
        self.json_texts += other.json_texts;
        self.map_headers += other.map_headers;
        self.headerless_objects += other.headerless_objects;
        self.joined_files += other.joined_files;
    }
}

/// Ranges of offsets without records. They are normal on compacted topics and in transactions, and cannot be
/// told from losses by the data alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// How many there are.
    pub count: u64,
    /// Offsets in them.
    pub offsets: u64,
    /// How many of them are [suspicious](Gap::suspicious).
    pub suspicious: u64,
    /// The first [`LISTED_GAPS`] of them; suspicious ones are listed up to that number again.
    pub list: Vec<Gap>,
    /// The first object behind the last record that stops early or has nothing, with the offset from which on; known
    /// at the end of the stream. What it should have held may be lost, and no gap shows it.
    pub trouble_at_end: Option<(i64, String)>,
    suspicious_listed: usize,
    /// Offsets at which an object stops early or has nothing, and that object.
    troubles: Vec<(i64, String)>,
}

/// A range of offsets without records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing offset.
    pub first: i64,
    /// The last missing offset.
    pub last: i64,
    /// The object with the record before; none where the gap is at the start of what is wanted.
    pub object_before: Option<String>,
    /// The object with the record behind.
    pub object_behind: String,
    /// True where an object at this place is partial, empty or damaged: more likely a loss.
    pub suspicious: bool,
    /// That object.
    pub troubled_object: Option<String>,
}

impl Gaps {
    /// Notes that an object has nothing more from `offset` on though it should.
    pub(super) fn trouble(&mut self, offset: i64, object: &str) {
        // Troubles are taken out as the stream passes them; this many only stand before one place in a backup of
        // nothing but damage.
        if self.troubles.len() < LISTED_GAPS {
            self.troubles.push((offset, object.to_owned()));
        }
    }

    pub(super) fn add(&mut self, first: i64, last: i64, names: impl FnOnce() -> (Option<String>, String)) {
        let troubled_object = self
            .troubles
            .iter()
            .find(|(offset, _)| (first..=last.saturating_add(1)).contains(offset))
            .map(|(_, object)| object.clone());
        let suspicious = troubled_object.is_some();
        self.passed(last);
        self.count += 1;
        self.offsets = self
            .offsets
            .saturating_add(last.abs_diff(first).saturating_add(1));
        self.suspicious += u64::from(suspicious);
        let room = if suspicious {
            self.suspicious_listed < LISTED_GAPS
        } else {
            self.list.len() - self.suspicious_listed < LISTED_GAPS
        };
        if room {
            self.suspicious_listed += usize::from(suspicious);
            let (object_before, object_behind) = names();
            self.list.push(Gap {
                first,
                last,
                object_before,
                object_behind,
                suspicious,
                troubled_object,
            });
        }
    }

    /// Forgets troubles up to `offset`.
    fn passed(&mut self, offset: i64) {
        self.troubles.retain(|(trouble, _)| *trouble > offset);
    }

    /// Notes that nothing comes behind `last`, the last offset given; `to` is the last one wanted.
    pub(super) fn end(&mut self, last: Option<i64>, to: Option<i64>) {
        let behind = std::mem::take(&mut self.troubles).into_iter();
        self.trouble_at_end = behind
            .filter(|(offset, _)| last.is_none_or(|last| *offset > last) && to.is_none_or(|to| *offset <= to))
            .min();
    }

    /// True where an object stops early or has nothing just where records are missing.
    pub fn suggest_loss(&self) -> bool {
        self.suspicious > 0 || self.trouble_at_end.is_some()
    }
}

/// Signs that the objects are not one partition's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspicions {
    /// How many there are.
    pub count: u64,
    /// The first [`LISTED_SUSPICIONS`] of them.
    pub list: Vec<Suspicion>,
}

/// A sign that objects hold records of several topics, or of several lives of one topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Suspicion {
    /// Offsets in one object go back.
    #[error(
        "the offsets in {object} go back: a sink before the end of 2022 wrote a batch again after a failure, or \
         several topics were routed into one name"
    )]
    OffsetsGoBack {
        /// The object.
        object: String,
    },
    /// An object with higher offsets is older than the one before, and so are its records.
    #[error(
        "{behind} has higher offsets than {before} but was written earlier and holds only earlier records: the topic \
         may have been deleted and created anew, and the object left over from its former life"
    )]
    OlderBehind {
        /// The object with lower offsets.
        before: String,
        /// The object with higher offsets.
        behind: String,
    },
    /// One offset has different records; told only where the choice was made by
    /// [`OnConflict`](super::OnConflict).
    #[error("offset {offset} has different records in {one} and {other}")]
    Conflict {
        /// The offset.
        offset: i64,
        /// The object of the record that was taken.
        one: String,
        /// The object of a record that was not.
        other: String,
    },
}

impl Suspicions {
    pub(super) fn add(&mut self, suspicion: impl FnOnce() -> Suspicion) {
        self.count += 1;
        if self.list.len() < LISTED_SUSPICIONS {
            self.list.push(suspicion());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_without_end_and_listed_up_to_a_number() {
        let mut gaps = Gaps::default();
        for number in 0..3_000 {
            gaps.add(number * 10, number * 10 + 4, || (None, String::new()));
        }
        gaps.trouble(30_003, "x");
        gaps.add(30_000, 30_002, || (Some("a".into()), "b".into()));
        gaps.add(30_010, 30_010, || (None, String::new()));
        assert_eq!((gaps.count, gaps.offsets, gaps.suspicious), (3_002, 15_004, 1));
        assert_eq!(gaps.list.len(), LISTED_GAPS + 1);
        assert!(
            gaps.list
                .last()
                .is_some_and(|gap| gap.troubled_object.as_deref() == Some("x") && gap.object_behind == "b")
        );
        gaps.trouble(40_000, "behind");
        gaps.trouble(30_015, "before");
        gaps.end(Some(30_020), None);
        assert_eq!(gaps.trouble_at_end, Some((40_000, "behind".to_owned())));
    }
}
