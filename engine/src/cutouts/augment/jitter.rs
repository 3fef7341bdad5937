//! kornia 0.5.4's colour jitter for a whole batch at once, whatever order each image's four changes
//! come in: one sequence of operations that does any of the orders, by numbers on the device.
//!
//! Saturation and hue change different coordinates of HSV, and brightness and contrast are clamped
//! straight lines, as is one after another. So every order is: line, saturation, line, hue, line,
//! saturation, line, where one saturation and some lines do nothing.

use std::f64::consts::PI;

use tch::Tensor;
use vqfarm_core::rng::Stream;

use super::colour::{hue, saturation};

/// y = min(max(gain·x + add, low), high).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    gain: f64,
    add: f64,
    low: f64,
    high: f64,
}

impl Line {
    const NONE: Self = Self { gain: 1.0, add: 0.0, low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// First `self`, then the line of `gain` > 0 and `add`, clamped to [0, 1].
    fn then(self, gain: f64, add: f64) -> Self {
        let next = |x: f64| (gain * x + add).clamp(0.0, 1.0);
        let (low, high) = (next(self.low), next(self.high));
        Self { gain: gain * self.gain, add: gain * self.add + add, low, high }
    }
}

/// One cutout's jitter as numbers.
#[derive(Clone, Copy, Debug)]
pub struct AnyOrder {
    lines: [Line; 4],
    /// Factors; None does nothing.
    saturations: [Option<f64>; 2],
    /// Radians.
    hue: Option<f64>,
}

impl AnyOrder {
    pub const NONE: Self = Self { lines: [Line::NONE; 4], saturations: [None; 2], hue: None };

    /// As [`super::colour::jitter_in_kornia`] draws it.
    pub fn draw(own: &mut Stream, shared: &mut Stream, range: &[f64; 4]) -> Self {
        let mut parameter =
            |middle: f64, reach: f64| f64::from(own.range(middle - reach, middle + reach) as f32);
        let added = parameter(0.0, range[0]);
        let gain = parameter(1.0, range[1]);
        let saturated = parameter(1.0, range[2]);
        let turned = parameter(0.0, range[3] * 2.0 * PI);
        let order = order(shared);
        let place = |change: usize| order.iter().position(|&c| c == change).unwrap_or_default();
        // Before the hue or after it.
        let late = usize::from(place(2) > place(3));
        let mut jitter = Self::NONE;
        jitter.saturations[late] = Some(saturated);
        jitter.hue = Some(turned);
        // The line that is next: the ones around the saturation that does nothing stay empty.
        let mut line = late;
        for change in order {
            match change {
                0 => jitter.lines[line] = jitter.lines[line].then(1.0, added),
                1 => jitter.lines[line] = jitter.lines[line].then(gain, 0.0),
                _ => line += 1,
            }
        }
        jitter
    }

    pub const NUMBERS: usize = 4 * 4 + 2 * 2 + 2;

    /// What [`jitter_in_any_order`] needs.
    pub fn numbers(&self) -> [f64; Self::NUMBERS] {
        let lines = self.lines.iter().flat_map(|l| [l.gain, l.add, l.low, l.high]);
        let optional = |value: Option<f64>| [value.unwrap_or(0.0), f64::from(value.is_some())];
        let saturations = self.saturations.into_iter().flat_map(optional);
        let mut numbers = lines.chain(saturations).chain(optional(self.hue));
        std::array::from_fn(|_| numbers.next().unwrap_or_default())
    }
}

/// In which order brightness, contrast, saturation and hue (0 to 3) come.
pub fn order(shared: &mut Stream) -> [usize; 4] {
    let mut left: Vec<usize> = (0..4).collect();
    std::array::from_fn(|_| left.swap_remove(shared.below(left.len() as u32) as usize))
}

/// Jitters images [N, 3, H, W] by [`AnyOrder::numbers`] on the device, float32 [N, 22].
pub fn jitter_in_any_order(x: &Tensor, numbers: &Tensor) -> Tensor {
    let number = |i: i64| numbers.select(1, i);
    let line = |x: Tensor, i: i64| {
        let [gain, add, low, high] = [0, 1, 2, 3].map(|j| number(4 * i + j).view([-1, 1, 1, 1]));
        (x * gain + add).maximum(&low).minimum(&high)
    };
    let changed = |x: Tensor, i: i64, change: fn(&Tensor, &Tensor) -> Tensor| {
        let applies = number(i + 1).view([-1, 1, 1, 1]).ne(0.0);
        change(&x, &number(i)).where_self(&applies, &x)
    };
    let x = changed(line(x.shallow_clone(), 0), 16, saturation);
    let x = changed(line(x, 1), 20, hue);
    let x = changed(line(x, 2), 18, saturation);
    line(x, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_one_after_another_are_one_line() {
        let both = Line::NONE.then(1.0, 0.3).then(0.8, 0.0);
        let apart = |x: f64| ((x + 0.3).clamp(0.0, 1.0) * 0.8).clamp(0.0, 1.0);
        for i in -20..=20 {
            let x = f64::from(i) / 10.0;
            let once = (both.gain * x + both.add).clamp(both.low, both.high);
            assert!((once - apart(x)).abs() < 1e-12, "{x}: {once}");
        }
    }
}
