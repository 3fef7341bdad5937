//! Augmentations that move pixels: one projective map a cutout, sampled bilinearly.
//!
//! A [`Map`] takes an output pixel to the place in the input that it shows, in pixels with
//! (0, 0) at the centre of the upper left one. Maps are computed on the host in double
//! precision, so consecutive ones can be multiplied and sampled at once.

use tch::{Device, Kind, Tensor};

use super::linear::solve;

/// A projective map, row by row; applied to (x, y, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Map(pub [[f64; 3]; 3]);

/// What a sampling shows beyond the input's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    Zeros,
    Border,
    Reflect,
}

/// A random affine move, as kornia's `RandomAffine` draws it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Affine {
    /// Degrees, clockwise as seen.
    pub angle: f64,
    /// Pixels right and down.
    pub translate: [f64; 2],
    /// Degrees by which x and y lean.
    pub shear: [f64; 2],
}

impl Map {
    pub const IDENTITY: Map = Map([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);

    /// First `self`, then `next`, to an output pixel.
    pub fn then(&self, next: &Map) -> Map {
        let (a, b) = (&next.0, &self.0);
        Map(std::array::from_fn(|i| {
            std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum())
        }))
    }

    /// The inverse up to a factor, which projective maps do not see.
    pub fn inverse(&self) -> Map {
        let m = &self.0;
        // The adjugate: cofactors, transposed.
        Map(std::array::from_fn(|j| {
            std::array::from_fn(|i| {
                let (r, s) = ((i + 1) % 3, (i + 2) % 3);
                let (c, d) = ((j + 1) % 3, (j + 2) % 3);
                m[r][c] * m[s][d] - m[r][d] * m[s][c]
            })
        }))
    }

    /// Row by row about the centre of the square of `size` pixels, where numbers are smaller and
    /// float32 steps finer, over the last entry.
    pub fn numbers(&self, size: i64) -> [f32; 9] {
        let centre = (size - 1) as f64 / 2.0;
        let to_corner = Map([[1.0, 0.0, centre], [0.0, 1.0, centre], [0.0, 0.0, 1.0]]);
        let to_centre = Map([[1.0, 0.0, -centre], [0.0, 1.0, -centre], [0.0, 0.0, 1.0]]);
        let m = to_corner.then(self).then(&to_centre).0;
        std::array::from_fn(|i| (m[i / 3][i % 3] / m[2][2]) as f32)
    }

    fn scale_about_centre(factor: f64, size: i64) -> Map {
        let centre = (size - 1) as f64 / 2.0;
        let shift = centre * (1.0 - factor);
        Map([[factor, 0.0, shift], [0.0, factor, shift], [0.0, 0.0, 1.0]])
    }

    /// Shows the square input of `size` pixels moved by `affine` about its centre: rotation and
    /// translation of the sheared picture (kornia's `get_affine_matrix2d`, inverted).
    pub fn affine(affine: &Affine, size: i64) -> Map {
        let centre = (size - 1) as f64 / 2.0;
        let (sin, cos) = affine.angle.to_radians().sin_cos();
        let [tx, ty] = affine.translate;
        let [lean_x, lean_y] = affine.shear.map(|s| s.to_radians().tan());
        let turn = Map([
            [cos, -sin, (1.0 - cos) * centre + sin * centre + tx],
            [sin, cos, -sin * centre + (1.0 - cos) * centre + ty],
            [0.0, 0.0, 1.0],
        ]);
        let shear = Map([
            [1.0, -lean_x, lean_x * centre],
            [-lean_y, 1.0 + lean_x * lean_y, lean_y * (lean_x * centre + centre)],
            [0.0, 0.0, 1.0],
        ]);
        shear.then(&turn).inverse()
    }

    /// Shows the square input with its corners moved to `corners` (upper left, upper right,
    /// lower right, lower left). The identity where they span nothing.
    pub fn corners(corners: &[[f64; 2]; 4], size: i64) -> Map {
        let far = (size - 1) as f64;
        let places = [[0.0, 0.0], [far, 0.0], [far, far], [0.0, far]];
        let mut rows = Vec::with_capacity(8);
        let mut sides = Vec::with_capacity(8);
        for ([x, y], [u, v]) in corners.iter().zip(places) {
            rows.push(vec![*x, *y, 1.0, 0.0, 0.0, 0.0, -x * u, -y * u]);
            rows.push(vec![0.0, 0.0, 0.0, *x, *y, 1.0, -x * v, -y * v]);
            sides.extend([[u], [v]]);
        }
        solve(rows, sides).map_or(Map::IDENTITY, |m| {
            Map([[m[0][0], m[1][0], m[2][0]], [m[3][0], m[4][0], m[5][0]], [m[6][0], m[7][0], 1.0]])
        })
    }

