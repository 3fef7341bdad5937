//! What a render tells while it runs: one JSON object a line on the standard output of
//! `vqfarm-worker render` and of `vqfarm render --json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::JobId;

/// Something that happened in a render. `event` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RenderEvent {
    /// First of all: how much there is to do.
    Started {
        job: JobId,
        name: String,
        /// Cells in all.
        cells: u64,
        /// Cells whose frames were there from an earlier run.
        stored: u64,
        /// Optimiser steps that the other cells take together.
        iterations: u64,
        /// What renders, as `cpu` or `cuda:0`; one entry a lane.
        devices: Vec<String>,
    },
    /// Steps taken since the last such event, by all lanes together.
    Progress { iterations: u64 },
    /// A frame is stored.
    Frame {
        index: u64,
        /// Where, relative to the job's folder.
        file: String,
        prompt: String,
        seed: u64,
        /// Cosine between the picture's and the prompt's features.
        score: Option<f32>,
        /// Somebody else stored it before; it is taken as it is.
        adopted: bool,
        seconds: f64,
    },
    /// An attempt at a cell failed; `last` when there will be no other.
    Failed { index: u64, message: String, last: bool },
    /// Something that people should know and that stops nothing.
    Warning { message: String },
    /// All frames are there; the overviews are being made.
    Stitching,
    /// Last of all when the render came to an end, be it with failed cells.
    Summary(Summary),
    /// Last of all when it did not: nothing stored is lost, run it again to go on.
    Stopped { message: String, kind: Stop, stored: u64, cells: u64 },
}

/// What a render has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub job: JobId,
    /// Frames that are there now.
    pub frames: u64,
    /// Frames that this run made.
    pub rendered: u64,
    pub failed: u64,
    pub seconds: f64,
    pub iterations: u64,
    /// Of this run, all lanes together; 0 when there was nothing to do.
    pub iterations_per_second: f64,
    /// Paths by what they are: `frames`, `contact_sheet`, `gallery`, `scores`.
    pub outputs: BTreeMap<String, String>,
}

/// Why a render stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Somebody asked for it: Ctrl-C, SIGTERM.
    Interrupted,
    /// The request itself cannot be done: another job's folder, a model of another kind.
    Refused,
    /// Storage, a device or a model failed.
    Failed,
}
