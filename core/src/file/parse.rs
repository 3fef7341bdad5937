//! TOML, YAML and JSON into one tree that knows where everything stood.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};

use crate::tree::{Entry, Mark, Node, Value};

/// A text that is not of its format.
#[derive(Debug)]
pub(super) struct Syntax {
    pub message: String,
    pub at: Option<Range<usize>>,
}

/// # Errors
/// Every place that is no TOML; the parser goes on behind each.
pub(super) fn toml(text: &str) -> Result<Node, Vec<Syntax>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(toml_table(table.get_ref(), Mark::Nowhere));
    }
    let syntax = |error: toml::de::Error| Syntax {
        message: error.message().replace('\n', ", "),
        at: error.span(),
    };
    Err(without_sequels(text, errors.into_iter().map(syntax).collect()))
}

/// At most one mistake a line. What is open takes lines for its own that are right by themselves:
/// of those the first is kept.
fn without_sequels(text: &str, mut errors: Vec<Syntax>) -> Vec<Syntax> {
    errors.sort_by_key(|error| error.at.as_ref().map(|span| span.start));
    let mut told = None;
    let mut in_sequel = false;
    let keep = |error: &Syntax| {
        let at = error.at.as_ref().map_or(0, |span| span.start.min(text.len()));
        let start = text.as_bytes()[..at].iter().rposition(|b| *b == b'\n').map_or(0, |nl| nl + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let sequel = DeTable::parse(line).is_ok();
        let keep = told != Some(start) && !(sequel && in_sequel);
        (told, in_sequel) = (Some(start), sequel);
        keep
    };
    errors.retain(keep);
    errors
}

/// A single TOML value, as a `--set` has it.
pub(super) fn toml_value(text: &str) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(toml_node(value.get_ref(), Mark::Source(value.span())))
}

fn toml_table(table: &DeTable<'_>, mark: Mark) -> Node {
    let mut entries: Vec<_> = table.iter().collect();
    // The table is sorted by name; people mean the order in which they wrote.
    entries.sort_by_key(|(name, _)| name.span().start);
    let entries = entries
        .into_iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            mark: Mark::Source(name.span()),
            node: toml_node(value.get_ref(), Mark::Source(value.span())),
        })
        .collect();
    Node::new(Value::Table(entries), mark)
}

fn toml_node(value: &DeValue<'_>, mark: Mark) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Value::Int(n),
            Err(_) => Value::Text(n.as_str().to_owned()),
        },
        DeValue::Float(x) => match x.as_str().parse() {
            Ok(x) => Value::Float(x),
            Err(_) => Value::Text(x.as_str().to_owned()),
        },
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => Value::List(
            items.iter().map(|item| toml_node(item.get_ref(), Mark::Source(item.span()))).collect(),
        ),
        DeValue::Table(table) => return toml_table(table, mark),
    };
    Node::new(value, mark)
}

/// serde_json judges the text; the walk then only has to find where things stand.
pub(super) fn json(text: &str) -> Result<Node, Syntax> {
    serde_json::from_str::<serde_json::Value>(text).map_err(|error| {
        let line_start: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = line_start + error.column().saturating_sub(1);
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        Syntax {
            message: message.strip_suffix(&place).unwrap_or(&message).to_owned(),
            at: Some(at..at + 1),
        }
    })?;
    Walk { text, at: 0 }.value()
}

