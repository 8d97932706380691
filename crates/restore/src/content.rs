//! How a topic's objects are to be read, where nobody said: told from several of them together, once, before
//! anything is restored.
//!
//! One object alone may look like something else (a few strings that happen to be base64), and a topic must not be
//! read one way here and another way there. What was told from the content is in words for the plan and the report;
//! an object that contradicts it later is an error of that object.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup::format::{Decoding, Field, Format, Notes, ObjectDecoder, ObjectHints, Samples, Status};
use backup::inventory::{ObjectEntry, PartitionObjects, TopicInventory};
use backup::stream::StreamContext;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use record::{NO_TIMESTAMP, RecordBlock};
use serde::Serialize;

use crate::error::RestoreError;
use crate::job::Source;

/// Objects of a topic that are looked at, all at the same time.
const OBJECTS: usize = 12;

/// Topics that are looked at at the same time.
const TOPICS: usize = 4;

/// Stored bytes of each that are looked at.
const HEAD_BYTES: u64 = 128 << 10;

/// Records of this size are accepted whatever the memory.
const LEAST_LARGEST_RECORD: usize = 16 << 20;

/// Records of each that are looked at.
const HEAD_RECORDS: usize = 1000;

/// How a topic's objects are read.
#[derive(Clone, Debug, Serialize)]
pub struct TopicContent {
    /// The formats found, with the number of objects of each among those that were looked at.
    pub formats: Vec<(Format, u64)>,
    /// What was told from the content rather than said, in words.
    pub guesses: Vec<String>,
    /// True where no record of those that were looked at has a timestamp.
    pub lacks_timestamps: bool,
    /// How to read.
    #[serde(skip)]
    pub decoding: Arc<Decoding>,
}

/// As [`resolve`], for all `topics`, in their order: far stores are slow, and topics may be many.
pub(crate) async fn resolve_all(
    source: &Source,
    context: &StreamContext,
    topics: impl Iterator<Item = &TopicInventory>,
) -> Result<Vec<TopicContent>, RestoreError> {
    // Futures of the same kind, made before they are polled: a closure that makes them on the way is none for all lifetimes.
    let looks: Vec<_> = topics.map(|topic| resolve(source, context, topic)).collect();
    stream::iter(looks).buffered(TOPICS).try_collect().await
}

/// Looks at the beginnings of a few objects of `topic`.
pub(crate) async fn resolve(
    source: &Source,
    context: &StreamContext,
    topic: &TopicInventory,
) -> Result<TopicContent, RestoreError> {
    let looks = stream::iter(choose(topic)).map(|object| look(source, context, object));
    let (notes, timeless): (Vec<Notes>, Vec<Option<bool>>) = looks.buffered(OBJECTS).unzip().await;
    let mut decoding = source.decoding.clone();
    decoding.max_record_bytes = largest_record(decoding.max_record_bytes, context.budget.total());
    let timeless: Vec<bool> = timeless.into_iter().flatten().collect();
    let mut content = TopicContent {
        formats: Vec::new(),
        guesses: Vec::new(),
        lacks_timestamps: !timeless.is_empty() && timeless.into_iter().all(|timeless| timeless),
        decoding: Arc::default(),
    };
    for format in notes.iter().filter_map(|notes| notes.format) {
        match content.formats.iter_mut().find(|(known, _)| *known == format) {
            Some((_, objects)) => *objects += 1,
            None => content.formats.push((format, 1)),
        }
    }
    settle_fields(&notes, &mut decoding, &mut content.guesses);
    settle_interpretations(&notes, &mut decoding, &mut content.guesses);
    content.decoding = Arc::new(decoding);
    Ok(content)
}

/// The largest record that is accepted where memory is short: a compressed object can claim any size.
pub fn largest_record(wanted: usize, memory: usize) -> usize {
    wanted.min((memory / 2).max(LEAST_LARGEST_RECORD))
}

/// csv: the fields, where all objects that were looked at have the same.
fn settle_fields(notes: &[Notes], decoding: &mut Decoding, words: &mut Vec<String>) {
    let mut guesses = notes.iter().filter_map(|notes| notes.guess.as_ref());
    let Some(first) = guesses.next() else { return };
    if guesses.all(|guess| guess.fields == first.fields) {
        words.push(first.words.clone());
        decoding.fields = Some(first.fields.clone());
    } else {
        words.push(
            "the fields differ from object to object and are told for each from its content".to_owned(),
        );
    }
}

