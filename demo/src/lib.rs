//! The demo models: scenes with captions, their trainer and their judge.

pub mod caption;
pub mod data;
pub mod draw;
pub mod export;
pub mod films;
pub mod made_up;
pub mod measure;
pub mod models;
pub mod precision;
pub mod render;
pub mod scene;
pub mod sheet;
pub mod train;
