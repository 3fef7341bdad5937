//! What is stored of the attempts to tell one target of one end. Each attempt is claimed by a
//! create-only write, so that of several coordinators one makes it, and one that starts again goes
//! on where it was.

use serde::{Deserialize, Serialize};
use vqfarm_core::clock::Timestamp;
use vqfarm_core::keys;
use vqfarm_storage::{JobStore, Put};

use crate::error::Result;
use crate::farm::to_json;

/// The attempts to tell one target of one end.
pub struct Ledger {
    store: JobStore,
    /// Which end and whom: the beginning of the names of all that is stored here.
    name: String,
}

/// How far the telling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has tried.
    New,
    Tried(Attempt),
    /// Nothing is left to do.
    Settled,
}

/// The last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    pub begun: Timestamp,
    /// When the next one is due, once this one has failed. None while it goes on, and for ever when
    /// its coordinator died.
    pub next: Option<Timestamp>,
}

/// How a telling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Told,
    /// The receiver wants to hear nothing any more.
    Gone,
    /// Time ran out.
    GivenUp,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    begun: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
}

#[derive(Serialize)]
struct Settled<'a> {
    outcome: Outcome,
    target: &'a str,
    attempts: u32,
    at: Timestamp,
}

impl Ledger {
    pub fn new(store: JobStore, end: &str, target: &str) -> Self {
        Self { store, name: format!("{end}.{target}") }
    }

    pub async fn standing(&self) -> Result<Standing> {
        let names = self.store.names(keys::NOTIFIED).await?;
        if self.is_settled(&names) {
            return Ok(Standing::Settled);
        }
        let attempts = names.iter().filter_map(|name| self.attempt(name));
        let Some(number) = attempts.max() else { return Ok(Standing::New) };
        let bytes = self.store.get(&self.key(number)).await?.unwrap_or_default();
        // An attempt that cannot be read is one that began long ago.
        let begun_long_ago = Stored { begun: Timestamp(0), next: None };
        let Stored { begun, next } = serde_json::from_slice(&bytes).unwrap_or(begun_long_ago);
        Ok(Standing::Tried(Attempt { number, begun, next }))
    }

    /// Whether nothing is left to do, by the names of what is stored of the job's ends.
    pub fn is_settled(&self, names: &[String]) -> bool {
        let name = format!("{}.{SETTLED}.json", self.name);
        names.contains(&name)
    }

    /// Takes an attempt for this coordinator; false when another one has it.
    pub async fn claim(&self, number: u32, begun: Timestamp) -> Result<bool> {
        let json = to_json(&Stored { begun, next: None })?;
        Ok(self.store.create(&self.key(number), json.into()).await? == Put::Stored)
    }

    /// Says when the next attempt is due.
    pub async fn failed(&self, number: u32, begun: Timestamp, next: Timestamp) -> Result<()> {
        let json = to_json(&Stored { begun, next: Some(next) })?;
        Ok(self.store.replace(&self.key(number), json.into()).await?)
    }

    pub async fn settle(
        &self,
        outcome: Outcome,
        target: &str,
        attempts: u32,
        at: Timestamp,
    ) -> Result<()> {
        let json = to_json(&Settled { outcome, target, attempts, at })?;
        let key = format!("{}/{}.{SETTLED}.json", keys::NOTIFIED, self.name);
        self.store.create(&key, json.into()).await?;
        Ok(())
    }

    fn key(&self, attempt: u32) -> String {
        format!("{}/{}.{attempt}.json", keys::NOTIFIED, self.name)
    }

    /// The attempt's number, when `file` is the name of one.
    fn attempt(&self, file: &str) -> Option<u32> {
        let rest = file.strip_prefix(&self.name)?.strip_prefix('.')?;
        rest.strip_suffix(".json")?.parse().ok()
    }
}

/// The name of how it ended, in place of an attempt's number.
const SETTLED: &str = "settled";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attempt_is_made_once_and_leads_to_the_next() {
        let store = JobStore::memory();
        let (one, other) = (
            Ledger::new(store.clone(), "0-done", "ab"),
            Ledger::new(store.clone(), "0-done", "ab"),
        );
        // Others of the same job are none of its business.
        let elsewhere = Ledger::new(store.clone(), "0-done", "abc");
        elsewhere.claim(7, Timestamp(1)).await.unwrap();
        elsewhere.settle(Outcome::Gone, "x", 7, Timestamp(2)).await.unwrap();

        assert_eq!(one.standing().await.unwrap(), Standing::New);
        assert!(one.claim(1, Timestamp(5)).await.unwrap());
        assert!(!other.claim(1, Timestamp(6)).await.unwrap());
        let attempt = Attempt { number: 1, begun: Timestamp(5), next: None };
        assert_eq!(other.standing().await.unwrap(), Standing::Tried(attempt));
        one.failed(1, Timestamp(5), Timestamp(10)).await.unwrap();
        let attempt = Attempt { next: Some(Timestamp(10)), ..attempt };
        assert_eq!(other.standing().await.unwrap(), Standing::Tried(attempt));
        for number in 2..=11 {
            assert!(other.claim(number, Timestamp(10)).await.unwrap());
        }
        let attempt = Attempt { number: 11, begun: Timestamp(10), next: None };
        assert_eq!(one.standing().await.unwrap(), Standing::Tried(attempt));
        other.settle(Outcome::Told, "x", 11, Timestamp(12)).await.unwrap();
        assert_eq!(one.standing().await.unwrap(), Standing::Settled);
    }
}
