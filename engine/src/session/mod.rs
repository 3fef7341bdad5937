//! One optimisation: from starting latents to finished pictures.

mod ahead;
mod decoding;
mod graph;
mod group;
mod options;
#[cfg(test)]
mod repeated;
mod saved;
mod score;

use image::RgbImage;
use tch::{Device, Tensor};
use vqfarm_core::render::RenderSettings;
use vqfarm_weights::memory::Thrift;

use crate::cutouts::Cutter;
use crate::device::{self, Lanes};
use crate::error::{EngineError, Result};
use crate::guard::guard;
use crate::image_io;
use crate::models::Models;
use crate::perception::{Eye, MakeCut};
use crate::picture::{Momentum, Picture};

use graph::{CudaRecorder, Repeater, World};
use group::Group;
pub use options::{Graphs, Options};
pub use saved::SavedPicture;

/// Pictures that are optimised together. They share the settings that
/// [`Picture::batch_settings`] keeps, and each comes out as it would alone.
///
/// On a CUDA device one computation serves them all. On a CPU they are computed one after
/// another, each with the same operations as alone, so that they are equal bit for bit; to use
/// more cores run several sessions, see [`device::pictures_at_once`].
pub struct Session<'m> {
    models: &'m Models,
    settings: RenderSettings,
    eyes: Vec<Eye>,
    groups: Vec<Group>,
    size: [u32; 2],
    iteration: u32,
    warnings: Vec<String>,
    clock: Option<Clock>,
    repeater: Option<Repeater>,
}

/// Called at the end of each stage of each iteration, for measuring. On a GPU the work of a
/// stage may still be under way: synchronise first.
pub type Clock = Box<dyn FnMut(Stage) + Send>;

/// The parts of an iteration, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Quantiser and decoder, forward.
    Synthesise,
    /// Cutouts, forward.
    Cut,
    /// Perceptor and losses, forward.
    Perceive,
    /// Perceptor, backward.
    PerceiveBack,
    /// Cutouts, backward.
    CutBack,
    /// Decoder, backward.
    SynthesiseBack,
    /// Optimiser and clamp.
    Update,
}

/// What pulled a picture in the last iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Losses {
    /// The pull of `init_weight`; 0 when that is 0.
    pub init: f64,
    /// Losses by perceptor, then by prompt: texts, pictures, noise.
    pub prompts: Vec<Vec<f64>>,
}

impl Losses {
    /// What the iteration minimised.
    pub fn total(&self) -> f64 {
        self.init + self.prompts.iter().flatten().sum::<f64>()
    }
}

impl<'m> Session<'m> {
    /// Prepares the start of each picture and encodes the prompts.
    ///
    /// # Errors
    /// Settings that make no sense, pictures that share no batch, a missing picture, and
    /// libtorch's own errors; the message names the field.
    pub fn new(models: &'m Models, pictures: &[Picture]) -> Result<Self> {
        let settings = pictures.first().map(|picture| picture.settings.cutouts.clone());
        let settings = settings.unwrap_or_default();
        let composed = models.options.composed.unwrap_or(models.device().is_cuda());
        Self::with_cutouts(models, pictures, &|resolution| {
            Ok(Box::new(Cutter::new(&settings, resolution)?.composed(composed)))
        })
    }

