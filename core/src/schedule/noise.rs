//! `noise(x)`: a smooth random curve, drawn from the job's seed.

use crate::rng::{Key, Purpose};

/// Gradient noise (Perlin 1985) of one dimension: 0 at whole numbers, within [-1, 1], and
/// another curve for each seed and each `stream`.
pub(super) fn noise(seed: u64, stream: f64, x: f64) -> f64 {
    if !x.is_finite() || !stream.is_finite() {
        return f64::NAN;
    }
    let cell = x.floor();
    let within = x - cell;
    let slope = |cell: f64| {
        // Repeats after 2³² cells, which no animation reaches.
        let cell = cell.rem_euclid(4_294_967_296.0) as u32;
        let stream = stream.rem_euclid(4_294_967_296.0) as u32;
        let key = Key::new(seed, Purpose::Schedule).iteration(cell).cutout(stream);
        key.stream().range(-1.0, 1.0)
    };
    let (left, right) = (slope(cell) * within, slope(cell + 1.0) * (within - 1.0));
    let fade = within.powi(3) * (within * (within * 6.0 - 15.0) + 10.0);
    2.0 * (left + (right - left) * fade)
}
