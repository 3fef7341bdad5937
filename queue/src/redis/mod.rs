//! The queue in Redis or Valkey: what a farm runs on.
//!
//! Every change is one Lua script; the files in `lua/` say what each takes and answers. All
//! keys begin with `{vqfarm:<farm>}:`, one hash tag, so that a farm lies on one node of a
//! cluster:
//!
//! | key | holds |
//! |---|---|
//! | `farm` | epoch, protocol, count of wakes, earliest due time, number of the last job, whose turn it is |
//! | `requests` | job by the request id of its submit |
//! | `jobs`, `live`, `over:<state>` | all jobs, those that are not over, and those that are, by number |
//! | `j:<job>` | the job's numbers, one field a layer, one field a task that was tried and is not done |
//! | `b:<job>/<layer>/<d or r><chunk>` | bitmaps of done tasks and of tasks that are ready (again) |
//! | `f:<job>` | tasks that failed for good |
//! | `ready`, `u:…`, `o:…` | what can be leased: by priority and needs, then user, then age |
//! | `users`, `served` | each user's live jobs, and tasks leased so far |
//! | `leases` | a record of each lease that some task still runs in, and its name by its request |
//! | `ends`, `delays` | leases and put-off tasks by when they end |
//! | `seats` | who was heard of, and what it said |
//! | `s:…` | how calls ended, for clients that lost the answer |
//!
//! Messages are published on `wake` and `events` under the same prefix.
//!
//! Commits and leases that a process asks for while its calls are under way share the next one
//! (`gather.rs`, `lua/turn.lua`); everything else is a call of its own.
//!
//! A server that has reached its `maxmemory` refuses submits and restorations, which make the
//! farm larger, as [`QueueError::Full`]. Everything else goes on: Redis lets a script run
//! whose first write frees memory, and those begin with such a write. What they add is bounded
//! by the tasks that run at once and the answers remembered for a while.
//!
//! `deploy/redis.acl` is an account that may do what the queue does, in one farm.

mod address;
mod caller;
mod decode;
mod encode;
mod feed;
mod gather;
mod link;
mod scripts;
mod server;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use async_trait::async_trait;
use tokio::sync::broadcast;
use vqfarm_core::clock::{Clock, Timestamp};
use vqfarm_core::id::{FarmName, JobId, RequestId, TaskId, WorkerId};

use self::address::Source;
use self::caller::Caller;
use self::feed::Feed;
use self::gather::Gather;
use self::link::Link;
use self::scripts::Script;
use crate::check::check;
use crate::protocol::PROTOCOLS;
use crate::*;

/// Jobs told of, tasks reaped, and failed tasks retried in one script, so that none keeps
/// the server from others for long.
const PAGE: u32 = 250;
const REAPED: u32 = 200;
const RETRIED: usize = 2_000;
/// Tasks committed, heartbeats and entries in one command.
const BATCH: usize = 500;

/// How a [`RedisQueue`] is reached and what it promises.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    pub policy: Policy,
    /// A call that is not answered by then has failed.
    pub call: Duration,
    /// A connection that does not answer for so long is made anew.
    pub answer: Duration,
    /// A connection that is not made by then has failed.
    pub connect: Duration,
    /// Certificates to trust instead of the machine's own, as PEM.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate, for servers that ask for one.
    pub identity: Option<Identity>,
    /// The account at the sentinels, where they have one.
    pub sentinel: Option<Account>,
    /// Of which the farm's queue must have one; tests play other releases.
    #[doc(hidden)]
    pub protocols: RangeInclusive<u32>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            call: Duration::from_secs(10),
            answer: Duration::from_secs(3),
            connect: Duration::from_secs(3),
            ca: None,
            identity: None,
            sentinel: None,
            protocols: PROTOCOLS,
        }
    }
}

/// A client's certificate and key, as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

#[derive(Clone)]
pub struct Account {
    pub user: Option<String>,
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why there is no connection to a queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("{url:?} is not an address of Redis: {why}")]
    Address { url: String, why: String },
    #[error(
        "Redis has maxmemory-policy {found:?}, with which it may throw jobs away: set \
         `maxmemory-policy noeviction`"
    )]
    Eviction { found: String },
    #[error("Redis {found:?} is too old: 6.2 or later, or Valkey, is needed")]
    Version { found: String },
    #[error(transparent)]
    Refused(#[from] QueueError),
}

/// A queue in Redis or Valkey.
pub struct RedisQueue {
    caller: Arc<Caller>,
    gather: Arc<Gather>,
}

