//! A film's job in a folder with its frames drawn, and eyes and ears for what comes of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vqfarm_core::clock::{Clock, SystemClock};
use vqfarm_core::event::Event;
use vqfarm_core::id::{JobId, UserName};
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_core::sound::SoundFormat;
use vqfarm_storage::{JobStore, frame};
use vqfarm_worker::job::OpenJob;
use vqfarm_worker::stitch::{self, Outputs, StitchError};

/// Frames of each film, at six a second.
pub const FRAMES: u64 = 12;
pub const SIZE: (u32, u32) = (64, 48);

pub struct Reel {
    pub folder: TempDir,
    pub pictures: Vec<RgbImage>,
}

impl Reel {
    /// Twelve frames.
    pub async fn new((width, height): (u32, u32)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let picture = |n| RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y, n)));
        let reel = Self { folder, pictures: (0..FRAMES).map(picture).collect() };
        let job = reel.job(json!({}));
        for (index, picture) in (0..).zip(&reel.pictures) {
            let info = job.frame_info(index, &job.plan.settings(index).unwrap(), None);
            let png = frame::encode(picture, &info).unwrap();
            job.store.create(&keys::frame(index), png.into()).await.unwrap();
        }
        reel
    }

    /// The job of this film with other outputs.
    pub fn job(&self, video: Value) -> Arc<OpenJob> {
        let (width, height) = self.pictures[0].dimensions();
        let job = json!({
            "version": 1,
            "name": "reel",
            "render": { "prompt": "a red sun", "size": [width, height] },
            "animation": { "mode": "feedback", "frames": FRAMES, "fps": 6.0 },
            "output": { "video": video },
        });
        let spec: Job = serde_json::from_value(job).unwrap();
        let record = JobRecord {
            id: JobId::generate(),
            user: UserName::new("somebody").unwrap(),
            submitted: SystemClock.now(),
            vqfarm: "0".into(),
            spec_hash: spec.spec_hash(),
            spec,
            models: [].into(),
            source: None,
            trace: None,
        };
        let store = JobStore::folder(self.folder.path()).unwrap();
        Arc::new(OpenJob::new(record, store).unwrap())
    }

    /// What is made of the frames, and what was told meanwhile.
    pub async fn stitch(&self, video: Value) -> (Result<Outputs, StitchError>, Vec<Event>) {
        let mut told = Vec::new();
        let mut tell = |event: &Event| told.push(event.clone());
        let stitched = stitch::stitch(&self.job(video), &HashMap::new(), &mut tell).await;
        (stitched, told)
    }

    /// The film's file.
    pub async fn film(&self, video: Value) -> PathBuf {
        let outputs = self.stitch(video).await.0.unwrap();
        self.folder.path().join(outputs.video.unwrap())
    }

    /// Stores a file that the job may refer to; its key.
    pub async fn store(&self, bytes: &[u8]) -> String {
        let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        let extension = SoundFormat::of(bytes).map_or("mp3", SoundFormat::extension);
        let key = keys::asset(&sha256, extension);
        let store = JobStore::folder(self.folder.path()).unwrap();
        store.replace(&key, bytes.to_vec().into()).await.unwrap();
        key
    }

    /// Stores what ffmpeg makes of `expression` (see its `aevalsrc`) in so many seconds.
    pub async fn sing(&self, expression: &str, seconds: f64, extension: &str) -> String {
        let file = self.folder.path().join(format!("song.{extension}"));
        let source = format!("aevalsrc={expression}:s=44100:d={seconds}");
        let sing = ["-v", "error", "-y", "-f", "lavfi", "-i", &source];
        run(Command::new("ffmpeg").args(sing).arg(&file));
        self.store(&std::fs::read(file).unwrap()).await
    }

    /// Names of the files that were made.
    pub fn out(&self) -> Vec<String> {
        let Ok(files) = std::fs::read_dir(self.folder.path().join("out")) else {
            return Vec::new();
        };
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Smooth, moving, and of another colour in each frame.
fn colour(x: u32, y: u32, n: u64) -> [u8; 3] {
    let (x, y, n) = (f64::from(x), f64::from(y), n as f64);
    let wave = |phase: f64| (128.0 + 90.0 * phase.sin()) as u8;
    [wave((x - 6.0 * n) / 11.0), wave((y + 4.0 * n) / 13.0), wave(n / 2.0)]
}

/// The standard output of a command that succeeds.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What ffprobe says of each stream, with every frame counted.
pub fn probe(file: &PathBuf) -> Vec<Value> {
    let asked = ["-v", "error", "-count_frames", "-show_streams", "-of", "json"];
    let told = run(Command::new("ffprobe").args(asked).arg(file));
    let told: Value = serde_json::from_slice(&told).unwrap();
    told["streams"].as_array().unwrap().clone()
}

/// Facts of a stream as text.
pub fn facts<const N: usize>(stream: &Value, names: [&str; N]) -> [String; N] {
    names.map(|name| stream[name].to_string().replace('"', ""))
}

/// The film's pictures as ffmpeg decodes them.
pub fn decode(file: &PathBuf, (width, height): (u32, u32)) -> Vec<RgbImage> {
    let to = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    let raw = run(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(to));
    let size = 3 * width as usize * height as usize;
    assert_eq!(raw.len() % size, 0, "whole pictures");
    let picture = |raw: &[u8]| RgbImage::from_raw(width, height, raw.to_vec()).unwrap();
    raw.chunks(size).map(picture).collect()
}

/// The film's sound as mono samples, `RATE` a second, each within -1 and 1.
pub fn hear(file: &PathBuf) -> Vec<f32> {
    let to = ["-map", "0:a:0", "-ac", "1", "-ar", "8000", "-f", "f32le", "-"];
    let raw = run(Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(to));
    raw.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Samples a second that [`hear`] gives.
pub const RATE: f64 = 8000.0;

/// How loud the sound is between two seconds: the root of its mean square.
pub fn loudness(sound: &[f32], from: f64, to: f64) -> f32 {
    let part = &sound[(from * RATE) as usize..((to * RATE) as usize).min(sound.len())];
    (part.iter().map(|sample| sample * sample).sum::<f32>() / part.len() as f32).sqrt()
}

/// Peak signal-to-noise ratio in dB, within the smaller of the two sizes.
pub fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let (width, height) = (a.width().min(b.width()), a.height().min(b.height()));
    let mut sum = 0.0;
    for y in 0..height {
        for x in 0..width {
            let pairs = a.get_pixel(x, y).0.into_iter().zip(b.get_pixel(x, y).0);
            sum += pairs.map(|(a, b)| f64::from(a.abs_diff(b)).powi(2)).sum::<f64>();
        }
    }
    let mean = sum / f64::from(3 * width * height);
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

/// Each picture must be close to the frame of its number, and to no other.
pub fn assert_shows(reel: &Reel, shown: &[RgbImage], order: &[u64], name: &str) {
    assert_eq!(shown.len(), order.len(), "{name}");
    // A GIF has 256 colours, which are few for these.
    let least = if name == "gif" { 26.0 } else { 34.0 };
    for (at, (picture, &index)) in shown.iter().zip(order).enumerate() {
        let source = &reel.pictures[index as usize];
        let ratio = psnr(picture, source);
        assert!(ratio > least, "{name}: picture {at} is {ratio:.1} dB from frame {index}");
        let next = &reel.pictures[(index as usize + 1) % reel.pictures.len()];
        let told_apart = psnr(picture, next) < ratio - 3.0;
        assert!(told_apart, "{name}: picture {at} could be the frame after {index}");
    }
}
