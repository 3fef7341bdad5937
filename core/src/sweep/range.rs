//! Ranges as other grid tools write them: `1-4`, `1-10 (+3)`, `0-1 [5]`, `0..1 [5]`.

use std::fmt;
use std::str::FromStr;

/// Evenly spaced numbers, held as three numbers however many they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    first: f64,
    last: f64,
    spacing: Spacing,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Spacing {
    /// Steps of 1 or -1 from the first to the last.
    Unit,
    /// Steps of this size, up to the last at most.
    Step(f64),
    /// This many numbers, both ends among them.
    Count(u64),
}

/// Whole numbers up to here are exact in float64.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Range {
    fn new(first: f64, last: f64, spacing: Spacing) -> Result<Self, String> {
        let span = last - first;
        if first.abs() > EXACT || last.abs() > EXACT {
            return Err("the ends of a range must lie within ±2^53".into());
        }
        let steps = match spacing {
            Spacing::Unit => span.abs().floor(),
            Spacing::Step(step) if step == 0.0 || (step > 0.0) != (span >= 0.0) => {
                return Err(format!("steps of {step} never lead from {first} to {last}"));
            }
            // A hair more, so that 0-1 (+0.1) reaches 1.
            Spacing::Step(step) => (span / step + 1e-9).floor(),
            Spacing::Count(0) => return Err("a range of [0] numbers is empty".into()),
            Spacing::Count(n) => n as f64 - 1.0,
        };
        if steps >= EXACT {
            return Err("the range has too many numbers".into());
        }
        Ok(Self { first, last, spacing, len: steps as u64 + 1 })
    }

    /// How many numbers; at least 1.
    #[allow(clippy::len_without_is_empty)] // A range is never empty.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Number `index` of the range, counted from 0.
    pub fn get(&self, index: u64) -> f64 {
        let i = index as f64;
        match self.spacing {
            Spacing::Unit if self.last < self.first => self.first - i,
            Spacing::Unit => self.first + i,
            Spacing::Step(step) => tidy(self.first + i * step),
            Spacing::Count(1) => self.first,
            Spacing::Count(n) => tidy(self.first + (self.last - self.first) * i / (n as f64 - 1.0)),
        }
    }

    /// Whether all its numbers are whole.
    pub fn is_whole(&self) -> bool {
        let step = match self.spacing {
            Spacing::Unit | Spacing::Count(1) => 1.0,
            Spacing::Step(step) => step,
            Spacing::Count(n) => (self.last - self.first) / (n as f64 - 1.0),
        };
        self.first.fract() == 0.0 && step.fract() == 0.0
    }

    /// Whether no two of its numbers have the same whole part.
    pub fn is_distinct_when_truncated(&self) -> bool {
        self.len < 2 || (self.get(1) - self.get(0)).abs() >= 1.0
    }
}

/// Without the dust of binary fractions: 0.1 + 2·0.1 is 0.3.
fn tidy(x: f64) -> f64 {
    format!("{x:.12}").parse().unwrap_or(x)
}

/// What is said of a text that was meant to be one.
pub(super) const NOT_A_RANGE: &str = "is not a range";

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text:?} {NOT_A_RANGE}");
        let mut rest = Rest(text);
        let first = rest.number().ok_or_else(malformed)?;
        if !rest.take("..") && !rest.take("-") {
            return Err(malformed());
        }
        let last = rest.number().ok_or_else(malformed)?;
        let spacing = if rest.take("(") {
            let step = rest.number().ok_or_else(malformed)?;
            if !rest.take(")") {
                return Err(malformed());
            }
            Spacing::Step(step)
        } else if rest.take("[") {
            let count = rest.number().filter(|n| (0.0..EXACT).contains(n) && n.fract() == 0.0);
            let count = count.ok_or_else(malformed)?;
            if !rest.take("]") {
                return Err(malformed());
            }
            Spacing::Count(count as u64)
        } else {
            Spacing::Unit
        };
        if !rest.0.trim().is_empty() {
            return Err(malformed());
        }
        Self::new(first, last, spacing)
    }
}

/// What of a range's text is still unread.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, mark: &str) -> bool {
        match self.0.trim_start().strip_prefix(mark) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A signed decimal number. A dot needs digits on both sides, so `0..1` splits.
    fn number(&mut self) -> Option<f64> {
        let text = self.0.trim_start();
        let bytes = text.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut end = usize::from(text.starts_with(['+', '-']));
        let whole = digits(end);
        end += whole;
        let fraction = if bytes.get(end) == Some(&b'.') { digits(end + 1) } else { 0 };
        if fraction > 0 {
            end += 1 + fraction;
        }
        if whole == 0 {
            return None;
        }
        let number: f64 = text[..end].parse().ok()?;
        self.0 = &text[end..];
        number.is_finite().then_some(number)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)?;
        match self.spacing {
            Spacing::Unit => Ok(()),
            Spacing::Step(step) => write!(f, " ({step:+})"),
            Spacing::Count(n) => write!(f, " [{n}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(text: &str) -> Vec<f64> {
        let range: Range = text.parse().unwrap();
        (0..range.len()).map(|i| range.get(i)).collect()
    }

    #[test]
    fn ranges_read_as_in_other_grid_tools() {
        let table: [(&str, &[f64]); 13] = [
            ("1-4", &[1.0, 2.0, 3.0, 4.0]),
            ("4-1", &[4.0, 3.0, 2.0, 1.0]),
            ("7-7", &[7.0]),
            ("1-10 (+3)", &[1.0, 4.0, 7.0, 10.0]),
            ("10-1(-4)", &[10.0, 6.0, 2.0]),
            ("0-1 [5]", &[0.0, 0.25, 0.5, 0.75, 1.0]),
            ("0..1 [5]", &[0.0, 0.25, 0.5, 0.75, 1.0]),
            ("0.1..0.3 (+0.1)", &[0.1, 0.2, 0.3]),
            ("-1..1 [3]", &[-1.0, 0.0, 1.0]),
            ("-3--1", &[-3.0, -2.0, -1.0]),
            ("0.5-2", &[0.5, 1.5]),
            ("0 - 1 [1]", &[0.0]),
            ("1-10 [5]", &[1.0, 3.25, 5.5, 7.75, 10.0]),
        ];
        for (text, expected) in table {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "",
            "1",
            "1-",
            "-",
            "a-b",
            "1-2-3",
            "1-4 [",
            "1-4 [2.5]",
            "1-4 [-1]",
            "1-4 [0]",
            "1-4 (0)",
            "1-4 (-1)",
            "4-1 (+1)",
            "1-4 (+1",
            "1e300-2",
            "0-9007199254740993000",
            "1...4",
            "0-1 (+0.0000000000000000001)",
        ] {
            assert!(bad.parse::<Range>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_huge_range_costs_nothing() {
        let range: Range = "1-10000000".parse().unwrap();
        assert_eq!((range.len(), range.get(9_999_999)), (10_000_000, 10_000_000.0));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[-+0-9. ()\\[\\]a]{0,24}") {
            if let Ok(range) = text.parse::<Range>() {
                prop_assert!(range.len() >= 1);
                prop_assert!(range.get(range.len() - 1).is_finite());
            }
        }

        #[test]
        fn a_written_range_reads_back(text in "-?[0-9]{1,3}(\\.5)?\\.\\.[0-9]{1,3}( \\[[1-9]\\]| \\(\\+0\\.25\\))?") {
            if let Ok(range) = text.parse::<Range>() {
                prop_assert_eq!(range.to_string().parse::<Range>(), Ok(range));
            }
        }
    }
}
