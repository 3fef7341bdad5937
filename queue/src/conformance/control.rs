//! What operators do: pause, resume, cancel, drain, watch.

use super::*;
use Dependency::{All, Independent};

pub async fn paused_jobs_give_no_work(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(3, Independent)]).await;
    let running = s.lease("w", 1).await[0];
    s.queue.pause(id).await.expect("paused");
    s.queue.pause(id).await.expect("paused again");
    assert_eq!(s.lease("w", 1).await, []);
    assert_eq!(s.state(id).await, JobState::Paused);
    s.commit(&running).await;
    s.queue.resume(id).await.expect("resumed");
    assert_eq!(indices(&s.lease("w", 9).await), [1, 2]);
    assert_eq!(s.state(id).await, JobState::Running);
}

pub async fn cancelled_jobs_are_over(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(4, Independent), (1, All)]).await;
    let tickets = s.lease("w", 2).await;
    s.commit(&tickets[0]).await;
    s.queue.cancel(id).await.expect("cancelled");
    s.queue.cancel(id).await.expect("cancelled again");
    assert_eq!(s.state(id).await, JobState::Cancelled);
    let total = s.queue.job(id).await.expect("the job").total();
    assert_eq!((total.done, total.cancelled, total.leased, total.waiting()), (1, 4, 0, 0));
    assert_eq!(s.lease("w", 1).await, []);
    let beats = s.queue.heartbeat(&info("w"), &tickets[1..]).await.expect("heard").beats;
    assert_eq!(beats, [Beat::Cancelled]);
    for over in [
        s.queue.pause(id).await.err(),
        s.queue.resume(id).await.err(),
        s.queue.retry(id, &Retry::Failed).await.err(),
    ] {
        assert!(matches!(over, Some(QueueError::Finished { .. })), "{over:?}");
    }
}

pub async fn cancel_and_commit_leave_one_state(s: &Subject<'_>) {
    let first = s.submit(1, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    s.queue.cancel(first).await.expect("cancelled");
    let late = s.queue.commit(&ticket).await;
    assert!(matches!(late, Err(QueueError::Finished { .. })), "{late:?}");
    assert_eq!(s.state(first).await, JobState::Cancelled);
    assert_eq!(s.layer(first, 0).await.done, 0);

    let second = s.submit(2, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    s.commit(&ticket).await;
    let late = s.queue.cancel(second).await;
    assert!(matches!(late, Err(QueueError::Finished { .. })), "{late:?}");
    assert_eq!(s.state(second).await, JobState::Done);
    assert_eq!(s.queue.commit(&ticket).await, Ok(Committed::Before));
}

pub async fn draining_workers_get_no_work(s: &Subject<'_>) {
    s.submit(1, "ann", &[(3, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    let worker = WorkerId::new("w").expect("a worker's name");
    s.queue.drain(&worker, true).await.expect("draining");
    let answer = s.queue.lease(&RequestId::generate(), &info("w"), 1).await;
    assert_eq!(answer, Ok(LeaseAnswer::Drain));
    assert!(s.queue.heartbeat(&info("w"), &[ticket]).await.expect("heard").drain);
    s.commit(&ticket).await;
    assert_eq!(indices(&s.lease("v", 1).await), [1], "others go on");
    s.queue.drain(&worker, false).await.expect("back");
    assert_eq!(indices(&s.lease("w", 1).await), [2]);
}

pub async fn unknown_names_are_refused(s: &Subject<'_>) {
    let job = JobId::from_u128(77);
    let unknown = QueueError::NoSuchJob(job);
    assert_eq!(s.queue.job(job).await, Err(unknown.clone()));
    assert_eq!(s.queue.tasks(job, &Tasks::default()).await, Err(unknown.clone()));
    assert_eq!(s.queue.pause(job).await, Err(unknown.clone()));
    assert_eq!(s.queue.cancel(job).await, Err(unknown.clone()));
    assert_eq!(s.queue.set_priority(job, 1).await, Err(unknown.clone()));
    assert_eq!(s.queue.retry(job, &Retry::Failed).await, Err(unknown.clone()));
    let ticket = Ticket { task: TaskId { job, layer: 0, index: 0 }, attempt: 1, token: Token(0) };
    assert_eq!(s.queue.commit(&ticket).await, Err(unknown));
    let answer = s.queue.heartbeat(&info("w"), &[ticket]).await.expect("heard");
    assert_eq!(answer.beats, [Beat::Stale]);
    let worker = WorkerId::new("nobody").expect("a worker's name");
    let unknown = QueueError::NoSuchWorker(worker.clone());
    assert_eq!(s.queue.drain(&worker, true).await, Err(unknown));
}

pub async fn events_tell_what_happens(s: &Subject<'_>) {
    let mut events = s.queue.events();
    let id = s.submit(1, "ann", &[(2, Independent)]).await;
    let tickets = s.lease("w", 2).await;
    s.commit(&tickets[0]).await;
    let outcome = s.fail(&tickets[1]).await;
    s.queue.cancel(id).await.expect("cancelled");
    let tasks = vec![tickets[0].task, tickets[1].task];
    let worker = WorkerId::new("w").expect("a worker's name");
    let expected = [
        Event::Submitted(id),
        Event::Leased { tasks: tasks.clone(), worker },
        Event::Job { job: id, state: JobState::Running },
        Event::Committed(tasks[0]),
        Event::Failed { task: tasks[1], message: "no luck".into(), outcome },
        Event::Job { job: id, state: JobState::Cancelled },
    ];
    for event in expected {
        assert_eq!(events.recv().await, Ok(event));
    }
}

pub async fn a_forgotten_job_leaves_nothing_behind(s: &Subject<'_>) {
    let submission = job(1, "ann", &[(2, Independent)]);
    let id = s.submit_with(submission.clone()).await;
    let old = s.lease("w", 1).await;
    s.queue.cancel(id).await.expect("cancelled");
    s.queue.forget(id).await.expect("forgotten");
    s.submit_with(submission).await;
    assert_eq!(s.queue.workers().await.expect("workers")[0].leased, 0);
    assert_eq!(s.queue.commit(&old[0]).await, Err(QueueError::Stale(old[0])));
    (s.advance)(s.policy.lease * 2);
    assert_eq!(s.queue.reap().await.expect("reaped").expired, []);
    assert_eq!(indices(&s.lease("w", 2).await), [0, 1]);
}
