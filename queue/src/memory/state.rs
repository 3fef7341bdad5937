//! All jobs and workers, and the operations on them. Time and randomness come from outside.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{JobId, RequestId, TaskId, UserName, WorkerId};
use vqfarm_core::rng::{Key, Purpose, Stream};

use super::job::Job;
use super::layer::{Layer, Running};
use crate::*;

/// A user may be this many tasks ahead of another before a worker unloads its models for
/// the sake of fairness.
const SLACK: u64 = 16;

pub(super) struct State {
    policy: Policy,
    /// Where tokens and epochs come from.
    random: Stream,
    epoch: Option<Epoch>,
    jobs: BTreeMap<JobId, Job>,
    /// Jobs that ever came.
    numbers: u64,
    requests: HashMap<RequestId, JobId>,
    workers: BTreeMap<WorkerId, Worker>,
    /// What was given to each request, for a worker that lost the answer; while some of its tasks
    /// run.
    given: HashMap<RequestId, Lease>,
    /// Tasks leased to each user, level with the others since the user last came.
    served: BTreeMap<UserName, u64>,
    settled: HashMap<Token, Settled>,
    settled_order: VecDeque<(Timestamp, Token)>,
    /// What happened in the running operation.
    pub events: Vec<Event>,
    /// Whether the running operation made work for somebody.
    pub opened: bool,
}

struct Worker {
    info: WorkerInfo,
    last_seen: Timestamp,
    draining: bool,
}

/// How an attempt ended, for a worker that lost the answer.
#[derive(Clone, Copy)]
enum Settled {
    Committed,
    Failed(Failed),
    Released,
}

impl State {
    pub fn new(policy: Policy, seed: u64) -> Self {
        Self {
            policy,
            random: Key::new(seed, Purpose::Scene).stream(),
            epoch: None,
            jobs: BTreeMap::new(),
            numbers: 0,
            requests: HashMap::new(),
            workers: BTreeMap::new(),
            given: HashMap::new(),
            served: BTreeMap::new(),
            settled: HashMap::new(),
            settled_order: VecDeque::new(),
            events: Vec::new(),
            opened: false,
        }
    }

    /// Drops the answers that nobody may ask for any more.
    pub fn forget(&mut self, now: Timestamp) {
        while let Some((at, token)) = self.settled_order.front() {
            if now.since(*at) < self.policy.memory {
                break;
            }
            self.settled.remove(token);
            self.settled_order.pop_front();
        }
    }

