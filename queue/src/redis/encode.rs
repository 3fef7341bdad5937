//! What the scripts are told.

use std::collections::BTreeMap;
use std::ops::Range;

use ::redis::Cmd;
use serde::{Deserialize, Serialize};
use vqfarm_core::id::{JobName, UserName};
use vqfarm_core::plan::Dependency;

use crate::protocol::Told;
use crate::{
    JobState, LayerSpec, MOST_LEASED, Needs, QueueError, Standing, Submission, Ticket, WorkerInfo,
};

/// Task numbers in one chunk of a bitmap; `part/bitmap.lua` says the same.
const CHUNK: u64 = 65_536;

/// What a job's snapshot says that never changes.
#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    pub name: JobName,
    pub user: UserName,
    pub layers: Vec<LayerSpec>,
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, QueueError> {
    serde_json::to_string(value).map_err(|error| QueueError::Invalid(error.to_string()))
}

/// A job's state as `part/job.lua` counts them.
fn state(state: JobState) -> u8 {
    match state {
        JobState::Waiting => 0,
        JobState::Running => 1,
        JobState::Paused => 2,
        JobState::Done => 3,
        JobState::Failed => 4,
        JobState::Cancelled => 5,
    }
}

/// The set of the jobs that are over and ended so.
pub(super) fn over(how: JobState) -> String {
    format!("over:{}", state(how))
}

/// Tickets of one layer as `part/runs.lua` reads them: those that follow each other in one lease
/// are one run.
pub(super) fn runs(tickets: &[Ticket]) -> Vec<u8> {
    let follows = |a: &Ticket, b: &Ticket| {
        let of_one_lease = a.token.0 >> POSITION_BITS == b.token.0 >> POSITION_BITS;
        let next = (a.task.index + 1, a.token.0.wrapping_add(1), a.attempt);
        of_one_lease && next == (b.task.index, b.token.0, b.attempt)
    };
    let mut runs = Vec::new();
    for run in tickets.chunk_by(follows) {
        let Ticket { task, attempt, token } = run[0];
        // No layer has tasks beyond, and no lease so many.
        let index = u32::try_from(task.index).unwrap_or(u32::MAX);
        let count = u16::try_from(run.len()).unwrap_or(u16::MAX);
        runs.extend_from_slice(token.to_string().as_bytes());
        // The last bits of the token, so that the script need not read them.
        let place = (token.0 & ((1 << POSITION_BITS) - 1)) as u16;
        runs.extend_from_slice(&place.to_le_bytes());
        runs.extend_from_slice(&index.to_le_bytes());
        runs.extend_from_slice(&count.to_le_bytes());
        runs.extend_from_slice(&attempt.to_le_bytes());
    }
    runs
}

/// The bits of a token that count the tasks of its lease; those before are the lease's name.
pub(super) const POSITION_BITS: u32 = 12;
const _: () = assert!(MOST_LEASED <= 1 << POSITION_BITS);

/// A name for a lease, which nobody can guess.
pub(super) fn lease_name() -> String {
    format!("{:013x}", rand::random::<u64>() >> POSITION_BITS)
}

/// `,a,b,`: each name stands between two separators.
fn listed<'a>(names: impl Iterator<Item = &'a str>, separator: char) -> String {
    names.fold(separator.to_string(), |list, name| list + name + &separator.to_string())
}

/// What is stored of a worker: what it has, and of which release it is.
pub(super) fn told(info: &WorkerInfo) -> Result<String, QueueError> {
    json(&Told::by_us(info))
}

pub(super) fn tags(info: &WorkerInfo) -> String {
    listed(info.tags.iter().map(|tag| tag.as_str()), ',')
}

pub(super) fn loaded(info: &WorkerInfo) -> String {
    listed(info.loaded.iter().map(String::as_str), '\n')
}

/// Needs as the index of offers names them.
fn group(needs: &Needs) -> String {
    let tags: Vec<&str> = needs.tags.iter().map(|tag| tag.as_str()).collect();
    let models: Vec<&str> = needs.models.iter().map(String::as_str).collect();
    format!("{}|{}|{}", needs.memory, tags.join(","), models.join("\n"))
}

/// The arguments that `part/add.lua` reads.
pub(super) fn submission(
    command: &mut Cmd,
    submission: &Submission,
    submitted: Option<i64>,
    standing: Standing,
) -> Result<(), QueueError> {
    let Submission { request, job, name, user, priority, layers, .. } = submission;
    let spec = Spec { name: name.clone(), user: user.clone(), layers: layers.clone() };
    command
        .arg(request.as_str())
        .arg(job.to_string())
        .arg(user.as_str())
        .arg(json(&spec)?)
        .arg(*priority)
        .arg(submitted.map(|at| at.to_string()).unwrap_or_default())
        .arg(match standing {
            Standing::Active => 0,
            Standing::Paused => 1,
            Standing::Cancelled => 2,
        })
        .arg(layers.len());
    let mut chunks = BTreeMap::new();
    let mut below: Vec<Range<u64>> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let done = merged(&submission.done, at);
        let ready = ready(layer, &done, &below);
        command
            .arg(layer.tasks)
            .arg(match layer.dependency {
                Dependency::Independent => 0,
                Dependency::Chain => 1,
                Dependency::Neighbours => 2,
                Dependency::All => 3,
            })
            .arg(group(&layer.needs))
            .arg(count(&done))
            .arg(count(&ready))
            .arg(ready.first().map_or(layer.tasks, |range| range.start));
        mark(&mut chunks, &format!("{at}/d"), &done);
        mark(&mut chunks, &format!("{at}/r"), &ready);
        below = done;
    }
    for (name, bytes) in chunks {
        command.arg(name).arg(bytes);
    }
    Ok(())
}

