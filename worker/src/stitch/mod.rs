//! Overviews of a finished sweep: contact sheet, gallery, scores.

pub mod gallery;
pub mod grid;
pub mod scores;
pub mod sheet;
pub mod table;
pub mod text;
