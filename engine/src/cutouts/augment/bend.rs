//! Augmentations that bend: elastic displacement and thin-plate splines.

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::Stream;

use super::linear::solve;

/// Samples bilinearly at normalised coordinates, black beyond the edge. `aligned` says whether
/// ±1 is the centre of the outermost pixels or their outer edge.
fn sample(x: &Tensor, grid: &Tensor, aligned: bool) -> Tensor {
    x.grid_sampler_2d(grid, 0, 0, aligned)
}

/// Normalised coordinates of the pixels, [size] from −1 to 1.
fn axis(size: i64, kind: Kind, device: Device) -> Tensor {
    let far = ((size - 1) as f64).max(1.0);
    Tensor::arange(size, (kind, device)) * (2.0 / far) - 1.0
}

/// kornia's `elastic_transform2d` with its defaults: every pixel is displaced by `noise`
/// [N, 2, S, S] (x, then y; in [−1, 1]) after a Gaussian of σ 32 over 63 pixels.
pub fn elastic(x: &Tensor, noise: &Tensor, aligned: bool) -> Tensor {
    let blur = gaussian(x.size()[3], x.device());
    // One cutout at a time: the products then never depend on how many there are.
    let smooth: Vec<Tensor> =
        (0..noise.size()[0]).map(|i| blur.matmul(&noise.get(i)).matmul(&blur)).collect();
    displaced(x, &Tensor::stack(&smooth, 0), aligned)
}

/// As [`elastic`], all at once and with the `blur` of [`gaussian`].
pub fn elastic_at(x: &Tensor, noise: &Tensor, blur: &Tensor, aligned: bool) -> Tensor {
    displaced(x, &blur.matmul(noise).matmul(blur), aligned)
}

/// Looks aside by [N, 2, S, S], normalised.
fn displaced(x: &Tensor, by: &Tensor, aligned: bool) -> Tensor {
    let size = x.size()[3];
    let displacement = by.permute([0, 2, 3, 1]);
    let axis = axis(size, Kind::Float, x.device());
    let (u, v) = (axis.view([1, size]), axis.view([size, 1]));
    let still = Tensor::stack(&[u.expand([size, size], false), v.expand([size, size], false)], -1);
    sample(x, &(still + displacement).clamp(-1.0, 1.0), aligned)
}

/// Displacements for [`elastic`], uniform in [−1, 1), each cutout's from its own stream.
pub fn elastic_noise(like: &Tensor, streams: &mut [Stream]) -> Tensor {
    let size = like.size()[3];
    let numbers: Vec<f32> = streams
        .iter_mut()
        .flat_map(|stream| (0..2 * size * size).map(|_| stream.range(-1.0, 1.0) as f32))
        .collect();
    Tensor::from_slice(&numbers).to_device(like.device()).view([-1, 2, size, size])
}

/// The blur along one side as a symmetric matrix; what lies outside counts as zero.
pub fn gaussian(size: i64, device: Device) -> Tensor {
    const REACH: i64 = 31;
    const SIGMA: f64 = 32.0;
    let weight = |d: i64| (-(d * d) as f64 / (2.0 * SIGMA * SIGMA)).exp();
    let sum: f64 = (-REACH..=REACH).map(weight).sum();
    let entry = |i: i64, j: i64| if (i - j).abs() <= REACH { weight(i - j) / sum } else { 0.0 };
    let entries: Vec<f32> = (0..size * size).map(|at| entry(at / size, at % size) as f32).collect();
    Tensor::from_slice(&entries).to_device(device).view([size, size])
}

/// A thin-plate spline: where each normalised output point looks.
#[derive(Clone, Debug)]
pub struct ThinPlate {
    centres: Vec<[f64; 2]>,
    /// One a centre, then constant, x and y.
    weights: Vec<[f64; 2]>,
}

/// Points of the picture that a spline holds, normalised: the corners and the middle.
pub const HELD: [[f64; 2]; 5] = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [0.0, 0.0]];

/// kornia 0.5.4 names the upper right corner twice and the lower right one never.
pub const HELD_IN_KORNIA: [[f64; 2]; 5] =
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, -1.0], [0.0, 0.0]];

/// r²·ln(r²)/2, kornia's `_kernel_distance`.
fn kernel([ax, ay]: [f64; 2], [bx, by]: [f64; 2]) -> f64 {
    let square = (ax - bx).powi(2) + (ay - by).powi(2);
    0.5 * square * (square + 1e-8).ln()
}

