//! The film that is made of an animation's frames: the `[output.video]` table.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::path_stays;
use crate::job::FieldError;

/// The tag of workers that have ffmpeg.
pub const FFMPEG_TAG: &str = "ffmpeg";

/// How a film is encoded. Nothing here changes the frames, so a film can be made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Video {
    /// What the film is encoded as.
    pub codec: Codec,
    /// Constant rate factor: lower is better and larger. The codec's usual one when left out. H.264 and
    /// HEVC go to 51, AV1 and VP9 to 63; the others have none.
    #[schemars(range(max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crf: Option<u8>,
    /// ffmpeg's name of a pixel format; one that plays everywhere when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_format: Option<String>,
    /// Frames a second; `animation.fps` when left out.
    #[schemars(range(min = *RATES.start(), max = *RATES.end()))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Frames a second after frames in between were made up along the motion.
    #[schemars(range(min = *RATES.start(), max = *RATES.end()))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolate_to: Option<f64>,
    /// How often the film is played within the file, 0 for ever (GIF and WebP only). Once, and
    /// GIF and WebP for ever, when left out.
    #[schemars(range(max = MAX_REPEAT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Play it backwards after it was played forwards, so that it ends where it began.
    pub ping_pong: bool,
    /// Write each frame's number and prompt into the picture.
    pub labels: bool,
    /// A sound file, heard from the film's beginning to its end or the sound's. In a job file a
    /// path beside it; a resolved job has the stored copy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soundtrack: Option<String>,
    /// Seconds into the soundtrack at which the film begins.
    #[schemars(range(min = 0, max = MAX_START))]
    pub soundtrack_start: f64,
    /// Encode on an NVIDIA GPU where the worker can (H.264, HEVC, AV1). Off, because then the
    /// same frames give the same file, and a better one of its size.
    pub hardware: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 in MP4: plays everywhere.
    #[default]
    H264,
    /// H.265 in MP4.
    Hevc,
    /// AV1 in MP4.
    Av1,
    /// VP9 in WebM.
    Vp9,
    /// ProRes 422 HQ in QuickTime, for cutting.
    Prores,
    /// Needs no ffmpeg.
    Gif,
    Webp,
    /// Numbered PNGs in one ZIP, as they are stored. Needs no ffmpeg but for frames in between.
    Png,
}

impl Codec {
    pub const ALL: [Self; 8] = [
        Self::H264,
        Self::Hevc,
        Self::Av1,
        Self::Vp9,
        Self::Prores,
        Self::Gif,
        Self::Webp,
        Self::Png,
    ];

    /// Where the film lies in storage.
    pub fn key(self) -> &'static str {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 => "out/video.mp4",
            Self::Vp9 => "out/video.webm",
            Self::Prores => "out/video.mov",
            Self::Gif => "out/video.gif",
            Self::Webp => "out/video.webp",
            Self::Png => "out/frames.zip",
        }
    }

    /// Whether there is room for sound beside the pictures.
    pub fn has_sound(self) -> bool {
        !matches!(self, Self::Gif | Self::Webp | Self::Png)
    }

    /// Whether NVIDIA's GPUs have an encoder for it.
    pub fn has_hardware(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc | Self::Av1)
    }

    /// Whether the format itself can say that it is played again and again.
    pub fn can_loop(self) -> bool {
        matches!(self, Self::Gif | Self::Webp)
    }

    /// The largest `crf`; none where there is no such number.
    fn most_crf(self) -> Option<u8> {
        match self {
            Self::H264 | Self::Hevc => Some(51),
            Self::Av1 | Self::Vp9 => Some(63),
            Self::Prores | Self::Gif | Self::Webp | Self::Png => None,
        }
    }
}

/// Rates that players take.
const RATES: std::ops::RangeInclusive<f64> = 0.1..=240.0;
const MAX_REPEAT: u32 = 1_000;
/// Seconds: a day.
const MAX_START: f64 = 86_400.0;

