//! NR's legacy zoom frame, byte for byte: Pillow's crop, LANCZOS resize and wrapping shift.
//!
//! The resize is Pillow's own arithmetic for 8-bit images (`Resample.c`): Lanczos-3 weights
//! rounded to 22 fractional bits, rows first, columns second, rounded to bytes in between.

use std::f64::consts::PI;

use image::RgbImage;

use crate::error::{EngineError, Result};

/// Crops about the centre to 1/`scale` of each side, resizes back, then shifts `shift`
/// pixels to the right and down, what leaves on one side coming back on the other.
///
/// The crop's corners are rounded to whole pixels, so small zooms are uneven; a `scale` below
/// 1 shrinks the picture onto black.
///
/// # Errors
/// When `scale` is not a number between 1/16 and the image's shorter side.
pub fn legacy_zoom(image: &RgbImage, scale: f64, shift: [i64; 2]) -> Result<RgbImage> {
    let (width, height) = image.dimensions();
    let most = f64::from(width.min(height));
    if !(1.0 / 16.0..=most).contains(&scale) {
        let reason = format!("must lie between 1/16 and {most} for this picture, not {scale}");
        return Err(EngineError::Setting { field: "zoom", reason });
    }
    // Python rounds halves to even.
    let ends = |side: u32| {
        let (centre, reach) = (f64::from(side) / 2.0, f64::from(side) / (scale * 2.0));
        let low = (centre - reach).round_ties_even() as i64;
        let high = (centre + reach).round_ties_even() as i64;
        (low, (high - low).max(1) as u32)
    };
    let ((left, crop_width), (top, crop_height)) = (ends(width), ends(height));
    let cropped = RgbImage::from_fn(crop_width, crop_height, |x, y| {
        let at = (u32::try_from(left + i64::from(x)), u32::try_from(top + i64::from(y)));
        match at {
            (Ok(x), Ok(y)) => image.get_pixel_checked(x, y).copied().unwrap_or(BLACK),
            _ => BLACK,
        }
    });
    Ok(wrap_shift(&lanczos_resize(&cropped, width, height), shift))
}

const BLACK: image::Rgb<u8> = image::Rgb([0; 3]);

fn wrap_shift(image: &RgbImage, [right, down]: [i64; 2]) -> RgbImage {
    let (width, height) = image.dimensions();
    if [right, down] == [0, 0] {
        return image.clone();
    }
    let from =
        |at: u32, by: i64, side: u32| (i64::from(at) - by).rem_euclid(i64::from(side)) as u32;
    RgbImage::from_fn(width, height, |x, y| {
        *image.get_pixel(from(x, right, width), from(y, down, height))
    })
}

/// Stretches a picture to another size with the exact bytes of Pillow's `LANCZOS`.
pub fn lanczos_resize(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (from, to) = (image.dimensions(), (width as usize, height as usize));
    let from = (from.0 as usize, from.1 as usize);
    let mut bytes = image.as_raw().clone();
    if to.0 != from.0 {
        let rows = |width: usize| Lines { count: from.1, apart: 3 * width, step: 3 };
        bytes = resize_lines(&bytes, rows(from.0), &taps(from.0, to.0), rows(to.0));
    }
    if to.1 != from.1 {
        let columns = Lines { count: to.0, apart: 3, step: 3 * to.0 };
        bytes = resize_lines(&bytes, columns, &taps(from.1, to.1), columns);
    }
    // The passes made exactly as many bytes as the size says.
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// How the rows or columns of RGB pixels lie in the bytes.
#[derive(Clone, Copy)]
struct Lines {
    count: usize,
    /// Bytes from one line to the next.
    apart: usize,
    /// Bytes from a pixel to the next one of its line.
    step: usize,
}

/// An output pixel's first source pixel and the fixed-point weights from there on.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

const PRECISION_BITS: u32 = 32 - 8 - 2;

fn resize_lines(source: &[u8], from: Lines, taps: &[Tap], to: Lines) -> Vec<u8> {
    let mut out = vec![0; to.count * taps.len() * 3];
    for line in 0..to.count {
        for (at, tap) in taps.iter().enumerate() {
            let mut sums = [1i32 << (PRECISION_BITS - 1); 3];
            let mut pixel = line * from.apart + tap.first * from.step;
            for weight in &tap.weights {
                for (sum, byte) in sums.iter_mut().zip(&source[pixel..pixel + 3]) {
                    *sum += i32::from(*byte) * weight;
                }
                pixel += from.step;
            }
            let pixel = line * to.apart + at * to.step;
            for (byte, sum) in out[pixel..pixel + 3].iter_mut().zip(sums) {
                *byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
            }
        }
    }
    out
}

/// Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`.
fn taps(input: usize, output: usize) -> Vec<Tap> {
    let scale = input as f64 / output as f64;
    // Shrinking widens the kernel to cover every source pixel.
    let stretch = scale.max(1.0);
    let support = 3.0 * stretch;
    (0..output)
        .map(|at| {
            let centre = (at as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let weights: Vec<f64> = (first..end)
                .map(|x| lanczos3((x as f64 - centre + 0.5) * (1.0 / stretch)))
                .collect();
            let sum: f64 = weights.iter().sum();
            let fixed = |w: &f64| {
                let w = if sum == 0.0 { *w } else { w / sum };
                let w = w * f64::from(1u32 << PRECISION_BITS);
                (w + 0.5f64.copysign(w)) as i32
            };
            Tap { first, weights: weights.iter().map(fixed).collect() }
        })
        .collect()
}

fn lanczos3(x: f64) -> f64 {
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(12, 9, |x, y| image::Rgb([(x * 20) as u8, (y * 25) as u8, 77]))
    }

    #[test]
    fn without_zoom_the_picture_only_shifts_and_comes_round() {
        let image = picture();
        let shifted = legacy_zoom(&image, 1.0, [5, -2]).unwrap();
        assert_eq!(shifted.get_pixel(5, 0), image.get_pixel(0, 2));
        assert_eq!(legacy_zoom(&shifted, 1.0, [-5, 2]).unwrap(), image);
    }

    #[test]
    fn shrinking_leaves_black_around() {
        let small = legacy_zoom(&picture(), 0.5, [0, 0]).unwrap();
        assert_eq!(small.get_pixel(0, 0), &BLACK);
        assert!(small.get_pixel(6, 4)[2] > 60);
    }

    #[test]
    fn a_zoom_that_leaves_no_pixel_or_no_picture_is_refused() {
        for scale in [0.0, -1.0, 0.01, 10.0, f64::NAN, f64::INFINITY] {
            let error = legacy_zoom(&picture(), scale, [0, 0]).unwrap_err().to_string();
            assert!(error.starts_with("zoom: must lie between"), "{error}");
        }
    }
}
