//! Questions: jobs, tasks, workers, why, status, files, logs, watching.

use std::time::Duration;

use futures::StreamExt;
use vqfarm_core::id::{JobId, Tag, TaskId};
use vqfarm_core::keys;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::fetch_response::Part;
use vqfarm_proto::v1::*;
use vqfarm_queue::Failure;

use crate::support::{SWEEP, TestFarm, eventually, refusal, request, worker};

async fn why(farm: &TestFarm, job: &Job) -> Vec<(String, u64, String)> {
    let answer = farm.client.clone().why(JobRequest { job: job.id.clone() }).await.unwrap();
    let reasons = answer.into_inner().reasons.into_iter();
    let said = |reason: vqfarm_proto::v1::Reason| {
        let remedy = if reason.remedy.is_empty() {
            String::new()
        } else {
            format!(" → {}", reason.remedy)
        };
        (reason.kind, reason.tasks, reason.text + &remedy)
    };
    reasons.map(said).collect()
}

#[tokio::test]
async fn every_waiting_task_has_its_reason() {
    let farm = TestFarm::start().await;
    let queue = farm.farm.queue.clone();
    let job = farm
        .submit(&format!("{SWEEP}[requires]\ntags = [\"a100\"]\ngpu_memory = \"16 GiB\""))
        .await;
    let short = &job.id[24..];
    let first = async || why(&farm, &job).await.remove(0);

    let (kind, tasks, text) = first().await;
    assert_eq!((kind.as_str(), tasks), ("no_workers", 8));
    assert_eq!(text, "8 tasks wait for a worker; none is connected → start one: vqfarm-worker run");

    let mut small = worker("small");
    queue.heartbeat(&small, &[]).await.unwrap();
    let (kind, _, text) = first().await;
    assert_eq!(kind, "fit");
    assert!(text.contains("the tag `a100` and 16 GiB of GPU memory"), "{text}");

    small.tags = [Tag::new("a100").unwrap()].into();
    queue.heartbeat(&small, &[]).await.unwrap();
    let (kind, _, text) = first().await;
    assert_eq!(kind, "memory");
    assert!(text.starts_with(
        "8 tasks need 16 GiB of GPU memory; no worker with the tag `a100` has it, the largest has 8 GiB"
    ), "{text}");

    // Memory without the tag is of no use.
    let mut large = worker("large");
    large.memory = 16 << 30;
    queue.heartbeat(&large, &[]).await.unwrap();
    assert_eq!(first().await.2, text);
    small.memory = 16 << 30;
    queue.heartbeat(&small, &[]).await.unwrap();
    assert_eq!(first().await.0, "starting");
    queue.drain(&small.id, true).await.unwrap();
    let (kind, _, text) = first().await;
    assert_eq!(kind, "draining");
    assert!(text.ends_with("→ vqfarm undrain small"), "{text}");
    queue.drain(&small.id, false).await.unwrap();

    let mut client = farm.client.clone();
    client.pause(JobRequest { job: job.id.clone() }).await.unwrap();
    let (kind, _, text) = first().await;
    assert_eq!(
        (kind.as_str(), text.ends_with(&format!("→ vqfarm resume {short}"))),
        ("paused", true)
    );
    client.resume(JobRequest { job: job.id.clone() }).await.unwrap();

    let blocked = why(&farm, &job).await.pop().unwrap();
    assert_eq!(blocked, ("blocked".into(), 1, "1 task waits for 8 tasks of layer render".into()));
}

