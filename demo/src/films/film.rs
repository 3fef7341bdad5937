//! A finished film as `vqfarm render` leaves it in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use vqfarm_core::animation::{Mode, Timeline};
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::record::JobRecord;
use vqfarm_core::{keys, plan};

/// Its job and its pictures.
pub struct Film {
    pub timeline: Timeline,
    pub frames: Vec<RgbImage>,
    /// Those of a zoom after their last round.
    pub keyframes: Vec<RgbImage>,
}

impl Film {
    /// # Errors
    /// The folder holds no film, or not all of one.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(keys::JOB_RECORD);
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let record: JobRecord =
            serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
        // Checked as every job is: the file may come from elsewhere.
        let spec = serde_json::to_vec(&record.spec)?;
        let no_files = |_: &str| Err(std::io::Error::other("a stored job refers to no files"));
        let job =
            Document::parse(&path.to_string_lossy(), &spec)?.job(Limits::default(), no_files)?;
        let animation = job.animation.as_ref();
        let animation = animation.with_context(|| format!("{} is no film", folder.display()))?;
        let timeline = Timeline::new(&job, animation)?;
        let size = timeline.size();
        let frames = (0..timeline.len()).map(keys::frame);
        let frames = pictures(folder, frames, size)?;
        let zoom = &animation.zoom;
        let last = plan::keyframes(zoom.rounds - 1);
        let keyframes = match animation.mode {
            Mode::Zoom => 0..zoom.keyframes(timeline.len()),
            Mode::Feedback | Mode::Video => 0..0,
        };
        let keyframes = keyframes.map(|index| keys::work(&last, index, "png"));
        let keyframes = pictures(folder, keyframes, size)?;
        Ok(Self { timeline, frames, keyframes })
    }

    pub fn size(&self) -> (u32, u32) {
        self.frames.first().map_or((0, 0), RgbImage::dimensions)
    }

    /// The prompt of each frame.
    pub fn prompts(&self) -> Result<Vec<String>> {
        (0..self.timeline.len()).map(|n| Ok(self.timeline.frame(n)?.render.prompt)).collect()
    }

    /// The prompt of each keyframe.
    pub fn keyframe_prompts(&self) -> Result<Vec<String>> {
        let keyframes = 0..self.keyframes.len() as u64;
        keyframes.map(|n| Ok(self.timeline.keyframe(0, n)?.prompt)).collect()
    }
}

fn pictures(
    folder: &Path,
    keys: impl Iterator<Item = String>,
    [width, height]: [u32; 2],
) -> Result<Vec<RgbImage>> {
    let read = |path: PathBuf| {
        let picture = image::open(&path).with_context(|| format!("read {}", path.display()))?;
        let picture = picture.into_rgb8();
        ensure!(
            picture.dimensions() == (width, height),
            "{} has not the job's size, {width}×{height}",
            path.display()
        );
        Ok(picture)
    };
    keys.map(|key| read(folder.join(key))).collect()
}
