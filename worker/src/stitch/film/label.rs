//! A line of text in a frame.

use image::{Rgb, RgbImage};

use crate::stitch::text::Face;

/// Writes a line along the lower edge, on a dark strip.
pub(super) fn write(picture: &mut RgbImage, text: &str) {
    let face = Face::semibold();
    let (width, height) = picture.dimensions();
    let size = (height as f32 / 24.0).clamp(9.0, 32.0);
    let strip = Face::line_height(size) as u32 + 4;
    let top = height.saturating_sub(strip);
    for y in top..height {
        for x in 0..width {
            let pixel = picture.get_pixel_mut(x, y);
            pixel.0 = pixel.0.map(|byte| byte / 3);
        }
    }
    let room = width as f32 - 8.0;
    if let Some(line) = face.wrap(text, size, room, 1).first() {
        face.draw(picture, 4.0, top as f32 + 2.0, line, size, Rgb([255; 3]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stays_in_its_strip() {
        let mut picture = RgbImage::from_pixel(96, 96, Rgb([200; 3]));
        write(&mut picture, "12  a red sun over the sea and much more than fits");
        assert_eq!(picture.get_pixel(40, 70), &Rgb([200; 3]));
        assert!(picture.rows().skip(80).flatten().any(|pixel| pixel.0[0] > 220));
    }
}
