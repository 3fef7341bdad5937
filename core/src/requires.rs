//! What a worker must have to render a job: the `[requires]` table.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::Tag;

/// A job without the table runs on any worker. Nothing here changes the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Requires {
    /// Tags that the worker must have.
    #[schemars(with = "BTreeSet<String>")]
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Tag>,
    /// Memory of the worker's device at least, as `"16 GiB"`; estimated when left out.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory: Option<Memory>,
}

impl Requires {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An amount of memory: `16 GiB`, `500 MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory {
    /// Less than 2⁵³.
    bytes: u64,
}

/// Text that is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount of memory; write \"16 GiB\" or \"500 MB\"")]
pub struct MemoryError(String);

/// The largest first, so that `Display` finds the one that suits.
const UNITS: [(&str, u64); 6] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
];

impl Memory {
    /// # Errors
    /// More than any machine has: 2⁵³ bytes.
    pub fn of_bytes(bytes: u64) -> Result<Self, MemoryError> {
        if bytes < 1 << 53 { Ok(Self { bytes }) } else { Err(MemoryError(bytes.to_string())) }
    }

    pub fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Memory {
    type Err = MemoryError;

    fn from_str(text: &str) -> Result<Self, MemoryError> {
        let refuse = || MemoryError(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refuse)?;
        let (number, unit) = trimmed.split_at(end);
        let number: f64 = number.parse().map_err(|_| refuse())?;
        let unit = unit.trim();
        let (_, size) =
            UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refuse)?;
        let bytes = number * *size as f64;
        if !(bytes >= 1.0 && bytes < (1_u64 << 53) as f64) {
            return Err(refuse());
        }
        Ok(Self { bytes: bytes as u64 })
    }
}

impl fmt::Display for Memory {
    /// In the largest binary unit of which there is at least one, to two places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = &UNITS[..3];
        let (unit, size) = units.iter().find(|(_, size)| self.bytes >= *size).unwrap_or(&units[2]);
        let text = format!("{:.2}", self.bytes as f64 / *size as f64);
        write!(f, "{} {unit}", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TryFrom<String> for Memory {
    type Error = MemoryError;

    fn try_from(text: String) -> Result<Self, MemoryError> {
        text.parse()
    }
}

impl From<Memory> for String {
    /// Exact where [`Display`](fmt::Display) rounds.
    fn from(memory: Memory) -> Self {
        let shown = memory.to_string();
        match shown.parse::<Memory>() {
            Ok(same) if same == memory => shown,
            _ => format!("{} MB", memory.bytes as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        let bytes = |text: &str| text.parse::<Memory>().map(Memory::bytes);
        assert_eq!(bytes("16 GiB"), Ok(16 << 30));
        assert_eq!(bytes("1.5gib"), Ok(3 << 29));
        assert_eq!(bytes("500 MB"), Ok(500_000_000));
        for bad in ["", "16", "GiB", "-1 GiB", "0 GiB", "1 GiB x", "9999999 TiB", "nan GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(Memory::of_bytes(16 << 30).unwrap().to_string(), "16 GiB");
        assert_eq!(Memory::of_bytes(85_520_809_984).unwrap().to_string(), "79.65 GiB");
        for exact in [16 << 30, 85_520_809_984, 500_000_000, 123_456_789] {
            let text = String::from(Memory::of_bytes(exact).unwrap());
            assert_eq!(text.parse::<Memory>().unwrap().bytes(), exact, "{text}");
        }
    }
}