impl ThinPlate {
    /// The spline that shows `held` at `moved`. None where the points allow none.
    pub fn new(held: &[[f64; 2]; 5], moved: &[[f64; 2]; 5]) -> Option<Self> {
        Self::fit(held, moved, moved)
    }

    /// kornia 0.5.4's: it measures distances from the wrong points, so that the spline misses.
    pub fn with_kornias_quirk(held: &[[f64; 2]; 5], moved: &[[f64; 2]; 5]) -> Option<Self> {
        Self::fit(held, moved, held)
    }

    /// Corners and middle moved by up to `scale` along each side.
    pub fn draw(stream: &mut Stream, scale: f64) -> Self {
        Self::or_still(Self::new(&HELD, &moved(&HELD, stream, scale)))
    }

    /// The same with kornia 0.5.4's points and formula.
    pub fn draw_in_kornia(stream: &mut Stream, scale: f64) -> Self {
        let moved = moved(&HELD_IN_KORNIA, stream, scale);
        Self::or_still(Self::with_kornias_quirk(&HELD_IN_KORNIA, &moved))
    }

    /// Where points fall together no spline exists, and the picture stays.
    fn or_still(spline: Option<Self>) -> Self {
        let still = || Self { centres: vec![], weights: vec![[0.0; 2], [1.0, 0.0], [0.0, 1.0]] };
        spline.unwrap_or_else(still)
    }

    fn fit(held: &[[f64; 2]; 5], moved: &[[f64; 2]; 5], centres: &[[f64; 2]; 5]) -> Option<Self> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(8);
        for &[x, y] in moved {
            let near = centres.iter().map(|&c| kernel([x, y], c));
            rows.push(near.chain([1.0, x, y]).collect());
        }
        for side in 0..3 {
            let of = |p: &[f64; 2]| [1.0, p[0], p[1]][side];
            rows.push(moved.iter().map(of).chain([0.0; 3]).collect());
        }
        let wanted = held.iter().copied().chain([[0.0; 2]; 3]).collect();
        Some(Self { centres: centres.to_vec(), weights: solve(rows, wanted)? })
    }

    /// Five centres, then eight weights, x and y of each; all that [`thin_plate_at`] needs.
    pub fn numbers(&self) -> [f64; Self::NUMBERS] {
        let (bends, flat) = self.weights.split_at(self.centres.len());
        let pad = |n: usize| std::iter::repeat_n([0.0; 2], n);
        let five = |points: &[[f64; 2]]| pad(5 - points.len()).chain(points.to_vec());
        let mut numbers = five(&self.centres).chain(five(bends)).chain(flat.to_vec()).flatten();
        std::array::from_fn(|_| numbers.next().unwrap_or_default())
    }

    pub const NUMBERS: usize = 2 * (5 + 8);
}

fn moved(points: &[[f64; 2]; 5], stream: &mut Stream, scale: f64) -> [[f64; 2]; 5] {
    points.map(|point| point.map(|at| at + stream.range(-scale, scale)))
}

/// Bends each cutout by its own spline.
pub fn thin_plate(x: &Tensor, splines: &[ThinPlate], aligned: bool) -> Tensor {
    let numbers: Vec<f64> = splines.iter().flat_map(ThinPlate::numbers).collect();
    let numbers = Tensor::from_slice(&numbers).to_device(x.device());
    thin_plate_at(x, &numbers.view([-1, ThinPlate::NUMBERS as i64]), aligned)
}

/// As [`thin_plate`], by [`ThinPlate::numbers`] on the device, float64 [N, 26]: in double
/// precision, as the spline sums large terms.
pub fn thin_plate_at(x: &Tensor, numbers: &Tensor, aligned: bool) -> Tensor {
    let size = x.size()[3];
    let axis = axis(size, Kind::Double, x.device());
    let (u, v) = (axis.view([1, 1, size]), axis.view([1, size, 1]));
    let number = |i: i64| numbers.select(1, i).view([-1, 1, 1]);
    let [constant, along_x, along_y] = [20, 22, 24];
    let mut places = [0, 1].map(|side| {
        number(constant + side) + number(along_x + side) * &u + number(along_y + side) * &v
    });
    for k in 0..5 {
        let square = (&u - number(2 * k)).square() + (&v - number(2 * k + 1)).square();
        let bend = 0.5 * &square * (&square + 1e-8).log();
        for (side, place) in (0..).zip(&mut places) {
            *place += number(10 + 2 * k + side) * &bend;
        }
    }
    sample(x, &Tensor::stack(&places, -1).to_kind(Kind::Float), aligned)
}
