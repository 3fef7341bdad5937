//! A whole farm of real processes: Redis, storage, coordinators, workers, with a proxy on every
//! wire. What they say is shown when a test fails, and all end with the test.

mod command;
mod process;
mod stored;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vqfarm_testing::proxy::Proxy;
use vqfarm_testing::redis::RedisServer;
use vqfarm_testing::s3::S3Server;

pub use self::command::{FRAMES, Submitted, film, json_lines, reference, sweep, token};
pub use self::process::{Process, SURELY, until};
pub use self::stored::{PREFIX, Place, Stored};
use crate::{Bench, finish, program};

/// A port of this machine that is free.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a farm is made of.
pub struct Setup {
    /// How long a lease lasts, in seconds.
    pub lease: f64,
    /// SeaweedFS in place of a folder.
    pub s3: bool,
    pub redis: RedisKind,
    /// More flags of the coordinator.
    pub coordinator: Vec<String>,
    /// Variables of all programs.
    pub variables: Vec<(&'static str, String)>,
}

/// Which Redis a farm has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisKind {
    /// Its own, which keeps nothing over a restart.
    Forgetful,
    /// Its own, which has every change in its log before it answers.
    Durable,
    /// The one at this address, with no proxy before it.
    At(String),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            lease: 3.0,
            s3: false,
            redis: RedisKind::Forgetful,
            coordinator: Vec::new(),
            variables: Vec::new(),
        }
    }
}

impl Setup {
    pub fn with_s3() -> Self {
        Self { s3: true, ..Self::default() }
    }
}

/// A running farm with one coordinator and no worker, the tiny models pushed.
pub struct Farm {
    pub coordinator: Coordinator,
    pub stored: Stored,
    pub bench: Bench,
    /// What the commands bear, where the farm asks for it.
    pub token: Option<String>,
    /// Vouches for the coordinator, where it speaks TLS.
    ca: Option<PathBuf>,
    redis: Option<RedisServer>,
    setup: Setup,
    folder: TempDir,
}

/// The ways of a program to Redis and to S3.
pub struct Wires {
    redis: Option<Proxy>,
    s3: Option<Proxy>,
}

/// A coordinator and its wires.
pub struct Coordinator {
    pub process: Process,
    pub address: SocketAddr,
    /// Where its web page is.
    pub web: SocketAddr,
    pub wires: Wires,
}

/// A worker and its wires.
pub struct Worker {
    pub name: String,
    pub process: Process,
    pub wires: Wires,
}

impl Wires {
    /// Between the program and Redis.
    pub fn redis(&self) -> &Proxy {
        self.redis.as_ref().expect("a farm with a Redis of its own")
    }

    /// Between the program and S3.
    pub fn s3(&self) -> &Proxy {
        self.s3.as_ref().expect("a farm with S3")
    }
}

impl Farm {
    pub fn new(setup: Setup) -> Self {
        Self::start(setup, None, None)
    }

    /// A farm with tokens; its commands bear this one.
    pub fn with_token(setup: Setup, token: &str) -> Self {
        Self::start(setup, Some(token.to_owned()), None)
    }

    /// A farm whose coordinator speaks TLS.
    pub fn with_ca(setup: Setup, ca: PathBuf) -> Self {
        Self::start(setup, None, Some(ca))
    }

    /// A farm with tokens whose coordinator speaks TLS.
    pub fn with_ca_and_token(setup: Setup, ca: PathBuf, token: &str) -> Self {
        Self::start(setup, Some(token.to_owned()), Some(ca))
    }

    fn start(setup: Setup, token: Option<String>, ca: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bench = Bench::new("");
        let stored = Stored::new(match setup.s3 {
            true => Place::S3(S3Server::start()),
            false => Place::Folder(tempfile::tempdir().expect("a temporary folder")),
        });
        let redis = match setup.redis {
            RedisKind::Forgetful => Some(RedisServer::start()),
            RedisKind::Durable => Some(RedisServer::durable()),
            RedisKind::At(_) => None,
        };
        let ground =
            Ground { setup: &setup, redis: redis.as_ref(), stored: &stored, folder: &folder };
        let coordinator = ground.coordinator("coordinator", ANYWHERE, ANYWHERE);
        let farm = Self { coordinator, stored, bench, token, ca, redis, setup, folder };
        for model in ["tiny-f4", "tiny-clip"] {
            farm.vqfarm_ok(&["models", "push", model]);
        }
        farm
    }

