//! Why tasks wait, and what would free them.

use vqfarm_core::plan::Dependency;
use vqfarm_core::requires::Memory;
use vqfarm_core::video::FFMPEG_TAG;
use vqfarm_queue::{
    JobSnapshot, JobState, Jobs, LayerSnapshot, Needs, TaskKind, TaskState, Tasks, WorkerSnapshot,
};

use crate::error::Result;
use crate::farm::Farm;

/// Tasks of a layer that wait for the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub layer: String,
    pub tasks: u64,
    pub kind: Kind,
    /// A sentence without its full stop.
    pub text: String,
    /// What would free them; empty when it only takes time.
    pub remedy: String,
}

/// A reason in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing is wrong: being rendered now.
    Running,
    /// Failed, and to be tried again in a moment.
    Delayed,
    /// Failed for good.
    Failed,
    /// For other tasks of the job.
    Blocked,
    Paused,
    /// The queue is being put back together.
    Queue,
    NoWorkers,
    /// No worker has the tags.
    Tags,
    /// No worker has the memory.
    Memory,
    /// No worker has both.
    Fit,
    Draining,
    /// Workers that fit are busy with the job itself or with others.
    Busy,
    /// A worker that fits is idle and will take them any moment.
    Starting,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Paused => "paused",
            Self::Queue => "queue",
            Self::NoWorkers => "no_workers",
            Self::Tags => "tags",
            Self::Memory => "memory",
            Self::Fit => "fit",
            Self::Draining => "draining",
            Self::Busy => "busy",
            Self::Starting => "starting",
        }
    }
}

impl Farm {
    /// What each group of a job's tasks waits for; nothing for a job that is over, but for its
    /// failed tasks.
    pub async fn why(&self, job: &JobSnapshot) -> Result<Vec<Reason>> {
        if self.queue.epoch().await?.is_none() {
            let text = "the queue has lost its memory and is being put back together".into();
            let tasks = job.total().waiting();
            let (layer, remedy) = (String::new(), String::new());
            return Ok(vec![Reason { layer, tasks, kind: Kind::Queue, text, remedy }]);
        }
        let workers = self.queue.workers().await?;
        let alive: Vec<&WorkerSnapshot> =
            workers.iter().filter(|worker| self.is_alive(worker)).collect();
        let mut reasons = Vec::new();
        for (number, layer) in job.layers.iter().enumerate() {
            let counts = &layer.counts;
            let mut add = |tasks: u64, kind: Kind, text: String, remedy: String| {
                if tasks > 0 {
                    reasons.push(Reason { layer: layer.name.clone(), tasks, kind, text, remedy });
                }
            };
            if !job.state.is_final() || job.state == JobState::Failed {
                if counts.leased > 0 {
                    let text = format!("{} being rendered", are(counts.leased));
                    add(counts.leased, Kind::Running, text, String::new());
                }
                if counts.delayed > 0 {
                    let text = self.delayed(job, number, counts.delayed).await?;
                    add(counts.delayed, Kind::Delayed, text, String::new());
                }
                if job.state == JobState::Paused && counts.ready > 0 {
                    let text = format!("{} the job is paused", wait(counts.ready));
                    let remedy = format!("vqfarm resume {}", job.job.short());
                    add(counts.ready, Kind::Paused, text, remedy);
                } else if counts.ready > 0 {
                    let others = self.more_urgent(job).await?;
                    let (kind, text, remedy) = unleased(layer, &alive, job, &others);
                    add(counts.ready, kind, text, remedy);
                }
                if counts.blocked > 0 {
                    let nobody = !alive.iter().any(|worker| fits(&layer.needs, worker));
                    let (kind, text, remedy) = if nobody && !alive.is_empty() {
                        // Better known before what they wait for is done.
                        unfit(&layer.needs, counts.blocked, &alive)
                    } else {
                        (Kind::Blocked, blocked(job, number), String::new())
                    };
                    add(counts.blocked, kind, text, remedy);
                }
            }
            if counts.failed > 0 {
                let text = self.failed(job, number, counts.failed).await?;
                let remedy = match job.state {
                    JobState::Cancelled => String::new(),
                    _ => format!("vqfarm retry {} --failed", job.job.short()),
                };
                add(counts.failed, Kind::Failed, text, remedy);
            }
        }
        Ok(reasons)
    }

