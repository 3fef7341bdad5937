//! NR's `resample`: anti-aliased shrinking or enlarging of an image, as two matrices.
//!
//! Where a side shrinks, a Lanczos-2 filter with reflected edges runs first; then both sides
//! are interpolated bicubically, corners aligned. Every step is linear and separable, so the
//! whole is `Y = R_h · X · R_wᵀ` with one banded matrix a side. The products visit each pixel
//! once and their gradient is exact, where the original pads, convolves and interpolates.

use std::f64::consts::PI;

use tch::{Device, Kind, Tensor};

/// Resamples [N, C, H, W] to [N, C, size[0], size[1]].
pub fn resample(x: &Tensor, size: [i64; 2]) -> Tensor {
    let shape = x.size();
    let rows = Rows::new(shape[2] as usize, size[0] as usize).matrix(x.device());
    let columns = Rows::new(shape[3] as usize, size[1] as usize).matrix(x.device());
    rows.matmul(x).matmul(&columns.tr())
}

/// The same in the originals' own steps, rounding as they do. An image that shrinks must be
/// larger than the filter that their padding reflects it for.
pub fn resample_in_steps(x: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let (n, c, h, w) = (x.size()[0], x.size()[1], x.size()[2], x.size()[3]);
    let mut x = x.reshape([n * c, 1, h, w]);
    if height < h {
        let filter = lanczos_in_steps(height as f64 / h as f64).to_device(x.device());
        let pad = filter.size()[0] / 2;
        x = x.reflection_pad2d([0, 0, pad, pad]);
        let filter = filter.view([1, 1, -1, 1]);
        x = x.conv2d(&filter, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
    }
    if width < w {
        let filter = lanczos_in_steps(width as f64 / w as f64).to_device(x.device());
        let pad = filter.size()[0] / 2;
        x = x.reflection_pad2d([pad, pad, 0, 0]);
        let filter = filter.view([1, 1, 1, -1]);
        x = x.conv2d(&filter, None::<Tensor>, [1, 1], [0, 0], [1, 1], 1);
    }
    x.view([n, c, h, w]).upsample_bicubic2d([height, width], true, None, None)
}

/// [`lanczos`] as float32 tensor operations.
fn lanczos_in_steps(ratio: f64) -> Tensor {
    let half: Vec<f32> = ramp(ratio).map(|at| at as f32).collect();
    let half = Tensor::from_slice(&half);
    let x = Tensor::cat(&[-half.narrow(0, 1, half.size()[0] - 1).flip([0]), half], 0);
    let one = Tensor::ones([], (Kind::Float, Device::Cpu));
    let sinc = |x: &Tensor| ((x * PI).sin() / (x * PI)).where_self(&x.ne(0.0), &one);
    let inside = x.gt(-2.0).logical_and(&x.lt(2.0));
    let weights = (sinc(&x) * sinc(&(&x / 2.0))).where_self(&inside, &Tensor::zeros_like(&one));
    &weights / weights.sum(Kind::Float)
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
    let weight = |x: f64| if x < 2.0 { sinc(x) * sinc(x / 2.0) } else { 0.0 };
    let half: Vec<f64> = ramp(ratio).map(|at| weight(f64::from(at as f32))).collect();
    let filter: Vec<f64> = half[1..].iter().rev().chain(&half).copied().collect();
    let sum: f64 = filter.iter().sum();
    filter.iter().map(|w| w / sum).collect()
}

/// Multiples of `ratio` by adding up. It stops where the original's does, one step short of
/// ceil(2/ratio + 1).
fn ramp(ratio: f64) -> impl Iterator<Item = f64> {
    let count = (2.0 / ratio + 1.0).ceil() as usize - 1;
    std::iter::successors(Some(0.0), move |at| Some(at + ratio)).take(count)
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
