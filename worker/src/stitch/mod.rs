//! What is made of a job's frames: contact sheet and gallery of a sweep, the film of an
//! animation, scores of both.

mod collect;
pub mod film;
pub mod gallery;
pub mod grid;
pub mod scores;
pub mod sheet;
pub mod table;
pub mod text;

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use image::{ImageFormat, RgbImage};
use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};
use vqfarm_core::animation::Timeline;
use vqfarm_core::event::Event;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::plan::Content;
use vqfarm_core::video::held;
use vqfarm_queue::QueueError;

use self::grid::{Wanted, arrange};
use crate::job::{JobFault, OpenJob};
use crate::publish::PublishError;
use vqfarm_storage::StoreError;
use vqfarm_storage::frame;

/// Why there are no overviews.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StitchError {
    /// These frames are not there or not whole.
    #[error("frames {0:?} are missing or damaged")]
    Damaged(Vec<u64>),
    /// They are another job's, which alone can render them again.
    #[error("{count} frames of job {} are missing or damaged, the first is frame {first}", .job.short())]
    Lost { job: JobId, count: usize, first: u64 },
    #[error("job {} has no frames yet", .0.short())]
    NoFrames(JobId),
    #[error("frames of another job lie where this job's should be: {0:?}")]
    OtherJob(Vec<u64>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("the gallery cannot be written: {0}")]
    Gallery(#[from] minijinja::Error),
    #[error("the scores cannot be written: {0}")]
    Scores(#[from] csv::Error),
    #[error("the contact sheet cannot be written: {0}")]
    Sheet(#[from] image::ImageError),
    #[error(transparent)]
    Cell(#[from] vqfarm_core::job::FieldError),
    #[error(transparent)]
    Job(#[from] JobFault),
    #[error("cannot look at a frame: {0}")]
    Look(#[from] PublishError),
    #[error("this machine has no ffmpeg, which makes the film; install it, or use codec = \"gif\"")]
    NoFfmpeg,
    #[error("the soundtrack cannot be used: {0}")]
    Sound(String),
    #[error("the film cannot be made: {0}")]
    Film(std::io::Error),
    #[error("the thread that stitches died: {0}")]
    Thread(#[from] JoinError),
}

/// Whom events are told to.
pub type Tell<'a> = dyn FnMut(&Event) + Send + 'a;

impl StitchError {
    /// What it means that a job's frames are missing or damaged.
    fn lost(job: &OpenJob, frames: Vec<u64>) -> Self {
        match (job.record.source, frames.first()) {
            (Some(source), Some(&first)) => {
                Self::Lost { job: source.job, count: frames.len(), first }
            }
            _ => Self::Damaged(frames),
        }
    }

    /// Whether trying again may help, while nobody does anything about it.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Lost { .. } | Self::NoFrames(_))
    }
}

/// Keys of what was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Of a sweep, the first page first.
    pub contact_sheets: Vec<String>,
    /// Of a sweep.
    pub gallery: Option<String>,
    /// Of an animation.
    pub video: Option<String>,
    pub scores: String,
}

/// Makes the outputs from the stored frames; older ones are replaced, each as a whole.
/// `failures` says why cells have no frame; `tell` hears how far a film is.
///
/// # Errors
/// A frame is missing without a failure, or damaged, and the job is not a partial one; storage
/// fails.
pub async fn stitch(
    job: &Arc<OpenJob>,
    failures: &HashMap<u64, String>,
    tell: &mut Tell<'_>,
) -> Result<Outputs, StitchError> {
    let (table, size) = collect::collect(job, failures).await?;
    let store = &job.store;
    let scores = scores::csv(&table)?;
    if let Content::Film(timeline) = &job.plan.content {
        let there = table.cells.iter().filter(|c| c.image.is_some()).map(|c| c.index).collect();
        let video = make_film(job, timeline, held(&there), tell).await?;
        store.replace(keys::SCORES, scores.into()).await?;
        let (video, scores) = (Some(video), keys::SCORES.to_owned());
        return Ok(Outputs { video, scores, ..Outputs::default() });
    }
    let wants_gallery = job.plan.outputs().contains(&keys::GALLERY);
    let gallery = if wants_gallery { Some(gallery::page(&table)?) } else { None };
    let pages = {
        let (job, runtime) = (job.clone(), Handle::current());
        spawn_blocking(move || {
            let wanted = &job.record.spec.output.contact_sheet;
            let wanted = Wanted { rows: wanted.rows.clone(), columns: wanted.columns.clone() };
            let arrangement = arrange(&table, &wanted);
            let mut picture = |cell: usize| {
                let bytes = runtime.block_on(job.frames.get(table.cells[cell].image.as_ref()?));
                // It was whole a moment ago; should it be gone now, its place stays empty.
                frame::decode(&bytes.ok()??).ok().map(|(_, picture)| picture)
            };
            let pages = sheet::draw(&table, &arrangement, size, &mut picture);
            pages.iter().map(png).collect::<Result<Vec<_>, _>>()
        })
        .await??
    };
    store.replace(keys::SCORES, scores.into()).await?;
    let mut contact_sheets = Vec::new();
    for (n, page) in pages.into_iter().enumerate() {
        let key = match n {
            0 => keys::CONTACT_SHEET.to_owned(),
            n => keys::CONTACT_SHEET.replace(".png", &format!("-{}.png", n + 1)),
        };
        store.replace(&key, page).await?;
        contact_sheets.push(key);
    }
    if let Some(gallery) = gallery {
        store.replace(keys::GALLERY, gallery.into()).await?;
    }
    let gallery = wants_gallery.then(|| keys::GALLERY.to_owned());
    Ok(Outputs { contact_sheets, gallery, video: None, scores: keys::SCORES.to_owned() })
}

/// Makes and stores the film of the frames that are there; answers with its key.
async fn make_film(
    job: &OpenJob,
    timeline: &Timeline,
    shown: Vec<u64>,
    tell: &mut Tell<'_>,
) -> Result<String, StitchError> {
    let video = timeline.video();
    let order = video.order(shown.len() as u64);
    let order = order.into_iter().filter_map(|n| shown.get(n as usize).copied()).collect();
    let film = film::encode(job, timeline, order, tell).await?;
    let key = video.codec.key();
    job.store.replace_with_file(key, &film.file).await?;
    Ok(key.to_owned())
}

fn png(page: &RgbImage) -> Result<Bytes, image::ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    page.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner().into())
}