    /// How soon the first of a layer's delayed tasks is tried again.
    async fn delayed(&self, job: &JobSnapshot, layer: usize, count: u64) -> Result<String> {
        let which = Tasks { only: Some(TaskKind::Delayed), ..Tasks::default() };
        let tasks = self.queue.tasks(job.job, &which).await?;
        let due = tasks.iter().filter(|task| usize::from(task.task.layer) == layer);
        let due = due.filter_map(|task| match task.state {
            TaskState::Delayed { until } => Some(until),
            _ => None,
        });
        let seconds = due.min().map_or(0, |until| until.since(self.now()).as_secs() + 1);
        Ok(format!("{} failed and will be tried again, the first in {seconds} s", tasks_of(count)))
    }

    async fn failed(&self, job: &JobSnapshot, layer: usize, count: u64) -> Result<String> {
        let after = (layer > 0).then(|| (layer as u8 - 1, u64::MAX));
        let which = Tasks { after, most: 1, only: Some(TaskKind::Failed) };
        let tasks = self.queue.tasks(job.job, &which).await?;
        let error = tasks.first().and_then(|task| task.last_error.as_deref());
        let error = error.map_or(String::new(), |error| format!(": {}", first_line(error)));
        Ok(format!("{} failed for good{error}", tasks_of(count)))
    }

    /// Live jobs that go before this one, with work to do.
    async fn more_urgent(&self, job: &JobSnapshot) -> Result<Vec<JobSnapshot>> {
        let live = self.queue.jobs(Jobs::Live).await?.into_iter();
        let busy = |other: &JobSnapshot| {
            let total = other.total();
            other.job != job.job
                && other.state != JobState::Paused
                && total.ready + total.leased > 0
                && other.priority > job.priority
        };
        Ok(live.filter(busy).collect())
    }
}

/// Why tasks that could run are not leased.
fn unleased(
    layer: &LayerSnapshot,
    alive: &[&WorkerSnapshot],
    job: &JobSnapshot,
    urgent: &[JobSnapshot],
) -> (Kind, String, String) {
    let needs = &layer.needs;
    let ready = layer.counts.ready;
    if alive.is_empty() {
        let text = format!("{} for a worker; none is connected", wait_on(ready));
        return (Kind::NoWorkers, text, "start one: vqfarm-worker run".into());
    }
    let fitting: Vec<&&WorkerSnapshot> =
        alive.iter().filter(|worker| fits(needs, worker)).collect();
    if fitting.is_empty() {
        return unfit(needs, ready, alive);
    }
    let taking = || fitting.iter().filter(|worker| !worker.draining);
    if taking().next().is_none() {
        let text = format!("{}; the workers that fit are draining", wait_on(ready));
        let remedy = format!("vqfarm undrain {}", fitting[0].info.id);
        return (Kind::Draining, text, remedy);
    }
    // Jobs that none of these workers can do take nothing away.
    let could = |layer: &LayerSnapshot| taking().any(|worker| fits(&layer.needs, worker));
    let rival = |other: &&JobSnapshot| {
        let begun = |layer: &LayerSnapshot| layer.counts.ready + layer.counts.leased > 0;
        other.layers.iter().any(|layer| begun(layer) && could(layer))
    };
    let rival = urgent.iter().filter(rival).max_by_key(|other| other.priority);
    if taking().any(|worker| worker.leased == 0) && rival.is_none() {
        let text = format!("{} about to be taken by an idle worker", are(ready));
        return (Kind::Starting, text, String::new());
    }
    let busy = match taking().count() {
        1 => "the worker that fits is busy".to_owned(),
        n => format!("the {n} workers that fit are busy"),
    };
    match rival {
        Some(other) => {
            let text = format!(
                "{}; {busy}, and job {} goes first with priority {} over {}",
                wait_on(ready),
                other.job.short(),
                other.priority,
                job.priority
            );
            let remedy = format!("vqfarm priority {} {}", job.job.short(), other.priority);
            (Kind::Busy, text, remedy)
        }
        None => (Kind::Busy, format!("{}; {busy}", wait_on(ready)), String::new()),
    }
}

