//! A private S3 server: SeaweedFS, in a folder that vanishes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The bucket that is there from the start.
pub const BUCKET: &str = "farm";
const ACCESS_KEY: &str = "farm-key";
const SECRET_KEY: &str = "farm-secret";

/// A slow machine under load needs a while.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A running server; stopped when dropped.
pub struct S3Server {
    process: Child,
    folder: TempDir,
    port: u16,
    open: bool,
}

impl S3Server {
    /// Starts a server with an empty bucket, and waits until it answers.
    pub fn start() -> Self {
        Self::launch(false)
    }

    /// One that asks nobody who they are, so that a proxy may alter requests.
    pub fn start_open() -> Self {
        Self::launch(true)
    }

    fn launch(open: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut tries = 0;
        loop {
            let port = free_ports();
            let mut process = spawn(folder.path(), port, open);
            if wait_until_ready(&mut process, port) {
                return Self { process, folder, port, open };
            }
            let _ = process.kill();
            let _ = process.wait();
            tries += 1;
            // Somebody may have taken a port meanwhile.
            assert!(tries < 3, "SeaweedFS does not start:\n{}", log(folder.path()));
        }
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// What `--storage` wants.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// The variables that lead a program to this server.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.env_through(self.address())
    }

    /// The same by way of a proxy.
    pub fn env_through(&self, address: SocketAddr) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("AWS_ENDPOINT_URL", format!("http://{address}")),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        match self.open {
            true => env.push(("AWS_SKIP_SIGNATURE", "true".to_owned())),
            false => {
                env.push(("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()));
                env.push(("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()));
            }
        }
        env
    }

    /// Key and secret.
    pub fn keys(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    /// The number of the server's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Kills the server; what it stored stays.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again over what is there, at the same address.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.folder.path(), self.port, self.open);
        let ready = wait_until_ready(&mut self.process, self.port);
        assert!(ready, "SeaweedFS does not start again:\n{}", log(self.folder.path()));
    }

    /// What the server has to say.
    pub fn log(&self) -> String {
        log(self.folder.path())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Nobody will miss the data, so there is no need to wait for a clean end.
        self.kill();
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// The program that `scripts/setup.sh` puts into the repository, or `$VQFARM_WEED`.
pub fn program() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/seaweedfs/weed");
    let path = std::env::var_os("VQFARM_WEED").map_or(here, PathBuf::from);
    assert!(path.is_file(), "{} is missing; `make setup` fetches it", path.display());
    path
}

/// A port for S3 such that all that are derived from it (see [`spawn`]) are free now.
fn free_ports() -> u16 {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let candidates = std::iter::repeat_with(|| 20_000 + fastrand::u16(0..2_500) * 10);
    candidates
        .take(1_000)
        .find(|&port| (0..5).all(|n| free(port + n) && free(port + n + 10_000)))
        .expect("some ports of this machine are free")
}

/// S3 at `port`, the other parts at the four after it; SeaweedFS adds 10,000 for gRPC.
fn spawn(folder: &Path, port: u16, open: bool) -> Child {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder for the data");
    let log = File::create(folder.join("log")).expect("a log file");
    let mut command = Command::new(program());
    command
        .args(["-logtostderr", "mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .arg(format!("-dir={}", data.display()))
        .arg(format!("-s3.port={port}"))
        .arg(format!("-master.port={}", port + 1))
        .arg(format!("-volume.port={}", port + 2))
        .arg(format!("-filer.port={}", port + 3))
        .arg(format!("-admin.port={}", port + 4))
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"])
        .args(["-master.telemetry=false", "-s3.iam=false"])
        .arg(format!("-bucket={BUCKET}"))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    if !open {
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    }
    command.spawn().expect("SeaweedFS starts")
}

/// Asks until the bucket is there; false when the server has died or does not come up.
fn wait_until_ready(process: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + STARTS_WITHIN;
    while Instant::now() < deadline {
        if matches!(process.try_wait(), Ok(Some(_)) | Err(_)) {
            return false;
        }
        // With keys: 403 for an object of a bucket that is there or not; the filer knows better.
        if status(port + 3, &format!("/buckets/{BUCKET}/")) == Some(200)
            && status(port, "/").is_some()
        {
            return true;
        }
        std::thread::sleep(PAUSE);
    }
    false
}

/// Status of a GET, when an HTTP server answers at all.
fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // What was read before a time-out is enough.
    let _ = stream.take(4096).read_to_end(&mut answer);
    let line = String::from_utf8_lossy(&answer);
    line.split_whitespace().nth(1)?.parse().ok()
}