#[tokio::test]
async fn busy_workers_urgent_jobs_and_failures_are_reasons_too() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let tickets = farm.lease("w", 2).await;
    let reasons = why(&farm, &job).await;
    assert_eq!(reasons[0].2, "2 tasks are being rendered");
    assert_eq!((reasons[1].0.as_str(), reasons[1].1), ("busy", 6));

    let urgent = SubmitRequest { priority: 5, ..request(SWEEP) };
    let urgent = farm.client.clone().submit(urgent).await.unwrap().into_inner().job.unwrap();
    let (_, _, text) = why(&farm, &job).await.remove(1);
    assert!(
        text.contains(&format!("job {} goes first with priority 5 over 0", &urgent.id[24..])),
        "{text}"
    );

    let failure = |retryable| Failure { message: "out of memory\nat line 3".into(), retryable };
    farm.farm.queue.fail(&tickets[0], &failure(false)).await.unwrap();
    farm.farm.queue.fail(&tickets[1], &failure(true)).await.unwrap();
    let reasons = why(&farm, &job).await;
    let of = |kind: &str| reasons.iter().find(|reason| reason.0 == kind).unwrap();
    assert_eq!(
        of("failed").2,
        format!("1 task failed for good: out of memory → vqfarm retry {} --failed", &job.id[24..])
    );
    assert!(of("delayed").2.starts_with("1 task failed and will be tried again, the first in"));

    let status = farm.client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (status.failures[0].message.as_str(), status.failures[0].tasks),
        ("out of memory", 1)
    );

    let request = ListTasksRequest { job: job.id.clone(), page_size: 1, ..Default::default() };
    let page = farm.client.clone().list_tasks(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.tasks.len(), page.tasks[0].state.as_str()), (1, "failed"));
    let next = ListTasksRequest { page_token: page.next_page_token, ..request };
    let page = farm.client.clone().list_tasks(next).await.unwrap().into_inner();
    let number = farm.number(tickets[1].task).await;
    assert_eq!((page.tasks[0].index, page.tasks[0].state.as_str()), (number, "delayed"));
    assert_eq!(page.next_page_token, "");
    let bad = ListTasksRequest { job: job.id, state: "broken".into(), ..Default::default() };
    let status = farm.client.clone().list_tasks(bad).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::BadRequest);
}

#[tokio::test]
async fn jobs_come_in_pages_the_newest_first() {
    let farm = TestFarm::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let user = if n % 2 == 0 { "ada" } else { "bob" };
        let asked = SubmitRequest { user: user.into(), ..request(SWEEP) };
        ids.push(farm.client.clone().submit(asked).await.unwrap().into_inner().job.unwrap().id);
    }
    ids.reverse();
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListJobsRequest { page_size: 2, page_token, ..Default::default() };
        let page = farm.client.clone().list_jobs(request).await.unwrap().into_inner();
        assert!(page.jobs.len() <= 2);
        found.extend(page.jobs.into_iter().map(|job| job.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(found), sorted(ids));
    let request = ListJobsRequest { user: "bob".into(), ..Default::default() };
    assert_eq!(farm.client.clone().list_jobs(request).await.unwrap().into_inner().jobs.len(), 2);
    let request = ListJobsRequest { page_token: "x".into(), ..Default::default() };
    assert!(farm.client.clone().list_jobs(request).await.is_err());
}

#[tokio::test]
async fn files_are_fetched_while_the_job_runs_and_only_what_is_new() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    assert_eq!(farm.work("w", 3).await, 3);
    let id: JobId = job.id.parse().unwrap();
    let mut first = Vec::new();
    for index in 0..3 {
        first.push(farm.number(TaskId { job: id, layer: 0, index }).await);
    }
    first.sort_unstable();
    let fetch = async |have: Vec<u64>| {
        let request = FetchRequest { job: job.id.clone(), have, ..FetchRequest::default() };
        let parts = farm.client.clone().fetch(request).await.unwrap().into_inner();
        let parts: Vec<Part> = parts.map(|part| part.unwrap().part.unwrap()).collect().await;
        let named = parts.iter().filter_map(|part| match part {
            Part::File(header) => Some(header.path.clone()),
            _ => None,
        });
        let bytes: usize =
            parts.iter().map(|p| if let Part::Data(d) = p { d.len() } else { 0 }).sum();
        let Some(Part::End(end)) = parts.last() else { panic!("it broke off") };
        assert!(bytes > 0);
        (named.collect::<Vec<_>>(), end.clone())
    };
    let (files, end) = fetch(vec![]).await;
    let frames: Vec<String> = first.iter().map(|index| keys::frame(*index)).collect();
    assert_eq!(files, [vec!["job.json".to_owned()], frames].concat());
    assert_eq!((end.files, end.job.unwrap().state()), (4, JobState::Running));

    while farm.work("w", 8).await > 0 {}
    let (files, end) = fetch(vec![0, 3]).await;
    assert_eq!(files.iter().filter(|path| path.starts_with("frames/")).count(), 5);
    assert!(files.contains(&keys::GALLERY.to_owned()));
    assert_eq!(end.job.unwrap().state(), JobState::Done);
}

