//! CLIP: its sizes and its weights under OpenAI's names.

mod config;
mod hugging_face;
mod infer;
pub(crate) mod spec;
mod stated;
mod tokens;

pub use config::{Activation, ClipConfig, VisionLayers};

use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Reason, Result};
use crate::model::Model;
use crate::tensor::StateDict;
use stated::Stated;

/// Checks a checkpoint against a config and keeps exactly the CLIP in it, under OpenAI's names
/// (`visual.*`, `transformer.*`, `token_embedding.weight`, …).
///
/// Hugging Face's and OpenCLIP's names are translated. Without a config, the one in the file's
/// metadata or beside the file is used; what they leave open is inferred from the shapes. Fails
/// naming the tensor or the field that does not fit.
pub fn canonical(checkpoint: Checkpoint, config: Option<ClipConfig>) -> Result<Model<ClipConfig>> {
    let Checkpoint { path, state, metadata, config: beside, distributed } = checkpoint;
    let stated = match config {
        Some(config) => Ok(Stated { whole: Some(config), ..Stated::default() }),
        None => Stated::read(metadata.get("config"), beside.as_ref()),
    };
    let mut stated = stated.in_file(&path)?;
    let vocab_size = metadata.get("vocab_size").map(String::as_str);
    let state = tokens::expand(state, vocab_size).in_file(&path)?;

    let mut open_clip = distributed;
    let state = if state.names().any(|name| name.starts_with("text_model.")) {
        hugging_face::rename(state).in_file(&path)?
    } else {
        open_clip |= state.names().any(|name| name.starts_with("text."));
        strip_text(state)
    };
    // OpenCLIP's own models use GELU unless told otherwise.
    if open_clip && stated.activation.is_none() {
        stated.activation = Some(Activation::Gelu);
        stated.activation_assumed = true;
    }
    fit(state, stated).in_file(&path)
}

/// OpenCLIP's newer models keep the text tower under `text.`.
fn strip_text(state: StateDict) -> StateDict {
    state
        .into_iter()
        .map(|(name, tensor)| match name.strip_prefix("text.") {
            Some(own) => (own.to_owned(), tensor),
            None => (name, tensor),
        })
        .collect()
}

fn fit(mut state: StateDict, stated: Stated) -> Result<Model<ClipConfig>, Reason> {
    let mut assumed = Vec::new();
    let config = match stated.whole {
        Some(config) => config,
        None => {
            let mut config = infer::config(&state)?;
            match stated.heads {
                Some(heads) => config.transformer_heads = heads,
                None => assumed.push(format!(
                    "the number of the text tower's heads: {}, one for each 64 channels",
                    config.transformer_heads
                )),
            }
            if stated.activation.is_none() || stated.activation_assumed {
                config.activation = stated.activation.unwrap_or(Activation::QuickGelu);
                assumed.push(format!("the activation is {}", config.activation));
            } else if let Some(activation) = stated.activation {
                config.activation = activation;
            }
            config
        }
    };
    config.check()?;
    let logit_scale = state.remove("logit_scale");
    let mut state = spec::spec(&config).fit(state)?;
    // Not needed to compare features; kept where there is one.
    if let Some(mut scale) = logit_scale.filter(|scale| scale.numel() == 1) {
        scale.shape.clear();
        state.insert("logit_scale", scale);
    }
    Ok(Model { config, state, assumed })
}
