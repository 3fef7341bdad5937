//! Others are told when jobs end: whom, of what, how often, and what is done when they do not
//! listen.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_proto::v1::{Job, JobRequest, RetryRequest};
use vqfarm_queue::Failure;
use vqfarm_testing::receiver::{Answer, Post, Receiver};

use super::support::{SWEEP, TestFarm, eventually};

/// A file of settings that takes these webhooks and these other lines.
fn notify(dir: &TempDir, hooks: &[(&Receiver, &str)], more: &str) -> String {
    let secret = dir.path().join("secret");
    fs::write(&secret, "sesame-open-sesame-open-sesame").unwrap();
    let mut text = String::new();
    for (receiver, lines) in hooks {
        let (url, secret) = (receiver.url(), secret.display());
        write!(text, "[[webhook]]\nurl = \"{url}\"\nsecret_file = \"{secret}\"\n{lines}\n")
            .unwrap();
    }
    let path = dir.path().join("notify.toml");
    fs::write(&path, format!("{text}\n{more}\n[retry]\nfirst = 0.1\n")).unwrap();
    path.display().to_string()
}

async fn farm(dir: &TempDir, hooks: &[(&Receiver, &str)], more: &str) -> TestFarm {
    TestFarm::with(&["--notify", &notify(dir, hooks, more)]).await
}

/// Does all of a job's tasks.
async fn finish(farm: &TestFarm) {
    while farm.work("w", 8).await > 0 {}
}

/// Fails all of a job's tasks for good.
async fn fail(farm: &TestFarm, message: &str) {
    let failure = Failure { message: message.into(), retryable: false };
    for ticket in farm.lease("w", 8).await {
        farm.farm.queue.fail(&ticket, &failure).await.unwrap();
    }
}

/// Waits for so many posts.
async fn posts(receiver: &Receiver, count: usize) -> Vec<Post> {
    eventually(async || Some(receiver.posts()).filter(|posts| posts.len() >= count)).await
}

fn body(post: &Post) -> Value {
    serde_json::from_str(&post.body).unwrap()
}

fn events(posts: &[Post]) -> Vec<String> {
    posts.iter().map(|post| body(post)["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits until nothing is left to do for so many targets.
async fn settled(farm: &TestFarm, job: &Job, count: usize) -> Vec<Value> {
    let job: JobId = job.id.parse().unwrap();
    let store = farm.farm.storage.job(job);
    eventually(async || {
        let names = store.names(keys::NOTIFIED).await.unwrap();
        let mut found = Vec::new();
        for name in names.iter().filter(|name| name.contains("settled")) {
            let key = format!("{}/{name}", keys::NOTIFIED);
            let bytes = store.get(&key).await.unwrap().unwrap();
            found.push(serde_json::from_slice(&bytes).unwrap());
        }
        Some(found).filter(|found| found.len() == count)
    })
    .await
}

#[tokio::test]
async fn a_receiver_that_fails_is_told_again_until_it_listens() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    receiver.answer([Answer::Status(500), Answer::Status(500)]);
    let farm = farm(&dir, &[(&receiver, "")], "").await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    let outcome = &settled(&farm, &job, 1).await[0];
    assert_eq!((&outcome["outcome"], &outcome["attempts"]), (&"told".into(), &3.into()));
    let posts = receiver.posts();
    assert_eq!(posts.len(), 3);
    let ids: Vec<&str> = posts.iter().map(|post| post.header("webhook-id")).collect();
    assert!(ids[0].starts_with("msg_") && ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    assert!(posts.iter().all(|post| post.body == posts[0].body));
    assert_eq!(posts[0].header("content-type"), "application/json");
    let told = body(&posts[2]);
    for (field, value) in [
        ("/event", Value::from("job.done")),
        ("/farm", "vqfarm".into()),
        ("/job", job.id.clone().into()),
        ("/name", "boats".into()),
        ("/user", "ada".into()),
        ("/state", "done".into()),
        ("/tasks/done", 9.into()),
        ("/tasks/failed", 0.into()),
        ("/frames/total", 8.into()),
        ("/frames/stored", 8.into()),
    ] {
        assert_eq!(told.pointer(field), Some(&value), "{field}: {told}");
    }
    let outputs: Vec<&str> =
        told["outputs"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()).collect();
    let root = format!("file://{}/jobs/{}/out", farm.dir.path().display(), job.id);
    assert_eq!(outputs[0], format!("{root}/contact-sheet.png"));
    assert_eq!(outputs.len(), 3);
}

#[tokio::test]
async fn a_job_that_ends_again_is_told_again_and_failures_by_their_causes() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    let farm = farm(&dir, &[(&receiver, "")], "").await;
    let job = farm.submit(SWEEP).await;
    fail(&farm, "out of memory: 3 MiB\nmore").await;
    let first = &posts(&receiver, 1).await[0];
    let told = body(first);
    assert_eq!(told["event"], "job.failed");
    assert_eq!(told["failures"][0]["tasks"], 8);
    assert_eq!(told["failures"][0]["message"], "out of memory: 3 MiB");
    assert_eq!(told["frames"]["stored"], 0);
    settled(&farm, &job, 1).await;

    let retry = RetryRequest { job: job.id.clone(), ..RetryRequest::default() };
    farm.client.clone().retry(retry.clone()).await.unwrap();
    fail(&farm, "out of memory").await;
    settled(&farm, &job, 2).await;
    farm.client.clone().retry(retry).await.unwrap();
    finish(&farm).await;
    settled(&farm, &job, 3).await;
    let posts = receiver.posts();
    assert_eq!(events(&posts), ["job.failed", "job.failed", "job.done"]);
    let ids: Vec<&str> = posts.iter().map(|post| post.header("webhook-id")).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "each is an end of its own: {ids:?}");
}

#[tokio::test]
async fn a_retry_that_changes_nothing_is_no_new_end() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    let file = notify(&dir, &[(&receiver, "")], "");
    let farm = TestFarm::with(&["--notify", &file]).await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    settled(&farm, &job, 1).await;
    let retry = RetryRequest { job: job.id.clone(), ..RetryRequest::default() };
    assert_eq!(farm.client.clone().retry(retry).await.unwrap().into_inner().retried, 0);
    let control = farm.farm.control(job.id.parse().unwrap()).await.unwrap();
    assert_eq!(control.retries, 0);
}

