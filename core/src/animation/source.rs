//! `[animation.source]`: the film or the pictures that `mode = "video"` paints anew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// A film, or a folder of pictures in the order of their names, beside the job file. A
    /// resolved job has its frames as `pictures` instead, and nothing of `start`, `fit`, `audio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A picture for each frame.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<String>,
    /// Seconds of the film that are left out at its beginning.
    #[schemars(range(min = 0))]
    pub start: f64,
    /// How a picture of another shape comes to fill the frame.
    pub fit: Fit,
    /// How much of the frame before is mixed into the picture that a frame starts from: 0
    /// nothing, 1 all. Wherever it is more than nothing the frames are a chain.
    pub blend: Schedule,
    /// Whether the film keeps its sound.
    pub audio: bool,
}

/// How a picture of another shape comes to fill the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// What stands out over the frame is cut off.
    Cover,
    /// Width and height are stretched each for itself.
    Stretch,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            path: None,
            pictures: Vec::new(),
            start: 0.0,
            fit: Fit::Cover,
            blend: 0.0.into(),
            audio: true,
        }
    }
}

impl Source {
    /// Whether frames wait for the ones before them.
    pub fn is_chain(&self) -> bool {
        self.blend != Schedule::from(0.0)
    }
}
