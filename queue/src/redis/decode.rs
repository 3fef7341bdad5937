//! What the scripts answer.

use std::str::FromStr;

use ::redis::Value;
use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{JobId, TaskId, WorkerId};
use vqfarm_core::plan::Dependency;

use super::BATCH;
use super::encode::{POSITION_BITS, Spec};
use crate::*;

/// Something that the queue's scripts do not write.
fn odd(what: &str, found: impl std::fmt::Debug) -> QueueError {
    let mut found = format!("{found:?}");
    found.truncate(found.floor_char_boundary(200));
    QueueError::Corrupt(format!("{what}: {found}"))
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, QueueError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(odd("not a list", other)),
    }
}

pub(super) fn bytes(value: &Value) -> Result<&[u8], QueueError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.as_bytes()),
        other => Err(odd("not a string", other)),
    }
}

pub(super) fn text(value: &Value) -> Result<&str, QueueError> {
    text_of(bytes(value)?)
}

fn text_of(bytes: &[u8]) -> Result<&str, QueueError> {
    std::str::from_utf8(bytes).map_err(|_| odd("not UTF-8", bytes))
}

/// A number, or text that is one.
pub(super) fn int(value: &Value) -> Result<i64, QueueError> {
    match value {
        Value::Int(number) => Ok(*number),
        other => parse(text(other)?),
    }
}

pub(super) fn parse<T: FromStr>(text: &str) -> Result<T, QueueError> {
    text.parse().map_err(|_| odd("not what was expected", text))
}

fn item(values: &[Value], at: usize) -> Result<&Value, QueueError> {
    values.get(at).ok_or_else(|| odd("an answer is too short", values))
}

/// `n` doubles, which hold whole numbers.
fn numbers<const N: usize>(packed: &[u8]) -> Result<[i64; N], QueueError> {
    let mut numbers = [0; N];
    if packed.len() != N * 8 {
        return Err(odd("numbers of another length", packed));
    }
    for (number, bytes) in numbers.iter_mut().zip(packed.chunks_exact(8)) {
        let mut exact = [0; 8];
        exact.copy_from_slice(bytes);
        let value = f64::from_le_bytes(exact);
        if value.fract() != 0.0 || value.abs() > (1u64 << 53) as f64 {
            return Err(odd("no whole number", value));
        }
        *number = value as i64;
    }
    Ok(numbers)
}

pub(super) fn state(code: i64) -> Result<JobState, QueueError> {
    Ok(match code {
        0 => JobState::Waiting,
        1 => JobState::Running,
        2 => JobState::Paused,
        3 => JobState::Done,
        4 => JobState::Failed,
        5 => JobState::Cancelled,
        other => return Err(odd("no state of a job", other)),
    })
}

/// `<job> <layer> <first> <expires> <attempt of all, or of each, with commas> <name> <how many>`
pub(super) fn lease(answer: &str) -> Result<Lease, QueueError> {
    let parts: Vec<&str> = answer.split(' ').collect();
    let [job, layer, first, expires, attempts, name, count] = parts[..] else {
        return Err(odd("not a lease", answer));
    };
    let (job, layer, first): (JobId, u8, u64) = (parse(job)?, parse(layer)?, parse(first)?);
    let attempts = attempts.split(',').map(parse).collect::<Result<Vec<u32>, _>>()?;
    let name = u64::from_str_radix(name, 16).ok().filter(|name| name >> (64 - POSITION_BITS) == 0);
    let name = name.ok_or_else(|| odd("not a name of a lease", answer))?;
    let count: u32 = parse(count)?;
    let each = attempts.len() == 1 || attempts.len() == count as usize;
    if !(1..=MOST_LEASED).contains(&count) || !each {
        return Err(odd("not a lease", answer));
    }
    let tickets = (0..u64::from(count)).zip(attempts.into_iter().cycle());
    let tickets = tickets.map(|(at, attempt)| {
        let task = TaskId { job, layer, index: first + at };
        Ticket { task, attempt, token: Token(name << POSITION_BITS | at) }
    });
    let tickets = tickets.collect();
    // The caller knows how long its leases last.
    Ok(Lease { tickets, expires: Timestamp(parse(expires)?), lasts: Default::default() })
}

