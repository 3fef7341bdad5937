//! serde types out of a tree, with errors that know the field and its place.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};

use super::{Entry, Mark, Node, Step, Value};
use crate::job::FieldError;
use crate::nearest::nearest;

/// What is said of a field that a table does not have.
pub(crate) const UNKNOWN_FIELD: &str = "no such field";

/// Reads a type from plain JSON, with this module's messages.
pub(crate) fn from_json<T: de::DeserializeOwned>(
    json: &serde_json::Value,
) -> Result<T, FieldError> {
    T::deserialize(&Node::from(json)).map_err(|error| error.error())
}

/// Why a tree does not mean what was asked of it, and where.
#[derive(Debug)]
pub(crate) struct Error {
    /// From the innermost step outward.
    steps: Vec<Step>,
    pub mark: Mark,
    /// A field is not there: nothing to point at, nothing to take out.
    pub missing: bool,
    message: String,
    help: Option<String>,
}

impl Error {
    fn inside(mut self, step: Step, mark: &Mark) -> Self {
        self.steps.push(step);
        if self.mark == Mark::Nowhere {
            self.mark = mark.clone();
        }
        self
    }

    pub fn path(&self) -> Vec<Step> {
        self.steps.iter().rev().cloned().collect()
    }

    pub fn error(&self) -> FieldError {
        let mut field = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Name(name) if field.is_empty() => field.push_str(name),
                Step::Name(name) => field.extend([".", name]),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
            }
        }
        FieldError { field, message: self.message.clone(), help: self.help.clone(), at: None }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

/// serde's words for what a type takes, in the words of a job file.
fn plain_words(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "a string" => "text".into(),
        "a sequence" => "a list".into(),
        "a boolean" => "true or false".into(),
        text if text.starts_with("struct ") => "a table".into(),
        text => text.replace("an array of length", "a list of"),
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Self { steps: vec![], mark: Mark::Nowhere, missing: false, message, help: None }
    }

    fn invalid_type(found: Unexpected, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Str(text) => format!("the text {text:?}"),
            Unexpected::Unsigned(n) => format!("the number {n}"),
            Unexpected::Signed(n) => format!("the number {n}"),
            Unexpected::Float(x) => format!("the number {x}"),
            Unexpected::Bool(b) => format!("`{b}`"),
            Unexpected::Seq => "a list".into(),
            Unexpected::Map => "a table".into(),
            Unexpected::Unit | Unexpected::Option => "nothing".into(),
            other => other.to_string(),
        };
        Self::custom(format!("expected {}, found {found}", plain_words(expected)))
    }

    fn invalid_value(found: Unexpected, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {}, found {len}", plain_words(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let help = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("it may be {}", expected.join(", ")),
        };
        Self { help: Some(help), ..Self::custom(format!("{variant:?} is not known here")) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let help = match nearest(field, expected.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the fields here are {}", expected.join(", ")),
        };
        Self { help: Some(help), ..Self::custom(UNKNOWN_FIELD) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: true, ..Self::custom(format!("the field `{field}` is missing")) }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let whole = match self.value {
                Value::Int(n) => Some(n),
                _ => None,
            };
            match whole.and_then(|n| <$type>::try_from(n).ok()) {
                Some(n) => visitor.$visit(n),
                None => Err(de::Error::custom(format!(
                    "expected a whole number from {} to {}, found {}",
                    <$type>::MIN, <$type>::MAX, self.describe()
                ))),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (Ok(n), _) => visitor.visit_i64(n),
                (_, Ok(n)) => visitor.visit_u64(n),
                _ => Err(de::Error::custom(format!("the number {n} is too large"))),
            },
            Value::Float(x) => visitor.visit_f64(*x),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => {
                let mut list = List { items: items.iter().enumerate() };
                let value = visitor.visit_seq(&mut list)?;
                match list.items.len() {
                    0 => Ok(value),
                    more => Err(de::Error::custom(format!(
                        "expected a list of {}, found {}",
                        items.len() - more,
                        items.len()
                    ))),
                }
            }
            Value::Table(entries) => visitor.visit_map(Table { rest: entries.iter(), at: None }),
        }
    }

    integers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Float(x) if x.is_finite() => visitor.visit_f64(x),
            Value::Int(n) => visitor.visit_f64(n as f64),
            _ => Err(de::Error::custom(format!("expected a number, found {}", self.describe()))),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(variant) => visitor.visit_enum(Variant { variant, value: None }),
            Value::Table(entries) if entries.len() == 1 => visitor
                .visit_enum(Variant { variant: &entries[0].name, value: Some(&entries[0].node) })
                .map_err(|e| {
                    // A variant that is not known is an error of the name, not inside it.
                    if e.steps.is_empty() && e.help.is_some() {
                        return e.inside(Step::Name(entries[0].name.clone()), &entries[0].mark);
                    }
                    e.inside(Step::Name(entries[0].name.clone()), &entries[0].node.mark)
                }),
            _ => Err(de::Error::custom(format!(
                "expected one of {}, found {}",
                variants.join(", "),
                self.describe()
            ))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct List<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for &mut List<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, item)) = self.items.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|e| e.inside(Step::Index(index), &item.mark))
    }
}

struct Table<'a> {
    rest: std::slice::Iter<'a, Entry>,
    at: Option<&'a Entry>,
}

impl<'de> de::MapAccess<'de> for Table<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.at = self.rest.next();
        let Some(entry) = self.at else { return Ok(None) };
        seed.deserialize(entry.name.as_str().into_deserializer())
            .map(Some)
            .map_err(|e: Error| e.inside(Step::Name(entry.name.clone()), &entry.mark))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let Some(entry) = self.at else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        seed.deserialize(&entry.node)
            .map_err(|e| e.inside(Step::Name(entry.name.clone()), &entry.node.mark))
    }
}

struct Variant<'a> {
    variant: &'a str,
    value: Option<&'a Node>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(self.variant.into_deserializer())?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value.map(|node| &node.value) {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(de::Error::custom(format!("{:?} takes no value", self.variant))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.value {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom(format!(
                "{:?} needs a value: write {{ {} = … }}",
                self.variant, self.variant
            ))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Some(node) => de::Deserializer::deserialize_tuple(node, len, visitor),
            None => Err(de::Error::custom(format!("{:?} needs a list", self.variant))),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Some(node) => de::Deserializer::deserialize_struct(node, "", fields, visitor),
            None => Err(de::Error::custom(format!("{:?} needs a table", self.variant))),
        }
    }
}
