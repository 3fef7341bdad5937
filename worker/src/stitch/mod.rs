//! What is made of a job's frames: contact sheet and gallery of a sweep, the film of an
//! animation, scores of both.

mod collect;
pub mod film;
pub mod gallery;
pub mod grid;
pub mod scores;
pub mod settings;
pub mod sheet;
pub mod table;
pub mod text;

use std::collections::HashMap;
use std::io::BufWriter;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use image::RgbImage;
use tempfile::NamedTempFile;
use tokio::runtime::Handle;
use tokio::task::{JoinError, spawn_blocking};
use vqfarm_core::animation::Timeline;
use vqfarm_core::event::Event;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::plan::Content;
use vqfarm_core::video::held;
use vqfarm_queue::QueueError;

use self::grid::arrange;
use self::sheet::Sheet;
use self::table::Table;
use crate::job::{JobFault, OpenJob};
use crate::publish::PublishError;
use vqfarm_storage::{JobStore, StoreError, frame};

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
    Sheet(#[from] png::EncodingError),
    #[error("the contact sheet cannot be written: {0}")]
    SheetFile(std::io::Error),
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
    #[error("a picture of the film cannot be written: {0}")]
    Picture(#[from] image::ImageError),
    #[error("the thread that stitches died: {0}")]
    Thread(#[from] JoinError),
}

/// Frames that are read and decoded at the same time.
const AT_ONCE: usize = 8;

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
/// `failures` says why cells have no frame; `tell` hears how far a film is,
/// and of the pages of a contact sheet.
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
    let table = Arc::new(table);
    let contact_sheets = make_sheet(job, table.clone(), size, tell).await?;
    store.replace(keys::SCORES, scores.into()).await?;
    if wants_gallery {
        let page = gallery::page(&table, contact_sheets.len())?;
        store.replace(keys::GALLERY, page.into()).await?;
    }
    let gallery = wants_gallery.then(|| keys::GALLERY.to_owned());
    Ok(Outputs { contact_sheets, gallery, video: None, scores: keys::SCORES.to_owned() })
}

/// Makes and stores the pages of a sweep's contact sheet; answers with their keys.
async fn make_sheet(
    job: &Arc<OpenJob>,
    table: Arc<Table>,
    size: (u32, u32),
    tell: &mut Tell<'_>,
) -> Result<Vec<String>, StitchError> {
    let settings = job.record.spec.output.contact_sheet.clone();
    let laid_out = spawn_blocking(move || {
        let arrangement = arrange(&table, &settings);
        Sheet::new(table, arrangement, &settings, size)
    });
    let sheet = Arc::new(laid_out.await?);
    let mut stored = Vec::new();
    for page in 0..sheet.pages() {
        let file = NamedTempFile::new().map_err(StitchError::SheetFile)?;
        let (source, drawn, runtime) = (job.clone(), sheet.clone(), Handle::current());
        let file = spawn_blocking(move || {
            let mut pictures = |cells: &[usize], cell| {
                let keys = cells.iter().map(|&at| drawn.table().cells[at].image.clone()).collect();
                runtime.block_on(shown(&source, keys, cell))
            };
            drawn.write(page, BufWriter::new(file.as_file()), &mut pictures)?;
            Ok::<_, StitchError>(file)
        })
        .await??;
        let key = keys::contact_sheet(page);
        job.store.replace_with_file(&key, file.path()).await?;
        stored.push(key);
        let (width, height) = sheet.size(page);
        tell(&Event::Sheet {
            page: page as u64 + 1,
            pages: sheet.pages() as u64,
            cells: sheet.cells(page) as u64,
            size: [width, height],
        });
    }
    // An earlier sheet may have had more pages.
    for page in sheet_pages(&job.store).await?.into_iter().filter(|page| *page >= stored.len()) {
        job.store.delete(&keys::contact_sheet(page)).await?;
    }
    Ok(stored)
}

/// The contact sheet's pages that are in storage, from 0.
pub async fn sheet_pages(store: &JobStore) -> Result<Vec<usize>, StoreError> {
    let names = store.names(keys::OUTPUTS).await?;
    Ok(names.iter().filter_map(|name| keys::contact_sheet_page(name)).collect())
}

/// Frames as they fit a cell.
async fn shown(
    job: &Arc<OpenJob>,
    keys: Vec<Option<String>>,
    cell: (u32, u32),
) -> Vec<Option<RgbImage>> {
    let one = |key: Option<String>| async move {
        // It was whole a moment ago; should it be gone now, its place stays empty.
        let bytes = job.frames.get(&key?).await.ok()??;
        let fit = move || Some(sheet::fit(frame::decode(&bytes).ok()?.1, cell));
        spawn_blocking(fit).await.ok()?
    };
    stream::iter(keys).map(one).buffered(AT_ONCE).collect().await
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
