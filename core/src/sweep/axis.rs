//! The axes of a sweep: lists, ranges, files of lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::range::Range;

/// The values of one axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// Anything that the field takes, or text for a placeholder. Never empty.
    List(Vec<Value>),
    /// Numbers that are computed, not stored.
    Range(Range),
    /// One value a line, in a file beside the job file. A resolved job has none.
    File(String),
}

impl Axis {
    /// How many values; `None` while they are still in a file.
    #[allow(clippy::len_without_is_empty)] // An axis is never empty.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::List(values) => Some(values.len() as u64),
            Self::Range(range) => Some(range.len()),
            Self::File(_) => None,
        }
    }

    /// Value number `place`, for places below [`Self::len`]. `whole` cuts a range's numbers
    /// to whole ones, for fields that take nothing else.
    pub fn value(&self, place: u64, whole: bool) -> Option<Value> {
        match self {
            Self::List(values) => values.get(usize::try_from(place).ok()?).cloned(),
            Self::Range(range) if place >= range.len() => None,
            Self::Range(range) if whole || range.is_whole() => {
                Some(Value::from(range.get(place).trunc() as i64))
            }
            Self::Range(range) => Some(Value::from(range.get(place))),
            Self::File(_) => None,
        }
    }
}

/// Named axes in the order of the file. A dotted name (`cutouts.count`) may be written as
/// nested tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axes(pub Vec<(String, Axis)>);

impl Serialize for Axis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(values) => values.serialize(serializer),
            Self::Range(range) => serializer.collect_str(range),
            Self::File(path) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("file", path)?;
                map.end()
            }
        }
    }
}

impl Serialize for Axes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, axis)| (name, axis)))
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let group = deserializer.deserialize_map(AxesVisitor)?;
        let mut axes = Vec::new();
        flatten("", group, &mut axes);
        let twice =
            (1..axes.len()).find(|&i| axes[..i].iter().any(|(earlier, _)| *earlier == axes[i].0));
        match twice {
            Some(i) => Err(D::Error::custom(format!("two axes named `{}`", axes[i].0))),
            None => Ok(Self(axes)),
        }
    }
}

struct AxesVisitor;

impl<'de> Visitor<'de> for AxesVisitor {
    type Value = Vec<(String, Branch)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of axes by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut group = Vec::new();
        while let Some(entry) = map.next_entry()? {
            group.push(entry);
        }
        Ok(group)
    }
}

/// What stands under a name in `[sweep.axes]`.
enum Branch {
    Axis(Axis),
    /// Part of a dotted name.
    Group(Vec<(String, Branch)>),
}

fn flatten(prefix: &str, group: Vec<(String, Branch)>, axes: &mut Vec<(String, Axis)>) {
    for (name, branch) in group {
        let name = format!("{prefix}{name}");
        match branch {
            Branch::Axis(axis) => axes.push((name, axis)),
            Branch::Group(group) => flatten(&format!("{name}."), group, axes),
        }
    }
}

impl<'de> Deserialize<'de> for Branch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BranchVisitor)
    }
}

struct BranchVisitor;

impl<'de> Visitor<'de> for BranchVisitor {
    type Value = Branch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values, a range like \"1-4\" or { file = \"values.txt\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Branch, E> {
        text.parse().map(|range| Branch::Axis(Axis::Range(range))).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Branch, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<Value>()? {
            if value.is_null() {
                return Err(A::Error::custom("an axis holds numbers, text, lists or tables only"));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(A::Error::custom("the axis has no values"));
        }
        Ok(Branch::Axis(Axis::List(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Branch, A::Error> {
        let mut group: Vec<(String, Branch)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "file" {
                let path = map.next_value()?;
                return match (group.is_empty(), map.next_key::<String>()?) {
                    (true, None) => Ok(Branch::Axis(Axis::File(path))),
                    _ => Err(A::Error::custom("an axis from a `file` takes nothing else")),
                };
            }
            group.push((name, map.next_value()?));
        }
        Ok(Branch::Group(group))
    }
}
