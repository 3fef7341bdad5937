//! Garbage: what goes, what stays, and what happens beside it.

use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use futures::TryStreamExt;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::record::{CellRecord, JobControl};
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::*;
use vqfarm_queue::{Failure, QueueError};

use crate::support::*;

const ALL: CollectGarbageRequest =
    CollectGarbageRequest { older_than: 0, keep_results: false, delete: true };

impl TestFarm {
    async fn gc(&self, request: CollectGarbageRequest) -> Vec<Garbage> {
        let found = self.client.clone().collect_garbage(request).await.unwrap();
        found.into_inner().try_collect().await.unwrap()
    }

    async fn done(&self) -> JobId {
        let job = self.submit(SWEEP).await;
        while self.work("w", 8).await > 0 {}
        job.id.parse().unwrap()
    }

    /// Keys of everything that lies below a folder of the farm's storage.
    async fn stored(&self, folder: &str) -> Vec<String> {
        let all = self.farm.storage.root().objects(folder);
        let mut keys: Vec<String> = all.map_ok(|listed| listed.key).try_collect().await.unwrap();
        keys.sort();
        keys
    }

    /// Makes a file look as if it had been written two days ago.
    fn age(&self, key: &str) {
        let before = SystemTime::now() - Duration::from_secs(2 * 86_400);
        let file = File::options().write(true).open(self.dir.path().join(key)).unwrap();
        file.set_times(FileTimes::new().set_modified(before)).unwrap();
    }
}

fn kinds(found: &[Garbage]) -> Vec<&str> {
    found.iter().map(|garbage| garbage.kind.as_str()).collect()
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let farm = TestFarm::start().await;
    let done = farm.done().await;
    let running = farm.submit(SWEEP).await;
    let before = farm.stored("").await;
    let found = farm.gc(CollectGarbageRequest { delete: false, ..ALL }).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].id.clone(), found[0].name.as_str()), (done.to_string(), "boats"));
    // Eight frames, three outputs, job.json.
    assert_eq!((found[0].objects, found[0].deleted), (12, false));
    assert!(found[0].reason.starts_with("done "), "{found:?}");
    let bytes: u64 = farm
        .farm
        .storage
        .job(done)
        .objects("")
        .map_ok(|l| l.bytes)
        .try_fold(0, async |a, b| Ok(a + b))
        .await
        .unwrap();
    assert_eq!(found[0].bytes, bytes);
    assert_eq!(farm.stored("").await, before);
    farm.farm.queue.job(done).await.unwrap();

    let young = CollectGarbageRequest { older_than: 3600, ..ALL };
    assert_eq!(farm.gc(young).await, [], "it ended less than an hour ago");
    assert_eq!(kinds(&farm.gc(ALL).await), ["job"]);
    assert_eq!(farm.stored(&keys::job_root(done)).await, [""; 0]);
    assert!(matches!(farm.farm.queue.job(done).await, Err(QueueError::NoSuchJob(_))));
    farm.farm.queue.job(running.id.parse().unwrap()).await.unwrap();
    let audit = farm.client.clone().audit(AuditRequest::default()).await.unwrap().into_inner();
    let stray: Vec<_> = audit.problems.iter().filter(|p| p.kind != "idle").collect();
    assert!(stray.is_empty(), "{stray:?}");
    assert_eq!(farm.gc(ALL).await, []);
}