    fn random(&mut self) -> u64 {
        let high = u64::from(self.random.word());
        high << 32 | u64::from(self.random.word())
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    pub fn open(&mut self) -> Epoch {
        if let Some(epoch) = self.epoch {
            return epoch;
        }
        let epoch = Epoch(self.random());
        self.epoch = Some(epoch);
        self.events.push(Event::Opened(epoch));
        self.opened = true;
        epoch
    }

    /// As a server that comes back empty.
    pub fn lose(&mut self) {
        let seed = self.random();
        *self = Self::new(self.policy.clone(), seed);
    }

    pub fn submit(&mut self, submission: &Submission, now: Timestamp) -> Result<JobId, QueueError> {
        if let Some(job) = self.requests.get(&submission.request) {
            return Ok(*job);
        }
        if self.jobs.contains_key(&submission.job) {
            return Err(QueueError::JobExists(submission.job));
        }
        self.add(submission, now, Standing::Active, now)?;
        Ok(submission.job)
    }

    pub fn restore(&mut self, job: &Restoration, now: Timestamp) -> Result<bool, QueueError> {
        if self.jobs.contains_key(&job.submission.job) {
            return Ok(false);
        }
        self.add(&job.submission, job.submitted, job.standing, now)?;
        Ok(true)
    }

    fn add(
        &mut self,
        submission: &Submission,
        submitted: Timestamp,
        standing: Standing,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let mut job = Job::new(submission, self.numbers, submitted)?;
        self.numbers += 1;
        match standing {
            Standing::Active => (),
            Standing::Paused => job.paused = true,
            Standing::Cancelled => job.cancel(),
        }
        job.snapshot.state = job.state();
        job.snapshot.finished = job.snapshot.state.is_final().then_some(now);
        self.level(&submission.user);
        self.requests.insert(submission.request.clone(), submission.job);
        self.events.push(Event::Submitted(submission.job));
        self.jobs.insert(submission.job, job);
        self.opened = true;
        Ok(())
    }

    pub fn remove(&mut self, id: JobId) -> Result<(), QueueError> {
        let state = self.job(id)?.snapshot.state;
        if !state.is_final() {
            return Err(QueueError::NotOver { job: id, state });
        }
        self.jobs.remove(&id);
        self.requests.retain(|_, job| *job != id);
        Ok(())
    }

    /// A user who comes back after a pause starts level with those who are here: no credit is
    /// saved up by staying away.
    fn level(&mut self, user: &UserName) {
        let live = |user: &UserName| {
            let mut jobs = self.jobs.values();
            jobs.any(|job| job.snapshot.user == *user && !job.snapshot.state.is_final())
        };
        if live(user) {
            return;
        }
        let others = self.served.iter().filter(|(other, _)| live(other));
        let least = others.map(|(_, served)| *served).min().unwrap_or(0);
        let served = self.served.entry(user.clone()).or_default();
        *served = (*served).max(least);
    }

    pub fn lease(
        &mut self,
        request: &RequestId,
        info: &WorkerInfo,
        most: u32,
        seen: u64,
        now: Timestamp,
    ) -> LeaseAnswer {
        let draining = match self.workers.get(&info.id) {
            Some(known) if known.info == *info && now.since(known.last_seen) < NOTE_WORKER => {
                known.draining
            }
            _ => self.greet(info, now).draining,
        };
        let Self { given, jobs, .. } = self;
        given.retain(|_, lease| {
            lease.tickets.iter().any(|ticket| {
                jobs.get_mut(&ticket.task.job).is_some_and(|job| job.running(ticket).is_ok())
            })
        });
        if let Some(lease) = self.given.get(request) {
            return LeaseAnswer::Work(lease.clone());
        }
        if draining {
            return LeaseAnswer::Drain;
        }
        let woken = self.jobs.iter_mut().filter_map(|(id, job)| job.wake(now).then_some(*id));
        for id in woken.collect::<Vec<_>>() {
            self.settle_state(id, now);
        }
        let Some((id, layer, first)) = self.choose(info) else {
            return LeaseAnswer::Nothing { seen, due_in: self.due_in(info, now) };
        };
        let lease = self.grant(id, layer, first, most, info, now);
        self.given.insert(request.clone(), lease.clone());
        LeaseAnswer::Work(lease)
    }

    fn greet(&mut self, info: &WorkerInfo, now: Timestamp) -> &mut Worker {
        let worker = self.workers.entry(info.id.clone()).or_insert_with(|| Worker {
            info: info.clone(),
            last_seen: now,
            draining: false,
        });
        worker.info = info.clone();
        worker.last_seen = now;
        worker
    }

    /// The job, layer and first task that this worker shall have.
    fn choose(&self, info: &WorkerInfo) -> Option<(JobId, usize, u64)> {
        let offers = self.jobs.iter().flat_map(|(id, job)| {
            let fitting = job.offers().filter(|(layer, _)| fits(&job.layers[*layer], info));
            fitting.map(move |(layer, first)| (id, job, layer, first))
        });
        let ranked = offers.map(|(id, job, layer, first)| {
            let user = &job.snapshot.user;
            let served = self.served.get(user).copied().unwrap_or(0);
            let loaded = job.layers[layer].spec.needs.models.is_subset(&info.loaded);
            let share = (served / SLACK, !loaded, served, user);
            let rank = (Reverse(job.snapshot.priority), share, job.number, Reverse(layer));
            (rank, (*id, layer, first))
        });
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, task)| task)
    }

    fn grant(
        &mut self,
        id: JobId,
        layer: usize,
        first: u64,
        most: u32,
        info: &WorkerInfo,
        now: Timestamp,
    ) -> Lease {
        let expires = now.after(self.policy.lease);
        let mut tickets = Vec::new();
        let tokens: Vec<u64> = (0..most).map(|_| self.random()).collect();
        let mut tokens = tokens.into_iter();
        if let Some(job) = self.jobs.get_mut(&id) {
            for index in job.take(layer, first, most) {
                let token = Token(tokens.next().unwrap_or_default());
                let running = Running { worker: info.id.clone(), token, expires };
                let layer_state = &mut job.layers[layer];
                layer_state.leased.insert(index, running);
                let history = layer_state.history.entry(index).or_default();
                history.attempt += 1;
                let task = TaskId { job: id, layer: layer as u8, index };
                tickets.push(Ticket { task, attempt: history.attempt, token });
            }
            *self.served.entry(job.snapshot.user.clone()).or_default() += tickets.len() as u64;
        }
        let tasks = tickets.iter().map(|ticket| ticket.task).collect();
        self.events.push(Event::Leased { tasks, worker: info.id.clone() });
        self.settle_state(id, now);
        Lease { tickets, expires, lasts: self.policy.lease }
    }

    /// When a task that this worker could do may be ready.
    fn due_in(&self, info: &WorkerInfo, now: Timestamp) -> Option<Duration> {
        let jobs = self.jobs.values().filter(|job| !job.paused);
        let layers = jobs.flat_map(|job| &job.layers).filter(|layer| fits(layer, info));
        layers.flat_map(|layer| layer.delayed.values()).min().map(|until| until.since(now))
    }

    pub fn heartbeat(
        &mut self,
        info: &WorkerInfo,
        tickets: &[Ticket],
        now: Timestamp,
    ) -> HeartbeatAnswer {
        let drain = self.greet(info, now).draining;
        let expires = now.after(self.policy.lease);
        let beats = tickets.iter().map(|ticket| {
            let running = match self.jobs.get_mut(&ticket.task.job) {
                Some(job) => job.running(ticket),
                None => return Beat::Stale,
            };
            match running {
                Ok(running) => {
                    running.expires = expires;
                    Beat::Extended(expires)
                }
                Err(QueueError::Finished { .. }) => Beat::Cancelled,
                Err(_) => Beat::Stale,
            }
        });
        HeartbeatAnswer { beats: beats.collect(), drain }
    }

    pub fn commit(&mut self, ticket: &Ticket, now: Timestamp) -> Result<Committed, QueueError> {
        if let Some(Settled::Committed) = self.settled.get(&ticket.token) {
            return Ok(Committed::Before);
        }
        self.opened |= self.job(ticket.task.job)?.commit(ticket)?;
        self.remember(ticket, Settled::Committed, now);
        self.events.push(Event::Committed(ticket.task));
        self.settle_state(ticket.task.job, now);
        Ok(Committed::Now)
    }

    pub fn fail(
        &mut self,
        ticket: &Ticket,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<Failed, QueueError> {
        if let Some(Settled::Failed(outcome)) = self.settled.get(&ticket.token) {
            return Ok(*outcome);
        }
        self.job(ticket.task.job)?.running(ticket)?;
        let outcome = self.end(ticket.task, failure, now)?;
        self.remember(ticket, Settled::Failed(outcome), now);
        Ok(outcome)
    }

    fn end(
        &mut self,
        task: TaskId,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<Failed, QueueError> {
        let policy = self.policy.clone();
        let outcome = self.job(task.job)?.fail(task, failure, &policy, now);
        // A waiting worker must learn by when to ask again.
        self.opened = true;
        let message = failure.kept().to_owned();
        self.events.push(Event::Failed { task, message, outcome });
        self.settle_state(task.job, now);
        Ok(outcome)
    }

    pub fn release(&mut self, ticket: &Ticket, now: Timestamp) -> Result<(), QueueError> {
        if let Some(Settled::Released) = self.settled.get(&ticket.token) {
            return Ok(());
        }
        let job = self.job(ticket.task.job)?;
        job.running(ticket)?;
        job.release(ticket.task);
        self.opened = true;
        self.remember(ticket, Settled::Released, now);
        self.events.push(Event::Released(ticket.task));
        self.settle_state(ticket.task.job, now);
        Ok(())
    }

    fn remember(&mut self, ticket: &Ticket, how: Settled, now: Timestamp) {
        self.settled.insert(ticket.token, how);
        self.settled_order.push_back((now, ticket.token));
    }

    pub fn reap(&mut self, now: Timestamp) -> Reaped {
        let expired: Vec<_> = self.jobs.values().flat_map(|job| job.expired(now)).collect();
        let mut reaped = Reaped::default();
        for (task, running) in expired {
            let message = format!(
                "worker {} was not heard of for {} s",
                running.worker,
                self.policy.lease.as_secs_f64()
            );
            let failure = Failure { message, retryable: true };
            if let Ok(Failed::Quarantined) = self.end(task, &failure, now) {
                reaped.quarantined.push(task);
            }
            reaped.expired.push(task);
        }
        self.workers.retain(|_, worker| now.since(worker.last_seen) < FORGET_WORKER);
        reaped
    }

    pub fn pause(&mut self, id: JobId, pause: bool, now: Timestamp) -> Result<(), QueueError> {
        let action = if pause { "a pause" } else { "a resume" };
        self.unless_over(id, action)?.paused = pause;
        self.opened |= !pause;
        self.settle_state(id, now);
        Ok(())
    }

    pub fn cancel(&mut self, id: JobId, now: Timestamp) -> Result<(), QueueError> {
        match self.job(id)?.snapshot.state {
            JobState::Cancelled => Ok(()),
            state @ JobState::Done => {
                Err(QueueError::Finished { job: id, state, action: "a cancel".into() })
            }
            _ => {
                self.job(id)?.cancel();
                self.settle_state(id, now);
                Ok(())
            }
        }
    }

    pub fn retry(&mut self, id: JobId, which: &Retry, now: Timestamp) -> Result<u64, QueueError> {
        let job = self.job(id)?;
        if job.snapshot.state == JobState::Cancelled {
            let (state, action) = (JobState::Cancelled, "a retry".into());
            return Err(QueueError::Finished { job: id, state, action });
        }
        let count = match which {
            Retry::Failed => {
                let failed = |layer: &Layer| layer.failed.iter().copied().collect::<Vec<_>>();
                let failed: Vec<_> = job.layers.iter().map(failed).collect();
                failed.iter().enumerate().map(|(layer, tasks)| job.retry(layer, tasks)).sum()
            }
            Retry::Tasks { layer, indices } => {
                let tasks = job.layers.get(usize::from(*layer)).map_or(0, |l| l.spec.tasks);
                if let Some(&index) = indices.iter().find(|index| **index >= tasks) {
                    return Err(QueueError::NoSuchTask(TaskId { job: id, layer: *layer, index }));
                }
                job.retry(usize::from(*layer), indices)
            }
        };
        self.opened = true;
        self.settle_state(id, now);
        Ok(count)
    }

    pub fn drain(&mut self, worker: &WorkerId, drain: bool) -> Result<(), QueueError> {
        let unknown = || QueueError::NoSuchWorker(worker.clone());
        self.workers.get_mut(worker).ok_or_else(unknown)?.draining = drain;
        self.opened = true;
        Ok(())
    }

    pub fn job(&mut self, id: JobId) -> Result<&mut Job, QueueError> {
        self.jobs.get_mut(&id).ok_or(QueueError::NoSuchJob(id))
    }

    fn unless_over(&mut self, id: JobId, action: &str) -> Result<&mut Job, QueueError> {
        let job = self.job(id)?;
        let state = job.snapshot.state;
        match state {
            JobState::Done | JobState::Cancelled => {
                Err(QueueError::Finished { job: id, state, action: action.into() })
            }
            _ => Ok(job),
        }
    }

    /// Takes note of a job's new state, if it is new.
    fn settle_state(&mut self, id: JobId, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let state = job.state();
        if state == job.snapshot.state {
            return;
        }
        job.snapshot.state = state;
        job.snapshot.finished = state.is_final().then_some(now);
        self.events.push(Event::Job { job: id, state });
    }

    pub fn jobs(&self, which: Jobs) -> Vec<JobSnapshot> {
        let mut jobs: Vec<_> = self.jobs.values().collect();
        jobs.sort_by_key(|job| job.number);
        match which {
            Jobs::All => (),
            Jobs::Live => jobs.retain(|job| !job.snapshot.state.is_final()),
            Jobs::Newest(most) => keep_last(&mut jobs, most),
            Jobs::InState(state, most) => {
                jobs.retain(|job| job.snapshot.state == state);
                keep_last(&mut jobs, most);
            }
        }
        jobs.into_iter().map(Job::snapshot).collect()
    }

    pub fn ended(&self) -> Ended {
        let mut ended = Ended::default();
        for job in self.jobs.values() {
            match job.snapshot.state {
                JobState::Done => ended.done += 1,
                JobState::Failed => ended.failed += 1,
                JobState::Cancelled => ended.cancelled += 1,
                JobState::Waiting | JobState::Running | JobState::Paused => (),
            }
        }
        ended
    }

    pub fn workers(&self, now: Timestamp) -> Vec<WorkerSnapshot> {
        let mut leased: BTreeMap<&WorkerId, u64> = BTreeMap::new();
        let layers = self.jobs.values().flat_map(|job| &job.layers);
        for running in layers.flat_map(|layer| layer.leased.values()) {
            *leased.entry(&running.worker).or_default() += 1;
        }
        let snapshot = |worker: &Worker| WorkerSnapshot {
            info: worker.info.clone(),
            version: Some(VERSION.into()),
            last_seen: worker.last_seen,
            draining: worker.draining,
            leased: leased.get(&worker.info.id).copied().unwrap_or(0),
        };
        let known = self.workers.values();
        known.filter(|worker| now.since(worker.last_seen) < FORGET_WORKER).map(snapshot).collect()
    }
}

fn keep_last(jobs: &mut Vec<&Job>, most: u32) {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    jobs.drain(..jobs.len().saturating_sub(most));
}

fn fits(layer: &Layer, info: &WorkerInfo) -> bool {
    let needs = &layer.spec.needs;
    needs.tags.is_subset(&info.tags) && needs.memory <= info.memory
}
