//! Films of drawn frames by the real ffmpeg, looked at and listened to again.

mod pictures;
mod reel;
mod refusing;
mod sound;
