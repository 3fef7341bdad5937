//! What leases and commits are told, and what they answer.

use super::*;

/// What a worker asks for: the same in every call that is made for it.
pub(super) struct Asked<'a> {
    request: &'a RequestId,
    worker: &'a WorkerInfo,
    most: u32,
    tokens: Vec<u8>,
}

impl<'a> Asked<'a> {
    pub fn new(request: &'a RequestId, worker: &'a WorkerInfo, most: u32) -> Self {
        let most = most.clamp(1, MOST_LEASED);
        Self { request, worker, most, tokens: encode::tokens(rand::random(), most) }
    }
}

/// Tasks of one layer that go in one command.
pub(super) fn batches(tickets: &[Ticket]) -> impl Iterator<Item = &[Ticket]> {
    let same_layer =
        |a: &Ticket, b: &Ticket| (a.task.job, a.task.layer) == (b.task.job, b.task.layer);
    tickets.chunk_by(same_layer).flat_map(|layer| layer.chunks(BATCH))
}

/// Adds the answer to each ticket of a batch: a letter, as `part/commit.lua` says.
pub(super) fn committed(
    letters: Option<&Value>,
    batch: &[Ticket],
    answers: &mut Commits,
) -> Result<(), QueueError> {
    let letters = decode::bytes(letters.unwrap_or(&Value::Nil))?;
    if letters.len() != batch.len() {
        return Err(unexpected("commits of other tasks"));
    }
    for (ticket, letter) in batch.iter().zip(letters) {
        let no = match letter {
            b'n' => {
                answers.push(Ok(Committed::Now));
                continue;
            }
            b'b' => {
                answers.push(Ok(Committed::Before));
                continue;
            }
            b's' => "stale",
            b'e' => "early",
            b't' => "notask",
            b'j' => "nojob",
            b'c' => "cancelled",
            _ => return Err(unexpected("commits of other tasks")),
        };
        answers.push(Err(refused(no, ticket)));
    }
    Ok(())
}

impl RedisQueue {
    /// The arguments of `part/lease.lua`.
    pub(super) fn lease_arguments(
        &self,
        command: &mut Cmd,
        asked: &Asked<'_>,
    ) -> Result<(), QueueError> {
        command.arg(asked.request.as_str());
        encode::worker(command, asked.worker)?;
        command.arg(asked.most).arg(&asked.tokens).arg(millis(self.policy.lease));
        Ok(())
    }

    /// The arguments of `commit.lua` after the time, for tasks of one layer.
    pub(super) fn commit_arguments(&self, command: &mut Cmd, batch: &[Ticket]) {
        let Some(TaskId { job, layer, .. }) = batch.first().map(|ticket| ticket.task) else {
            return;
        };
        command.arg(job.to_string()).arg(layer).arg(millis(self.policy.memory));
        for ticket in batch {
            command.arg(ticket.task.index).arg(&encode::proof(ticket));
        }
    }

    /// What `part/lease.lua` has answered. Pauses that are over are ended first, if it says so.
    pub(super) async fn leased(
        &self,
        mut answer: Vec<Value>,
        asked: &Asked<'_>,
    ) -> Result<LeaseAnswer, QueueError> {
        loop {
            let (word, rest) = answer.split_first().ok_or_else(|| unexpected("an empty answer"))?;
            return match (decode::text(word)?, rest) {
                ("due", _) => {
                    self.tell(&scripts::END_PAUSES, |_| Ok(())).await?;
                    let fill = |command: &mut Cmd| self.lease_arguments(command, asked);
                    answer = self.run(&scripts::LEASE, fill).await?;
                    continue;
                }
                ("work", [lease]) => {
                    let lease = decode::lease(decode::text(lease)?)?;
                    Ok(LeaseAnswer::Work(Lease { lasts: self.policy.lease, ..lease }))
                }
                ("nothing", [seen, wait]) => Ok(LeaseAnswer::Nothing {
                    seen: u64::try_from(decode::int(seen)?).unwrap_or(0),
                    due_in: u64::try_from(decode::int(wait)?).ok().map(Duration::from_millis),
                }),
                ("drain", _) => Ok(LeaseAnswer::Drain),
                (other, _) => Err(unexpected(other)),
            };
        }
    }
}
