//! The tone of a picture's rim: that of what lies around it.
//!
//! Bands blend what differs in detail. Where whole backgrounds differ, day around night, they
//! leave a soft step along the edge, which the eye sees as a box. So a picture is given the
//! colours just outside it at its edge, and its own ones return the nearer its middle is. What lies
//! in it is compared with what it has become, so that a change of background takes several pictures.

use tch::{Device, Kind, Tensor};

use super::{Similarity, points};

/// Cells of the shorter side on which tones are compared.
const CELLS: i64 = 32;
/// How far outside and inside the edge tones are taken from, in parts of half a side.
const OUTSIDE: f64 = 0.2;
const INSIDE: f64 = 0.15;
/// Standard deviation of the smoothing along and across the edge, in parts of the shorter side.
const SMOOTH: f64 = 0.1;
/// How far smoothing reaches, in standard deviations: from the edge to the middle.
const FAR: f64 = 6.0;
/// Keeps quotients of nothing from being undefined, far below what [`FAR`] leaves.
const NOTHING: f64 = 1e-15;

/// How far a picture takes the tone of what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// At its edges, and the less the nearer its middle is.
    Rim,
    Whole,
}

/// `own`, [1, 3, h, w], which lies in `around` at `place`, with that one's tone.
pub(super) fn toned(own: &Tensor, around: &Tensor, place: Similarity, reach: Reach) -> Tensor {
    let shape = own.size();
    let (height, width) = (shape[2], shape[3]);
    let pixel = (height.min(width) as f64 / CELLS as f64).max(1.0);
    let cells = |n: i64| (n as f64 / pixel).round() as i64;
    let (rows, columns) = (cells(height), cells(width));
    let margin = (OUTSIDE / 2.0 * rows.min(columns) as f64).ceil() as i64;
    let canvas = (columns + 2 * margin, rows + 2 * margin);

    // Coordinates in parts of half a side of the picture: its edges are at 1.
    let (x, y) = points(Similarity::SAME, canvas, 1);
    let distance: Tensor =
        (&x * (2.0 / columns as f64)).abs().maximum(&(&y * (2.0 / rows as f64)).abs());
    let inside: Tensor = distance.le(1.0).to_kind(Kind::Float);
    let ring = &inside * distance.ge(1.0 - INSIDE).to_kind(Kind::Float);

    let (seen, there) = look(around, place, (x * pixel, y * pixel), pixel);
    let outside = 1.0 - inside;
    let small = own.adaptive_avg_pool2d([rows, columns]).constant_pad_nd([margin; 4]);
    let sigma = SMOOTH * rows.min(columns) as f64;
    // Sides beyond which there is nothing keep their own tone.
    let known = mean_near(&there.unsqueeze(0).unsqueeze(0), &outside, sigma);
    let change = mean_near(&seen, &(outside * there), sigma) - mean_near(&small, &ring, sigma);
    let change = (change * known).to_kind(Kind::Float);

    let change = change.narrow(2, margin, rows).narrow(3, margin, columns);
    let change = change.upsample_bilinear2d([height, width], false, None, None);
    match reach {
        Reach::Rim => own + change * nearness(width, height),
        Reach::Whole => own + change,
    }
}

/// How near to the edge each pixel is, squared, [h, w]: 0 in the middle, 1 at the edge, the same along
/// rounded lines.
fn nearness(width: i64, height: i64) -> Tensor {
    let (x, y) = points(Similarity::SAME, (width, height), 1);
    let fourth = |at: Tensor, n: i64| -> Tensor { (at * (2.0 / n as f64)).pow_tensor_scalar(4) };
    let near: Tensor = fourth(x, width) + fourth(y, height);
    near.sqrt().clamp_max(1.0).to_kind(Kind::Float)
}

/// A picture at points given in the coordinates of one that lies in it, each the mean of about
/// `pixel` of that one's, and where there is a picture.
fn look(
    picture: &Tensor,
    place: Similarity,
    (x, y): (Tensor, Tensor),
    pixel: f64,
) -> (Tensor, Tensor) {
    let size = picture.size();
    let (height, width) = (size[2], size[3]);
    let [re, im] = place.a;
    let in_halves = |at: Tensor, n: i64| -> Tensor { at * (2.0 / n as f64) };
    let u = in_halves(re * &x - im * &y + place.b[0], width);
    let v = in_halves(im * &x + re * &y + place.b[1], height);
    let there = u.abs().maximum(&v.abs()).le(1.0).to_kind(Kind::Float);
    let pooled = |n: i64| ((n as f64 / (pixel * place.scale()).max(1.0)).round() as i64).max(1);
    let picture = picture.adaptive_avg_pool2d([pooled(height), pooled(width)]);
    let grid = Tensor::stack(&[u, v], -1).to_kind(Kind::Float).unsqueeze(0);
    // libtorch's numbers for linear interpolation and for the nearest pixel beyond edges.
    (picture.grid_sampler_2d(&grid, 0, 1, false), there)
}

