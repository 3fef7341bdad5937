//! The frames that a film shows, read ahead, with their labels, and how many are through.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use image::RgbImage;
use tokio::task::spawn_blocking;
use vqfarm_core::event::Event;
use vqfarm_core::keys;
use vqfarm_storage::frame;

use super::{fault, label};
use crate::job::OpenJob;
use crate::stitch::{StitchError, Tell};

/// Frames that are read ahead.
const AHEAD: usize = 8;
/// Progress is told no more often than this.
const TELL: Duration = Duration::from_millis(250);

/// A frame as the film shows it.
pub(super) struct Picture {
    pub pixels: RgbImage,
    /// As it is stored; none where something was written into it.
    pub png: Option<Bytes>,
}

type Reading<'a> = Pin<Box<dyn Stream<Item = Result<Picture, StitchError>> + Send + 'a>>;

/// Frames in the order in which they are shown, all of one size.
pub(super) struct Shown<'a, 't> {
    reading: Reading<'a>,
    first: Option<Picture>,
    /// Width and height: those of the first frame.
    pub size: (u32, u32),
    tell: &'a mut Tell<'t>,
    done: u64,
    of: u64,
    told: Instant,
}

impl<'a, 't> Shown<'a, 't> {
    /// # Errors
    /// There are no frames, or the first one cannot be read.
    pub async fn open(
        job: &'a OpenJob,
        indices: Vec<u64>,
        labels: bool,
        tell: &'a mut Tell<'t>,
    ) -> Result<Self, StitchError> {
        let of = indices.len() as u64;
        let read = move |index| read(job, index, labels);
        let mut reading: Reading = Box::pin(stream::iter(indices).map(read).buffered(AHEAD));
        let first = reading.try_next().await?;
        let size = first.as_ref().map(|first| first.pixels.dimensions());
        let size = size.ok_or_else(|| fault("there are no frames"))?;
        tell(&Event::Stitching { done: 0, of });
        Ok(Self { reading, first, size, tell, done: 0, of, told: Instant::now() })
    }

    /// The next one; none after the last.
    ///
    /// # Errors
    /// It cannot be read any more, or has another size.
    pub async fn next(&mut self) -> Result<Option<Picture>, StitchError> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.reading.try_next().await?,
        };
        let Some(picture) = next else { return Ok(None) };
        if picture.pixels.dimensions() != self.size {
            return Err(fault("its frames have different sizes"));
        }
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            (self.tell)(&Event::Stitching { done: self.done, of: self.of });
        }
        self.done += 1;
        Ok(Some(picture))
    }

    /// Says that the film is whole.
    pub fn finish(self) {
        (self.tell)(&Event::Stitching { done: self.of, of: self.of });
    }

    pub fn warn(&mut self, message: String) {
        tracing::warn!(message);
        (self.tell)(&Event::Warning { message });
    }
}

async fn read(job: &OpenJob, index: u64, labels: bool) -> Result<Picture, StitchError> {
    let bytes = job.frames.get(&keys::frame(index)).await?;
    let picture = spawn_blocking(move || {
        let png = bytes?;
        let (info, mut pixels) = frame::decode(&png).ok()?;
        if labels {
            label::write(&mut pixels, &format!("{index}  {}", info.settings.prompt));
        }
        Some(Picture { pixels, png: (!labels).then_some(png) })
    });
    // It was whole a moment ago.
    picture.await?.ok_or_else(|| StitchError::lost(job, vec![index]))
}
