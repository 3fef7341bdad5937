//! The film or folder that a video is painted over, taken apart into pictures.

use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::{ImageFormat, RgbImage, imageops};
use serde::Deserialize;
use serde_json::json;
use vqfarm_core::animation::{Fit, MAX_FRAMES, Source};
use vqfarm_core::check::MAX_SIDE;
use vqfarm_core::file::Document;
use vqfarm_core::job::FieldError;
use vqfarm_core::render::RenderSettings;
use vqfarm_core::video::Video;

use super::assets::{self, Asset};

const FIELD: &str = "animation.source.path";
/// ffmpeg opens what it is told to and nothing that a crafted file tells it to.
const ONLY_FILES: [&str; 2] = ["-protocol_whitelist", "file,pipe"];

/// How the frames are to be.
struct Wanted {
    size: [u32; 2],
    fit: Fit,
    start: f64,
    fps: Option<f64>,
    most: u64,
    sound: bool,
}

/// What was found.
#[derive(Default)]
struct Found {
    pictures: Vec<Asset>,
    fps: Option<f64>,
    sound: Option<Asset>,
}

/// Puts the source's pictures into the document in the place of its path, with their number and,
/// where the document does not say them, frames a second and soundtrack. Answers with the files
/// under their keys; nothing where the job has no such source.
///
/// # Errors
/// The source cannot be read, with the reason.
pub fn take_apart(document: &mut Document, beside: &Path) -> Result<Vec<Asset>, FieldError> {
    let video = document.get::<String>("animation.mode").is_some_and(|mode| mode == "video");
    let source = document.get::<Source>("animation.source").filter(|_| video);
    let Some((source, path)) = source.and_then(|s| s.path.clone().map(|path| (s, path))) else {
        return Ok(Vec::new());
    };
    let film: Video = document.get("output.video").unwrap_or_default();
    let most = document.get::<u64>("animation.frames");
    let wanted = Wanted {
        size: document.get("render.size").unwrap_or(RenderSettings::default().size),
        fit: source.fit,
        start: source.start,
        fps: document.get("animation.fps"),
        most: most.unwrap_or(MAX_FRAMES).min(MAX_FRAMES),
        sound: source.audio && film.soundtrack.is_none() && film.codec.has_sound(),
    };
    let found = read(&beside.join(&path), &wanted);
    let found = found.map_err(|reason| FieldError::new(FIELD, format!("{path:?}: {reason}")))?;

    let keys: Vec<&str> = found.pictures.iter().map(|picture| picture.key.as_str()).collect();
    let mut resolve = |field: &str, value| document.resolve(FIELD, field, &value);
    resolve("animation.source.pictures", json!(keys));
    if most.is_none() {
        resolve("animation.frames", json!(keys.len()));
    }
    if let Some(fps) = found.fps.filter(|_| wanted.fps.is_none()) {
        resolve("animation.fps", json!(fps));
    }
    if let Some(sound) = &found.sound {
        resolve("output.video.soundtrack", json!(sound.key));
    }
    // All that these say is in the pictures and the sound now, which alone make the job.
    for done in ["path", "start", "fit", "audio"] {
        document.remove(&format!("animation.source.{done}"));
    }
    let mut assets = found.pictures;
    assets.sort_by(|a, b| a.key.cmp(&b.key));
    assets.dedup_by(|a, b| a.key == b.key);
    assets.extend(found.sound);
    Ok(assets)
}

fn read(path: &Path, wanted: &Wanted) -> Result<Found, String> {
    if !(wanted.start.is_finite() && wanted.start >= 0.0) {
        return Err(format!("start = {}; write 0 or more seconds", wanted.start));
    }
    let sides = 1..=MAX_SIDE;
    if !wanted.size.iter().all(|side| sides.contains(side)) {
        return Err("render.size is out of range".into());
    }
    let folder = fs::metadata(path).map_err(|error| error.to_string())?.is_dir();
    let found = if folder { pictures(path, wanted)? } else { film(path, wanted)? };
    match found.pictures.is_empty() {
        true if folder => Err("the folder has no PNG, JPEG or WebP pictures".into()),
        true => Err("no frames; is it a film, and longer than animation.source.start?".into()),
        false => Ok(found),
    }
}