    /// As [`Session::new`], with cutouts made in another way than the settings say.
    ///
    /// # Errors
    /// As [`Session::new`].
    pub fn with_cutouts(
        models: &'m Models,
        pictures: &[Picture],
        cutter: &MakeCut,
    ) -> Result<Self> {
        let Some(first) = pictures.first() else {
            return Err(setting("pictures", "a session needs at least one"));
        };
        if models.perceptors.is_empty() {
            return Err(setting("perceptors", "at least one perceptor must judge the picture"));
        }
        let settings = first.batch_settings();
        for picture in pictures {
            picture.check()?;
            if picture.batch_settings() != settings {
                return Err(setting("pictures", "they differ in settings that a batch shares"));
            }
        }
        let size = first.size(models.generator.factor())?;
        device::set_threads(models.device(), pixels(size));

        let eyes = Eye::of(models, cutter)?;
        let together = match models.device() {
            Device::Cuda(_) if models.options.halves => pictures.len().div_ceil(2),
            Device::Cuda(_) => pictures.len(),
            _ => 1,
        };
        let groups = pictures
            .chunks(together)
            .map(|pictures| {
                guard(|| Group::new(models, &eyes, &settings, pictures, size)).and_then(|r| r)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut warnings: Vec<String> = groups.iter().flat_map(Group::warnings).collect();
        warnings.dedup();
        let graphs = models.options.graphs == Graphs::Auto && device::is_built_in();
        let repeater = match models.device() {
            Device::Cuda(device) if graphs && groups.iter().all(Group::is_ahead) => {
                Some(Repeater::new(Box::new(CudaRecorder { device })))
            }
            _ => None,
        };
        Ok(Self {
            models,
            settings,
            eyes,
            groups,
            size,
            iteration: 0,
            warnings,
            clock: None,
            repeater,
        })
    }

    /// One iteration of every picture; none when all are done.
    ///
    /// # Errors
    /// libtorch fails, mostly for want of memory; the session must not be used any more.
    pub fn step(&mut self) -> Result<()> {
        if self.done() {
            return Ok(());
        }
        device::set_threads(self.models.device(), pixels(self.size));
        match (&mut self.clock, &mut self.repeater) {
            // The stages of what is repeated as a whole cannot be told apart.
            (Some(clock), _) => {
                Self::step_groups(self.models, &self.eyes, &mut self.groups, self.iteration, clock)
            }
            (None, None) => {
                let silent = &mut |_: Stage| ();
                Self::step_groups(self.models, &self.eyes, &mut self.groups, self.iteration, silent)
            }
            (None, Some(_)) => self.repeat(),
        }?;
        self.iteration += 1;
        Ok(())
    }

    fn step_groups(
        models: &Models,
        eyes: &[Eye],
        groups: &mut [Group],
        iteration: u32,
        clock: &mut dyn FnMut(Stage),
    ) -> Result<()> {
        for group in groups {
            guard(|| group.step(models, eyes, iteration, clock)).and_then(|result| result)?;
        }
        Ok(())
    }

    /// One iteration of all groups, as a recording where there is one.
    fn repeat(&mut self) -> Result<()> {
        let mut entered = false;
        for group in &mut self.groups {
            entered |= group.prepare(self.models, self.iteration)?;
        }
        let mut world = Groups { models: self.models, eyes: &self.eyes, groups: &mut self.groups };
        if let Some(repeater) = &mut self.repeater {
            if entered {
                repeater.forget();
            }
            let left = self.settings.iterations - self.iteration;
            self.warnings.extend(repeater.step(&mut world, left)?);
        }
        self.groups.iter_mut().for_each(Group::count);
        Ok(())
    }

    /// Iterations made so far.
    pub fn iteration(&self) -> u32 {
        self.iteration
    }

    /// Whether all iterations that the settings ask for are made.
    pub fn done(&self) -> bool {
        self.iteration >= self.settings.iterations
    }

    /// Width and height of the pictures.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// What a user should know: texts that were cut off, a GPU that cannot repeat iterations by itself.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The images as they are now, [B, 3, H, W] in [0, 1] on the device.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn images(&self) -> Result<Tensor> {
        device::set_threads(self.models.device(), pixels(self.size));
        let images =
            guard(|| self.groups.iter().map(|g| g.images(self.models)).collect::<Vec<_>>())?;
        Ok(Tensor::f_cat(&images, 0)?)
    }

    /// The images as they are now, as pictures.
    ///
    /// # Errors
    /// A picture is no longer made of numbers; libtorch fails.
    pub fn pictures(&self) -> Result<Vec<RgbImage>> {
        // Looked for in the latents: the quantiser finds a row also for what is no number.
        if self.latents().isfinite().all().int64_value(&[]) == 0 {
            return Err(EngineError::Failed(
                "the latent ran off to infinity; a smaller step_size may help".into(),
            ));
        }
        image_io::to_pictures(&self.images()?)
    }

    /// What pulled each picture in the last iteration; none before the first. Waits for the
    /// device.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn losses(&self) -> Result<Vec<Losses>> {
        let losses = self.groups.iter().map(Group::losses).collect::<Result<Vec<_>>>()?;
        Ok(losses.into_iter().flatten().collect())
    }