fn fits(needs: &Needs, worker: &WorkerSnapshot) -> bool {
    needs.tags.is_subset(&worker.info.tags) && needs.memory <= worker.info.memory
}

/// What no worker has.
fn unfit(needs: &Needs, ready: u64, alive: &[&WorkerSnapshot]) -> (Kind, String, String) {
    let tagged = alive.iter().filter(|worker| needs.tags.is_subset(&worker.info.tags));
    let best = tagged.map(|worker| worker.info.memory).max();
    let most = alive.iter().map(|worker| worker.info.memory).max().unwrap_or(0);
    let list: Vec<&str> = needs.tags.iter().map(|tag| tag.as_str()).collect();
    let tags = match list.as_slice() {
        [one] => format!("the tag `{one}`"),
        several => format!("the tags `{}`", several.join("`, `")),
    };
    let need = if ready == 1 { "1 task needs".into() } else { format!("{ready} tasks need") };
    let wanted = memory(needs.memory);
    match best {
        None if needs.memory <= most => {
            let text = format!("{need} {tags}; no worker has all of it");
            let remedy = match list.as_slice() {
                // Workers give it to themselves.
                [FFMPEG_TAG] => "install ffmpeg where a worker runs, and start it again".into(),
                _ => format!("start a worker with --tags {}", list.join(",")),
            };
            (Kind::Tags, text, remedy)
        }
        None => {
            let text = format!(
                "{need} {tags} and {wanted} of GPU memory; no worker has the tags, and the \
                 largest has {}",
                memory(most)
            );
            (Kind::Fit, text, "start a worker that has both, or change [requires]".into())
        }
        Some(best) => {
            let among = if needs.tags.is_empty() { String::new() } else { format!(" with {tags}") };
            let text = format!(
                "{need} {wanted} of GPU memory; no worker{among} has it, the largest has {}",
                memory(best)
            );
            (
                Kind::Memory,
                text,
                "start a larger worker, make smaller pictures or lower requires.gpu_memory".into(),
            )
        }
    }
}

/// What other tasks a layer waits for.
fn blocked(job: &JobSnapshot, layer: usize) -> String {
    let counts = &job.layers[layer].counts;
    let waits = wait_on(counts.blocked);
    let below = match job.layers[layer].dependency {
        Dependency::Chain => return format!("{waits}, each for the one before it"),
        Dependency::All => &job.layers[..layer],
        Dependency::Neighbours | Dependency::Independent => {
            &job.layers[layer.saturating_sub(1)..layer]
        }
    };
    let open: Vec<&LayerSnapshot> =
        below.iter().filter(|below| below.counts.done < below.counts.tasks).collect();
    let missing = open.iter().map(|below| below.counts.tasks - below.counts.done).sum();
    let failed = match open.iter().map(|below| below.counts.failed).sum::<u64>() {
        0 => String::new(),
        failed => format!(", {failed} of which failed for good"),
    };
    let names: Vec<&str> = open.iter().map(|below| below.name.as_str()).collect();
    let layers = if names.len() == 1 { "layer" } else { "layers" };
    format!("{waits} for {} of {layers} {}{failed}", tasks_of(missing), names.join(", "))
}

fn memory(bytes: u64) -> String {
    Memory::of_bytes(bytes).map_or_else(|_| "any amount".into(), |memory| memory.to_string())
}

pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn tasks_of(count: u64) -> String {
    if count == 1 { "1 task".into() } else { format!("{count} tasks") }
}

fn are(count: u64) -> String {
    if count == 1 { "1 task is".into() } else { format!("{count} tasks are") }
}

fn wait_on(count: u64) -> String {
    if count == 1 { "1 task waits".into() } else { format!("{count} tasks wait") }
}

fn wait(count: u64) -> String {
    format!("{} because", wait_on(count))
}
