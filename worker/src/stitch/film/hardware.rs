//! Whether a film can be encoded on an NVIDIA GPU: where ffmpeg knows the encoder and the
//! encoder works. Cards for computing, as the A100 and H100, have none.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use vqfarm_core::video::Codec;

use super::arguments::Recipe;
use super::ffmpeg::{FFMPEG, try_out};

/// The encoder that shall be used.
///
/// # Errors
/// Why there is none, in words.
pub(super) async fn choose(recipe: &Recipe<'_>, folder: &Path) -> Result<&'static str, String> {
    let asked = Command::new(FFMPEG)
        .args(["-hide_banner", "-encoders"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("ffmpeg cannot be asked for its encoders: {error}"))?;
    let encoder = listed(recipe.video.codec, &String::from_utf8_lossy(&asked.stdout))?;
    let on_gpu = Recipe { nvenc: Some(encoder), ..recipe.of_one() };
    match try_out(&on_gpu, folder).await {
        Ok(()) => Ok(encoder),
        Err(error) => Err(format!("{encoder} does not work here: {error}")),
    }
}

/// The encoder for a codec, if it is in what `ffmpeg -encoders` says.
fn listed(codec: Codec, listing: &str) -> Result<&'static str, String> {
    let encoder = match codec {
        Codec::H264 => "h264_nvenc",
        Codec::Hevc => "hevc_nvenc",
        Codec::Av1 => "av1_nvenc",
        _ => return Err("GPUs have no encoder for this codec".into()),
    };
    // A line is flags, name, description: ` V....D h264_nvenc  NVIDIA NVENC H.264 encoder`.
    let mut names = listing.lines().filter_map(|line| line.split_ascii_whitespace().nth(1));
    match names.any(|name| name == encoder) {
        true => Ok(encoder),
        false => Err(format!("this ffmpeg has no {encoder}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "Encoders:
 V..... = Video
 ------
 V....D libx264              libx264 H.264 / AVC (codec h264)
 V....D h264_nvenc           NVIDIA NVENC H.264 encoder (codec h264)
 V....D my_av1_nvenc         not the av1_nvenc that is meant
 A..... aac                  AAC (Advanced Audio Coding)
";

    #[test]
    fn only_an_encoder_that_ffmpeg_lists_is_tried() {
        assert_eq!(listed(Codec::H264, LISTING), Ok("h264_nvenc"));
        for (codec, name) in [(Codec::Hevc, "hevc_nvenc"), (Codec::Av1, "av1_nvenc")] {
            assert_eq!(listed(codec, LISTING), Err(format!("this ffmpeg has no {name}")));
        }
        assert!(listed(Codec::H264, "").is_err());
        assert!(listed(Codec::Vp9, LISTING).is_err());
    }
}
