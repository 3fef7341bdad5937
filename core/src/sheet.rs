//! The contact sheet of a sweep: which axes go where, how large cells and pages are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::FieldError;
use crate::nearest::nearest;

/// The longer side of a cell, in pixels.
const CELL: std::ops::RangeInclusive<u32> = 32..=2048;
/// A side of a page, in pixels.
const PAGE: std::ops::RangeInclusive<u32> = 1024..=16_384;

/// A job's `[output.contact_sheet]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContactSheet {
    /// The axis that runs down; one is chosen when left out.
    pub rows: Option<String>,
    /// The axis that runs across; one is chosen when left out.
    pub columns: Option<String>,
    /// Axes of which each value begins a page. The combinations of all other axes follow one
    /// another, and begin a page where one is full.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<String>,
    /// Longer side of a cell in pixels, from 32 to 2048; when left out, as large as the frames
    /// are, or smaller where that saves pages.
    #[schemars(range(min = *CELL.start(), max = *CELL.end()))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<u32>,
    /// The largest width and height of a page in pixels, each from 1024 to 16384.
    #[schemars(inner(range(min = *PAGE.start(), max = *PAGE.end())))]
    #[serde(skip_serializing_if = "is_default_page")]
    pub page_size: [u32; 2],
}

impl Default for ContactSheet {
    fn default() -> Self {
        Self { rows: None, columns: None, pages: Vec::new(), cell: None, page_size: DEFAULT_PAGE }
    }
}

/// Most programs still open a picture of this size.
const DEFAULT_PAGE: [u32; 2] = [8192, 8192];

fn is_default_page(size: &[u32; 2]) -> bool {
    *size == DEFAULT_PAGE
}

impl ContactSheet {
    /// What is wrong with it for a sweep of these axes; fields are named from inside the table.
    pub(crate) fn check(&self, axes: &[&str]) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let one = [("rows", &self.rows), ("columns", &self.columns)];
        let one =
            one.into_iter().filter_map(|(field, axis)| Some((field.to_owned(), axis.as_ref()?)));
        let pages = self.pages.iter().enumerate().map(|(n, axis)| (format!("pages[{n}]"), axis));
        let mut taken: Vec<(String, &String)> = Vec::new();
        for (field, axis) in one.chain(pages) {
            if !axes.contains(&axis.as_str()) {
                let message = format!("{axis:?} is not an axis of the sweep");
                errors.push(
                    FieldError::new(field, message).nearest(nearest(axis, axes.iter().copied())),
                );
            } else if let Some((before, _)) = taken.iter().find(|(_, other)| *other == axis) {
                let message = format!("{before} and {field} are the same axis");
                errors.push(FieldError::new(field, message));
            } else {
                taken.push((field, axis));
            }
        }
        for (n, side) in self.page_size.iter().enumerate() {
            if !PAGE.contains(side) {
                errors.push(out_of_range(format!("page_size[{n}]"), *side, &PAGE));
            }
        }
        let Some(cell) = self.cell else { return errors };
        if !CELL.contains(&cell) {
            errors.push(out_of_range("cell".into(), cell, &CELL));
        } else if let Some(side) = self.page_size.iter().find(|side| cell > **side / 2) {
            let message =
                format!("a cell of {cell} pixels leaves no room for labels on a page of {side}");
            errors.push(FieldError::new("cell", message));
        }
        errors
    }
}

/// The file of a page, from 0, where the first one is `path`: `sheet.png`, `sheet-2.png`, ….
pub fn page_path(path: &Path, page: usize) -> PathBuf {
    if page == 0 {
        return path.to_owned();
    }
    let [stem, ending] =
        [path.file_stem(), path.extension()].map(|part| part.unwrap_or(OsStr::new("")));
    path.with_file_name(format!("{}-{}.{}", stem.display(), page + 1, ending.display()))
}

fn out_of_range(field: String, pixels: u32, allowed: &std::ops::RangeInclusive<u32>) -> FieldError {
    let (low, high) = (allowed.start(), allowed.end());
    FieldError::new(field, format!("{pixels} pixels; it must be from {low} to {high}"))
}