#[tokio::test]
async fn each_target_hears_what_it_asked_for() {
    let dir = TempDir::new().unwrap();
    let [all, failed, bobs, others] = [0; 4].map(|_| Receiver::start());
    let hooks = [
        (&all, ""),
        (&failed, "on = [\"failed\"]"),
        (&bobs, "users = [\"bob\"]"),
        (&others, "jobs = \"harbour*\""),
    ];
    let farm = farm(&dir, &hooks, "").await;
    let job = farm.submit(SWEEP).await;
    farm.client.clone().cancel(JobRequest { job: job.id.clone() }).await.unwrap();
    settled(&farm, &job, 1).await;
    let second = farm.submit(SWEEP).await;
    fail(&farm, "no such model").await;
    settled(&farm, &second, 2).await;
    assert_eq!(events(&all.posts()), ["job.cancelled", "job.failed"]);
    assert_eq!(events(&failed.posts()), ["job.failed"]);
    assert!(bobs.posts().is_empty() && others.posts().is_empty());
}

#[tokio::test]
async fn a_target_that_hangs_holds_up_no_other() {
    let dir = TempDir::new().unwrap();
    let (slow, quick) = (Receiver::start(), Receiver::start());
    slow.answer((0..100).map(|_| Answer::Hang));
    let farm = farm(&dir, &[(&slow, ""), (&quick, "")], "").await;
    for _ in 0..8 {
        farm.submit(SWEEP).await;
        finish(&farm).await;
    }
    assert_eq!(posts(&quick, 8).await.len(), 8);
    assert_eq!(posts(&slow, 4).await.len(), 4, "no more than four at a time");
}

#[tokio::test]
async fn redirects_are_not_followed_and_gone_is_the_end() {
    let dir = TempDir::new().unwrap();
    let (elsewhere, moved, gone) = (Receiver::start(), Receiver::start(), Receiver::start());
    moved.answer([Answer::With(307, "Location", elsewhere.url())]);
    gone.answer([Answer::Status(410)]);
    let farm = farm(&dir, &[(&moved, ""), (&gone, "")], "").await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    let outcomes = settled(&farm, &job, 2).await;
    let mut words: Vec<(String, u64)> = outcomes
        .iter()
        .map(|o| (o["outcome"].as_str().unwrap().to_owned(), o["attempts"].as_u64().unwrap()))
        .collect();
    words.sort();
    assert_eq!(words, [("gone".to_owned(), 1), ("told".to_owned(), 2)]);
    assert!(elsewhere.posts().is_empty());
    assert_eq!((moved.posts().len(), gone.posts().len()), (2, 1));
}

#[tokio::test]
async fn a_receiver_may_ask_to_be_left_alone() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    receiver.answer([Answer::With(503, "Retry-After", "2".into())]);
    let farm = farm(&dir, &[(&receiver, "")], "").await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    let first = posts(&receiver, 1).await;
    settled(&farm, &job, 1).await;
    let second = receiver.posts();
    assert_eq!(second.len(), 2);
    let sent = |post: &Post| post.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!(sent(&second[1]) - sent(&first[0]) >= 1, "a tenth of a second is the usual pause");
}