/// At each point the mean of an image [1, n, h, w] over where the mask [h, w] is 1, the nearer the
/// more, float64 (normalised convolution: Knutsson & Westin 1993).
fn mean_near(image: &Tensor, mask: &Tensor, sigma: f64) -> Tensor {
    let mask = mask.unsqueeze(0).unsqueeze(0);
    smooth(&(image * &mask), sigma) / (smooth(&mask, sigma) + NOTHING)
}

/// Convolved with a Gaussian, as if all were 0 beyond the edges.
fn smooth(image: &Tensor, sigma: f64) -> Tensor {
    let radius = (FAR * sigma).ceil() as i64;
    let at = Tensor::arange_start(-radius, radius + 1, (Kind::Double, Device::Cpu)) / sigma;
    let bell = (at.square() * -0.5).exp();
    let bell = (&bell / bell.sum(Kind::Double)).view([1, 1, -1, 1]);
    let size = image.size();
    let one_by_one = image.to_kind(Kind::Double).view([-1, 1, size[2], size[3]]);
    let down = one_by_one.conv2d(&bell, None::<Tensor>, [1, 1], [radius, 0], [1, 1], 1);
    let both = down.conv2d(&bell.transpose(2, 3), None::<Tensor>, [1, 1], [0, radius], [1, 1], 1);
    both.view(size.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vqfarm_core::animation::Nesting;

    fn flat(level: f64) -> Tensor {
        Tensor::full([1, 3, 64, 96], level, (Kind::Float, Device::Cpu))
    }

    fn place(center: [f64; 2]) -> Similarity {
        Similarity::placing(&Nesting { step: 2.0, angle: 10.0, center }, (96, 64), 1.0)
    }

    fn at(picture: &Tensor, x: i64, y: i64) -> f64 {
        picture.double_value(&[0, 1, y, x])
    }

    #[test]
    fn the_rim_takes_the_tone_around_it_and_the_middle_keeps_its_own() {
        let toned = toned(&flat(0.2), &flat(0.8), place([0.5; 2]), Reach::Rim);
        for (x, y) in [(0, 32), (95, 32), (48, 0), (48, 63), (0, 0)] {
            assert!((at(&toned, x, y) - 0.8).abs() < 0.02, "{}", at(&toned, x, y));
        }
        assert!((at(&toned, 48, 32) - 0.2).abs() < 0.02, "{}", at(&toned, 48, 32));
        let whole = super::toned(&flat(0.2), &flat(0.8), place([0.5; 2]), Reach::Whole);
        assert!((at(&whole, 48, 32) - 0.8).abs() < 0.02, "{}", at(&whole, 48, 32));
        // Evenly on the way.
        let line: Vec<f64> = (0..32).map(|y| at(&toned, 48, y)).collect();
        assert!(line.windows(2).all(|two| (0.0..0.05).contains(&(two[0] - two[1]))), "{line:?}");
    }

    #[test]
    fn one_tone_stays_as_it_is_whatever_is_drawn_on_it() {
        let own = flat(0.4);
        let _ = own.narrow(2, 24, 16).narrow(3, 40, 16).fill_(0.9);
        let toned = toned(&own, &flat(0.4), place([0.5; 2]), Reach::Rim);
        assert!((toned - own).abs().max().double_value(&[]) < 0.01);
    }

    #[test]
    fn only_the_sides_that_differ_change() {
        // Day above, the same sea below.
        let around = flat(0.3);
        let _ = around.narrow(2, 0, 32).fill_(0.9);
        let toned = toned(&flat(0.3), &around, place([0.5; 2]), Reach::Rim);
        assert!(at(&toned, 48, 0) > 0.8, "{}", at(&toned, 48, 0));
        assert!(at(&toned, 48, 63) < 0.35, "{}", at(&toned, 48, 63));
    }

    #[test]
    fn nothing_is_taken_from_beyond_the_picture_around() {
        // The right half lies outside of it.
        let toned = toned(&flat(0.2), &flat(0.8), place([1.0, 0.5]), Reach::Rim);
        assert!(at(&toned, 0, 32) > 0.75, "{}", at(&toned, 0, 32));
        assert!((at(&toned, 95, 32) - 0.2).abs() < 0.05, "{}", at(&toned, 95, 32));
    }
}
