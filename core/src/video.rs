//! The film that is made of an animation's frames: the `[output.video]` table.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::job::FieldError;

/// The tag of workers that have ffmpeg.
pub const FFMPEG_TAG: &str = "ffmpeg";

/// How a film is encoded. Nothing here changes the frames, so a film can be made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Video {
    pub codec: Codec,
    /// Constant rate factor: lower is better and larger. The codec's usual one when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crf: Option<u8>,
    /// ffmpeg's name of a pixel format; one that plays everywhere when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_format: Option<String>,
    /// Frames a second; `animation.fps` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Frames a second after frames in between were made up along the motion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpolate_to: Option<f64>,
    /// How often the film is played within the file, 0 for ever (GIF and WebP only). Once, and
    /// GIF and WebP for ever, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Play it backwards after it was played forwards, so that it ends where it began.
    pub ping_pong: bool,
    /// Write each frame's number and prompt into the picture.
    pub labels: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Codec {
    pub const ALL: [Self; 7] =
        [Self::H264, Self::Hevc, Self::Av1, Self::Vp9, Self::Prores, Self::Gif, Self::Webp];

    /// Where the film lies in storage.
    pub fn key(self) -> &'static str {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 => "out/video.mp4",
            Self::Vp9 => "out/video.webm",
            Self::Prores => "out/video.mov",
            Self::Gif => "out/video.gif",
            Self::Webp => "out/video.webp",
        }
    }

    pub fn needs_ffmpeg(self) -> bool {
        self != Self::Gif
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
            Self::Prores | Self::Gif | Self::Webp => None,
        }
    }
}

/// Rates that players take.
const RATES: std::ops::RangeInclusive<f64> = 0.1..=240.0;
const MAX_REPEAT: u32 = 1_000;

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
        match self.repeat {
            Some(0) if !self.codec.can_loop() => {
                wrong("repeat", "only GIF and WebP can go on for ever".into());
            }
            Some(repeat) if repeat > MAX_REPEAT => {
                wrong("repeat", format!("{repeat} times; at most {MAX_REPEAT}"));
            }
            _ => (),
        }
        errors
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
    }
}
