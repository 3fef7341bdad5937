//! Telling one target of one end, until it is told or time runs out.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use vqfarm_core::clock::Timestamp;

use super::ends::End;
use super::ledger::{Attempt, Ledger, Outcome, Standing};
use super::retry::Retry;
use super::settings::{Target, Way};
use super::{Told, command, webhook};
use crate::error::Result;
use crate::farm::Farm;

/// Attempts of one target that are made at the same time.
const POSTS: usize = 4;
/// Commands that run at the same time, of all targets.
const COMMANDS: usize = 2;
/// Pause before a storage that does not answer is asked again.
const STORAGE: Duration = Duration::from_secs(5);

/// What all tellings share.
pub struct Teller {
    pub farm: Arc<Farm>,
    pub retry: Retry,
    client: Client,
    commands: Arc<Semaphore>,
}

/// A target with the room for its attempts: one that is slow holds up its own only.
#[derive(Clone)]
pub struct Listener {
    pub target: Arc<Target>,
    room: Arc<Semaphore>,
}

impl Teller {
    pub fn new(farm: Arc<Farm>, retry: Retry, client: Client) -> Self {
        Self { farm, retry, client, commands: Arc::new(Semaphore::new(COMMANDS)) }
    }

    pub fn listener(&self, target: Arc<Target>) -> Listener {
        let room = match target.way {
            Way::Webhook { .. } => Arc::new(Semaphore::new(POSTS)),
            Way::Command(_) => self.commands.clone(),
        };
        Listener { target, room }
    }

    pub fn ledger(&self, end: &End, target: &Target) -> Ledger {
        Ledger::new(self.farm.storage.job(end.job), &end.name(), &target.key)
    }

    /// Returns when nothing is left to do.
    pub async fn tell(&self, end: &End, listener: &Listener) {
        let target = &listener.target;
        let ledger = self.ledger(end, target);
        loop {
            match self.go_on(end, listener, &ledger).await {
                Ok(true) => return,
                Ok(false) => (),
                Err(error) => {
                    tracing::warn!(job = %end.job, target = target.name, %error,
                        "cannot look up who was told; trying again");
                    tokio::time::sleep(STORAGE).await;
                }
            }
        }
    }

    /// One step: waits until an attempt is due and makes it, if nobody else does. True when nothing
    /// is left to do.
    async fn go_on(&self, end: &End, listener: &Listener, ledger: &Ledger) -> Result<bool> {
        let target = &listener.target;
        let (number, due) = match ledger.standing().await? {
            Standing::Settled => return Ok(true),
            Standing::New => (1, self.farm.now()),
            Standing::Tried(last) => (last.number.saturating_add(1), self.due(&last, target)),
        };
        if self.retry.is_over(end.ended, due) {
            tracing::error!(job = %end.job, target = target.name, attempts = number - 1,
                "nobody was told of a job's end: time ran out");
            self.settle(end, listener, ledger, Outcome::GivenUp, number - 1).await;
            return Ok(true);
        }
        tokio::time::sleep(due.since(self.farm.now())).await;
        // Never closed.
        let Ok(_room) = listener.room.acquire().await else { return Ok(true) };
        let begun = self.farm.now();
        if !ledger.claim(number, begun).await? {
            return Ok(false);
        }
        match self.attempt(end, target).await {
            Told::Yes => {
                tracing::info!(job = %end.job, target = target.name, attempt = number,
                    state = end.state.word(), "told of a job's end");
                self.settle(end, listener, ledger, Outcome::Told, number).await;
                Ok(true)
            }
            Told::Gone => {
                tracing::warn!(job = %end.job, target = target.name,
                    "it answered 410 Gone; take it out of the --notify file");
                self.settle(end, listener, ledger, Outcome::Gone, number).await;
                Ok(true)
            }
            Told::Failed { reason, wait } => {
                count("failed");
                let now = self.farm.now();
                let next = self.retry.next(number, now, wait, fastrand::f64());
                tracing::warn!(job = %end.job, target = target.name, attempt = number, reason,
                    next_in_s = next.since(now).as_secs(), "could not tell of a job's end");
                ledger.failed(number, begun, next).await?;
                Ok(false)
            }
        }
    }

    /// When to try again after what may have been another coordinator's attempt: at once when it
    /// has failed and its pause is over; when nothing was heard of it, after the longest time that
    /// it can take.
    fn due(&self, last: &Attempt, target: &Target) -> Timestamp {
        let longest = match target.way {
            Way::Webhook { .. } => webhook::TIMEOUT,
            Way::Command(_) => command::TIMEOUT,
        };
        let silent = || last.begun.after(longest).after(self.retry.at_most(last.number));
        last.next.unwrap_or_else(silent)
    }

    async fn attempt(&self, end: &End, target: &Target) -> Told {
        let id = self.id(end, target);
        match &target.way {
            Way::Webhook { url, secret } => {
                let now = jiff::Timestamp::from_millisecond(self.farm.now().0).unwrap_or_default();
                webhook::post(&self.client, url, secret, &id, &end.body, now).await
            }
            Way::Command(words) => {
                let mut variables = end.variables.clone();
                variables.push(("VQFARM_NOTIFICATION", id));
                command::run(words, &end.body, &variables).await
            }
        }
    }

    /// The same for all attempts to tell this target of this end, whoever makes them.
    fn id(&self, end: &End, target: &Target) -> String {
        let words = [self.farm.name.as_str(), &end.job.to_string(), &end.name(), &target.key];
        let digest = Sha256::digest(words.join("\0"));
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("msg_{hex}")
    }

    /// Stores how it ended, however long that takes: else it would be told again.
    async fn settle(
        &self,
        end: &End,
        listener: &Listener,
        ledger: &Ledger,
        outcome: Outcome,
        attempts: u32,
    ) {
        count(match outcome {
            Outcome::Told => "told",
            Outcome::Gone => "gone",
            Outcome::GivenUp => "given_up",
        });
        let target = &listener.target.name;
        while let Err(error) = ledger.settle(outcome, target, attempts, self.farm.now()).await {
            tracing::warn!(job = %end.job, target, %error, "cannot store who was told");
            tokio::time::sleep(STORAGE).await;
        }
    }
}

/// Of attempts `failed`, of tellings how they ended.
fn count(outcome: &'static str) {
    metrics::counter!("vqfarm_notifications_total", "outcome" => outcome).increment(1);
}
