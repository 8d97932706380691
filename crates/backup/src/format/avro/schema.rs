//! A writer schema, from its JSON to a list of nodes that refer to each other by index.
//!
//! Only what decoding needs is kept: logical types and Connect's own properties do not change the bytes, and
//! Connect's JsonConverter writes the plain value of nearly all of them.
//! Source: "Schema Declaration" and "Names" of the Apache Avro specification, version 1.12.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// The place of a node in its [`Schema`].
pub(in crate::format) type NodeId = usize;

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::format) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// So many bytes.
    Fixed(usize),
    /// The symbols in the order of their numbers.
    Enum(Vec<String>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record(Record),
}

/// A record type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::format) struct Record {
    /// The name without its namespace.
    pub(in crate::format) name: String,
    /// The fields in the order in which they are written.
    pub(in crate::format) fields: Vec<(String, NodeId)>,
    /// True for an entry of a map whose keys are no strings, which Connect's converter writes as an array of
    /// such records.
    pub(in crate::format) map_entry: bool,
}

/// A whole schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::format) struct Schema {
    nodes: Vec<Node>,
    root: NodeId,
}

/// The index of each of the simple types, which stand first in every schema.
const SIMPLE: [(&str, Node); 8] = [
    ("null", Node::Null),
    ("boolean", Node::Boolean),
    ("int", Node::Int),
    ("long", Node::Long),
    ("float", Node::Float),
    ("double", Node::Double),
    ("bytes", Node::Bytes),
    ("string", Node::String),
];

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// Where `text` is no Avro schema, with what is wrong.
    pub(in crate::format) fn parse(text: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let mut compiler = Compiler {
            nodes: SIMPLE.iter().map(|(_, node)| node.clone()).collect(),
            names: HashMap::new(),
        };
        let root = compiler.node(&json, "")?;
        Ok(Self {
            nodes: compiler.nodes,
            root,
        })
    }

    pub(in crate::format) fn root(&self) -> NodeId {
        self.root
    }

    pub(in crate::format) fn node(&self, id: NodeId) -> &Node {
        // Every index comes from the compiler.
        self.nodes.get(id).unwrap_or(&Node::Null)
    }

    /// The type that an optional one is made of: `["null", X]` in either order.
    pub(in crate::format) fn without_null(&self, id: NodeId) -> NodeId {
        if let Node::Union(branches) = self.node(id)
            && let [one, other] = branches.as_slice()
        {
            match (self.node(*one), self.node(*other)) {
                (Node::Null, _) => return *other,
                (_, Node::Null) => return *one,
                _ => {}
            }
        }
        id
    }
}

struct Compiler {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
}

