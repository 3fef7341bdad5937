//! What leases and commits are told, and what they answer.

use tokio::time::Instant;

use super::gather::Turn;
use super::*;

/// What a worker asks for: the same in every call that is made for it.
pub(super) struct Asked {
    /// `?<request>`
    request: String,
    worker: WorkerId,
    /// The worker as it is stored.
    told: String,
    memory: u64,
    tags: String,
    loaded: String,
    pub most: u32,
    name: String,
}

impl Asked {
    pub fn new(request: &RequestId, worker: &WorkerInfo, most: u32) -> Result<Self, QueueError> {
        let most = most.clamp(1, MOST_LEASED);
        Ok(Self {
            request: format!("?{request}"),
            worker: worker.id.clone(),
            told: encode::told(worker)?,
            memory: worker.memory.min(1 << 53),
            tags: encode::tags(worker),
            loaded: encode::loaded(worker),
            most,
            name: encode::lease_name(),
        })
    }

    /// What it can do, as those say it that may be of one kind.
    fn kind(&self) -> (u64, &str, &str) {
        (self.memory, &self.tags, &self.loaded)
    }
}

/// The arguments of `turn.lua` about leases, in its order.
fn add_leases(command: &mut Cmd, asked: &[&Asked]) {
    let mut kinds: Vec<(u64, &str, &str)> = Vec::new();
    for asked in asked {
        if !kinds.contains(&asked.kind()) {
            kinds.push(asked.kind());
        }
    }
    command.arg(kinds.len()).arg(asked.len());
    for (memory, tags, loaded) in &kinds {
        command.arg(memory).arg(tags).arg(loaded);
    }
    for asked in asked {
        command.arg(asked.worker.as_str());
    }
    for asked in asked {
        command.arg(&asked.request);
    }
    for asked in asked {
        let kind = kinds.iter().take_while(|kind| **kind != asked.kind()).count();
        command.arg(&asked.told).arg(kind).arg(asked.most).arg(&asked.name);
    }
}

/// Tasks of one layer that follow each other.
pub(super) fn groups(tickets: &[Ticket]) -> impl Iterator<Item = &[Ticket]> {
    tickets.chunk_by(|a, b| (a.task.job, a.task.layer) == (b.task.job, b.task.layer))
}

/// The answer to a ticket: a letter, as `part/commit.lua` says.
fn committed(letter: u8, ticket: &Ticket) -> Result<Result<Committed, QueueError>, QueueError> {
    let no = match letter {
        b'n' => return Ok(Ok(Committed::Now)),
        b'b' => return Ok(Ok(Committed::Before)),
        b's' => "stale",
        b'e' => "early",
        b't' => "notask",
        b'j' => "nojob",
        b'c' => "cancelled",
        _ => return Err(unexpected("commits of other tasks")),
    };
    Ok(Err(refused(no, ticket)))
}

impl Caller {
    /// Commits and leases for all of them in one call.
    pub async fn turns(
        &self,
        turns: &[Turn],
        deadline: Instant,
    ) -> Result<Vec<(Commits, Option<LeaseAnswer>)>, QueueError> {
        let tickets: Vec<Ticket> = turns.iter().flat_map(|turn| &turn.done).copied().collect();
        let asked: Vec<&Asked> = turns.iter().filter_map(|turn| turn.lease.as_ref()).collect();
        let (mut commits, mut leases) = self.turn(&tickets, &asked, deadline).await?;
        // Where pauses are over, they are ended first.
        while leases.iter().any(Option::is_none) {
            let due = (0..leases.len()).filter(|&at| leases[at].is_none()).collect::<Vec<_>>();
            let again: Vec<&Asked> = due.iter().map(|&at| asked[at]).collect();
            self.run_until(deadline, &scripts::END_PAUSES, |_| Ok(())).await?;
            let (_, answers) = self.turn(&[], &again, deadline).await?;
            for (at, answer) in due.into_iter().zip(answers) {
                leases[at] = answer;
            }
        }
        let mut leases = leases.into_iter().flatten();
        let mut answers = Vec::with_capacity(turns.len());
        for turn in turns {
            let rest = commits.split_off(turn.done.len());
            let lease = turn.lease.as_ref().and_then(|_| leases.next());
            answers.push((std::mem::replace(&mut commits, rest), lease));
        }
        Ok(answers)
    }

    /// One call of `turn.lua`: an answer to each ticket, and to each lease, unless there are
    /// pauses to be ended first.
    async fn turn(
        &self,
        tickets: &[Ticket],
        asked: &[&Asked],
        deadline: Instant,
    ) -> Result<(Commits, Vec<Option<LeaseAnswer>>), QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(millis(self.policy.memory)).arg(millis(self.policy.lease));
            command.arg(groups(tickets).count());
            for group in groups(tickets) {
                let TaskId { job, layer, .. } = group[0].task;
                command.arg(job.to_string()).arg(layer).arg(encode::runs(group));
            }
            add_leases(command, asked);
            Ok(())
        };
        let answer = self.run_until(deadline, &scripts::TURN, fill).await?;
        let [_, letters, leases @ ..] = &answer[..] else {
            return Err(unexpected("an empty answer"));
        };
        let letters = decode::bytes(letters)?;
        if letters.len() != tickets.len() || leases.len() != asked.len() {
            return Err(unexpected("answers to others"));
        }
        let commits = tickets.iter().zip(letters);
        let commits: Result<_, QueueError> =
            commits.map(|(ticket, letter)| committed(*letter, ticket)).collect();
        let leases: Result<_, QueueError> = leases.iter().map(|lease| self.leased(lease)).collect();
        Ok((commits?, leases?))
    }

    /// What `part/lease.lua` has answered; nothing where pauses are over.
    fn leased(&self, answer: &Value) -> Result<Option<LeaseAnswer>, QueueError> {
        let Value::Array(answer) = answer else { return Err(unexpected("no lease")) };
        let (word, rest) = answer.split_first().ok_or_else(|| unexpected("an empty answer"))?;
        match (decode::text(word)?, rest) {
            ("due", _) => Ok(None),
            ("work", [lease]) => {
                let lease = decode::lease(decode::text(lease)?)?;
                Ok(Some(LeaseAnswer::Work(Lease { lasts: self.policy.lease, ..lease })))
            }
            ("nothing", [seen, wait]) => Ok(Some(LeaseAnswer::Nothing {
                seen: u64::try_from(decode::int(seen)?).unwrap_or(0),
                due_in: u64::try_from(decode::int(wait)?).ok().map(Duration::from_millis),
            })),
            ("drain", _) => Ok(Some(LeaseAnswer::Drain)),
            (other, _) => Err(unexpected(other)),
        }
    }
}
