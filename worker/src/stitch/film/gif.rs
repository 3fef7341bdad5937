//! A GIF, made without ffmpeg.

use std::fs::File;
use std::io::{BufWriter, Write};

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame};

use super::Picture;
use crate::stitch::StitchError;

/// Writes pictures at `fps` a second, to be played `repeat` times, or for ever.
pub(super) fn write(
    file: File,
    pictures: impl Iterator<Item = Picture>,
    fps: f64,
    repeat: Option<u32>,
) -> Result<(), StitchError> {
    let mut file = BufWriter::new(file);
    let mut encoder = GifEncoder::new_with_speed(&mut file, 10);
    encoder.set_repeat(match repeat {
        None | Some(0) => Repeat::Infinite,
        Some(times) => Repeat::Finite(u16::try_from(times - 1).unwrap_or(u16::MAX)),
    })?;
    // A GIF counts hundredths of a second: each frame ends at the hundredth nearest to its
    // time, so that the film's length is right.
    let end = |n: usize| (n as f64 * 100.0 / fps).round();
    for (n, picture) in pictures.enumerate() {
        let hundredths = (end(n + 1) - end(n)).max(1.0) as u32;
        let delay = Delay::from_numer_denom_ms(hundredths * 10, 1);
        let picture = DynamicImage::ImageRgb8(picture.pixels).into_rgba8();
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
    }
    // The encoder ends the file when it goes.
    drop(encoder);
    file.flush().map_err(StitchError::Film)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use image::codecs::gif::GifDecoder;
    use image::{AnimationDecoder, Rgb, RgbImage};

    use super::*;

    #[test]
    fn a_gif_is_as_long_as_it_should_be() {
        let picture = |n: u8| {
            let pixels = RgbImage::from_pixel(8, 6, Rgb([n * 20, 90, 40]));
            Picture { pixels, png: None }
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.reopen().unwrap(), (0..12).map(picture), 24.0, None).unwrap();
        let decoder = GifDecoder::new(BufReader::new(file)).unwrap();
        let frames = decoder.into_frames().collect_frames().unwrap();
        let total: u32 = frames.iter().map(|f| f.delay().numer_denom_ms().0).sum();
        assert_eq!((frames.len(), total), (12, 500));
    }
}
