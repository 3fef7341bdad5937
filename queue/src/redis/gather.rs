//! Commits and leases that are asked for while a call is under way go together in the next one:
//! what a call costs whatever it does is paid once for all of them. Nobody waits for others to
//! come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::caller::Caller;
use super::leasing::Asked;
use crate::{Commits, LeaseAnswer, QueueError, Ticket};

/// Calls under way at once: while the server is at one, the next is made ready.
const CALLS: usize = 3;
/// Tasks in one call that several share, so that no script keeps the server for long.
const TASKS: usize = 64;

/// Commits first, then the lease if there is one.
pub(super) type TurnAnswer = Result<(Commits, Option<LeaseAnswer>), QueueError>;

/// What somebody asks for.
pub(super) struct Turn {
    pub done: Vec<Ticket>,
    pub lease: Option<Asked>,
    /// When it has failed, if it is not answered.
    pub deadline: Instant,
    answer: oneshot::Sender<TurnAnswer>,
}

impl Turn {
    fn tasks(&self) -> usize {
        let leased = self.lease.as_ref().map_or(0, |asked| asked.most as usize);
        self.done.len() + leased
    }
}

pub(super) struct Gather {
    caller: Arc<Caller>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    turns: VecDeque<Turn>,
    /// Calls under way.
    calls: usize,
}

impl Waiting {
    /// What goes in the next call: as much as fits, and one at least.
    fn next(&mut self) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        let mut tasks = 0;
        while let Some(turn) = self.turns.pop_front_if(|turn| {
            turns.is_empty() || tasks + turn.tasks() <= TASKS || turn.answer.is_closed()
        }) {
            // Who has gone asks for nothing any more.
            if !turn.answer.is_closed() {
                tasks += turn.tasks();
                turns.push(turn);
            }
        }
        // Any order is right. In this one tasks that follow each other are committed as one run.
        turns.sort_by_key(|turn| turn.done.first().map(|ticket| ticket.task));
        turns
    }
}

impl Gather {
    pub fn new(caller: Arc<Caller>) -> Self {
        Self { caller, waiting: Mutex::default() }
    }

    /// Commits tasks and leases others, as soon as a call can be made.
    pub async fn ask(self: &Arc<Self>, done: Vec<Ticket>, lease: Option<Asked>) -> TurnAnswer {
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + self.caller.limit;
        let is_free = {
            let mut waiting = self.lock();
            waiting.turns.push_back(Turn { done, lease, deadline, answer });
            let is_free = waiting.calls < CALLS;
            waiting.calls += usize::from(is_free);
            is_free
        };
        if is_free {
            tokio::spawn(Serving { gather: self.clone(), ended: false }.run());
        }
        let given_up = |_| QueueError::Unavailable("the call was given up".into());
        answered.await.map_err(given_up)?
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, turns: Vec<Turn>) {
        // Who came first has waited longest. Those who came with others later ask again.
        let deadline = turns.iter().map(|turn| turn.deadline).min().unwrap_or_else(Instant::now);
        match self.caller.turns(&turns, deadline).await {
            Ok(answers) => {
                for (turn, answer) in turns.into_iter().zip(answers) {
                    // Who does not wait for the answer needs none.
                    let _ = turn.answer.send(Ok(answer));
                }
            }
            // One of them meets what it cannot read: that is no business of the others.
            Err(QueueError::Corrupt(_)) if turns.len() > 1 => {
                for turn in turns {
                    Box::pin(self.call(vec![turn])).await;
                }
            }
            Err(error) => {
                for turn in turns {
                    let _ = turn.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

/// One of the calls under way, and those that follow it while somebody waits.
struct Serving {
    gather: Arc<Gather>,
    ended: bool,
}

impl Serving {
    async fn run(mut self) {
        loop {
            let turns = {
                let mut waiting = self.gather.lock();
                let turns = waiting.next();
                if turns.is_empty() {
                    waiting.calls -= 1;
                    self.ended = true;
                    return;
                }
                turns
            };
            self.gather.call(turns).await;
        }
    }
}

impl Drop for Serving {
    /// Its runtime ends in the middle of a call: nobody shall wait for it.
    fn drop(&mut self) {
        if !self.ended {
            let mut waiting = self.gather.lock();
            waiting.calls -= 1;
            waiting.turns.clear();
        }
    }
}
