//! What a cockpit looks at: maps of layers, newest frames, the last logs, workers by what they do.

use futures::StreamExt;
use vqfarm_core::id::{JobId, TaskId};
use vqfarm_core::keys;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::*;
use vqfarm_queue::Failure;

use crate::support::{SWEEP, TestFarm, eventually, refusal, worker};

#[tokio::test]
async fn a_map_shows_how_far_each_part_is() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    farm.work("w", 3).await;
    let tickets = farm.lease("w", 3).await;
    let failure = |retryable| Failure { message: "no".into(), retryable };
    farm.farm.queue.fail(&tickets[0], &failure(false)).await.unwrap();
    farm.farm.queue.fail(&tickets[1], &failure(true)).await.unwrap();
    let map = async |layer: &str, parts| {
        let request = TaskMapRequest { job: job.id.clone(), layer: layer.into(), parts };
        farm.client.clone().task_map(request).await.map(tonic::Response::into_inner)
    };
    let part = |[tasks, done, leased, delayed, failed]: [u64; 5]| TaskMapPart {
        tasks,
        done,
        leased,
        delayed,
        failed,
    };
    let thirds = [[3, 3, 0, 0, 0], [3, 0, 1, 1, 1], [2, 0, 0, 0, 0]].map(part);
    let found = map("", 3).await.unwrap();
    assert_eq!((found.layer.as_str(), found.parts), ("render", thirds.to_vec()));
    // Never more parts than tasks.
    assert_eq!(map("render", 10_000).await.unwrap().parts.len(), 8);
    assert_eq!(map("stitch", 5).await.unwrap().parts, [part([1, 0, 0, 0, 0])]);
    for (layer, parts, reason) in
        [("", 0, Reason::BadRequest), ("", 10_001, Reason::BadRequest), ("x", 1, Reason::NotFound)]
    {
        assert_eq!(
            refusal(&map(layer, parts).await.unwrap_err()).reason,
            reason,
            "{layer} {parts}"
        );
    }
}

#[tokio::test]
async fn the_newest_frame_is_sent_once() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let newest = async |have: &str| {
        let request = NewestFrameRequest { job: job.id.clone(), have: have.into() };
        farm.client.clone().newest_frame(request).await.unwrap().into_inner()
    };
    assert_eq!(newest("").await.path, "");
    let tickets = farm.lease("w", 2).await;
    for ticket in tickets.iter().rev() {
        farm.store_frame(id, ticket.task.index, 0).await;
        farm.farm.queue.commit(ticket).await.unwrap();
        let key = keys::frame(farm.number(ticket.task).await);
        // The one that came last, not the one with the highest number.
        let found = eventually(async || Some(newest("").await).filter(|f| f.path == key)).await;
        let stored = farm.farm.storage.job(id).get(&key).await.unwrap().unwrap();
        assert!(found.png == stored, "bit for bit");
        assert!(newest(&key).await.png.is_empty(), "the caller has it");
    }
    while farm.work("w", 8).await > 0 {}
    let key = keys::frame(farm.number(TaskId { job: id, layer: 0, index: 7 }).await);
    let done = eventually(async || Some(newest("").await).filter(|f| f.path == key)).await;
    assert!(!done.png.is_empty(), "the task after it made no frame");
}

#[tokio::test]
async fn another_coordinator_finds_frames_and_logs_in_storage() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    farm.work("w", 3).await;
    for index in 0..3 {
        let key = keys::log("render", index, 1);
        farm.farm.storage.job(id).create(&key, format!("{index}\n").into()).await.unwrap();
    }
    let mut highest = 0;
    for index in 0..3 {
        highest = highest.max(farm.number(TaskId { job: id, layer: 0, index }).await);
    }
    let farm = TestFarm::over(farm.stop().await, &[]).await;
    let request = NewestFrameRequest { job: job.id.clone(), ..Default::default() };
    let found = eventually(async || {
        let found = farm.client.clone().newest_frame(request.clone()).await.ok()?.into_inner();
        Some(found).filter(|found| !found.png.is_empty())
    });
    assert_eq!(found.await.path, keys::frame(highest));
    assert_eq!(
        texts(&farm, LogsRequest { job: job.id, last: 2, ..Default::default() }).await,
        ["1\n", "2\n"]
    );
}

