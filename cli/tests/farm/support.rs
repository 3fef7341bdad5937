//! A farm in this process, and the command as a program of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assert_cmd::Command;
use image::RgbImage;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vqfarm_coordinator::options::Cli;
use vqfarm_coordinator::{Farm, Service};
use vqfarm_core::id::{JobId, RequestId, WorkerId};
use vqfarm_core::keys;
use vqfarm_queue::{LeaseAnswer, Ticket, WorkerInfo};
use vqfarm_storage::frame::{self, FrameInfo};

/// Models that come with the program.
const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/models");

pub struct TestFarm {
    pub dir: TempDir,
    /// Where the command is run, with job files in it.
    pub here: TempDir,
    pub runtime: Runtime,
    pub farm: Arc<Farm>,
    pub addr: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl TestFarm {
    pub fn start() -> Self {
        Self::over(TempDir::new().unwrap(), "127.0.0.1:0", &[])
    }

    pub fn with(flags: &[&str]) -> Self {
        Self::over(TempDir::new().unwrap(), "127.0.0.1:0", flags)
    }

    pub fn over(dir: TempDir, listen: &str, flags: &[&str]) -> Self {
        use clap::Parser;
        let storage = format!("file://{}", dir.path().display());
        let ours = ["coordinator", "--queue", "memory", "--listen", listen, "--storage", &storage];
        let ours = [&ours[..], &["--web-listen", "off"]].concat();
        let options = Cli::try_parse_from(ours.iter().chain(flags)).unwrap().options;
        let runtime = Runtime::new().unwrap();
        let service = runtime.block_on(Service::start(&options)).unwrap();
        let (stop, stopped) = watch::channel(false);
        let (farm, addr) = (service.farm(), service.addr());
        let running = runtime.spawn(async move { service.run(stopped).await.unwrap() });
        let here = TempDir::new().unwrap();
        std::fs::write(here.path().join("boats.toml"), BOATS).unwrap();
        Self { dir, here, runtime, farm, addr, stop, running }
    }

    /// Stops the coordinator; what is stored stays.
    pub fn stop(self) -> TempDir {
        self.stop.send_replace(true);
        self.runtime.block_on(self.running).unwrap();
        self.dir
    }

    /// The command, not run yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("vqfarm").unwrap();
        command.args(args).current_dir(self.here.path());
        command
            .env("VQFARM_ADDR", format!("http://{}", self.addr))
            .env("VQFARM_MODELS", self.here.path().join("models"))
            .env("VQFARM_BUNDLED_MODELS", BUNDLED)
            .env("USER", "ada")
            .env("NO_COLOR", "1")
            .env("VQFARM_PROFILES", self.here.path().join("config.toml"))
            .env_remove("VQFARM_PROFILE")
            // Lines are as wide as where there is no terminal.
            .env_remove("COLUMNS")
            .env_remove("VQFARM_TOKEN");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// Standard output of a command that succeeds.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Submits the boats; the job's id.
    pub fn submit(&self) -> String {
        self.ok(&["submit", "boats.toml"]).trim().to_owned()
    }

    pub fn lease(&self, name: &str, most: u32) -> Vec<Ticket> {
        let worker = worker(name);
        let request = RequestId::generate();
        let answer = self.runtime.block_on(self.farm.queue.lease(&request, &worker, most));
        match answer.unwrap() {
            LeaseAnswer::Work(lease) => lease.tickets,
            _ => Vec::new(),
        }
    }

    /// Does up to `most` tasks as a worker would.
    pub fn work(&self, most: u32) -> usize {
        let tickets = self.lease("w-1", most);
        for ticket in &tickets {
            self.runtime.block_on(self.do_task(ticket));
        }
        tickets.len()
    }

    async fn do_task(&self, ticket: &Ticket) {
        let store = self.farm.storage.job(ticket.task.job);
        if ticket.task.layer == 1 {
            for key in [keys::CONTACT_SHEET, keys::GALLERY, keys::SCORES] {
                store.replace(key, "output".into()).await.unwrap();
            }
        } else {
            let record = self.farm.record(ticket.task.job).await.unwrap().unwrap();
            let layer = &record.plan().unwrap().layers[usize::from(ticket.task.layer)];
            let index = layer.number_of(ticket.task.index);
            let frame = frame_of(index, &record.spec_hash);
            store.create(&keys::frame(index), frame.into()).await.unwrap();
        }
        self.farm.queue.commit(ticket).await.unwrap();
    }

    pub fn fail(&self, ticket: &Ticket, message: &str) {
        let failure = vqfarm_queue::Failure { message: message.into(), retryable: false };
        self.runtime.block_on(self.farm.queue.fail(ticket, &failure)).unwrap();
    }

    /// Where a job's files are stored.
    pub fn stored(&self, id: &str) -> PathBuf {
        self.dir.path().join(keys::job_root(id.parse::<JobId>().unwrap()))
    }

    /// What was printed, without what differs from run to run.
    pub fn plain(&self, text: &str, ids: &[&str]) -> String {
        let mut text = text.replace(&self.dir.path().display().to_string(), "[store]");
        for (n, id) in ids.iter().enumerate() {
            text = text.replace(id, &format!("[id {n}]")).replace(&id[24..], &format!("[job{n}]"));
        }
        // How fast the farm works is another matter each time.
        let lines = text.lines().filter(|line| !line.starts_with("frames "));
        let times = lines.map(without_times).collect::<Vec<_>>();
        times.join("\n")
    }
}

/// `3 s ago` as `0 s ago`, `in 2 ms` as `in 0 ms`, times of day as `[time]`.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let next = words.get(at + 1).cloned().unwrap_or_default();
        let ago = next == "s" && words.get(at + 2).is_some_and(|word| word.starts_with("ago"));
        let open = if words[at].starts_with('(') { "(" } else { "" };
        let digits = words[at].trim_start_matches('(');
        let number = digits.chars().all(|c| c.is_ascii_digit()) && !digits.is_empty();
        if number && (ago || next == "ms" || (next == "s" && at > 0 && words[at - 1] == "after")) {
            words[at] = format!("{open}0");
        }
        if words[at].starts_with("20") && words[at].ends_with('Z') {
            words[at] = "[time]".into();
        }
    }
    words.join(" ")
}

pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

pub fn worker(name: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(name).unwrap(),
        tags: BTreeSet::new(),
        memory: 8 << 30,
        loaded: ["demo-f8".to_owned()].into(),
        busy: None,
        disk: None,
    }
}

fn frame_of(index: u64, spec: &str) -> Vec<u8> {
    let info = FrameInfo {
        index,
        spec: spec.to_owned(),
        settings: Default::default(),
        models: BTreeMap::new(),
        score: None,
        version: "test".into(),
        stopped: None,
        film: false,
    };
    frame::encode(&RgbImage::new(8, 8), &info).unwrap()
}

pub fn files(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

/// Four cells.
const BOATS: &str = "\
version = 1
name = \"boats\"

[render]
generator = \"demo-f8\"
perceptors = [\"demo-clip\"]
size = [64, 64]
iterations = 10

[sweep]
prompt = \"a {colour} boat\"
[sweep.axes]
colour = [\"red\", \"white\"]
seed = \"1-2\"
";