/// A job of `jobs.lua`, and its number by age.
pub(super) fn job(value: Value) -> Result<(i64, JobSnapshot), QueueError> {
    let values = list(value)?;
    let spec = bytes(item(&values, 1)?)?;
    let spec: Spec = serde_json::from_slice(spec).map_err(|error| odd("a job", error))?;
    let job = parse(text(item(&values, 0)?)?)?;
    let [number, priority, code, submitted, finished, .., cancelled, _failed] =
        numbers::<12>(bytes(item(&values, 2)?)?)?;
    let state = state(code)?;
    let mut layers = Vec::with_capacity(spec.layers.len());
    let mut below = true;
    for (at, layer) in spec.layers.into_iter().enumerate() {
        let numbers = numbers(bytes(item(&values, 3 + at)?)?)?;
        let counts = counts(layer.dependency, numbers, cancelled == 1, below);
        below &= counts.done == counts.tasks;
        let LayerSpec { name, dependency, needs, .. } = layer;
        layers.push(LayerSnapshot { name, dependency, needs, counts });
    }
    let snapshot = JobSnapshot {
        job,
        name: spec.name,
        user: spec.user,
        priority: i32::try_from(priority).map_err(|_| odd("a priority", priority))?,
        state,
        submitted: Timestamp(submitted),
        finished: state.is_final().then_some(Timestamp(finished)),
        layers,
    };
    Ok((number, snapshot))
}

/// A layer's counts from what `part/job.lua` packs.
fn counts(
    dependency: Dependency,
    numbers: [i64; 12],
    cancelled: bool,
    below_is_done: bool,
) -> TaskCounts {
    let [tasks, _, _, _, done, failed, leased, delayed, ready, ..] =
        numbers.map(|number| u64::try_from(number).unwrap_or(0));
    let rest = tasks.saturating_sub(done + failed);
    if cancelled {
        return TaskCounts { tasks, done, failed, cancelled: rest, ..TaskCounts::default() };
    }
    let waiting = rest.saturating_sub(leased + delayed);
    let ready = match dependency {
        Dependency::Independent => waiting,
        Dependency::All if below_is_done => waiting,
        Dependency::All => 0,
        Dependency::Chain | Dependency::Neighbours => ready.min(waiting),
    };
    let blocked = waiting - ready;
    TaskCounts { tasks, done, failed, cancelled: 0, leased, delayed, ready, blocked }
}

/// An entry of `part/entries.lua`.
pub(super) struct Entry {
    /// `None` while it waits like any other task.
    pub kind: Option<TaskKind>,
    pub attempt: u32,
    pub time: Timestamp,
    pub error: Option<String>,
}

pub(super) fn entry(packed: &[u8]) -> Result<Entry, QueueError> {
    let bad = || odd("not an entry of a task", packed);
    let kind = match packed.first() {
        Some(b'L') => Some(TaskKind::Leased),
        Some(b'D') => Some(TaskKind::Delayed),
        Some(b'F') => Some(TaskKind::Failed),
        Some(b'W') => None,
        _ => return Err(bad()),
    };
    let mut rest = Packed(&packed[1..]);
    let (attempt, _failures) = (rest.u32().ok_or_else(bad)?, rest.u32().ok_or_else(bad)?);
    let [time] = numbers(rest.take(8).ok_or_else(bad)?)?;
    let error = String::from_utf8(rest.0.to_vec()).map_err(|_| bad())?;
    let error = (!error.is_empty()).then_some(error);
    Ok(Entry { kind, attempt, time: Timestamp(time), error })
}

/// A record of `part/leases.lua`.
pub(super) struct Record {
    pub job: JobId,
    /// The job's number by age.
    pub number: i64,
    pub layer: u8,
    pub worker: WorkerId,
    /// Index and attempt of each task that runs, and when it ends, if that is not as `ends` says.
    pub running: Vec<(u64, u32, Option<Timestamp>)>,
}

pub(super) fn record(packed: &[u8]) -> Result<Record, QueueError> {
    let bad = || odd("not a lease", packed);
    let mut rest = Packed(packed);
    let job = parse(text_of(rest.take(32).ok_or_else(bad)?)?)?;
    let [number] = numbers(rest.take(8).ok_or_else(bad)?)?;
    let layer = rest.take(1).ok_or_else(bad)?[0];
    let first = u64::from(rest.u32().ok_or_else(bad)?);
    let _expires = rest.take(8).ok_or_else(bad)?;
    let worker = parse(text_of(rest.short().ok_or_else(bad)?)?)?;
    let _request = rest.short().ok_or_else(bad)?;
    let tasks = rest.long().ok_or_else(bad)?;
    let mut attempts = Packed(rest.long().ok_or_else(bad)?);
    let (mut running, mut attempt) = (Vec::new(), 0);
    for (index, letter) in (first..).zip(tasks) {
        attempt = attempts.u32().unwrap_or(attempt);
        let ends = match rest.take(8) {
            Some(bytes) => Some(Timestamp(numbers::<1>(bytes)?[0])),
            None => None,
        };
        if *letter == b'r' {
            running.push((index, attempt, ends));
        }
    }
    Ok(Record { job, number, layer, worker, running })
}

/// What `struct.pack` wrote, from the front.
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// After its length in one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// After its length in two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.take(2)?.try_into().ok().map(u16::from_le_bytes)?;
        self.take(usize::from(length))
    }
}

