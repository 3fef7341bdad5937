//! A model ready for use: checked weights under canonical names, with the sizes they fit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::tensor::StateDict;

/// Weights that fit their config.
#[derive(Clone, Debug)]
pub struct Model<C> {
    pub config: C,
    /// Exactly the architecture's tensors, under canonical names and in the file's precision.
    pub state: StateDict,
    /// What neither the file nor a config said and was taken for granted, for people to read.
    pub assumed: Vec<String>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A generator.
    Vqgan,
    /// A perceptor.
    Clip,
}

impl Kind {
    /// Tells by the names of the tensors.
    pub fn of(checkpoint: &Checkpoint) -> Option<Self> {
        let has = |prefix: &str| checkpoint.state.names().any(|name| name.starts_with(prefix));
        if has("decoder.") && has("quantize.") {
            Some(Self::Vqgan)
        } else if (has("visual.") || has("vision_model."))
            && (has("transformer.") || has("text.") || has("text_model."))
        {
            Some(Self::Clip)
        } else {
            None
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Vqgan => "vqgan",
            Self::Clip => "clip",
        })
    }
}
