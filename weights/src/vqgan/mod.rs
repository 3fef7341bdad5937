//! VQGAN: its sizes and its weights under the names of its published code.

mod config;
mod infer;
pub(crate) mod spec;
mod yaml;

pub use config::{Quantizer, VqganConfig};

use crate::checkpoint::Checkpoint;
use crate::error::{InFile, Reason, Result};
use crate::model::Model;
use crate::tensor::StateDict;

/// Checks a checkpoint against a config and keeps exactly the VQGAN in it, under the names
/// `encoder.*`, `decoder.*`, `quant_conv.*`, `post_quant_conv.*` and `quantize.*`.
///
/// Without a config, the `config` in the file's metadata is used, or else the shapes tell all but
/// the nominal resolution, which is taken to be 256. Fails naming the tensor or the field that
/// does not fit.
pub fn canonical(
    checkpoint: Checkpoint,
    config: Option<VqganConfig>,
) -> Result<Model<VqganConfig>> {
    let Checkpoint { path, state, metadata, config: beside, .. } = checkpoint;
    let stated = match config {
        Some(config) => Some(config),
        None => stated(metadata.get("config"), beside).in_file(&path)?,
    };
    fit(state, stated).in_file(&path)
}

fn stated(
    metadata: Option<&String>,
    beside: Option<serde_json::Value>,
) -> Result<Option<VqganConfig>, Reason> {
    let read =
        |value| serde_json::from_value(value).map_err(|e| Reason::config("config", e.to_string()));
    match (metadata, beside) {
        (Some(text), _) => {
            let config = serde_json::from_str(text);
            config.map(Some).map_err(|e| Reason::config("config", e.to_string()))
        }
        // Not every JSON file of the same name is a config.
        (None, Some(value)) if value.get("ch_mult").is_some() => read(value).map(Some),
        _ => Ok(None),
    }
}

fn fit(state: StateDict, stated: Option<VqganConfig>) -> Result<Model<VqganConfig>, Reason> {
    let mut assumed = Vec::new();
    let config = match stated {
        Some(config) => config,
        None => {
            assumed.push(format!(
                "the nominal resolution is {} (its shapes tell everything else; a config .yaml \
                 would say)",
                infer::RESOLUTION
            ));
            infer::config(&state)?
        }
    };
    config.check()?;
    let found = infer::quantizer(&state)?;
    if found != config.quantizer {
        let problem = format!("the config says {:?}, the file holds {found:?}", config.quantizer);
        return Err(Reason::config("quantizer", problem));
    }
    let state = spec::spec(&config).fit(state)?;
    Ok(Model { config, state, assumed })
}
