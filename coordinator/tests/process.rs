//! The program: its settings, its metrics, its end.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

fn program() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("vqfarm-coordinator"));
    command.env_remove("VQFARM_REDIS").env_remove("VQFARM_STORAGE").env_remove("VQFARM_FARM");
    command
}

/// Standard output, standard error and exit status.
fn run(command: &mut Command) -> (String, String, i32) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("farm.toml");
    std::fs::write(&file, "farm = \"studio\"\nstorage = \"s3://file\"\nlease = 60\n").unwrap();
    let mut command = program();
    command.env("VQFARM_FARM", "attic").env("VQFARM_STORAGE", "s3://env");
    command.env("VQFARM_REDIS", "redis://farm:s3cret@host");
    command.args(["--storage", "s3://flag", "--print-config", "--config"]).arg(&file);
    let (printed, stderr, status) = run(&mut command);
    assert_eq!(status, 0, "{stderr}");
    for line in [
        "storage = \"s3://flag\"  # --storage",
        "farm = \"attic\"  # VQFARM_FARM",
        "redis = \"redis://farm:***@host\"  # VQFARM_REDIS",
        &format!("lease = \"60\"  # {}, key `lease`", file.display()),
        "listen = \"127.0.0.1:7070\"  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\nin\n{printed}");
    }
}

#[test]
fn bad_settings_name_their_source_and_start_nothing() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("farm.toml");
    std::fs::write(&file, "lease = \"soon\"").unwrap();
    let file = file.display().to_string();
    let none: [(&str, &str); 0] = [];
    for (args, vars, said) in [
        (vec!["--config", &file], &none[..], "lease: `soon` is not valid: it must be a number of"),
        (vec![], &[("VQFARM_LISTEN", "here")], "(from VQFARM_LISTEN)"),
        (vec!["--most-cells", "0"], &[], "(from --most-cells)"),
        (vec!["--farm", "a b"], &[], "\"a b\" is not a farm name"),
        (
            vec![],
            &[("VQFARM_QUEUE", "rabbit")],
            "it must be one of `redis`, `memory` (from VQFARM_QUEUE)",
        ),
        (vec!["--queue", "memory"], &[], "storage: give --storage, VQFARM_STORAGE"),
        (vec!["--listen", "0.0.0.0:0", "--storage", "memory://"], &[], "takes a --tokens file"),
        (
            vec!["--web-listen", "0.0.0.0:0", "--storage", "memory://"],
            &[],
            "web-listen: 0.0.0.0:0 can be reached from other machines",
        ),
        (vec!["--web-listen", "on"], &[], "as in 127.0.0.1:7080, or `off`"),
        (vec!["--lisen", "x"], &[], "'--listen'"),
        (
            vec!["--queue", "memory", "--storage", "memory://", "--notify", "/no/such"],
            &[],
            "notify: /no/such: No such file",
        ),
    ] {
        let (stdout, stderr, status) = run(program().args(&args).envs(vars.iter().copied()));
        assert_eq!((stdout.as_str(), status), ("", 2), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
}

#[test]
fn a_token_is_printed_once_and_kept_as_a_hash() {
    let create = ["token", "create", "--user", "ada", "--role", "submitter"];
    let (stdout, _, status) = run(program().args(create));
    assert_eq!(status, 0);
    let (secret, line) = stdout.split_once("\n\n").unwrap();
    assert!(secret.starts_with("vqf_") && secret.len() == 68);
    assert!(line.contains("user = \"ada\"") && line.contains("role = \"submitter\""), "{line}");
    assert!(!line.contains(secret));
    let (_, stderr, status) =
        run(program().args(["token", "create", "--user", "ada", "--role", "god"]));
    assert_eq!(status, 2, "{stderr}");
}

/// A running coordinator; it does not outlive its test.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = program()
            .args(["--queue", "memory", "--storage", "memory://", "--listen", "127.0.0.1:0"])
            .args(["--web-listen", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut running = Self { child, log };
        loop {
            let mut line = String::new();
            assert!(running.log.read_line(&mut line).unwrap() > 0, "it ended early");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                return running;
            }
        }
    }

    /// The exit status, and the log up to it.
    fn signal(mut self, name: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_ends_it_in_order() {
    for name in ["-TERM", "-INT"] {
        let (status, rest) = Running::start(&[]).signal(name);
        assert_eq!(status, Some(0), "{rest}");
        assert!(rest.lines().last().unwrap().contains("\"message\":\"stopped\""), "{rest}");
    }
}

#[test]
fn metrics_can_be_scraped() {
    // Nobody else takes the port in the moment between.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _running = Running::start(&["--metrics-listen", &free.to_string()]);
    let scrape = || {
        let mut stream = TcpStream::connect(free).unwrap();
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {free}\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    // The first look at the farm is under way.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let answer = loop {
        let answer = scrape();
        if answer.contains("vqfarm_workers") || std::time::Instant::now() > deadline {
            break answer;
        }
        std::thread::yield_now();
    };
    for line in [
        "vqfarm_reconciles_total 1",
        "vqfarm_tasks{state=\"ready\"} 0",
        "vqfarm_workers{state=\"lost\"} 0",
        "vqfarm_jobs{state=\"running\"} 0",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line}\nin\n{answer}");
    }
}
