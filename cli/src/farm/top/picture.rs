//! The newest frame of a job, in whatever way this terminal shows pictures.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use image::DynamicImage;
use ratatui::layout::Size;
use ratatui_image::Resize;
use ratatui_image::picker::Picker;
use tokio::task::spawn_blocking;
use vqfarm_proto::v1::NewestFrameRequest;

use super::event::{Picture, Wish};
use super::link::in_time;
use crate::farm::client::Farm;

/// A picture larger than this, in pixels of a side, is none of ours.
const LARGEST: u32 = 16_384;

/// After so long the picker gives up on a terminal that does not answer.
const UNANSWERED: Duration = Duration::from_secs(2);

/// Fetches frames and makes them ready to be shown.
pub struct Painter {
    picker: Picker,
    frame: Option<Frame>,
    /// What was made ready last.
    painted: Option<(String, String, Size)>,
}

/// A frame as it was fetched.
struct Frame {
    job: String,
    path: String,
    image: DynamicImage,
}

impl Painter {
    /// Asks the terminal what it can: kitty's, iTerm2's or sixel pictures; else there are half
    /// blocks in colour. To be called on the other screen, before keys are read.
    pub fn new() -> Self {
        let asked = Instant::now();
        let picker = Picker::from_query_stdio().unwrap_or_else(|_| Picker::halfblocks());
        if picker.capabilities().is_empty() && asked.elapsed() >= UNANSWERED {
            // As in a tmux that passes no questions on. A thread of the picker still waits and would
            // swallow the first key: it gets the answer to a question that tmux answers itself.
            let mut out = io::stdout();
            let _ = out.write_all(b"\x1b[5n").and_then(|()| out.flush());
        }
        Self { picker, frame: None, painted: None }
    }

    /// The newest frame of the wished job, if there is one that was not shown yet.
    ///
    /// # Errors
    /// The farm does not answer, or the frame is no picture.
    pub async fn newest(
        &mut self,
        farm: &mut Farm,
        wish: &Wish,
    ) -> anyhow::Result<Option<Picture>> {
        let (Some(job), Some(room)) = (&wish.job, wish.room) else { return Ok(None) };
        let known = self.frame.as_ref().filter(|frame| frame.job == *job);
        let have = known.map_or_else(String::new, |frame| frame.path.clone());
        let request = NewestFrameRequest { job: job.clone(), have: have.clone() };
        let answer = in_time(farm.newest_frame(request)).await?;
        if !answer.png.is_empty() {
            let image = spawn_blocking(move || decode(&answer.png)).await??;
            self.frame = Some(Frame { job: job.clone(), path: answer.path, image });
        } else if have.is_empty() {
            return Ok(None);
        }
        let Some(frame) = &self.frame else { return Ok(None) };
        let now = (frame.job.clone(), frame.path.clone(), room);
        if self.painted.as_ref() == Some(&now) {
            return Ok(None);
        }
        let (picker, image) = (self.picker.clone(), frame.image.clone());
        let paint = move || picker.new_protocol(image, room, Resize::Scale(None));
        let shown = spawn_blocking(paint).await?.context("the terminal's pictures")?;
        let (job, path) = (frame.job.clone(), frame.path.clone());
        self.painted = Some(now);
        Ok(Some(Picture { job, path, shown }))
    }
}

fn decode(png: &[u8]) -> anyhow::Result<DynamicImage> {
    let mut reader = image::ImageReader::new(std::io::Cursor::new(png));
    reader.set_format(image::ImageFormat::Png);
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    reader.limits(limits);
    reader.decode().context("the newest frame")
}
