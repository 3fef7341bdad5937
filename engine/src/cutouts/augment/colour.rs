//! Augmentations of colour. Parameters are float32 [N], one a cutout; images [N, 3, H, W].

use std::f64::consts::PI;

use tch::{Kind, Tensor};
use vqfarm_core::rng::Stream;

fn by_image(parameter: &Tensor) -> Tensor {
    parameter.view([-1, 1, 1, 1])
}

/// Adds to every channel, then clamps (kornia 0.5.4 calls this brightness).
pub fn brightness(x: &Tensor, added: &Tensor) -> Tensor {
    (x + by_image(added)).clamp(0.0, 1.0)
}

/// Multiplies every channel, then clamps (kornia 0.5.4 calls this contrast).
pub fn contrast(x: &Tensor, factor: &Tensor) -> Tensor {
    (x * by_image(factor)).clamp(0.0, 1.0)
}

/// What keeps black from dividing by zero, as in later versions of kornia; 0.5.4's 1e-6
/// bleaches by a millionth.
const EPSILON: f64 = 1e-8;

/// Multiplies the saturation of HSV, which may not exceed 1 (kornia's `adjust_saturation`).
///
/// Hue and value stay, so every channel keeps its share of the distance from the largest one
/// and no hue has to be computed.
pub fn saturation(x: &Tensor, factor: &Tensor) -> Tensor {
    let value = x.amax(1, true);
    let chroma = &value - x.amin(1, true);
    let saturation = (&chroma / (&value + EPSILON) * by_image(factor)).clamp(0.0, 1.0);
    let stretch = &value * saturation / nonzero(&chroma);
    &value - stretch * (&value - x)
}

/// Turns the hue of HSV by `angle` radians (kornia's `adjust_hue`).
pub fn hue(x: &Tensor, angle: &Tensor) -> Tensor {
    let Hsv { hue, saturation, value } = Hsv::of(x);
    let hue = (hue + by_image(angle)).remainder(TURN);
    Hsv { hue, saturation, value }.rgb()
}

fn nonzero(x: &Tensor) -> Tensor {
    x.masked_fill(&x.eq(0.0), 1.0)
}

const TURN: f64 = 2.0 * PI;

/// A picture's hue in radians, saturation and value, each [N, 1, H, W].
///
/// The steps and their order are kornia's: rounding the hue costs digits, and rounding it
/// elsewhere would cost others.
struct Hsv {
    hue: Tensor,
    saturation: Tensor,
    value: Tensor,
}

impl Hsv {
    fn of(x: &Tensor) -> Self {
        let value = x.amax(1, true);
        let chroma = &value - x.amin(1, true);
        let saturation = &chroma / (&value + EPSILON);
        let chroma = nonzero(&chroma);
        let below = &value - x;
        let channel = |i: i64| below.narrow(1, i, 1);
        let (red, green, blue) = (channel(0), channel(1), channel(2));
        // Sixths of a turn from red, by the largest channel; the first where two are equal.
        let from_red = &blue - &green;
        let from_green: Tensor = (&red - &blue) + 2.0 * &chroma;
        let from_blue: Tensor = (&green - &red) + 4.0 * &chroma;
        let not_red = from_green.where_self(&green.eq(0.0), &from_blue);
        let sixths = from_red.where_self(&red.eq(0.0), &not_red) / chroma;
        let hue = (sixths / 6.0).remainder(1.0) * TURN;
        Self { hue, saturation, value }
    }

    fn rgb(&self) -> Tensor {
        let sixths = &self.hue / TURN * 6.0;
        let sector = sixths.floor().remainder(6.0);
        let part = sixths.remainder(6.0) - &sector;
        // Over a turn each channel falls from the value for one sixth, stays low for two,
        // rises for one and stays high for two; the channels lie two sixths apart.
        let phase = Tensor::arange(3, (Kind::Float, part.device())) * -2.0 + 5.0;
        let sector = (sector + phase.view([1, 3, 1, 1])).remainder(6.0);
        let fall = (&sector + &part).minimum(&((4.0 - sector) - part)).clamp(0.0, 1.0);
        &self.value * (1.0 - fall * &self.saturation)
    }
}

