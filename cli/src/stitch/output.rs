//! Other output settings for a job that is there.

use anyhow::Context;
use clap::Args;
use clap_complete::ArgValueCompleter;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::job::Job;
use vqfarm_core::record::JobRecord;
use vqfarm_core::video::Codec;

use crate::complete;
use crate::failure::Failure;

/// What shall be otherwise.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Frames a second of the film
    #[arg(long, value_name = "N")]
    fps: Option<f64>,

    /// How the film is encoded: h264, hevc, av1, vp9, prores, gif, webp or png; crf and pixel
    /// format are then that codec's own, unless given here, and the sound goes where it has none
    #[arg(long, value_name = "CODEC")]
    codec: Option<String>,

    /// Quality of the film: lower is better and larger
    #[arg(long, value_name = "N")]
    crf: Option<u8>,

    /// Set any field of [output], as in output.video.labels=true or
    /// output.contact_sheet.rows=style; may be given more than once
    #[arg(long, value_name = "FIELD=VALUE", add = ArgValueCompleter::new(complete::output_settings))]
    set: Vec<String>,
}

impl OutputArgs {
    /// The record's job with these outputs, checked as at its submit.
    ///
    /// # Errors
    /// A field is not one of `[output]`, or its value is refused; the message names the flag.
    pub fn apply(&self, record: &JobRecord) -> Result<Job, Failure> {
        self.check(record)?;
        let mut job = record.spec.clone();
        let video = &mut job.output.video;
        if self.codec.is_some() {
            // They were meant for the codec that was.
            (video.crf, video.pixel_format) = (None, None);
        }
        let codec = self.codec.as_ref().map(|name| serde_json::Value::from(name.as_str()));
        let codec: Option<Codec> = codec.and_then(|name| serde_json::from_value(name).ok());
        if codec == Some(Codec::Gif) {
            // Nobody makes frames up for a GIF.
            video.interpolate_to = None;
        }
        if codec.is_some_and(|codec| !codec.has_sound()) {
            (video.soundtrack, video.soundtrack_start) = (None, 0.0);
        }
        video.hardware &= codec.is_none_or(Codec::has_hardware);
        let json = serde_json::to_vec(&job).context("cannot write the job as JSON")?;
        let refused = Failure::job;
        let mut document = Document::parse("job.json", &json).map_err(refused)?;
        if let Some(codec) = &self.codec {
            let flag = format!("--codec {codec}");
            document.set_text(&flag, "output.video.codec", codec).map_err(refused)?;
        }
        let fps = self.fps.map(|fps| format!("output.video.fps={fps}"));
        let crf = self.crf.map(|crf| format!("output.video.crf={crf}"));
        for assignment in fps.iter().chain(&crf).chain(&self.set) {
            document.set(assignment).map_err(refused)?;
        }
        // It has been taken as large as it is.
        let limits = Limits { cells: u64::MAX };
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        document.job(limits, no_files).map_err(refused)
    }

    /// Refuses what would change more than outputs, or another kind of them.
    fn check(&self, record: &JobRecord) -> Result<(), Failure> {
        if let Some(set) = self.set.iter().find(|set| !set.trim_start().starts_with("output.")) {
            let message = format!(
                "--set {set}: only fields of [output] can be changed here; what changes frames is \
                 another job"
            );
            return Err(Failure::Usage(message));
        }
        let film = record.spec.animation.is_some();
        let of_films = [
            ("--fps", self.fps.is_some()),
            ("--codec", self.codec.is_some()),
            ("--crf", self.crf.is_some()),
        ];
        match of_films.iter().find(|(_, given)| *given && !film) {
            Some((flag, _)) => Err(Failure::Usage(format!(
                "{flag}: {:?} has no film; its contact sheet takes \
                 --set output.contact_sheet.rows=AXIS and columns",
                record.spec.name.as_str()
            ))),
            None => Ok(()),
        }
    }
}
