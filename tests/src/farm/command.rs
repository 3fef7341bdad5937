//! The `vqfarm` command as a user of the farm types it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use vqfarm_core::id::JobId;

use super::{Farm, until};
use crate::{Bench, Ran, finish, program};

/// A job that the farm has taken.
#[derive(Clone, Debug)]
pub struct Submitted {
    pub id: JobId,
    /// The job file.
    pub toml: String,
    pub cells: usize,
}

/// Frames by file name.
type Frames = BTreeMap<String, Vec<u8>>;

/// What `vqfarm render` makes of a job file, once for all tests of this process.
pub fn reference(bench: &Bench, toml: &str) -> Arc<Frames> {
    static KNOWN: Mutex<Option<HashMap<String, Arc<Frames>>>> = Mutex::new(None);
    // Held while it renders: whoever wants the same waits for it.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(frames) = known.get(toml) {
        return frames.clone();
    }
    fs::write(bench.path("reference.toml"), toml).expect("the job file is written");
    let ran = bench.render(&["reference.toml", "--out", "reference"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let frames = Arc::new(bench.pictures("reference"));
    fs::remove_dir_all(bench.path("reference")).expect("the folder is ours");
    known.insert(toml.to_owned(), frames.clone());
    frames
}

/// A sweep over seeds for the tiny models.
pub fn sweep(cells: usize, iterations: u32) -> String {
    format!(
        r#"
version = 1
name = "seeds"

[render]
size = [32, 32]
iterations = {iterations}
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = {{ count = 2 }}

[sweep]
prompt = "a red sun"
[sweep.axes]
seed = "1-{cells}"
"#
    )
}

/// The frames of [`film`].
pub const FRAMES: usize = 12;

/// A film for the tiny models: two shots of six frames, in segments of three.
pub fn film(iterations: u32) -> String {
    format!(
        r#"
version = 1
name = "film"

[render]
size = [32, 32]
iterations = {iterations}
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = {{ count = 2 }}

[animation]
mode = "feedback"
frames = {FRAMES}
fps = 6
[animation.prompts]
0 = "a red sun"
6 = {{ prompt = "a blue sea", cut = true }}
[animation.motion]
zoom = 1.04
iterations = {iterations}
[animation.feedback]
segment = 3
color_match = 0.5
"#
    )
}

/// A token and its lines for the coordinator's file.
pub fn token(user: &str, role: &str, expires: &str) -> (String, String) {
    let mut create = Command::new(program("vqfarm-coordinator"));
    create.args(["token", "create", "--user", user, "--role", role, "--expires", expires]);
    let ran = finish(&mut create);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let (secret, lines) = ran.stdout.split_once("\n\n").expect("a token, then its lines");
    (secret.trim().to_owned(), lines.to_owned())
}

impl Farm {
    /// The command, led to this farm.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.vqfarm(arguments);
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        command.env("VQFARM_ADDR", format!("{scheme}://{}", self.coordinator.address));
        command.envs(self.setup.variables.iter().cloned());
        command.envs(self.ca.iter().map(|ca| ("VQFARM_CA", ca)));
        command.envs(self.token.iter().map(|token| ("VQFARM_TOKEN", token)));
        command
    }

    /// Runs the command to its end.
    pub fn vqfarm(&self, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments))
    }

    /// Runs a command that must succeed; answers with what it printed.
    pub fn vqfarm_ok(&self, arguments: &[&str]) -> String {
        let ran = self.vqfarm(arguments);
        assert_eq!(ran.status, 0, "vqfarm {}: {}", arguments.join(" "), ran.stderr);
        ran.stdout
    }

    /// Runs a command that must succeed and print one JSON value.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.vqfarm_ok(arguments);
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {stdout}"))
    }

    /// Runs a command that must succeed and print a JSON value a line.
    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        json_lines(&self.vqfarm_ok(arguments))
    }

    /// Writes a job file beside the models.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.bench.path(name), text).expect("the job file is written");
    }

    /// A file beside the job file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.bench.path(name)
    }

    /// Submits a job of so many cells.
    pub fn submit(&self, toml: &str, cells: usize) -> Submitted {
        self.submit_with(toml, cells, &[])
    }

    pub fn submit_with(&self, toml: &str, cells: usize, flags: &[&str]) -> Submitted {
        self.write("job.toml", toml);
        let answer = self.json(&[&["submit", "job.toml", "--json"], flags].concat());
        let id = id_of(&answer);
        Submitted { id, toml: toml.to_owned(), cells }
    }

    pub fn job(&self, id: JobId) -> Value {
        self.json(&["job", &id.to_string(), "--json"])
    }

    pub fn state(&self, id: JobId) -> String {
        self.job(id)["state"].as_str().expect("a job has a state").to_owned()
    }

    /// One of a layer's counts.
    pub fn count(&self, id: JobId, layer: &str, what: &str) -> u64 {
        let job = self.job(id);
        let layers = job["layers"].as_array().expect("a job has layers");
        let found = layers.iter().find(|found| found["name"] == layer);
        let count = found.and_then(|layer| layer["tasks"][what].as_u64());
        count.unwrap_or_else(|| panic!("no {what} of {layer} in {job:#}"))
    }

    /// Waits until one of a layer's counts is at least this.
    pub fn wait_for_count(&self, id: JobId, layer: &str, what: &str, least: u64) {
        until(&format!("{least} {what} in layer {layer}"), || {
            (self.count(id, layer, what) >= least).then_some(())
        });
    }

    /// The tasks that are leased, delayed or failed.
    pub fn tasks(&self, id: JobId) -> Vec<Value> {
        self.rows(&["tasks", &id.to_string(), "--json"])
    }

    /// Waits until a worker has a task of a layer; answers with the task.
    pub fn wait_for_lease(&self, id: JobId, layer: &str, worker: &str) -> Value {
        until(&format!("{worker} has a task of layer {layer}"), || {
            self.tasks(id).into_iter().find(|task| {
                task["state"] == "leased" && task["worker"] == worker && task["layer"] == layer
            })
        })
    }

    /// Waits until a job is done, as a user does.
    pub fn wait(&self, id: JobId) -> Ran {
        self.vqfarm(&["wait", &id.to_string(), "--timeout", "600"])
    }

    /// Why the job's tasks wait: one JSON object a group.
    pub fn why(&self, id: JobId) -> Vec<Value> {
        self.rows(&["why", &id.to_string(), "--json"])
    }

    /// Nothing that the farm promises is broken.
    pub fn audit(&self) {
        let ran = self.vqfarm(&["audit", "--json"]);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        let audit = json_lines(&ran.stdout);
        assert_eq!((audit.len(), &audit[0]["problems"]), (1, &0.into()), "{audit:?}");
    }

    /// Waits for the job's end, which must be a good one; then every frame is there once, whole
    /// and the same bit for bit as without a farm and a fault, and the audit has nothing to say.
    pub fn prove(&self, job: &Submitted) {
        let ran = self.wait(job.id);
        assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
        assert_eq!(self.state(job.id), "done");
        let frames = self.stored.whole_frames(job.id, job.cells);
        assert!(frames == *reference(&self.bench, &job.toml), "the same pictures bit for bit");
        assert!(self.stored.outputs(job.id), "the overviews are there");
        self.audit();
    }
}

/// Each line as a value.
pub fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

/// The job that an answer tells of.
fn id_of(answer: &Value) -> JobId {
    let id = [&answer["job"]["id"], &answer["id"], &answer["job"]];
    let id = id.iter().find_map(|value| value.as_str());
    id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("no job's id in {answer}"))
}