/// What was logged, attempt by attempt.
async fn texts(farm: &TestFarm, request: LogsRequest) -> Vec<String> {
    let logs = farm.client.clone().logs(request).await.unwrap().into_inner();
    logs.map(|log| log.unwrap().text).collect().await
}

#[tokio::test]
async fn the_last_logs_are_those_of_what_ended_last() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let store = farm.farm.storage.job(id);
    let tickets = [farm.lease("v", 1).await, farm.lease("w", 2).await].concat();
    for n in [1, 0, 2] {
        let ticket = &tickets[n];
        let index = ticket.task.index;
        // The first attempt was of a worker that was killed.
        let key = keys::log("render", farm.number(ticket.task).await, 2);
        store.create(&key, format!("task {index}\n").into()).await.unwrap();
        farm.store_frame(id, index, 0).await;
        farm.farm.queue.commit(ticket).await.unwrap();
    }
    let of = |job: &str, worker: &str, last| LogsRequest {
        job: job.into(),
        worker: worker.into(),
        last,
        ..Default::default()
    };
    let job = job.id.as_str();
    let all = ["task 1\n", "task 0\n", "task 2\n"];
    eventually(async || (texts(&farm, of(job, "", 9)).await == all).then_some(())).await;
    assert_eq!(texts(&farm, of(job, "", 2)).await, all[1..]);
    assert_eq!(texts(&farm, of("", "w", 9)).await, ["task 1\n", "task 2\n"]);
    assert_eq!(texts(&farm, of(job, "v", 9)).await, ["task 0\n"]);
    assert!(texts(&farm, of("", "unknown", 9)).await.is_empty());
    for bad in [
        of(job, "w", 0),
        of("", "", 1),
        of(job, "../w", 1),
        LogsRequest { task: Some(1), ..of(job, "", 1) },
    ] {
        let refused = farm.client.clone().logs(bad.clone()).await.map(drop).unwrap_err();
        assert_eq!(refusal(&refused).reason, Reason::BadRequest, "{bad:?}");
    }
}

#[tokio::test]
async fn workers_say_how_much_of_their_time_they_use() {
    let farm = TestFarm::start().await;
    let queue = &farm.farm.queue;
    for (name, busy) in [("a", Some(90)), ("b", Some(50)), ("new", None)] {
        let mut info = worker(name);
        info.busy = busy;
        queue.heartbeat(&info, &[]).await.unwrap();
    }
    let status = farm.client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
    let [group] = &status.groups[..] else { panic!("all are idle: {:?}", status.groups) };
    assert_eq!((group.state(), group.workers, group.memory), (WorkerState::Idle, 3, 24 << 30));
    assert!(group.busy.is_some_and(|busy| (busy - 0.7).abs() < 1e-9), "{group:?}");
    let workers = farm.client.clone().list_workers(ListWorkersRequest {}).await.unwrap();
    let busy: Vec<_> = workers.into_inner().workers.iter().map(|worker| worker.busy).collect();
    assert_eq!(busy, [Some(0.9), Some(0.5), None]);
}

#[tokio::test]
async fn failures_that_differ_in_numbers_are_one_cause() {
    let farm = TestFarm::start().await;
    farm.submit(SWEEP).await;
    let tickets = farm.lease("w", 3).await;
    let messages = ["12 MiB are missing", "7 MiB are missing", "no such model"];
    for (ticket, message) in tickets.iter().zip(messages) {
        let failure = Failure { message: message.into(), retryable: false };
        farm.farm.queue.fail(ticket, &failure).await.unwrap();
    }
    let status = farm.client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
    let told: Vec<_> = status.failures.iter().map(|f| (f.tasks, f.message.as_str())).collect();
    assert_eq!(told, [(2, "12 MiB are missing"), (1, "no such model")]);
    // Five tasks wait, and a worker could take them: the job is not stuck, but its tasks wait.
    let oldest = status.oldest_waiting.unwrap();
    assert_eq!(oldest.total().ready, 5);
}

