//! What a file's metadata or the JSON beside it say about a CLIP.

use serde_json::Value;

use super::config::{Activation, ClipConfig};
use crate::error::Reason;

/// Sizes that were stated, wholly or in part.
#[derive(Default)]
pub(super) struct Stated {
    pub whole: Option<ClipConfig>,
    /// Attention heads of the text tower, which no shape tells.
    pub heads: Option<i64>,
    pub activation: Option<Activation>,
    /// Whether the activation is only what files of this kind usually have.
    pub activation_assumed: bool,
}

impl Stated {
    /// Our own config wins over Hugging Face's or OpenCLIP's; a JSON of another kind says nothing.
    pub fn read(metadata: Option<&String>, beside: Option<&Value>) -> Result<Self, Reason> {
        let broken = |e: serde_json::Error| Reason::config("config", e.to_string());
        if let Some(text) = metadata {
            let whole = serde_json::from_str(text).map_err(broken)?;
            return Ok(Self { whole: Some(whole), ..Self::default() });
        }
        let Some(value) = beside else { return Ok(Self::default()) };
        if value.get("transformer_width").is_some() {
            let whole = serde_json::from_value(value.clone()).map_err(broken)?;
            return Ok(Self { whole: Some(whole), ..Self::default() });
        }
        if let Some(text) = value.get("text_config") {
            return hugging_face(text, value.get("vision_config").unwrap_or(&Value::Null));
        }
        match value.get("model_cfg") {
            Some(model) => open_clip(model),
            None => Ok(Self::default()),
        }
    }
}

/// Hugging Face's `config.json`. What it leaves out has its library's defaults.
fn hugging_face(text: &Value, vision: &Value) -> Result<Stated, Reason> {
    let int = |value: &Value, key: &str| value.get(key).and_then(Value::as_i64);
    let width = int(vision, "hidden_size").unwrap_or(768);
    let heads = int(vision, "num_attention_heads").unwrap_or(12);
    check_head_width("vision_config.num_attention_heads", width, heads)?;
    let activation = |of: &Value| match of.get("hidden_act").and_then(Value::as_str) {
        None | Some("quick_gelu") => Ok(Activation::QuickGelu),
        Some("gelu") => Ok(Activation::Gelu),
        Some(other) => {
            let what = format!("`{other}` is not supported (quick_gelu and gelu are)");
            Err(Reason::config("hidden_act", what))
        }
    };
    let both = activation(text)?;
    if activation(vision)? != both {
        return Err(Reason::config("hidden_act", "it differs between the towers"));
    }
    Ok(Stated {
        heads: Some(int(text, "num_attention_heads").unwrap_or(8)),
        activation: Some(both),
        ..Stated::default()
    })
}

/// OpenCLIP's `open_clip_config.json`.
fn open_clip(model: &Value) -> Result<Stated, Reason> {
    let vision = model.get("vision_cfg").unwrap_or(&Value::Null);
    let width = vision.get("width").and_then(Value::as_i64).unwrap_or(768);
    let head_width = vision.get("head_width").and_then(Value::as_i64).unwrap_or(64);
    if vision.get("layers").is_none_or(Value::is_i64) && head_width > 0 {
        check_head_width("vision_cfg.head_width", width, width / head_width)?;
    }
    let quick = model.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false);
    Ok(Stated {
        heads: model.get("text_cfg").and_then(|text| text.get("heads")).and_then(Value::as_i64),
        activation: Some(if quick { Activation::QuickGelu } else { Activation::Gelu }),
        ..Stated::default()
    })
}

fn check_head_width(field: &str, width: i64, heads: i64) -> Result<(), Reason> {
    if heads == (width / 64).max(1) {
        return Ok(());
    }
    let what = format!("{heads} heads at width {width}: only heads of 64 channels are supported");
    Err(Reason::config(field, what))
}
