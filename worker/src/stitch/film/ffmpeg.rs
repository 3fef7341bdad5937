//! ffmpeg as a process of its own, which has a folder to work in and a pipe for pictures.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::arguments::Recipe;
use super::fault;
use crate::stitch::StitchError;

/// The program, looked for on PATH.
pub(super) const FFMPEG: &str = "ffmpeg";
/// Of ffmpeg's complaints so much is kept.
const COMPLAINT: u64 = 4_000;

/// Whether this machine has ffmpeg.
pub async fn has_ffmpeg() -> bool {
    let mut asked = Command::new(FFMPEG);
    asked.arg("-version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().await.is_ok_and(|status| status.success())
}

/// Makes one black picture into a film, in a folder where a better one may follow.
///
/// # Errors
/// ffmpeg cannot do what the recipe asks for.
pub(super) async fn try_out(recipe: &Recipe<'_>, folder: &Path) -> Result<(), StitchError> {
    let (width, height) = recipe.size;
    let mut running = Running::start(&recipe.of_one(), folder)?;
    running.feed(&vec![0; 3 * width as usize * height as usize]).await;
    running.finish().await
}

/// ffmpeg at work. It is killed when this is dropped.
pub(super) struct Running {
    process: Child,
    input: ChildStdin,
    complaints: JoinHandle<String>,
    fed: io::Result<()>,
}

impl Running {
    /// # Errors
    /// There is no ffmpeg, or it cannot be started.
    pub fn start(recipe: &Recipe<'_>, folder: &Path) -> Result<Self, StitchError> {
        let mut process = Command::new(FFMPEG)
            .args(recipe.arguments())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(no_ffmpeg)?;
        let (Some(input), Some(errors)) = (process.stdin.take(), process.stderr.take()) else {
            return Err(no_pipes());
        };
        Ok(Self { process, input, complaints: listen(errors), fed: Ok(()) })
    }

    /// Hands over a picture; false when no more are taken, for a reason that
    /// [`Running::finish`] finds.
    pub async fn feed(&mut self, pixels: &[u8]) -> bool {
        self.fed = self.input.write_all(pixels).await;
        self.fed.is_ok()
    }

    /// Waits for the film.
    ///
    /// # Errors
    /// ffmpeg failed; in its own words.
    pub async fn finish(self) -> Result<(), StitchError> {
        let Self { mut process, input, complaints, fed } = self;
        drop(input);
        let status = process.wait().await.map_err(StitchError::Film)?;
        let complaint = complaints.await?;
        match fed {
            _ if !status.success() => {
                Err(fault(format!("ffmpeg ended with {status}: {complaint}")))
            }
            // A film of fewer frames a second may be whole before the last picture is read.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(StitchError::Film(error))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn no_ffmpeg(error: io::Error) -> StitchError {
    match error.kind() {
        io::ErrorKind::NotFound => StitchError::NoFfmpeg,
        _ => StitchError::Film(error),
    }
}

pub(super) fn no_pipes() -> StitchError {
    fault("ffmpeg has no pipes")
}

/// Hears to the end what ffmpeg says, so that it never waits, and keeps the beginning.
pub(super) fn listen(mut errors: ChildStderr) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut text = Vec::new();
        let kept = (&mut errors).take(COMPLAINT).read_to_end(&mut text).await;
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        kept.map(|_| String::from_utf8_lossy(&text).trim().to_owned()).unwrap_or_default()
    })
}
