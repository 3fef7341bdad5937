//! A film's soundtrack: a file from a user, which ffmpeg reads under tight rules.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use vqfarm_core::sound::SoundFormat;
use vqfarm_core::video::Video;

use super::ffmpeg::{FFMPEG, listen, no_ffmpeg, no_pipes};
use crate::job::OpenJob;
use crate::stitch::StitchError;

/// What the soundtrack is called in the film's folder, whatever its owner calls it.
const FILE: &str = "soundtrack";
/// The film's end takes so many seconds of a longer sound away.
const FADE: f64 = 0.5;
/// Seconds that are listened to before the film is begun.
const TASTE: f64 = 0.1;

/// A soundtrack in the film's folder.
pub(super) struct Sound {
    format: SoundFormat,
    /// Seconds into the file at which the film begins.
    start: f64,
}

impl Sound {
    /// Puts the job's soundtrack, if it has one, into the folder, and hears whether there is
    /// sound where the film begins.
    ///
    /// # Errors
    /// It is not in storage, nothing that ffmpeg can read, or too short.
    pub async fn fetch(
        job: &OpenJob,
        video: &Video,
        folder: &Path,
    ) -> Result<Option<Self>, StitchError> {
        let Some(key) = &video.soundtrack else { return Ok(None) };
        let bytes = job.asset_bytes(key).await?;
        let format = SoundFormat::of(&bytes)
            .ok_or_else(|| StitchError::Sound(format!("it is none of {}", SoundFormat::NAMES)))?;
        tokio::fs::write(folder.join(FILE), &bytes).await.map_err(StitchError::Film)?;
        let sound = Self { format, start: video.soundtrack_start };
        sound.try_out(folder).await?;
        Ok(Some(sound))
    }

    /// ffmpeg's arguments for the file as an input. The format is the one that was recognised
    /// and nothing but this file is opened, whatever the file says.
    pub fn input(&self) -> [&'static str; 9] {
        let format = match self.format {
            SoundFormat::Mp3 => "mp3",
            SoundFormat::Mp4 => "mov",
            SoundFormat::Ogg => "ogg",
            SoundFormat::Flac => "flac",
            SoundFormat::Wav => "wav",
            SoundFormat::Matroska => "matroska",
        };
        ["-protocol_whitelist", "file", "-vn", "-sn", "-dn", "-f", format, "-i", FILE]
    }

    /// ffmpeg's filters: so many seconds from the start on, with the end faded out.
    pub fn filters(&self, seconds: f64) -> String {
        let fade = FADE.min(seconds / 4.0);
        format!(
            // Sound that begins late in its file stays late.
            "aresample=async=1:first_pts=0,atrim=start={start}:end={end},asetpts=PTS-STARTPTS,\
             afade=t=out:st={fading}:d={fade},\
             aformat=sample_rates=44100|48000:channel_layouts=mono|stereo",
            start = self.start,
            end = self.start + seconds,
            fading = seconds - fade,
        )
    }

    async fn try_out(&self, folder: &Path) -> Result<(), StitchError> {
        let mut process = Command::new(FFMPEG)
            .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
            .args(self.input())
            .args(["-map", "0:a:0", "-af", &self.filters(TASTE), "-f", "s16le", "pipe:1"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(no_ffmpeg)?;
        let (Some(mut sound), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(no_pipes());
        };
        let complaints = listen(errors);
        let heard = tokio::io::copy(&mut sound, &mut tokio::io::sink()).await;
        let heard = heard.map_err(StitchError::Film)?;
        let status = process.wait().await.map_err(StitchError::Film)?;
        let complaint = complaints.await?;
        if !status.success() {
            return Err(StitchError::Sound(format!("ffmpeg says: {complaint}")));
        }
        if heard == 0 {
            let message = format!("it ends before second {}, where the film begins", self.start);
            return Err(StitchError::Sound(message));
        }
        Ok(())
    }
}
