//! Avro's binary encoding: a cursor over a block's bytes, and any value as bytes or as JSON text.
//!
//! Nothing is allocated by a length from the input, and recursion, steps and output are bounded: a schema may
//! describe endless values that take no bytes at all.
//! Source: "Binary Encoding" of the Apache Avro specification, version 1.12.

use super::schema::{Node, NodeId, Schema};
use crate::format::Interpretation;
use crate::format::typed::{Scalar, json_string};

/// How deep a value may be nested.
const MAX_DEPTH: usize = 100;

/// Why a value cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The bytes end inside it.
    End,
    /// Its encoding is wrong, so where the next one starts cannot be known.
    Encoding(String),
    /// It was read to its end and is not what it should be.
    Value(String),
}

fn encoding<T>(reason: &str) -> Result<T, Bad> {
    Err(Bad::Encoding(reason.to_owned()))
}

/// Reads from the front of a block's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Bad> {
        let byte = *self.data.get(self.at).ok_or(Bad::End)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Bad> {
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.data.len())
            .ok_or(Bad::End)?;
        let taken = &self.data[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// An `int` or a `long`: zig-zag, seven bits a byte.
    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Bad> {
        let first = self.byte()?;
        let mut number = u64::from(first & 0x7f);
        if first >= 0x80 {
            number = self.long_rest(number)?;
        }
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn long_rest(&mut self, first: u64) -> Result<u64, Bad> {
        let mut number = first;
        for shift in (7..=63).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return encoding("a number has more than 64 bits");
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        encoding("a number has more than 64 bits")
    }

    /// `bytes` or a `string`.
    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        match usize::try_from(self.long()?) {
            Ok(length) => self.take(length),
            Err(_) => encoding("a length is negative"),
        }
    }

    /// The number of items in the next block of an array or a map; 0 at its end.
    pub(super) fn items(&mut self) -> Result<u64, Bad> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes follows, for readers that skip it.
            if self.long()? < 0 {
                return encoding("a block's size is negative");
            }
        }
        Ok(count.unsigned_abs())
    }

    /// The number of a union's branch, of so many.
    #[inline]
    pub(super) fn branch(&mut self, branches: usize) -> Result<usize, Bad> {
        match usize::try_from(self.long()?) {
            Ok(branch) if branch < branches => Ok(branch),
            _ => encoding("a union has no branch of the number given"),
        }
    }
}

/// How many values may still be read, and how long one's text may become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) steps: u64,
    pub(super) text: usize,
}

/// What a value was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Null,
    /// Its own bytes.
    Plain,
    /// JSON text: equivalent, not identical.
    Json,
}

/// Reads the value of type `id` and appends it to `out`: plain where its type and `interpretation` allow it,
/// otherwise as JSON text. A null appends nothing.
pub(super) fn write(
    schema: &Schema,
    id: NodeId,
    interpretation: Option<Interpretation>,
    cursor: &mut Cursor<'_>,
    limits: &mut Limits,
    out: &mut Vec<u8>,
) -> Result<Written, Bad> {
    let mut id = id;
    let mut nested = 0;
    while let Node::Union(branches) = schema.node(id) {
        id = branches[cursor.branch(branches.len())?];
        nested += 1;
        if nested > MAX_DEPTH {
            return encoding("unions are nested without end");
        }
    }
    if *schema.node(id) == Node::Null {
        return Ok(Written::Null);
    }
    let start = out.len();
    if let Some(scalar) = scalar(schema.node(id), cursor)? {
        match scalar.plain(interpretation, out) {
            Ok(true) => return Ok(Written::Plain),
            Ok(false) => {
                scalar.json(out).map_err(Bad::Value)?;
                return Ok(Written::Json);
            }
            Err(reason) => return Err(Bad::Value(reason)),
        }
    }
    if let Node::Enum(symbols) = schema.node(id) {
        let symbol = symbols[cursor.branch(symbols.len())?].as_bytes();
        let scalar = Scalar::String(symbol);
        return match scalar.plain(interpretation, out) {
            Ok(true) => Ok(Written::Plain),
            Ok(false) => scalar.json(out).map(|()| Written::Json).map_err(Bad::Value),
            Err(reason) => Err(Bad::Value(reason)),
        };
    }
    let mut text = Text {
        schema,
        limits,
        start,
        out,
        invalid: false,
    };
    text.value(id, cursor, 0)?;
    if text.invalid {
        return Err(Bad::Value("holds a string that is not UTF-8".into()));
    }
    Ok(Written::Json)
}

