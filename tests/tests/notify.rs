//! Ends of jobs are told whatever dies in between: a coordinator, Redis, both; by several
//! coordinators once; and no secret comes to light.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use vqfarm_core::id::JobId;
use vqfarm_testing::receiver::{Answer, Post, Receiver};
use vqfarm_tests::farm::{Farm, Setup, sweep, until};

const SECRET: &str = "whsec_c2VzYW1lLW9wZW4tc2VzYW1lLW9wZW4tc2VzYW1l";

/// A file of settings with one webhook, and what the coordinator must be told of it.
fn notify(dir: &TempDir, url: &str) -> Setup {
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).expect("the secret is written");
    let path = dir.path().join("notify.toml");
    let text = format!(
        "[[webhook]]\nurl = \"{url}\"\nsecret_file = \"{}\"\n[retry]\nfirst = 0.1\n",
        secret.display()
    );
    fs::write(&path, text).expect("the file is written");
    let flags = ["--notify", &path.display().to_string(), "--log-level", "vqfarm=trace,info"];
    Setup { coordinator: flags.map(str::to_owned).into(), ..Setup::default() }
}

/// Waits for so many posts.
fn posts(receiver: &Receiver, count: usize) -> Vec<Post> {
    until(&format!("{count} posts"), || Some(receiver.posts()).filter(|posts| posts.len() >= count))
}

/// Waits until it is stored that somebody was told of a job.
fn settled(farm: &Farm, job: JobId) {
    until("somebody was told", || {
        let names = farm.stored.names(job, "notified");
        names.iter().any(|name| name.contains("settled")).then_some(())
    });
}

fn field(post: &Post, name: &str) -> String {
    let body: Value = serde_json::from_str(&post.body).expect("JSON");
    body[name].as_str().expect("text").to_owned()
}

/// A farm whose job has ended while there was no coordinator.
fn ended_unseen(dir: &TempDir, receiver: &Receiver) -> (Farm, JobId) {
    let mut farm = Farm::new(notify(dir, &receiver.url()));
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 20), 2);
    farm.wait_for_lease(job.id, "render", "one");
    farm.coordinator.process.kill();
    until("the overviews are stored", || farm.stored.outputs(job.id).then_some(()));
    assert!(receiver.posts().is_empty(), "nobody is there to tell");
    (farm, job.id)
}

#[test]
fn an_end_without_a_coordinator_is_told_by_the_next() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    let (mut farm, job) = ended_unseen(&dir, &receiver);
    farm.restart_coordinator();
    settled(&farm, job);
    let posts = receiver.posts();
    assert_eq!(posts.len(), 1);
    assert_eq!((field(&posts[0], "event"), field(&posts[0], "job")), told("done", job));
}

fn told(state: &str, job: JobId) -> (String, String) {
    (format!("job.{state}"), job.to_string())
}

#[test]
fn an_end_without_a_coordinator_is_told_even_when_redis_has_forgotten_it() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    let (mut farm, job) = ended_unseen(&dir, &receiver);
    farm.restart_redis();
    farm.restart_coordinator();
    settled(&farm, job);
    let first = receiver.posts();
    assert_eq!((field(&first[0], "event"), field(&first[0], "job")), told("done", job));

    // And it is not told again when Redis forgets once more.
    let mark = farm.coordinator.process.mark();
    farm.restart_redis();
    farm.coordinator.process.wait_for_line(mark, &["reconciled", "restored=1"]);
    let _one = farm.worker("one", &[]);
    let next = farm.submit(&sweep(1, 2), 1);
    settled(&farm, next.id);
    let jobs: Vec<String> = receiver.posts().iter().map(|post| field(post, "job")).collect();
    assert_eq!(jobs, [job.to_string(), next.id.to_string()]);
}