    /// How well each picture as it is now fits the texts of its last phase that it is steered
    /// towards: the cosine of CLIP's features of the whole picture, stretched to the
    /// perceptor's square, and of each text, averaged by weight and then over perceptors. No
    /// cutouts and no randomness, so that pictures can be compared. `None` without such a text.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn scores(&self) -> Result<Vec<Option<f32>>> {
        let images = self.images()?;
        let scripts = self.groups.iter().flat_map(Group::scripts);
        let pair = |(b, script)| {
            let image = images.narrow(0, b as i64, 1);
            score::score(self.models, &self.eyes, &image, script)
        };
        scripts.enumerate().map(pair).collect()
    }

    /// The latents as they are now, [B, e, h, w].
    pub fn latents(&self) -> Tensor {
        Tensor::cat(&self.groups.iter().map(Group::latents).collect::<Vec<_>>(), 0)
    }

    /// What the last iteration's gradient on the latents was, [B, e, h, w]; none before the
    /// first.
    pub fn gradients(&self) -> Option<Tensor> {
        let gradients: Option<Vec<_>> = self.groups.iter().map(Group::gradients).collect();
        Some(Tensor::cat(&gradients?, 0))
    }

    /// What the optimiser remembers of each picture. Waits for the device.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn momenta(&self) -> Result<Vec<Momentum>> {
        let momenta = self.groups.iter().map(Group::momenta).collect::<Result<Vec<_>>>()?;
        Ok(momenta.into_iter().flatten().collect())
    }

    /// Everything needed to go on from here with each picture, in any batch.
    pub fn save(&self) -> Vec<SavedPicture> {
        self.groups.iter().flat_map(|group| group.save(self.iteration)).collect()
    }

    /// Goes on from where these pictures were saved: one for each picture of this session,
    /// made with the same settings, all at the same iteration.
    ///
    /// # Errors
    /// They do not belong to these pictures.
    pub fn restore(&mut self, saved: &[SavedPicture]) -> Result<()> {
        let count: usize = self.groups.iter().map(Group::len).sum();
        let iteration = saved.first().map_or(0, |s| s.iteration);
        let steps = saved.first().map_or(0, |s| s.steps);
        let other = |s: &SavedPicture| (s.iteration, s.steps) != (iteration, steps);
        if saved.len() != count || saved.iter().any(other) {
            let what = format!("{count} pictures at one iteration");
            return Err(EngineError::State(what));
        }
        let mut rest = saved;
        for group in &mut self.groups {
            let (own, others) = rest.split_at(group.len());
            group.restore(own)?;
            rest = others;
        }
        self.iteration = iteration;
        if let Some(repeater) = &mut self.repeater {
            repeater.forget();
        }
        Ok(())
    }

    /// Computes so frugally from now on; all at once until told otherwise.
    pub fn set_thrift(&mut self, thrift: Thrift) {
        self.groups.iter_mut().for_each(|group| group.set_thrift(thrift));
        if let Some(repeater) = &mut self.repeater {
            repeater.forget();
        }
    }

    /// Measures the stages of every iteration from now on.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }
}

/// Groups that have been prepared for an iteration, side by side on the device if there are
/// several.
struct Groups<'a> {
    models: &'a Models,
    eyes: &'a [Eye],
    groups: &'a mut [Group],
}

impl World for Groups<'_> {
    fn step(&mut self) -> Result<()> {
        let lanes = match self.models.device() {
            Device::Cuda(device) if self.groups.len() > 1 => {
                Some(Lanes::fork(device, self.groups.len()).map_err(EngineError::Failed)?)
            }
            _ => None,
        };
        for (lane, group) in self.groups.iter_mut().enumerate() {
            if let Some(lanes) = &lanes {
                lanes.take(lane).map_err(EngineError::Failed)?;
            }
            guard(|| group.step_ahead(self.models, self.eyes, &mut |_| ()))?;
        }
        Ok(())
    }

    fn state(&self) -> Vec<Tensor> {
        self.groups.iter().flat_map(Group::state).collect()
    }
}

fn pixels([width, height]: [u32; 2]) -> u64 {
    u64::from(width) * u64::from(height)
}

fn setting(field: &'static str, reason: &str) -> EngineError {
    EngineError::Setting { field, reason: reason.to_owned() }
}
