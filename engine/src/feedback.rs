//! From one frame of an animation to the start of the next.

use image::RgbImage;
use palette::{IntoColor, Lab, Srgb};
use tch::{Device, Kind};
use vqfarm_core::animation::{self, Step, WarpMethod};
use vqfarm_core::rng::{Key, Purpose};

use crate::error::Result;
use crate::guard::guard;
use crate::image_io;
use crate::warp::{Edge, Motion, warp};
use crate::zoom::{lanczos_resize, legacy_zoom};

/// Radius of what unsharp masking takes for a blur, in pixels.
const SHARPEN_RADIUS: f32 = 1.0;

/// The picture that a frame starts from: the frame before, moved by the camera, its colours
/// brought back towards those of `reference`, sharpened, and with noise. Computed on the CPU, so
/// that it is the same wherever the frame is rendered; `seed` and `frame` name the noise.
///
/// # Errors
/// The legacy method refuses the zoom; libtorch fails.
pub fn next_start(
    before: &RgbImage,
    step: &Step,
    reference: &RgbImage,
    (seed, frame): (u64, u32),
) -> Result<RgbImage> {
    let mut picture = moved(before, &step.warp)?;
    if step.color_match > 0.0 {
        match_colors(&mut picture, reference, step.color_match);
    }
    if step.sharpen > 0.0 {
        sharpen(&mut picture, step.sharpen);
    }
    if step.noise > 0.0 {
        let key = Key::new(seed, Purpose::FrameNoise).frame(frame);
        add_noise(&mut picture, step.noise, key);
    }
    Ok(picture)
}

/// The picture that a frame of a painted film starts from: its `own` of the source, brought to
/// the size of the frame `before`, with a `share` (0 to 1) of that mixed in.
pub fn blended(own: &RgbImage, before: &RgbImage, share: f64) -> RgbImage {
    let (width, height) = before.dimensions();
    let mut mixed = lanczos_resize(own, width, height);
    for (byte, before) in mixed.iter_mut().zip(before.iter()) {
        *byte = to_byte(f64::from(*byte) * (1.0 - share) + f64::from(*before) * share);
    }
    mixed
}

/// The picture after the camera's move.
fn moved(picture: &RgbImage, by: &animation::Warp) -> Result<RgbImage> {
    if by.method == WarpMethod::Legacy {
        let shift = [by.translate_x, by.translate_y].map(|pixels| pixels.round() as i64);
        return legacy_zoom(picture, by.zoom, shift);
    }
    let motion = Motion::from(by);
    if motion == Motion::default() {
        return Ok(picture.clone());
    }
    let edge = match by.edge {
        animation::Edge::Border => Edge::Border,
        animation::Edge::Reflect => Edge::Reflect,
        animation::Edge::Wrap => Edge::Wrap,
        animation::Edge::Black => Edge::Black,
    };
    let images = image_io::to_tensor(picture, Device::Cpu)?;
    let moved = guard(|| tch::no_grad(|| warp(&images, &motion, edge)))?;
    let pictures = image_io::to_pictures(&moved.to_kind(Kind::Float))?;
    Ok(pictures.into_iter().next().unwrap_or_default())
}

/// Mean and standard deviation of each channel in CIE L*a*b*.
fn statistics(pixels: &[[f32; 3]]) -> [(f32, f32); 3] {
    let count = pixels.len().max(1) as f64;
    std::array::from_fn(|channel| {
        let values = || pixels.iter().map(|pixel| f64::from(pixel[channel]));
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean as f32, variance.sqrt() as f32)
    })
}

fn to_lab(picture: &RgbImage) -> Vec<[f32; 3]> {
    let lab = |pixel: &image::Rgb<u8>| {
        let lab: Lab = Srgb::from(pixel.0).into_format::<f32>().into_color();
        [lab.l, lab.a, lab.b]
    };
    picture.pixels().map(lab).collect()
}

/// Moves mean and spread of the colours towards the reference's (Reinhard et al. 2001, in
/// L*a*b*); `share` is how far, from 0 to 1.
fn match_colors(picture: &mut RgbImage, reference: &RgbImage, share: f64) {
    let lab = to_lab(picture);
    let (own, wanted) = (statistics(&lab), statistics(&to_lab(reference)));
    for (pixel, lab) in picture.pixels_mut().zip(lab) {
        let [l, a, b] = std::array::from_fn(|channel| {
            let ((mean, spread), (to, over)) = (own[channel], wanted[channel]);
            // A flat picture has no spread to widen.
            let scale = if spread > 1e-3 { over / spread } else { 1.0 };
            let matched = (lab[channel] - mean) * scale + to;
            lab[channel] + (matched - lab[channel]) * share as f32
        });
        let color: Srgb = Lab::new(l, a, b).into_color();
        pixel.0 = Srgb::into_format::<u8>(color).into();
    }
}

