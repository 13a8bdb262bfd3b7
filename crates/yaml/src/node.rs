//! The tree of a document: values with the bytes of the source that they stand in.

use std::ops::Range;

use serde_json::{Map, Number, Value};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The bytes of the source.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Something that could not be read and was reported; whoever reads it stays silent.
    Poison,
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; the source has its spelling.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Sequence),
    /// A mapping.
    Map(Mapping),
}

/// The items of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence {
    /// In order.
    pub items: Vec<Node>,
    /// An error cut it off: more may have been meant.
    pub partial: bool,
}

/// The entries of a mapping; each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// In the order of the source.
    pub entries: Vec<Entry>,
    /// An error cut it off: more may have been meant.
    pub partial: bool,
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The bytes of the key.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Mapping {
    /// The entry of this key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// A node that was reported already.
    pub(crate) fn poison(span: Range<usize>) -> Self {
        Self { span, kind: Kind::Poison }
    }

    /// The same as JSON. What could not be read is `null`.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Poison | Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(number) => Value::Number(number.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(list) => Value::Array(list.items.iter().map(Self::to_json).collect()),
            Kind::Map(map) => {
                Value::Object(map.entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// How many values it has, itself included.
    pub(crate) fn weight(&self) -> usize {
        1 + match &self.kind {
            Kind::List(list) => list.items.iter().map(Self::weight).sum(),
            Kind::Map(map) => map.entries.iter().map(|entry| entry.value.weight() + 1).sum(),
            _ => 0,
        }
    }

    /// How deep collections lie in each other, 0 for a scalar.
    pub(crate) fn height(&self) -> usize {
        match &self.kind {
            Kind::List(list) => 1 + list.items.iter().map(Self::height).max().unwrap_or(0),
            Kind::Map(map) => 1 + map.entries.iter().map(|entry| entry.value.height()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether an error was reported in it.
    pub fn is_damaged(&self) -> bool {
        match &self.kind {
            Kind::Poison => true,
            Kind::List(list) => list.partial || list.items.iter().any(Self::is_damaged),
            Kind::Map(map) => map.partial || map.entries.iter().any(|entry| entry.value.is_damaged()),
            _ => false,
        }
    }
}
