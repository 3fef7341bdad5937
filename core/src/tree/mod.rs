//! A parsed file before anybody asked what it means: values that know where they stood.

mod de;

use std::ops::Range;

pub(crate) use self::de::{UNKNOWN_FIELD, from_json};

/// Where in the input something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    #[default]
    Nowhere,
    /// These bytes of the file.
    Source(Range<usize>),
    /// The `--set` of this number.
    Flag(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub value: Value,
    pub mark: Mark,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub name: String,
    pub mark: Mark,
    pub node: Node,
}

impl Node {
    pub fn new(value: Value, mark: Mark) -> Self {
        Self { value, mark }
    }

    /// The entry `name`, when this is a table that has it.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|entry| entry.name == name),
            _ => None,
        }
    }

    /// The place of the deepest node on the way along `path` (`a.b[1].c`).
    pub fn mark_of(&self, path: &str) -> &Mark {
        let deeper = match &self.value {
            // A name may hold dots itself, so the longest one that fits is meant.
            Value::Table(entries) => entries
                .iter()
                .filter_map(|entry| {
                    let rest = path.strip_prefix(entry.name.as_str())?;
                    let ends = rest.is_empty() || rest.starts_with(['.', '[']);
                    ends.then(|| (&entry.node, rest.strip_prefix('.').unwrap_or(rest)))
                })
                .min_by_key(|(_, rest)| rest.len()),
            Value::List(items) => path.strip_prefix('[').and_then(|rest| {
                let (index, rest) = rest.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, rest.strip_prefix('.').unwrap_or(rest)))
            }),
            _ => None,
        };
        match deeper {
            Some((node, rest)) => match node.mark_of(rest) {
                Mark::Nowhere => &node.mark,
                mark => mark,
            },
            None => &self.mark,
        }
    }

    /// The node at `path` (`a.b`), through tables only.
    pub fn node_of(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, name| node.entry(name).map(|entry| &entry.node))
    }

    /// Puts an entry into the table at `path`, making tables where there are none.
    pub fn put_entry(&mut self, path: &[&str], entry: Entry) {
        if !matches!(self.value, Value::Table(_)) {
            self.value = Value::Table(Vec::new());
        }
        let Value::Table(entries) = &mut self.value else { unreachable!("it is a table now") };
        let Some((name, rest)) = path.split_first() else { return entries.push(entry) };
        let at = entries.iter().position(|entry| entry.name == **name).unwrap_or_else(|| {
            let node = Node::new(Value::Table(Vec::new()), Mark::Nowhere);
            entries.push(Entry { name: (*name).into(), mark: Mark::Nowhere, node });
            entries.len() - 1
        });
        entries[at].node.put_entry(rest, entry);
    }

    /// Takes out the table entry at `path`; of a path through a list, the whole list.
    pub fn remove(&mut self, path: &[Step]) {
        let Value::Table(entries) = &mut self.value else { return };
        let Some(Step::Name(name)) = path.first() else { return };
        match path.get(1) {
            Some(Step::Name(_)) => {
                if let Some(entry) = entries.iter_mut().find(|entry| entry.name == *name) {
                    entry.node.remove(&path[1..]);
                }
            }
            _ => entries.retain(|entry| entry.name != *name),
        }
    }

    fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Int(n) => format!("the number {n}"),
            Value::Float(x) => format!("the number {x}"),
            Value::Text(text) => format!("the text {text:?}"),
            Value::List(_) => "a list".into(),
            Value::Table(_) => "a table".into(),
        }
    }
}

impl From<&serde_json::Value> for Node {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i128(), n.as_f64()) {
                (Some(n), _) => Value::Int(n),
                (None, x) => Value::Float(x.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Node::from).collect()),
            Json::Object(fields) => Value::Table(
                fields
                    .iter()
                    .map(|(name, value)| Entry {
                        name: name.clone(),
                        mark: Mark::Nowhere,
                        node: Node::from(value),
                    })
                    .collect(),
            ),
        };
        Node::new(value, Mark::Nowhere)
    }
}

/// One step of a path into the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}
