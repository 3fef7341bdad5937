//! The camera, and the settings that change over time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// `[animation.motion]`: what happens from each frame to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Motion {
    /// Growth a frame: above 1 the camera comes closer.
    pub zoom: Schedule,
    /// Degrees a frame; positive turns the picture clockwise.
    pub angle: Schedule,
    /// Pixels a frame, to the right.
    pub translate_x: Schedule,
    /// Pixels a frame, down.
    pub translate_y: Schedule,
    /// What zoom and angle keep in place, in parts of the width.
    pub center_x: Schedule,
    /// The same, in parts of the height.
    pub center_y: Schedule,
    /// What lies beyond the picture's edges.
    pub edge: Edge,
    /// How the moved picture is sampled.
    pub method: WarpMethod,
    /// Iterations of each frame; `render.iterations` for the first and 12 for the others when
    /// left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<Schedule>,
    /// The optimiser's learning rate; `render.step_size` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<Schedule>,
    /// Strength of the pull towards the moved frame; `render.init_weight` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_weight: Option<Schedule>,
}

impl Default for Motion {
    fn default() -> Self {
        Self {
            zoom: 1.0.into(),
            angle: 0.0.into(),
            translate_x: 0.0.into(),
            translate_y: 0.0.into(),
            center_x: 0.5.into(),
            center_y: 0.5.into(),
            edge: Edge::Reflect,
            method: WarpMethod::Subpixel,
            iterations: None,
            step_size: None,
            init_weight: None,
        }
    }
}

/// What lies beyond the picture's edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Edge {
    /// The nearest pixel.
    Border,
    /// The picture mirrored.
    Reflect,
    /// The picture again.
    Wrap,
    Black,
}

/// How the moved picture is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WarpMethod {
    /// Bicubically, by fractions of a pixel.
    Subpixel,
    /// As nerdyrodent/VQGAN-CLIP does, to the byte: whole pixels, zoom about the middle, edges
    /// that wrap, no angle.
    Legacy,
}

/// One frame's camera move, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    pub zoom: f64,
    pub angle: f64,
    pub translate_x: f64,
    pub translate_y: f64,
    pub center: [f64; 2],
    pub edge: Edge,
    pub method: WarpMethod,
}