/// kornia 0.5.4's `ColorJitter` of one image's cutouts: the four changes in a random order,
/// the same for all, with factors of each cutout's own. `range` is half the range of
/// brightness, contrast, saturation and hue (in whole turns).
pub fn jitter_in_kornia(
    x: &Tensor,
    own: &mut [&mut Stream],
    shared: &mut Stream,
    range: &[f64; 4],
) -> Tensor {
    let mut parameter = |middle: f64, reach: f64| {
        let values: Vec<f32> =
            own.iter_mut().map(|s| s.range(middle - reach, middle + reach) as f32).collect();
        Tensor::from_slice(&values).to_device(x.device())
    };
    let added = parameter(0.0, range[0]);
    let gain = parameter(1.0, range[1]);
    let saturated = parameter(1.0, range[2]);
    let turned = parameter(0.0, range[3] * 2.0 * PI);
    let mut x = x.shallow_clone();
    for change in super::jitter::order(shared) {
        x = match change {
            0 => brightness(&x, &added),
            1 => contrast(&x, &gain),
            2 => saturation(&x, &saturated),
            _ => hue(&x, &turned),
        };
    }
    x
}

/// Factors of a jitter in the sane form; 1, 1, 1 and 0 change nothing.
#[derive(Clone, Copy, Debug)]
pub struct Jitter {
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    /// Radians.
    pub hue: f64,
}

type Matrix = [[f64; 3]; 3];

impl Jitter {
    /// Uniform within `range` of no change: brightness, contrast, saturation, hue in turns.
    pub fn draw(stream: &mut Stream, range: &[f64; 4]) -> Self {
        let mut factor = |reach: f64| stream.range(1.0 - reach, 1.0 + reach);
        Self {
            brightness: factor(range[0]),
            contrast: factor(range[1]),
            saturation: factor(range[2]),
            hue: (factor(range[3]) - 1.0) * 2.0 * PI,
        }
    }

    pub const NONE: Self = Self { brightness: 1.0, contrast: 1.0, saturation: 1.0, hue: 0.0 };

    /// The matrix of the whole, row by row, then what is added.
    pub fn numbers(&self) -> [f32; 10] {
        let (matrix, offset) = self.matrix();
        std::array::from_fn(|i| if i < 9 { matrix[i / 3][i % 3] as f32 } else { offset as f32 })
    }

    /// The whole jitter as y = M·x + b: brightness scales, contrast stretches about mid-grey,
    /// saturation about the luma, hue turns about the grey axis. Nothing is clamped, so no
    /// gradient is lost.
    fn matrix(&self) -> (Matrix, f64) {
        const LUMA: [f64; 3] = [0.299, 0.587, 0.114];
        let (sin, cos) = self.hue.sin_cos();
        // Rodrigues' rotation about (1, 1, 1)/√3.
        let (even, odd) = ((1.0 - cos) / 3.0, sin / 3f64.sqrt());
        let mut turn = [[even; 3]; 3];
        for (i, row) in turn.iter_mut().enumerate() {
            row[i] += cos;
            row[(i + 1) % 3] -= odd;
            row[(i + 2) % 3] += odd;
        }
        let gain = self.brightness * self.contrast;
        let saturate = |i: usize, j: usize| {
            let own = if i == j { self.saturation } else { 0.0 };
            own + (1.0 - self.saturation) * LUMA[j]
        };
        let matrix = std::array::from_fn(|i| {
            std::array::from_fn(|j| gain * (0..3).map(|k| saturate(i, k) * turn[k][j]).sum::<f64>())
        });
        (matrix, 0.5 * (1.0 - self.contrast))
    }
}

/// Jitters each cutout by its own factors: one product a cutout.
pub fn jitter(x: &Tensor, jitters: &[Jitter]) -> Tensor {
    let numbers: Vec<f32> = jitters.iter().flat_map(Jitter::numbers).collect();
    jitter_at(x, &Tensor::from_slice(&numbers).to_device(x.device()).view([-1, 10]))
}

/// As [`jitter`], by [`Jitter::numbers`] on the device, float32 [N, 10].
pub fn jitter_at(x: &Tensor, numbers: &Tensor) -> Tensor {
    let matrices = numbers.narrow(1, 0, 9).reshape([-1, 3, 3]);
    let mixed = matrices.bmm(&x.flatten(2, 3)) + numbers.narrow(1, 9, 1).unsqueeze(2);
    mixed.view_as(x)
}