/// A walk through JSON that is known to be right.
struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl Walk<'_> {
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Whether another item follows in the list or table that `close` ends.
    fn more(&mut self, close: u8) -> bool {
        match self.peek() {
            b',' => {
                self.at += 1;
                true
            }
            byte if byte == close => {
                self.at += 1;
                false
            }
            _ => true,
        }
    }

    fn value(&mut self) -> Result<Node, Syntax> {
        let first = self.peek();
        let start = self.at;
        let value = match first {
            b'{' => {
                self.at += 1;
                let mut entries: Vec<Entry> = Vec::new();
                while self.more(b'}') {
                    self.peek();
                    let key = self.at;
                    let name = self.scalar(key)?.as_str().unwrap_or_default().to_owned();
                    let mark = key..self.at;
                    if entries.iter().any(|entry| entry.name == name) {
                        let message = format!("the key {name:?} is there twice");
                        return Err(Syntax { message, at: Some(mark) });
                    }
                    self.peek();
                    self.at += 1; // The colon.
                    let node = self.value()?;
                    entries.push(Entry { name, mark: Mark::Source(mark), node });
                }
                Value::Table(entries)
            }
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                while self.more(b']') {
                    items.push(self.value()?);
                }
                Value::List(items)
            }
            _ => Node::from(&self.scalar(start)?).value,
        };
        Ok(Node::new(value, Mark::Source(start..self.at)))
    }

    fn scalar(&mut self, start: usize) -> Result<serde_json::Value, Syntax> {
        let bytes = &self.text.as_bytes()[start..];
        let len = if bytes.first() == Some(&b'"') {
            let mut escaped = false;
            let end = bytes.iter().skip(1).position(|&b| {
                let end = b == b'"' && !escaped;
                escaped = b == b'\\' && !escaped;
                end
            });
            end.map_or(bytes.len(), |end| end + 2)
        } else {
            let end = bytes.iter().position(|b| b",]}".contains(b) || b.is_ascii_whitespace());
            end.unwrap_or(bytes.len())
        };
        self.at = start + len;
        serde_json::from_str(&self.text[start..self.at])
            .map_err(|error| Syntax { message: error.to_string(), at: Some(start..self.at) })
    }
}

pub(super) fn yaml(text: &str) -> Result<Node, Syntax> {
    match serde_saphyr::from_str::<Yaml>(text) {
        Ok(root) => Ok(root.0.place(text)),
        Err(error) => {
            let location = error.location();
            let message = error.without_snippet().to_string();
            // The place is shown in our own way, and the parser's options are not the user's.
            let message = message.split(" at line ").next().unwrap_or(&message);
            let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message);
            let message = message.to_owned();
            Err(Syntax { message, at: location.map(|at| yaml_span(text, &at)) })
        }
    }
}

fn yaml_span(text: &str, location: &serde_saphyr::Location) -> Range<usize> {
    let line = usize::try_from(location.line()).unwrap_or(1).max(1);
    let column = usize::try_from(location.column()).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let at = rest.char_indices().nth(column - 1).map_or(rest.len(), |(at, _)| at);
    let len = usize::try_from(location.span().len()).unwrap_or(0);
    let end = rest[at..].char_indices().nth(len).map_or(rest.len(), |(end, _)| at + end);
    start + at..start + end
}

/// Any YAML, with the place of every value. Keys are looked for where their values stand.
struct Yaml(Placed);

struct Placed(serde_saphyr::Spanned<YamlValue>);

enum YamlValue {
    Scalar(Value),
    List(Vec<Placed>),
    Table(Vec<(serde_saphyr::Spanned<String>, Placed)>),
}

impl Placed {
    fn place(self, text: &str) -> Node {
        let mark = Mark::Source(yaml_span(text, &self.0.referenced));
        let value = match self.0.value {
            YamlValue::Scalar(value) => value,
            YamlValue::List(items) => {
                Value::List(items.into_iter().map(|item| item.place(text)).collect())
            }
            YamlValue::Table(entries) => Value::Table(
                entries
                    .into_iter()
                    .map(|(name, node)| Entry {
                        mark: Mark::Source(yaml_span(text, &name.referenced)),
                        name: name.value,
                        node: node.place(text),
                    })
                    .collect(),
            ),
        };
        Node::new(value, mark)
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Placed::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_saphyr::Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = YamlValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Bool(b)))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Int(n.into())))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Int(n.into())))
    }

    fn visit_i128<E: de::Error>(self, n: i128) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Int(n)))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Float(x)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Text(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<YamlValue, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlValue, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<YamlValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(YamlValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(YamlValue::Table(entries))
    }
}
