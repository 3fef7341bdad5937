//! Moving a picture by fractions of a pixel: the camera of an animation.

use tch::{Kind, Tensor};

/// What lies beyond the edges of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The nearest pixel of the edge.
    Border,
    /// The picture mirrored about its outermost pixels.
    Reflect,
    /// The picture again, as on a torus.
    Wrap,
    Black,
}

/// One frame's camera move. The default leaves the picture as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// Above 1 the picture grows (the camera comes closer).
    pub zoom: f64,
    /// Degrees; positive turns the picture clockwise as seen (y points down).
    pub angle: f64,
    /// Pixels to the right.
    pub translate_x: f64,
    /// Pixels down.
    pub translate_y: f64,
}

impl Default for Motion {
    fn default() -> Self {
        Self { zoom: 1.0, angle: 0.0, translate_x: 0.0, translate_y: 0.0 }
    }
}

/// The picture [B, C, H, W] after the camera's move, sampled bicubically and clamped to
/// [0, 1]; keeps no gradient.
///
/// Output pixel p shows the source at R(−angle)·(p − c)/zoom − t + c with the centre
/// c = ((W−1)/2, (H−1)/2), so nothing is rounded and a steady zoom is steady.
pub fn warp(images: &Tensor, motion: &Motion, edge: Edge) -> Tensor {
    let images = images.detach();
    let shape = images.size();
    let (height, width) = (shape[2], shape[3]);
    let axis = |n: i64| Tensor::arange(n, (Kind::Double, images.device())) - (n - 1) as f64 / 2.0;
    let (x, y) = (axis(width).view([1, width]), axis(height).view([height, 1]));
    let (sin, cos) = motion.angle.to_radians().sin_cos();
    let (sin, cos) = (sin / motion.zoom, cos / motion.zoom);
    let centred_x = cos * &x + sin * &y - motion.translate_x;
    let centred_y = cos * y - sin * x - motion.translate_y;

    let (images, x, y) = match edge {
        Edge::Wrap => {
            // Two pixels of the other side are all that the bicubic kernel can reach.
            let padded = images.pad([2, 2, 2, 2], "circular", None);
            (padded, wrapped(&centred_x, width), wrapped(&centred_y, height))
        }
        _ => (images, centred_x, centred_y),
    };
    let half = |n: i64| ((n - 1) as f64 / 2.0).max(0.5);
    let grid = Tensor::stack(&[x / half(images.size()[3]), y / half(images.size()[2])], -1)
        .to_kind(Kind::Float)
        .expand([shape[0], height, width, 2], false);
    images.grid_sampler_2d(&grid, BICUBIC, edge.padding(), true).clamp(0.0, 1.0)
}

/// Coordinates about the centre of `n` pixels, brought back into [−½, n−½) about pixel 0.
fn wrapped(centred: &Tensor, n: i64) -> Tensor {
    let centre = (n - 1) as f64 / 2.0;
    (centred + (centre + 0.5)).remainder(n as f64) - (centre + 0.5)
}

/// libtorch's number for the interpolation.
const BICUBIC: i64 = 2;

impl Edge {
    /// libtorch's number for the padding.
    fn padding(self) -> i64 {
        match self {
            Edge::Black => 0,
            Edge::Border | Edge::Wrap => 1,
            Edge::Reflect => 2,
        }
    }
}
