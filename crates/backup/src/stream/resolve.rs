//! One offset, several records: equal ones fall away, different ones are a conflict.

use std::cmp::Reverse;

use record::RecordRef;

use super::merge::PartitionStream;
use super::options::OnConflict;
use super::statistics::Suspicion;
use super::{Conflict, ConflictingRecord, StreamError, StreamErrorKind};

/// One of the records at an offset: the slot of its object and its place in the block at hand.
#[derive(Clone, Copy)]
struct Candidate {
    slot: usize,
    position: usize,
    /// Of the object: when it was modified, and its place in the list.
    last_modified: i64,
    index: usize,
}

impl PartitionStream {
    /// Gives one record for `offset`, at which the top of the heap stands, and moves all members behind it.
    pub(super) fn resolve(&mut self, offset: i64) -> Result<(), Box<StreamError>> {
        let mut candidates: Vec<Candidate> = Vec::new();
        while let Some(Reverse((next, 1, index, slot))) = self.heap.peek().copied()
            && next == offset
        {
            self.heap.pop();
            let Some(cursor) = &self.slots[slot] else {
                continue;
            };
            let Some(loaded) = &cursor.loaded else {
                continue;
            };
            let places = loaded.position..loaded.block.len();
            let here = places.take_while(|position| loaded.block.get(*position).offset == offset);
            candidates.extend(here.map(|position| Candidate {
                slot,
                position,
                last_modified: cursor.source.spec.last_modified,
                index,
            }));
        }
        let Some(chosen) = self.choose(&candidates)? else {
            return Ok(());
        };
        if let Some(cursor) = &mut self.slots[chosen.slot]
            && let Some(loaded) = cursor.loaded.take()
        {
            self.give(loaded.block.get(chosen.position), chosen.index);
            if let Some(cursor) = &mut self.slots[chosen.slot] {
                cursor.loaded = Some(loaded);
            }
        }
        // A member may hold several candidates; they stand together, and it is moved behind the last.
        for (number, candidate) in candidates.iter().enumerate() {
            if let Some(loaded) = self.slots[candidate.slot]
                .as_mut()
                .and_then(|cursor| cursor.loaded.as_mut())
            {
                loaded.position = candidate.position + 1;
            }
            let last_of_member = candidates
                .get(number + 1)
                .is_none_or(|next| next.slot != candidate.slot);
            if last_of_member {
                self.replace(candidate.slot);
            }
        }
        Ok(())
    }

    /// Chooses among the candidates and counts the others.
    fn choose(&mut self, candidates: &[Candidate]) -> Result<Option<Candidate>, Box<StreamError>> {
        let Some(first) = candidates.first() else {
            return Ok(None);
        };
        let record_of = |candidate: &Candidate| -> Option<RecordRef<'_>> {
            let cursor = self.slots[candidate.slot].as_ref()?;
            Some(cursor.loaded.as_ref()?.block.get(candidate.position))
        };
        // Candidates of one object stand in the order of the object, and the first of them counts.
        let by_age = |candidate: &&Candidate| (candidate.last_modified, candidate.index);
        let chosen = match self.options.on_conflict {
            OnConflict::Fail => first,
            OnConflict::First => candidates.iter().min_by_key(by_age).unwrap_or(first),
            // The last of equal ones is what `max_by_key` gives; in reverse order that is the first.
            OnConflict::Newest => candidates.iter().rev().max_by_key(by_age).unwrap_or(first),
        };
        let Some(record) = record_of(chosen) else {
            return Ok(None);
        };
        let mut equal = 0;
        let mut different = None;
        let mut differing = 0;
        for candidate in candidates {
            match record_of(candidate) {
                Some(other) if !other.same_content(&record) => {
                    differing += 1;
                    different.get_or_insert((candidate, other));
                }
                _ => equal += 1,
            }
        }
        if let Some((candidate, other)) = different {
            let key = |candidate: &Candidate| self.objects.get(candidate.index).key.into_owned();
            if self.options.on_conflict == OnConflict::Fail {
                let conflict = Conflict {
                    offset: record.offset,
                    one: ConflictingRecord::new(&key(chosen), chosen.last_modified, &record),
                    other: ConflictingRecord::new(&key(candidate), candidate.last_modified, &other),
                };
                let object = conflict.one.object.clone();
                let kind = StreamErrorKind::Conflict(Box::new(conflict));
                return Err(Box::new(StreamError::new(&self.partition, &object, kind)));
            }
            let suspicion = Suspicion::Conflict {
                offset: record.offset,
                one: key(chosen),
                other: key(candidate),
            };
            self.statistics.suspicions.add(|| suspicion);
            self.statistics.conflicts += 1;
            self.statistics.conflicting_records += differing;
        }
        self.statistics.duplicates += equal - 1;
        Ok(Some(*chosen))
    }
}
