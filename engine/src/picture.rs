//! One picture to be made: its settings and the pictures that they name.

use image::{GrayImage, RgbImage};
use vqfarm_core::render::{Init, RenderSettings};
use vqfarm_core::rng::{Key, Purpose};

use crate::error::{EngineError, Result};
pub use crate::optim::Momentum;

/// What one picture is made from.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub settings: RenderSettings,
    /// Its number within an animation; part of the key of every random draw.
    pub frame: u32,
    /// The picture to start from; when given it goes before `settings.init`.
    pub init: Option<RgbImage>,
    /// One for each of `settings.image_prompts`.
    pub image_prompts: Vec<RgbImage>,
    /// The picture that `settings.mask` names.
    pub mask: Option<GrayImage>,
    /// What the optimiser goes on with and shall be asked for afterwards; it begins anew and is
    /// forgotten when left out. Pictures of a batch have taken as many steps.
    pub momentum: Option<Momentum>,
}

impl Picture {
    /// A picture that needs no other picture.
    pub fn new(settings: RenderSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Names this picture's random draws before the first iteration.
    pub fn key(&self) -> Key {
        Key::new(self.settings.seed, Purpose::Init).frame(self.frame)
    }

    /// Width and height as rendered: rounded down to multiples of the generator's factor.
    ///
    /// # Errors
    /// A side is shorter than the factor.
    pub fn size(&self, factor: i64) -> Result<[u32; 2]> {
        let factor = factor.clamp(1, i64::from(u32::MAX)) as u32;
        let size = self.settings.size.map(|side| side - side % factor);
        if size.contains(&0) {
            let [w, h] = self.settings.size;
            let reason =
                format!("{w}×{h} is too small: this generator needs {factor} pixels each way");
            return Err(EngineError::Setting { field: "size", reason });
        }
        Ok(size)
    }

    /// The settings that pictures of one batch must share. Compare two with `==`.
    pub fn batch_settings(&self) -> RenderSettings {
        self.settings.shared_in_a_batch()
    }

    /// Refuses settings that no picture can be made from, and missing pictures.
    pub(crate) fn check(&self) -> Result<()> {
        let s = &self.settings;
        if let Some(error) = vqfarm_core::check::settings(s).into_iter().next() {
            return Err(EngineError::Invalid(error));
        }
        let missing = |field, reason: String| Err(EngineError::Setting { field, reason });
        if self.image_prompts.len() != s.image_prompts.len() {
            let (have, want) = (self.image_prompts.len(), s.image_prompts.len());
            return missing("image_prompts", format!("{have} of {want} pictures were read"));
        }
        if let (None, Some(name)) = (&self.mask, &s.mask) {
            return missing("mask", format!("the picture {name:?} was not read"));
        }
        if let (None, Init::Image(name)) = (&self.init, &s.init) {
            return missing("init", format!("the picture {name:?} was not read"));
        }
        let empty = |p: (u32, u32)| p.0 == 0 || p.1 == 0;
        if self.init.as_ref().is_some_and(|p| empty(p.dimensions())) {
            return missing("init", "the picture has no pixels".into());
        }
        if self.image_prompts.iter().any(|p| empty(p.dimensions())) {
            return missing("image_prompts", "a picture has no pixels".into());
        }
        if self.mask.as_ref().is_some_and(|p| empty(p.dimensions())) {
            return missing("mask", "the picture has no pixels".into());
        }
        Ok(())
    }
}
