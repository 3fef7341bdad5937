//! Styles: a pass over the pixels. Patterns cover the backdrop, watercolour everything.
//!
//! Patterns repeat every sixth of the picture, at the same place in every scene, and are
//! broad: an f8 latent must be able to say them.

use vqfarm_core::rng::{Key, Purpose, Stream};

use super::canvas::Rgb;
use crate::scene::Style;

const PAPER: Rgb = Rgb(253.0, 250.0, 240.0);

/// Lays the style's pattern, if it has one, over a square of side `size`.
pub fn pattern(style: Style, pixels: &mut [Rgb], size: usize) {
    let unit = 6.0 / size as f32;
    match style {
        Style::Flat | Style::Watercolour => {}
        Style::Stripes => each(pixels, size, |x, y, c| {
            let phase = ((x + y) * unit).fract();
            // A soft square wave: 1 on one half of the period, 0 on the other.
            let wave = smooth(0.0, 0.1, phase) * (1.0 - smooth(0.5, 0.6, phase));
            contrast(c, wave)
        }),
        Style::Dots => each(pixels, size, |x, y, c| {
            let (u, v) = (x * unit, y * unit);
            let shift = if v as i32 % 2 == 0 { 0.0 } else { 0.5 };
            let (du, dv) = ((u + shift).fract() - 0.5, v.fract() - 0.5);
            contrast(c, 1.0 - smooth(0.27, 0.36, (du * du + dv * dv).sqrt()))
        }),
    }
}

fn each(pixels: &mut [Rgb], size: usize, restyle: impl Fn(f32, f32, Rgb) -> Rgb) {
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = ((i % size) as f32 + 0.5, (i / size) as f32 + 0.5);
        *pixel = restyle(x, y, *pixel);
    }
}

/// Lightens dark colours and darkens light ones, by `amount` of the style's strength.
fn contrast(c: Rgb, amount: f32) -> Rgb {
    let light = (0.3 * c.0 + 0.59 * c.1 + 0.11 * c.2) / 255.0;
    let towards = smooth(0.62, 0.72, light);
    let target = Rgb(255.0, 255.0, 255.0).mix(Rgb(60.0, 40.0, 90.0), towards);
    c.mix(target, 0.3 * amount)
}

/// Pigment that pools and thins, runs over its outlines, and fades into the paper's edge.
/// `paper` is the number of a sheet.
pub fn watercolour(pixels: &mut [Rgb], size: usize, paper: u32) {
    let mut stream = Key::new(0, Purpose::Scene).frame(paper).iteration(3).stream();
    let wash = Noise::new(5, &mut stream);
    let run = Noise::new(9, &mut stream);
    let source = pixels.to_vec();
    let last = size as f32 - 1.0;
    each(pixels, size, |x, y, _| {
        let (u, v) = (x / size as f32, y / size as f32);
        let bleed = 0.04 * (run.at(u, v) - 0.5);
        let sample = |dx: f32, dy: f32| {
            let px = (x + (bleed + dx) * size as f32).clamp(0.0, last) as usize;
            let py = (y + (dy - bleed) * size as f32).clamp(0.0, last) as usize;
            source[py * size + px]
        };
        let soft = sample(0.01, 0.0).mix(sample(-0.01, 0.0), 0.5);
        let c = soft.mix(sample(0.0, 0.01).mix(sample(0.0, -0.01), 0.5), 0.5);
        let edge = u.min(v).min(1.0 - u).min(1.0 - v) + 0.09 * (run.at(v, u) - 0.5);
        let paper = 0.1 + 0.45 * wash.at(u, v) * wash.at(v, u);
        c.mix(PAPER, paper).mix(PAPER, 1.0 - smooth(0.0, 0.09, edge))
    });
}

/// Value noise in [0, 1] on a square lattice, cubically smoothed.
struct Noise {
    side: usize,
    values: Vec<f32>,
}

impl Noise {
    fn new(side: usize, stream: &mut Stream) -> Self {
        Self { side, values: (0..side * side).map(|_| stream.uniform() as f32).collect() }
    }

    fn at(&self, u: f32, v: f32) -> f32 {
        let scale = (self.side - 1) as f32;
        let (x, y) = (u.clamp(0.0, 1.0) * scale, v.clamp(0.0, 1.0) * scale);
        let (i, j) = ((x as usize).min(self.side - 2), (y as usize).min(self.side - 2));
        let (fx, fy) = (smooth(0.0, 1.0, x - i as f32), smooth(0.0, 1.0, y - j as f32));
        let row = |j: usize| {
            let (a, b) = (self.values[j * self.side + i], self.values[j * self.side + i + 1]);
            a + (b - a) * fx
        };
        row(j) + (row(j + 1) - row(j)) * fy
    }
}

/// GLSL's smoothstep.
fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
