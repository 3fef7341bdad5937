//! Axes of random numbers: `{ random = [0.02, 0.2], count = 8, scale = "log" }`.

use serde::{Deserialize, Serialize};

use crate::rng::{Key, Purpose};

/// Numbers drawn from a span, held as the span however many they are. Number `n` is the same
/// whatever `count` is, so a longer axis begins with a shorter one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Random {
    /// The least and the largest that may come.
    random: [f64; 2],
    count: u64,
    #[serde(skip_serializing_if = "Scale::is_linear")]
    scale: Scale,
    #[serde(skip_serializing_if = "is_zero")]
    seed: u64,
    /// The axis, so that two of one seed differ.
    #[serde(skip)]
    name: String,
}

/// How numbers lie in the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    #[default]
    Linear,
    /// Each doubling is as likely as another.
    Log,
}

impl Scale {
    fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

fn is_zero(seed: &u64) -> bool {
    *seed == 0
}

/// Whole numbers up to here are exact in float64.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Random {
    /// # Errors
    /// A span without numbers, one that has no logarithm, no numbers wanted.
    pub fn new(span: [f64; 2], count: u64, scale: Scale, seed: u64) -> Result<Self, String> {
        let [from, to] = span;
        if !(from < to && from.abs() <= EXACT && to.abs() <= EXACT) {
            return Err("`random` is the least and the largest number, as in [0.02, 0.2]".into());
        }
        if scale == Scale::Log && from <= 0.0 {
            return Err("on a logarithmic scale the numbers must be above 0".into());
        }
        if count == 0 || count as f64 > EXACT {
            return Err("`count` says how many numbers are drawn, 1 or more".into());
        }
        Ok(Self { random: span, count, scale, seed, name: String::new() })
    }

    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// How many numbers; at least 1.
    #[allow(clippy::len_without_is_empty)] // Never empty.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// The least and the largest number that may come.
    pub fn span(&self) -> [f64; 2] {
        self.random
    }

    /// Number `index`, to six digits.
    pub fn get(&self, index: u64) -> f64 {
        let [from, to] = self.random;
        let share = self.share(index);
        let drawn = match self.scale {
            Scale::Linear => from + (to - from) * share,
            Scale::Log => from * (to / from).powf(share),
        };
        let short = format!("{drawn:.5e}").parse().unwrap_or(drawn);
        // Rounding must not lead out.
        f64::clamp(short, from, to)
    }

    /// Number `index` of whole ones, each as likely as another on a linear scale.
    pub fn whole(&self, index: u64) -> i64 {
        let [from, to] = self.random.map(f64::trunc);
        let share = self.share(index);
        let drawn = match self.scale {
            Scale::Linear => from + (to - from + 1.0) * share,
            Scale::Log => from.max(1.0) * ((to + 1.0) / from.max(1.0)).powf(share),
        };
        drawn.floor().clamp(from, to) as i64
    }

    /// In [0, 1), to 48 bits.
    fn share(&self, index: u64) -> f64 {
        let key = Key::new(self.seed ^ hash(&self.name), Purpose::Axis);
        let mut stream = key.frame(index as u32).iteration((index >> 32) as u32).stream();
        stream.uniform() + stream.uniform() / f64::from(1u32 << 24)
    }
}

/// FNV-1a, 64 bits.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(span: [f64; 2], scale: Scale, seed: u64) -> Vec<f64> {
        let random = Random::new(span, 2_000, scale, seed).unwrap().named("step_size");
        (0..random.len()).map(|n| random.get(n)).collect()
    }

    #[test]
    fn numbers_fill_the_span_evenly_on_their_scale() {
        let linear = drawn([1.0, 3.0], Scale::Linear, 0);
        assert!(linear.iter().all(|x| (1.0..=3.0).contains(x)));
        let mean = linear.iter().sum::<f64>() / linear.len() as f64;
        assert!((mean - 2.0).abs() < 0.05, "{mean}");
        let log = drawn([0.01, 1.0], Scale::Log, 0);
        let below = log.iter().filter(|x| **x < 0.1).count();
        assert!(below.abs_diff(1_000) < 80, "{below} of 2,000 below the middle");
    }

    #[test]
    fn whole_numbers_are_all_as_likely() {
        let die = Random::new([1.0, 6.0], 6_000, Scale::Linear, 4).unwrap();
        for side in 1..=6 {
            let times = (0..6_000).filter(|n| die.whole(*n) == side).count();
            assert!(times.abs_diff(1_000) < 120, "{side}: {times} times");
        }
    }

    #[test]
    fn a_draw_is_fixed_by_seed_name_and_number_alone() {
        let short = Random::new([0.0, 1.0], 3, Scale::Linear, 7).unwrap().named("a");
        let long = Random::new([0.0, 1.0], 9, Scale::Linear, 7).unwrap().named("a");
        assert!((0..3).all(|n| short.get(n) == long.get(n)));
        assert_ne!(drawn([0.0, 1.0], Scale::Linear, 1), drawn([0.0, 1.0], Scale::Linear, 2));
        assert_ne!(long.get(0), long.clone().named("b").get(0));
    }

    #[test]
    fn spans_without_numbers_are_refused() {
        for (span, count, scale) in [
            ([1.0, 1.0], 1, Scale::Linear),
            ([2.0, 1.0], 1, Scale::Linear),
            ([f64::NAN, 1.0], 1, Scale::Linear),
            ([0.0, f64::INFINITY], 1, Scale::Linear),
            ([0.0, 1.0], 1, Scale::Log),
            ([0.0, 1.0], 0, Scale::Linear),
        ] {
            assert!(Random::new(span, count, scale, 0).is_err(), "{span:?} {count}");
        }
    }
}