/// The value of a type without parts; nothing (and nothing read) for others.
fn scalar<'a>(node: &Node, cursor: &mut Cursor<'a>) -> Result<Option<Scalar<'a>>, Bad> {
    Ok(Some(match node {
        Node::Boolean => match cursor.byte()? {
            0 => Scalar::Boolean(false),
            1 => Scalar::Boolean(true),
            _ => return encoding("a boolean is neither 0 nor 1"),
        },
        Node::Int => {
            let number = cursor.long()?;
            if i32::try_from(number).is_err() {
                return encoding("an int has more than 32 bits");
            }
            Scalar::Integer(number)
        }
        Node::Long => Scalar::Integer(cursor.long()?),
        Node::Float => match cursor.take(4)?.first_chunk() {
            Some(bytes) => Scalar::Float(f32::from_le_bytes(*bytes)),
            None => return Err(Bad::End),
        },
        Node::Double => match cursor.take(8)?.first_chunk() {
            Some(bytes) => Scalar::Double(f64::from_le_bytes(*bytes)),
            None => return Err(Bad::End),
        },
        Node::Bytes => Scalar::Bytes(cursor.bytes()?),
        Node::String => Scalar::String(cursor.bytes()?),
        Node::Fixed(size) => Scalar::Bytes(cursor.take(*size)?),
        _ => return Ok(None),
    }))
}

/// Writes values as JSON text.
struct Text<'a> {
    schema: &'a Schema,
    limits: &'a mut Limits,
    start: usize,
    out: &'a mut Vec<u8>,
    /// True where a string was not UTF-8; reading goes on, to know where the value ends.
    invalid: bool,
}