/// Unsharp masking: adds `strength` times what a small blur takes away.
fn sharpen(picture: &mut RgbImage, strength: f64) {
    let blurred = image::imageops::blur(picture, SHARPEN_RADIUS);
    for (byte, soft) in picture.iter_mut().zip(blurred.iter()) {
        let (own, soft) = (f64::from(*byte), f64::from(*soft));
        *byte = to_byte(own + (own - soft) * strength);
    }
}

fn add_noise(picture: &mut RgbImage, spread: f64, key: Key) {
    let mut normals = vec![0f32; picture.len()];
    key.stream().fill_normal(&mut normals);
    for (byte, normal) in picture.iter_mut().zip(normals) {
        *byte = to_byte(f64::from(*byte) + f64::from(normal) * spread * 255.0);
    }
}

fn to_byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(32, 24, |x, y| image::Rgb([(x * 7) as u8, (y * 9) as u8, 60]))
    }

    fn step() -> Step {
        Step {
            warp: animation::Warp {
                zoom: 1.0,
                angle: 0.0,
                translate_x: 0.0,
                translate_y: 0.0,
                center: [0.5; 2],
                edge: animation::Edge::Reflect,
                method: WarpMethod::Subpixel,
            },
            color_match: 0.0,
            reference: 0,
            noise: 0.0,
            sharpen: 0.0,
        }
    }

    fn next(step: &Step, reference: &RgbImage, frame: u32) -> RgbImage {
        next_start(&picture(), step, reference, (1, frame)).unwrap()
    }

    #[test]
    fn a_share_of_the_frame_before_is_mixed_in() {
        let (own, before) = (RgbImage::from_pixel(9, 5, image::Rgb([200; 3])), picture());
        let same = |share| blended(&own, &before, share);
        assert_eq!(same(1.0), before);
        assert_eq!(same(0.0), RgbImage::from_pixel(32, 24, image::Rgb([200; 3])));
        assert_eq!(same(0.25).get_pixel(8, 0).0, [164, 150, 165]);
    }

    #[test]
    fn nothing_asked_for_changes_nothing() {
        assert_eq!(next(&step(), &picture(), 1), picture());
    }

    #[test]
    fn the_legacy_method_is_nerdyrodents() {
        let mut step = step();
        step.warp.method = WarpMethod::Legacy;
        (step.warp.zoom, step.warp.translate_x) = (1.1, 3.0);
        assert_eq!(next(&step, &picture(), 1), legacy_zoom(&picture(), 1.1, [3, 0]).unwrap());
    }

    #[test]
    fn colours_go_towards_the_reference_as_far_as_asked() {
        let reference = RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([200, (100 + x * 5) as u8, (80 + y * 6) as u8])
        });
        let distance = |share: f64| {
            let matched = next(&Step { color_match: share, ..step() }, &reference, 1);
            let (own, wanted) = (statistics(&to_lab(&matched)), statistics(&to_lab(&reference)));
            own.iter().zip(wanted).map(|(a, b)| (a.0 - b.0).abs()).sum::<f32>()
        };
        let [none, half, whole] = [0.0, 0.5, 1.0].map(distance);
        assert!(whole < 3.0 && (half / none - 0.5).abs() < 0.1, "{none} {half} {whole}");
    }

    #[test]
    fn noise_is_the_frames_own_and_sharpening_widens_slopes() {
        let noisy = |frame| next(&Step { noise: 0.05, ..step() }, &picture(), frame);
        assert_eq!(noisy(3), noisy(3));
        assert_ne!(noisy(3), noisy(4));
        let soft = image::imageops::blur(&picture(), 2.0);
        let edge = |p: &RgbImage| {
            let rows = p.rows().flat_map(|row| {
                let row: Vec<_> = row.map(|pixel| i32::from(pixel.0[0])).collect();
                row.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect::<Vec<_>>()
            });
            rows.max().unwrap_or(0)
        };
        let checks =
            RgbImage::from_fn(24, 24, |x, _| image::Rgb([if x < 12 { 60 } else { 190 }; 3]));
        let checks = image::imageops::blur(&checks, 1.5);
        let sharp = next_start(&checks, &Step { sharpen: 1.0, ..step() }, &soft, (1, 1)).unwrap();
        assert!(edge(&sharp) > edge(&checks));
    }
}
