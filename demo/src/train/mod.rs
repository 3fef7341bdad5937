//! Training of the demo models. Everything is drawn from seeds: data, first weights,
//! augmentation; a run may be interrupted and continued.

mod codebook;
mod feed;
pub mod generator;
pub mod layout;
pub mod params;
pub mod run;