fn count(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// A layer's done tasks as the fewest ranges, in order.
fn merged(done: &[(u8, Range<u64>)], layer: usize) -> Vec<Range<u64>> {
    let here = done.iter().filter(|(at, range)| usize::from(*at) == layer && !range.is_empty());
    let mut ranges: Vec<_> = here.map(|(_, range)| range.clone()).collect();
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The tasks that may run from the start, in layers where that is known one by one.
fn ready(layer: &LayerSpec, done: &[Range<u64>], below: &[Range<u64>]) -> Vec<Range<u64>> {
    let tasks = layer.tasks;
    match layer.dependency {
        Dependency::Independent | Dependency::All => Vec::new(),
        Dependency::Chain => {
            let begins = done.first().is_none_or(|range| range.start > 0).then_some(0);
            let follow = done.iter().map(|range| range.end).filter(|index| *index < tasks);
            begins.into_iter().chain(follow).map(|index| index..index + 1).collect()
        }
        Dependency::Neighbours => {
            let inner = below.iter().map(|range| {
                let start = if range.start == 0 { 0 } else { range.start + 1 };
                start..if range.end == tasks { tasks } else { range.end - 1 }
            });
            inner.flat_map(|range| without(range, done)).collect()
        }
    }
}

/// What is left of a range without these.
fn without(range: Range<u64>, taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    let mut start = range.start;
    for hole in taken {
        if hole.start > start {
            left.push(start..hole.start.min(range.end));
        }
        start = start.max(hole.end);
        if start >= range.end {
            break;
        }
    }
    left.push(start..range.end);
    left.retain(|range| !range.is_empty());
    left
}

/// Sets the bits of these task numbers; the first of a byte is its highest, as in Redis.
fn mark(chunks: &mut BTreeMap<String, Vec<u8>>, map: &str, ranges: &[Range<u64>]) {
    for range in ranges {
        let mut start = range.start;
        while start < range.end {
            let chunk = start / CHUNK;
            let end = range.end.min((chunk + 1) * CHUNK);
            let bytes = chunks.entry(format!("{map}{chunk}")).or_default();
            // Below 65,536: fits any usize.
            mark_within(bytes, (start % CHUNK) as usize, (end - 1 - chunk * CHUNK) as usize);
            start = end;
        }
    }
}

/// Sets bits `first..=last`.
fn mark_within(bytes: &mut Vec<u8>, first: usize, last: usize) {
    let (low, high) = (first / 8, last / 8);
    if bytes.len() <= high {
        bytes.resize(high + 1, 0);
    }
    let (head, tail) = (0xff_u8 >> (first % 8), 0xff_u8 << (7 - last % 8));
    if low == high {
        bytes[low] |= head & tail;
    } else {
        bytes[low] |= head;
        bytes[low + 1..high].fill(0xff);
        bytes[high] |= tail;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn members(chunks: &BTreeMap<String, Vec<u8>>) -> BTreeSet<u64> {
        let mut members = BTreeSet::new();
        for (name, bytes) in chunks {
            let chunk: u64 = name[3..].parse().expect("a chunk");
            for index in 0..bytes.len() * 8 {
                if bytes[index / 8] & (0x80 >> (index % 8)) != 0 {
                    members.insert(chunk * CHUNK + index as u64);
                }
            }
        }
        members
    }

    fn ranges(near: u64) -> impl Strategy<Value = Vec<(u8, Range<u64>)>> {
        let range = (0..40u64, 0..12u64).prop_map(move |(a, n)| (0, near + a..near + a + n));
        prop::collection::vec(range, 0..6)
    }

    proptest! {
        #[test]
        fn bitmaps_hold_what_is_done(done in prop_oneof![ranges(0), ranges(CHUNK - 20)]) {
            let expected: BTreeSet<u64> = done.iter().flat_map(|(_, range)| range.clone()).collect();
            let merged = merged(&done, 0);
            prop_assert_eq!(count(&merged), expected.len() as u64);
            let mut chunks = BTreeMap::new();
            mark(&mut chunks, "0/d", &merged);
            prop_assert_eq!(members(&chunks), expected);
        }

        #[test]
        fn ready_tasks_have_all_that_they_follow(
            own in ranges(0), below in ranges(0), chain in any::<bool>()
        ) {
            let tasks = 52;
            let dependency = if chain { Dependency::Chain } else { Dependency::Neighbours };
            let layer = LayerSpec { name: String::new(), tasks, dependency, needs: Needs::default() };
            let (own, below) = (merged(&own, 0), merged(&below, 0));
            let has = |ranges: &[Range<u64>], index| ranges.iter().any(|range| range.contains(&index));
            let free = |index: u64| match dependency {
                Dependency::Chain => index == 0 || has(&own, index - 1),
                _ => (index.saturating_sub(1)..(index + 2).min(tasks)).all(|i| has(&below, i)),
            };
            let expected: Vec<u64> = (0..tasks).filter(|i| !has(&own, *i) && free(*i)).collect();
            let ready = ready(&layer, &own, &below);
            prop_assert_eq!(ready.into_iter().flatten().collect::<Vec<_>>(), expected);
        }
    }
}