/// `<layer>/<index>`
pub(super) fn field(field: &str) -> Result<(u8, u64), QueueError> {
    let (layer, index) = field.split_once('/').ok_or_else(|| odd("not a task", field))?;
    Ok((parse(layer)?, parse(index)?))
}

/// Events as `part/events.lua` joins them.
pub(super) fn events(mut message: &str) -> Result<Vec<Event>, QueueError> {
    let mut events = Vec::new();
    while !message.is_empty() {
        let (length, rest) = message.split_once(':').ok_or_else(|| odd("no event", message))?;
        let length: usize = parse(length)?;
        let event = rest.get(..length).ok_or_else(|| odd("no event", message))?;
        message = &rest[length..];
        read_event(event, &mut events)?;
    }
    Ok(events)
}

fn read_event(event: &str, events: &mut Vec<Event>) -> Result<(), QueueError> {
    let parts: Vec<&str> = event.splitn(6, ' ').collect();
    match parts[..] {
        ["S", job] => events.push(Event::Submitted(parse(job)?)),
        ["L", worker, job, layer, first, count] => {
            let (job, layer, first): (JobId, u8, u64) = (parse(job)?, parse(layer)?, parse(first)?);
            let count = parse::<u64>(count)?.min(u64::from(MOST_LEASED));
            let tasks = (first..first + count).map(|index| TaskId { job, layer, index }).collect();
            events.push(Event::Leased { tasks, worker: parse::<WorkerId>(worker)? });
        }
        ["C", job, layer, indices] => {
            let (job, layer) = (parse(job)?, parse(layer)?);
            for index in self::indices(indices)? {
                events.push(Event::Committed(TaskId { job, layer, index }));
            }
        }
        ["F", job, layer, index, outcome, message] => events.push(Event::Failed {
            task: TaskId { job: parse(job)?, layer: parse(layer)?, index: parse(index)? },
            message: message.to_owned(),
            outcome: failed(outcome)?,
        }),
        ["R", job, layer, index] => {
            let task = TaskId { job: parse(job)?, layer: parse(layer)?, index: parse(index)? };
            events.push(Event::Released(task));
        }
        ["J", job, code] => {
            events.push(Event::Job { job: parse(job)?, state: state(parse(code)?)? });
        }
        ["O", opened] => events.push(Event::Opened(epoch(opened)?)),
        _ => return Err(odd("no event", event)),
    }
    Ok(())
}

/// `<first>+<count>` of each run, with commas.
fn indices(text: &str) -> Result<Vec<u64>, QueueError> {
    let mut indices = Vec::new();
    for run in text.split(',') {
        let (first, count) = run.split_once('+').ok_or_else(|| odd("no tasks", text))?;
        let (first, count): (u64, u64) = (parse(first)?, parse(count)?);
        let end = first.checked_add(count).filter(|_| count <= BATCH as u64);
        indices.extend(first..end.ok_or_else(|| odd("no tasks", text))?);
    }
    Ok(indices)
}

pub(super) fn failed(outcome: &str) -> Result<Failed, QueueError> {
    match outcome {
        "Q" => Ok(Failed::Quarantined),
        until => Ok(Failed::Retry(Timestamp(parse(until)?))),
    }
}

pub(super) fn epoch(text: &str) -> Result<Epoch, QueueError> {
    u64::from_str_radix(text, 16).map(Epoch).map_err(|_| odd("not an epoch", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_an_error_and_no_panic() {
        let none = "00000000000000000000000000000000 0 0 0";
        for bad in ["x 1", "1 zz 1", "1 0 0", "1 0 1025", "1,1 0 3", "1 0123456789abcdef 1", "1 0"]
        {
            let bad = format!("{none} {bad}");
            assert!(matches!(lease(&bad), Err(QueueError::Corrupt(_))), "{bad:?}");
        }
        assert_eq!(lease(&format!("{none} 1 0 1")).map(|lease| lease.tickets.len()), Ok(1));
        for bad in [&b""[..], b"L", &[b'0'; 40], &[b'0'; 200]] {
            assert!(matches!(record(bad), Err(QueueError::Corrupt(_))), "{bad:?}");
        }
        for bad in [&b""[..], b"L", b"X0000", &[b'L'; 34], &[b'L'; 40]] {
            assert!(matches!(entry(bad), Err(QueueError::Corrupt(_))), "{bad:?}");
        }
        for bad in ["x", "3", "9:x", "2:é", "1:é", "3:S x", "3:J 1", "0:", "18446744073709551616:"]
        {
            assert!(matches!(events(bad), Err(QueueError::Corrupt(_))), "{bad:?}");
        }
        assert!(numbers::<1>(&f64::NAN.to_le_bytes()).is_err());
        assert!(numbers::<1>(&0.5f64.to_le_bytes()).is_err());
        assert!(numbers::<2>(&[0; 8]).is_err());
        assert!(job(Value::Array(vec![Value::Nil, Value::BulkString(vec![1])])).is_err());
    }
}
