//! Where things lie in storage. Every key of the farm is made here.
//!
//! A job's keys are relative to the job's root: `jobs/<job>/` on a farm, the `--out` folder
//! of a standalone render.

use crate::id::{JobId, ModelName};

/// The root of a job on a farm: everything of the job lies under it.
pub fn job_root(job: JobId) -> String {
    format!("jobs/{job}")
}

/// The resolved spec and all that is needed to do the job again ([`crate::record::JobRecord`]).
pub const JOB_RECORD: &str = "job.json";

/// What an operator decided about a job ([`crate::record::JobControl`]), for a farm whose queue
/// has lost its memory.
pub const JOB_CONTROL: &str = "control.json";

/// The folder of what was told of a job's ends, an object for each attempt.
pub const NOTIFIED: &str = "notified";

/// The folder of those who are told when jobs end. Relative to the farm's root.
pub const TARGETS: &str = "notify";

/// One who is told, by the hexadecimal digits that name it. Relative to the farm's root.
pub fn target(key: &str) -> String {
    format!("{TARGETS}/{key}.json")
}

/// What a worker logged of one attempt at a task.
pub fn log(layer: &str, index: u64, attempt: u32) -> String {
    format!("{LOGS}/{layer}/{index:06}.{attempt}.log")
}

/// The folder of a job's frames.
pub const FRAMES: &str = "frames";

/// A cell of a sweep or a frame of an animation.
pub fn frame(index: u64) -> String {
    format!("frames/{index:06}.png")
}

/// The frame's number, when `file` is the name of a frame's file (`000012.png`).
pub fn frame_index(file: &str) -> Option<u64> {
    work_index(file, "png")
}

/// The folder of what workers logged.
pub const LOGS: &str = "logs";

/// The folder of what layers hand to one another.
pub const WORK: &str = "work";

/// What one layer hands to the next.
pub fn work(layer: &str, index: u64, extension: &str) -> String {
    format!("{}/{index:06}.{extension}", work_folder(layer))
}

/// The folder of what one layer hands to the next.
pub fn work_folder(layer: &str) -> String {
    format!("{WORK}/{layer}")
}

/// The number, when `file` is the name of what a layer hands on (`000012.png`).
pub fn work_index(file: &str, extension: &str) -> Option<u64> {
    let digits = file.strip_suffix(extension)?.strip_suffix('.')?;
    let index = digits.parse().ok()?;
    (format!("{index:06}") == digits).then_some(index)
}

/// A cell that somebody chose to render to its end.
pub fn keep(cell: u64) -> String {
    format!("{KEEP}/{cell:06}")
}

/// The folder of such choices.
pub const KEEP: &str = "keep";

/// The cell, when `file` is the name of such a choice (`000012`).
pub fn keep_index(file: &str) -> Option<u64> {
    let index = file.parse().ok()?;
    (format!("{index:06}") == file).then_some(index)
}

/// A file that the job refers to, named by its contents: the same job says the same wherever it
/// is stored.
pub fn asset(sha256: &str, extension: &str) -> String {
    format!("{ASSETS}/{sha256}.{extension}")
}

/// The folder of such files.
pub const ASSETS: &str = "assets";

/// Whether `path` can be that of a file that a job shows to its users: its record, what it
/// refers to, a frame or an output.
pub fn is_file(path: &str) -> bool {
    let plain = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        !name.starts_with('.') && !name.is_empty() && name.bytes().all(allowed)
    };
    match path.split_once('/') {
        None => path == JOB_RECORD,
        Some((FRAMES, name)) => frame_index(name).is_some(),
        Some((folder, name)) => [ASSETS, OUTPUTS].contains(&folder) && plain(name),
    }
}

/// The folder of what is made of the frames.
pub const OUTPUTS: &str = "out";

/// Overview of all cells as one picture, the first page of it ([`contact_sheet`]).
pub const CONTACT_SHEET: &str = "out/contact-sheet.png";
/// Overview of all cells as a page.
pub const GALLERY: &str = "out/index.html";
/// One line a cell.
pub const SCORES: &str = "out/scores.csv";

/// A page of the contact sheet, from 0: `out/contact-sheet.png`, `out/contact-sheet-2.png`, ….
pub fn contact_sheet(page: usize) -> String {
    match page {
        0 => CONTACT_SHEET.to_owned(),
        page => format!("out/contact-sheet-{}.png", page + 1),
    }
}

