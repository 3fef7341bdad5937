//! Commits, many in one call, for as long as it takes.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, trace_span};
use vqfarm_queue::{Committed, Queue, QueueError, Ticket};
use vqfarm_service::telemetry::TARGET as TELEMETRY;
use vqfarm_service::trace::TARGET as TRACE;

use crate::patience::Patience;
use crate::stop::Brake;

/// The most commits of one call.
const AT_ONCE: usize = 64;

type Answer = oneshot::Sender<Result<Committed, QueueError>>;

/// The door to the one task that commits. Clones are the same door.
#[derive(Clone)]
pub struct Committer(mpsc::Sender<(Ticket, Answer)>);

impl Committer {
    /// Starts the task; it ends with the last clone.
    pub fn start(queue: Arc<dyn Queue>, brake: Brake) -> Self {
        let (door, mut waiting) = mpsc::channel(AT_ONCE);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(AT_ONCE);
            // Whatever has come meanwhile goes together.
            while waiting.recv_many(&mut batch, AT_ONCE).await > 0 {
                let (tickets, answers): (Vec<Ticket>, Vec<Answer>) = batch.drain(..).unzip();
                let span =
                    trace_span!(target: TRACE, parent: None, "commit", tasks = tickets.len());
                let committed = commit_all(&*queue, &tickets, &brake).instrument(span).await;
                for (answer, committed) in answers.into_iter().zip(committed) {
                    // Who does not wait for the answer needs none.
                    let _ = answer.send(committed);
                }
            }
        });
        Self(door)
    }

    /// Makes a stored frame count. Waits for a queue that is away: the frame is stored, so
    /// nothing is lost but time.
    ///
    /// # Errors
    /// The queue refuses, or it is away and the worker has to go.
    pub async fn commit(&self, ticket: Ticket) -> Result<Committed, QueueError> {
        let gone = || QueueError::Unavailable("the worker is leaving".into());
        let (answer, committed) = oneshot::channel();
        let committing = async {
            self.0.send((ticket, answer)).await.map_err(|_| gone())?;
            committed.await.map_err(|_| gone())?
        };
        // Of each attempt; the trace of slices has the calls that it takes.
        committing.instrument(trace_span!(target: TELEMETRY, "commit")).await
    }
}

/// One answer for each ticket.
async fn commit_all(
    queue: &dyn Queue,
    tickets: &[Ticket],
    brake: &Brake,
) -> Vec<Result<Committed, QueueError>> {
    let mut answers: Vec<Option<Result<Committed, QueueError>>> = vec![None; tickets.len()];
    let mut patience = Patience::new("commit");
    loop {
        let open: Vec<usize> = (0..tickets.len()).filter(|&at| answers[at].is_none()).collect();
        let asked: Vec<Ticket> = open.iter().map(|&at| tickets[at]).collect();
        let away = match queue.commit_all(&asked).await {
            Ok(told) => {
                for (at, told) in open.into_iter().zip(told) {
                    // What the queue could not judge is asked again.
                    let away = matches!(&told, Err(error) if Patience::is_for(error));
                    answers[at] = (!away).then_some(told);
                }
                match answers.iter().all(Option::is_some) {
                    true => return answers.into_iter().flatten().collect(),
                    false => QueueError::Closed,
                }
            }
            Err(error) if Patience::is_for(&error) => error,
            Err(error) => {
                return answers.into_iter().map(|a| a.unwrap_or(Err(error.clone()))).collect();
            }
        };
        if !patience.wait(&away, brake).await {
            return answers.into_iter().map(|a| a.unwrap_or(Err(away.clone()))).collect();
        }
    }
}
