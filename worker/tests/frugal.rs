//! With little memory a picture is made in another way, and is the same: with less by estimate, and
//! after libtorch was refused memory for real.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

/// What became of a render.
struct Ran {
    status: Option<i32>,
    /// Events, one a line.
    told: String,
    log: String,
    /// Frames by their names.
    frames: BTreeMap<String, Vec<u8>>,
}

impl Ran {
    /// How often a batch was begun in this way.
    fn begun(&self, way: &str) -> usize {
        let begun = self.log.lines().filter(|line| line.contains("computing"));
        begun.filter(|line| line.contains(way)).count()
    }
}

/// Renders `cells` pictures of this side, under a limit that the shell knows.
fn render(out: &Path, limit: &str, cells: u32, side: u32, flags: &[&str]) -> Ran {
    let job = json!({
        "version": 1,
        "name": "small",
        "render": {
            "generator": "demo-f8",
            "perceptors": ["demo-clip"],
            "prompt": "a red sun over the sea",
            "size": [side, side],
            "iterations": 1,
            "cutouts": { "count": 2 },
        },
        "sweep": { "axes": { "seed": format!("1-{cells}") } },
    });
    let script = format!("{limit}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_vqfarm-worker")]);
    command.args(["render", "--device", "cpu", "--threads", "1", "--models", "/nonexistent"]);
    command.arg("--out").arg(out).args(flags);
    // Threads that wait for each other sleep: other programs may be running.
    command.env("RUST_LOG", "vqfarm_worker=debug").env("GOMP_SPINCOUNT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    writeln!(running.stdin.take().unwrap(), "{job}").unwrap();
    let output = running.wait_with_output().unwrap();
    let read = |file: fs::DirEntry| {
        (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())
    };
    let frames = fs::read_dir(out.join("frames")).into_iter().flatten();
    Ran {
        status: output.status.code(),
        told: String::from_utf8(output.stdout).unwrap(),
        log: String::from_utf8(output.stderr).unwrap(),
        frames: frames.map(|file| read(file.unwrap())).collect(),
    }
}

const WHOLE: &str = "all at once";
const FRUGAL: &str = "decoder checkpointed";

#[test]
fn with_less_memory_by_estimate_the_pictures_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let plenty = render(&folder.path().join("plenty"), ":", 2, 64, &[]);
    let little = render(&folder.path().join("little"), ":", 2, 64, &["--memory", "1 MB"]);
    for ran in [&plenty, &little] {
        assert_eq!(ran.status, Some(0), "{} {}", ran.told, ran.log);
        assert_eq!(ran.frames.len(), 2);
    }
    assert_eq!((plenty.begun(WHOLE), plenty.begun(FRUGAL)), (2, 0), "{}", plenty.log);
    assert_eq!((little.begun(WHOLE), little.begun(FRUGAL)), (0, 2), "{}", little.log);
    assert!(plenty.frames == little.frames, "to the bit");
}

#[test]
fn a_picture_that_was_refused_memory_is_made_frugally_and_so_are_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let plenty = render(&folder.path().join("plenty"), ":", 2, SIDE, &[]);
    assert_eq!((plenty.status, plenty.begun(FRUGAL)), (Some(0), 0), "{}", plenty.log);
    let limit = format!("ulimit -v {LIMIT_KIB}");
    let limited = render(&folder.path().join("limited"), &limit, 2, SIDE, &[]);
    assert_eq!(limited.status, Some(0), "{} {}", limited.told, limited.log);
    // The fault has happened: libtorch was refused memory, once.
    let refused = limited.log.matches("DefaultCPUAllocator: can't allocate memory").count();
    assert_eq!(refused, 1, "{}", limited.log);
    let (whole, frugal) = (limited.begun(WHOLE), limited.begun(FRUGAL));
    assert!(frugal >= 1 && whole + frugal == 3, "{whole} {frugal}: {}", limited.log);
    assert_eq!(limited.told.matches("were too much").count(), 1, "said once: {}", limited.told);
    assert!(plenty.frames == limited.frames, "to the bit");
}

/// A picture for which the limit, of address space with libtorch's own, is too little when all is
/// kept (that took 2,450,000 to 2,480,000 KiB), and enough for it frugally (1,800,000 to 1,890,000).
/// In between there must be room: how the heap is cut up differs from run to run.
const SIDE: u32 = 640;
const LIMIT_KIB: u64 = 2_250_000;
