//! A job: what a user submits. This is the one type behind TOML, YAML, JSON and `job.json`.

use std::collections::BTreeMap;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::animation::Animation;
use crate::id::JobName;
use crate::render::RenderSettings;
use crate::requires::Requires;
use crate::sheet::ContactSheet;
use crate::sweep::{EarlyStop, Sweep, SweepSpec};
use crate::video::Video;

/// The version of the job format that this program reads and writes.
pub const VERSION: u32 = 1;

/// A job as its file says it. [`crate::file::Document`] reads and checks one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The version of the format.
    #[schemars(range(min = VERSION, max = VERSION))]
    pub version: u32,
    /// What the job is called: the folder of `vqfarm render`, a column of `vqfarm jobs`. Up to 100
    /// characters without slashes.
    #[serde(default)]
    #[schemars(with = "String")]
    pub name: JobName,
    /// How a picture is made.
    #[serde(default)]
    pub render: RenderSettings,
    /// Which combinations are rendered. Without one, and without an animation, the job is one picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepSpec>,
    /// A film in place of a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub animation: Option<Animation>,
    /// What a worker of a farm must have; a standalone render does not ask.
    #[serde(default, skip_serializing_if = "Requires::is_empty")]
    pub requires: Requires,
    /// What is made of the frames when all are there.
    #[serde(default)]
    pub output: Output,
}

/// What is made of the frames when all are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// The contact sheet of a sweep.
    pub contact_sheet: ContactSheet,
    /// The film of an animation. Nothing in it changes the frames, so it can be made again.
    pub video: Video,
}

/// What is wrong with a field of a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}{}", help.as_ref().map_or(String::new(), |help| format!("; {help}")))]
pub struct FieldError {
    /// The field's path, as `render.cutouts.count` or `sweep.axes.size[1]`.
    pub field: String,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The bytes of the field's text that are meant, where not all of it is.
    pub at: Option<Range<usize>>,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), help: None, at: None }
    }

    /// Suggests the name that was meant.
    pub(crate) fn nearest(self, name: Option<&str>) -> Self {
        Self { help: name.map(|name| format!("did you mean {name:?}?")), ..self }
    }

    /// The same, of a field that lies inside the table `outer`.
    pub(crate) fn under(self, outer: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        Self { field: format!("{outer}{dot}{}", self.field), ..self }
    }
}

impl Job {
    /// A job of one picture.
    pub fn single(name: JobName, render: RenderSettings) -> Self {
        Self {
            version: VERSION,
            name,
            render,
            sweep: None,
            animation: None,
            requires: Requires::default(),
            output: Output::default(),
        }
    }

    /// The job's cells, to be asked for one by one. Expands nothing.
    pub fn cells(&self) -> Result<Sweep, FieldError> {
        Sweep::new(self)
    }

    /// After how many iterations its cells are judged, if they are.
    pub fn early_stop(&self) -> Option<&EarlyStop> {
        self.sweep.as_ref()?.early_stop.as_ref()
    }

    /// SHA-256, in hexadecimal, of what decides the pictures (`version`, `render`, and `sweep` or `animation`) as
    /// canonical JSON: keys sorted, no spaces. Jobs of one hash make the same pictures.
    pub fn spec_hash(&self) -> String {
        let pictures = match &self.animation {
            None => {
                // Pictures are the same in whatever order they come.
                let sweep = self.sweep.clone().map(|sweep| SweepSpec { order: None, ..sweep });
                serde_json::to_value((self.version, &self.render, sweep))
            }
            Some(animation) => serde_json::to_value((self.version, &self.render, animation)),
        };
        let canonical = match pictures {
            Ok(value) => canonical(&value),
            // A job holds text, finite numbers and lists only.
            Err(impossible) => unreachable!("a job is always JSON: {impossible}"),
        };
        Sha256::digest(canonical.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// SHA-256, in hexadecimal, of what decides one picture: its settings, seed among them, the hash of
/// each model, and the version of this program, which another one may paint otherwise than. Where a
/// model's hash is not known its name stands in. Pictures and masks are named by their contents in
/// a resolved job.
pub fn cell_identity(render: &RenderSettings, hashes: &BTreeMap<String, String>) -> String {
    let hash = |name: &String| hashes.get(name).unwrap_or(name).clone();
    let render = RenderSettings {
        generator: hash(&render.generator),
        perceptors: render.perceptors.iter().map(hash).collect(),
        ..render.clone()
    };
    let json = match serde_json::to_value((VERSION, env!("CARGO_PKG_VERSION"), render)) {
        Ok(value) => canonical(&value),
        Err(impossible) => unreachable!("settings are always JSON: {impossible}"),
    };
    Sha256::digest(json.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// As [`cell_identity`], of a picture that was stopped after so many iterations.
pub fn stopped_identity(
    render: &RenderSettings,
    hashes: &BTreeMap<String, String>,
    iterations: u32,
) -> String {
    let whole = cell_identity(render, hashes);
    let hash = Sha256::digest(format!("{whole} after {iterations}"));
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(name, value)| {
                    format!("{}:{}", Value::String(name.clone()), canonical(value))
                })
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}
