//! Each operation of the queue as a call of its script.

use std::num::NonZero;

use super::leasing::{Asked, groups};
use super::*;

#[async_trait]
impl Queue for RedisQueue {
    async fn epoch(&self) -> Result<Option<Epoch>, QueueError> {
        let answer = self.caller.link.ask(cmd("HGET").arg(&self.caller.key).arg("epoch")).await?;
        let epoch = match answer {
            Value::Nil => None,
            found => Some(decode::epoch(decode::text(&found)?)?),
        };
        self.caller.epoch.store(epoch.map_or(0, |epoch| epoch.0), Ordering::SeqCst);
        Ok(epoch)
    }

    async fn restore(&self, job: &Restoration) -> Result<bool, QueueError> {
        self.caller.check_protocol().await?;
        check(&job.submission)?;
        let fill = |command: &mut Cmd| {
            let submitted = Some(job.submitted.0);
            encode::submission(command, &job.submission, submitted, job.standing)
        };
        let (_, answer) = self.caller.tell(&scripts::RESTORE, fill).await?;
        Ok(answer.get(1).map(decode::int).transpose()? == Some(1))
    }

    async fn open(&self) -> Result<Epoch, QueueError> {
        let epoch = Epoch(rand::random::<u64>().max(1));
        let fill = |command: &mut Cmd| {
            command.arg(epoch.to_string()).arg(*self.caller.protocols.end());
            Ok(())
        };
        let (_, answer) = self.caller.tell(&scripts::OPEN, fill).await?;
        let epoch = decode::epoch(decode::text(answer.get(1).unwrap_or(&Value::Nil))?)?;
        // Somebody else may have opened it.
        self.caller.check_protocol().await?;
        self.caller.epoch.store(epoch.0, Ordering::SeqCst);
        Ok(epoch)
    }

    async fn submit(&self, submission: &Submission) -> Result<JobId, QueueError> {
        check(submission)?;
        let fill =
            |command: &mut Cmd| encode::submission(command, submission, None, Standing::Active);
        let (word, answer) = self.caller.tell(&scripts::SUBMIT, fill).await?;
        match (word.as_str(), answer.get(1)) {
            ("ok", Some(job)) => decode::parse(decode::text(job)?),
            ("exists", _) => Err(QueueError::JobExists(submission.job)),
            (other, _) => Err(unexpected(other)),
        }
    }