#[tokio::test]
async fn files_are_listed_and_fetched_one_by_one() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    farm.work("w", 3).await;
    let mut client = farm.client.clone();
    let list = |first_frame, frames| ListFilesRequest { job: job.id.clone(), first_frame, frames };
    let all = client.list_files(list(0, 8)).await.unwrap().into_inner();
    assert_eq!((all.frames.len(), all.outputs.len()), (3, 0));
    assert_eq!(all.frames_of, job.id);
    // Each number is looked at once, whatever the pages.
    let mut found = Vec::new();
    for first in 0..8 {
        found.extend(client.list_files(list(first, 1)).await.unwrap().into_inner().frames);
    }
    assert_eq!(found, all.frames);
    let past = client.list_files(list(999_999, 10_000)).await.unwrap().into_inner();
    assert!(past.frames.is_empty());
    let refused = client.list_files(list(0, 10_001)).await.unwrap_err();
    assert_eq!(refusal(&refused).reason, Reason::BadRequest);

    let fetch = async |only: &[&str]| {
        let only = only.iter().map(ToString::to_string).collect();
        let request = FetchRequest { job: job.id.clone(), have: Vec::new(), only };
        let mut parts = farm.client.clone().fetch(request).await?.into_inner();
        let mut paths = Vec::new();
        while let Some(message) = parts.message().await? {
            if let Some(fetch_response::Part::File(file)) = message.part {
                paths.push(file.path);
            }
        }
        Ok::<_, tonic::Status>(paths)
    };
    let frame = keys::frame(all.frames[1]);
    assert_eq!(fetch(&[&frame, "frames/000099.png"]).await.unwrap(), [frame.as_str()]);
    assert_eq!(fetch(&[keys::JOB_RECORD]).await.unwrap(), [keys::JOB_RECORD]);
    for path in ["control.json", "../x", "frames/../job.json", "logs/render/000000.1.log", ""] {
        let refused = fetch(&[path]).await.unwrap_err();
        assert_eq!(refusal(&refused).reason, Reason::BadRequest, "{path}");
    }
}

#[tokio::test]
async fn changes_are_told_of_together() {
    let farm = TestFarm::start().await;
    let mut client = farm.client.clone();
    let mut changes = client.changes(ChangesRequest {}).await.unwrap().into_inner();
    assert!(changes.message().await.unwrap().is_some(), "how it is now");
    let began = std::time::Instant::now();
    farm.submit(SWEEP).await;
    while farm.work("w", 2).await > 0 {}
    assert!(changes.message().await.unwrap().is_some(), "something has changed");
    assert!(began.elapsed().as_secs() < 20, "that was the sign of life, not the change");
}

#[tokio::test]
async fn jobs_are_listed_by_state() {
    let farm = TestFarm::start().await;
    let (first, second) = (farm.submit(SWEEP).await, farm.submit(SWEEP).await);
    farm.client.clone().pause(JobRequest { job: first.id.clone() }).await.unwrap();
    let list = async |state: &str| {
        let request = ListJobsRequest { state: state.into(), ..ListJobsRequest::default() };
        let jobs = farm.client.clone().list_jobs(request).await?.into_inner().jobs;
        Ok::<_, tonic::Status>(jobs.into_iter().map(|job| job.id).collect::<Vec<_>>())
    };
    assert_eq!(list("paused").await.unwrap(), [first.id]);
    assert_eq!(list("waiting").await.unwrap(), [second.id]);
    assert_eq!(list("").await.unwrap().len(), 2);
    let refused = list("asleep").await.unwrap_err();
    assert!(refusal(&refused).message.contains("asleep"));
}
