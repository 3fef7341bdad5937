//! Pictures that lie in one another: the frames of a parallel zoom.
//!
//! Picture j + 1 lies in picture j under a similarity T_j: shrunken, turned, about a point of
//! it. A camera on its way from one into the next sees T_j to the power u, which exists since a
//! similarity turns and shrinks about one fixed point; so the speed is exactly exponential.
//! What is seen is blended band by band (Burt & Adelson 1983): low frequencies over a wide rim,
//! high ones over a narrow one, which leaves no seam; before that its rim takes the tone of what
//! lies around it.

mod tone;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vqfarm_core::animation::Nesting;

use crate::error::{EngineError, Result};
use crate::guard::guard;
use crate::image_io;
use crate::similarity::Similarity;
use tone::Reach;

/// The smallest side of a band in pixels.
const COARSEST: i64 = 6;
/// Samples of a pixel in each direction, at most, where a picture is shown smaller.
const FINEST: i64 = 8;

/// A picture of a zoom.
#[derive(Clone, Copy)]
pub struct Nested<'a> {
    pub picture: &'a RgbImage,
    /// How the next one lies in it; none in the last.
    pub next: Option<Nesting>,
}

/// So many pictures before the one where the camera is have a say in its tone: what one further out
/// would change is less than a byte can tell.
pub const TONES: u64 = 4;

/// What a camera sees that is `along` (0 to 1) on the way from `pictures[at]` into the next one.
///
/// Each picture has the tone of the one around it at its edges, and passes into it over a rim that
/// is `rim` of half its side, or as wide as leaves the next one untouched if that is less. So its rim is
/// out of sight when the camera gets to the next one, one picture around that of `at` is enough
/// to be seen, and what the camera nears stays as it is, so that nothing jumps. [`TONES`] pictures
/// before that of `at` settle tones.
///
/// # Errors
/// There is no picture `at`, one before the last says nothing of the next one, pictures have
/// different sizes; libtorch fails.
pub fn compose(pictures: &[Nested], at: usize, along: f64, rim: f64) -> Result<RgbImage> {
    see(pictures, at, along, rim, Toned { first: 1, reach: Reach::Rim })
}

/// What a camera sees at `pictures[at]` where that is to be painted on: it keeps its own tone, and what
/// lies in it has that too, as if lit by the same light. Night in the middle of a day would be
/// painted as a dark thing, and [`compose`] could not take it away any more.
///
/// # Errors
/// As [`compose`].
pub fn tie(pictures: &[Nested], at: usize, rim: f64) -> Result<RgbImage> {
    see(pictures, at, 0.0, rim, Toned { first: at + 1, reach: Reach::Whole })
}

/// Which pictures take the tone of what lies around them.
struct Toned {
    /// From this one on.
    first: usize,
    reach: Reach,
}

fn see(pictures: &[Nested], at: usize, along: f64, rim: f64, toned: Toned) -> Result<RgbImage> {
    let refused = |why: &str| EngineError::Failed(why.into());
    let camera = pictures.get(at).ok_or_else(|| refused("no picture where the camera is"))?;
    let (width, height) = camera.picture.dimensions();
    if pictures.iter().any(|nested| nested.picture.dimensions() != (width, height)) {
        return Err(refused("pictures that nest have different sizes"));
    }
    let size = (i64::from(width), i64::from(height));
    let places = pictures[..pictures.len() - 1].iter().map(|nested| {
        let next =
            nested.next.ok_or_else(|| refused("a picture does not say how the next lies"))?;
        Ok(Similarity::placing(&next, size, 1.0))
    });
    let places: Vec<Similarity> = places.collect::<Result<_>>()?;
    let view = match &camera.next {
        Some(next) => Similarity::placing(next, size, along),
        None => Similarity::SAME,
    };
    // Of each picture, what the camera sees of it.
    let mut views = vec![view; pictures.len()];
    for j in (0..at).rev() {
        views[j] = places[j].after(views[j + 1]);
    }
    for j in at + 1..pictures.len() {
        views[j] = places[j - 1].inverse().after(views[j - 1]);
    }
    let mut tensors: Vec<Tensor> = pictures
        .iter()
        .map(|nested| image_io::to_tensor(nested.picture, Device::Cpu))
        .collect::<Result<_>>()?;
    let seen = guard(|| {
        tch::no_grad(|| {
            for j in toned.first..pictures.len() {
                let (own, around) = (&tensors[j], &tensors[j - 1]);
                tensors[j] = tone::toned(own, around, places[j - 1], toned.reach);
            }
            let first = at.saturating_sub(1);
            let mut seen = sample(&tensors[first], views[first]);
            for (j, nested) in pictures.iter().enumerate().skip(first + 1) {
                let rim = nested.next.map_or(rim, |next| rim.min(room(&next, size)));
                let own = sample(&tensors[j], views[j]);
                seen = blend(&seen, &own, &mask(views[j], size, rim));
            }
            seen.clamp(0.0, 1.0)
        })
    })?;
    let mut made = image_io::to_pictures(&seen)?;
    made.pop().ok_or_else(|| refused("no picture came of it"))
}