    /// Shows the `width` × `height` pixels from (x, y) stretched over the whole square.
    pub fn zoom_in(x: f64, y: f64, width: f64, height: f64, size: i64) -> Map {
        let far = ((size - 1) as f64).max(1.0);
        Map([[(width - 1.0) / far, 0.0, x], [0.0, (height - 1.0) / far, y], [0.0, 0.0, 1.0]])
    }

    /// Mirrors left and right.
    pub fn flip(size: i64) -> Map {
        Map([[-1.0, 0.0, (size - 1) as f64], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    }

    /// kornia 0.5.4 measures an affine map's pixels from corner to corner but samples them
    /// from edge to edge, which stretches translations by size/(size − 1).
    pub fn with_affine_quirk(&self, size: i64) -> Map {
        let stretch = size as f64 / ((size - 1) as f64).max(1.0);
        let (out, back) =
            (Map::scale_about_centre(stretch, size), Map::scale_about_centre(1.0 / stretch, size));
        back.then(self).then(&out)
    }

    /// The same quirk of its perspective, which scales the picture: even where no corner
    /// moves, the outermost pixels are half faded.
    pub fn with_perspective_quirk(&self, size: i64) -> Map {
        let stretch = size as f64 / ((size - 1) as f64).max(1.0);
        self.then(&Map::scale_about_centre(stretch, size))
    }
}

/// Samples square cutouts [N, C, S, S] through one map each.
pub fn sample(x: &Tensor, maps: &[Map], edge: Edge) -> Tensor {
    sample_at(x, &numbers(x, maps), projective(maps), edge)
}

/// As [`sample`], by [`Map::numbers`] on the device, float32 [N, 9]. Affine maps may be said to be
/// so, which saves a division.
pub fn sample_at(x: &Tensor, numbers: &Tensor, projective: bool, edge: Edge) -> Tensor {
    let size = x.size()[3];
    let padding = match edge {
        Edge::Zeros => 0,
        Edge::Border => 1,
        Edge::Reflect => 2,
    };
    let places = Places::pixels(size, numbers.device()).through(numbers, projective);
    x.grid_sampler_2d(&places.grid(size), BILINEAR, padding, true)
}

fn projective(maps: &[Map]) -> bool {
    maps.iter().any(|m| m.0[2] != [0.0, 0.0, 1.0])
}

/// [`Map::numbers`] of maps for square cutouts like these, [N, 9].
fn numbers(like: &Tensor, maps: &[Map]) -> Tensor {
    let size = like.size()[3];
    let numbers: Vec<f32> = maps.iter().flat_map(|map| map.numbers(size)).collect();
    Tensor::from_slice(&numbers).to_device(like.device()).view([-1, 9])
}

/// libtorch's number for the interpolation.
pub(super) const BILINEAR: i64 = 0;

/// Where the output pixels look, relative to the centre, in pixels: two tensors [N, S, S].
pub(super) struct Places {
    pub x: Tensor,
    pub y: Tensor,
}

impl Places {
    /// The pixels themselves, as [1, 1, S] and [1, S, 1].
    pub fn pixels(size: i64, device: Device) -> Self {
        let centre = (size - 1) as f64 / 2.0;
        let axis = Tensor::arange(size, (Kind::Float, device)) - centre;
        Self { x: axis.view([1, 1, size]), y: axis.view([1, size, 1]) }
    }

    /// Where they look by [`Map::numbers`], float32 [N, 9].
    pub fn through(&self, numbers: &Tensor, projective: bool) -> Self {
        let numbers = numbers.reshape([-1, 9, 1, 1]);
        let entry = |i: i64| numbers.select(1, i);
        let row = |i: i64| entry(i) * &self.x + entry(i + 1) * &self.y + entry(i + 2);
        if !projective {
            return Self { x: row(0), y: row(3) };
        }
        let depth = row(6);
        Self { x: row(0) / &depth, y: row(3) / depth }
    }

    /// Turned back at the centres of the outermost pixels, once; as they are where `passes`,
    /// [N, 1, 1], is not 0.
    pub fn folded(&self, passes: &Tensor, size: i64) -> Self {
        let far = (size - 1) as f64 / 2.0;
        let passes = passes.ne(0.0);
        // What lies further out than a whole side is beyond an earlier edge as well.
        let fold = |place: &Tensor| {
            let near = place.clamp(-3.0 * far, 3.0 * far);
            place.where_self(&passes, &(near.clamp(-far, far) * 2.0 - near))
        };
        Self { x: fold(&self.x), y: fold(&self.y) }
    }

    pub fn grid(&self, size: i64) -> Tensor {
        let half = ((size - 1) as f64 / 2.0).max(0.5);
        Tensor::stack(&[&self.x / half, &self.y / half], -1)
    }

    /// How much of a bilinear sample lies on the picture: [N, 1, S, S] in [0, 1].
    pub fn cover(&self, size: i64) -> Tensor {
        let reach = (size + 1) as f64 / 2.0;
        let along = |place: &Tensor| (reach - place.abs()).clamp(0.0, 1.0);
        (along(&self.x) * along(&self.y)).unsqueeze(1)
    }
}
