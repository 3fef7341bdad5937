//! Films looked at with ffmpeg's own tools.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::finish;

/// Makes a file with ffmpeg, as a user would beforehand.
pub fn make(arguments: &[&str], file: &Path) {
    let mut made = Command::new("ffmpeg");
    let ran = finish(made.args(["-v", "error", "-y"]).args(arguments).arg(file));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

/// What ffprobe says of a film's pictures, the first of its streams.
pub fn probe(film: &Path) -> Value {
    streams(film).swap_remove(0)
}

/// What ffprobe says of each stream.
pub fn streams(film: &Path) -> Vec<Value> {
    let mut asked = Command::new("ffprobe");
    asked.args(["-v", "error", "-count_frames", "-show_streams", "-of", "json"]).arg(film);
    let ran = finish(&mut asked);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).expect("ffprobe speaks JSON");
    told["streams"].as_array().expect("a film has streams").clone()
}

/// The number of a film's frames, as it was decoded.
pub fn length(film: &Path) -> usize {
    let count = probe(film)["nb_read_frames"].as_str().and_then(|count| count.parse().ok());
    count.expect("a film has frames")
}

/// The film's pictures as ffmpeg decodes them, RGB, each of so many bytes.
pub fn decode(film: &Path, size: usize) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(film)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks(size).map(<[u8]>::to_vec).collect()
}