impl Compiler {
    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&mut self, json: &Value, namespace: &str) -> Result<NodeId, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches: Vec<NodeId> = branches
                    .iter()
                    .map(|branch| self.node(branch, namespace))
                    .collect::<Result<_, _>>()?;
                if branches.is_empty() {
                    return Err("a union has no branches".into());
                }
                Ok(self.add(Node::Union(branches)))
            }
            Value::Object(object) => self.complex(object, namespace),
            _ => Err("a type is neither a name, nor a union, nor an object".into()),
        }
    }

    fn named(&self, name: &str, namespace: &str) -> Result<NodeId, String> {
        if let Some(id) = SIMPLE.iter().position(|(simple, _)| *simple == name) {
            return Ok(id);
        }
        let full = full_name(name, namespace);
        self.names
            .get(&full)
            .or_else(|| self.names.get(name))
            .copied()
            .ok_or_else(|| format!("the type {full} is not declared"))
    }

    fn complex(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<NodeId, String> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(inner) => return self.node(inner, namespace),
            None => return Err("a type has no \"type\"".into()),
        };
        match kind {
            "array" => {
                let items = self.part(object, "items", namespace)?;
                Ok(self.add(Node::Array(items)))
            }
            "map" => {
                let values = self.part(object, "values", namespace)?;
                Ok(self.add(Node::Map(values)))
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or("a fixed type has no size")?;
                let (id, _) = self.declare(object, namespace, Node::Fixed(size))?;
                Ok(id)
            }
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array);
                let symbols: Option<Vec<String>> =
                    symbols.and_then(|list| list.iter().map(|one| one.as_str().map(str::to_owned)).collect());
                let symbols = symbols.ok_or("an enum type has no list of symbols")?;
                let (id, _) = self.declare(object, namespace, Node::Enum(symbols))?;
                Ok(id)
            }
            "record" | "error" => {
                // Declared before its fields, which may name it.
                let (id, inner) = self.declare(object, namespace, Node::Record(Record::default()))?;
                let list = object.get("fields").and_then(Value::as_array);
                let list = list.ok_or("a record type has no list of fields")?;
                let mut record = Record {
                    name: text(object, "name")
                        .rsplit('.')
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                    fields: Vec::new(),
                    map_entry: text(object, "connect.internal.type") == "MapEntry",
                };
                for field in list {
                    let Some(name) = field.get("name").and_then(Value::as_str) else {
                        return Err("a record's field has no name".into());
                    };
                    let Some(kind) = field.get("type") else {
                        return Err(format!("the field {name} has no type"));
                    };
                    let kind = self.node(kind, &inner)?;
                    if record.fields.iter().any(|(known, _)| known == name) {
                        return Err(format!("the field {name} is declared twice"));
                    }
                    record.fields.push((name.to_owned(), kind));
                }
                record.map_entry &= record.fields.len() == 2;
                if let Some(node) = self.nodes.get_mut(id) {
                    *node = Node::Record(record);
                }
                Ok(id)
            }
            name => self.named(name, namespace),
        }
    }

    fn part(&mut self, object: &Map<String, Value>, name: &str, namespace: &str) -> Result<NodeId, String> {
        match object.get(name) {
            Some(part) => self.node(part, namespace),
            None => Err(format!("a type has no \"{name}\"")),
        }
    }

    /// Adds a type with a name. Gives the namespace of what is inside it, too.
    fn declare(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        node: Node,
    ) -> Result<(NodeId, String), String> {
        let name = text(object, "name");
        if name.is_empty() {
            return Err("a record, enum or fixed type has no name".into());
        }
        let own = object.get("namespace").and_then(Value::as_str);
        let full = full_name(name, own.unwrap_or(namespace));
        let inner = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
        let id = self.add(node);
        if self.names.insert(full.clone(), id).is_some() {
            return Err(format!("the type {full} is declared twice"));
        }
        Ok((id, inner))
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_through_their_namespaces() {
        let schema = Schema::parse(
            br#"{"type":"record","name":"a.b.R","fields":[
                {"name":"e","type":{"type":"enum","name":"E","symbols":["X","Y"]}},
                {"name":"again","type":["null","a.b.E"]},
                {"name":"short","type":{"type":"array","items":"E"}},
                {"name":"me","type":["null","R"]},
                {"name":"n","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#,
        )
        .unwrap();
        let Node::Record(record) = schema.node(schema.root()) else {
            panic!("a record");
        };
        assert_eq!(record.name, "R");
        let of = |place: usize| schema.node(schema.without_null(record.fields[place].1));
        let symbols = Node::Enum(vec!["X".into(), "Y".into()]);
        assert_eq!(of(0), &symbols);
        assert_eq!(of(1), &symbols);
        assert!(matches!(of(2), Node::Array(items) if schema.node(*items) == &symbols));
        assert!(matches!(of(3), Node::Record(inner) if inner == record));
        assert_eq!(of(4), &Node::Long);
    }

    #[test]
    fn what_is_no_schema_is_refused_with_words() {
        for (text, words) in [
            (&b"{"[..], "not JSON"),
            (b"7", "neither a name"),
            (b"\"nobody\"", "not declared"),
            (b"[]", "no branches"),
            (br#"{"type":"fixed","name":"F"}"#, "no size"),
            (
                br#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}"#,
                "declared twice",
            ),
        ] {
            let error = Schema::parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let deep = "[".repeat(100_000);
        assert!(Schema::parse(deep.as_bytes()).is_err());
    }
}
