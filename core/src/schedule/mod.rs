//! Values over time: a number, an expression, or keys between which a value moves.
//!
//! `0:(1.02), 60:(1.02 + 0.02*sin(2*pi*t/48)) ease, 120: 1` reads: 1.02 at frame 0, then
//! evenly to what the expression is at frame 60; from there the expression of each frame fades
//! smoothly into 1 at frame 120, which it stays. The variables are `t` (the frame's number),
//! `frames`, `fps` and `seed`.

mod expr;
mod lex;
mod noise;
mod parse;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::expr::Expr;
pub use self::expr::Moment;

/// A number that may change from frame to frame, as a job file writes it.
#[derive(Clone, Debug)]
pub struct Schedule {
    source: Source,
    keys: Result<Vec<Key>, ScheduleError>,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Number(f64),
    Text(String),
}

/// The value at one frame, and how it goes on from there.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    frame: u64,
    value: Expr,
    /// As written behind the value; [`Key::curve`] knows what is meant where nothing is.
    curve: Option<Curve>,
}

/// The way from one key to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// Evenly.
    Linear,
    /// Slow at both ends: 3u² − 2u³.
    Ease,
    /// Not at all, up to the next key.
    Hold,
    /// On a smooth curve through this key, the next and their neighbours (Catmull-Rom).
    Spline,
}

impl Curve {
    const ALL: [(&'static str, Self); 4] = [
        ("linear", Self::Linear),
        ("ease", Self::Ease),
        ("hold", Self::Hold),
        ("spline", Self::Spline),
    ];
}

/// What is wrong with a schedule's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// The bytes of the text that are meant.
    pub at: Range<usize>,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl ScheduleError {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None }
    }
}

impl std::error::Error for ScheduleError {}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

/// Why a schedule has no value in a frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ValueError {
    #[error(transparent)]
    Unreadable(#[from] ScheduleError),
    #[error("comes to {value} at frame {frame}")]
    NotFinite { frame: f64, value: f64 },
}

/// Slow at both ends, from 0 to 1.
fn ease(u: f64) -> f64 {
    u * u * (3.0 - 2.0 * u)
}

impl Schedule {
    pub fn number(value: f64) -> Self {
        let key = Key { frame: 0, value: Expr::Number(value), curve: None };
        Self { source: Source::Number(value), keys: Ok(vec![key]) }
    }

    /// What is not readable is kept, see [`Schedule::error`].
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { keys: parse::keys(&text), source: Source::Text(text) }
    }

    /// What is wrong with the text.
    pub fn error(&self) -> Option<&ScheduleError> {
        self.keys.as_ref().err()
    }

    /// The text that was written; none where it was a number.
    pub fn as_text(&self) -> Option<&str> {
        match &self.source {
            Source::Number(_) => None,
            Source::Text(text) => Some(text),
        }
    }

    /// Whether all frames have the same value.
    pub fn is_steady(&self) -> bool {
        matches!(self.keys.as_deref(), Ok([key]) if key.value.is_steady())
    }

    /// The frames that have keys.
    pub fn frames(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().flatten().map(|key| key.frame)
    }

    /// The value at a moment, which may lie between frames.
    ///
    /// # Errors
    /// The text is not readable, or the value is no finite number.
    pub fn at(&self, moment: &Moment) -> Result<f64, ValueError> {
        let keys = self.keys.as_ref().map_err(Clone::clone)?;
        let value = value(keys, moment);
        if value.is_finite() {
            return Ok(value);
        }
        Err(ValueError::NotFinite { frame: moment.frame, value })
    }
}

impl Key {
    /// What is meant where nothing is written: a number moves evenly to the next key, an
    /// expression goes its own way.
    fn curve(&self) -> Curve {
        let natural = if self.value.is_steady() { Curve::Linear } else { Curve::Hold };
        self.curve.unwrap_or(natural)
    }

    /// The value at its own frame.
    fn own(&self, moment: &Moment) -> f64 {
        self.value.value(&Moment { frame: self.frame as f64, ..*moment })
    }
}

fn value(keys: &[Key], moment: &Moment) -> f64 {
    let after = keys.partition_point(|key| key.frame as f64 <= moment.frame);
    let Some(before) = after.checked_sub(1) else { return keys[0].own(moment) };
    let key = &keys[before];
    let here = key.value.value(moment);
    let Some(next) = keys.get(after) else { return here };
    let span = (next.frame - key.frame) as f64;
    let u = (moment.frame - key.frame as f64) / span;
    let mix = |u: f64| {
        // Where both move, each goes on while one fades into the other; what is asked for by
        // default ends at the next key's value.
        let there = match key.curve {
            Some(_) => next.value.value(moment),
            None => next.own(moment),
        };
        here + (there - here) * u
    };
    match key.curve() {
        Curve::Hold => here,
        Curve::Linear => mix(u),
        Curve::Ease => mix(ease(u)),
        Curve::Spline => {
            let knots = [before.checked_sub(1), Some(before), Some(after), Some(after + 1)];
            spline(knots.map(|at| keys.get(at?)), u, span, moment)
        }
    }
}

/// The Hermite curve between the two middle knots, its slopes those between their neighbours.
fn spline(knots: [Option<&Key>; 4], u: f64, span: f64, moment: &Moment) -> f64 {
    let points = knots.map(|key| key.map(|key| (key.frame as f64, key.own(moment))));
    let (Some(a), Some(b)) = (points[1], points[2]) else { return f64::NAN };
    let slope = |from: (f64, f64), to: (f64, f64)| (to.1 - from.1) / (to.0 - from.0);
    let (leave, arrive) =
        (slope(points[0].unwrap_or(a), b) * span, slope(a, points[3].unwrap_or(b)) * span);
    let (u2, u3) = (u * u, u * u * u);
    a.1 * (2.0 * u3 - 3.0 * u2 + 1.0)
        + leave * (u3 - 2.0 * u2 + u)
        + b.1 * (3.0 * u2 - 2.0 * u3)
        + arrive * (u3 - u2)
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self::number(value)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Number(value) => value.fmt(f),
            Source::Text(text) => text.fmt(f),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.source {
            Source::Number(value) => value.serialize(serializer),
            Source::Text(text) => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Schedule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a schedule such as \"0:(1), 60:(2)\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Schedule, E> {
                Ok(Schedule::number(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Schedule, E> {
                Ok(Schedule::number(value as f64))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Schedule, E> {
                if value.is_finite() {
                    return Ok(Schedule::number(value));
                }
                Err(E::invalid_value(de::Unexpected::Float(value), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Schedule, E> {
                Ok(Schedule::text(text))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
