//! Long lists, read a part at a time so that no part keeps the server from others for long.

use std::collections::BTreeMap;
use std::num::NonZero;

use super::decode::Entry;
use super::*;
use crate::protocol::Told;

/// Ids of jobs in one answer.
const IDS: usize = 10_000;
/// Tasks in one piece of a bitmap, as `lua/part/bitmap.lua` cuts them.
const CHUNK: u64 = 65_536;

/// Adds the members of a piece of a bitmap, which begins at task `first`, to their parts.
fn count_bits(bits: &[u8], first: u64, each: NonZero<u64>, parts: &mut [u64]) {
    let mut add = |index: u64, count: u32| {
        if let Some(part) = parts.get_mut((index / each) as usize) {
            *part += u64::from(count);
        }
    };
    for (first, &byte) in (first..).step_by(8).zip(bits) {
        if first / each == (first + 7) / each {
            add(first, byte.count_ones());
        } else {
            // Redis counts bits from the highest.
            let members = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
            members.for_each(|bit| add(first + bit, 1));
        }
    }
}

impl RedisQueue {
    pub(super) async fn all_jobs(&self, which: Jobs) -> Result<Vec<JobSnapshot>, QueueError> {
        let (order, set, most) = match which {
            Jobs::All => ("first", "jobs".to_owned(), u32::MAX),
            Jobs::Live => ("first", "live".into(), u32::MAX),
            Jobs::Newest(most) => ("last", "jobs".into(), most),
            Jobs::InState(state, most) if state.is_final() => ("last", encode::over(state), most),
            Jobs::InState(state, most) => {
                let mut jobs = Box::pin(self.all_jobs(Jobs::Live)).await?;
                jobs.retain(|job| job.state == state);
                jobs.drain(..jobs.len().saturating_sub(most as usize));
                return Ok(jobs);
            }
        };
        let most = most as usize;
        let mut jobs = BTreeMap::new();
        let mut from = String::new();
        while jobs.len() < most {
            let left = u32::try_from(most - jobs.len()).unwrap_or(u32::MAX).min(PAGE);
            let page = self.page((order, &set), &from, left).await?;
            let Some((last, _)) = page.last() else { break };
            from = last.to_string();
            let full = page.len() == left as usize;
            jobs.extend(page);
            if !full {
                break;
            }
        }
        Ok(jobs.into_values().collect())
    }

    pub(super) async fn all_job_ids(&self) -> Result<Vec<JobId>, QueueError> {
        let mut ids = Vec::new();
        let mut from = "-inf".to_owned();
        loop {
            let mut command = cmd("ZRANGEBYSCORE");
            command
                .arg(format!("{}jobs", self.caller.prefix))
                .arg(&from)
                .arg("+inf")
                .arg("WITHSCORES");
            command.arg("LIMIT").arg(0).arg(IDS);
            let page = decode::list(self.caller.link.ask(&command).await?)?;
            for pair in page.chunks_exact(2) {
                ids.push(decode::parse(decode::text(&pair[0])?)?);
            }
            match page.last() {
                Some(last) if page.len() == 2 * IDS => from = format!("({}", decode::text(last)?),
                _ => return Ok(ids),
            }
        }
    }