/// The pictures of a folder in the order of their names.
fn pictures(folder: &Path, wanted: &Wanted) -> Result<Found, String> {
    let known = |path: &PathBuf| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        ["png", "jpg", "jpeg", "webp"].contains(&extension.to_ascii_lowercase().as_str())
    };
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(|error: std::io::Error| error.to_string())?;
    paths.retain(known);
    paths.sort();
    let pictures = paths.iter().take(wanted.most as usize).map(|path| {
        let picture = open(path).map_err(|reason| format!("{}: {reason}", path.display()))?;
        png(&fitted(picture, wanted))
    });
    Ok(Found { pictures: pictures.collect::<Result<_, _>>()?, ..Found::default() })
}

fn open(path: &Path) -> Result<RgbImage, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    Ok(assets::decode(&bytes)?.1.to_rgb8())
}

/// The picture in the frame's shape and size.
fn fitted(picture: RgbImage, wanted: &Wanted) -> RgbImage {
    let [width, height] = wanted.size;
    if picture.dimensions() == (width, height) {
        return picture;
    }
    let picture = image::DynamicImage::from(picture);
    let filter = imageops::FilterType::Lanczos3;
    let resized = match wanted.fit {
        Fit::Cover => picture.resize_to_fill(width, height, filter),
        Fit::Stretch => picture.resize_exact(width, height, filter),
    };
    resized.into_rgb8()
}

fn png(picture: &RgbImage) -> Result<Asset, String> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok(Asset::new("png", bytes.into_inner()))
}

/// What ffprobe says of a file.
#[derive(Deserialize)]
struct Probed {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    codec_type: String,
    /// As `30000/1001`.
    #[serde(default)]
    avg_frame_rate: String,
}

/// The frames of a film, decoded by ffmpeg, and its sound.
fn film(path: &Path, wanted: &Wanted) -> Result<Found, String> {
    let input = input(path)?;
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error"]).args(ONLY_FILES).args(["-of", "json", "-show_streams"]).arg(&input);
    let probed = output(&mut probe)?;
    let Probed { streams } = serde_json::from_slice(&probed)
        .map_err(|error| format!("ffprobe does not say what it is: {error}"))?;
    let of = |kind: &str| streams.iter().find(|stream| stream.codec_type == kind);
    let pictures = of("video").ok_or("it has no pictures")?;
    let fps = wanted.fps.or_else(|| rate(&pictures.avg_frame_rate));
    let fps = fps.ok_or("it does not say its frames a second; set animation.fps")?;

    let [width, height] = wanted.size.map(|side| side.to_string());
    let scale = match wanted.fit {
        Fit::Cover => format!(
            "scale={width}:{height}:force_original_aspect_ratio=increase:flags=lanczos,\
             crop={width}:{height}"
        ),
        Fit::Stretch => format!("scale={width}:{height}:flags=lanczos"),
    };
    let mut decode = ffmpeg(&input, wanted.start);
    decode.args(["-map", "0:v:0", "-vf", &format!("fps={fps},{scale}")]);
    decode.args(["-frames:v", &wanted.most.to_string()]);
    decode.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]);
    let pictures = frames(&mut decode, wanted.size)?;

    let mut sound = None;
    if wanted.sound && of("audio").is_some() && !pictures.is_empty() {
        let seconds = pictures.len() as f64 / fps;
        let mut decode = ffmpeg(&input, wanted.start);
        decode.args(["-map", "0:a:0", "-t", &seconds.to_string(), "-map_metadata", "-1"]);
        decode.args(["-c:a", "flac", "-sample_fmt", "s16", "-fflags", "+bitexact"]);
        let bytes = output(decode.args(["-f", "flac", "pipe:1"]))?;
        sound = Some(Asset::new("flac", bytes)).filter(|sound| !sound.bytes.is_empty());
    }
    Ok(Found { pictures, fps: Some(fps), sound })
}

/// The file as a URL of ffmpeg's that cannot be taken for an option or another protocol.
fn input(path: &Path) -> Result<std::ffi::OsString, String> {
    let mut input = std::ffi::OsString::from("file:");
    input.push(path.canonicalize().map_err(|error| error.to_string())?);
    Ok(input)
}

