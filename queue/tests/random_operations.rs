//! Random operations on a queue, checked against a simple model of what was promised: a
//! task is leased to one worker at a time, only its newest ticket counts, what it follows
//! is done first, numbers add up, and whatever happened, every job can be finished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use vqfarm_core::clock::{ManualClock, Timestamp};
use vqfarm_core::id::{JobId, JobName, RequestId, TaskId, UserName, WorkerId};
use vqfarm_core::plan::Dependency::{self, All, Chain, Independent, Neighbours};
use vqfarm_queue::*;

#[derive(Clone, Debug)]
enum Op {
    Submit { layers: Vec<Dependency>, tasks: u64, user: u8, stored: u64 },
    Lease { worker: u8, most: u32 },
    Commit(usize),
    CommitAndLease { pick: usize, worker: u8, most: u32 },
    Fail(usize, bool),
    Release(usize),
    Heartbeat(usize),
    Advance(u64),
    Reap,
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    Retry(usize),
    DoOver(usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let pick = 0usize..64;
    let kind = prop_oneof![Just(Independent), Just(Chain), Just(Neighbours), Just(All)];
    let layers = (prop_oneof![Just(Independent), Just(Chain)], prop::collection::vec(kind, 0..3));
    prop_oneof![
        2 => (layers, 1u64..8, 0u8..3, 0u64..4).prop_map(|((bottom, mut layers), tasks, user, stored)| {
            layers.insert(0, bottom);
            Op::Submit { layers, tasks, user, stored }
        }),
        8 => (0u8..4, 1u32..4).prop_map(|(worker, most)| Op::Lease { worker, most }),
        8 => pick.clone().prop_map(Op::Commit),
        8 => (pick.clone(), 0u8..4, 1u32..4)
            .prop_map(|(pick, worker, most)| Op::CommitAndLease { pick, worker, most }),
        3 => (pick.clone(), any::<bool>()).prop_map(|(ticket, retryable)| Op::Fail(ticket, retryable)),
        2 => pick.clone().prop_map(Op::Release),
        2 => pick.clone().prop_map(Op::Heartbeat),
        3 => (0u64..40_000).prop_map(Op::Advance),
        2 => Just(Op::Reap),
        1 => pick.clone().prop_map(Op::Pause),
        1 => pick.clone().prop_map(Op::Resume),
        1 => pick.clone().prop_map(Op::Cancel),
        1 => pick.clone().prop_map(Op::Retry),
        1 => (pick, 0u64..8).prop_map(|(job, index)| Op::DoOver(job, index)),
    ]
}

/// What must be true, kept the plain way.
struct Model {
    queue: MemoryQueue,
    clock: Arc<ManualClock>,
    jobs: Vec<Submission>,
    /// Every ticket that was ever given.
    tickets: Vec<Ticket>,
    live: BTreeMap<TaskId, Ticket>,
    done: BTreeSet<TaskId>,
    committed: BTreeSet<Token>,
    stopped: BTreeSet<JobId>,
    cancelled: BTreeSet<JobId>,
}

impl Model {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        Self {
            queue: MemoryQueue::new(Policy::default(), clock.clone(), 3),
            clock,
            jobs: Vec::new(),
            tickets: Vec::new(),
            live: BTreeMap::new(),
            done: BTreeSet::new(),
            committed: BTreeSet::new(),
            stopped: BTreeSet::new(),
            cancelled: BTreeSet::new(),
        }
    }

    fn job(&self, pick: usize) -> Option<JobId> {
        self.jobs.get(pick % self.jobs.len().max(1)).map(|job| job.job)
    }

    /// One of the newest tickets, so that most operations mean something.
    fn ticket(&self, pick: usize) -> Option<Ticket> {
        self.tickets.iter().rev().nth(pick % self.tickets.len().clamp(1, 12)).copied()
    }

    fn is_live(&self, ticket: &Ticket) -> bool {
        self.live.get(&ticket.task) == Some(ticket)
    }

    /// Whether the tasks that this one follows are done.
    fn is_free(&self, task: TaskId) -> bool {
        let submission = self.jobs.iter().find(|job| job.job == task.job).expect("a known job");
        let layer = &submission.layers[usize::from(task.layer)];
        let done = |layer, index| self.done.contains(&TaskId { layer, index, ..task });
        match layer.dependency {
            Independent => true,
            Chain => task.index == 0 || done(task.layer, task.index - 1),
            Neighbours => (task.index.saturating_sub(1)..=task.index + 1)
                .filter(|index| *index < layer.tasks)
                .all(|index| done(task.layer - 1, index)),
            All => (0..task.layer).all(|below| {
                let tasks = submission.layers[usize::from(below)].tasks;
                (0..tasks).all(|index| done(below, index))
            }),
        }
    }