    pub(super) async fn some_tasks(
        &self,
        job: JobId,
        which: &Tasks,
    ) -> Result<Vec<TaskSnapshot>, QueueError> {
        let found = self.page(("one", ""), &job.to_string(), 1).await?.pop();
        let (number, snapshot) = found.ok_or(QueueError::NoSuchJob(job))?;
        // Of a cancelled job only what had failed is left.
        let cancelled = snapshot.state == JobState::Cancelled;
        let only = if cancelled { Some(TaskKind::Failed) } else { which.only };
        if cancelled && which.only.is_some_and(|wanted| wanted != TaskKind::Failed) {
            return Ok(Vec::new());
        }
        let most = usize::try_from(which.most).unwrap_or(usize::MAX);
        let entries = match only {
            Some(TaskKind::Failed) => self.failed_tasks(job, which.after, most).await?,
            _ => self.entries(job).await?,
        };
        let leased = match only {
            None | Some(TaskKind::Leased) => self.leased_tasks(job, number).await?,
            Some(_) => BTreeMap::new(),
        };
        let mut tasks = BTreeMap::new();
        for (place, entry) in &entries {
            let (kind, state) = match entry.kind {
                Some(kind @ TaskKind::Delayed) => (kind, TaskState::Delayed { until: entry.time }),
                Some(kind @ TaskKind::Failed) => (kind, TaskState::Failed),
                // It runs, or its lease has ended in between.
                Some(TaskKind::Leased) | None => continue,
            };
            if only.is_none_or(|only| only == kind) {
                tasks.insert(*place, (entry.attempt, state));
            }
        }
        tasks.extend(leased);
        tasks.retain(|place, _| which.after.is_none_or(|after| *place > after));
        let snapshot = |(place, (attempt, state)): ((u8, u64), (u32, TaskState))| TaskSnapshot {
            task: TaskId { job, layer: place.0, index: place.1 },
            attempt,
            state,
            last_error: entries.get(&place).and_then(|entry| entry.error.clone()),
        };
        Ok(tasks.into_iter().take(most).map(snapshot).collect())
    }

