//! `job.json`: all that is needed to do a job again, stored before its submit is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{JobId, ModelName, UserName};
use crate::job::Job;
use crate::needs::Role;

/// What an operator decided about a job after its submit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobControl {
    pub cancelled: bool,
    pub paused: bool,
    /// Instead of the priority that the job was submitted with.
    pub priority: Option<i32>,
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
}
