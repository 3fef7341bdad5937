//! Animations: the `[animation]` table, and what it says of each frame.

mod check;
mod motion;
mod prompts;
mod source;
mod timeline;
mod zoom;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::motion::{Edge, Motion, Warp, WarpMethod};
pub use self::prompts::{PromptKey, Prompts};
pub use self::source::{Fit, Source};
pub use self::timeline::{FrameSpec, Shot, Start, Step, Timeline};
pub use self::zoom::{Depth, Direction, Nesting, Zoom};
use crate::schedule::Schedule;

/// The most frames of an animation: over an hour at 24 frames a second.
pub const MAX_FRAMES: u64 = 100_000;
/// Composed frames that one task makes.
pub const COMPOSED: u64 = 8;
/// Frames that one task makes, at most.
pub const MAX_SEGMENT: u32 = 1_000;

/// A job's `[animation]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Animation {
    /// How frames follow from one another.
    pub mode: Mode,
    /// How many frames there are; those of the source, in a video that does not say.
    #[serde(default = "default_frames")]
    #[schemars(range(min = 1, max = MAX_FRAMES))]
    pub frames: u64,
    /// Frames a second.
    #[serde(default = "default_fps")]
    #[schemars(range(min = 0.1, max = 240))]
    pub fps: f64,
    /// What is wanted from which frame on; `render.prompt` throughout when left out.
    #[serde(default, skip_serializing_if = "Prompts::is_empty")]
    pub prompts: Prompts,
    /// Frames over which a prompt passes into the next one, where its key says nothing else.
    #[serde(default = "default_fade")]
    pub fade: u32,
    /// The camera of a chain, and settings that change over time.
    #[serde(default)]
    pub motion: Motion,
    /// What happens to a frame before the next one starts from it.
    #[serde(default)]
    pub feedback: Feedback,
    /// The zoom of `mode = "zoom"`.
    #[serde(default)]
    pub zoom: Zoom,
    /// What a video is painted over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// How frames follow from one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each frame starts from the one before, moved by the camera.
    Feedback,
    /// Keyframes that lie in one another are made at the same time; frames are composed from
    /// them.
    Zoom,
    /// Each frame starts from a picture of a film that is there.
    Video,
}

/// What happens to a frame, beside the camera's move, before the next one starts from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Feedback {
    /// How far colours are brought back to those of the reference: 0 not at all, 1 wholly.
    pub color_match: Schedule,
    /// Whose colours `color_match` keeps.
    pub color_reference: ColorReference,
    /// Standard deviation of the noise that is added, in parts of full brightness.
    pub noise: Schedule,
    /// Strength of unsharp masking: 0 for none.
    pub sharpen: Schedule,
    /// What becomes of the optimiser's memory (its moments) from one frame to the next.
    #[serde(skip_serializing_if = "Memory::is_reset")]
    pub optimizer: Memory,
    /// Frames that a worker makes under one lease, at most.
    #[schemars(range(min = 1, max = MAX_SEGMENT))]
    pub segment: u32,
}

impl Default for Feedback {
    fn default() -> Self {
        Self {
            color_match: 0.0.into(),
            color_reference: ColorReference::First,
            noise: 0.0.into(),
            sharpen: 0.0.into(),
            optimizer: Memory::Reset,
            segment: 16,
        }
    }
}

/// What becomes of what the optimiser remembers when the next frame begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Each frame begins anew, as nerdyrodent/VQGAN-CLIP does.
    #[default]
    Reset,
    /// The next frame of the shot goes on with it.
    Keep,
}

impl Memory {
    fn is_reset(&self) -> bool {
        *self == Self::Reset
    }
}

/// Whose colours `color_match` keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColorReference {
    /// The first frame of the shot.
    First,
    /// The frame at the prompts' last key, so that colours may change with the prompt.
    Key,
}

fn default_frames() -> u64 {
    120
}

fn default_fps() -> f64 {
    24.0
}

fn default_fade() -> u32 {
    12
}

#[cfg(test)]
mod tests;
