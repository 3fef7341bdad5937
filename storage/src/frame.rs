//! A frame as a file: a PNG that says in its text chunks how it was made.
//!
//! A frame's bytes are a pure function of the picture and of [`FrameInfo`]: no clock, no host
//! name, so that the same job gives the same files.

use std::io::Cursor;

use image::RgbImage;
use vqfarm_core::check::MAX_SIDE;
use vqfarm_core::record::FRAME_INFO;
pub use vqfarm_core::record::FrameInfo;

/// Most bytes of what a frame says of itself. A few kilobytes of compressed text can be gigabytes.
const MAX_INFO: usize = 4 << 20;

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
    // The end chunk proves that nothing is cut off.
    reader.finish()?;
    let info = info_of(reader.info())?;
    let picture =
        RgbImage::from_raw(width, height, pixels).ok_or(FrameError::Size { width, height })?;
    Ok((info, picture))
}

/// What a frame says of itself, once all of the PNG is read: text may stand after the pixels.
///
/// # Errors
/// It says nothing of that kind, or more than anybody writes there.
pub fn info_of(png: &png::Info<'_>) -> Result<FrameInfo> {
    let chunk = png.utf8_text.iter().find(|chunk| chunk.keyword == FRAME_INFO);
    let none = || FrameError::Foreign(format!("it has no `{FRAME_INFO}` text"));
    let mut chunk = chunk.ok_or_else(none)?.clone();
    chunk.decompress_text_with_limit(MAX_INFO)?;
    let text = chunk.get_text()?;
    serde_json::from_str(&text).map_err(|e| FrameError::Foreign(e.to_string()))
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
    /// A small grey picture with these chunks of text.
    fn with_text(text: impl png::text_metadata::EncodableTextChunk) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_text_chunk(&text).unwrap();
        writer.write_image_data(&[0; 3]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn text_that_grows_without_end_is_refused() {
        let json = serde_json::to_string(&info()).unwrap();
        let compressed = |text: String| {
            let mut chunk = png::text_metadata::ITXtChunk::new(FRAME_INFO, text);
            chunk.compressed = true;
            chunk.compress_text().unwrap();
            with_text(chunk)
        };
        let (read, _) = decode(&compressed(json.clone())).unwrap();
        assert_eq!(read, info(), "compressed text is read, too");
        let bomb = compressed(json + &" ".repeat(64 << 20));
        assert!(bomb.len() < 1 << 20, "{} bytes on their way", bomb.len());
        let refused = decode(&bomb).unwrap_err().to_string();
        assert!(refused.contains("space"), "{refused}");
    }

    #[test]
    fn a_frame_larger_than_any_is_refused_before_it_is_read() {
        for (width, height) in [(MAX_SIDE + 1, 1), (1, 60_000), (100_000, 100_000)] {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, width, height);
            encoder.set_color(png::ColorType::Rgb);
            drop(encoder.write_header().unwrap());
            // Signature and head; what would fill it is promised and never comes.
            bytes.truncate(8 + 25);
            bytes.extend(b"\0\0\0\x10IDAT");
            let refused = decode(&bytes).unwrap_err();
            assert!(matches!(refused, FrameError::Size { .. }), "{width} × {height}: {refused}");
        }
    }
}
