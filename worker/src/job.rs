//! A job as a worker sees it: its record, its plan, and where its objects lie.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, Pixel, RgbImage};
use sha2::{Digest, Sha256};
use vqfarm_core::animation::Timeline;
use vqfarm_core::asset::MAX_BYTES;
use vqfarm_core::check::MAX_SIDE;
use vqfarm_core::id::{JobId, TaskId};
use vqfarm_core::job::cell_identity;
use vqfarm_core::plan::{Content, Plan, PlanError};
use vqfarm_core::record::JobRecord;
use vqfarm_core::render::{Init, RenderSettings};
use vqfarm_engine::picture::Picture;

use crate::models::ModelKey;
use vqfarm_storage::frame::FrameInfo;
use vqfarm_storage::{JobStore, StoreError};

/// Pictures that a job refers to may be larger than what it renders, but not absurdly so.
const MAX_ASSET_SIDE: u32 = 4 * MAX_SIDE;
/// Bytes of decoded pictures that are kept for the next cells of a job, and one picture more.
const KEPT_PICTURES: usize = 256 << 20;

/// Why a job or one of its tasks cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobFault {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("job {0} is not in storage")]
    Unknown(JobId),
    #[error("job.json of job {job} cannot be used: {reason}")]
    Record { job: JobId, reason: String },
    #[error("the file {0} is not in storage")]
    Missing(String),
    #[error("the file {key} cannot be used: {reason}")]
    Asset { key: String, reason: String },
}

/// A job that is being worked on.
pub struct OpenJob {
    pub record: JobRecord,
    pub plan: Plan,
    pub store: JobStore,
    /// Where its frames lie: beside the rest, or with the job whose frames it stitches.
    pub frames: JobStore,
    pictures: Mutex<Pictures>,
}

/// Decoded pictures by their keys.
#[derive(Default)]
struct Pictures {
    kept: HashMap<String, Arc<DynamicImage>>,
    bytes: usize,
}

impl Pictures {
    /// Keeps a picture. A job may name thousands; with too many, memory begins anew.
    fn keep(&mut self, key: &str, picture: Arc<DynamicImage>) {
        if self.bytes > KEPT_PICTURES {
            *self = Self::default();
        }
        let bytes = picture.as_bytes().len();
        if self.kept.insert(key.to_owned(), picture).is_none() {
            self.bytes += bytes;
        }
    }
}

impl OpenJob {
    /// # Errors
    /// The record's spec has no plan.
    pub fn new(record: JobRecord, store: JobStore) -> Result<Self, JobFault> {
        let plan = record.plan()?;
        Ok(Self { record, plan, frames: store.clone(), store, pictures: Mutex::default() })
    }

    /// The same with its frames elsewhere.
    pub fn with_frames(self, frames: JobStore) -> Self {
        Self { frames, ..self }
    }

    pub fn id(&self) -> JobId {
        self.record.id
    }

    /// The frames that a task makes; none of a task that stitches.
    pub fn frames_of(&self, task: TaskId) -> Option<Range<u64>> {
        self.plan.layers.get(usize::from(task.layer))?.frames_of(task.index)
    }

    /// The film that the job makes, if it makes one.
    pub fn film(&self) -> Option<&Timeline> {
        match &self.plan.content {
            Content::Film(film) => Some(film),
            Content::Sweep(_) => None,
        }
    }

    /// What a frame says of itself.
    pub fn frame_info(
        &self,
        index: u64,
        settings: &RenderSettings,
        score: Option<f32>,
    ) -> FrameInfo {
        let used = |name: &String| {
            self.record.models.get(name).map(|sha256| (name.clone(), sha256.clone()))
        };
        let names = std::iter::once(&settings.generator).chain(&settings.perceptors);
        FrameInfo {
            index,
            spec: self.record.spec_hash.clone(),
            settings: settings.clone(),
            models: names.filter_map(used).collect(),
            score,
            version: env!("CARGO_PKG_VERSION").into(),
            stopped: None,
            film: self.film().is_some(),
        }
    }

    /// What a picture of these settings is known by ([`cell_identity`]).
    pub fn identity(&self, settings: &RenderSettings) -> String {
        cell_identity(settings, &self.record.models)
    }

    /// The models that a frame is rendered with.
    pub fn models(&self, settings: &RenderSettings) -> ModelKey {
        ModelKey::of(settings, &self.record.models)
    }

