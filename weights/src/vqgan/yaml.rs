//! The `.yaml` that is published beside a VQGAN's checkpoint.

use std::path::Path;

use serde::Deserialize;

use super::config::{Quantizer, VqganConfig};
use crate::error::{InFile, Reason, Result};
use crate::source::read_text;

/// `target` names a Python class, `params` its arguments.
#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    target: String,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    ddconfig: Option<DdConfig>,
    embed_dim: Option<i64>,
    n_embed: Option<i64>,
    /// The VQGAN, where the config is that of a transformer on top of it.
    first_stage_config: Option<Box<Node>>,
}

#[derive(Deserialize)]
struct DdConfig {
    #[serde(default)]
    double_z: bool,
    z_channels: i64,
    resolution: i64,
    in_channels: i64,
    out_ch: i64,
    ch: i64,
    ch_mult: Vec<i64>,
    num_res_blocks: i64,
    attn_resolutions: Vec<i64>,
    #[serde(default)]
    dropout: f64,
}

#[derive(Deserialize)]
struct Root {
    model: Node,
}

impl VqganConfig {
    /// Reads a config file: the published `.yaml`, with the sizes under `model.params` or in its
    /// `first_stage_config`, or a flat YAML or JSON of this struct's own fields.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_text(path)?).in_file(path)
    }

    /// Reads a config from text, in the forms that `read` knows.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        if !text.lines().any(|line| line.trim_end() == "model:") {
            return serde_saphyr::from_str(text)
                .map_err(|e| Reason::config("(YAML)", e.to_string()));
        }
        let root: Root =
            serde_saphyr::from_str(text).map_err(|e| Reason::config("model", e.to_string()))?;
        let mut node = root.model;
        while let Some(inner) = node.params.first_stage_config {
            node = *inner;
        }
        node.config()
    }
}

impl Node {
    fn config(self) -> Result<VqganConfig, Reason> {
        let missing = |field: &str| Reason::config(&format!("params.{field}"), "it is missing");
        let Params { ddconfig, embed_dim, n_embed, .. } = self.params;
        let dd = ddconfig.ok_or_else(|| missing("ddconfig"))?;
        let class = self.target.rsplit('.').next().unwrap_or_default();
        let quantizer = if class.starts_with("Gumbel") { Quantizer::Gumbel } else { Quantizer::Vq };
        Ok(VqganConfig {
            double_z: dd.double_z,
            z_channels: dd.z_channels,
            resolution: dd.resolution,
            in_channels: dd.in_channels,
            out_ch: dd.out_ch,
            ch: dd.ch,
            ch_mult: dd.ch_mult,
            num_res_blocks: dd.num_res_blocks,
            attn_resolutions: dd.attn_resolutions,
            dropout: dd.dropout,
            embed_dim: embed_dim.ok_or_else(|| missing("embed_dim"))?,
            n_embed: n_embed.ok_or_else(|| missing("n_embed"))?,
            quantizer,
        })
    }
}
