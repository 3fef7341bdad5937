//! A frame as a file: a PNG that says in its text chunks how it was made.
//!
//! A frame's bytes are a pure function of the picture and of [`FrameInfo`]: no clock, no host
//! name, so that the same job gives the same files.

use std::io::Cursor;

use image::RgbImage;
use vqfarm_core::record::FRAME_INFO;
pub use vqfarm_core::record::FrameInfo;

/// No frame is larger than this on either side, so a damaged header cannot claim memory.
const MAX_SIDE: u32 = 1 << 15;

/// What can go wrong between a frame and its bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("cannot write the PNG: {0}")]
    Encode(#[from] png::EncodingError),
    #[error("not a whole PNG: {0}")]
    Decode(#[from] png::DecodingError),
    #[error("not a frame of vqfarm: {0}")]
    Foreign(String),
    #[error("{width}×{height} is larger than any frame")]
    Size { width: u32, height: u32 },
}

pub type Result<T, E = FrameError> = std::result::Result<T, E>;

/// The PNG of a picture, whole.
pub fn encode(picture: &RgbImage, info: &FrameInfo) -> Result<Vec<u8>> {
    let json = serde_json::to_string(info).map_err(|e| FrameError::Foreign(e.to_string()))?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    encoder.add_text_chunk("Software".into(), format!("vqfarm {}", info.version))?;
    encoder.add_itxt_chunk("prompt".into(), info.settings.prompt.clone())?;
    encoder.add_text_chunk("seed".into(), info.settings.seed.to_string())?;
    if let Some(score) = info.score {
        encoder.add_text_chunk("score".into(), format!("{score:.4}"))?;
    }
    // The other chunks repeat parts of it for viewers that show PNG text.
    encoder.add_itxt_chunk(FRAME_INFO.into(), json)?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The picture and what it says of itself; an error when a byte of either is damaged.
pub fn decode(bytes: &[u8]) -> Result<(FrameInfo, RgbImage)> {
    let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info()?;
    let (width, height) = (reader.info().width, reader.info().height);
    if width > MAX_SIDE || height > MAX_SIDE {
        return Err(FrameError::Size { width, height });
    }
    if reader.output_color_type() != (png::ColorType::Rgb, png::BitDepth::Eight) {
        return Err(FrameError::Foreign("it is not 8-bit RGB".into()));
    }
    let size = reader.output_buffer_size().ok_or(FrameError::Size { width, height })?;
    let mut pixels = vec![0; size];
    reader.next_frame(&mut pixels)?;
    // Text may stand after the pixels, and the end chunk proves that nothing is cut off.
    reader.finish()?;
    let text = reader
        .info()
        .utf8_text
        .iter()
        .find(|chunk| chunk.keyword == FRAME_INFO)
        .ok_or_else(|| FrameError::Foreign(format!("it has no `{FRAME_INFO}` text")))?
        .get_text()?;
    let info = serde_json::from_str(&text).map_err(|e| FrameError::Foreign(e.to_string()))?;
    let picture =
        RgbImage::from_raw(width, height, pixels).ok_or(FrameError::Size { width, height })?;
    Ok((info, picture))
}

#[cfg(test)]
mod tests {
    use vqfarm_core::render::RenderSettings;

    use super::*;

    fn info() -> FrameInfo {
        FrameInfo {
            index: 3,
            spec: "ab12".into(),
            settings: RenderSettings {
                prompt: "ein Mond über dem Meer 月".into(),
                ..Default::default()
            },
            models: [("demo-clip".to_owned(), "00ff".to_owned())].into(),
            score: Some(0.3125),
            version: "0.1.0".into(),
            stopped: None,
            film: false,
        }
    }

    fn picture() -> RgbImage {
        RgbImage::from_fn(9, 5, |x, y| image::Rgb([x as u8 * 20, y as u8 * 40, 7]))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = encode(&picture(), &info()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (info(), picture()));
        assert_eq!(bytes, encode(&picture(), &info()).unwrap());
    }

    #[test]
    fn a_truncated_frame_is_refused_wherever_it_was_cut() {
        let bytes = encode(&picture(), &info()).unwrap();
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
        }
    }

    #[test]
    fn an_altered_byte_never_gives_another_frame() {
        let bytes = encode(&picture(), &info()).unwrap();
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            if let Ok(read) = decode(&bytes) {
                assert_eq!(read, (info(), picture()), "altered at {at}");
            }
        }
    }

    #[test]
    fn a_png_of_another_program_is_refused() {
        let mut bytes = Cursor::new(Vec::new());
        picture().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        assert!(matches!(decode(bytes.get_ref()), Err(FrameError::Foreign(_))));
    }
}