    /// What the engine needs to make a cell's picture.
    ///
    /// # Errors
    /// A picture that the settings name is not in storage or is no picture.
    pub async fn picture(&self, settings: &RenderSettings) -> Result<Picture, JobFault> {
        let mut picture = Picture::new(settings.clone());
        if let Init::Image(key) = &settings.init {
            picture.init = Some(self.asset(key).await?.to_rgb8());
        }
        for prompt in &settings.image_prompts {
            picture.image_prompts.push(self.asset(&prompt.image).await?.to_rgb8());
        }
        if let Some(key) = &settings.mask {
            picture.mask = Some(self.asset(key).await?.to_luma8());
        }
        Ok(picture)
    }

    /// The picture of a film's source under `key`. It is needed once, so it is not kept.
    pub async fn source(&self, key: &str) -> Result<RgbImage, JobFault> {
        Ok(self.read(key).await?.to_rgb8())
    }

    async fn asset(&self, key: &str) -> Result<Arc<DynamicImage>, JobFault> {
        let known = |job: &Self| {
            let pictures = job.pictures.lock().unwrap_or_else(PoisonError::into_inner);
            pictures.kept.get(key).cloned()
        };
        if let Some(picture) = known(self) {
            return Ok(picture);
        }
        let picture = Arc::new(self.read(key).await?);
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.keep(key, picture.clone());
        Ok(picture)
    }

    async fn read(&self, key: &str) -> Result<DynamicImage, JobFault> {
        let bytes = self.asset_bytes(key).await?;
        decode(&bytes).map_err(|error| unusable(key, error.to_string()))
    }

    /// A file that the job refers to, by its key.
    ///
    /// # Errors
    /// It is not in storage, or not what its name says.
    pub async fn asset_bytes(&self, key: &str) -> Result<Bytes, JobFault> {
        let bytes = self.frames.get(key).await?;
        let bytes = bytes.ok_or_else(|| JobFault::Missing(key.to_owned()))?;
        // Its name is its hash; see `keys::asset`.
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if !key.contains(&found) {
            return Err(unusable(key, format!("it is damaged: its SHA-256 is {found}")));
        }
        Ok(bytes)
    }
}

fn unusable(key: &str, reason: String) -> JobFault {
    JobFault::Asset { key: key.to_owned(), reason }
}

/// A picture of any known format, told by its content; transparency shows white. Its pixels may take
/// half a gibibyte, what comes before them (a colour profile) as much as a file.
pub(crate) fn decode(bytes: &[u8]) -> image::ImageResult<DynamicImage> {
    let mut reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_ASSET_SIDE);
    limits.max_image_height = Some(MAX_ASSET_SIDE);
    let mut before_pixels = limits.clone();
    before_pixels.max_alloc = Some(MAX_BYTES);
    reader.limits(before_pixels);
    let mut decoder = reader.into_decoder()?;
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let picture = DynamicImage::from_decoder(decoder)?;
    if !picture.color().has_alpha() {
        return Ok(picture);
    }
    // In place: the largest pictures that are taken fill half a gibibyte.
    let mut paper = picture.into_rgba8();
    for pixel in paper.pixels_mut() {
        let mut white = image::Rgba([255; 4]);
        white.blend(pixel);
        *pixel = white;
    }
    Ok(DynamicImage::ImageRgba8(paper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_kept_until_they_fill_their_room() {
        let mut pictures = Pictures::default();
        let side = 4096;
        let one = Arc::new(DynamicImage::new_rgba8(side, side));
        let most = KEPT_PICTURES / one.as_bytes().len();
        for number in 0..4 * most {
            pictures.keep(&number.to_string(), one.clone());
            pictures.keep(&number.to_string(), one.clone());
            let bytes: usize = pictures.kept.values().map(|kept| kept.as_bytes().len()).sum();
            assert_eq!(bytes, pictures.bytes);
            assert!(pictures.kept.len() <= most + 1, "{}", pictures.kept.len());
            assert!(pictures.kept.contains_key(&number.to_string()));
        }
    }

    #[test]
    fn what_shines_through_is_white() {
        let half = image::RgbaImage::from_pixel(3, 2, image::Rgba([0, 0, 0, 51]));
        let mut png = std::io::Cursor::new(Vec::new());
        half.write_to(&mut png, image::ImageFormat::Png).unwrap();
        assert_eq!(decode(png.get_ref()).unwrap().to_rgb8().get_pixel(2, 1), &image::Rgb([204; 3]));
    }
}
