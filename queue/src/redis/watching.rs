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
            command.arg(format!("{}jobs", self.caller.prefix)).arg(&from).arg("+inf").arg("WITHSCORES");
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
        let cancelled = self.job(job).await?.state == JobState::Cancelled;
        let most = usize::try_from(which.most).unwrap_or(usize::MAX);
        let found = match which.only {
            Some(TaskKind::Failed) => self.failed_tasks(job, which.after, most).await?,
            _ => self.entries(job).await?,
        };
        let wanted = |place: (u8, u64), entry: &Entry| {
            let kind = entry.kind?;
            // Of a cancelled job only what had failed is left.
            let here = !cancelled || kind == TaskKind::Failed;
            let after = which.after.is_none_or(|after| place > after);
            (here && after && which.only.is_none_or(|only| only == kind)).then_some(kind)
        };
        let found = found.into_iter().filter_map(|(place, entry)| {
            let kind = wanted(place, &entry)?;
            Some((place, kind, entry))
        });
        let found: Vec<_> = found.take(most).collect();
        self.with_leases(job, found).await
    }

    /// All entries of a job, in the order of their tasks.
    async fn entries(&self, job: JobId) -> Result<BTreeMap<(u8, u64), Entry>, QueueError> {
        let key = format!("{}j:{job}", self.caller.prefix);
        let mut entries = BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut command = cmd("HSCAN");
            command.arg(&key).arg(&cursor).arg("MATCH").arg("[0-9]*").arg("COUNT").arg(BATCH);
            let answer = decode::list(self.caller.link.ask(&command).await?)?;
            let [next, fields] =
                <[Value; 2]>::try_from(answer).map_err(|_| unexpected("no part of a hash"))?;
            for pair in decode::list(fields)?.chunks_exact(2) {
                let place = decode::field(decode::text(&pair[0])?)?;
                entries.insert(place, decode::entry(decode::bytes(&pair[1])?)?);
            }
            cursor = decode::text(&next)?.to_owned();
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

    /// Adds to leased tasks when their leases end.
    async fn with_leases(
        &self,
        job: JobId,
        found: Vec<((u8, u64), TaskKind, Entry)>,
    ) -> Result<Vec<TaskSnapshot>, QueueError> {
        let mut ends: HashMap<(u8, u64), Timestamp> = HashMap::new();
        let leased: Vec<_> =
            found.iter().filter(|(_, kind, _)| *kind == TaskKind::Leased).collect();
        for batch in leased.chunks(BATCH) {
            let mut command = cmd("ZMSCORE");
            command.arg(format!("{}leases", self.caller.prefix));
            for ((layer, index), _, entry) in batch {
                command.arg(format!("{job}/{layer}/{index} {}", entry.worker));
            }
            let scores = decode::list(self.caller.link.ask(&command).await?)?;
            for ((place, ..), score) in batch.iter().zip(&scores) {
                let end = match score {
                    // Ended in between.
                    Value::Nil => continue,
                    Value::Double(end) => *end as i64,
                    other => decode::int(other)?,
                };
                ends.insert(*place, Timestamp(end));
            }
        }
        let mut tasks = Vec::with_capacity(found.len());
        for (place, kind, entry) in found {
            let state = match kind {
                TaskKind::Leased => match ends.get(&place) {
                    Some(&expires) => {
                        TaskState::Leased { worker: decode::parse(&entry.worker)?, expires }
                    }
                    None => continue,
                },
                TaskKind::Delayed => TaskState::Delayed { until: entry.time },
                TaskKind::Failed => TaskState::Failed,
            };
            let task = TaskId { job, layer: place.0, index: place.1 };
            let last_error = entry.error;
            tasks.push(TaskSnapshot { task, attempt: entry.attempt, state, last_error });
        }
        Ok(tasks)
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
