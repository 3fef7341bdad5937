//! The harness of the whole-system tests: the real programs, tiny models, folders that vanish.

pub mod browser;
pub mod collector;
pub mod farm;
pub mod film;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use vqfarm_core::event::{Event, Summary};

/// A small sweep of 12 cells for the tiny models.
pub const SWEEP: &str = r#"
version = 1
name = "tiny sweep"

[render]
size = [32, 32]
iterations = 8
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = { count = 2 }

[sweep]
prompt = "a {colour} {thing}"
[sweep.axes]
colour = ["red", "blue", "green"]
thing = ["sun", "tree"]
seed = "1-2"
"#;

/// The cells of [`SWEEP`].
pub const CELLS: usize = 12;

/// A program of this workspace: beside the running test, or in the folder `$VQFARM_PROGRAMS`.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let beside = test.parent().and_then(Path::parent).expect("tests lie in target/…/deps");
    let folder = std::env::var_os("VQFARM_PROGRAMS").map_or(beside.to_owned(), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built; `make test` builds it, or: cargo build --workspace [--release]",
        path.display()
    );
    path
}

/// A fixture of the engine's, from the repository.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures").join(name)
}

/// The fixtures' tiny CLIP, with a token table long enough for CLIP's own vocabulary: the
/// fixture's rows over and over.
fn tiny_clip() -> Vec<u8> {
    const TABLE: &str = "module.token_embedding.weight";
    const VOCABULARY: usize = 49_408;
    let file = fs::read(fixture("files/clip_vit.open_clip.safetensors")).expect("the fixture");
    let tensors = SafeTensors::deserialize(&file).expect("the fixture is safetensors");
    let table = tensors.tensor(TABLE).expect("the fixture has a token table");
    let (width, row) = (table.shape()[1], table.data().len() / table.shape()[0]);
    let bytes: Vec<u8> = table.data().iter().copied().cycle().take(VOCABULARY * row).collect();
    let table = TensorView::new(table.dtype(), vec![VOCABULARY, width], &bytes);
    let table = table.expect("the table's size is right");
    let rest = tensors.tensors().into_iter().filter(|(name, _)| name != TABLE);
    let all = rest.chain([(TABLE.to_owned(), table)]);
    safetensors::serialize(all, None).expect("tensors can be written")
}

/// A folder of its own with a library of tiny models and a job file.
pub struct Bench {
    folder: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    /// With `job` as `job.toml` and the tiny models imported.
    pub fn new(job: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::write(bench.path("job.toml"), job).expect("the job file is written");
        let files = fixture("files");
        bench.import("tiny-f4", &files.join("vqgan_vq_f4.lightning.ckpt"), |import| {
            import.arg("--config").arg(files.join("vqgan_vq_f4.yaml"))
        });
        let clip = bench.path("clip.safetensors");
        fs::write(&clip, tiny_clip()).expect("the model is written");
        bench.import("tiny-clip", &clip, |import| import);
        bench
    }

    fn import(&self, name: &str, file: &Path, more: impl FnOnce(&mut Command) -> &mut Command) {
        let mut import = self.vqfarm(&["models", "import", "--name", name]);
        let ran = finish(more(import.arg(file)));
        assert_eq!(ran.status, 0, "{ran:?}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, run in this folder and in a process group of its own.
    pub fn vqfarm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("vqfarm"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("VQFARM_MODELS", self.path("models"))
            .env("VQFARM_DEVICE", "cpu")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs `vqfarm render` to its end.
    pub fn render(&self, arguments: &[&str]) -> Ran {
        finish(self.vqfarm(&["render"]).args(arguments))
    }

    /// Starts `vqfarm render --json`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.vqfarm(&["render", "--json"]);
        Running::start(command.args(arguments))
    }

    /// The stored frames of an output folder: name, bytes, time of the last change.
    pub fn frames(&self, out: &str) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
        let Ok(folder) = fs::read_dir(self.path(out).join("frames")) else {
            return BTreeMap::new();
        };
        folder
            .map(|file| file.expect("a readable folder"))
            .map(|file| (file.file_name().to_string_lossy().into_owned(), file.path()))
            .filter(|(name, _)| name.ends_with(".png"))
            .map(|(name, path)| {
                let changed = fs::metadata(&path).and_then(|m| m.modified()).expect("a file");
                (name, (fs::read(&path).expect("a readable frame"), changed))
            })
            .collect()
    }

    /// The bytes alone.
    pub fn pictures(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        self.frames(out).into_iter().map(|(name, (bytes, _))| (name, bytes)).collect()
    }
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
    }
}

/// Every line as an event.
pub fn events(stdout: &str) -> Vec<Event> {
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in the line {line:?}"))
    };
    stdout.lines().map(parse).collect()
}

/// The summary, which must be the last line.
pub fn summary(events: &[Event]) -> Summary {
    match events.last() {
        Some(Event::Summary(summary)) => summary.clone(),
        other => panic!("the last event is {other:?}"),
    }
}

/// A render under way.
pub struct Running {
    child: Child,
    events: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        Self { child, events: BufReader::new(stdout), stderr }
    }

    /// Reads events until so many frames of this run are stored.
    pub fn wait_for_frames(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            let mut line = String::new();
            let read = self.events.read_line(&mut line).expect("a readable pipe");
            assert!(read > 0, "the render ended after {seen} of {count} frames");
            let event: Event = serde_json::from_str(&line).expect("every line is an event");
            seen += usize::from(matches!(event, Event::Frame { .. }));
        }
    }

    /// The process of the worker.
    pub fn worker(&self) -> Pid {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.expect("the command runs");
        let child = children.split_whitespace().next().expect("the command has a worker");
        child.parse().ok().and_then(Pid::from_raw).expect("a process number")
    }

    pub fn kill_worker(&self) {
        kill_process(self.worker(), Signal::KILL).expect("the worker runs");
    }

    pub fn kill_command(&self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("the command runs");
    }

    /// Ctrl-C: the terminal tells the whole process group.
    pub fn interrupt(&self) {
        kill_process_group(Pid::from_child(&self.child), Signal::INT).expect("the command runs");
    }

    /// Waits for the end of the command and of its worker: both hold standard error.
    pub fn finish(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.events.read_to_string(&mut stdout).expect("standard output is UTF-8");
        self.stderr.read_to_string(&mut stderr).expect("standard error is UTF-8");
        let status = self.child.wait().expect("the command ends");
        Ran { status: status.code().unwrap_or(-1), stdout, stderr }
    }
}
