//! A job from a picture: a frame's PNG says how it was made.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::json;
use vqfarm_core::file::Document;
use vqfarm_core::keys;
use vqfarm_core::record::{FRAME_INFO, FrameInfo};
use vqfarm_core::sweep::escaped_prompt;
use vqfarm_weights::library::Library;

/// The job that makes a picture again, and the folder that its files are in.
///
/// # Errors
/// The file is no frame of vqfarm, or one that other frames went before.
pub fn job_of(path: &Path, library: &Library) -> Result<(Document, PathBuf), String> {
    let info = read(path)?;
    if info.film {
        let frame = info.index;
        return Err(format!("frame {frame} of a film, which follows from others; render its job"));
    }
    for (name, sha256) in &info.models {
        let here = library.open(name).map(|entry| entry.sha256);
        if here.is_ok_and(|here| here != *sha256) {
            anstream::eprintln!(
                "{}: `{name}` is another model here than the picture was made with; it will \
                 come out otherwise",
                crate::style::warning("warning")
            );
        }
    }
    let mut document = Document::empty();
    document.resolve("version", "render", &json!(info.settings));
    if let Some(prompt) = escaped_prompt(&info.settings.prompt) {
        document.remove("render.prompt");
        document.resolve("version", "sweep.axes.prompt", &json!([prompt]));
    }
    document.resolve("version", "name", &json!(super::name_of(&info.settings.prompt)));
    // A job's files lie beside its folder of frames.
    let folder = super::folder_of(path);
    let frames = folder.file_name().is_some_and(|name| name == keys::FRAMES);
    let beside = if frames { folder.join("..") } else { folder };
    Ok((document, beside))
}

fn read(path: &Path) -> Result<FrameInfo, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let no_png = |error: png::DecodingError| format!("not a whole PNG: {error}");
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().map_err(no_png)?;
    // Text may stand after the pixels.
    reader.finish().map_err(no_png)?;
    let texts = &reader.info().utf8_text;
    let text = texts.iter().find(|chunk| chunk.keyword == FRAME_INFO);
    let mut text = text.ok_or("a picture that says nothing of how vqfarm made it")?.clone();
    // A few kilobytes of compressed text can be gigabytes; this refuses more than two mebibytes.
    text.decompress_text().map_err(no_png)?;
    let text = text.get_text().map_err(no_png)?;
    serde_json::from_str(&text).map_err(|error| format!("what it says of itself: {error}"))
}