impl Text<'_> {
    fn value(&mut self, id: NodeId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Bad> {
        if depth > MAX_DEPTH {
            return encoding("a value is nested too deep");
        }
        self.step()?;
        let schema = self.schema;
        let node = schema.node(id);
        if let Some(scalar) = scalar(node, cursor)? {
            self.invalid |= scalar.json(self.out).is_err();
            return Ok(());
        }
        match node {
            Node::Union(branches) => {
                let branch = branches[cursor.branch(branches.len())?];
                self.value(branch, cursor, depth + 1)?;
            }
            Node::Enum(symbols) => {
                let symbol = &symbols[cursor.branch(symbols.len())?];
                self.invalid |= json_string(symbol.as_bytes(), self.out).is_err();
            }
            Node::Array(items) => {
                self.out.push(b'[');
                self.items(cursor, |text, cursor| text.value(*items, cursor, depth + 1))?;
                self.out.push(b']');
            }
            Node::Map(values) => {
                self.out.push(b'{');
                self.items(cursor, |text, cursor| {
                    text.invalid |= json_string(cursor.bytes()?, text.out).is_err();
                    text.out.push(b':');
                    text.value(*values, cursor, depth + 1)
                })?;
                self.out.push(b'}');
            }
            Node::Record(record) => {
                let (open, close) = if record.map_entry {
                    (b'[', b']')
                } else {
                    (b'{', b'}')
                };
                self.out.push(open);
                for (place, (name, field)) in record.fields.iter().enumerate() {
                    if place > 0 {
                        self.out.push(b',');
                    }
                    if !record.map_entry {
                        self.invalid |= json_string(name.as_bytes(), self.out).is_err();
                        self.out.push(b':');
                    }
                    self.value(*field, cursor, depth + 1)?;
                }
                self.out.push(close);
            }
            // Null; the others are scalars.
            _ => self.out.extend_from_slice(b"null"),
        }
        Ok(())
    }

    fn items(
        &mut self,
        cursor: &mut Cursor<'_>,
        mut item: impl FnMut(&mut Self, &mut Cursor<'_>) -> Result<(), Bad>,
    ) -> Result<(), Bad> {
        let mut first = true;
        loop {
            let count = cursor.items()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                if !first {
                    self.out.push(b',');
                }
                first = false;
                item(self, cursor)?;
            }
        }
    }

    fn step(&mut self) -> Result<(), Bad> {
        let Some(steps) = self.limits.steps.checked_sub(1) else {
            return encoding("the values of this block are more than its bytes can hold");
        };
        self.limits.steps = steps;
        if self.out.len() - self.start > self.limits.text {
            return Err(Bad::Encoding(format!(
                "as JSON text it is longer than {} bytes, the largest record that is accepted",
                self.limits.text
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &str, data: &[u8]) -> Result<String, Bad> {
        let schema = Schema::parse(schema.as_bytes()).unwrap();
        let mut out = Vec::new();
        let mut limits = Limits {
            steps: 1000,
            text: 10_000,
        };
        let mut cursor = Cursor::new(data, 0);
        let json = Some(Interpretation::Json);
        let written = write(&schema, schema.root(), json, &mut cursor, &mut limits, &mut out)?;
        assert_eq!(cursor.position(), data.len());
        Ok(match written {
            Written::Null => "nothing".into(),
            _ => String::from_utf8(out).unwrap(),
        })
    }

    #[test]
    fn numbers_of_every_length() {
        for number in [
            0,
            -1,
            1,
            63,
            -64,
            64,
            8191,
            i64::from(i32::MAX),
            i64::MAX,
            i64::MIN,
        ] {
            let mut zigzag = ((number << 1) ^ (number >> 63)) as u64;
            let mut bytes = Vec::new();
            while zigzag >= 0x80 {
                bytes.push(zigzag as u8 | 0x80);
                zigzag >>= 7;
            }
            bytes.push(zigzag as u8);
            assert_eq!(Cursor::new(&bytes, 0).long(), Ok(number));
            assert_eq!(Cursor::new(&bytes[..bytes.len() - 1], 0).long(), Err(Bad::End));
        }
        assert!(matches!(
            Cursor::new(&[0xff; 11], 0).long(),
            Err(Bad::Encoding(_))
        ));
    }

    #[test]
    fn values_as_connect_writes_them() {
        let map = r#"{"type":"map","values":["null","int"]}"#;
        assert_eq!(
            text(map, &[2, 2, b'a', 2, 6, 2, 2, b'b', 0, 0]).unwrap(),
            r#"{"a":3,"b":null}"#
        );
        // Blocks with their sizes.
        let array = r#"{"type":"array","items":"long"}"#;
        assert_eq!(text(array, &[3, 4, 2, 4, 1, 2, 6, 0]).unwrap(), "[1,2,3]");
        let entries = r#"{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro",
            "connect.internal.type":"MapEntry","fields":[{"name":"key","type":"int"},{"name":"value","type":"string"}]}}"#;
        assert_eq!(text(entries, &[2, 2, 2, b'x', 0]).unwrap(), r#"[[1,"x"]]"#);
        let fixed = r#"{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4}"#;
        assert_eq!(text(fixed, &[0x30, 0x39]).unwrap(), "\"MDk=\"");
        assert_eq!(text(r#"["null","string"]"#, &[0]).unwrap(), "nothing");
    }

    #[test]
    fn endless_values_come_to_an_end() {
        let itself = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
        assert!(matches!(text(itself, &[]), Err(Bad::Encoding(_))));
        let nulls = r#"{"type":"array","items":"null"}"#;
        assert!(matches!(
            text(nulls, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Err(Bad::Encoding(_))
        ));
        let mut doubling = r#""null""#.to_owned();
        for depth in 0..25 {
            doubling = format!(
                r#"{{"type":"record","name":"R{depth}","fields":[{{"name":"a","type":{doubling}}},{{"name":"b","type":"R{}"}}]}}"#,
                if depth == 0 { "x".to_owned() } else { (depth - 1).to_string() }
            )
            .replace("\"Rx\"", "\"null\"");
        }
        let schema = Schema::parse(doubling.as_bytes());
        if let Ok(schema) = schema {
            let mut limits = Limits {
                steps: 1000,
                text: 1000,
            };
            let result = write(
                &schema,
                schema.root(),
                None,
                &mut Cursor::new(&[], 0),
                &mut limits,
                &mut Vec::new(),
            );
            assert!(matches!(result, Err(Bad::Encoding(_))));
        } else {
            panic!("a schema of 25 levels is read: {schema:?}");
        }
    }
}
