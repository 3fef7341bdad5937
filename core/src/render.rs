//! The settings of one picture: every field of a job's `[render]` table.
//!
//! The names follow nerdyrodent/VQGAN-CLIP's options where it has them. Values are plain
//! data here; [`crate::job`] checks them and `engine` acts on them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{MAX_CUTOUTS, MAX_ITERATIONS, MAX_SIDE, MIN_SIDE};

/// Everything that decides how one picture is made, but for the models' weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RenderSettings {
    /// `text:weight:stop` parts joined by `|`, phases joined by `^`.
    pub prompt: String,
    /// Pictures to steer towards, through the same cutouts as the image.
    pub image_prompts: Vec<ImagePrompt>,
    /// Seeded random embeddings to steer towards.
    pub noise_prompts: Vec<NoisePrompt>,
    /// Keys every random draw of the picture.
    pub seed: u64,
    /// Width and height in pixels; rounded down to a multiple of the generator's factor.
    #[schemars(inner(range(min = MIN_SIDE, max = MAX_SIDE)))]
    pub size: [u32; 2],
    /// Steps of the optimiser.
    #[schemars(range(min = 1, max = MAX_ITERATIONS))]
    pub iterations: u32,
    /// Iterations of each phase of a `^` prompt; 0 shares `iterations` evenly.
    #[schemars(range(max = MAX_ITERATIONS))]
    pub phase_iterations: u32,
    /// Name of the generator (VQGAN) in the model library.
    pub generator: String,
    /// Names of the perceptors (CLIP); their losses are added.
    #[schemars(length(min = 1))]
    pub perceptors: Vec<String>,
    /// How the perceptors look at the picture.
    pub cutouts: Cutouts,
    /// What moves the latent: the published optimisers with PyTorch's defaults, DiffGrad and AdamP.
    pub optimizer: Optimizer,
    /// The optimiser's learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub step_size: f64,
    /// Where the latent starts.
    pub init: Init,
    /// Strength of the pull that `init_weight_form` names; 0 switches it off.
    #[schemars(range(min = 0))]
    pub init_weight: f64,
    /// What `init_weight` pulls the latent towards.
    pub init_weight_form: InitWeightForm,
    /// A greyscale picture: only where it is bright may the latent move.
    pub mask: Option<String>,
    /// Arithmetic of the networks.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagePrompt {
    /// Path beside the job file; a resolved job has the stored copy's name.
    pub image: String,
    /// How strongly it pulls; below 0 it pushes away.
    #[serde(default = "one")]
    pub weight: f64,
    /// The loss stops pulling below this value.
    #[serde(default)]
    pub stop: Option<f64>,
}

/// A normal embedding drawn from its own seed, used as a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoisePrompt {
    /// What the direction is drawn from.
    pub seed: u64,
    /// How strongly it pulls; below 0 it pushes away.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// How the image is cut into the pieces that the perceptor looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cutouts {
    /// How cutouts are taken, by the names of nerdyrodent/VQGAN-CLIP.
    pub method: CutoutMethod,
    /// Cutouts an iteration (NR's `cutn`).
    #[schemars(range(min = 1, max = MAX_CUTOUTS))]
    pub count: u32,
    /// Exponent of the crop size's distribution (NR's `cut_pow`); crops only.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub power: f64,
    /// `original` keeps the quirks of the kornia that the originals used.
    pub augment: AugmentStyle,
    /// In this order; the method's own list when left out.
    pub augmentations: Option<Vec<Augmentation>>,
    /// Upper bound of the noise mixed into each cutout; 0 for `original`.
    #[schemars(range(min = 0, max = 1))]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutoutMethod {
    Latest,
    Original,
    Updated,
    Nrupdated,
    Updatedpooling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AugmentStyle {
    Original,
    Modern,
}

/// NR's two-letter names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitWeightForm {
    /// `MSE(z, z0)·w/2`: toward the start (the original notebook).
    Mse,
    /// `mean(z²)·w/(2i+1)/2`: toward zero, fading with iteration i (NR).
    Decay,
}

/// Arithmetic of the networks; the latent, losses and codebook distances stay in float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Float32,
    Tf32,
    Bf16,
}
