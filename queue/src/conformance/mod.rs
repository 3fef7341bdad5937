//! What every queue must do, as tests that any queue can be put to.
//!
//! Each test takes a fresh, empty queue and panics where the queue does not conform.
//! [`conformance_tests!`] makes a test function of each.

mod control;
mod faults;
mod layers;
mod leases;
mod memory;
mod order;
mod watch;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{JobId, JobName, RequestId, Tag, TaskId, UserName, WorkerId};
use vqfarm_core::plan::Dependency;

pub use self::control::*;
pub use self::faults::*;
pub use self::layers::*;
pub use self::leases::*;
pub use self::memory::*;
pub use self::order::*;
pub use self::watch::*;
use crate::*;

/// Something that will have been done.
pub type Soon<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A queue under test and the hand on its clock.
pub struct Subject<'a> {
    pub queue: &'a dyn Queue,
    /// Moves the queue's time forward.
    pub advance: &'a (dyn Fn(Duration) + Sync),
    /// Makes the queue lose its memory, as when its server comes back empty.
    pub lose: &'a (dyn Fn() -> Soon<'a> + Sync),
    /// What the queue was made with.
    pub policy: Policy,
}

/// Makes a `#[tokio::test]` of every conformance test. `$with` is an async function that
/// makes a fresh queue and calls its argument, an async closure, with the [`Subject`].
#[macro_export]
macro_rules! conformance_tests {
    ($with:path) => {
        $crate::conformance_tests!(@ $with:
            a_submit_repeated_is_one_job, submissions_that_make_no_sense_are_refused,
            a_huge_job_is_counted_at_once, leases_are_neighbours, each_task_is_leased_once,
            a_lost_lease_answer_is_given_again, waiting_workers_are_woken,
            workers_are_known_by_what_they_said, only_the_ticket_counts,
            a_lost_commit_answer_can_be_asked_for, a_silent_worker_loses_its_lease,
            the_same_worker_again_is_another_attempt, heartbeats_keep_a_lease,
            a_poison_task_is_quarantined, a_hopeless_failure_is_final_at_once,
            released_tasks_lose_nothing, failed_jobs_can_be_retried, done_tasks_can_be_done_over,
            independent_tasks_wait_for_nothing, a_chain_goes_in_order, a_broken_chain_heals,
            neighbours_wait_for_three, all_waits_for_the_whole_layer,
            all_waits_for_every_layer_below, what_is_done_over_holds_up_all_above,
            stored_tasks_are_not_leased,
            priority_goes_first, users_share_fairly, loaded_models_are_preferred,
            age_decides_last, workers_get_only_what_fits, paused_jobs_give_no_work,
            cancelled_jobs_are_over, cancel_and_commit_leave_one_state, draining_workers_get_no_work,
            unknown_names_are_refused, events_tell_what_happens, several_commits_are_one_call,
            a_commit_and_the_next_lease_are_one_call, pauses_that_are_over_are_seen_by_a_commit,
            commits_count_for_their_own_tasks_in_any_order, a_forgotten_job_leaves_nothing_behind,
            a_queue_without_its_memory_is_closed, lost_jobs_are_restored,
            jobs_that_are_over_can_be_forgotten, silent_workers_are_forgotten,
            every_lane_gets_its_lost_answer_again, heartbeats_keep_the_tasks_that_they_name,
            what_waits_is_ready_or_blocked, tasks_come_in_pages,
            done_tasks_are_counted_by_parts, jobs_are_listed_by_age,
            long_messages_are_cut);
    };
    (@ $with:path: $($test:ident),*) => {
        $(#[tokio::test]
        async fn $test() {
            $with(async |subject| $crate::conformance::$test(&subject).await).await;
        })*
    };
}

impl Subject<'_> {
    /// Submits a job of user `user` with these layers; its id is `number`.
    async fn submit(&self, number: u128, user: &str, layers: &[(u64, Dependency)]) -> JobId {
        self.submit_with(job(number, user, layers)).await
    }

    async fn submit_with(&self, submission: Submission) -> JobId {
        self.queue.submit(&submission).await.expect("a good submission")
    }

    /// The tickets that a worker gets; none when there is nothing for it.
    async fn lease(&self, worker: &str, most: u32) -> Vec<Ticket> {
        self.lease_as(&info(worker), most).await
    }

    async fn lease_as(&self, worker: &WorkerInfo, most: u32) -> Vec<Ticket> {
        match self.queue.lease(&RequestId::generate(), worker, most).await.expect("a lease") {
            LeaseAnswer::Work(lease) => lease.tickets,
            LeaseAnswer::Nothing { .. } | LeaseAnswer::Drain => Vec::new(),
        }
    }

    async fn commit(&self, ticket: &Ticket) {
        assert_eq!(self.queue.commit(ticket).await, Ok(Committed::Now));
    }

    async fn fail(&self, ticket: &Ticket) -> Failed {
        let failure = Failure { message: "no luck".into(), retryable: true };
        self.queue.fail(ticket, &failure).await.expect("a failure is taken")
    }

    async fn state(&self, job: JobId) -> JobState {
        let snapshot = self.queue.job(job).await.expect("the job is there");
        let total = snapshot.total();
        let sum = total.done + total.failed + total.cancelled + total.leased + total.delayed;
        assert_eq!(sum + total.waiting(), total.tasks, "counts add up");
        snapshot.state
    }

    async fn layer(&self, job: JobId, layer: usize) -> TaskCounts {
        self.queue.job(job).await.expect("the job is there").layers[layer].counts
    }
}

fn job(number: u128, user: &str, layers: &[(u64, Dependency)]) -> Submission {
    let layer = |(at, &(tasks, dependency)): (usize, &(u64, Dependency))| LayerSpec {
        name: format!("layer{at}"),
        tasks,
        dependency,
        needs: Needs::default(),
    };
    Submission {
        request: RequestId::generate(),
        job: JobId::from_u128(number),
        name: JobName::default(),
        user: UserName::new(user).expect("a user's name"),
        priority: 0,
        layers: layers.iter().enumerate().map(layer).collect(),
        done: Vec::new(),
    }
}

fn info(worker: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(worker).expect("a worker's name"),
        tags: BTreeSet::new(),
        memory: 0,
        loaded: BTreeSet::new(),
        busy: None,
        disk: None,
    }
}

fn tag(name: &str) -> Tag {
    Tag::new(name).expect("a tag")
}

fn indices(tickets: &[Ticket]) -> Vec<u64> {
    tickets.iter().map(|ticket| ticket.task.index).collect()
}