    async fn submit(&mut self, layers: &[Dependency], tasks: u64, user: u8, stored: u64) {
        let mut specs: Vec<LayerSpec> = layers
            .iter()
            .map(|&dependency| LayerSpec {
                name: "layer".into(),
                tasks,
                dependency,
                needs: Needs::default(),
            })
            .collect();
        specs.push(LayerSpec { tasks: 1, dependency: All, ..specs[0].clone() });
        let job = JobId::from_u128(self.jobs.len() as u128 + 1);
        let stored = 0..stored.min(tasks);
        let submission = Submission {
            request: RequestId::generate(),
            job,
            name: JobName::default(),
            user: UserName::new(format!("user{user}")).expect("a name"),
            priority: 0,
            layers: specs,
            done: vec![(0, stored.clone())],
        };
        assert_eq!(self.queue.submit(&submission).await, Ok(job));
        self.done.extend(stored.map(|index| TaskId { job, layer: 0, index }));
        self.jobs.push(submission);
    }

    async fn lease(&mut self, worker: u8, most: u32) -> usize {
        let info = info(worker);
        let answer = self.queue.lease(&RequestId::generate(), &info, most).await;
        self.leased(answer.expect("an answer"), most)
    }

    /// Checks what was leased; answers how many tasks.
    fn leased(&mut self, answer: LeaseAnswer, most: u32) -> usize {
        let LeaseAnswer::Work(lease) = answer else { return 0 };
        assert!((1..=most as usize).contains(&lease.tickets.len()));
        let first = lease.tickets[0].task;
        assert!(!self.stopped.contains(&first.job) && !self.cancelled.contains(&first.job));
        for (ticket, index) in lease.tickets.iter().zip(first.index..) {
            let task = ticket.task;
            assert_eq!(task, TaskId { index, ..first }, "neighbours of one layer");
            assert!(!self.done.contains(&task) && !self.live.contains_key(&task), "{task} is free");
            let before = TaskId { index: index.wrapping_sub(1), ..task };
            let follows = self.live.contains_key(&before) && index > first.index;
            let chain = self.dependency(task) == Chain;
            assert!(self.is_free(task) || chain && follows, "{task} came too early");
            self.live.insert(task, *ticket);
            self.tickets.push(*ticket);
        }
        lease.tickets.len()
    }

    fn dependency(&self, task: TaskId) -> Dependency {
        let job = self.jobs.iter().find(|job| job.job == task.job).expect("a known job");
        job.layers[usize::from(task.layer)].dependency
    }

    async fn commit(&mut self, ticket: Ticket) {
        let answer = self.queue.commit(&ticket).await;
        self.committed(ticket, answer);
    }

    /// Checks what a commit was answered.
    fn committed(&mut self, ticket: Ticket, answer: Result<Committed, QueueError>) {
        if self.committed.contains(&ticket.token) {
            // The memory of answers is bounded; what it forgot is stale, never counted twice.
            assert!(matches!(answer, Ok(Committed::Before) | Err(_)), "{answer:?}");
        } else if !self.is_live(&ticket) {
            assert!(answer.is_err(), "a stale ticket counted: {answer:?}");
        } else if self.dependency(ticket.task) == Chain && !self.is_free(ticket.task) {
            assert_eq!(answer, Err(QueueError::OutOfOrder(ticket.task)));
        } else {
            assert_eq!(answer, Ok(Committed::Now));
            self.live.remove(&ticket.task);
            self.committed.insert(ticket.token);
            assert!(self.done.insert(ticket.task), "one result a task");
        }
    }