    /// All entries of a job, in the order of their tasks.
    async fn entries(&self, job: JobId) -> Result<BTreeMap<(u8, u64), Entry>, QueueError> {
        let key = format!("{}j:{job}", self.caller.prefix);
        let mut entries = BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, fields) = self.scan(&key, &cursor, "[0-9]*").await?;
            for pair in fields.chunks_exact(2) {
                let place = decode::field(decode::text(&pair[0])?)?;
                entries.insert(place, decode::entry(decode::bytes(&pair[1])?)?);
            }
            cursor = next;
            if cursor == "0" {
                return Ok(entries);
            }
        }
    }

    /// Tasks that failed for good, of which there may be very many.
    async fn failed_tasks(
        &self,
        job: JobId,
        after: Option<(u8, u64)>,
        most: usize,
    ) -> Result<BTreeMap<(u8, u64), Entry>, QueueError> {
        let score = |(layer, index): (u8, u64)| u64::from(layer) * MOST_TASKS + index;
        let mut from = after.map_or("-inf".to_owned(), |after| format!("({}", score(after)));
        let mut entries = BTreeMap::new();
        while entries.len() < most {
            let left = (most - entries.len()).min(BATCH);
            let mut command = cmd("ZRANGEBYSCORE");
            command.arg(format!("{}f:{job}", self.caller.prefix)).arg(&from).arg("+inf");
            command.arg("LIMIT").arg(0).arg(left);
            let fields = decode::list(self.caller.link.ask(&command).await?)?;
            let Some(last) = fields.last() else { break };
            let last = decode::field(decode::text(last)?)?;
            from = format!("({}", score(last));
            let mut command = cmd("HMGET");
            command.arg(format!("{}j:{job}", self.caller.prefix));
            for field in &fields {
                command.arg(decode::bytes(field)?);
            }
            let packed = decode::list(self.caller.link.ask(&command).await?)?;
            for (field, packed) in fields.iter().zip(&packed) {
                // Retried in between.
                if *packed != Value::Nil {
                    let place = decode::field(decode::text(field)?)?;
                    entries.insert(place, decode::entry(decode::bytes(packed)?)?);
                }
            }
            if fields.len() < left {
                break;
            }
        }
        Ok(entries)
    }

    /// The job's tasks that run: attempt and state by place.
    async fn leased_tasks(
        &self,
        job: JobId,
        number: i64,
    ) -> Result<BTreeMap<(u8, u64), (u32, TaskState)>, QueueError> {
        let mut leases = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, fields) =
                self.scan(&format!("{}leases", self.caller.prefix), &cursor, "[0-9a-f]*").await?;
            for pair in fields.chunks_exact(2) {
                let record = decode::record(decode::bytes(&pair[1])?)?;
                if (record.job, record.number) == (job, number) {
                    leases.push((decode::text(&pair[0])?.to_owned(), record));
                }
            }
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        let mut tasks = BTreeMap::new();
        for batch in leases.chunks(BATCH) {
            let mut command = cmd("ZMSCORE");
            command.arg(format!("{}ends", self.caller.prefix));
            for (name, _) in batch {
                command.arg(name);
            }
            let scores = decode::list(self.caller.link.ask(&command).await?)?;
            for ((_, record), score) in batch.iter().zip(&scores) {
                let end = match score {
                    // Ended in between.
                    Value::Nil => continue,
                    Value::Double(end) => Timestamp(*end as i64),
                    other => Timestamp(decode::int(other)?),
                };
                for &(index, attempt, own_end) in &record.running {
                    let expires = own_end.unwrap_or(end);
                    let state = TaskState::Leased { worker: record.worker.clone(), expires };
                    tasks.insert((record.layer, index), (attempt, state));
                }
            }
        }
        Ok(tasks)
    }

    /// Some fields of a hash, and where to go on; `0` at the end.
    async fn scan(
        &self,
        key: &str,
        cursor: &str,
        fields: &str,
    ) -> Result<(String, Vec<Value>), QueueError> {
        let mut command = cmd("HSCAN");
        command.arg(key).arg(cursor).arg("MATCH").arg(fields).arg("COUNT").arg(BATCH);
        let answer = decode::list(self.caller.link.ask(&command).await?)?;
        let [next, fields] =
            <[Value; 2]>::try_from(answer).map_err(|_| unexpected("no part of a hash"))?;
        Ok((decode::text(&next)?.to_owned(), decode::list(fields)?))
    }

    pub(super) async fn done_tasks(
        &self,
        job: JobId,
        layer: u8,
        each: NonZero<u64>,
    ) -> Result<Vec<u64>, QueueError> {
        let none = || QueueError::NoSuchTask(TaskId { job, layer, index: 0 });
        let tasks = self.job(job).await?.layers.get(usize::from(layer)).ok_or_else(none)?.counts;
        let mut parts = vec![0; tasks.tasks.div_ceil(each.get()) as usize];
        for chunk in 0..tasks.tasks.div_ceil(CHUNK) {
            let mut command = cmd("GETRANGE");
            command.arg(format!("{}b:{job}/{layer}/d{chunk}", self.caller.prefix)).arg(0).arg(-1);
            let bits = self.caller.link.ask(&command).await?;
            count_bits(decode::bytes(&bits)?, chunk * CHUNK, each, &mut parts);
        }
        Ok(parts)
    }

    pub(super) async fn all_workers(&self) -> Result<Vec<WorkerSnapshot>, QueueError> {
        let mut workers: BTreeMap<WorkerId, WorkerSnapshot> = BTreeMap::new();
        for part in self.in_parts("seats").await? {
            for seat in part[1..].chunks_exact(4) {
                let told: Told<WorkerInfo> = serde_json::from_slice(decode::bytes(&seat[1])?)
                    .map_err(|error| QueueError::Corrupt(format!("a worker: {error}")))?;
                let snapshot = WorkerSnapshot {
                    last_seen: Timestamp(decode::int(&seat[2])?),
                    draining: decode::int(&seat[3])? == 1,
                    leased: 0,
                    info: told.info,
                    version: told.version,
                };
                workers.insert(snapshot.info.id.clone(), snapshot);
            }
        }
        for part in self.in_parts("leases").await? {
            for count in part[1..].chunks_exact(2) {
                let worker: WorkerId = decode::parse(decode::text(&count[0])?)?;
                if let Some(snapshot) = workers.get_mut(&worker) {
                    snapshot.leased += u64::try_from(decode::int(&count[1])?).unwrap_or(0);
                }
            }
        }
        Ok(workers.into_values().collect())
    }

    /// All parts of what `workers.lua` tells; each begins with where it goes on.
    async fn in_parts(&self, what: &str) -> Result<Vec<Vec<Value>>, QueueError> {
        let mut parts = Vec::new();
        let mut from = "0".to_owned();
        loop {
            let fill = |command: &mut Cmd| {
                command.arg("").arg(self.caller.time()).arg(what).arg(&from);
                command.arg(1_000).arg(millis(FORGET_WORKER));
            };
            let part = self.caller.read(&scripts::WORKERS, fill).await?;
            let next = decode::text(part.first().unwrap_or(&Value::Nil))?.to_owned();
            parts.push(part);
            if next == "0" {
                return Ok(parts);
            }
            from = next;
        }
    }
}
