//! One JSON value -> one record: the envelope of Aiven's json and jsonl formats, or a bare field.
//!
//! The text is walked once by `serde_json`, which finds the spans of the fields without copying; what is in
//! them becomes bytes in [`super::text`]. The order of the fields means nothing (Java writes them in hash
//! order). A name that comes twice counts with its last value, as in Jackson, and is counted. An unknown name
//! is an error: it means that the object is not an envelope.

use std::cell::Cell;
use std::fmt;

use record::{NO_TIMESTAMP, RecordWriter};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::scan::{self, HeaderSpans};
use super::text::{describe, string_inside, unescape, write};
use crate::format::csv::fields::{MAX_HEADERS, name, number};
use crate::format::{Field, Interpretation, Notes, instant};

/// How the parts of a record become bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interpretations {
    pub(super) key: Interpretation,
    pub(super) value: Interpretation,
    pub(super) header: Interpretation,
}

/// The raw text of each field of an envelope.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) value: Option<&'a str>,
    pub(super) offset: Option<&'a str>,
    pub(super) timestamp: Option<&'a str>,
    pub(super) headers: Option<&'a str>,
    duplicates: u64,
}

/// Why a line is no record.
pub(super) struct Refused {
    /// Where, in bytes from the start of the text, where that is known.
    pub(super) at: usize,
    pub(super) reason: String,
    /// True where the text only stops early.
    pub(super) cut: bool,
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self {
            at: 0,
            reason,
            cut: false,
        }
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // The library counts lines and columns of this text alone; the caller knows better.
        let reason = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(reason, _)| reason);
        Self {
            at: error.column().saturating_sub(1),
            reason: format!("not the JSON of a record: {reason}"),
            cut: error.is_eof(),
        }
    }
}

/// The fields of the envelope that `line` is.
pub(super) fn envelope(line: &str) -> Result<Envelope<'_>, Refused> {
    Ok(serde_json::from_str(line)?)
}

/// Adds the spans in `line` of each header in `raw`, which is a part of `line`. Gives the number of names that
/// came twice in one header.
pub(super) fn header_spans(line: &str, raw: &str, spans: &mut Vec<HeaderSpans>) -> Result<u64, Refused> {
    let mut duplicates = 0;
    let Headers(headers) = serde_json::from_str(raw)
        .map_err(|error| Refused::from(format!("the headers are no list of key and value pairs: {error}")))?;
    // The parts are borrowed from `line`, so the distance of their addresses is their place in it.
    let span_of = |part: &str| {
        let start = part.as_ptr() as usize - line.as_ptr() as usize;
        (start, start + part.len())
    };
    for header in headers {
        duplicates += header.duplicates;
        let Some(name) = header.key.and_then(string_inside) else {
            return Err("a header has no name".to_owned().into());
        };
        spans.push(HeaderSpans {
            name: span_of(name),
            value: span_of(header.value.unwrap_or(&line[..0])),
        });
    }
    Ok(duplicates)
}

/// What a line is read with.
pub(super) struct Reader {
    pub(super) interpretations: Interpretations,
    /// The field that a line is, where there is no envelope.
    pub(super) bare: Option<Field>,
    pub(super) notes: Notes,
    pub(super) scratch: Vec<u8>,
    pub(super) headers: Vec<HeaderSpans>,
}

impl Reader {
    /// Reads one line and puts its record into the block. `offset` is what the record has where the line does not say.
    pub(super) fn record(
        &mut self,
        text: &[u8],
        offset: Option<i64>,
        mut writer: RecordWriter<'_>,
    ) -> Result<(), Refused> {
        let line = std::str::from_utf8(text).map_err(|error| Refused {
            at: error.valid_up_to(),
            reason: "not UTF-8, as all JSON is".into(),
            cut: error.error_len().is_none(),
        })?;
        let mut headers = std::mem::take(&mut self.headers);
        let result = self
            .fields(line, &mut headers)
            .and_then(|fields| self.write(line, &fields, &headers, offset, &mut writer));
        self.headers = headers;
        result?;
        writer.finish();
        Ok(())
    }

