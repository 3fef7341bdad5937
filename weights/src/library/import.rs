//! Bringing a published file into the library.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::Path;

use super::Library;
use super::error::{Io, Result};
use super::name::ModelName;
use super::record::{
    Aside, Config, Entry, Hashing, Named, Record, record_path, weights_path, write_json,
};
use crate::checkpoint::{Checkpoint, read};
use crate::clip::{self, ClipConfig};
use crate::error::Reason;
use crate::format::safetensors;
use crate::model::{Kind, Model};
use crate::tensor::StateDict;
use crate::vqgan::{self, VqganConfig};

impl Library {
    /// Converts a model file of any supported format and stores it under a name.
    ///
    /// `config` is the `.yaml` that is published beside a VQGAN, or a YAML or JSON of either kind's
    /// sizes. Equal weights are stored once; a name that exists goes over to the new weights.
    pub fn import(&self, file: &Path, config: Option<&Path>, name: &ModelName) -> Result<Entry> {
        self.import_from(file, config, name, file.display().to_string(), None)
    }

    /// As `import`, saying where the file came from and under what terms.
    pub(super) fn import_from(
        &self,
        file: &Path,
        config: Option<&Path>,
        name: &ModelName,
        source: String,
        licence: Option<String>,
    ) -> Result<Entry> {
        let checkpoint = read(file)?;
        let licence = licence.or_else(|| checkpoint.metadata.get("license").cloned());
        let (config, state, assumed) = convert(checkpoint, config)?;

        let aside = Aside::new(&weights_path(&self.root, "new"))?;
        let mut out = BufWriter::with_capacity(1 << 20, Hashing::new(aside.file()));
        let path = weights_path(&self.root, "new");
        safetensors::write(&mut out, &metadata(&config), &state).at(&path)?;
        let hashing = out.into_inner().map_err(std::io::IntoInnerError::into_error).at(&path)?;
        let (sha256, bytes) = hashing.finish();
        let path = weights_path(&self.root, &sha256);
        aside.publish(&path)?;

        let parameters = state.iter().map(|(_, tensor)| tensor.numel() as u64).sum();
        let record = Record { config, bytes, parameters, source, licence, assumed };
        write_json(&record_path(&self.root, &sha256), &record)?;
        let named = Named { name: name.to_string(), sha256: sha256.clone() };
        write_json(&self.name_path(name), &named)?;
        Ok(Entry { name: name.clone(), sha256, path, record, bundled: false })
    }
}

/// Brings a checkpoint of either kind under canonical names.
fn convert(
    checkpoint: Checkpoint,
    config: Option<&Path>,
) -> Result<(Config, StateDict, Vec<String>)> {
    match Kind::of(&checkpoint) {
        Some(Kind::Vqgan) => {
            let config = config.map(VqganConfig::read).transpose()?;
            let Model { config, state, assumed } = vqgan::canonical(checkpoint, config)?;
            Ok((Config::Vqgan(config), state, assumed))
        }
        Some(Kind::Clip) => {
            let config = config.map(ClipConfig::read).transpose()?;
            let Model { config, state, assumed } = clip::canonical(checkpoint, config)?;
            Ok((Config::Clip(config), state, assumed))
        }
        None => {
            let what = "its tensors are neither a VQGAN's nor a CLIP's";
            Err(Reason::Unsupported(what.into()).at(&checkpoint.path).into())
        }
    }
}

/// The header's free text, from which the file can be read without the library.
fn metadata(config: &Config) -> BTreeMap<String, String> {
    let (kind, config) = match config {
        Config::Vqgan(config) => (Kind::Vqgan, serde_json::json!(config)),
        Config::Clip(config) => (Kind::Clip, serde_json::json!(config)),
    };
    BTreeMap::from([("kind".into(), kind.to_string()), ("config".into(), config.to_string())])
}
