//! Prompts over time: by frame, with cross-fades and cuts.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::prompt::{self, PromptError};
use crate::schedule::{Moment, Schedule, ValueError};

/// `[animation.prompts]`: what is wanted, by the frame from which on it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompts(pub BTreeMap<u64, PromptKey>);

impl Prompts {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is wanted from a frame on: text alone, or a table.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptKey {
    /// As `render.prompt`; a weight may also be a schedule in brackets:
    /// `a forest:(0.5 + 0.5*sin(t/10)) | blurry:-0.4`.
    pub prompt: String,
    /// Frames over which it comes in.
    pub fade: Option<u32>,
    /// Whether a new shot begins here, with a picture of its own.
    pub cut: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    prompt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fade: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Serialize for Prompts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (frame, key) in &self.0 {
            let PromptKey { prompt, fade, cut } = key.clone();
            if fade.is_none() && !cut {
                map.serialize_entry(&frame.to_string(), &prompt)?;
            } else {
                map.serialize_entry(&frame.to_string(), &Table { prompt, fade, cut })?;
            }
        }
        map.end()
    }
}

/// A frame's number as the name of a field.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct FrameName(u64);

impl<'de> Deserialize<'de> for FrameName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let digits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        name.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "{name:?} is not the number of a frame; write 0 = \"…\", 120 = \"…\""
            ))
        })
    }
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Prompts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of prompts by frame, as 0 = \"…\", 120 = \"…\"")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Prompts, A::Error> {
                let mut keys = BTreeMap::new();
                while let Some(FrameName(frame)) = map.next_key()? {
                    let key: PromptKey = map.next_value()?;
                    if keys.insert(frame, key).is_some() {
                        return Err(de::Error::custom(format!("frame {frame} is there twice")));
                    }
                }
                Ok(Prompts(keys))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl<'de> Deserialize<'de> for PromptKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl<'de> Visitor<'de> for Key {
            type Value = PromptKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a prompt, or a table as { prompt = \"…\", fade = 24 }")
            }

            fn visit_str<E: de::Error>(self, prompt: &str) -> Result<PromptKey, E> {
                Ok(PromptKey { prompt: prompt.to_owned(), fade: None, cut: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PromptKey, A::Error> {
                let table = de::value::MapAccessDeserializer::new(map);
                let Table { prompt, fade, cut } = Table::deserialize(table)?;
                Ok(PromptKey { prompt, fade, cut })
            }
        }
        deserializer.deserialize_any(Key)
    }
}

/// A part of a prompt whose weight may change over time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimedPart {
    pub text: String,
    pub weight: Schedule,
    pub stop: Option<f64>,
}

/// The phases of a prompt, each with its parts.
///
/// # Errors
/// As [`prompt::parse`].
pub(super) fn phases(prompt: &str) -> Result<Vec<Vec<TimedPart>>, PromptError> {
    // A schedule in brackets is put aside first: it has colons, bars and signs of its own.
    let mut schedules = Vec::new();
    let mut plain = String::new();
    let mut rest = prompt;
    while let Some(at) = rest.find(":(") {
        let Some(len) = bracketed(&rest[at + 1..]).filter(|len| ends_part(&rest[at + 1 + len..]))
        else {
            plain.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        schedules.push(rest[at + 2..at + len].to_owned());
        plain.push_str(&rest[..at]);
        // A weight that no text has: it stands for the schedule.
        plain.push_str(&format!("{MARK}{}:1", schedules.len() - 1));
        rest = &rest[at + 1 + len..];
    }
    plain.push_str(rest);
    let timed = |part: prompt::PromptPart| {
        let marked = part.text.split_once(MARK).and_then(|(text, number)| {
            Some((text.trim(), schedules.get(number.parse::<usize>().ok()?)?))
        });
        match marked {
            Some((text, schedule)) => TimedPart {
                text: text.to_owned(),
                weight: Schedule::text(schedule.as_str()),
                stop: part.stop,
            },
            None => TimedPart { text: part.text, weight: part.weight.into(), stop: part.stop },
        }
    };
    let phases = prompt::parse(&plain)?;
    Ok(phases.into_iter().map(|parts| parts.into_iter().map(timed).collect()).collect())
}

/// Stands before the number of a schedule that was put aside; not a character of any text.
const MARK: char = '\u{1}';

/// Bytes of `text` up to the bracket that closes its first one.
fn bracketed(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => (),
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// Whether a part may end here, but for its stop.
fn ends_part(rest: &str) -> bool {
    matches!(rest.trim_start().chars().next(), None | Some('|' | '^' | ':'))
}

/// The prompt of one moment: `shares` of the parts of several keys, as text.
///
/// # Errors
/// A weight is no number at this moment.
pub(super) fn at(shares: &[(f64, &[TimedPart])], moment: &Moment) -> Result<String, ValueError> {
    let mut parts = Vec::new();
    for (share, timed) in shares {
        for TimedPart { text, weight, stop } in *timed {
            parts.push(prompt::PromptPart {
                text: text.clone(),
                weight: share * weight.at(moment)?,
                stop: *stop,
            });
        }
    }
    // What weighs nothing is not looked for, unless nothing weighs anything.
    if parts.iter().any(|part| part.weight != 0.0) {
        parts.retain(|part| part.weight != 0.0);
    }
    Ok(parts.iter().map(written).collect::<Vec<_>>().join(" | "))
}

/// The shortest way to write a part that reads back as it is.
fn written(part: &prompt::PromptPart) -> String {
    let prompt::PromptPart { text, weight, stop } = part;
    let stop = stop.map_or("-inf".to_owned(), |stop| stop.to_string());
    let forms = [text.clone(), format!("{text}:{weight}"), format!("{text}:{weight}:{stop}")];
    let same = |form: &String| prompt::parse(form).is_ok_and(|read| read == [[part.clone()]]);
    forms.iter().find(|form| same(form)).unwrap_or(&forms[2]).clone()
}