    fn ground(&self) -> Ground<'_> {
        let Self { setup, redis, stored, folder, .. } = self;
        Ground { setup, redis: redis.as_ref(), stored, folder }
    }

    /// The farm's own Redis.
    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a farm with a Redis of its own")
    }

    /// SIGKILL for the farm's own Redis, which then starts again with what is on disk.
    pub fn restart_redis(&mut self) {
        let redis = self.redis.as_mut().expect("a farm with a Redis of its own");
        let before = redis.info("process_id");
        redis.kill();
        redis.start_again();
        assert_ne!(redis.info("process_id"), before, "it is another process");
    }

    /// Another coordinator of the same farm.
    pub fn another_coordinator(&self, name: &str) -> Coordinator {
        self.ground().coordinator(name, ANYWHERE, ANYWHERE)
    }

    /// Starts the coordinator again at the same addresses, after its end.
    pub fn restart_coordinator(&mut self) {
        assert!(self.coordinator.process.ended().is_some(), "the coordinator runs");
        let Coordinator { address, web, .. } = self.coordinator;
        self.coordinator = self.ground().coordinator("coordinator", address, web);
    }

    /// Starts a worker with one lane and waits until the queue knows it.
    pub fn worker(&self, name: &str, flags: &[&str]) -> Worker {
        self.worker_with(name, flags, |_| ())
    }

    /// The same with a command that is changed before it starts.
    pub fn worker_with(
        &self,
        name: &str,
        flags: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Worker {
        let worker = self.ground().worker(name, flags, change);
        until(&format!("worker {name} is known"), || {
            let workers = self.rows(&["workers", "--json"]);
            let known = |worker: &Value| worker["id"] == name && worker["state"] != "lost";
            workers.iter().any(known).then_some(())
        });
        worker
    }

    /// Starts a worker under a limit that the shell knows, as `ulimit -f 64`.
    pub fn worker_limited(&self, name: &str, limit: &str) -> Worker {
        // Without the trap the signal of a file too large would end the program.
        let script = format!("trap '' XFSZ; {limit}; exec \"$@\"");
        self.worker_with(name, &[], |command| {
            let mut limited = Command::new("sh");
            limited.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
            limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            *command = limited;
        })
    }

    /// The folder in which a worker keeps its models.
    pub fn cache(&self, worker: &str) -> PathBuf {
        self.ground().cache(worker)
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_secs_f64(self.setup.lease)
    }

    /// A library for `LD_PRELOAD` that moves the time of day by `$CLOCK_SHIFT` seconds.
    pub fn shifted_clock(&self) -> PathBuf {
        let library = self.folder.path().join("clock.so");
        let source = self.folder.path().join("clock.c");
        fs::write(&source, include_str!("clock.c")).expect("the source is written");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let ran = finish(&mut compile);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        library
    }
}

/// What a farm's programs are started on.
struct Ground<'a> {
    setup: &'a Setup,
    redis: Option<&'a RedisServer>,
    stored: &'a Stored,
    folder: &'a TempDir,
}

impl Ground<'_> {
    /// Tells a program the way to Redis and storage, by proxies of its own.
    fn lead(&self, command: &mut Command) -> Wires {
        let redis =
            self.redis.map(|redis| Proxy::start((Ipv4Addr::LOCALHOST, redis.port()).into()));
        let address = match (&redis, &self.setup.redis) {
            (Some(proxy), _) => format!("redis://{}", proxy.address()),
            (None, RedisKind::At(address)) => address.clone(),
            (None, _) => unreachable!("every other kind has a server"),
        };
        command.args(["--redis", &address, "--storage", self.stored.url()]);
        command.arg("--lease").arg(self.setup.lease.to_string());
        command.env("NO_COLOR", "1");
        command.envs(self.setup.variables.iter().cloned());
        let s3 = self.stored.server().map(|server| {
            let proxy = Proxy::start(server.address());
            command.envs(server.env_through(proxy.address()));
            proxy
        });
        Wires { redis, s3 }
    }

    fn cache(&self, worker: &str) -> PathBuf {
        self.folder.path().join(format!("cache-{worker}"))
    }

    fn worker(&self, name: &str, flags: &[&str], change: impl FnOnce(&mut Command)) -> Worker {
        let mut command = Command::new(program("vqfarm-worker"));
        command.args(["run", "--id", name, "--device", "cpu", "--threads", "1"]).args(flags);
        command.arg("--cache").arg(self.cache(name));
        let wires = self.lead(&mut command);
        change(&mut command);
        let process = Process::start(name, &mut command, self.folder.path());
        Worker { name: name.to_owned(), process, wires }
    }

    fn coordinator(&self, name: &str, listen: SocketAddr, web: SocketAddr) -> Coordinator {
        let mut command = Command::new(program("vqfarm-coordinator"));
        command.arg("--listen").arg(listen.to_string());
        command.arg("--web-listen").arg(web.to_string()).args(&self.setup.coordinator);
        let wires = self.lead(&mut command);
        let mut process = Process::start(name, &mut command, self.folder.path());
        // It may have said so before, in an earlier life.
        let mut told = |words: &str| {
            let line = process.wait_for_line(process.start_of_log(), &[words]);
            address_in(&line).unwrap_or_else(|| panic!("no address in {line:?}"))
        };
        let (web, address) = (told("web page"), told("listening"));
        Coordinator { process, address, web, wires }
    }
}

/// The address in a line that has one as a URL.
fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = line.split("://").nth(1)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
    rest[..end.unwrap_or(rest.len())].parse().ok()
}