impl RedisQueue {
    /// Connects to the farm's queue at an address:
    /// `redis://[user:password@]host[:port][/db]`, `unix:///path`,
    /// `redis+sentinel://[user:password@]host:port,host:port/master[/db]`,
    /// `redis+cluster://[user:password@]host:port,host:port`, and with `rediss` for TLS.
    ///
    /// # Errors
    /// The address makes no sense; the server cannot be reached, refuses the account, is too
    /// old or may evict keys; the farm's queue is kept as this program does not know.
    pub async fn connect(url: &str, farm: &FarmName, policy: Policy) -> Result<Self, ConnectError> {
        Self::connect_with(url, farm, RedisOptions { policy, ..RedisOptions::default() }).await
    }

    /// As [`RedisQueue::connect`], with all options.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_with(
        url: &str,
        farm: &FarmName,
        options: RedisOptions,
    ) -> Result<Self, ConnectError> {
        // Another part of the process may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let source = Source::parse(url, &options)?;
        let (policy, limit) = (options.policy.clone(), options.call);
        let protocols = options.protocols.clone();
        let link = Arc::new(Link::new(source, options));
        let prefix = format!("{{vqfarm:{farm}}}:");
        let key = format!("{prefix}farm");
        let info = server::ask(&link, &key).await?;
        info.check()?;
        for warning in info.health().warnings {
            tracing::warn!("{warning}");
        }
        let feed = Feed::start(link.clone(), prefix.clone());
        let (epoch, clock) = (AtomicU64::new(0), OnceLock::new());
        let caller =
            Arc::new(Caller { link, feed, policy, limit, prefix, key, epoch, protocols, clock });
        caller.check_protocol().await?;
        let gather = Arc::new(Gather::new(caller.clone()));
        Ok(Self { caller, gather })
    }

    /// Puts a clock in the place of the server's, for tests of what time brings.
    #[doc(hidden)]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        // The first one counts.
        let _ = self.caller.clock.set(clock);
        self
    }

    /// Runs a script about one job that says no more than whether it was done.
    async fn order(
        &self,
        script: &Script,
        job: JobId,
        action: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Vec<Value>, QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(job.to_string());
            arguments(command);
            Ok(())
        };
        let (word, answer) = self.caller.tell(script, fill).await?;
        let state = || decode::state(decode::int(answer.get(1).unwrap_or(&Value::Nil))?);
        match word.as_str() {
            "ok" => Ok(answer),
            "nojob" => Err(QueueError::NoSuchJob(job)),
            "over" => Err(QueueError::Finished { job, state: state()?, action: action.into() }),
            "cancelled" => {
                let state = JobState::Cancelled;
                Err(QueueError::Finished { job, state, action: action.into() })
            }
            "live" => Err(QueueError::NotOver { job, state: state()? }),
            "notask" => {
                let index = answer.get(1).map(decode::int).transpose()?.unwrap_or(0);
                let index = u64::try_from(index).unwrap_or(0);
                Err(QueueError::NoSuchTask(TaskId { job, layer: 0, index }))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Arguments that name one attempt.
    fn attempt(&self, command: &mut Cmd, ticket: &Ticket) {
        let TaskId { job, layer, index } = ticket.task;
        command.arg(job.to_string()).arg(layer).arg(millis(self.caller.policy.memory));
        command.arg(index).arg(ticket.token.to_string()).arg(ticket.attempt);
    }

    /// The jobs of one page; the number to go on from, if there may be more.
    async fn page(
        &self,
        (order, set): (&str, &str),
        from: &str,
        most: u32,
    ) -> Result<Vec<(i64, JobSnapshot)>, QueueError> {
        let answer = self
            .caller
            .read(&scripts::JOBS, |command| {
                command.arg(order).arg(from).arg(most).arg(set);
            })
            .await?;
        answer.into_iter().map(decode::job).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unexpected(answer: &str) -> QueueError {
    QueueError::Corrupt(format!("a script answered {answer:?}"))
}

/// What a script says of a ticket that it refuses.
fn refused(word: &str, ticket: &Ticket) -> QueueError {
    let job = ticket.task.job;
    match word {
        "nojob" => QueueError::NoSuchJob(job),
        "notask" => QueueError::NoSuchTask(ticket.task),
        "stale" => QueueError::Stale(*ticket),
        "early" => QueueError::OutOfOrder(ticket.task),
        "cancelled" => {
            QueueError::Finished { job, state: JobState::Cancelled, action: "this attempt".into() }
        }
        other => unexpected(other),
    }
}

mod calls;
mod leasing;
mod watching;
