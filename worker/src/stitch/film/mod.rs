//! The film of an animation: its frames in the order in which they are shown, through ffmpeg, or
//! into a GIF or a ZIP by ourselves. The film grows in a folder of its own, where nobody sees it
//! before it is whole.

mod arguments;
mod ffmpeg;
mod gif;
mod hardware;
mod label;
mod sequence;
mod shown;
mod sound;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use vqfarm_core::animation::Timeline;
use vqfarm_core::plan::Content;
use vqfarm_core::video::Codec;

use self::arguments::Recipe;
use self::ffmpeg::Running;
pub use self::ffmpeg::has_ffmpeg;
use self::shown::{Picture, Shown};
use self::sound::Sound;
use super::{StitchError, Tell};
use crate::job::OpenJob;

/// A whole film. It is gone when this is dropped.
pub struct Film {
    pub file: PathBuf,
    _folder: TempDir,
}

/// Whether this machine can make the job's film, before anything is rendered for it.
///
/// # Errors
/// ffmpeg is missing, does not take the film's settings, or hears nothing in its soundtrack.
pub async fn check(job: &OpenJob) -> Result<(), StitchError> {
    let Content::Film(timeline) = &job.plan.content else { return Ok(()) };
    let video = timeline.video();
    if !video.needs_ffmpeg() {
        return Ok(());
    }
    if !has_ffmpeg().await {
        return Err(StitchError::NoFfmpeg);
    }
    let folder = folder()?;
    let sound = Sound::fetch(job, video, folder.path()).await?;
    let [width, height] = job.plan.settings(0)?.size;
    let (size, fps) = ((width, height), timeline.film_fps());
    let recipe = Recipe { video, size, fps, count: 1, sound, nvenc: None };
    ffmpeg::try_out(&recipe, folder.path()).await
}

/// Makes the film of the frames `indices`, as stored, in this order. `tell` hears how far it is.
///
/// # Errors
/// A frame cannot be read any more; ffmpeg is missing or fails.
pub async fn encode(
    job: &OpenJob,
    timeline: &Timeline,
    indices: Vec<u64>,
    tell: &mut Tell<'_>,
) -> Result<Film, StitchError> {
    let (video, fps, count) = (timeline.video(), timeline.film_fps(), indices.len() as u64);
    let folder = folder()?;
    let file = folder.path().join(file_name(video.codec));
    let mut shown = Shown::open(job, indices, video.labels, tell).await?;
    match video.codec {
        Codec::Gif => {
            let (file, repeat) = (create(&file)?, video.repeat);
            by_hand(&mut shown, move |pictures| gif::write(file, pictures, fps, repeat)).await?;
        }
        Codec::Png if !video.needs_ffmpeg() => {
            let file = create(&file)?;
            by_hand(&mut shown, move |pictures| sequence::write(file, pictures)).await?;
        }
        codec => {
            let sound = Sound::fetch(job, video, folder.path()).await?;
            let mut recipe = Recipe { video, size: shown.size, fps, count, sound, nvenc: None };
            if video.hardware {
                match hardware::choose(&recipe, folder.path()).await {
                    Ok(encoder) => recipe.nvenc = Some(encoder),
                    Err(why) => shown.warn(format!("the film is encoded without a GPU: {why}")),
                }
            }
            through_ffmpeg(&mut shown, &recipe, folder.path()).await?;
            if codec == Codec::Png {
                let (pictures, file) = (folder.path().to_owned(), create(&file)?);
                spawn_blocking(move || sequence::pack(file, &pictures)).await??;
            }
        }
    }
    shown.finish();
    Ok(Film { file, _folder: folder })
}

async fn through_ffmpeg(
    shown: &mut Shown<'_, '_>,
    recipe: &Recipe<'_>,
    folder: &Path,
) -> Result<(), StitchError> {
    let mut ffmpeg = Running::start(recipe, folder)?;
    while let Some(picture) = shown.next().await? {
        if !ffmpeg.feed(picture.pixels.as_raw()).await {
            break;
        }
    }
    ffmpeg.finish().await
}

/// Hands the pictures to what writes them on a thread of its own.
async fn by_hand(
    shown: &mut Shown<'_, '_>,
    write: impl FnOnce(Pictures) -> Result<(), StitchError> + Send + 'static,
) -> Result<(), StitchError> {
    let (to, pictures) = mpsc::channel(1);
    let writing = spawn_blocking(move || write(Pictures(pictures)));
    while let Some(picture) = shown.next().await? {
        if to.send(picture).await.is_err() {
            // It has stopped early, and says why.
            break;
        }
    }
    drop(to);
    writing.await?
}

/// Pictures on their way to what writes them.
struct Pictures(mpsc::Receiver<Picture>);

impl Iterator for Pictures {
    type Item = Picture;

    fn next(&mut self) -> Option<Picture> {
        self.0.blocking_recv()
    }
}

fn folder() -> Result<TempDir, StitchError> {
    tempfile::tempdir().map_err(StitchError::Film)
}

/// The film's file, wherever it lies.
fn file_name(codec: Codec) -> &'static str {
    codec.key().rsplit('/').next().unwrap_or("video")
}

fn create(file: &Path) -> Result<File, StitchError> {
    File::create(file).map_err(StitchError::Film)
}

/// A failure in words alone.
fn fault(message: impl Into<String>) -> StitchError {
    StitchError::Film(io::Error::other(message.into()))
}
