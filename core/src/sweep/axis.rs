//! The axes of a sweep: lists, ranges, random numbers, replaced texts, files of lines, globs.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::random::{Random, Scale};
use super::range::{NOT_A_RANGE, Range};
use crate::job::FieldError;

/// The values of one axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// Anything that the field takes, or text for a placeholder. Never empty.
    List(Vec<Value>),
    /// Numbers that are computed, not stored.
    Range(Range),
    /// Numbers that are drawn, not stored.
    Random(Random),
    /// Texts, each of which takes the place of another one in the prompt.
    Replace(Replace),
    /// One value a line, in a file beside the job file. A resolved job has none.
    File(String),
    /// The files that a pattern fits, beside the job file. A resolved job has none.
    Glob(String),
}

/// Search and replace in the prompt.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Replace {
    /// What is looked for. Never empty.
    pub replace: String,
    /// What comes in its place, cell by cell. Never empty.
    pub with: Vec<String>,
}

impl Axis {
    /// How many values; `None` while they are still in a file or folder.
    #[allow(clippy::len_without_is_empty)] // An axis is never empty.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::List(values) => Some(values.len() as u64),
            Self::Range(range) => Some(range.len()),
            Self::Random(random) => Some(random.len()),
            Self::Replace(replace) => Some(replace.with.len() as u64),
            Self::File(_) | Self::Glob(_) => None,
        }
    }

    /// Value number `place`, for places below [`Self::len`]. `whole` cuts a range's numbers
    /// to whole ones, for fields that take nothing else.
    pub fn value(&self, place: u64, whole: bool) -> Option<Value> {
        if self.len().is_none_or(|len| place >= len) {
            return None;
        }
        match self {
            Self::List(values) => values.get(usize::try_from(place).ok()?).cloned(),
            Self::Range(range) if whole || range.is_whole() => {
                Some(Value::from(range.get(place).trunc() as i64))
            }
            Self::Range(range) => Some(Value::from(range.get(place))),
            Self::Random(random) if whole => Some(Value::from(random.whole(place))),
            Self::Random(random) => Some(Value::from(random.get(place))),
            Self::Replace(Replace { with, .. }) => {
                Some(Value::from(with.get(usize::try_from(place).ok()?)?.as_str()))
            }
            Self::File(_) | Self::Glob(_) => None,
        }
    }
}

/// Named axes in the order of the file. A dotted name (`cutouts.count`) may be written as
/// nested tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axes(pub Vec<(String, Axis)>);

impl Serialize for Axis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let only = |serializer: S, name: &str, text: &str| {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(name, text)?;
            map.end()
        };
        match self {
            Self::List(values) => values.serialize(serializer),
            Self::Range(range) => serializer.collect_str(range),
            Self::Random(random) => random.serialize(serializer),
            Self::Replace(replace) => replace.serialize(serializer),
            Self::File(path) => only(serializer, "file", path),
            Self::Glob(pattern) => only(serializer, "glob", pattern),
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
            Branch::Axis(Axis::Random(random)) => {
                let random = Axis::Random(random.named(&name));
                axes.push((name, random));
            }
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
        f.write_str("the values of an axis")
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
        let mut form = Form::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "file" => form.file = Some(map.next_value()?),
                "glob" => form.glob = Some(map.next_value()?),
                "random" => form.random = Some(map.next_value()?),
                "scale" => form.scale = Some(map.next_value()?),
                "replace" => form.replace = Some(map.next_value()?),
                "with" => form.with = Some(map.next_value()?),
                // These are fields, too: an axis is no number.
                "count" | "seed" => match map.next_value()? {
                    CountOr::Count(number) if name == "count" => form.count = Some(number),
                    CountOr::Count(number) => form.seed = Some(number),
                    CountOr::Branch(branch) => group.push((name, branch)),
                },
                _ => group.push((name, map.next_value()?)),
            }
        }
        form.read(group).map_err(A::Error::custom)
    }
}

/// An axis that is written as a table.
#[derive(Default)]
struct Form {
    file: Option<String>,
    glob: Option<String>,
    random: Option<[f64; 2]>,
    count: Option<u64>,
    scale: Option<Scale>,
    seed: Option<u64>,
    replace: Option<String>,
    with: Option<Vec<String>>,
}

impl Form {
    /// The axis; the group of axes where the table is none of the forms.
    fn read(self, group: Vec<(String, Branch)>) -> Result<Branch, String> {
        let Self { file, glob, random, count, scale, seed, replace, with } = self;
        let draws = count.is_some() || scale.is_some() || seed.is_some();
        let names = file.is_some() || glob.is_some() || random.is_some() || replace.is_some();
        if !(names || draws || with.is_some()) {
            return Ok(Branch::Group(group));
        }
        if let Some((name, _)) = group.first() {
            return Err(format!("an axis of this form takes no `{name}`; {FORMS}"));
        }
        let axis = match (file, glob, random, replace, with) {
            (Some(path), None, None, None, None) if !draws => Axis::File(path),
            (None, Some(pattern), None, None, None) if !draws => Axis::Glob(pattern),
            (None, None, Some(span), None, None) => {
                let count = count.ok_or("`count` says how many numbers are drawn")?;
                let (scale, seed) = (scale.unwrap_or_default(), seed.unwrap_or(0));
                Axis::Random(Random::new(span, count, scale, seed)?)
            }
            (None, None, None, Some(replace), Some(with)) if !draws => {
                if replace.is_empty() || with.is_empty() {
                    return Err("`replace` is a text of the prompt, `with` a list of others".into());
                }
                Axis::Replace(Replace { replace, with })
            }
            _ => return Err(FORMS.into()),
        };
        Ok(Branch::Axis(axis))
    }
}

/// The ways to write an axis.
const WAYS: &str = "write a list as [1, 2], a range as \"1-4\", \"1-10 (+2)\" or \"0..1 [5]\", \
                    { file = \"values.txt\" }, { glob = \"inits/*.png\" }, { random = [0, 1], count = 8 } \
                    or { replace = \"red\", with = [\"blue\"] }";

/// An error that names the ways to write an axis, where it is of an axis that is written in none
/// of them.
pub(crate) fn with_forms(error: FieldError) -> FieldError {
    let unread = error.message.starts_with("expected the values of an axis")
        || error.message.ends_with(NOT_A_RANGE);
    let help = error.help.clone().or_else(|| unread.then(|| WAYS.to_owned()));
    FieldError { help, ..error }
}

const FORMS: &str = "an axis as a table is { file = \"values.txt\" }, { glob = \"inits/*.png\" }, \
                     { random = [0.02, 0.2], count = 8, scale = \"log\", seed = 1 } or \
                     { replace = \"red\", with = [\"red\", \"blue\"] }";

/// A number, or what else may stand under a field's name.
enum CountOr {
    Count(u64),
    Branch(Branch),
}

impl<'de> Deserialize<'de> for CountOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountOrVisitor)
    }
}

struct CountOrVisitor;

impl<'de> Visitor<'de> for CountOrVisitor {
    type Value = CountOr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BranchVisitor.expecting(f)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<CountOr, E> {
        Ok(CountOr::Count(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<CountOr, E> {
        u64::try_from(number)
            .map(CountOr::Count)
            .map_err(|_| E::custom(format!("{number} is below 0")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<CountOr, E> {
        BranchVisitor.visit_str(text).map(CountOr::Branch)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<CountOr, A::Error> {
        BranchVisitor.visit_seq(seq).map(CountOr::Branch)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CountOr, A::Error> {
        BranchVisitor.visit_map(map).map(CountOr::Branch)
    }
}
