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
    /// What zoom and angle keep in place, in parts of the way from the first to the last pixel.
    pub center: [f64; 2],
}

impl Default for Motion {
    fn default() -> Self {
        Self { zoom: 1.0, angle: 0.0, translate_x: 0.0, translate_y: 0.0, center: [0.5; 2] }
    }
}

/// The picture [B, C, H, W] after the camera's move, sampled bicubically and clamped to
/// [0, 1]; keeps no gradient.
///
/// Output pixel p shows the source at R(−angle)·(p − c)/zoom − t + c with the centre
/// c = ((W−1)·center_x, (H−1)·center_y), so nothing is rounded and a steady zoom is steady.
pub fn warp(images: &Tensor, motion: &Motion, edge: Edge) -> Tensor {
    let images = images.detach();
    let shape = images.size();
    let (height, width) = (shape[2], shape[3]);
    // About the picture's middle, and how far the kept point lies from that.
    let axis = |n: i64| Tensor::arange(n, (Kind::Double, images.device())) - (n - 1) as f64 / 2.0;
    let off = |n: i64, center: f64| (n - 1) as f64 * (center - 0.5);
    let (off_x, off_y) = (off(width, motion.center[0]), off(height, motion.center[1]));
    let x = axis(width).view([1, width]) - off_x;
    let y = axis(height).view([height, 1]) - off_y;
    let (sin, cos) = motion.angle.to_radians().sin_cos();
    let (sin, cos) = (sin / motion.zoom, cos / motion.zoom);
    let centred_x = cos * &x + sin * &y - motion.translate_x + off_x;
    let centred_y = cos * y - sin * x - motion.translate_y + off_y;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Tensor {
        let axis = Tensor::arange(5 * 7 * 3, (Kind::Float, tch::Device::Cpu));
        (axis * 37.0).remainder(101.0).view([1, 3, 5, 7]) / 101.0
    }

    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn whole_pixels_move_as_they_are() {
        let x = picture();
        let motion = Motion { translate_x: 2.0, translate_y: -1.0, ..Motion::default() };
        let wrapped = warp(&x, &motion, Edge::Wrap);
        assert!(apart(&wrapped, &x.roll([2, -1], [3, 2])) < 1e-5);
        let black = warp(&x, &motion, Edge::Black);
        assert!(
            apart(&black.narrow(3, 0, 2), &Tensor::zeros([1, 3, 5, 2], (Kind::Float, x.device())))
                < 1e-5
        );
        let border = warp(&x, &motion, Edge::Border);
        let column = x.narrow(3, 0, 1).roll([-1], [2]).narrow(2, 0, 4);
        assert!(apart(&border.narrow(3, 1, 1).narrow(2, 0, 4), &column) < 1e-5);
        // Mirrored about the outermost pixel: column 0 shows column 2.
        let reflected = warp(&x, &motion, Edge::Reflect);
        let column = x.narrow(3, 2, 1).roll([-1], [2]).narrow(2, 0, 4);
        assert!(apart(&reflected.narrow(3, 0, 1).narrow(2, 0, 4), &column) < 1e-5);
    }

    #[test]
    fn the_centre_stays_in_place() {
        let x = picture();
        let motion = Motion { zoom: 2.0, angle: 30.0, center: [1.0, 0.0], ..Motion::default() };
        let corner = |t: &Tensor| t.narrow(3, 6, 1).narrow(2, 0, 1);
        let moved = warp(&x, &motion, Edge::Border);
        assert!(apart(&corner(&moved), &corner(&x)) < 1e-5);
        assert!(apart(&moved, &x) > 0.1);
    }

    #[test]
    fn a_motion_and_its_reverse_bring_a_smooth_picture_back() {
        let axis = Tensor::linspace(-1.0, 1.0, 64, (Kind::Float, tch::Device::Cpu));
        let (u, v) = (axis.view([1, 64]), axis.view([64, 1]));
        let x = ((&u * &v + &u * 0.5) * 0.25 + 0.5).view([1, 1, 64, 64]);
        let there = Motion { zoom: 1.25, angle: 10.0, ..Motion::default() };
        let back = Motion { zoom: 0.8, angle: -10.0, ..Motion::default() };
        let again = warp(&warp(&x, &there, Edge::Border), &back, Edge::Border);
        let middle = |t: &Tensor| t.narrow(2, 20, 24).narrow(3, 20, 24);
        assert!(apart(&middle(&again), &middle(&x)) < 2e-3);
    }
}
