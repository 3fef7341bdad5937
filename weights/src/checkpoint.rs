//! What a reader hands over, whatever the file's format was.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::tensor::StateDict;

/// The tensors of a model file, with what the file says about itself.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Where it came from; errors name it.
    pub path: PathBuf,
    pub state: StateDict,
    /// Free text in a safetensors header (`__metadata__`); empty for other formats.
    pub metadata: BTreeMap<String, String>,
    /// `config.json` beside the weights in a Hugging Face directory.
    pub config: Option<serde_json::Value>,
}