/// How wide a picture's rim may be, in parts of half its side, before it touches the next one.
fn room(next: &Nesting, size: (i64, i64)) -> f64 {
    let place = Similarity::placing(next, size, 1.0);
    let (x, y) = (size.0 as f64 / 2.0, size.1 as f64 / 2.0);
    let reach = [[x, y], [-x, y], [x, -y], [-x, -y]].map(|corner| {
        let corner = place.apply(corner);
        (corner[0].abs() / x).max(corner[1].abs() / y)
    });
    (1.0 - reach.into_iter().fold(0.0, f64::max)).max(0.0)
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
    // As many as its pixels lie in one of the view's.
    let fine = (view.scale().ceil() as i64).clamp(1, FINEST);
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

    fn nested<'a>(pictures: &[&'a RgbImage]) -> Vec<Nested<'a>> {
        let last = pictures.len() - 1;
        let next = |j| (j < last).then_some(NESTING);
        pictures.iter().enumerate().map(|(j, picture)| Nested { picture, next: next(j) }).collect()
    }

    #[test]
    fn a_camera_ends_at_the_next_picture_as_it_begins_there() {
        let [a, b, c, d] = [20, 90, 160, 230].map(picture);
        let all = nested(&[&a, &b, &c, &d]);
        let end = compose(&all[..3], 0, 0.9999, 0.3).unwrap();
        let begin = compose(&all[..3], 1, 0.0, 0.3).unwrap();
        assert!(apart(&end, &begin, 0) < 0.1, "{}", apart(&end, &begin, 0));
        let early = compose(&all, 1, 0.2, 0.3).unwrap();
        assert!(apart(&early, &compose(&all[1..], 0, 0.2, 0.3).unwrap(), 0) > 1.0);
    }

    #[test]
    fn what_lies_far_out_has_no_say() {
        let shades = [250, 0, 20, 200, 90, 160, 230, 40, 100].map(picture);
        let all = nested(&shades.each_ref());
        let (at, tones) = (7, TONES as usize);
        let seen = compose(&all, at, 0.4, 0.3).unwrap();
        let enough = compose(&all[at - tones..], tones, 0.4, 0.3).unwrap();
        assert!(apart(&seen, &enough, 0) < 1.0, "{}", apart(&seen, &enough, 0));
        let too_few = compose(&all[at - 1..], 1, 0.4, 0.3).unwrap();
        assert!(apart(&seen, &too_few, 0) > 1.0, "{}", apart(&seen, &too_few, 0));
    }

    #[test]
    fn night_in_the_midst_of_day_comes_without_a_step() {
        let grey = |level: u8| RgbImage::from_pixel(64, 64, image::Rgb([level; 3]));
        let (day, night) = (grey(220), grey(20));
        let next = Some(Nesting { step: 2.0, angle: 0.0, center: [0.5, 0.5] });
        let all = [&day, &night, &night, &night].map(|picture| Nested { picture, next });
        let seen = compose(&all, 0, 0.0, 0.3).unwrap();
        let line: Vec<i32> = (0..32).map(|x| i32::from(seen.get_pixel(x, 32).0[0])).collect();
        let steps: Vec<i32> = line.windows(2).map(|two| two[0] - two[1]).collect();
        // Of 200 levels over 16 pixels from the edge to the middle.
        assert!(steps.iter().all(|step| (-3..=32).contains(step)), "{line:?}");
        assert!(line[31] < 60, "{line:?}");
        // As it is painted on, a picture keeps its own tone, and gives it to those in it.
        assert!(apart(&tie(&all[..2], 0, 0.3).unwrap(), &day, 0) < 1.0);
        let own = tie(&all, 1, 0.3).unwrap();
        assert!(own.get_pixel(32, 12).0[0] < 40, "{:?}", own.get_pixel(32, 12));
    }

    #[test]
    fn rims_leave_room_for_the_next_picture() {
        let room = |step, angle, center| room(&Nesting { step, angle, center }, (64, 64));
        assert!((room(2.0, 0.0, [0.5; 2]) - 0.5).abs() < 1e-9);
        assert!((room(2.0, 45.0, [0.5; 2]) - (1.0 - 0.5f64.sqrt())).abs() < 1e-9);
        assert!(room(2.0, 0.0, [0.25, 0.5]) < 0.02);
        assert!(room(1.2, 45.0, [0.5; 2]) == 0.0);
    }

    #[test]
    fn a_picture_that_nests_in_itself_is_composed_seamlessly() {
        let flat = RgbImage::from_pixel(48, 32, image::Rgb([90, 120, 150]));
        for (at, along) in [(0, 0.0), (0, 0.3), (1, 0.0), (1, 0.7)] {
            let seen = compose(&nested(&[&flat, &flat, &flat]), at, along, 0.3).unwrap();
            assert!(apart(&seen, &flat, 0) < 1.0);
        }
    }

    #[test]
    fn a_picture_has_its_neighbours_in_middle_and_rim() {
        let grey = |level: u8| RgbImage::from_pixel(64, 64, image::Rgb([level; 3]));
        let (around, own, inner) = (grey(0), grey(100), grey(200));
        let next = Some(Nesting { step: 2.0, angle: 0.0, center: [0.5, 0.5] });
        let all = [&around, &own, &inner].map(|picture| Nested { picture, next });
        let seen = compose(&all, 1, 0.0, 0.3).unwrap();
        let at = |x, y| seen.get_pixel(x, y).0[0];
        assert!(at(32, 32) > 180, "{}", at(32, 32));
        assert!(at(0, 0) < 50, "{}", at(0, 0));
        assert!((60..140).contains(&at(32, 12)), "{}", at(32, 12));
        let alone = [Nested { picture: &own, next: None }];
        assert!(compose(&alone, 0, 0.0, 0.3).unwrap() == own);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, other) = (picture(1), RgbImage::new(32, 32));
        assert!(compose(&nested(&[&one, &other]), 0, 0.0, 0.3).is_err());
        assert!(compose(&nested(&[&one]), 1, 0.0, 0.3).is_err());
        let silent = [Nested { picture: &one, next: None }; 2];
        assert!(compose(&silent, 0, 0.0, 0.3).is_err());
    }
}
