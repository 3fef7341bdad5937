//! The same random operations on the queue in memory, which is the specification, and on the
//! one in Redis: answers, snapshots and events must be the same.
//!
//! `VQFARM_SEED=<number>` replays a run, `VQFARM_CASES=<number>` makes it longer.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use tokio::sync::broadcast;
use vqfarm_core::clock::{ManualClock, Timestamp};
use vqfarm_core::id::{FarmName, JobId, JobName, RequestId, Tag, UserName, WorkerId};
use vqfarm_core::plan::Dependency::{self, All, Chain, Independent, Neighbours};
use vqfarm_queue::*;
use vqfarm_testing::redis::RedisServer;

static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);
static FARMS: AtomicU32 = AtomicU32::new(0);

/// Just below the end of a bitmap's chunk.
const FAR: u64 = 65_533;

#[derive(Clone, Debug)]
struct Sketch {
    layers: Vec<(Dependency, u8)>,
    tasks: u64,
    /// Begins where a chunk of a bitmap ends.
    far: bool,
    stored: Vec<(u8, u64, u64)>,
    user: u8,
    priority: i32,
}

#[derive(Clone, Debug)]
enum Op {
    Submit(Sketch),
    SubmitAgain(usize),
    Lease { worker: u8, most: u32 },
    LeaseAgain,
    Commit(usize),
    CommitAll(Vec<usize>),
    CommitAndLease { picks: Vec<usize>, worker: u8, most: u32 },
    CommitAndLeaseAgain,
    Fail(usize, bool),
    Release(usize),
    Heartbeat(u8, Vec<usize>),
    Advance(u64),
    Reap,
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    Retry(usize),
    DoOver { job: usize, layer: u8, indices: Vec<u64> },
    Priority(usize, i32),
    Drain(u8, bool),
    Forget(usize),
    Lose(Vec<u8>),
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let bottom = prop_oneof![2 => Just(Independent), 1 => Just(Chain)];
    let above = prop_oneof![Just(Independent), Just(Chain), Just(Neighbours), Just(All)];
    let layers = ((bottom, 0u8..4), prop::collection::vec((above, 0u8..4), 0..3))
        .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect());
    let stored = prop::collection::vec((0u8..2, 0u64..8, 1u64..5), 0..3);
    (layers, 1u64..8, prop::bool::weighted(0.1), stored, 0u8..3, -1i32..2).prop_map(
        |(layers, tasks, far, stored, user, priority)| Sketch {
            layers,
            tasks,
            far,
            stored,
            user,
            priority,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || 0usize..64;
    let picks = || prop::collection::vec(0usize..64, 1..5);
    prop_oneof![
        4 => sketch().prop_map(Op::Submit),
        1 => pick().prop_map(Op::SubmitAgain),
        12 => (0u8..4, 1u32..5).prop_map(|(worker, most)| Op::Lease { worker, most }),
        1 => Just(Op::LeaseAgain),
        8 => pick().prop_map(Op::Commit),
        4 => picks().prop_map(Op::CommitAll),
        8 => (prop::collection::vec(0usize..64, 0..5), 0u8..4, 1u32..5)
            .prop_map(|(picks, worker, most)| Op::CommitAndLease { picks, worker, most }),
        1 => Just(Op::CommitAndLeaseAgain),
        4 => (pick(), prop::bool::weighted(0.8)).prop_map(|(pick, retryable)| Op::Fail(pick, retryable)),
        2 => pick().prop_map(Op::Release),
        2 => (0u8..4, picks()).prop_map(|(worker, picks)| Op::Heartbeat(worker, picks)),
        4 => (0u64..40_000).prop_map(Op::Advance),
        1 => Just(Op::Advance(700_000)),
        2 => Just(Op::Reap),
        1 => pick().prop_map(Op::Pause),
        1 => pick().prop_map(Op::Resume),
        1 => pick().prop_map(Op::Cancel),
        1 => pick().prop_map(Op::Retry),
        2 => (pick(), 0u8..3, prop::collection::vec(0u64..8, 0..4))
            .prop_map(|(job, layer, indices)| Op::DoOver { job, layer, indices }),
        1 => (pick(), -1i32..2).prop_map(|(job, priority)| Op::Priority(job, priority)),
        1 => (0u8..4, any::<bool>()).prop_map(|(worker, drain)| Op::Drain(worker, drain)),
        1 => pick().prop_map(Op::Forget),
        1 => prop::collection::vec(0u8..3, 1..4).prop_map(Op::Lose),
    ]
}

/// The two queues and what they have in common.
struct Pair {
    memory: MemoryQueue,
    redis: RedisQueue,
    farm: String,
    clock: Arc<ManualClock>,
    jobs: Vec<Submission>,
    /// Every ticket that was given, by memory and by Redis.
    tickets: Vec<(Ticket, Ticket)>,
    last_lease: Option<(RequestId, WorkerInfo)>,
    /// What the last call that leased had committed.
    last_done: Vec<(Ticket, Ticket)>,
    events: (broadcast::Receiver<Event>, broadcast::Receiver<Event>),
}

type Checked = Result<(), TestCaseError>;

impl Pair {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        let policy = Policy::default();
        let memory = MemoryQueue::new(policy.clone(), clock.clone(), 3);
        let farm = format!("compare-{}", FARMS.fetch_add(1, Ordering::Relaxed));
        let name = FarmName::new(&*farm).expect("a name");
        let redis = RedisQueue::connect(&SERVER.url(), &name, policy).await.expect("connected");
        let redis = redis.with_clock(clock.clone());
        redis.open().await.expect("opened");
        let events = (memory.events(), redis.events());
        let (jobs, tickets) = (Vec::new(), Vec::new());
        let (last_lease, last_done) = (None, Vec::new());
        Self { memory, redis, farm, clock, jobs, tickets, last_lease, last_done, events }
    }

    fn job(&self, pick: usize) -> JobId {
        let known = self.jobs.get(pick % self.jobs.len().max(1));
        known.map_or(JobId::from_u128(999), |job| job.job)
    }

    /// One of the newest tickets, so that most operations mean something.
    fn ticket(&self, pick: usize) -> Option<(Ticket, Ticket)> {
        self.tickets.iter().rev().nth(pick % self.tickets.len().clamp(1, 12)).copied()
    }

    /// Answers are the same but for the tokens, which are random.
    fn same<T: std::fmt::Debug>(&self, memory: T, redis: T) -> Checked {
        let (memory, mut redis) = (format!("{memory:?}"), format!("{redis:?}"));
        for (ours, theirs) in &self.tickets {
            let token = |ticket: &Ticket| format!("{:?}", ticket.token);
            redis = redis.replace(&token(theirs), &token(ours));
        }
        prop_assert_eq!(memory, redis);
        Ok(())
    }

    fn submission(&self, sketch: &Sketch) -> Submission {
        let from = if sketch.far { FAR } else { 0 };
        let tasks = from + sketch.tasks;
        let layer = |&(dependency, needs): &(Dependency, u8)| LayerSpec {
            name: format!("{dependency:?}"),
            tasks,
            dependency,
            needs: Needs {
                tags: if needs == 1 { [tag()].into() } else { Default::default() },
                memory: if needs == 2 { 8 << 30 } else { 0 },
                models: if needs == 3 { ["coco".to_owned()].into() } else { Default::default() },
            },
        };
        let layers: Vec<LayerSpec> = sketch.layers.iter().map(layer).collect();
        let stored = sketch.stored.iter().filter(|(layer, ..)| usize::from(*layer) < layers.len());
        let stored = stored.map(|&(layer, start, length)| {
            (layer, (from + start).min(tasks)..(from + start + length).min(tasks))
        });
        let number = self.jobs.len() as u128 + 1;
        Submission {
            request: RequestId::new(format!("submit-{number}")).expect("an id"),
            job: JobId::from_u128(number),
            name: JobName::default(),
            user: UserName::new(format!("user{}", sketch.user)).expect("a name"),
            priority: sketch.priority,
            done: (0..layers.len() as u8).map(|layer| (layer, 0..from)).chain(stored).collect(),
            layers,
        }
    }

    async fn lease(&mut self, request: RequestId, info: WorkerInfo, most: u32) -> Checked {
        let memory = self.memory.lease(&request, &info, most).await;
        let redis = self.redis.lease(&request, &info, most).await;
        self.note(&memory, &redis)?;
        self.last_lease = Some((request, info));
        self.same(memory.map(unseen), redis.map(unseen))
    }

    async fn commit_and_lease(
        &mut self,
        done: Vec<(Ticket, Ticket)>,
        (request, info): (RequestId, WorkerInfo),
        most: u32,
    ) -> Checked {
        let (ours, theirs): (Vec<_>, Vec<_>) = done.iter().copied().unzip();
        let memory = self.memory.commit_and_lease(&ours, &request, &info, most).await;
        let redis = self.redis.commit_and_lease(&theirs, &request, &info, most).await;
        let leased = |answer: &Result<(Commits, LeaseAnswer), QueueError>| {
            answer.clone().map(|(_, leased)| leased)
        };
        self.note(&leased(&memory), &leased(&redis))?;
        (self.last_lease, self.last_done) = (Some((request, info)), done);
        let unseen = |(commits, leased)| (commits, unseen(leased));
        self.same(memory.map(unseen), redis.map(unseen))
    }

    /// Keeps the tickets that were given.
    fn note(
        &mut self,
        memory: &Result<LeaseAnswer, QueueError>,
        redis: &Result<LeaseAnswer, QueueError>,
    ) -> Checked {
        if let (Ok(LeaseAnswer::Work(ours)), Ok(LeaseAnswer::Work(theirs))) = (memory, redis) {
            prop_assert_eq!(ours.tickets.len(), theirs.tickets.len());
            self.tickets.extend(ours.tickets.iter().copied().zip(theirs.tickets.iter().copied()));
        }
        Ok(())
    }

    async fn lose(&mut self, standings: &[u8]) -> Checked {
        self.memory.lose();
        let delete =
            "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end";
        SERVER.ask(&["EVAL", delete, "0", &format!("{{vqfarm:{}}}:*", self.farm)]);
        for (at, submission) in self.jobs.iter().enumerate() {
            let restoration = Restoration {
                submission: submission.clone(),
                submitted: Timestamp(1_600_000_000_000),
                standing: match standings[at % standings.len()] {
                    0 => Standing::Active,
                    1 => Standing::Paused,
                    _ => Standing::Cancelled,
                },
            };
            self.same(
                self.memory.restore(&restoration).await,
                self.redis.restore(&restoration).await,
            )?;
        }
        prop_assert!(self.memory.open().await.is_ok() && self.redis.open().await.is_ok());
        Ok(())
    }

    async fn apply(&mut self, op: &Op) -> Checked {
        match op {
            Op::Submit(sketch) => {
                let submission = self.submission(sketch);
                let answers =
                    (self.memory.submit(&submission).await, self.redis.submit(&submission).await);
                if answers.0.is_ok() {
                    self.jobs.push(submission);
                }
                self.same(answers.0, answers.1)
            }
            Op::SubmitAgain(pick) => {
                let Some(submission) = self.jobs.get(pick % self.jobs.len().max(1)) else {
                    return Ok(());
                };
                self.same(self.memory.submit(submission).await, self.redis.submit(submission).await)
            }
            Op::Lease { worker, most } => {
                self.lease(RequestId::generate(), info(*worker), *most).await
            }
            Op::LeaseAgain => match self.last_lease.clone() {
                Some((request, info)) => self.lease(request, info, 3).await,
                None => Ok(()),
            },
            Op::Commit(pick) => {
                let Some((ours, theirs)) = self.ticket(*pick) else { return Ok(()) };
                self.same(self.memory.commit(&ours).await, self.redis.commit(&theirs).await)
            }
            Op::CommitAll(picks) => {
                let tickets = picks.iter().filter_map(|pick| self.ticket(*pick));
                let (ours, theirs): (Vec<_>, Vec<_>) = tickets.unzip();
                self.same(self.memory.commit_all(&ours).await, self.redis.commit_all(&theirs).await)
            }
            Op::CommitAndLease { picks, worker, most } => {
                let done = picks.iter().filter_map(|pick| self.ticket(*pick)).collect();
                self.commit_and_lease(done, (RequestId::generate(), info(*worker)), *most).await
            }
            Op::CommitAndLeaseAgain => match self.last_lease.clone() {
                Some(asked) => self.commit_and_lease(self.last_done.clone(), asked, 3).await,
                None => Ok(()),
            },
            Op::Fail(pick, retryable) => {
                let Some((ours, theirs)) = self.ticket(*pick) else { return Ok(()) };
                let failure = Failure { message: "no: luck 3 5".into(), retryable: *retryable };
                self.same(
                    self.memory.fail(&ours, &failure).await,
                    self.redis.fail(&theirs, &failure).await,
                )
            }
            Op::Release(pick) => {
                let Some((ours, theirs)) = self.ticket(*pick) else { return Ok(()) };
                self.same(self.memory.release(&ours).await, self.redis.release(&theirs).await)
            }
            Op::Heartbeat(worker, picks) => {
                let tickets = picks.iter().filter_map(|pick| self.ticket(*pick));
                let (ours, theirs): (Vec<_>, Vec<_>) = tickets.unzip();
                let info = info(*worker);
                self.same(
                    self.memory.heartbeat(&info, &ours).await,
                    self.redis.heartbeat(&info, &theirs).await,
                )
            }
            Op::Advance(by) => {
                self.clock.advance(Duration::from_millis(*by));
                Ok(())
            }
            Op::Reap => self.same(self.memory.reap().await, self.redis.reap().await),
            Op::Pause(pick) => {
                let job = self.job(*pick);
                self.same(self.memory.pause(job).await, self.redis.pause(job).await)
            }
            Op::Resume(pick) => {
                let job = self.job(*pick);
                self.same(self.memory.resume(job).await, self.redis.resume(job).await)
            }
            Op::Cancel(pick) => {
                let job = self.job(*pick);
                self.same(self.memory.cancel(job).await, self.redis.cancel(job).await)
            }
            Op::Retry(pick) => {
                let (job, which) = (self.job(*pick), Retry::Failed);
                self.same(self.memory.retry(job, &which).await, self.redis.retry(job, &which).await)
            }
            Op::DoOver { job, layer, indices } => {
                let job = self.job(*job);
                let far = self.jobs.iter().find(|known| known.job == job);
                let far = far.is_some_and(|job| job.layers[0].tasks > FAR);
                let indices =
                    indices.iter().map(|index| index + if far { FAR - 2 } else { 0 }).collect();
                let which = Retry::Tasks { layer: *layer, indices };
                self.same(self.memory.retry(job, &which).await, self.redis.retry(job, &which).await)
            }
            Op::Priority(pick, priority) => {
                let job = self.job(*pick);
                self.same(
                    self.memory.set_priority(job, *priority).await,
                    self.redis.set_priority(job, *priority).await,
                )
            }
            Op::Drain(worker, drain) => {
                let worker = info(*worker).id;
                self.same(
                    self.memory.drain(&worker, *drain).await,
                    self.redis.drain(&worker, *drain).await,
                )
            }
            Op::Forget(pick) => {
                let job = self.job(*pick);
                self.same(self.memory.forget(job).await, self.redis.forget(job).await)
            }
            Op::Lose(standings) => self.lose(standings).await,
        }
    }

    async fn compare(&mut self) -> Checked {
        let jobs = self.memory.jobs(Jobs::All).await;
        self.same(jobs.clone(), self.redis.jobs(Jobs::All).await)?;
        self.same(self.memory.job_ids().await, self.redis.job_ids().await)?;
        self.same(self.memory.ended().await, self.redis.ended().await)?;
        for state in [JobState::Running, JobState::Done, JobState::Failed, JobState::Cancelled] {
            let which = Jobs::InState(state, 2);
            self.same(self.memory.jobs(which).await, self.redis.jobs(which).await)?;
        }
        for job in jobs.expect("jobs") {
            let all = Tasks::default();
            self.same(
                self.memory.tasks(job.job, &all).await,
                self.redis.tasks(job.job, &all).await,
            )?;
        }
        self.same(self.memory.workers().await, self.redis.workers().await)
    }

    /// What happened, in any order: a reap may come to tasks in another one.
    async fn compare_events(&mut self) -> Checked {
        let (ours, theirs) = &mut self.events;
        let mut expected = Vec::new();
        while let Ok(event) = ours.try_recv() {
            if !matches!(event, Event::Opened(_)) {
                expected.push(format!("{event:?}"));
            }
        }
        let mut found = Vec::new();
        while found.len() < expected.len() {
            let event = tokio::time::timeout(Duration::from_secs(10), theirs.recv()).await;
            let Ok(Ok(event)) = event else { break };
            if !matches!(event, Event::Opened(_)) {
                found.push(format!("{event:?}"));
            }
        }
        expected.sort();
        found.sort();
        prop_assert_eq!(expected, found);
        Ok(())
    }
}

