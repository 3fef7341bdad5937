//! How a render on this machine ended, for `--on-end`.

use jiff::Timestamp;
use vqfarm_core::ending::{Ending, FrameTotals, JobEnd, causes};
use vqfarm_core::event::{Event, Summary};
use vqfarm_core::id::{JobId, JobName};

use crate::failure::Failure;
use crate::worker::Outcome;

/// What is gathered while it goes on.
pub struct Heard {
    name: JobName,
    began: Timestamp,
    started: Option<(JobId, u64)>,
    frames: u64,
    /// Whether an error ended it.
    broke: bool,
    failures: Vec<String>,
}

impl Heard {
    pub fn new(name: JobName) -> Self {
        let began = Timestamp::now();
        Self { name, began, started: None, frames: 0, broke: false, failures: Vec::new() }
    }

    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Started { job, cells, stored, .. } => {
                self.started = Some((*job, *cells));
                self.frames = *stored;
            }
            Event::Frame { adopted: false, .. } => self.frames += 1,
            Event::Failed { reason, .. } => self.failures.push(reason.clone()),
            Event::Error { message, .. } => {
                self.broke = true;
                self.failures.push(message.clone());
            }
            _ => (),
        }
    }

    /// The end. None of a render that was interrupted, which goes on when it is run again, or of
    /// one that never began.
    pub fn end(mut self, outcome: &Result<Outcome<Summary>, Failure>) -> Option<JobEnd> {
        let (job, total) = self.started?;
        let (state, summary) = match outcome {
            Ok(Outcome::Done(summary)) if summary.interrupted => return None,
            Ok(Outcome::Done(summary)) if summary.failed == 0 => (Ending::Done, Some(summary)),
            Ok(Outcome::Done(summary)) => (Ending::Failed, Some(summary)),
            Ok(Outcome::Told(_)) if self.broke => (Ending::Failed, None),
            Ok(Outcome::Told(_)) => return None,
            Err(failure) => {
                self.failures.push(failure.to_string());
                (Ending::Failed, None)
            }
        };
        let outputs = summary.into_iter().flat_map(|summary| {
            let Summary { video, contact_sheet, gallery, scores, .. } = summary;
            [video, contact_sheet, gallery, scores].into_iter().flatten().cloned()
        });
        let ended = Timestamp::now();
        let seconds = ended.duration_since(self.began).as_secs_f64();
        Some(JobEnd {
            event: state.into(),
            farm: None,
            job,
            name: self.name,
            user: None,
            state,
            started: self.began,
            ended,
            seconds,
            tasks: None,
            frames: FrameTotals {
                total,
                stored: Some(summary.map_or(self.frames, |summary| summary.frames)),
            },
            failures: causes(self.failures.iter().map(String::as_str)),
            outputs: outputs.collect(),
        })
    }
}
