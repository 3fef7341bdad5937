//! How much of each frame is the one before, moved as the camera moved.

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Serialize;
use tch::{Device, Kind, Tensor};
use vqfarm_core::animation::Timeline;
use vqfarm_engine::image_io::to_tensor;
use vqfarm_engine::similarity::Similarity;
use vqfarm_engine::warp::{Edge, warp};

use super::camera;

/// Pixels at a picture's edge from which bicubic sampling would reach beyond it.
const MARGIN: i64 = 2;
/// Mean square that rounding to bytes leaves of pictures that are the same.
const ROUNDING: f64 = 1.0 / (12.0 * 255.0 * 255.0);

#[derive(Debug, Serialize)]
pub struct Steadiness {
    /// Mean over neighbouring frames of the peak signal-to-noise ratio, dB.
    pub mean: f64,
    /// Its 5th percentile.
    pub low: f64,
    /// Mean difference of neighbouring pixels of the frames, in levels of 255: it is easy to be
    /// steady and blurred.
    pub slope: f64,
}

/// # Errors
/// The camera cannot be followed, or libtorch fails.
pub fn measure(timeline: &Timeline, frames: &[RgbImage]) -> Result<Steadiness> {
    let frames: Vec<Tensor> =
        frames.iter().map(|frame| to_tensor(frame, Device::Cpu)).collect::<Result<_, _>>()?;
    let mut ratios = Vec::new();
    for (n, pair) in (0..).zip(frames.windows(2)) {
        let forth = camera::between(timeline, n, 0.5)?;
        let back = camera::between(timeline, n, -0.5)?;
        if let ([frame, next], Some(forth), Some(back)) = (pair, forth, back) {
            ratios.extend(agreement(frame, next, forth, back));
        }
    }
    ratios.sort_by(f64::total_cmp);
    let low = ratios.get(ratios.len().div_ceil(20).saturating_sub(1));
    Ok(Steadiness {
        mean: ratios.iter().sum::<f64>() / ratios.len().max(1) as f64,
        low: *low.context("no frame shows anything of the one before")?,
        slope: frames.iter().map(slope).sum::<f64>() / frames.len() as f64,
    })
}

/// The peak signal-to-noise ratio, dB, of two neighbouring frames as the camera sees them half way
/// between: so each is sampled once, and neither is softer than the other for that. Only what
/// both show counts; none where they share nothing.
fn agreement(frame: &Tensor, next: &Tensor, forth: Similarity, back: Similarity) -> Option<f64> {
    let (one, one_shows) = seen(frame, forth);
    let (other, other_shows) = seen(next, back);
    let both = one_shows * other_shows;
    let count = both.sum(Kind::Double).double_value(&[]) * 3.0;
    if count == 0.0 {
        return None;
    }
    let error = ((one - other).square() * both).sum(Kind::Double).double_value(&[]) / count;
    Some(-10.0 * error.max(ROUNDING).log10())
}

/// The picture moved, and where it shows what it has: 1 or 0, [1, 1, h, w].
fn seen(picture: &Tensor, by: Similarity) -> (Tensor, Tensor) {
    let motion = by.motion();
    let size = picture.size();
    let (height, width) = (size[2], size[3]);
    let inner = [1, 1, (height - 2 * MARGIN).max(0), (width - 2 * MARGIN).max(0)];
    let inner = Tensor::ones(inner, (Kind::Float, picture.device()));
    let inner = inner.constant_pad_nd([MARGIN; 4]);
    let shows = warp(&inner, &motion, Edge::Black).ge(0.5).to_kind(Kind::Float);
    (warp(picture, &motion, Edge::Border), shows)
}

/// Mean difference of neighbouring pixels in levels.
fn slope(picture: &Tensor) -> f64 {
    let along = |dim: i64| {
        let n = picture.size()[dim as usize] - 1;
        let steps = picture.narrow(dim, 1, n) - picture.narrow(dim, 0, n);
        steps.abs().mean(Kind::Double).double_value(&[])
    };
    (along(2) + along(3)) / 2.0 * 255.0
}