    async fn lease(
        &self,
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<LeaseAnswer, QueueError> {
        let asked = Asked::new(request, worker, most)?;
        let (_, leased) = self.gather.ask(Vec::new(), Some(asked)).await?;
        leased.ok_or_else(|| unexpected("no lease"))
    }

    async fn wait_for_work(&self, seen: u64, at_most: Duration) -> Result<(), QueueError> {
        self.caller.feed.wait_for_work(seen, at_most).await;
        Ok(())
    }

    async fn heartbeat(
        &self,
        worker: &WorkerInfo,
        tickets: &[Ticket],
    ) -> Result<HeartbeatAnswer, QueueError> {
        let mut beats = Vec::with_capacity(tickets.len());
        let mut drain = false;
        // Without tasks there is still a life to be signed.
        let batches = tickets.chunks(BATCH).map(Some).chain(tickets.is_empty().then_some(None));
        for batch in batches.map(Option::unwrap_or_default) {
            let fill = |command: &mut Cmd| {
                command.arg(worker.id.as_str()).arg(encode::told(worker)?);
                command.arg(millis(self.caller.policy.lease));
                for group in groups(batch) {
                    let TaskId { job, layer, .. } = group[0].task;
                    command.arg(job.to_string()).arg(layer).arg(encode::runs(group));
                }
                Ok(())
            };
            let (_, answer) = self.caller.tell(&scripts::HEARTBEAT, fill).await?;
            let [_, draining, expires, letters] = &answer[..] else {
                return Err(unexpected("no heartbeat"));
            };
            drain = decode::int(draining)? == 1;
            let expires = Timestamp(decode::int(expires)?);
            for letter in decode::text(letters)?.chars() {
                beats.push(match letter {
                    'E' => Beat::Extended(expires),
                    'C' => Beat::Cancelled,
                    'S' => Beat::Stale,
                    _ => return Err(unexpected("no heartbeat")),
                });
            }
        }
        if beats.len() != tickets.len() {
            return Err(unexpected("heartbeats of other tasks"));
        }
        Ok(HeartbeatAnswer { beats, drain })
    }

    async fn commit(&self, ticket: &Ticket) -> Result<Committed, QueueError> {
        let mut answers = self.commit_all(std::slice::from_ref(ticket)).await?;
        answers.pop().unwrap_or_else(|| Err(unexpected("no answer to a commit")))
    }

    async fn commit_all(&self, tickets: &[Ticket]) -> Result<Commits, QueueError> {
        let mut answers = Vec::with_capacity(tickets.len());
        for batch in tickets.chunks(BATCH) {
            answers.extend(self.gather.ask(batch.to_vec(), None).await?.0);
        }
        Ok(answers)
    }

    async fn commit_and_lease(
        &self,
        done: &[Ticket],
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<(Commits, LeaseAnswer), QueueError> {
        let asked = Asked::new(request, worker, most)?;
        // What is too much for one call goes before.
        let (first, last) = done.split_at(done.len().saturating_sub(1) / BATCH * BATCH);
        let mut answers = self.commit_all(first).await?;
        let (commits, leased) = self.gather.ask(last.to_vec(), Some(asked)).await?;
        answers.extend(commits);
        Ok((answers, leased.ok_or_else(|| unexpected("no lease"))?))
    }

    async fn fail(&self, ticket: &Ticket, failure: &Failure) -> Result<Failed, QueueError> {
        let fill = |command: &mut Cmd| {
            self.attempt(command, ticket);
            command.arg(failure.kept()).arg(i32::from(failure.retryable));
            command.arg(self.caller.policy.attempts).arg(millis(self.caller.policy.backoff));
            Ok(())
        };
        let (word, answer) = self.caller.tell(&scripts::FAIL, fill).await?;
        match (word.as_str(), answer.get(1)) {
            ("ok", Some(outcome)) => decode::failed(decode::text(outcome)?),
            (word, _) => Err(refused(word, ticket)),
        }
    }

    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError> {
        let fill = |command: &mut Cmd| {
            self.attempt(command, ticket);
            Ok(())
        };
        match self.caller.tell(&scripts::RELEASE, fill).await?.0.as_str() {
            "ok" => Ok(()),
            word => Err(refused(word, ticket)),
        }
    }

    async fn reap(&self) -> Result<Reaped, QueueError> {
        let silence = format!(" was not heard of for {} s", self.caller.policy.lease.as_secs_f64());
        let mut reaped = Reaped::default();
        loop {
            let fill = |command: &mut Cmd| {
                command.arg(REAPED).arg(&silence).arg(self.caller.policy.attempts);
                command.arg(millis(self.caller.policy.backoff)).arg(millis(FORGET_WORKER));
                Ok(())
            };
            let (_, answer) = self.caller.tell(&scripts::REAP, fill).await?;
            for task in answer.get(2..).unwrap_or_default().chunks_exact(4) {
                let [job, layer, index, outcome] = task else { continue };
                let (layer, index) = (decode::int(layer)?, decode::int(index)?);
                let task = TaskId {
                    job: decode::parse(decode::text(job)?)?,
                    layer: u8::try_from(layer).map_err(|_| unexpected("no layer"))?,
                    index: u64::try_from(index).map_err(|_| unexpected("no task"))?,
                };
                if decode::text(outcome)? == "Q" {
                    reaped.quarantined.push(task);
                }
                reaped.expired.push(task);
            }
            if answer.get(1).map(decode::int).transpose()? != Some(1) {
                break;
            }
        }
        reaped.expired.sort();
        reaped.quarantined.sort();
        Ok(reaped)
    }

    async fn pause(&self, job: JobId) -> Result<(), QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(1);
        };
        self.order(&scripts::PAUSE, job, "a pause", fill).await.map(drop)
    }