impl Video {
    /// Everything that is wrong; fields are named from `output.video` on.
    pub(crate) fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| {
            errors.push(FieldError::new(format!("output.video.{field}"), message));
        };
        for (field, rate) in [("fps", self.fps), ("interpolate_to", self.interpolate_to)] {
            if let Some(rate) = rate.filter(|rate| !RATES.contains(rate)) {
                let (least, most) = (RATES.start(), RATES.end());
                wrong(field, format!("{rate} is out of range; it must be from {least} to {most}"));
            }
        }
        if self.interpolate_to.is_some() && self.codec == Codec::Gif {
            wrong("interpolate_to", "frames in between are made by ffmpeg, GIFs are not".into());
        }
        match (self.crf, self.codec.most_crf()) {
            (Some(_), None) => wrong("crf", "this codec takes no crf; leave it out".into()),
            (Some(crf), Some(most)) if crf > most => {
                wrong("crf", format!("{crf} is out of range; it must be from 0 to {most}"));
            }
            _ => (),
        }
        let plain = |text: &String| {
            !text.is_empty() && text.len() < 32 && text.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if self.pixel_format.as_ref().is_some_and(|text| !plain(text)) {
            wrong("pixel_format", "write ffmpeg's name of a pixel format, as yuv420p".into());
        }
        if self.pixel_format.is_some() && matches!(self.codec, Codec::Gif | Codec::Png) {
            wrong("pixel_format", "this codec has one of its own; leave it out".into());
        }
        match self.repeat {
            Some(0) if !self.codec.can_loop() => {
                wrong("repeat", "only GIF and WebP can go on for ever".into());
            }
            Some(repeat) if repeat > MAX_REPEAT => {
                wrong("repeat", format!("{repeat} times; at most {MAX_REPEAT}"));
            }
            _ => (),
        }
        match &self.soundtrack {
            Some(path) if !path_stays(path) => {
                let rule = "use a relative path without `..`";
                wrong("soundtrack", format!("{path:?} leads away from the job file; {rule}"));
            }
            Some(_) if !self.codec.has_sound() => {
                let message = "GIF, WebP and PNG have no sound; take another codec or leave it out";
                wrong("soundtrack", message.into());
            }
            None if self.soundtrack_start != 0.0 => {
                wrong(
                    "soundtrack_start",
                    "there is no soundtrack; name one or leave it out".into(),
                );
            }
            _ => (),
        }
        if !(0.0..=MAX_START).contains(&self.soundtrack_start) {
            let start = self.soundtrack_start;
            let message =
                format!("{start} is out of range; it must be from 0 to {MAX_START} seconds");
            wrong("soundtrack_start", message);
        }
        if self.hardware && !self.codec.has_hardware() {
            let message = "GPUs encode h264, hevc and av1; take one of them or leave it out";
            wrong("hardware", message.into());
        }
        errors
    }

    /// Whether it takes ffmpeg to make the film.
    pub fn needs_ffmpeg(&self) -> bool {
        match self.codec {
            Codec::Gif => false,
            Codec::Png => self.interpolate_to.is_some(),
            _ => true,
        }
    }

    /// How many frames the film has when it shows `shown` of the job's at `fps` a second. However
    /// many are made up in between, it lasts as long.
    pub fn length(&self, shown: u64, fps: f64) -> u64 {
        match self.interpolate_to {
            Some(rate) => ((shown as f64 * rate / fps).round() as u64).max(1),
            None => shown,
        }
    }

    /// The frames in the order in which they are shown, of `count` that there are.
    pub fn order(&self, count: u64) -> Vec<u64> {
        let mut once: Vec<u64> = (0..count).collect();
        if self.ping_pong && count > 2 {
            once.extend((1..count - 1).rev());
        }
        let times = if self.codec.can_loop() { 1 } else { self.repeat.unwrap_or(1) };
        once.repeat(times as usize)
    }
}

