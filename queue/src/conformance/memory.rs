//! A queue that loses its memory, and what it is told then; what it forgets on purpose.

use super::*;
use Dependency::{All, Independent};

pub async fn a_queue_without_its_memory_is_closed(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    let before = s.queue.epoch().await.expect("an answer").expect("an open queue");
    (s.lose)().await;
    assert_eq!(s.queue.epoch().await, Ok(None));
    let submission = job(2, "ann", &[(1, Independent)]);
    let failure = Failure { message: "x".into(), retryable: true };
    let request = RequestId::generate();
    let worker = WorkerId::new("w").expect("a worker's name");
    for closed in [
        s.queue.submit(&submission).await.err(),
        s.queue.lease(&request, &info("w"), 1).await.err(),
        s.queue.heartbeat(&info("w"), &[ticket]).await.err(),
        s.queue.commit(&ticket).await.err(),
        s.queue.commit_all(&[ticket]).await.err(),
        s.queue.fail(&ticket, &failure).await.err(),
        s.queue.release(&ticket).await.err(),
        s.queue.reap().await.err(),
        s.queue.pause(id).await.err(),
        s.queue.resume(id).await.err(),
        s.queue.cancel(id).await.err(),
        s.queue.retry(id, &Retry::Failed).await.err(),
        s.queue.forget(id).await.err(),
        s.queue.set_priority(id, 1).await.err(),
        s.queue.drain(&worker, true).await.err(),
    ] {
        assert_eq!(closed, Some(QueueError::Closed));
    }
    assert_eq!(s.queue.jobs(Jobs::All).await, Ok(vec![]));
    assert_eq!(s.queue.workers().await, Ok(vec![]), "nothing has changed");

    let after = s.queue.open().await.expect("opened");
    assert_ne!(after, before);
    assert_eq!(s.queue.open().await, Ok(after), "opened once");
    assert_eq!(s.queue.epoch().await, Ok(Some(after)));
    assert_eq!(s.queue.health().await.expect("health").epoch, Some(after));
    assert_eq!(s.queue.commit(&ticket).await, Err(QueueError::NoSuchJob(id)));
    s.submit_with(submission).await;
}

pub async fn lost_jobs_are_restored(s: &Subject<'_>) {
    let mut sweep = job(1, "ann", &[(4, Independent), (1, All)]);
    s.submit_with(sweep.clone()).await;
    let old = s.lease("w", 2).await;
    s.commit(&old[0]).await;
    (s.lose)().await;
    sweep.done = vec![(0, 0..1)];
    let mut restoration = Restoration {
        submission: sweep.clone(),
        submitted: Timestamp(1_600_000_000_000),
        standing: Standing::Active,
    };
    assert_eq!(s.queue.restore(&restoration).await, Ok(true));
    assert_eq!(s.queue.restore(&restoration).await, Ok(false), "it is there");
    let closed = s.queue.lease(&RequestId::generate(), &info("w"), 1).await;
    assert_eq!(closed, Err(QueueError::Closed), "not all is back");
    s.queue.open().await.expect("opened");
    let snapshot = s.queue.job(sweep.job).await.expect("the job");
    assert_eq!((snapshot.submitted, snapshot.total().done), (restoration.submitted, 1));
    assert_eq!(s.queue.submit(&sweep).await, Ok(sweep.job), "the answered submit holds");
    assert_eq!(s.queue.commit(&old[1]).await, Err(QueueError::Stale(old[1])));
    assert_eq!(indices(&s.lease("w", 9).await), [1, 2, 3]);

    restoration.submission = job(2, "ann", &[(2, Independent)]);
    restoration.standing = Standing::Paused;
    assert_eq!(s.queue.restore(&restoration).await, Ok(true), "also while the queue is open");
    assert_eq!(s.state(restoration.submission.job).await, JobState::Paused);
    assert_eq!(s.lease("w", 1).await, []);
    s.queue.resume(restoration.submission.job).await.expect("resumed");
    assert_eq!(indices(&s.lease("w", 9).await), [0, 1]);

    restoration.submission = job(3, "ann", &[(3, Independent)]);
    restoration.submission.done = vec![(0, 1..2)];
    restoration.standing = Standing::Cancelled;
    assert_eq!(s.queue.restore(&restoration).await, Ok(true));
    let cancelled = s.queue.job(restoration.submission.job).await.expect("the job");
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert!(cancelled.finished.is_some());
    assert_eq!((cancelled.total().done, cancelled.total().cancelled), (1, 2));
    assert_eq!(s.lease("w", 1).await, []);
}

pub async fn jobs_that_are_over_can_be_forgotten(s: &Subject<'_>) {
    let submission = job(1, "ann", &[(1, Independent)]);
    let id = s.submit_with(submission.clone()).await;
    let live = QueueError::NotOver { job: id, state: JobState::Waiting };
    assert_eq!(s.queue.forget(id).await, Err(live));
    let ticket = s.lease("w", 1).await[0];
    s.commit(&ticket).await;
    assert_eq!(s.queue.forget(id).await, Ok(()));
    assert_eq!(s.queue.job(id).await, Err(QueueError::NoSuchJob(id)));
    assert_eq!(s.queue.forget(id).await, Err(QueueError::NoSuchJob(id)));
    assert_eq!(s.queue.jobs(Jobs::All).await, Ok(vec![]));
    assert_eq!(s.queue.submit(&submission).await, Ok(id), "nothing is known of it");
    assert_eq!(s.layer(id, 0).await.ready, 1);
}

pub async fn silent_workers_are_forgotten(s: &Subject<'_>) {
    s.queue.heartbeat(&info("old"), &[]).await.expect("heard");
    (s.advance)(FORGET_WORKER / 2);
    s.queue.heartbeat(&info("new"), &[]).await.expect("heard");
    (s.advance)(FORGET_WORKER / 2);
    let names = async || -> Vec<String> {
        let workers = s.queue.workers().await.expect("workers");
        workers.into_iter().map(|worker| worker.info.id.into()).collect()
    };
    assert_eq!(names().await, ["new"]);
    s.queue.reap().await.expect("reaped");
    assert_eq!(names().await, ["new"]);
    let old = WorkerId::new("old").expect("a worker's name");
    let unknown = QueueError::NoSuchWorker(old.clone());
    assert_eq!(s.queue.drain(&old, true).await, Err(unknown));
}