    /// Finds the fields of a line, and the spans of its headers.
    fn fields<'a>(&mut self, line: &'a str, headers: &mut Vec<HeaderSpans>) -> Result<Envelope<'a>, Refused> {
        if self.bare.is_none()
            && let Some(fields) = scan::envelope(line, headers)
        {
            return Ok(fields);
        }
        headers.clear();
        let fields = match self.bare {
            None => envelope(line)?,
            Some(field) => {
                let raw: &RawValue = serde_json::from_str(line)?;
                let mut fields = Envelope::default();
                *fields.of(field) = Some(raw.get());
                fields
            }
        };
        if let Some(raw) = not_null(fields.headers) {
            self.notes.duplicate_names += header_spans(line, raw, headers)?;
        }
        Ok(fields)
    }

    fn write(
        &mut self,
        line: &str,
        fields: &Envelope<'_>,
        headers: &[HeaderSpans],
        offset: Option<i64>,
        writer: &mut RecordWriter<'_>,
    ) -> Result<(), Refused> {
        self.notes.duplicate_names += fields.duplicates;
        match fields.offset {
            Some(raw) => match number(raw.as_bytes()).filter(|offset| *offset >= 0) {
                Some(offset) => writer.offset(offset),
                None => return Err(format!("the offset is no whole number: {}", describe(raw)).into()),
            },
            None => {
                self.notes.numbered = true;
                match offset {
                    Some(offset) => writer.offset(offset),
                    None => {
                        return Err(
                            "the record has no offset, and the object's name gives no start offset: \
                                    its offset cannot be known"
                                .to_owned()
                                .into(),
                        );
                    }
                }
            }
        }
        let timestamp = match fields.timestamp {
            None | Some("null") => NO_TIMESTAMP,
            Some(raw) => string_inside(raw)
                .and_then(|inside| instant::milliseconds(inside.as_bytes()))
                .ok_or_else(|| {
                    let shown: String = raw.chars().take(60).collect();
                    format!("the timestamp is no instant as Java writes it: {shown}")
                })?,
        };
        writer.timestamp(timestamp);
        if let Some(raw) = not_null(fields.key) {
            let interpretation = self.interpretations.key;
            self.count(interpretation);
            let (scratch, lone) = (&mut self.scratch, &mut self.notes.lone_surrogates);
            writer
                .key_with(|out| write(raw, interpretation, scratch, out).map(|count| *lone += count))
                .map_err(|reason| format!("the key {reason}"))?;
        }
        if let Some(raw) = not_null(fields.value) {
            let interpretation = self.interpretations.value;
            self.count(interpretation);
            let (scratch, lone) = (&mut self.scratch, &mut self.notes.lone_surrogates);
            writer
                .value_with(|out| write(raw, interpretation, scratch, out).map(|count| *lone += count))
                .map_err(|reason| format!("the value {reason}"))?;
        }
        for spans in headers {
            let name = &line[spans.name.0..spans.name.1];
            let raw = &line[spans.value.0..spans.value.1];
            // SimpleHeaderConverter took texts for numbers, truth values, lists: JSON text is the nearest there is.
            let interpretation = match self.interpretations.header {
                Interpretation::String if !raw.starts_with('"') => Interpretation::Json,
                interpretation => interpretation,
            };
            let value = Some(raw).filter(|raw| !matches!(*raw, "" | "null"));
            if value.is_some() {
                self.count(interpretation);
            }
            let lone = Cell::new(0);
            let add = |count| lone.set(lone.get() + count);
            let scratch = &mut self.scratch;
            writer
                .header_with(
                    |out| unescape(name, out).map(add),
                    value.map(|raw| {
                        |out: &mut Vec<u8>| {
                            write(raw, interpretation, scratch, out)
                                .map(add)
                                .map_err(|reason| format!("the value of the header \"{name}\" {reason}"))
                        }
                    }),
                )
                .map_err(Refused::from)?;
            self.notes.lone_surrogates += lone.get();
        }
        Ok(())
    }

    fn count(&mut self, interpretation: Interpretation) {
        self.notes.json_texts += u64::from(interpretation == Interpretation::Json);
    }
}

pub(super) fn not_null(raw: Option<&str>) -> Option<&str> {
    raw.filter(|raw| *raw != "null")
}

impl<'a> Envelope<'a> {
    pub(super) fn of(&mut self, field: Field) -> &mut Option<&'a str> {
        match field {
            Field::Key => &mut self.key,
            Field::Value => &mut self.value,
            Field::Offset => &mut self.offset,
            Field::Timestamp => &mut self.timestamp,
            Field::Headers => &mut self.headers,
        }
    }
}

/// The name of a field of an envelope.
struct Name(Field);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                use Field::{Headers, Key, Offset, Timestamp, Value};
                [Headers, Offset, Value, Key, Timestamp]
                    .into_iter()
                    .find(|field| name(*field) == text)
                    .map(Name)
                    .ok_or_else(|| {
                        let shown: String = text.chars().take(60).collect();
                        E::custom(format!(
                            "an envelope has no field \"{shown}\" (is each line a bare value, format.output.envelope=false?)"
                        ))
                    })
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the fields of a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(Name(field)) = map.next_key()? {
                    let raw: &'de RawValue = map.next_value()?;
                    if envelope.of(field).replace(raw.get()).is_some() {
                        envelope.duplicates += 1;
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// The headers of a record, each as an envelope that has a key and a value.
pub(super) struct Headers<'a>(pub(super) Vec<Envelope<'a>>);

impl<'de> Deserialize<'de> for Headers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadersVisitor;
        impl<'de> Visitor<'de> for HeadersVisitor {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of headers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Headers<'de>, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = list.next_element::<Envelope<'de>>()? {
                    if header.offset.is_some() || header.timestamp.is_some() || header.headers.is_some() {
                        return Err(A::Error::custom("a header has a field other than key and value"));
                    }
                    if headers.len() == MAX_HEADERS {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        return Err(A::Error::custom(format!(
                            "there are more than {MAX_HEADERS} headers"
                        )));
                    }
                    headers.push(header);
                }
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_seq(HeadersVisitor)
    }
}
