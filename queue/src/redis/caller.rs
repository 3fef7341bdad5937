//! Calls of scripts: with the epoch that is known, by their names where the server knows them.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redis::{Cmd, Value, cmd};
use tokio::time::Instant;
use vqfarm_core::clock::Clock;

use super::feed::Feed;
use super::link::{Link, is_unknown_script};
use super::scripts::Script;
use super::{decode, unexpected};
use crate::protocol::agree;
use crate::{Epoch, Policy, QueueError};

pub(super) struct Caller {
    pub link: Arc<Link>,
    pub feed: Arc<Feed>,
    pub policy: Policy,
    /// A call that is not answered by then has failed.
    pub limit: Duration,
    /// `{vqfarm:<farm>}:`
    pub prefix: String,
    /// The farm's own hash: names the node in a cluster.
    pub key: String,
    /// The epoch that the server had when it was last asked; 0 for none.
    pub epoch: AtomicU64,
    pub protocols: RangeInclusive<u32>,
    /// Tests turn this clock; else the server's counts.
    pub clock: OnceLock<Arc<dyn Clock>>,
}

impl Caller {
    /// Refuses a queue that a program of another kind has opened. One that is closed has none yet.
    pub async fn check_protocol(&self) -> Result<(), QueueError> {
        let mut command = cmd("HMGET");
        command.arg(&self.key).arg("epoch").arg("protocol");
        let answer = decode::list(self.link.ask(&command).await?)?;
        match answer.as_slice() {
            [Value::Nil, _] => Ok(()),
            [_, Value::Nil] => agree(None, &self.protocols),
            [_, found] => agree(Some(decode::parse(decode::text(found)?)?), &self.protocols),
            _ => Err(unexpected("something else than two fields")),
        }
    }

    /// What scripts are told of the time: nothing, but in tests.
    pub fn time(&self) -> i64 {
        self.clock.get().map_or(0, |clock| clock.now().0)
    }

    /// Runs a script with the epoch that is known. When the server has another one, its
    /// leases of before are over, and that is all: the call goes on with the new one.
    pub async fn run(
        &self,
        script: &Script,
        arguments: impl Fn(&mut Cmd) -> Result<(), QueueError>,
    ) -> Result<Vec<Value>, QueueError> {
        self.run_until(Instant::now() + self.limit, script, arguments).await
    }

    /// As [`Caller::run`], but no longer than that.
    pub async fn run_until(
        &self,
        deadline: Instant,
        script: &Script,
        arguments: impl Fn(&mut Cmd) -> Result<(), QueueError>,
    ) -> Result<Vec<Value>, QueueError> {
        self.feed.ready(deadline).await;
        let ask = async |command: Cmd| {
            self.link.ask_for(&command, deadline.saturating_duration_since(Instant::now())).await
        };
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            let fill = |mut command: Cmd| {
                command.arg(Epoch(epoch).to_string()).arg(self.time());
                arguments(&mut command)?;
                Ok::<_, QueueError>(command)
            };
            let answer = match ask(fill(script.call(&self.key))?).await {
                Err(error) if is_unknown_script(&error) => {
                    ask(fill(script.load(&self.key))?).await?
                }
                answer => answer?,
            };
            let answer = decode::list(answer)?;
            let is_epoch = |value: &Value| matches!(value, Value::BulkString(b) if b == b"epoch");
            if !answer.first().is_some_and(is_epoch) {
                return Ok(answer);
            }
            match answer.get(1) {
                None | Some(Value::Nil) => {
                    self.epoch.store(0, Ordering::SeqCst);
                    return Err(QueueError::Closed);
                }
                Some(found) => {
                    let found = decode::epoch(decode::text(found)?)?;
                    tracing::debug!(%found, "the queue is in another epoch");
                    self.check_protocol().await?;
                    self.epoch.store(found.0, Ordering::SeqCst);
                }
            }
        }
    }

    /// Runs a script that answers with a word first.
    pub async fn tell(
        &self,
        script: &Script,
        arguments: impl Fn(&mut Cmd) -> Result<(), QueueError>,
    ) -> Result<(String, Vec<Value>), QueueError> {
        let answer = self.run(script, arguments).await?;
        let Some(word) = answer.first() else { return Err(unexpected("an empty answer")) };
        Ok((decode::text(word)?.to_owned(), answer))
    }

    /// Runs a script that changes nothing and looks at no epoch.
    pub async fn read(
        &self,
        script: &Script,
        arguments: impl Fn(&mut Cmd),
    ) -> Result<Vec<Value>, QueueError> {
        let fill = |mut command: Cmd| {
            arguments(&mut command);
            command
        };
        let answer = match self.link.ask(&fill(script.call(&self.key))).await {
            Err(error) if is_unknown_script(&error) => {
                self.link.ask(&fill(script.load(&self.key))).await?
            }
            answer => answer?,
        };
        decode::list(answer)
    }
}
