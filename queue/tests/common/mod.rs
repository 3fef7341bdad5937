//! What the tests of the queue in Redis share.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeSet;
use std::time::Duration;

use vqfarm_core::id::{FarmName, JobId, JobName, RequestId, UserName, WorkerId};
use vqfarm_core::plan::Dependency;
use vqfarm_queue::*;

/// Options that give up soon.
pub fn quick() -> RedisOptions {
    RedisOptions { answer: Duration::from_secs(1), ..RedisOptions::default() }
}

pub async fn connect(url: &str) -> RedisQueue {
    let queue = RedisQueue::connect_with(url, &FarmName::default(), RedisOptions::default()).await;
    queue.expect("connected")
}

pub async fn open(url: &str) -> RedisQueue {
    let queue = connect(url).await;
    queue.open().await.expect("opened");
    queue
}

/// A job of so many tasks and one after them all.
pub fn job(number: u128, tasks: u64) -> Submission {
    let layer = |tasks, dependency| LayerSpec {
        name: "layer".into(),
        tasks,
        dependency,
        needs: Needs::default(),
    };
    Submission {
        request: RequestId::generate(),
        job: JobId::from_u128(number),
        name: JobName::default(),
        user: UserName::new("ann").expect("a name"),
        priority: 0,
        layers: vec![layer(tasks, Dependency::Independent), layer(1, Dependency::All)],
        done: Vec::new(),
    }
}

pub fn info(worker: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(worker).expect("a name"),
        tags: BTreeSet::new(),
        memory: 0,
        loaded: BTreeSet::new(),
        busy: None,
        disk: None,
    }
}

/// The tickets that a worker gets; none when there is nothing for it.
pub async fn lease(queue: &dyn Queue, worker: &str, most: u32) -> Vec<Ticket> {
    match queue.lease(&RequestId::generate(), &info(worker), most).await.expect("a lease") {
        LeaseAnswer::Work(lease) => lease.tickets,
        LeaseAnswer::Nothing { .. } | LeaseAnswer::Drain => Vec::new(),
    }
}

/// Every operation once, in a fresh farm.
pub async fn do_everything(queue: &RedisQueue) {
    queue.open().await.expect("opened");
    let mut events = queue.events();
    let restoration = Restoration {
        submission: job(100, 2),
        submitted: Default::default(),
        standing: Standing::Cancelled,
    };
    assert_eq!(queue.restore(&restoration).await, Ok(true));
    queue.forget(JobId::from_u128(100)).await.expect("forgotten");

    let answer = queue.lease(&RequestId::generate(), &info("w"), 1).await;
    let Ok(LeaseAnswer::Nothing { seen, .. }) = answer else { panic!("{answer:?}") };
    let mut first = job(1, 40);
    first.done = vec![(0, 30..35)];
    let (woken, id) =
        tokio::join!(queue.wait_for_work(seen, Duration::from_secs(60)), queue.submit(&first));
    woken.expect("woken");
    let id = id.expect("submitted");
    queue.set_priority(id, 3).await.expect("set");
    queue.pause(id).await.expect("paused");
    queue.resume(id).await.expect("resumed");
    let tickets = lease(queue, "w", 16).await;
    assert_eq!(tickets.len(), 16);
    assert_eq!(queue.heartbeat(&info("w"), &tickets).await.expect("heard").beats.len(), 16);
    for committed in queue.commit_all(&tickets[..14]).await.expect("committed") {
        assert_eq!(committed, Ok(Committed::Now));
    }
    assert_eq!(queue.commit(&tickets[0]).await, Ok(Committed::Before));
    let failure = Failure { message: "no luck".into(), retryable: false };
    assert_eq!(queue.fail(&tickets[14], &failure).await, Ok(Failed::Quarantined));
    queue.release(&tickets[15]).await.expect("released");
    let turn = queue.commit_and_lease(&tickets[..1], &RequestId::generate(), &info("w"), 1).await;
    let Ok((commits, LeaseAnswer::Work(again))) = turn else { panic!("{turn:?}") };
    assert_eq!(commits, [Ok(Committed::Before)]);
    queue.release(&again.tickets[0]).await.expect("released");
    assert_eq!(queue.tasks(id, &Tasks::default()).await.expect("tasks").len(), 1);
    assert_eq!(queue.retry(id, &Retry::Failed).await, Ok(1));
    let again = Retry::Tasks { layer: 0, indices: vec![3] };
    assert_eq!(queue.retry(id, &again).await, Ok(1));
    queue.drain(&info("w").id, true).await.expect("drained");
    assert_eq!(queue.reap().await, Ok(Reaped::default()));
    assert_eq!(queue.workers().await.expect("workers").len(), 1);
    let total = queue.job(id).await.expect("the job").total();
    assert_eq!((total.done, total.leased, total.waiting()), (18, 0, 23));
    while lease(queue, "v", 1).await.len() == 1 {}
    assert_eq!(queue.job(id).await.expect("the job").total().leased, 22);
    assert_eq!(queue.workers().await.expect("workers")[0].leased, 22);
    let answer = queue.lease(&RequestId::generate(), &info("v"), 1).await;
    assert!(matches!(answer, Ok(LeaseAnswer::Nothing { due_in: None, .. })), "{answer:?}");
    queue.cancel(id).await.expect("cancelled");
    assert_eq!(queue.jobs(Jobs::All).await.expect("jobs").len(), 1);
    assert!(queue.jobs(Jobs::Live).await.expect("jobs").is_empty());
    assert!(queue.epoch().await.expect("an answer").is_some());
    loop {
        let event = events.recv().await.expect("an event");
        if event == (Event::Job { job: id, state: JobState::Cancelled }) {
            break;
        }
    }
}
