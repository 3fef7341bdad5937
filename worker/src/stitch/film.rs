//! The film of an animation: frames in order through ffmpeg, or into a GIF by ourselves.

use std::io::{self, Cursor};
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, Frame, Rgb, RgbImage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::task::spawn_blocking;
use vqfarm_core::keys;
use vqfarm_core::video::{Codec, Video};
use vqfarm_storage::frame;

use super::StitchError;
use super::text::Face;
use crate::job::OpenJob;

/// The program, looked for on PATH.
pub const FFMPEG: &str = "ffmpeg";
/// Frames that are read ahead.
const AHEAD: usize = 8;
/// Of ffmpeg's complaints so much is kept.
const COMPLAINT: u64 = 4_000;

/// A picture, and for how many frames of the film it is shown.
type Shown = (RgbImage, u32);

/// Whether this machine has ffmpeg.
pub async fn has_ffmpeg() -> bool {
    let mut asked = Command::new(FFMPEG);
    asked.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().await.is_ok_and(|status| status.success())
}

/// Encodes the frames of `indices`, as stored, in this order. One that is there several times in
/// a row is read once.
///
/// # Errors
/// A frame cannot be read any more; ffmpeg is missing or fails.
pub async fn encode(
    job: &OpenJob,
    indices: Vec<u64>,
    video: &Video,
    fps: f64,
) -> Result<Bytes, StitchError> {
    let runs = indices.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32));
    let runs: Vec<(u64, u32)> = runs.collect();
    let frames = stream::iter(runs).map(|run| read(job, run, video.labels)).buffered(AHEAD);
    let mut frames = std::pin::pin!(frames);
    let Some(first) = frames.try_next().await? else { return Ok(Bytes::new()) };
    if video.codec == Codec::Gif {
        let rest: Vec<Shown> = frames.try_collect().await?;
        let pictures: Vec<Shown> = std::iter::once(first).chain(rest).collect();
        let repeat = video.repeat;
        return spawn_blocking(move || gif(pictures, fps, repeat)).await?;
    }
    // A film has one size: that of its first frame.
    let size = first.0.dimensions();
    let folder = tempfile::tempdir().map_err(StitchError::Film)?;
    let file = folder.path().join(video.codec.key().rsplit('/').next().unwrap_or("video"));
    let mut running = Command::new(FFMPEG)
        .args(arguments(video, size, fps))
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(no_ffmpeg)?;
    let (Some(mut input), Some(errors)) = (running.stdin.take(), running.stderr.take()) else {
        return Err(StitchError::Film(io::Error::other("ffmpeg has no pipes")));
    };
    let complaints = tokio::spawn(async move {
        let mut text = Vec::new();
        // Reads to the end, so that ffmpeg never waits for its words to be heard.
        let mut errors = errors;
        let kept = (&mut errors).take(COMPLAINT).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        kept.map(|_| String::from_utf8_lossy(&text).trim().to_owned()).unwrap_or_default()
    });
    let mut next = Some(first);
    let mut fed = Ok(());
    while let Some((picture, times)) = next {
        if picture.dimensions() != size {
            let message = "the frames of a film have different sizes";
            return Err(StitchError::Film(io::Error::other(message)));
        }
        for _ in 0..times {
            fed = fed.and(input.write_all(picture.as_raw()).await);
        }
        next = if fed.is_ok() { frames.try_next().await? } else { None };
    }
    drop(input);
    let status = running.wait().await.map_err(StitchError::Film)?;
    let complaint = complaints.await?;
    if !status.success() || fed.is_err() {
        let message = format!("ffmpeg ended with {status}: {complaint}");
        return Err(StitchError::Film(io::Error::other(message)));
    }
    whole(&file).await
}

async fn whole(file: &Path) -> Result<Bytes, StitchError> {
    let bytes = tokio::fs::read(file).await.map_err(StitchError::Film)?;
    Ok(bytes.into())
}

fn no_ffmpeg(error: io::Error) -> StitchError {
    match error.kind() {
        io::ErrorKind::NotFound => StitchError::NoFfmpeg,
        _ => StitchError::Film(error),
    }
}

async fn read(
    job: &OpenJob,
    (index, times): (u64, u32),
    label: bool,
) -> Result<Shown, StitchError> {
    let bytes = job.frames.get(&keys::frame(index)).await?;
    let picture = spawn_blocking(move || {
        let (info, mut picture) = frame::decode(&bytes?).ok()?;
        if label {
            write_label(&mut picture, &format!("{index}  {}", info.settings.prompt));
        }
        Some((picture, times))
    });
    // It was whole a moment ago.
    picture.await?.ok_or_else(|| StitchError::lost(job, vec![index]))
}

