//! Pictures that lie in one another: the frames of a parallel zoom.
//!
//! Picture j + 1 lies in picture j under a similarity T_j: shrunken, turned, about a point of
//! it. A camera on its way from one into the next sees T_j to the power u, which exists since a
//! similarity turns and shrinks about one fixed point; so the speed is exactly exponential.
//! What is seen is blended band by band (Burt & Adelson 1983): low frequencies over a wide rim,
//! high ones over a narrow one, which leaves no seam.

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vqfarm_core::animation::Nesting;

use crate::error::{EngineError, Result};
use crate::guard::guard;
use crate::image_io;

/// The smallest side of a band in pixels.
const COARSEST: i64 = 6;
/// Samples of a pixel in each direction, at most, where a picture is shown smaller.
const FINEST: i64 = 8;

/// p ↦ a·p + b on points (x, y) about a picture's middle, y down, as complex numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Similarity {
    a: [f64; 2],
    b: [f64; 2],
}

fn times(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

fn inverse(a: [f64; 2]) -> [f64; 2] {
    let length = a[0] * a[0] + a[1] * a[1];
    [a[0] / length, -a[1] / length]
}

impl Similarity {
    const SAME: Self = Self { a: [1.0, 0.0], b: [0.0, 0.0] };

    /// To the power `u` of what places one picture in another of this size.
    fn placing(nesting: &Nesting, (width, height): (i64, i64), u: f64) -> Self {
        // The picture turns clockwise when what is looked at turns the other way.
        let turn = -nesting.angle.to_radians();
        let to = |u: f64| {
            let shrink = nesting.step.powf(-u);
            [shrink * (turn * u).cos(), shrink * (turn * u).sin()]
        };
        let [x, y] = nesting.center;
        let middle = [(x - 0.5) * (width - 1) as f64, (y - 0.5) * (height - 1) as f64];
        let a = to(1.0);
        // The point that stays where it is.
        let fixed = times(middle, inverse([1.0 - a[0], -a[1]]));
        let a = to(u);
        let moved = times(a, fixed);
        Self { a, b: [fixed[0] - moved[0], fixed[1] - moved[1]] }
    }

    /// This after `first`.
    fn after(self, first: Self) -> Self {
        let b = times(self.a, first.b);
        Self { a: times(self.a, first.a), b: [b[0] + self.b[0], b[1] + self.b[1]] }
    }

    fn inverse(self) -> Self {
        let a = inverse(self.a);
        let b = times(a, self.b);
        Self { a, b: [-b[0], -b[1]] }
    }

    /// How many of its pixels lie in one of the view's.
    fn shrinking(self) -> f64 {
        self.a[0].hypot(self.a[1])
    }
}

/// What a camera sees that is `along` (0 to 1) on the way from `pictures[0]` into
/// `pictures[1]`. `nestings[j]` says how picture j + 1 lies in picture j. The rim in which a
/// picture passes into the one around it is `rim` of half its side, and closes as the camera
/// gets to it, so that nothing jumps when it has arrived.
///
/// # Errors
/// Pictures of different sizes, as many nestings as pictures; libtorch fails.
pub fn compose(
    pictures: &[&RgbImage],
    nestings: &[Nesting],
    along: f64,
    rim: f64,
) -> Result<RgbImage> {
    let rims = (1..pictures.len()).map(|j| rim * (j as f64 - along).clamp(0.0, 1.0));
    nested(pictures, nestings, along, &rims.collect::<Vec<_>>())
}

/// The start of a keyframe's next round: its rim passes into what the one around it shows there,
/// and its middle is the next one, if there is one.
///
/// # Errors
/// As [`compose`].
pub fn tied(
    around: Option<(&RgbImage, &Nesting)>,
    own: &RgbImage,
    inner: Option<(&RgbImage, &Nesting)>,
    rim: f64,
) -> Result<RgbImage> {
    let mut pictures: Vec<&RgbImage> = around.iter().map(|(picture, _)| *picture).collect();
    let mut nestings: Vec<Nesting> = around.iter().map(|(_, nesting)| **nesting).collect();
    let along = pictures.len() as f64;
    pictures.push(own);
    pictures.extend(inner.iter().map(|(picture, _)| *picture));
    nestings.extend(inner.iter().map(|(_, nesting)| **nesting));
    nested(&pictures, &nestings, along, &vec![rim; pictures.len() - 1])
}

/// `rims[j]` is that of picture j + 1.
fn nested(
    pictures: &[&RgbImage],
    nestings: &[Nesting],
    along: f64,
    rims: &[f64],
) -> Result<RgbImage> {
    let Some(first) = pictures.first().filter(|_| nestings.len() + 1 == pictures.len()) else {
        return Err(EngineError::Failed("as many nestings as pictures but one".into()));
    };
    if pictures.iter().any(|picture| picture.dimensions() != first.dimensions()) {
        return Err(EngineError::Failed("pictures that nest have different sizes".into()));
    }
    let size = (i64::from(first.width()), i64::from(first.height()));
    let tensors: Vec<Tensor> =
        pictures.iter().map(|p| image_io::to_tensor(p, Device::Cpu)).collect::<Result<_>>()?;
    let seen = guard(|| {
        tch::no_grad(|| {
            let mut view = match nestings.first() {
                Some(nesting) => Similarity::placing(nesting, size, along),
                None => Similarity::SAME,
            };
            let mut seen = sample(&tensors[0], view);
            for (j, nesting) in nestings.iter().enumerate() {
                view = Similarity::placing(nesting, size, 1.0).inverse().after(view);
                let layer = sample(&tensors[j + 1], view);
                seen = blend(&seen, &layer, &mask(view, size, rims[j]));
            }
            seen.clamp(0.0, 1.0)
        })
    })?;
    let mut made = image_io::to_pictures(&seen)?;
    made.pop().ok_or_else(|| EngineError::Failed("no picture came of it".into()))
}

/// The points of a view [h, w] in a picture's own coordinates about its middle, each pixel of the
/// view with `fine` × `fine` samples.
fn points(view: Similarity, (width, height): (i64, i64), fine: i64) -> (Tensor, Tensor) {
    let axis = |n: i64| {
        let at = Tensor::arange(n * fine, (Kind::Double, Device::Cpu));
        (at + 0.5) / fine as f64 - n as f64 / 2.0
    };
    let (x, y) = (axis(width).view([1, -1]), axis(height).view([-1, 1]));
    let [re, im] = view.a;
    (re * &x - im * &y + view.b[0], im * x + re * y + view.b[1])
}

/// A picture as the view shows it, bicubically; beyond its edges the nearest pixel.
fn sample(picture: &Tensor, view: Similarity) -> Tensor {
    if view == Similarity::SAME {
        return picture.shallow_clone();
    }
    let size = picture.size();
    let (height, width) = (size[2], size[3]);
    let fine = (view.shrinking().ceil() as i64).clamp(1, FINEST);
    let (x, y) = points(view, (width, height), fine);
    let half = |n: i64| ((n - 1) as f64 / 2.0).max(0.5);
    let grid = Tensor::stack(&[x / half(width), y / half(height)], -1).to_kind(Kind::Float);
    let grid = grid.unsqueeze(0);
    // libtorch's numbers for bicubic interpolation and for the nearest pixel beyond edges.
    let sampled = picture.grid_sampler_2d(&grid, 2, 1, true);
    match fine {
        1 => sampled,
        _ => sampled.avg_pool2d([fine, fine], [fine, fine], [0, 0], false, true, None),
    }
}

/// How much of a picture the view shows at each pixel, [1, 1, h, w]: 1 inside, falling to 0 at
/// its edges over the rim, 0 outside.
fn mask(view: Similarity, size: (i64, i64), rim: f64) -> Tensor {
    let (x, y) = points(view, size, 1);
    let inside = |at: Tensor, n: i64| {
        let half = n as f64 / 2.0;
        let room: Tensor = half - at.abs();
        // A rim of no width still is half a pixel wide, so that edges are not jagged.
        let share = (room / (rim * half).max(0.5)).clamp(0.0, 1.0);
        let eased: Tensor = share.square() * (3.0 - 2.0 * share);
        eased
    };
    let both: Tensor = inside(x, size.0) * inside(y, size.1);
    both.to_kind(Kind::Float).unsqueeze(0).unsqueeze(0)
}

/// `over` where the mask is 1 and `under` where it is 0, band by band.
fn blend(under: &Tensor, over: &Tensor, mask: &Tensor) -> Tensor {
    let mixed = || under + (over - under) * mask;
    let size = under.size();
    let (height, width) = (size[2], size[3]);
    if height.min(width) / 2 < COARSEST {
        return mixed();
    }
    let half = [height.div_euclid(2) + height % 2, width.div_euclid(2) + width % 2];
    let down = |x: &Tensor| x.adaptive_avg_pool2d(half);
    let up = |x: &Tensor| x.upsample_bilinear2d([height, width], false, None, None);
    let (low_under, low_over) = (down(under), down(over));
    let low = blend(&low_under, &low_over, &down(mask));
    let (fine_under, fine_over) = (under - up(&low_under), over - up(&low_over));
    up(&low) + &fine_under + (fine_over - &fine_under) * mask
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTING: Nesting = Nesting { step: 2.0, angle: 20.0, center: [0.45, 0.55] };

    fn picture(shade: u8) -> RgbImage {
        RgbImage::from_fn(48, 32, |x, y| image::Rgb([(x * 5) as u8, (y * 7) as u8, shade]))
    }

    /// Mean difference of bytes in a window about the middle.
    fn apart(a: &RgbImage, b: &RgbImage, margin: u32) -> f64 {
        let (width, height) = a.dimensions();
        let mut sum = 0.0;
        let mut count = 0.0;
        for y in margin..height - margin {
            for x in margin..width - margin {
                for (p, q) in a.get_pixel(x, y).0.iter().zip(b.get_pixel(x, y).0) {
                    sum += f64::from(p.abs_diff(q));
                    count += 1.0;
                }
            }
        }
        sum / count
    }

    #[test]
    fn powers_of_a_placing_follow_from_one_another() {
        let to = |u| Similarity::placing(&NESTING, (48, 32), u);
        let (half, whole) = (to(0.5), to(1.0));
        let twice = half.after(half);
        for (one, other) in twice.a.iter().chain(&twice.b).zip(whole.a.iter().chain(&whole.b)) {
            assert!((one - other).abs() < 1e-9);
        }
        let back = whole.inverse().after(whole);
        assert!((back.a[0] - 1.0).abs() < 1e-9 && back.b[0].abs() < 1e-9);
        // The next picture's middle lies where it should.
        assert!((whole.b[0] - (0.45 - 0.5) * 47.0).abs() < 1e-9);
    }

    #[test]
    fn a_camera_begins_at_one_picture_and_ends_at_the_next_without_a_jump() {
        let (outer, inner, innermost) = (picture(20), picture(120), picture(220));
        let all = [&outer, &inner, &innermost];
        let nestings = [NESTING; 2];
        let start = compose(&all, &nestings, 0.0, 0.3).unwrap();
        assert!(apart(&start, &outer, 0) > 1.0, "the inner ones are seen");
        assert_eq!(start.get_pixel(1, 1), outer.get_pixel(1, 1));
        let end = compose(&all, &nestings, 0.9999, 0.3).unwrap();
        let next = compose(&[&inner, &innermost], &nestings[..1], 0.0, 0.3).unwrap();
        assert!(apart(&end, &next, 1) < 1.0, "{}", apart(&end, &next, 1));
    }

    #[test]
    fn a_picture_that_nests_in_itself_is_composed_seamlessly() {
        // A gradient about the middle is the same at each scale up to its brightness, so take
        // one whose inner copy is what it shows there.
        let flat = RgbImage::from_pixel(48, 32, image::Rgb([90, 120, 150]));
        for along in [0.0, 0.3, 0.7] {
            let seen = compose(&[&flat, &flat, &flat], &[NESTING; 2], along, 0.3).unwrap();
            assert!(apart(&seen, &flat, 0) < 1.0);
        }
        let tied = tied(Some((&flat, &NESTING)), &flat, Some((&flat, &NESTING)), 0.3).unwrap();
        assert!(apart(&tied, &flat, 0) < 1.0);
    }

    #[test]
    fn a_tied_picture_has_its_neighbours_in_middle_and_rim() {
        let grey = |level: u8| RgbImage::from_pixel(64, 64, image::Rgb([level; 3]));
        let (around, own, inner) = (grey(0), grey(100), grey(200));
        let nesting = Nesting { step: 2.0, angle: 0.0, center: [0.5, 0.5] };
        let tied = tied(Some((&around, &nesting)), &own, Some((&inner, &nesting)), 0.3).unwrap();
        let at = |x, y| tied.get_pixel(x, y).0[0];
        assert!(at(32, 32) > 180, "{}", at(32, 32));
        assert!(at(0, 0) < 40, "{}", at(0, 0));
        assert!((60..140).contains(&at(32, 12)), "{}", at(32, 12));
        assert!(super::tied(None, &own, None, 0.3).unwrap() == own);
    }
}
