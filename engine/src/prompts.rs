//! Prompts as the perceptors see them: texts, pictures and noise, phase by phase.

use tch::{Device, Tensor};
use vqfarm_core::prompt;
use vqfarm_core::render::RenderSettings;
use vqfarm_core::rng::{Key, Purpose};

use crate::error::{EngineError, Result};
use crate::guard::guard;
use crate::image_io;
use crate::loss::Target;
use crate::models::Models;
use crate::perception::{Eye, View};
use crate::picture::Picture;
use crate::zoom::lanczos_resize;

/// What one picture steers towards, for each perceptor.
pub struct Script {
    /// Targets by phase, then by perceptor.
    phases: Vec<Vec<Vec<Target>>>,
    /// Iterations of a phase; the last one lasts to the end.
    phase_iterations: u32,
    /// The texts and weights of the last phase, for scoring.
    pub last: Vec<(String, f64)>,
    /// Texts that were longer than a perceptor reads.
    pub truncated: Vec<String>,
}

impl Script {
    /// Encodes the prompts of a picture rendered at `size`.
    ///
    /// # Errors
    /// The prompt cannot be read, or libtorch fails.
    pub fn new(models: &Models, eyes: &[Eye], picture: &Picture, size: [u32; 2]) -> Result<Self> {
        let settings = &picture.settings;
        let mut phases = prompt::parse(&settings.prompt)
            .map_err(|error| EngineError::Setting { field: "prompt", reason: error.to_string() })?;
        if phases.is_empty() {
            phases.push(Vec::new());
        }
        let mut truncated = Vec::new();
        let mut encoded = Vec::new();
        for phase in &phases {
            let mut by_perceptor = Vec::new();
            for perceptor in 0..models.perceptors.len() {
                let mut targets = Vec::new();
                for part in phase {
                    let (embeddings, cut) = models.text(perceptor, &part.text)?;
                    if cut && !truncated.contains(&part.text) {
                        truncated.push(part.text.clone());
                    }
                    targets.push(Target { embeddings, weight: part.weight, stop: part.stop });
                }
                by_perceptor.push(targets);
            }
            encoded.push(by_perceptor);
        }
        for eye in eyes {
            for view in eye.views() {
                let others = others(models, eye, view, picture, size)?;
                for phase in &mut encoded {
                    phase[view.perceptor].extend(others.iter().map(Target::share));
                }
            }
        }
        let last = phases.pop().unwrap_or_default();
        Ok(Self {
            phase_iterations: phase_iterations(settings, encoded.len()),
            phases: encoded,
            last: last.into_iter().map(|part| (part.text, part.weight)).collect(),
            truncated,
        })
    }

    /// The phase that an iteration belongs to.
    pub fn phase(&self, iteration: u32) -> usize {
        ((iteration / self.phase_iterations) as usize).min(self.phases.len() - 1)
    }

    /// What a perceptor is steered by in a phase.
    pub fn targets(&self, phase: usize, perceptor: usize) -> &[Target] {
        &self.phases[phase][perceptor]
    }
}

/// Iterations of each phase: as asked, or an even share.
fn phase_iterations(settings: &RenderSettings, phases: usize) -> u32 {
    match settings.phase_iterations {
        0 => (settings.iterations / phases as u32).max(1),
        asked => asked,
    }
}

/// Image and noise prompts, which hold in every phase.
fn others(
    models: &Models,
    eye: &Eye,
    view: &View,
    picture: &Picture,
    size: [u32; 2],
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    let settings = &picture.settings;
    let pictures = settings.image_prompts.iter().zip(&picture.image_prompts);
    for (n, (prompt, image)) in pictures.enumerate() {
        let [width, height] = prompt_size(image.dimensions(), size);
        let image = image_io::to_tensor(&lanczos_resize(image, width, height), models.device())?;
        // Counted back from the end, where no iteration of the picture itself will come.
        let key = picture.key().iteration(u32::MAX - n as u32);
        let embeddings = guard(|| eye.look_once(models, view, &image, key))?;
        targets.push(Target { embeddings, weight: prompt.weight, stop: prompt.stop });
    }
    if !settings.noise_prompts.is_empty() {
        let (text, _) = models.text(view.perceptor, "")?;
        let width = text.size2()?.1;
        for prompt in &settings.noise_prompts {
            let embeddings = noise(prompt.seed, width, models.device());
            targets.push(Target { embeddings, weight: prompt.weight, stop: None });
        }
    }
    Ok(targets)
}

/// A picture as a prompt keeps its shape, and is no larger than the rendered picture's area
/// (NR's `resize_image`).
fn prompt_size((width, height): (u32, u32), size: [u32; 2]) -> [u32; 2] {
    let (w, h) = (f64::from(width), f64::from(height));
    let area = (w * h).min(f64::from(size[0]) * f64::from(size[1]));
    let side = |ratio: f64| ((area * ratio).sqrt().round() as u32).max(1);
    [side(w / h), side(h / w)]
}

/// A normal embedding [1, width] of its own seed.
fn noise(seed: u64, width: i64, device: Device) -> Tensor {
    let mut values = vec![0f32; width as usize];
    Key::new(seed, Purpose::NoisePrompt).stream().fill_normal(&mut values);
    Tensor::from_slice(&values).view([1, width]).to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_picture_keeps_its_shape_and_stays_within_the_area() {
        assert_eq!(prompt_size((100, 50), [512, 512]), [100, 50]);
        assert_eq!(prompt_size((2000, 1000), [200, 100]), [200, 100]);
        assert_eq!(prompt_size((1000, 1000), [200, 50]), [100, 100]);
        assert_eq!(prompt_size((100_000, 1), [16, 16]), [5060, 1]);
    }
}
