//! What a standalone render tells the command that started it: one JSON object a line.
//!
//! `vqfarm render --json` passes the lines on as they are; the last one is the summary, or
//! the error that prevented one.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, JobName};
use crate::search::Found;

/// One line. `event` names the kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Models are loaded and cells are about to be rendered.
    Started {
        job: JobId,
        name: JobName,
        /// Cells of the job, and how many of them were stored by an earlier run.
        cells: u64,
        stored: u64,
        /// Width and height of a frame, or the first one's where sizes differ.
        size: [u32; 2],
        /// `cpu`, `cuda:0`, ….
        device: String,
        /// Cells rendered at the same time.
        lanes: u32,
        /// Whether the cells are frames of a film.
        film: bool,
        /// Iterations that are still to be made, in all cells together.
        iterations: u64,
    },
    /// Something that the user should know and that stops nothing.
    Warning { message: String },
    /// Iterations made of a cell that is being rendered, or of a keyframe of that number in this
    /// round (from 1).
    Progress {
        cell: u64,
        iteration: u32,
        iterations: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u32>,
    },
    /// A frame is stored.
    Frame {
        cell: u64,
        path: String,
        /// CLIP's judgement of the picture; none without a text to judge by.
        score: Option<f32>,
        seconds: f64,
        /// It was there already.
        adopted: bool,
        /// Its picture was made before, for another job.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        taken_over: bool,
    },
    /// A cell could not be rendered.
    Failed { cell: u64, reason: String },
    /// All frames are there and a film is made of them: `done` of the `of` frames that it shows
    /// are in it. Told first with 0, last when the film is whole.
    Stitching { done: u64, of: u64 },
    /// A page of a sweep's contact sheet is stored: number `page` of `pages`, from 1.
    Sheet {
        page: u64,
        pages: u64,
        /// Cells on the page, and how large it is in pixels.
        cells: u64,
        size: [u32; 2],
    },
    /// A search has looked at so many of its pictures.
    Looked { done: u64, of: u64 },
    /// The last line of a search.
    Found(Found),
    /// The last line of a render, also of one that was interrupted.
    Summary(Summary),
    /// The last line when nothing could be rendered.
    Error { kind: ErrorKind, message: String },
}

impl Event {
    /// The summary that a render or a stitching ends with.
    pub fn summary(self) -> Option<Summary> {
        match self {
            Self::Summary(summary) => Some(summary),
            _ => None,
        }
    }

    /// What a search ends with.
    pub fn found(self) -> Option<Found> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }
}

/// What came of a render.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub job: JobId,
    /// Cells of the job.
    pub cells: u64,
    /// Frames that are stored now, and how many of them this run rendered.
    pub frames: u64,
    pub rendered: u64,
    /// Those whose pictures were made before, for the job that the folder held then.
    #[serde(default)]
    pub taken_over: u64,
    pub failed: u64,
    pub interrupted: bool,
    pub seconds: f64,
    /// Iterations of this run, in all cells together, by its seconds of rendering.
    pub iterations_per_second: f64,
    /// The folder of everything below.
    pub out: String,
    pub frames_dir: String,
    /// The contact sheet's first page; further ones lie beside it as `contact-sheet-2.png`, ….
    pub contact_sheet: Option<String>,
    /// Pages of the contact sheet.
    #[serde(default)]
    pub contact_sheet_pages: u64,
    pub gallery: Option<String>,
    /// Of an animation: the film, or the ZIP of its frames.
    pub video: Option<String>,
    pub scores: Option<String>,
}

/// Whose fault an error is: it decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The job or the command line; status 2.
    Usage,
    /// Anything else; status 1.
    Failed,
}

/// Exit status of a render that was interrupted: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_their_kind() {
        let event = Event::Progress { cell: 3, iteration: 10, iterations: 50, round: None };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"event":"progress","cell":3,"iteration":10,"iterations":50}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
