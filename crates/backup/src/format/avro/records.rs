//! The rows of a file, as records: which part of a row is what, found once from the schema.

use record::{NO_TIMESTAMP, RecordBlock, RecordWriter};

use super::datum::{Bad, Cursor, Limits, Written, write};
use super::schema::{Node, NodeId, Schema};
use crate::format::csv::fields::{MAX_HEADERS, name};
use crate::format::typed::{Shape, shape};
use crate::format::{Decoding, Field, Interpretation, Notes};

/// How rows become records.
pub(super) struct Records {
    schema: Schema,
    columns: Vec<Column>,
    interpretations: [Option<Interpretation>; 3],
    has_offset: bool,
}

/// How a part of a row is read.
#[derive(Clone, Copy, Debug)]
enum Column {
    Key(Kind),
    Value(Kind),
    Offset(Number),
    Timestamp(Number),
    /// A map of headers, or null where the number of the null branch of a union says so.
    Headers {
        null: Option<usize>,
        kind: Kind,
    },
    /// The file's first record had no headers, and then the sink has no type for them.
    NoHeaders,
}

/// How bytes are read.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `bytes` or `string`.
    Plain,
    /// The same, or null: a union with the null branch of that number.
    Optional(usize),
    /// Anything.
    Any(NodeId),
}

/// How a number is read: a `long` or `int`, or a union of it and null, with the number of the null branch.
#[derive(Clone, Copy, Debug)]
struct Number {
    null: Option<usize>,
}

impl Records {
    /// Finds out what rows of the schema are.
    pub(super) fn new(schema: Schema, decoding: &Decoding, notes: &mut Notes) -> Result<Self, String> {
        let root = schema.root();
        let interpretations = [decoding.key_as, decoding.value_as, decoding.header_as];
        let [key, value, header] = interpretations;
        let shape = match schema.node(root) {
            Node::Record(record) => {
                let columns = record.fields.iter().map(|(name, _)| name.as_str());
                shape(&record.name, columns, decoding)
            }
            _ => shape("", std::iter::empty(), decoding),
        };
        let mut has_offset = false;
        let columns = match (&shape, schema.node(root)) {
            (Shape::Envelope(fields), Node::Record(record)) => {
                let mut columns = Vec::new();
                for (field, (_, id)) in fields.iter().zip(&record.fields) {
                    has_offset |= *field == Field::Offset;
                    columns.push(match field {
                        Field::Key => Column::Key(kind(&schema, *id, key)),
                        Field::Value => Column::Value(kind(&schema, *id, value)),
                        Field::Offset => Column::Offset(number(&schema, *id, *field)?),
                        Field::Timestamp => Column::Timestamp(number(&schema, *id, *field)?),
                        Field::Headers => headers(&schema, *id, header)?,
                    });
                }
                columns
            }
            (Shape::Bare(Field::Key), _) => vec![Column::Key(kind(&schema, root, key))],
            _ => vec![Column::Value(kind(&schema, root, value))],
        };
        notes.numbered = !has_offset;
        let with_headers = columns
            .iter()
            .any(|column| matches!(column, Column::Headers { .. }));
        let asked = decoding
            .fields
            .as_ref()
            .is_some_and(|fields| fields.contains(&Field::Headers));
        let null = columns.iter().any(|column| matches!(column, Column::NoHeaders));
        notes.headers_absent = !with_headers && (null || asked);
        Ok(Self {
            schema,
            columns,
            interpretations,
            has_offset,
        })
    }

    /// Appends the row at the cursor. `offset` is the record's where the row does not say.
    pub(super) fn record(
        &self,
        cursor: &mut Cursor<'_>,
        offset: Option<i64>,
        limits: &mut Limits,
        notes: &mut Notes,
        block: &mut RecordBlock,
    ) -> Result<(), Bad> {
        let mut writer = block.append(offset.unwrap_or(0), NO_TIMESTAMP);
        // What is wrong with a value must not keep the cursor from the row's end.
        let mut wrong = None;
        if !self.has_offset && offset.is_none() {
            wrong = Some(
                "the record has no offset, and the object's name gives no start offset: its offset cannot be known"
                    .to_owned(),
            );
        }
        for column in &self.columns {
            let result = match *column {
                Column::Key(Kind::Plain) => {
                    writer.key(cursor.bytes()?);
                    Ok(())
                }
                Column::Value(Kind::Plain) => {
                    writer.value(cursor.bytes()?);
                    Ok(())
                }
                Column::Key(Kind::Optional(null)) => {
                    if cursor.branch(2)? != null {
                        writer.key(cursor.bytes()?);
                    }
                    Ok(())
                }
                Column::Value(Kind::Optional(null)) => {
                    if cursor.branch(2)? != null {
                        writer.value(cursor.bytes()?);
                    }
                    Ok(())
                }
                Column::Key(Kind::Any(id)) => self.any(id, Field::Key, cursor, limits, notes, &mut writer),
                Column::Value(Kind::Any(id)) => {
                    self.any(id, Field::Value, cursor, limits, notes, &mut writer)
                }
                Column::Offset(number) => match number.read(cursor)? {
                    Some(offset) if offset >= 0 => {
                        writer.offset(offset);
                        Ok(())
                    }
                    Some(offset) => Err(Bad::Value(format!("the offset is negative: {offset}"))),
                    None => Err(Bad::Value("the offset is null".into())),
                },
                Column::Timestamp(number) => {
                    if let Some(timestamp) = number.read(cursor)? {
                        writer.timestamp(timestamp);
                    }
                    Ok(())
                }
                Column::NoHeaders => Ok(()),
                Column::Headers {
                    null: Some(null),
                    kind,
                } => match cursor.branch(2)? == null {
                    true => Ok(()),
                    false => self.headers(kind, cursor, limits, notes, &mut writer),
                },
                Column::Headers { null: None, kind } => {
                    self.headers(kind, cursor, limits, notes, &mut writer)
                }
            };
            match result {
                Ok(()) => {}
                Err(Bad::Value(reason)) => wrong = wrong.or(Some(reason)),
                Err(bad) => return Err(bad),
            }
        }
        match wrong {
            Some(reason) => Err(Bad::Value(reason)),
            None => {
                writer.finish();
                Ok(())
            }
        }
    }

