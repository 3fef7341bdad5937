//! Pictures searched by text: what a worker is asked and what it answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::ModelName;

/// The most pictures of one search.
pub const MOST_PICTURES: usize = 100_000;
/// The most of them that are named.
pub const MOST_NAMED: usize = 1000;

/// Which pictures show a text best?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    pub text: String,
    /// Who judges; where there are several, their mean counts.
    pub perceptors: Vec<ModelName>,
    pub pictures: Vec<Picture>,
    /// So many of the best are wanted.
    pub top: usize,
    /// A contact sheet of them, PNG, replaced when it is there; further pages get numbers.
    pub sheet: Option<PathBuf>,
}

/// A picture to be looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    pub path: PathBuf,
    /// What people call it.
    pub label: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The best first.
    pub best: Vec<Match>,
    /// Pictures that were looked at, and those that could not be read.
    pub looked: u64,
    pub unreadable: u64,
    /// Pages of the contact sheet.
    pub sheets: Vec<String>,
}

/// One picture of the best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Its place in [`Search::pictures`].
    pub picture: usize,
    /// Cosine between the picture's and the text's features.
    pub score: f32,
}
