//! The words of the farm, as plain data: no I/O, no runtime.

pub mod animation;
pub mod asset;
mod bisect;
pub mod check;
pub mod clock;
pub mod cost;
pub mod event;
pub mod fields;
pub mod file;
pub mod id;
pub mod job;
pub mod keys;
pub mod nearest;
pub mod needs;
pub mod plan;
pub mod prompt;
pub mod record;
pub mod render;
pub mod requires;
pub mod rng;
pub mod schedule;
pub mod sound;
pub mod speed;
pub mod sweep;
mod tree;
pub mod video;
