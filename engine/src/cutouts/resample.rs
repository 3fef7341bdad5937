//! NR's `resample`: anti-aliased shrinking or enlarging of an image, as two matrices.
//!
//! Where a side shrinks, a Lanczos-2 filter with reflected edges runs first; then both sides
//! are interpolated bicubically, corners aligned. Every step is linear and separable, so the
//! whole is `Y = R_h · X · R_wᵀ` with one banded matrix a side. The products visit each pixel
//! once and their gradient is exact, where the original pads, convolves and interpolates.

use std::f64::consts::PI;

use tch::{Device, Tensor};

/// Resamples [N, C, H, W] to [N, C, size[0], size[1]].
pub fn resample(x: &Tensor, size: [i64; 2]) -> Tensor {
    let shape = x.size();
    let rows = Rows::new(shape[2] as usize, size[0] as usize).matrix(x.device());
    let columns = Rows::new(shape[3] as usize, size[1] as usize).matrix(x.device());
    rows.matmul(x).matmul(&columns.tr())
}

/// The matrix that resamples one side: each output's weights over the inputs.
pub struct Rows {
    input: usize,
    output: usize,
    /// Row-major [output, input].
    weights: Vec<f32>,
}

impl Rows {
    /// From `input` to `output` samples, both at least 1.
    pub fn new(input: usize, output: usize) -> Self {
        let filter = if output < input { lanczos(output as f64 / input as f64) } else { vec![1.0] };
        let half = (filter.len() / 2) as i64;
        let mut weights = Vec::with_capacity(input * output);
        let mut row = vec![0f64; input];
        // The originals' coordinates are float32; half an ulp of them shows in the result.
        let scale = if output > 1 { (input - 1) as f32 / (output - 1) as f32 } else { 0.0 };
        for i in 0..output {
            row.fill(0.0);
            let place = scale * i as f32;
            let base = place.floor();
            for (tap, cubic) in (-1..).zip(cubic(place - base)) {
                let centre = (base as i64 + tap).clamp(0, input as i64 - 1);
                for (k, lanczos) in (-half..).zip(&filter) {
                    row[reflect(centre + k, input)] += f64::from(cubic) * lanczos;
                }
            }
            weights.extend(row.iter().map(|&w| w as f32));
        }
        Self { input, output, weights }
    }

    /// The weights of each output without the zeros around them, and which input the first of
    /// them belongs to.
    pub fn bands(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.weights.chunks(self.input).map(|row| {
            let first = row.iter().position(|&w| w != 0.0).unwrap_or(0);
            let end = row.iter().rposition(|&w| w != 0.0).map_or(1, |last| last + 1);
            (first, &row[first..end])
        })
    }

    /// As a tensor [output, input].
    pub fn matrix(&self, device: Device) -> Tensor {
        Tensor::from_slice(&self.weights)
            .view([self.output as i64, self.input as i64])
            .to_device(device)
    }
}

/// Lanczos-2 sampled at multiples of `ratio` < 1, summing to 1; an odd number of taps.
fn lanczos(ratio: f64) -> Vec<f64> {
    // The ramp stops where the original's does, one step short of ceil(2/ratio + 1).
    let reach = (2.0 / ratio + 1.0).ceil() as i64 - 2;
    let mut at = 0.0;
    let half: Vec<f64> = (0..=reach)
        .map(|_| {
            let x = f64::from(at as f32);
            at += ratio;
            if x < 2.0 { sinc(x) * sinc(x / 2.0) } else { 0.0 }
        })
        .collect();
    let filter: Vec<f64> = half[1..].iter().rev().chain(&half).copied().collect();
    let sum: f64 = filter.iter().sum();
    filter.iter().map(|w| w / sum).collect()
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// Weights of the four neighbours of a point `t` ∈ [0, 1) past the second (Keys, a = −0.75).
/// In float32 and with the fused steps of libtorch's kernel: the outer weights lose digits to
/// cancellation, and losing the same ones keeps the results closest.
fn cubic(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0).mul_add(x, -(A + 3.0)) * x).mul_add(x, 1.0);
    let far = |x: f32| A.mul_add(x, -5.0 * A).mul_add(x, 8.0 * A).mul_add(x, -4.0 * A);
    let u = 1.0 - t;
    [far(t + 1.0), near(t), near(u), far(u + 1.0)]
}

/// Mirrors an index at the first and last sample, which are not repeated.
fn reflect(i: i64, n: usize) -> usize {
    let last = n as i64 - 1;
    if last == 0 {
        return 0;
    }
    let folded = i.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}