#[tokio::test]
async fn logs_are_told_attempt_by_attempt() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let store = farm.farm.storage.job(id);
    for (layer, index, attempt) in
        [("render", 2, 2), ("render", 2, 1), ("render", 10, 1), ("stitch", 0, 1)]
    {
        let text = format!("{layer} {index} {attempt}\n");
        store.create(&keys::log(layer, index, attempt), text.into()).await.unwrap();
    }
    let logs = async |task: Option<u64>, layer: &str| {
        let request =
            LogsRequest { job: job.id.clone(), task, layer: layer.into(), ..Default::default() };
        let logs = farm.client.clone().logs(request).await?.into_inner();
        Ok::<_, tonic::Status>(logs.map(|log| log.unwrap().text).collect::<Vec<_>>().await)
    };
    assert_eq!(
        logs(None, "").await.unwrap(),
        ["render 2 1\n", "render 2 2\n", "render 10 1\n", "stitch 0 1\n"]
    );
    assert_eq!(logs(Some(2), "").await.unwrap(), ["render 2 1\n", "render 2 2\n"]);
    assert_eq!(logs(None, "stitch").await.unwrap(), ["stitch 0 1\n"]);
    assert!(logs(Some(99), "").await.unwrap().is_empty());
    let status = logs(None, "../..").await.unwrap_err();
    assert!(status.message().contains("its layers are render, stitch"), "{status}");
}

#[tokio::test]
async fn a_watcher_hears_of_changes_until_the_job_is_over() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let mut changes =
        farm.client.clone().watch(JobRequest { job: job.id.clone() }).await.unwrap().into_inner();
    let first = changes.message().await.unwrap().unwrap().job.unwrap();
    assert_eq!(first.state(), JobState::Waiting);
    let ticket = farm.lease("w", 1).await.remove(0);
    let failure = Failure { message: "a hiccup".into(), retryable: true };
    farm.farm.queue.fail(&ticket, &failure).await.unwrap();
    let change = eventually(async || {
        let change = changes.message().await.unwrap().unwrap();
        (!change.events.is_empty()).then_some(change)
    })
    .await;
    assert_eq!(change.events, ["task 0 failed: a hiccup; it will be tried again"]);
    farm.client.clone().cancel(JobRequest { job: job.id }).await.unwrap();
    let mut last = None;
    while let Some(change) = changes.message().await.unwrap() {
        last = change.job;
    }
    assert_eq!(last.unwrap().state(), JobState::Cancelled);
}

#[tokio::test]
async fn watchers_are_sent_on_when_the_coordinator_stops() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let mut changes =
        farm.client.clone().watch(JobRequest { job: job.id }).await.unwrap().into_inner();
    changes.message().await.unwrap().unwrap();
    let began = std::time::Instant::now();
    farm.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let status = changes.message().await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Unavailable);
}

#[tokio::test]
async fn the_farm_at_a_glance() {
    let farm = TestFarm::start().await;
    let status =
        async || farm.client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status().await.word, "idle");
    farm.submit(SWEEP).await;
    let now = status().await;
    assert_eq!((now.word.as_str(), now.oldest_reasons[0].kind.as_str()), ("waiting", "no_workers"));
    farm.work("w", 3).await;
    farm.lease("w", 1).await;
    let now = status().await;
    assert_eq!((now.word.as_str(), now.workers["busy"], now.memory), ("working", 1, 8 << 30));
    assert_eq!((now.tasks.unwrap().done, now.tasks.unwrap().leased), (3, 1));
    assert!(now.health.iter().all(|part| part.well), "{:?}", now.health);
    let workers = farm.client.clone().list_workers(ListWorkersRequest {}).await.unwrap();
    assert_eq!(workers.into_inner().workers[0].state(), WorkerState::Busy);
}