    fn any(
        &self,
        id: NodeId,
        field: Field,
        cursor: &mut Cursor<'_>,
        limits: &mut Limits,
        notes: &mut Notes,
        writer: &mut RecordWriter<'_>,
    ) -> Result<(), Bad> {
        let mut written = Written::Null;
        let is_key = field == Field::Key;
        let interpretation = self.interpretations[usize::from(!is_key)];
        let write = |out: &mut Vec<u8>| {
            written = write(&self.schema, id, interpretation, cursor, limits, out)?;
            Ok(())
        };
        let result = if is_key {
            writer.key_with(write)
        } else {
            writer.value_with(write)
        };
        result.map_err(|bad: Bad| named(bad, || format!("the {}", name(field))))?;
        match (written, is_key) {
            (Written::Null, true) => writer.key_null(),
            (Written::Null, false) => writer.value_null(),
            (Written::Json, _) => notes.json_texts += 1,
            (Written::Plain, _) => {}
        }
        Ok(())
    }

    fn headers(
        &self,
        kind: Kind,
        cursor: &mut Cursor<'_>,
        limits: &mut Limits,
        notes: &mut Notes,
        writer: &mut RecordWriter<'_>,
    ) -> Result<(), Bad> {
        let mut headers = 0;
        let mut wrong = None;
        let mut scratch = Vec::new();
        loop {
            let count = cursor.items()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                headers += 1;
                if headers > MAX_HEADERS {
                    return Err(Bad::Encoding(format!(
                        "the record has more than {MAX_HEADERS} headers"
                    )));
                }
                let header = cursor.bytes()?;
                match kind {
                    Kind::Plain => writer.header(header, Some(cursor.bytes()?)),
                    Kind::Optional(null) => {
                        let value = match cursor.branch(2)? == null {
                            true => None,
                            false => Some(cursor.bytes()?),
                        };
                        writer.header(header, value);
                    }
                    Kind::Any(id) => {
                        scratch.clear();
                        let interpretation = self.interpretations[2];
                        match write(&self.schema, id, interpretation, cursor, limits, &mut scratch) {
                            Ok(Written::Null) => writer.header(header, None),
                            Ok(written) => {
                                notes.json_texts += u64::from(written == Written::Json);
                                writer.header(header, Some(&scratch));
                            }
                            Err(bad) => {
                                let bad = named(bad, || {
                                    format!("the value of the header \"{}\"", header.escape_ascii())
                                });
                                match bad {
                                    Bad::Value(_) => wrong = wrong.or(Some(bad)),
                                    bad => return Err(bad),
                                }
                            }
                        }
                    }
                }
            }
        }
        notes.map_headers += u64::from(headers > 0);
        wrong.map_or(Ok(()), Err)
    }
}

/// Says what the trouble is about.
fn named(bad: Bad, what: impl FnOnce() -> String) -> Bad {
    match bad {
        Bad::End => Bad::End,
        Bad::Encoding(reason) => Bad::Encoding(format!("{} cannot be read: {reason}", what())),
        Bad::Value(reason) => Bad::Value(format!("{} {reason}", what())),
    }
}

impl Number {
    fn read(self, cursor: &mut Cursor<'_>) -> Result<Option<i64>, Bad> {
        if let Some(null) = self.null
            && cursor.branch(2)? == null
        {
            return Ok(None);
        }
        cursor.long().map(Some)
    }
}

/// The number of the null branch of a union of null and one other type, with that type.
fn optional(schema: &Schema, id: NodeId) -> Option<(usize, NodeId)> {
    let Node::Union(branches) = schema.node(id) else {
        return None;
    };
    let &[one, other] = branches.as_slice() else {
        return None;
    };
    match (schema.node(one), schema.node(other)) {
        (Node::Null, _) => Some((0, other)),
        (_, Node::Null) => Some((1, one)),
        _ => None,
    }
}

fn kind(schema: &Schema, id: NodeId, interpretation: Option<Interpretation>) -> Kind {
    let text = interpretation == Some(Interpretation::Json);
    let plain = |id| !text && matches!(schema.node(id), Node::Bytes | Node::String);
    match optional(schema, id) {
        Some((null, inner)) if plain(inner) => Kind::Optional(null),
        None if plain(id) => Kind::Plain,
        _ => Kind::Any(id),
    }
}

fn number(schema: &Schema, id: NodeId, field: Field) -> Result<Number, String> {
    let (null, inner) = match optional(schema, id) {
        Some((null, inner)) => (Some(null), inner),
        None => (None, id),
    };
    match schema.node(inner) {
        Node::Long | Node::Int => Ok(Number { null }),
        _ => Err(format!("the schema's field {} is no whole number", name(field))),
    }
}

fn headers(schema: &Schema, id: NodeId, interpretation: Option<Interpretation>) -> Result<Column, String> {
    let (null, inner) = match optional(schema, id) {
        Some((null, inner)) => (Some(null), inner),
        None => (None, id),
    };
    match schema.node(inner) {
        Node::Map(values) => Ok(Column::Headers {
            null,
            kind: kind(schema, *values, interpretation),
        }),
        Node::Null if null.is_none() => Ok(Column::NoHeaders),
        _ => Err("the schema's field headers is no map".into()),
    }
}