#[tokio::test]
async fn results_may_stay_and_failed_jobs_keep_what_they_go_on_from() {
    let farm = TestFarm::start().await;
    let done = farm.done().await;
    let failed = farm.submit(SWEEP).await;
    for ticket in farm.lease("w", 8).await {
        let failure = Failure { message: "x".into(), retryable: false };
        farm.farm.queue.fail(&ticket, &failure).await.unwrap();
    }
    for job in [done, failed.id.parse().unwrap()] {
        let store = farm.farm.storage.job(job);
        store.create(&keys::work("keyframes", 0, "png"), "12345".into()).await.unwrap();
        store.create(&keys::log("render", 0, 1), "123".into()).await.unwrap();
    }
    let found = farm.gc(CollectGarbageRequest { keep_results: true, ..ALL }).await;
    assert_eq!(kinds(&found), ["work"]);
    assert_eq!((found[0].objects, found[0].bytes), (2, 8));
    assert_eq!(farm.stored(&keys::job_root(done)).await.len(), 12);
    assert_eq!(
        farm.farm
            .storage
            .job(failed.id.parse().unwrap())
            .names("work/keyframes")
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(farm.gc(CollectGarbageRequest { keep_results: true, ..ALL }).await, []);
    // What is whole stays whole when the queue is lost.
    let dir = farm.stop().await;
    let farm = TestFarm::over(dir, &[]).await;
    let back = eventually(async || farm.farm.queue.job(done).await.ok()).await;
    assert_eq!(back.state, vqfarm_queue::JobState::Done);
}

#[tokio::test]
async fn a_job_whose_frames_another_one_shows_stays_with_it() {
    let farm = TestFarm::start().await;
    let done = farm.done().await;
    let again = SubmitRequest { frames_of: done.to_string(), ..request(SWEEP) };
    farm.client.clone().submit(again).await.unwrap();
    assert_eq!(farm.gc(ALL).await, []);
    let ticket = farm.lease("w", 1).await.remove(0);
    farm.farm.queue.commit(&ticket).await.unwrap();
    assert_eq!(kinds(&farm.gc(ALL).await), ["job", "job"]);
}

#[tokio::test]
async fn what_was_interrupted_goes_on_however_young_and_comes_back_from_nowhere() {
    let farm = TestFarm::start().await;
    let done = farm.done().await;
    let deleted = JobControl { deleted: true, ..JobControl::default() };
    farm.farm.set_control(done, &deleted).await.unwrap();
    farm.farm.queue.forget(done).await.unwrap();
    farm.farm.storage.job(done).delete(&keys::frame(0)).await.unwrap();
    let report = farm.client.clone().reconcile(ReconcileRequest {}).await.unwrap().into_inner();
    assert_eq!(report.restored, 0);
    assert!(report.notes[0].contains("vqfarm gc --delete ends it"), "{:?}", report.notes);
    let young = CollectGarbageRequest { older_than: 3600, keep_results: true, ..ALL };
    assert_eq!(kinds(&farm.gc(young).await), ["job"]);
    assert_eq!(farm.stored(&keys::job_root(done)).await, [""; 0]);
}

#[tokio::test]
async fn nothing_is_submitted_or_tried_again_into_a_deletion() {
    let farm = TestFarm::start().await;
    let request = request(SWEEP);
    let mut client = farm.client.clone();
    let job = client.submit(request.clone()).await.unwrap().into_inner().job.unwrap();
    while farm.work("w", 8).await > 0 {}
    let id: JobId = job.id.parse().unwrap();
    let deleted = JobControl { deleted: true, ..JobControl::default() };
    farm.farm.set_control(id, &deleted).await.unwrap();
    let refused = farm.refused(request.clone()).await;
    assert_eq!(refused.reason, Reason::Unavailable, "{refused:?}");
    let retry = RetryRequest { job: job.id.clone(), tasks: vec![0], layer: String::new() };
    let status = client.retry(retry).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Finished);
    assert_eq!(kinds(&farm.gc(ALL).await), ["job"]);
    // The same request is a new job then.
    let again = client.submit(request).await.unwrap().into_inner();
    assert!(!again.existed);
    assert_eq!(again.job.unwrap().id, job.id);
    assert_eq!(farm.work("w", 8).await, 8);
}

#[tokio::test]
async fn files_weights_and_records_that_nobody_needs_go() {
    let farm = TestFarm::start().await;
    let storage = &farm.farm.storage;
    let done = farm.done().await;
    // What a job and the models' names need.
    storage.replace(&keys::model(&"ab".repeat(32)), "needed".into()).await.unwrap();
    storage.replace(&keys::model(&"cd".repeat(32)), "old".into()).await.unwrap();
    storage.replace(&keys::model(&"ef".repeat(32)), "young".into()).await.unwrap();
    for name in farm.stored(keys::MODEL_NAMES).await {
        farm.age(&name);
    }
    for old in ["ab", "cd"] {
        farm.age(&keys::model(&old.repeat(32)));
    }
    let (old, young) = (JobId::generate(), JobId::generate());
    for orphan in [old, young] {
        storage.job(orphan).create(&keys::asset("1", "png"), "x".into()).await.unwrap();
    }
    farm.age(&format!("{}/{}", keys::job_root(old), keys::asset("1", "png")));
    let gone = CellRecord { job: JobId::generate(), key: keys::frame(0), sha256: "00".into() };
    let kept = CellRecord { job: done, ..gone.clone() };
    for (identity, record) in [("aa1", &gone), ("aa2", &kept)] {
        let json = serde_json::to_vec(record).unwrap();
        storage.replace(&keys::cell(identity), json.into()).await.unwrap();
    }
    storage.replace(&keys::cell("aa3"), "{".into()).await.unwrap();

    let found = farm.gc(CollectGarbageRequest { older_than: 3600, ..ALL }).await;
    assert_eq!(kinds(&found), ["orphan", "model", "cells"], "{found:?}");
    assert_eq!(found[0].id, old.to_string());
    assert_eq!(found[1].id, "cd".repeat(32));
    assert_eq!(found[2].objects, 2);
    assert_eq!(farm.stored(keys::CELLS).await, [keys::cell("aa2")]);
    assert_eq!(farm.stored(&keys::job_root(young)).await.len(), 1);
    let left = farm.stored(keys::MODELS).await;
    assert_eq!(left.iter().filter(|key| keys::model_hash(key).is_some()).count(), 2);
}

#[tokio::test]
async fn weights_stay_while_a_name_changes() {
    let farm = TestFarm::start().await;
    let old = keys::model(&"cd".repeat(32));
    farm.farm.storage.replace(&old, "old".into()).await.unwrap();
    farm.age(&old);
    // The names are of this minute.
    assert_eq!(farm.gc(ALL).await, []);
}