/// Writes a line along the lower edge, on a dark strip.
fn write_label(picture: &mut RgbImage, text: &str) {
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

/// Raw pictures in, a whole file out. Nothing of it comes from a user but numbers and checked
/// names.
fn arguments(video: &Video, (width, height): (u32, u32), fps: f64) -> Vec<String> {
    let mut all: Vec<String> =
        ["-hide_banner", "-loglevel", "error", "-nostdin", "-y"].map(str::to_owned).into();
    let mut add = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", &format!("{width}x{height}")]);
    add(&["-framerate", &fps.to_string(), "-i", "pipe:0"]);
    let mut filters = Vec::new();
    if let Some(rate) = video.interpolate_to {
        filters.push(format!("minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:vsbmc=1"));
    }
    // Most codecs keep colour for pairs of pixels: an odd side gets one more.
    if video.codec != Codec::Webp && (width % 2 == 1 || height % 2 == 1) {
        filters.push("pad=ceil(iw/2)*2:ceil(ih/2)*2".into());
    }
    if video.codec != Codec::Webp {
        filters.push("scale=out_color_matrix=bt709:out_range=tv".into());
    }
    if !filters.is_empty() {
        add(&["-vf", &filters.join(",")]);
    }
    let crf = |usual: u8| video.crf.unwrap_or(usual).to_string();
    let format = match video.codec {
        Codec::H264 => {
            add(&["-c:v", "libx264", "-preset", "slow", "-crf", &crf(17)]);
            "yuv420p"
        }
        Codec::Hevc => {
            add(&["-c:v", "libx265", "-preset", "medium", "-crf", &crf(20), "-tag:v", "hvc1"]);
            add(&["-x265-params", "log-level=error"]);
            "yuv420p"
        }
        Codec::Av1 => {
            add(&["-c:v", "libsvtav1", "-preset", "6", "-crf", &crf(28)]);
            "yuv420p"
        }
        Codec::Vp9 => {
            add(&["-c:v", "libvpx-vp9", "-b:v", "0", "-crf", &crf(28), "-row-mt", "1"]);
            "yuv420p"
        }
        Codec::Prores => {
            add(&["-c:v", "prores_ks", "-profile:v", "3", "-vendor", "apl0"]);
            "yuv422p10le"
        }
        Codec::Webp => {
            let repeat = video.repeat.unwrap_or(0).to_string();
            add(&["-c:v", "libwebp_anim", "-quality", "85", "-loop", &repeat]);
            "yuv420p"
        }
        // Made without ffmpeg.
        Codec::Gif => "pal8",
    };
    add(&["-pix_fmt", video.pixel_format.as_deref().unwrap_or(format)]);
    if video.codec != Codec::Webp {
        add(&["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709"]);
    }
    if video.codec.key().ends_with(".mp4") {
        // Plays before it is loaded to its end.
        add(&["-movflags", "+faststart"]);
    }
    // The same frames give the same file.
    add(&["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]);
    all
}

fn gif(pictures: Vec<Shown>, fps: f64, repeat: Option<u32>) -> Result<Bytes, StitchError> {
    let mut bytes = Cursor::new(Vec::new());
    {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
        encoder.set_repeat(match repeat {
            None | Some(0) => Repeat::Infinite,
            Some(times) => Repeat::Finite(u16::try_from(times - 1).unwrap_or(u16::MAX)),
        })?;
        // A GIF counts hundredths of a second: each frame ends at the hundredth nearest to its
        // time, so that the film's length is right.
        let end = |n: u64| (n as f64 * 100.0 / fps).round();
        let mut shown = 0;
        for (picture, times) in pictures {
            let begin = shown;
            shown += u64::from(times);
            let hundredths = (end(shown) - end(begin)).max(1.0) as u32;
            let delay = Delay::from_numer_denom_ms(hundredths * 10, 1);
            let picture = image::DynamicImage::ImageRgb8(picture).into_rgba8();
            encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay))?;
        }
    }
    Ok(bytes.into_inner().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gif_is_as_long_as_it_should_be() {
        use image::AnimationDecoder;
        let picture = |n: u8| RgbImage::from_pixel(8, 6, Rgb([n * 20, 90, 40]));
        let delays = |pictures: Vec<Shown>| -> Vec<u32> {
            let bytes = gif(pictures, 24.0, None).unwrap();
            let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(bytes)).unwrap();
            let frames = decoder.into_frames().collect_frames().unwrap();
            frames.iter().map(|frame| frame.delay().numer_denom_ms().0).collect()
        };
        let each = delays((0..12).map(|n| (picture(n), 1)).collect());
        assert_eq!((each.len(), each.iter().sum::<u32>()), (12, 500));
        // Held for half a second, then one for a quarter.
        assert_eq!(delays(vec![(picture(0), 12), (picture(1), 6)]), [500, 250]);
    }

    #[test]
    fn a_label_stays_in_its_strip() {
        let mut picture = RgbImage::from_pixel(96, 96, Rgb([200; 3]));
        write_label(&mut picture, "12  a red sun over the sea and much more than fits");
        assert_eq!(picture.get_pixel(40, 70), &Rgb([200; 3]));
        assert!(picture.rows().skip(80).flatten().any(|pixel| pixel.0[0] > 220));
    }
}