/// The page's number from 0, when `file` is the name of a contact sheet's page.
pub fn contact_sheet_page(file: &str) -> Option<usize> {
    let digits = file.strip_prefix("contact-sheet")?.strip_suffix(".png")?;
    let page = match digits.strip_prefix('-') {
        None => 0,
        Some(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
    };
    contact_sheet(page).ends_with(&format!("/{file}")).then_some(page)
}

/// Which weights a farm means by a model's name. Relative to the farm's root.
pub fn model_name(name: &ModelName) -> String {
    format!("{MODEL_NAMES}/{name}.json")
}

/// The folder of all weights and names. Relative to the farm's root.
pub const MODELS: &str = "models";

/// The folder of the models' names. Relative to the farm's root.
pub const MODEL_NAMES: &str = "models/names";

/// Converted weights, fetched once a worker. Relative to the farm's root.
pub fn model(sha256: &str) -> String {
    format!("{MODELS}/{sha256}.safetensors")
}

/// The hash, when `key` is that of weights.
pub fn model_hash(key: &str) -> Option<&str> {
    let hash = key.strip_prefix(MODELS)?.strip_prefix('/')?.strip_suffix(".safetensors")?;
    (!hash.contains('/')).then_some(hash)
}

/// Where a picture of this identity is stored ([`crate::record::CellRecord`]). Relative to the farm's
/// root.
pub fn cell(identity: &str) -> String {
    // Folders of millions of files are slow to look into.
    format!("{CELLS}/{}/{identity}.json", identity.get(..2).unwrap_or(identity))
}

/// The folder of where pictures are stored. Relative to the farm's root.
pub const CELLS: &str = "cells";

/// A frame of the job that a folder held before, under its picture's identity.
pub fn kept_cell(identity: &str) -> String {
    format!("{KEPT_CELLS}/{identity}.png")
}

/// The folder of such frames.
pub const KEPT_CELLS: &str = "cells";

/// Where a frame was taken over from, of a farm's job that did not render it
/// ([`crate::record::CellRecord`]).
pub fn taken(index: u64) -> String {
    format!("{TAKEN}/{index:06}.json")
}

/// The folder of such records.
pub const TAKEN: &str = "taken";

/// The folder of what was measured of pictures of one workload ([`crate::speed::Workload`]).
/// Relative to the farm's root, or to the folder of this machine's models.
pub fn speeds(workload: &str) -> String {
    format!("speeds/{workload}")
}

/// What was measured of pictures of a size, in the folder of their workload.
pub fn speed(folder: &str, [width, height]: [u32; 2]) -> String {
    format!("{folder}/{width}x{height}.json")
}

/// The size, when `file` is the name of such a file (`512x384.json`).
pub fn speed_size(file: &str) -> Option<[u32; 2]> {
    let (width, height) = file.strip_suffix(".json")?.split_once('x')?;
    let size = [width.parse().ok()?, height.parse().ok()?];
    (!size.contains(&0)).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        let key = speed(&speeds("ab"), [512, 384]);
        assert_eq!(key, "speeds/ab/512x384.json");
        assert_eq!(speed_size(key.rsplit('/').next().unwrap()), Some([512, 384]));
        for not_ours in ["0x5.json", "5x.json", "5x5", "x.json", "-1x5.json"] {
            assert_eq!(speed_size(not_ours), None, "{not_ours}");
        }
    }

    #[test]
    fn weights_are_told_from_names() {
        assert_eq!(model_hash(&model("ab")), Some("ab"));
        for other in ["models/names/x.json", "models/names/x.safetensors", "cells/ab.safetensors"] {
            assert_eq!(model_hash(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_job_s_own_files_are_shown() {
        for path in ["job.json", "frames/000012.png", "out/video.mp4", "assets/ab12.png"] {
            assert!(is_file(path), "{path}");
        }
        for path in [
            "",
            "job.json/",
            "control.json",
            "frames",
            "frames/",
            "frames/12.png",
            "out/",
            "frames/../job.json",
            "out/..",
            "out/../../x",
            "out/.hidden",
            "out/a/b",
            "/job.json",
            "logs/render/000000.1.log",
            "work/a/000000.png",
            "out/a%2fb",
            "out/a b",
            "out/\\x",
        ] {
            assert!(!is_file(path), "{path}");
        }
    }

    #[test]
    fn names_sort_and_read_back() {
        assert_eq!(frame(12), "frames/000012.png");
        for index in [0, 999_999, 1_000_000, 10_000_000] {
            let key = frame(index);
            assert_eq!(frame_index(key.rsplit('/').next().unwrap()), Some(index));
        }
        for page in [0, 1, 41] {
            let key = contact_sheet(page);
            assert_eq!(contact_sheet_page(key.rsplit('/').next().unwrap()), Some(page));
        }
        for not_ours in ["contact-sheet-1.png", "contact-sheet-02.png", "contact-sheet2.png", "x"] {
            assert_eq!(contact_sheet_page(not_ours), None, "{not_ours}");
        }
        for not_ours in ["12.png", "+00012.png", "000012.jpg", "0000012.png", "x.png"] {
            assert_eq!(frame_index(not_ours), None, "{not_ours}");
        }
    }
}