#[tokio::test]
async fn a_command_is_told_as_well_and_again_when_it_fails() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().display();
    let script = format!(
        "test -e {path}/tried || {{ touch {path}/tried; exit 1; }}; \
         echo $VQFARM_JOB_STATE $VQFARM_JOB_NAME > {path}/said; cat > {path}/told"
    );
    let command = format!("[[command]]\nrun = [\"/bin/sh\", \"-c\", \"{script}\"]");
    let farm = farm(&dir, &[], &command).await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    let outcome = &settled(&farm, &job, 1).await[0];
    assert_eq!((&outcome["outcome"], &outcome["attempts"]), (&"told".into(), &2.into()));
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("said"), "done boats\n");
    let told: Value = serde_json::from_str(&read("told")).unwrap();
    assert_eq!(told["job"], job.id);
}

#[tokio::test]
async fn what_ended_before_is_told_once_over_the_loss_of_the_queue() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    // One that ended before anybody was to be told.
    let plain = TestFarm::start().await;
    let old = plain.submit(SWEEP).await;
    finish(&plain).await;
    let folder = plain.stop().await;
    aged(&folder, &old.id);
    let file = notify(&dir, &[(&receiver, "")], "");
    let farm = TestFarm::over(folder, &["--notify", &file]).await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    settled(&farm, &job, 1).await;
    // The queue is in memory: the next coordinator knows only what is stored.
    let farm = TestFarm::over(farm.stop().await, &["--notify", &file]).await;
    let next = farm.submit(SWEEP).await;
    finish(&farm).await;
    settled(&farm, &next, 1).await;
    let posts = receiver.posts();
    let told: Vec<Value> = posts.iter().map(|post| body(post)["job"].clone()).collect();
    assert_eq!(told, [job.id, next.id]);
}

/// As if the job had ended long ago.
fn aged(folder: &TempDir, job: &str) {
    let out = folder.path().join("jobs").join(job).join(keys::OUTPUTS);
    for file in fs::read_dir(out).unwrap() {
        let file = fs::File::options().write(true).open(file.unwrap().path()).unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        file.set_modified(long_ago).unwrap();
    }
}

#[tokio::test]
async fn what_was_not_told_is_told_by_the_next_coordinator() {
    let (dir, receiver) = (TempDir::new().unwrap(), Receiver::start());
    receiver.answer([Answer::Status(500)]);
    let slow = notify(&dir, &[(&receiver, "")], "");
    let text = fs::read_to_string(&slow).unwrap();
    fs::write(&slow, text.replace("first = 0.1", "first = 2")).unwrap();
    let farm = TestFarm::with(&["--notify", &slow]).await;
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    let store = farm.farm.storage.job(job.id.parse().unwrap());
    // The first attempt has failed, and when the next is due is stored.
    eventually(async || {
        let names = store.names(keys::NOTIFIED).await.unwrap();
        let key = format!("{}/{}", keys::NOTIFIED, names.first()?);
        let bytes = store.get(&key).await.unwrap()?;
        String::from_utf8_lossy(&bytes).contains("next").then_some(())
    })
    .await;
    let farm = TestFarm::over(farm.stop().await, &["--notify", &slow]).await;
    let outcome = &settled(&farm, &job, 1).await[0];
    assert_eq!((&outcome["outcome"], &outcome["attempts"]), (&"told".into(), &2.into()));
    let ids: Vec<String> =
        receiver.posts().iter().map(|post| post.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_bad_one_is_not() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (Receiver::start(), Receiver::start());
    let file = notify(&dir, &[(&first, "")], "");
    let farm = TestFarm::with(&["--notify", &file]).await;
    let rewrite = |text: &str| write_later(Path::new(&file), text);
    rewrite("[[webhok]]");
    let job = farm.submit(SWEEP).await;
    finish(&farm).await;
    settled(&farm, &job, 1).await;
    let text = fs::read_to_string(notify(&dir, &[(&second, "")], "")).unwrap();
    rewrite(&text);
    // Known from the moment on when it is first told of.
    eventually(async || {
        let targets = farm.farm.storage.names(keys::TARGETS).await.unwrap();
        (targets.len() == 2).then_some(())
    })
    .await;
    let next = farm.submit(SWEEP).await;
    finish(&farm).await;
    settled(&farm, &next, 1).await;
    assert_eq!((first.posts().len(), second.posts().len()), (1, 1));
}

/// Writes a file so that its time of change is another one, however coarse the clock.
fn write_later(path: &Path, text: &str) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, text).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(before + std::time::Duration::from_secs(10)).unwrap();
}
