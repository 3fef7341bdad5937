//! The settings of one picture: every field of a job's `[render]` table.
//!
//! The names follow nerdyrodent/VQGAN-CLIP's options where it has them. Values are plain
//! data here; [`crate::job`] checks them and `engine` acts on them.

use serde::{Deserialize, Serialize};

/// Everything that decides how one picture is made, but for the models' weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenderSettings {
    /// `text:weight:stop` parts joined by `|`, phases joined by `^`. See [`crate::prompt`].
    pub prompt: String,
    /// Pictures to steer towards, through the same cutouts as the image.
    pub image_prompts: Vec<ImagePrompt>,
    /// Seeded random embeddings to steer towards.
    pub noise_prompts: Vec<NoisePrompt>,
    /// Keys every random draw of the picture.
    pub seed: u64,
    /// Width and height in pixels; rounded down to a multiple of the generator's factor.
    pub size: [u32; 2],
    /// Optimiser steps.
    pub iterations: u32,
    /// Iterations of each phase of a `^` prompt; 0 shares `iterations` evenly.
    pub phase_iterations: u32,
    /// Name of the generator (VQGAN) in the model library.
    pub generator: String,
    /// Names of the perceptors (CLIP); their losses are added.
    pub perceptors: Vec<String>,
    pub cutouts: Cutouts,
    pub optimizer: Optimizer,
    /// The optimiser's learning rate.
    pub step_size: f64,
    pub init: Init,
    /// Strength of the pull that `init_weight_form` names; 0 switches it off.
    pub init_weight: f64,
    pub init_weight_form: InitWeightForm,
    /// A greyscale picture: only where it is bright may the latent move.
    pub mask: Option<String>,
    pub precision: Precision,
}

impl Default for RenderSettings {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            image_prompts: Vec::new(),
            noise_prompts: Vec::new(),
            seed: 0,
            size: [512, 512],
            iterations: 300,
            phase_iterations: 0,
            generator: "imagenet-f16-16384".into(),
            perceptors: vec!["ViT-B/32".into()],
            cutouts: Cutouts::default(),
            optimizer: Optimizer::Adam,
            step_size: 0.1,
            init: Init::default(),
            init_weight: 0.0,
            init_weight_form: InitWeightForm::Mse,
            mask: None,
            precision: Precision::Float32,
        }
    }
}

impl RenderSettings {
    /// The settings that pictures of one batch must share: these with all that may differ within
    /// a batch set to its default. Compare two with `==`.
    pub fn shared_in_a_batch(&self) -> Self {
        let plain = Self::default();
        Self {
            prompt: plain.prompt,
            image_prompts: plain.image_prompts,
            noise_prompts: plain.noise_prompts,
            seed: plain.seed,
            phase_iterations: plain.phase_iterations,
            init: plain.init,
            init_weight: plain.init_weight,
            mask: plain.mask,
            ..self.clone()
        }
    }
}

/// A picture used as a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePrompt {
    /// Path beside the job file; in a resolved job the stored copy's name ([`crate::keys::asset`]).
    pub image: String,
    #[serde(default = "one")]
    pub weight: f64,
    /// The loss stops pulling below this value.
    #[serde(default)]
    pub stop: Option<f64>,
}

/// A normal embedding drawn from its own seed, used as a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoisePrompt {
    pub seed: u64,
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// How the image is cut into the pieces that the perceptor looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cutouts {
    pub method: CutoutMethod,
    /// Cutouts an iteration (NR's `cutn`).
    pub count: u32,
    /// Exponent of the crop size's distribution (NR's `cut_pow`); crops only.
    pub power: f64,
    /// `original` keeps the quirks of the kornia that the originals used.
    pub augment: AugmentStyle,
    /// In this order; the method's own list when left out.
    pub augmentations: Option<Vec<Augmentation>>,
    /// Upper bound of the noise mixed into each cutout; 0 for `original`.
    pub noise: f64,
}

impl Default for Cutouts {
    fn default() -> Self {
        Self {
            method: CutoutMethod::Latest,
            count: 32,
            power: 1.0,
            augment: AugmentStyle::Original,
            augmentations: None,
            noise: 0.1,
        }
    }
}

/// NR's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutoutMethod {
    Latest,
    Original,
    Updated,
    Nrupdated,
    Updatedpooling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AugmentStyle {
    Original,
    Modern,
}

/// NR's two-letter names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Augmentation {
    /// Colour jitter.
    Ji,
    /// Sharpness.
    Sh,
    /// Gaussian noise.
    Gn,
    /// Perspective.
    Pe,
    /// Rotation.
    Ro,
    /// Affine.
    Af,
    /// Elastic.
    Et,
    /// Thin-plate spline.
    Ts,
    /// Crop with reflected padding.
    Cr,
    /// Erasing.
    Er,
    /// Resized crop.
    Re,
}

/// The published optimisers with PyTorch's defaults, plus DiffGrad and AdamP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Optimizer {
    Adam,
    AdamW,
    Adagrad,
    Adamax,
    RMSprop,
    RAdam,
    DiffGrad,
    AdamP,
}

/// Where the latent starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// A random codebook row at every position.
    #[default]
    Random,
    /// The encoding of uniform pixel noise.
    Noise,
    /// The encoding of a random colour gradient.
    Gradient,
    /// The encoding of a picture, stretched to the size (LANCZOS).
    Image(String),
}

/// What `init_weight` pulls the latent towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InitWeightForm {
    /// `MSE(z, z0)·w/2`: toward the start (the original notebook).
    Mse,
    /// `mean(z²)·w/(2i+1)/2`: toward zero, fading with iteration i (NR).
    Decay,
}

/// Arithmetic of the networks; the latent, losses and codebook distances stay in float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Float32,
    Tf32,
    Bf16,
}
