//! Pictures side by side, to be looked at.

use std::path::Path;

use anyhow::{Context, Result};
use image::{RgbImage, imageops};

/// Lays square pictures (sRGB bytes, side `size`) out in rows of `columns` and writes a PNG.
pub fn write(path: &Path, pictures: &[Vec<u8>], size: u32, columns: u32) -> Result<()> {
    let gap = 4;
    let columns = columns.min(pictures.len() as u32).max(1);
    let rows = (pictures.len() as u32).div_ceil(columns);
    let white = image::Rgb([255; 3]);
    let mut sheet =
        RgbImage::from_pixel(columns * (size + gap) + gap, rows * (size + gap) + gap, white);
    for (i, bytes) in (0..).zip(pictures) {
        let picture = RgbImage::from_raw(size, size, bytes.clone())
            .with_context(|| format!("picture {i} is not {size}×{size}"))?;
        let (column, row) = (i % columns, i / columns);
        let at = |n: u32| i64::from(gap + n * (size + gap));
        imageops::replace(&mut sheet, &picture, at(column), at(row));
    }
    sheet.save(path).with_context(|| format!("write {}", path.display()))
}