    async fn apply(&mut self, op: &Op) {
        match op {
            Op::Submit { layers, tasks, user, stored } => {
                self.submit(layers, *tasks, *user, *stored).await;
            }
            Op::Lease { worker, most } => {
                self.lease(*worker, *most).await;
            }
            Op::Commit(pick) => {
                if let Some(ticket) = self.ticket(*pick) {
                    self.commit(ticket).await;
                }
            }
            Op::CommitAndLease { pick, worker, most } => {
                let done: Vec<Ticket> = self.ticket(*pick).into_iter().collect();
                let (request, info) = (RequestId::generate(), info(*worker));
                let answer = self.queue.commit_and_lease(&done, &request, &info, *most).await;
                let (commits, leased) = answer.expect("an answer");
                assert_eq!(commits.len(), done.len());
                for (ticket, commit) in done.into_iter().zip(commits) {
                    self.committed(ticket, commit);
                }
                self.leased(leased, *most);
            }
            Op::Fail(pick, retryable) => {
                let Some(ticket) = self.ticket(*pick) else { return };
                let failure = Failure { message: "x".into(), retryable: *retryable };
                let answer = self.queue.fail(&ticket, &failure).await;
                if self.is_live(&ticket) {
                    assert!(answer.is_ok(), "{answer:?}");
                    self.live.remove(&ticket.task);
                }
            }
            Op::Release(pick) => {
                let Some(ticket) = self.ticket(*pick) else { return };
                let answer = self.queue.release(&ticket).await;
                if self.is_live(&ticket) {
                    assert_eq!(answer, Ok(()));
                    self.live.remove(&ticket.task);
                }
            }
            Op::Heartbeat(pick) => {
                let Some(ticket) = self.ticket(*pick) else { return };
                let answer = self.queue.heartbeat(&info(0), &[ticket]).await.expect("heard");
                let good = matches!(answer.beats[..], [Beat::Extended(_)]);
                assert_eq!(good, self.is_live(&ticket));
            }
            Op::Advance(by) => self.clock.advance(Duration::from_millis(*by)),
            Op::Reap => {
                for task in self.queue.reap().await.expect("reaped").expired {
                    assert!(self.live.remove(&task).is_some(), "{task} was not leased");
                }
            }
            Op::Pause(pick) => {
                if let Some(job) = self.job(*pick)
                    && self.queue.pause(job).await.is_ok()
                {
                    self.stopped.insert(job);
                }
            }
            Op::Resume(pick) => {
                if let Some(job) = self.job(*pick)
                    && self.queue.resume(job).await.is_ok()
                {
                    self.stopped.remove(&job);
                }
            }
            Op::Cancel(pick) => {
                if let Some(job) = self.job(*pick)
                    && self.queue.cancel(job).await.is_ok()
                {
                    self.cancelled.insert(job);
                    self.live.retain(|task, _| task.job != job);
                }
            }
            Op::Retry(pick) => {
                if let Some(job) = self.job(*pick) {
                    let _ = self.queue.retry(job, &Retry::Failed).await;
                }
            }
            Op::DoOver(pick, index) => {
                let Some(job) = self.job(*pick) else { return };
                let which = Retry::Tasks { layer: 0, indices: vec![*index] };
                if self.queue.retry(job, &which).await.is_ok() {
                    self.done.remove(&TaskId { job, layer: 0, index: *index });
                }
            }
        }
    }

    /// The queue's numbers are those of the model.
    async fn check(&self) {
        for snapshot in self.queue.jobs(Jobs::All).await.expect("jobs") {
            for (number, layer) in snapshot.layers.iter().enumerate() {
                let layer = layer.counts;
                let parts = layer.done + layer.failed + layer.cancelled + layer.leased;
                assert_eq!(parts + layer.delayed + layer.waiting(), layer.tasks);
                let here =
                    |task: &&TaskId| task.job == snapshot.job && usize::from(task.layer) == number;
                assert_eq!(layer.done, self.done.iter().filter(here).count() as u64);
                assert_eq!(layer.leased, self.live.keys().filter(here).count() as u64);
            }
            let cancelled = self.cancelled.contains(&snapshot.job);
            assert_eq!(snapshot.state == JobState::Cancelled, cancelled);
            assert_eq!(snapshot.finished.is_some(), snapshot.state.is_final());
        }
    }

    /// Whatever happened: with working workers every job comes to its end.
    async fn finish(&mut self) {
        for pick in 0..self.jobs.len() {
            self.apply(&Op::Resume(pick)).await;
        }
        for _ in 0..2_000 {
            for pick in 0..self.jobs.len() {
                self.apply(&Op::Retry(pick)).await;
            }
            if self.lease(0, 3).await == 0 && self.live.is_empty() {
                let jobs = self.queue.jobs(Jobs::All).await.expect("jobs");
                if jobs.iter().all(|job| job.state.is_final()) {
                    break;
                }
                self.apply(&Op::Advance(40_000)).await;
            }
            let live: Vec<_> = self.live.values().copied().collect();
            for ticket in live {
                // A chain's end may have to wait for another worker's part: hand it back.
                if self.dependency(ticket.task) == Chain && !self.is_free(ticket.task) {
                    assert_eq!(self.queue.release(&ticket).await, Ok(()));
                    self.live.remove(&ticket.task);
                } else {
                    self.commit(ticket).await;
                }
            }
        }
        self.check().await;
        for job in self.queue.jobs(Jobs::All).await.expect("jobs") {
            assert!(matches!(job.state, JobState::Done | JobState::Cancelled), "{job:?}");
        }
    }
}

fn info(worker: u8) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(format!("worker{worker}")).expect("a name"),
        tags: BTreeSet::new(),
        memory: 0,
        loaded: BTreeSet::new(),
        busy: None,
        disk: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(ops in prop::collection::vec(op(), 0..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new();
            for op in &ops {
                model.apply(op).await;
                model.check().await;
            }
            model.finish().await;
        });
    }
}