/// An answer without the count of what was seen, which each queue keeps for itself.
fn unseen(answer: LeaseAnswer) -> LeaseAnswer {
    match answer {
        LeaseAnswer::Nothing { due_in, .. } => LeaseAnswer::Nothing { seen: 0, due_in },
        other => other,
    }
}

fn tag() -> Tag {
    Tag::new("fast").expect("a tag")
}

/// Worker 0 has nothing; 1 the tag, 2 memory and the model, 3 everything.
fn info(worker: u8) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(format!("worker{worker}")).expect("a name"),
        tags: if worker % 2 == 1 { [tag()].into() } else { Default::default() },
        memory: if worker >= 2 { 16 << 30 } else { 0 },
        loaded: if worker >= 2 { ["coco".to_owned()].into() } else { Default::default() },
        busy: None,
        disk: None,
    }
}

fn run(seed: u64, cases: u32) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let result =
        TestRunner::new_with_rng(config, rng).run(&prop::collection::vec(op(), 0..40), |ops| {
            runtime.block_on(async {
                let mut pair = Pair::new().await;
                for op in &ops {
                    pair.apply(op).await?;
                    pair.compare().await?;
                }
                pair.compare_events().await
            })
        });
    if let Err(error) = result {
        panic!("VQFARM_SEED={seed} replays this: {error}");
    }
}

#[test]
fn redis_answers_as_memory_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("VQFARM_SEED").unwrap_or_else(any_seed);
    let cases = number("VQFARM_CASES").unwrap_or(500) as u32;
    run(seed, cases);
}

/// A fixed seed: what it covers is covered on every machine and every day.
#[test]
fn a_known_seed_is_replayed() {
    run(20_261_124, 200);
}

fn any_seed() -> u64 {
    RandomState::new().hash_one(0u8)
}
