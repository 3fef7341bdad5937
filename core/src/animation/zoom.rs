//! `[animation.zoom]`: one zoom made of keyframes that lie in one another.
//!
//! Keyframe k + 1 is what lies in the middle of keyframe k, `step` times as large. All keyframes
//! are optimised at once, in rounds; between rounds each takes its middle from the next one and
//! its rim from the one before. Frames are composed from the nested keyframes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// Side of the smallest keyframe that frames show, in pixels.
const SMALLEST: f64 = 8.0;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Zoom {
    /// Growth from one keyframe to the next.
    #[schemars(range(min = 1.2, max = 4))]
    pub step: f64,
    /// Frames from one keyframe to the next.
    #[schemars(range(min = 1, max = 10_000))]
    pub frames_per_step: u32,
    /// Whether the camera comes closer or goes away.
    pub direction: Direction,
    /// Degrees that the picture turns from one keyframe to the next, clockwise.
    pub angle: Schedule,
    /// Where the next keyframe lies in this one, in parts of the width.
    pub center_x: Schedule,
    /// The same, in parts of the height.
    pub center_y: Schedule,
    /// How often keyframes are optimised, the first time included.
    #[schemars(range(min = 1, max = 50))]
    pub rounds: u32,
    /// Iterations of each round after the first, which has `render.iterations`.
    #[schemars(range(min = 1, max = 100_000))]
    pub round_iterations: u32,
    /// Weight of the pull towards what the neighbours show, from the second round on.
    #[schemars(range(min = 0, max = 1e6))]
    pub tie: f64,
    /// Width of the rim in which a keyframe passes into the one around it, in parts of half its
    /// side.
    #[schemars(range(min = 0, max = 1))]
    pub rim: f64,
    /// Iterations of each composed frame; none leaves it as it is composed.
    #[schemars(range(max = 100_000))]
    pub refine: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    In,
    Out,
}

impl Default for Zoom {
    fn default() -> Self {
        Self {
            step: 2.0,
            frames_per_step: 24,
            direction: Direction::In,
            angle: 0.0.into(),
            center_x: 0.5.into(),
            center_y: 0.5.into(),
            rounds: 3,
            round_iterations: 40,
            tie: 0.5,
            rim: 0.3,
            refine: 0,
        }
    }
}

/// How the next keyframe lies in this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesting {
    /// How many times smaller it is there.
    pub step: f64,
    /// Degrees by which the picture turns, clockwise, on the way into it.
    pub angle: f64,
    /// Its middle, in parts of width and height.
    pub center: [f64; 2],
}

/// Where the camera of a frame is: so far on the way from keyframe `base` into the next one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    pub base: u64,
    /// From 0 to below 1.
    pub along: f64,
}

impl Zoom {
    /// How many keyframes frames need: each shows its own and the next one.
    pub fn keyframes(&self, frames: u64) -> u64 {
        (frames - 1) / u64::from(self.frames_per_step) + 2
    }

    /// Where the camera is in a frame.
    pub fn depth(&self, frame: u64, frames: u64) -> Depth {
        let from_start = match self.direction {
            Direction::In => frame,
            Direction::Out => frames - 1 - frame,
        };
        let each = u64::from(self.frames_per_step);
        Depth { base: from_start / each, along: (from_start % each) as f64 / each as f64 }
    }

    /// How many keyframes that lie in its own a frame of this size shows: what lies deeper is a
    /// few pixels when the camera gets to the next one, and comes in unnoticed.
    pub fn deepest(&self, [width, height]: [u32; 2]) -> u64 {
        let sides = f64::from(width.min(height)) / SMALLEST;
        1 + (sides.ln() / self.step.ln()).max(0.0) as u64
    }

    /// The frame that shows a keyframe as it is, or the one nearest to it.
    pub fn frame_of(&self, keyframe: u64, frames: u64) -> u64 {
        let from_start = (keyframe * u64::from(self.frames_per_step)).min(frames - 1);
        match self.direction {
            Direction::In => from_start,
            Direction::Out => frames - 1 - from_start,
        }
    }
}
