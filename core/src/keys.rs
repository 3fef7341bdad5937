//! Where things lie in storage. Every key of the farm is made here.

use crate::id::JobId;

/// Everything of one job lies under this prefix.
pub fn job_prefix(job: JobId) -> String {
    format!("jobs/{job}")
}

/// The resolved spec and all that is needed to do the job again ([`crate::record::JobRecord`]).
pub fn job_record(job: JobId) -> String {
    format!("jobs/{job}/job.json")
}

/// The prefix of a job's frames.
pub fn frames(job: JobId) -> String {
    format!("jobs/{job}/frames")
}

/// A cell of a sweep or a frame of an animation.
pub fn frame(job: JobId, index: u64) -> String {
    format!("jobs/{job}/frames/{index:06}.png")
}

/// The frame's number, when `file` is the name of a frame's file (`000012.png`).
pub fn frame_index(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".png")?;
    let index = digits.parse().ok()?;
    (format!("{index:06}") == digits).then_some(index)
}

/// What one layer hands to the next.
pub fn work(job: JobId, layer: &str, index: u64, extension: &str) -> String {
    format!("jobs/{job}/work/{layer}/{index:06}.{extension}")
}

/// A picture that the job refers to, named by its contents.
pub fn asset(job: JobId, sha256: &str, extension: &str) -> String {
    format!("jobs/{job}/assets/{sha256}.{extension}")
}

/// A finished output.
pub fn out(job: JobId, file: &str) -> String {
    format!("jobs/{job}/out/{file}")
}

pub const CONTACT_SHEET: &str = "contact-sheet.png";
pub const GALLERY: &str = "index.html";
pub const SCORES: &str = "scores.csv";

/// Converted weights, fetched once a worker.
pub fn model(sha256: &str) -> String {
    format!("models/{sha256}.safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_sort_and_read_back() {
        let job = JobId::from_u128(7);
        assert_eq!(frame(job, 12), format!("jobs/{job}/frames/000012.png"));
        for index in [0, 999_999, 1_000_000, 10_000_000] {
            let key = frame(job, index);
            assert_eq!(frame_index(key.rsplit('/').next().unwrap()), Some(index));
        }
        for not_ours in ["12.png", "+00012.png", "000012.jpg", "0000012.png", "x.png"] {
            assert_eq!(frame_index(not_ours), None, "{not_ours}");
        }
    }
}
