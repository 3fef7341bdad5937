//! Orders: pause, cancel, retry, priority, drain, models.

use vqfarm_core::id::JobId;
use vqfarm_core::needs::Role;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::put_model_request::Part;
use vqfarm_proto::v1::*;
use vqfarm_queue::{Failure, QueueError};

use crate::support::{SWEEP, TestFarm, refusal};

#[tokio::test]
async fn decisions_are_stored_before_the_queue_hears_of_them() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let asked = || JobRequest { job: job.id.clone() };
    let mut client = farm.client.clone();
    let paused = client.pause(asked()).await.unwrap().into_inner();
    assert_eq!(paused.state(), JobState::Paused);
    assert!(farm.farm.control(id).await.unwrap().paused);
    let resumed = client.resume(asked()).await.unwrap().into_inner();
    assert_eq!(resumed.state(), JobState::Waiting);
    let urgent = SetPriorityRequest { job: job.id.clone(), priority: 7 };
    assert_eq!(client.set_priority(urgent).await.unwrap().into_inner().priority, 7);
    for _ in 0..2 {
        let cancelled = client.cancel(asked()).await.unwrap().into_inner();
        assert_eq!(cancelled.state(), JobState::Cancelled);
    }
    let control = farm.farm.control(id).await.unwrap();
    assert_eq!((control.cancelled, control.paused, control.priority), (true, false, Some(7)));
    let status = client.pause(asked()).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Finished);
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_changes_nothing() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    while farm.work("w", 8).await > 0 {}
    let asked = JobRequest { job: job.id.clone() };
    let status = farm.client.clone().cancel(asked.clone()).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Finished);
    assert!(!farm.farm.control(job.id.parse().unwrap()).await.unwrap().cancelled);
    let job = farm.client.clone().get_job(asked).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.state(), JobState::Done);
}

#[tokio::test]
async fn cancel_races_commit_and_one_of_them_wins() {
    for _ in 0..20 {
        let farm = TestFarm::start().await;
        let job = farm.submit(&SWEEP.replace("\"1-4\"", "[1]").replace(", \"white\"", "")).await;
        farm.work("w", 1).await;
        let ticket = farm.lease("w", 1).await.remove(0);
        let mut client = farm.client.clone();
        let asked = JobRequest { job: job.id.clone() };
        let (cancel, commit) =
            tokio::join!(client.cancel(asked.clone()), farm.farm.queue.commit(&ticket));
        let state =
            farm.client.clone().get_job(asked).await.unwrap().into_inner().job.unwrap().state();
        let control = farm.farm.control(job.id.parse().unwrap()).await.unwrap();
        match (cancel, commit) {
            (Ok(_), Err(QueueError::Finished { .. })) => {
                assert_eq!((state, control.cancelled), (JobState::Cancelled, true));
            }
            (Err(_), Ok(_)) => assert_eq!((state, control.cancelled), (JobState::Done, false)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn failed_tasks_get_another_chance() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let mut second = 0;
    for ticket in farm.lease("w", 2).await {
        second = farm.number(ticket.task).await;
        let failure = Failure { message: "x".into(), retryable: false };
        farm.farm.queue.fail(&ticket, &failure).await.unwrap();
    }
    let retry = async |tasks: Vec<u64>, layer: &str| {
        let request = RetryRequest { job: job.id.clone(), tasks, layer: layer.into() };
        farm.client.clone().retry(request).await.map(|answer| answer.into_inner().retried)
    };
    assert_eq!(retry(vec![second], "").await.unwrap(), 1, "by its cell");
    assert_eq!(retry(vec![], "").await.unwrap(), 1);
    assert_eq!(retry(vec![], "").await.unwrap(), 0);
    assert_eq!(refusal(&retry(vec![99], "").await.unwrap_err()).reason, Reason::NotFound);
    let status = retry(vec![0], "paint").await.unwrap_err();
    assert!(status.message().contains("its layers are render, stitch"), "{status}");
}

#[tokio::test]
async fn workers_are_drained_by_name() {
    let farm = TestFarm::start().await;
    farm.submit(SWEEP).await;
    farm.work("w-1", 1).await;
    let drain = async |worker: &str, undo| {
        let request = DrainRequest { worker: worker.into(), undo };
        let answer = farm.client.clone().drain(request).await;
        answer.map(|answer| answer.into_inner().worker.unwrap().state())
    };
    assert_eq!(drain("w-1", false).await.unwrap(), WorkerState::Draining);
    assert!(farm.lease("w-1", 1).await.is_empty());
    assert_eq!(drain("w-1", true).await.unwrap(), WorkerState::Idle);
    assert_eq!(refusal(&drain("w-2", false).await.unwrap_err()).reason, Reason::NotFound);
    assert_eq!(refusal(&drain("a b", false).await.unwrap_err()).reason, Reason::BadRequest);
}

#[tokio::test]
async fn models_are_kept_by_their_hash_and_checked() {
    let farm = TestFarm::start().await;
    let weights = b"weights".to_vec();
    // SHA-256 of `weights`.
    let sha256 = sha256(&weights);
    let push = async |name: &str, sha256: &str, bytes: u64, data: &[u8]| {
        let kind = "generator".to_owned();
        let model =
            Model { name: name.into(), sha256: sha256.into(), kind, bytes, ..Model::default() };
        let parts = [Part::Model(model), Part::Data(data.to_vec())];
        let parts = parts.map(|part| PutModelRequest { part: Some(part) });
        farm.client.clone().put_model(tokio_stream::iter(parts)).await.map(|a| a.into_inner())
    };
    let pushed = push("mine/f8", &sha256, 7, &weights).await.unwrap();
    assert_eq!((pushed.existed, pushed.replaced.as_str()), (false, ""));
    assert!(push("mine/f8", &sha256, 7, &weights).await.unwrap().existed);
    let stored = farm.farm.storage.get(&vqfarm_core::keys::model(&sha256)).await.unwrap();
    assert_eq!(stored.unwrap(), weights);

    let other = self::sha256(b"weighty");
    for (result, said) in [
        (push("x", &other, 7, &weights).await, "is damaged"),
        (push("x", &other, 8, &weights).await, "8 bytes of weights were to come, not 7"),
        (push("x", &other, 3, &weights).await, "3 bytes of weights were to come, not 7"),
        (push("x", "../../x", 7, &weights).await, "is not a SHA-256"),
        (push("../x", &other, 7, &weights).await, "is not a model name"),
    ] {
        let status = result.unwrap_err();
        assert!(status.message().contains(said), "{status}");
    }
    let request = FindModelsRequest { names: vec!["mine/f8".into(), "x".into()] };
    let found = farm.client.clone().find_models(request).await.unwrap().into_inner().models;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].sha256.as_str(), found[0].bytes), (sha256.as_str(), 7));

    farm.add_model("mine/f8", Role::Generator).await;
    let pushed = push("mine/f8", &sha256, 7, &weights).await.unwrap();
    assert_eq!(pushed.replaced, "ab".repeat(32));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