    async fn resume(&self, job: JobId) -> Result<(), QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(0);
        };
        self.order(&scripts::PAUSE, job, "a resume", fill).await.map(drop)
    }

    async fn cancel(&self, job: JobId) -> Result<(), QueueError> {
        self.order(&scripts::CANCEL, job, "a cancel", |_| ()).await.map(drop)
    }

    async fn retry(&self, job: JobId, which: &Retry) -> Result<u64, QueueError> {
        let Retry::Tasks { layer, indices } = which else { return self.retry_failed(job).await };
        let mut indices = indices.clone();
        if indices.len() > RETRIED {
            // The largest first: if that one is there, all are, and nothing is half done.
            indices.sort_unstable_by(|a, b| b.cmp(a));
        }
        let mut count = 0;
        // Nothing to retry is still a question about the job.
        let none: &[u64] = &[];
        let batches = indices.chunks(RETRIED).chain(indices.is_empty().then_some(none));
        for batch in batches {
            count += self.retry_some(job, &layer.to_string(), batch, *layer).await?.0;
        }
        Ok(count)
    }

    async fn forget(&self, job: JobId) -> Result<(), QueueError> {
        let request = RequestId::generate();
        let fill = |command: &mut Cmd| {
            command.arg(request.as_str()).arg(millis(self.caller.policy.memory));
        };
        self.order(&scripts::FORGET, job, "forgetting", fill).await.map(drop)
    }

    async fn set_priority(&self, job: JobId, priority: i32) -> Result<(), QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(priority);
        };
        self.order(&scripts::SET_PRIORITY, job, "another priority", fill).await.map(drop)
    }

    async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<(), QueueError> {
        let fill = |command: &mut Cmd| {
            command.arg(worker.as_str()).arg(i32::from(drain));
            Ok(())
        };
        match self.caller.tell(&scripts::DRAIN, fill).await?.0.as_str() {
            "ok" => Ok(()),
            "noworker" => Err(QueueError::NoSuchWorker(worker.clone())),
            other => Err(unexpected(other)),
        }
    }

    async fn job(&self, job: JobId) -> Result<JobSnapshot, QueueError> {
        let mut found = self.page(("one", ""), &job.to_string(), 1).await?;
        found.pop().map(|(_, job)| job).ok_or(QueueError::NoSuchJob(job))
    }

    async fn jobs(&self, which: Jobs) -> Result<Vec<JobSnapshot>, QueueError> {
        self.all_jobs(which).await
    }

    async fn job_ids(&self) -> Result<Vec<JobId>, QueueError> {
        self.all_job_ids().await
    }

    async fn ended(&self) -> Result<Ended, QueueError> {
        let count = async |state| {
            let key = format!("{}{}", self.caller.prefix, encode::over(state));
            let count = decode::int(&self.caller.link.ask(cmd("ZCARD").arg(key)).await?)?;
            u64::try_from(count).map_err(|_| unexpected("no number of jobs"))
        };
        Ok(Ended {
            done: count(JobState::Done).await?,
            failed: count(JobState::Failed).await?,
            cancelled: count(JobState::Cancelled).await?,
        })
    }

    async fn tasks(&self, job: JobId, which: &Tasks) -> Result<Vec<TaskSnapshot>, QueueError> {
        self.some_tasks(job, which).await
    }

    async fn done(
        &self,
        job: JobId,
        layer: u8,
        each: NonZero<u64>,
    ) -> Result<Vec<u64>, QueueError> {
        self.done_tasks(job, layer, each).await
    }

    async fn workers(&self) -> Result<Vec<WorkerSnapshot>, QueueError> {
        self.all_workers().await
    }

    async fn health(&self) -> Result<Health, QueueError> {
        let info = server::ask(&self.caller.link, &self.caller.key).await?;
        Ok(Health { epoch: self.epoch().await?, ..info.health() })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.caller.feed.events()
    }
}

impl RedisQueue {
    async fn retry_failed(&self, job: JobId) -> Result<u64, QueueError> {
        let mut count = 0;
        loop {
            let (done, left) = self.retry_some(job, "failed", &[RETRIED as u64], 0).await?;
            count += done;
            if done == 0 || left == 0 {
                return Ok(count);
            }
        }
    }

    /// Answers how many tasks were reset, and how many failed ones are left.
    async fn retry_some(
        &self,
        job: JobId,
        which: &str,
        numbers: &[u64],
        layer: u8,
    ) -> Result<(u64, u64), QueueError> {
        let request = RequestId::generate();
        let fill = |command: &mut Cmd| {
            command
                .arg(request.as_str())
                .arg(millis(self.caller.policy.memory))
                .arg(which)
                .arg(numbers);
        };
        let answer = self.order(&scripts::RETRY, job, "a retry", fill).await;
        let answer = answer.map_err(|error| match error {
            QueueError::NoSuchTask(task) => QueueError::NoSuchTask(TaskId { layer, ..task }),
            error => error,
        })?;
        let number = |at| {
            let number = decode::int(answer.get(at).unwrap_or(&Value::Nil))?;
            u64::try_from(number).map_err(|_| unexpected("no number of tasks"))
        };
        Ok((number(1)?, number(2)?))
    }
}