/// json, jsonl: what keys, values and header values are, from all objects that were looked at together.
fn settle_interpretations(notes: &[Notes], decoding: &mut Decoding, words: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, (Field, Samples)> = BTreeMap::new();
    for guess in notes.iter().flat_map(|notes| &notes.interpretations) {
        let name = match guess.field {
            Field::Key => "keys",
            Field::Headers => "header values",
            _ => "values",
        };
        seen.entry(name)
            .or_insert((guess.field, Samples::default()))
            .1
            .merge(&guess.samples);
    }
    for (name, (field, samples)) in seen {
        let (interpretation, why) = samples.interpretation();
        words.push(format!(
            "{name} are taken as {}: {why}",
            interpretation_name(interpretation)
        ));
        let settled = match field {
            Field::Key => &mut decoding.key_as,
            Field::Headers => &mut decoding.header_as,
            _ => &mut decoding.value_as,
        };
        settled.get_or_insert(interpretation);
    }
}

/// The name on the command line.
fn interpretation_name(interpretation: backup::format::Interpretation) -> String {
    serde_json::to_value(interpretation)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_else(|| format!("{interpretation:?}"))
}

/// First, last and middle objects of the partitions, the largest partitions first.
fn choose(topic: &TopicInventory) -> Vec<ObjectEntry<'_>> {
    let mut partitions: Vec<&Arc<PartitionObjects>> = topic.partitions.values().collect();
    partitions.sort_by_key(|objects| std::cmp::Reverse(objects.bytes()));
    let mut chosen = Vec::new();
    for objects in partitions {
        let mut indexes = vec![0, objects.len() / 2, objects.len().saturating_sub(1)];
        indexes.dedup();
        for index in indexes {
            if index < objects.len() && chosen.len() < OBJECTS {
                chosen.push(objects.get(index));
            }
        }
    }
    chosen
}

/// What the beginning of one object shows, and whether all its records are without a timestamp. Where it cannot be read,
/// nothing: the restore says why when it gets there.
async fn look(source: &Source, context: &StreamContext, object: ObjectEntry<'_>) -> (Notes, Option<bool>) {
    let Ok(mut body) = source.store.get(&object.key, Some(0..HEAD_BYTES), None).await else {
        return (Notes::default(), None);
    };
    let mut head = Vec::new();
    while let Some(Ok(chunk)) = body.chunks.next().await {
        head.extend_from_slice(&chunk);
    }
    let whole = object.size <= HEAD_BYTES;
    let hints = ObjectHints {
        key: object.key.to_string(),
        // Names without one are of objects that are read each for itself.
        start_offset: object.start_offset.or(Some(0)),
        ..ObjectHints::default()
    };
    let mut decoder = ObjectDecoder::new(Arc::new(source.decoding.clone()), hints);
    let read = move || {
        decoder.push(Bytes::from(head));
        if whole {
            decoder.end_of_input();
        }
        let (mut block, mut records, mut timeless) = (RecordBlock::new(), 0, None);
        while records < HEAD_RECORDS {
            block.clear();
            let status = decoder.decode(&mut block, HEAD_BYTES as usize);
            for record in block.iter() {
                let without = record.timestamp == NO_TIMESTAMP;
                timeless = Some(timeless.unwrap_or(true) && without);
            }
            match status {
                Ok(Status::BlockReady) => records += block.len(),
                Ok(_) | Err(_) => break,
            }
        }
        (decoder.notes(), timeless)
    };
    context.cpu.run(read).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use backup::format::Interpretation;

    use super::*;

    fn notes(field: Field, texts: &[&str]) -> Notes {
        let mut samples = Samples::default();
        texts.iter().for_each(|text| samples.add(text));
        let (interpretation, words) = samples.interpretation();
        let guess = backup::format::InterpretationGuess {
            field,
            interpretation,
            words,
            samples,
        };
        Notes {
            interpretations: vec![guess],
            ..Notes::default()
        }
    }

    #[test]
    fn one_object_that_looks_like_base64_does_not_decide_for_the_topic() {
        let objects = [
            notes(Field::Value, &["\"abcd\""]),
            notes(Field::Value, &["\"hello\"", "\"abcd\""]),
        ];
        let (mut decoding, mut words) = (Decoding::default(), Vec::new());
        settle_interpretations(&objects, &mut decoding, &mut words);
        assert_eq!(decoding.value_as, Some(Interpretation::String));
        assert_eq!(
            words,
            ["values are taken as string: 1 of 3 strings seen are not base64"]
        );
    }

    #[test]
    fn what_was_said_is_not_overruled() {
        let objects = [notes(Field::Key, &["\"hello\""])];
        let mut decoding = Decoding {
            key_as: Some(Interpretation::Bytes),
            ..Decoding::default()
        };
        settle_interpretations(&objects, &mut decoding, &mut Vec::new());
        assert_eq!(decoding.key_as, Some(Interpretation::Bytes));
    }
}
