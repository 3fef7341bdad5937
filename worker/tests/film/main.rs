//! Films of drawn frames by the real ffmpeg, looked at and listened to again.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod pictures;
mod reel;
mod refusing;
mod sound;