/// The film of the frames that are there, each until the next one's time, so that what is there
/// is seen when it shall be. It begins with the first of them and ends with the last.
pub fn held(there: &BTreeSet<u64>) -> Vec<u64> {
    let ends = there.iter().skip(1).copied().chain(there.last().map(|last| last + 1));
    let times = there.iter().zip(ends).map(|(&frame, end)| (frame, (end - frame) as usize));
    times.flat_map(|(frame, times)| std::iter::repeat_n(frame, times)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_held_until_the_next_one_that_is_there() {
        assert_eq!(held(&[2, 3, 6, 7].into()), [2, 3, 3, 3, 6, 7]);
        assert_eq!(held(&(0..4).collect()), [0, 1, 2, 3]);
        assert!(held(&BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_film_may_go_back_and_be_repeated() {
        let film = Video { ping_pong: true, repeat: Some(2), ..Video::default() };
        assert_eq!(film.order(4), [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(film.order(1), [0, 0]);
        let gif = Video { codec: Codec::Gif, repeat: Some(0), ..Video::default() };
        assert_eq!(gif.order(2), [0, 1]);
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let fields = |video: &Video| -> Vec<String> {
            video.check().into_iter().map(|error| error.field).collect()
        };
        assert!(fields(&Video::default()).is_empty());
        let bad = Video {
            crf: Some(80),
            pixel_format: Some("yuv420p -y /etc/passwd".into()),
            fps: Some(0.0),
            repeat: Some(0),
            ..Video::default()
        };
        let all = ["fps", "crf", "pixel_format", "repeat"];
        assert_eq!(fields(&bad), all.map(|field| format!("output.video.{field}")));
        let gif = Video { codec: Codec::Gif, crf: Some(3), interpolate_to: Some(60.0), ..bad };
        assert!(fields(&gif).iter().any(|field| field.ends_with("interpolate_to")));
        let png = Codec::Png;
        let png = Video { codec: png, pixel_format: Some("rgb24".into()), ..Video::default() };
        assert_eq!(fields(&png), ["output.video.pixel_format"]);
        for codec in Codec::ALL {
            let gpu = Video { codec, hardware: true, ..Video::default() };
            let refused = !["h264", "hevc", "av1"].contains(&name(codec).as_str());
            assert_eq!(fields(&gpu) == ["output.video.hardware"], refused, "{codec:?}");
        }
    }

    #[test]
    fn sound_needs_a_file_beside_the_job_and_a_container_with_room() {
        let refused = |codec: Codec, path: Option<&str>, start: f64| -> Vec<String> {
            let soundtrack = path.map(str::to_owned);
            let video = Video { codec, soundtrack, soundtrack_start: start, ..Video::default() };
            video.check().iter().map(ToString::to_string).collect()
        };
        for codec in Codec::ALL {
            let silent = ["gif", "webp", "png"].contains(&name(codec).as_str());
            let told = refused(codec, Some("sound/a song.mp3"), 12.5);
            assert_eq!(told.is_empty(), !silent, "{told:?}");
            assert!(told.iter().all(|told| told.starts_with("output.video.soundtrack: ")));
        }
        for path in ["/etc/passwd", "../song.mp3", "http://host/song.mp3", "a/../../b", ""] {
            let told = refused(Codec::H264, Some(path), 0.0);
            assert!(told[0].contains("leads away"), "{path}: {told:?}");
        }
        for start in [-1.0, f64::NAN, f64::INFINITY, 1e6] {
            let told = refused(Codec::H264, Some("song.mp3"), start);
            assert!(told[0].starts_with("output.video.soundtrack_start: "), "{told:?}");
        }
        assert!(refused(Codec::H264, None, 3.0)[0].contains("there is no soundtrack"));
    }

    #[test]
    fn frames_in_between_make_a_film_no_longer() {
        let film = |interpolate_to| Video { interpolate_to, ..Video::default() };
        assert_eq!(film(None).length(12, 6.0), 12);
        assert_eq!(film(Some(24.0)).length(12, 6.0), 48);
        assert_eq!(film(Some(7.3)).length(12, 6.0), 15);
        assert_eq!(film(Some(0.1)).length(12, 6.0), 1);
        let png = |interpolate_to| Video { codec: Codec::Png, ..film(interpolate_to) };
        assert!(!png(None).needs_ffmpeg() && png(Some(24.0)).needs_ffmpeg());
    }

    fn name(codec: Codec) -> String {
        let name = serde_json::to_value(codec).unwrap();
        name.as_str().unwrap().to_owned()
    }
}