fn ffmpeg(input: &std::ffi::OsStr, start: f64) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]).args(ONLY_FILES);
    command.args(["-ss", &start.to_string(), "-i"]).arg(input);
    command
}

/// `30000/1001` as a number.
fn rate(text: &str) -> Option<f64> {
    let (of, over) = text.split_once('/')?;
    let rate = of.parse::<f64>().ok()? / over.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// Runs a decoder to its end.
fn output(command: &mut Command) -> Result<Vec<u8>, String> {
    let ended = command.stdin(Stdio::null()).output().map_err(|error| missing(&error))?;
    match ended.status.success() {
        true => Ok(ended.stdout),
        false => Err(complaint(&ended.stderr)),
    }
}

/// Refuses a sound file that ffmpeg cannot play. Where there is no ffmpeg, whoever makes the film
/// finds out.
pub fn check_sound(path: &Path) -> Result<(), String> {
    let mut decode = ffmpeg(&input(path)?, 0.0);
    decode.args(["-map", "0:a:0", "-t", "1", "-f", "null", "-"]);
    match decode.stdin(Stdio::null()).output() {
        Ok(ended) if !ended.status.success() => Err(complaint(&ended.stderr)),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Runs a decoder that writes raw frames, and stores each as it comes.
fn frames(command: &mut Command, [width, height]: [u32; 2]) -> Result<Vec<Asset>, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(|error| missing(&error))?;
    let (Some(mut pixels), Some(mut words)) = (running.stdout.take(), running.stderr.take()) else {
        return Err("ffmpeg has no pipes".into());
    };
    // Heard beside the pictures, so that ffmpeg never waits to be heard.
    let words = std::thread::spawn(move || {
        let mut text = Vec::new();
        let heard = words.read_to_end(&mut text);
        heard.map(|_| text).unwrap_or_default()
    });
    let mut pictures = Vec::new();
    let size = width as usize * height as usize * 3;
    let made = loop {
        let mut frame = Vec::with_capacity(size);
        match pixels.by_ref().take(size as u64).read_to_end(&mut frame) {
            Ok(0) => break Ok(()),
            Ok(_) => {
                let picture = RgbImage::from_raw(width, height, frame);
                match picture
                    .ok_or_else(|| "the last frame is cut off".to_owned())
                    .and_then(|p| png(&p))
                {
                    Ok(picture) => pictures.push(picture),
                    Err(reason) => break Err(reason),
                }
            }
            Err(error) => break Err(error.to_string()),
        }
    };
    drop(pixels);
    let status = running.wait().map_err(|error| error.to_string())?;
    let words = words.join().unwrap_or_default();
    match (made, status.success()) {
        (Ok(()), true) => Ok(pictures),
        (_, false) => Err(complaint(&words)),
        (Err(reason), true) => Err(reason),
    }
}

fn missing(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "ffmpeg takes films apart and is not here; install it, or name a folder of pictures"
                .into()
        }
        _ => error.to_string(),
    }
}

fn complaint(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let last = words.lines().rfind(|line| !line.trim().is_empty());
    format!("ffmpeg cannot read it: {}", last.unwrap_or("it says nothing").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_fraction() {
        assert_eq!(rate("24/1"), Some(24.0));
        assert!((rate("30000/1001").unwrap() - 29.97).abs() < 0.001);
        assert_eq!((rate("0/0"), rate("24"), rate("")), (None, None, None));
    }

    #[test]
    fn a_picture_covers_the_frame_or_is_stretched_to_it() {
        // Left half red, right half blue, twice as wide as high.
        let red = |x: u32| if x < 40 { [200, 0, 0] } else { [0, 0, 200] };
        let wide = RgbImage::from_fn(80, 40, |x, _| image::Rgb(red(x)));
        let wanted =
            |fit| Wanted { size: [20, 20], fit, start: 0.0, fps: None, most: 1, sound: false };
        for fit in [Fit::Cover, Fit::Stretch] {
            let made = fitted(wide.clone(), &wanted(fit));
            assert_eq!(made.dimensions(), (20, 20));
            assert_eq!(
                (made.get_pixel(1, 9).0, made.get_pixel(18, 9).0),
                ([200, 0, 0], [0, 0, 200])
            );
        }
    }
}