#[test]
fn a_coordinator_killed_while_it_tells_leaves_it_to_the_next() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    receiver.answer([Answer::Hang]);
    let mut farm = Farm::new(notify(&dir, &receiver.url()));
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, 2), 1);
    posts(&receiver, 1);
    farm.coordinator.process.kill();
    farm.restart_coordinator();
    settled(&farm, job.id);
    let posts = receiver.posts();
    let ids: Vec<&str> = posts.iter().map(|post| post.header("webhook-id")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "a receiver can tell that it is the same: {ids:?}");
    assert_eq!(posts[0].body, posts[1].body);
}

#[test]
fn two_coordinators_tell_once() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    let farm = Farm::new(notify(&dir, &receiver.url()));
    let mut other = farm.another_coordinator("other");
    let _one = farm.worker("one", &[]);
    let jobs: Vec<JobId> = (1..=5).map(|cells| farm.submit(&sweep(cells, 2), cells).id).collect();
    for job in &jobs {
        settled(&farm, *job);
    }
    let mut told: Vec<String> = receiver.posts().iter().map(|post| field(post, "job")).collect();
    told.sort();
    assert_eq!(told, jobs.iter().map(JobId::to_string).collect::<Vec<_>>());
    // Both were ready to tell.
    other.process.wait_for_line(0, &["ends of jobs are told", "127.0.0.1#"]);
}

#[test]
fn no_secret_is_shown() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    receiver.answer([Answer::Status(500), Answer::With(302, "Location", "/elsewhere".into())]);
    let mut farm = Farm::new(notify(&dir, &format!("{}/sesame-path", receiver.url())));
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, 2), 1);
    farm.coordinator.process.wait_for_line(0, &["could not tell", "it answered 500"]);
    farm.coordinator.process.wait_for_line(0, &["could not tell", "redirects are not followed"]);
    settled(&farm, job.id);
    assert!(receiver.posts()[0].path.ends_with("sesame-path"));
    // Nobody listens any more.
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let nowhere = format!("http://{free}/sesame-path");
    let mark = farm.coordinator.process.mark();
    notify(&dir, &nowhere);
    farm.coordinator.process.wait_for_line(mark, &["ends of jobs are told"]);
    farm.submit(&sweep(1, 3), 1);
    farm.coordinator.process.wait_for_line(mark, &["could not tell"]);
    let pid = farm.coordinator.process.pid().as_raw_nonzero();
    let command = fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    for secret in ["sesame", SECRET, "c2VzYW1l"] {
        assert!(!farm.coordinator.process.log().contains(secret), "{secret} is in the log");
        assert!(!String::from_utf8_lossy(&command).contains(secret));
    }
}

/// The receiver that `docs/operating.md` shows.
fn documented_receiver() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let docs = fs::read_to_string(docs).expect("the page");
    let code = docs.split("```python\n").nth(1).expect("a receiver in Python");
    code.split("```").next().expect("its end").to_owned()
}

#[test]
fn the_documented_receiver_takes_what_is_genuine_and_nothing_else() {
    let dir = TempDir::new().expect("a folder");
    let script = dir.path().join("receiver.py");
    fs::write(&script, documented_receiver()).expect("the script is written");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let setup = notify(&dir, &format!("http://{free}/hook"));
    let mut python = Command::new("python3");
    python.arg(&script).arg(dir.path().join("secret")).arg(free.port().to_string());
    let mut receiver =
        python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3 is installed");
    let farm = Farm::new(setup);
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, 2), 1);
    let mut line = String::new();
    let said = receiver.stdout.take().expect("a pipe");
    BufReader::new(said).read_line(&mut line).expect("a line");
    let told: Value = serde_json::from_str(&line).expect("the body");
    assert_eq!(told["job"], job.id.to_string());
    settled(&farm, job.id);

    // A forgery, signed with another key.
    let answer = Command::new("python3")
        .args(["-c", FORGERY, &format!("http://{free}/hook")])
        .output()
        .expect("python3 is installed");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "401", "{answer:?}");
    receiver.kill().expect("it runs");
    receiver.wait().expect("it ends");
}

const FORGERY: &str = r#"
import base64, sys, time, urllib.error, urllib.request
headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time())),
           "webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()}
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], b"{}", headers))
    print(200)
except urllib.error.HTTPError as error:
    print(error.code)
"#;
