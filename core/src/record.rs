//! `job.json`: all that is needed to do a job again, stored before its submit is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{JobId, ModelName, UserName};
use crate::job::{Job, cell_identity, stopped_identity};
use crate::needs::Role;
use crate::plan::{Plan, PlanError};
use crate::render::RenderSettings;

/// What an operator decided about a job after its submit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobControl {
    pub cancelled: bool,
    pub paused: bool,
    /// Instead of the priority that the job was submitted with.
    pub priority: Option<i32>,
    /// Grows when tasks of it are tried again: what it ended with before is another end.
    pub retries: u32,
    /// Its files are being deleted; nothing else is decided about it any more.
    pub deleted: bool,
}

/// What `jobs/<job>/job.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: JobId,
    pub user: UserName,
    pub submitted: Timestamp,
    /// Which vqfarm resolved the spec.
    pub vqfarm: String,
    /// The resolved spec: files read, assets stored, every default filled in.
    pub spec: Job,
    /// [`Job::spec_hash`] of `spec`; every frame of the job carries it.
    pub spec_hash: String,
    /// SHA-256 of each model's weights, by name.
    pub models: BTreeMap<String, String>,
    /// Of a job that renders nothing: whose frames it stitches. Its spec is that job's but for
    /// `[output]`, so the frames carry its hash, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The trace of its submit, as a W3C `traceparent`, which its tasks go on with; there where
    /// traces are exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Where the frames come from of a job that only stitches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// It has frames of its own.
    pub job: JobId,
    /// Stitch those that are there, a preview; else all must be.
    pub partial: bool,
}

impl JobRecord {
    /// What there is to do.
    ///
    /// # Errors
    /// The spec has not been checked.
    pub fn plan(&self) -> Result<Plan, PlanError> {
        let plan = Plan::new(&self.spec)?;
        Ok(if self.source.is_some() { plan.only_stitching() } else { plan })
    }

    /// Whether a folder that holds this job may hold `job` from now on: it makes the same pictures,
    /// or it is this sweep, changed.
    pub fn may_become(&self, job: &Job) -> bool {
        let both = [&self.spec, job];
        let changed = || both.iter().all(|job| job.animation.is_none());
        self.spec_hash == job.spec_hash() || (self.spec.name == job.name && changed())
    }

    /// Whether frames may be missing in what is stitched.
    pub fn is_partial(&self) -> bool {
        self.source.is_some_and(|source| source.partial)
    }
}

impl FrameInfo {
    /// What a cell's picture is known by, whatever job it is of ([`cell_identity`]).
    pub fn identity(&self) -> String {
        match self.stopped {
            None => cell_identity(&self.settings, &self.models),
            Some(iterations) => stopped_identity(&self.settings, &self.models, iterations),
        }
    }
}

/// Which cells go on by their scores: what `work/choose/000000.json` of a job holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Ascending.
    pub cells: Vec<u64>,
}

/// Where a cell's picture is stored: what `cells/…/<identity>.json` of a farm and
/// `taken/<index>.json` of a job hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellRecord {
    pub job: JobId,
    /// Its key there.
    pub key: String,
    /// Of the picture's file, in lower-case hexadecimal.
    pub sha256: String,
}

/// What `models/names/<name>.json` of a farm holds: which weights the name means there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    pub name: ModelName,
    /// Lower-case hexadecimal; the weights lie at [`crate::keys::model`].
    pub sha256: String,
    pub kind: Role,
    /// Size of the weights' file.
    pub bytes: u64,
    /// The network's sizes, where they came along; jobs' memory is estimated from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

/// The keyword of the text chunk in which a frame's PNG carries its [`FrameInfo`] as JSON.
pub const FRAME_INFO: &str = "vqfarm";

/// How a frame was made: everything needed to make it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameInfo {
    /// Place in the job, from 0.
    pub index: u64,
    /// The job's spec hash; a stored frame with another one belongs to another job.
    pub spec: String,
    /// The frame's own settings: job, axes and overrides resolved.
    pub settings: RenderSettings,
    /// SHA-256 of each model's weights, by the name that the settings use.
    pub models: BTreeMap<String, String>,
    /// Cosine between the picture's and the prompt's features, when there is a text prompt.
    pub score: Option<f32>,
    /// The version of vqfarm that made it.
    pub version: String,
    /// Iterations that were made, where these are fewer than the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<u32>,
    /// Whether it is a frame of a film, which its own settings alone do not make.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub film: bool,
}
