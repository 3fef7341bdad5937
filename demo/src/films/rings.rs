//! Whether the edge of a nested keyframe shows in the frames composed of it.
//!
//! What a frame shows gets steeper across such an edge where it does. So the slope across the edge is
//! divided by the slope across lines beside it, a little larger and smaller: 1 when nothing shows.

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Serialize;
use vqfarm_core::animation::Timeline;
use vqfarm_engine::similarity::Similarity;

/// Distances from the edge, in pixels of the frame, at which it would be seen.
const ACROSS: std::ops::RangeInclusive<i32> = -1..=1;
/// How far off the lines beside it lie, inwards and outwards.
const BESIDE: std::ops::RangeInclusive<i32> = 3..=6;
/// Keyframes whose half side is smaller in a frame have no room for lines beside.
const SMALLEST: f64 = 12.0;
/// Mean difference, in levels, that rounding to bytes makes of pixels that are the same.
const ROUNDING: f64 = 1.0 / 3.0;

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rings {
    /// Geometric mean over the frames.
    pub mean: f64,
    pub worst: f64,
    /// From 0.
    pub worst_frame: u64,
}

/// Measures frames along the edges that keyframes have there in a zoom with this timeline.
///
/// # Errors
/// No frame shows an edge.
pub fn measure(timeline: &Timeline, frames: &[RgbImage]) -> Result<Rings> {
    let mut ratios = Vec::new();
    for (n, frame) in (0..).zip(frames) {
        let mut slopes = Slopes::default();
        for place in places(timeline, n, frame.dimensions())? {
            slopes.follow(frame, place);
        }
        ratios.extend(slopes.ratio().map(|ratio| (n, ratio)));
    }
    let worst = ratios.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1));
    let (worst_frame, worst) = worst.context("no frame shows a keyframe's edge")?;
    let logarithms = ratios.iter().map(|(_, ratio)| ratio.ln()).sum::<f64>();
    Ok(Rings { mean: (logarithms / ratios.len() as f64).exp(), worst, worst_frame })
}

/// How the keyframes that lie in a frame lie there, from the largest on.
fn places(timeline: &Timeline, frame: u64, (width, height): (u32, u32)) -> Result<Vec<Similarity>> {
    let size = (i64::from(width), i64::from(height));
    let zoom = &timeline.animation().zoom;
    let depth = zoom.depth(frame, timeline.len());
    let mut place = Similarity::placing(&timeline.nesting(depth.base)?, size, 1.0 - depth.along);
    let mut places = Vec::new();
    for index in depth.base + 1..zoom.keyframes(timeline.len()) {
        if place.scale() * f64::from(width.min(height)) / 2.0 < SMALLEST {
            break;
        }
        places.push(place);
        if index + 1 < zoom.keyframes(timeline.len()) {
            place = place.after(Similarity::placing(&timeline.nesting(index)?, size, 1.0));
        }
    }
    Ok(places)
}

/// Sums and counts of differences across edges and beside them.
#[derive(Default)]
struct Slopes {
    across: (f64, f64),
    beside: (f64, f64),
}

impl Slopes {
    /// Adds those of one keyframe in a frame.
    fn follow(&mut self, frame: &RgbImage, place: Similarity) {
        let half = [f64::from(frame.width()) / 2.0, f64::from(frame.height()) / 2.0];
        let pixel = 1.0 / place.scale();
        for (outwards, along) in [
            ([1.0, 0.0], [0.0, 1.0]),
            ([-1.0, 0.0], [0.0, 1.0]),
            ([0.0, 1.0], [1.0, 0.0]),
            ([0.0, -1.0], [1.0, 0.0]),
        ] {
            let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
            let (far, long) = (dot(outwards, half).abs(), dot(along, half));
            let normal = place.turn(outwards).map(|part| part * pixel);
            // Every pixel of the side but those at its corners.
            let mut at = -long + 2.0 * pixel;
            while at < long - 2.0 * pixel {
                let point = [0, 1].map(|i| outwards[i] * far + along[i] * at);
                self.cross(frame, place.apply(point), normal);
                at += pixel;
            }
        }
    }

    /// Adds the differences at a point of an edge, if the edge can be seen there.
    fn cross(&mut self, frame: &RgbImage, point: [f64; 2], normal: [f64; 2]) {
        let step = |distance: i32| {
            let at = |off: f64| {
                let off = f64::from(distance) + off;
                pixel(frame, [point[0] + normal[0] * off, point[1] + normal[1] * off])
            };
            let (inner, outer) = (at(-0.5)?, at(0.5)?);
            Some((0..3).map(|i| (outer[i] - inner[i]).abs()).sum::<f64>() / 3.0)
        };
        let Some(across) = ACROSS.map(step).collect::<Option<Vec<f64>>>() else { return };
        // Outwards there may be no room.
        let beside: Vec<f64> = BESIDE.flat_map(|d| [-d, d]).filter_map(step).collect();
        for (sums, steps) in [(&mut self.across, across), (&mut self.beside, beside)] {
            sums.0 += steps.iter().sum::<f64>();
            sums.1 += steps.len() as f64;
        }
    }

    fn ratio(&self) -> Option<f64> {
        let mean = |(sum, count): (f64, f64)| (count > 0.0).then_some(sum / count + ROUNDING);
        Some(mean(self.across)? / mean(self.beside)?)
    }
}

/// The picture at a point about its middle, between its pixels; none outside.
fn pixel(picture: &RgbImage, point: [f64; 2]) -> Option<[f64; 3]> {
    let x = point[0] + f64::from(picture.width() - 1) / 2.0;
    let y = point[1] + f64::from(picture.height() - 1) / 2.0;
    let inside = |at: f64, n: u32| (0.0..=f64::from(n - 1)).contains(&at);
    if !inside(x, picture.width()) || !inside(y, picture.height()) {
        return None;
    }
    let (left, top) = (x.floor() as u32, y.floor() as u32);
    let (right, bottom) =
        ((left + 1).min(picture.width() - 1), (top + 1).min(picture.height() - 1));
    let (u, v) = (x.fract(), y.fract());
    let of = |x, y| picture.get_pixel(x, y).0.map(f64::from);
    let (a, b, c, d) = (of(left, top), of(right, top), of(left, bottom), of(right, bottom));
    Some(
        [0, 1, 2]
            .map(|i| (a[i] * (1.0 - u) + b[i] * u) * (1.0 - v) + (c[i] * (1.0 - u) + d[i] * u) * v),
    )
}
