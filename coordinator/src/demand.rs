//! How much work there is for workers of a kind: the gauge `vqfarm_demand`, by which a farm is
//! made larger and smaller.

use std::collections::BTreeMap;

use vqfarm_queue::{JobSnapshot, JobState, Needs};

/// What tasks ask of a worker, as the gauge's labels have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    /// Sorted and joined with commas; empty when any worker will do.
    tags: String,
    /// GiB of device memory, rounded up.
    memory: u64,
}

impl Asked {
    fn of(needs: &Needs) -> Self {
        let tags: Vec<&str> = needs.tags.iter().map(|tag| tag.as_str()).collect();
        Self { tags: tags.join(","), memory: needs.memory.div_ceil(1 << 30) }
    }
}

/// Tells the gauge, and remembers what it was told.
#[derive(Debug, Default)]
pub struct Demand(BTreeMap<Asked, u64>);

impl Demand {
    /// Brings the gauge up to date.
    pub fn measure(&mut self, jobs: &[JobSnapshot]) {
        for (asked, tasks) in self.changed(asked(jobs)) {
            metrics::gauge!("vqfarm_demand", "tags" => asked.tags,
                "gpu_memory_gib" => asked.memory.to_string())
            .set(tasks as f64);
        }
    }

    /// What is to be told. What nobody asks for any more is told once as 0, so that no worker is
    /// kept for it until the gauge goes stale.
    fn changed(&mut self, now: BTreeMap<Asked, u64>) -> BTreeMap<Asked, u64> {
        let gone = std::mem::replace(&mut self.0, now.clone()).into_keys().map(|asked| (asked, 0));
        gone.chain(now).collect()
    }
}

/// Tasks that workers have or could take at once, or in a moment, by what they ask for.
fn asked(jobs: &[JobSnapshot]) -> BTreeMap<Asked, u64> {
    let mut sum = BTreeMap::new();
    for job in jobs {
        for layer in &job.layers {
            let counts = &layer.counts;
            let waiting = match job.state {
                JobState::Paused => 0,
                _ => counts.ready + counts.delayed,
            };
            let tasks = counts.leased + waiting;
            if tasks > 0 {
                *sum.entry(Asked::of(&layer.needs)).or_default() += tasks;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use vqfarm_core::id::{JobId, JobName, Tag, UserName};
    use vqfarm_core::plan::Dependency;
    use vqfarm_queue::{LayerSnapshot, TaskCounts};

    use super::*;

    fn job(state: JobState, layers: &[(&[&str], u64, TaskCounts)]) -> JobSnapshot {
        let layer = |&(tags, memory, counts): &(&[&str], u64, TaskCounts)| LayerSnapshot {
            name: "render".into(),
            dependency: Dependency::Independent,
            needs: Needs {
                tags: tags.iter().map(|&tag| Tag::new(tag).unwrap()).collect(),
                memory,
                ..Needs::default()
            },
            counts,
        };
        JobSnapshot {
            job: JobId::from_u128(1),
            name: JobName::new("boats").unwrap(),
            user: UserName::new("ada").unwrap(),
            priority: 0,
            state,
            submitted: Default::default(),
            finished: None,
            layers: layers.iter().map(layer).collect(),
        }
    }

    fn found(jobs: &[JobSnapshot]) -> Vec<(String, u64, u64)> {
        asked(jobs).into_iter().map(|(asked, n)| (asked.tags, asked.memory, n)).collect()
    }

    #[test]
    fn tasks_are_summed_by_what_they_ask_for() {
        let busy = TaskCounts { ready: 5, leased: 2, delayed: 1, ..TaskCounts::default() };
        let later = TaskCounts { blocked: 9, done: 9, ..TaskCounts::default() };
        let jobs = [
            job(JobState::Running, &[(&["studio", "a100"], (16 << 30) - 1, busy), (&[], 0, later)]),
            job(
                JobState::Waiting,
                &[(&["a100", "studio"], 16 << 30, busy), (&["ffmpeg"], 0, busy)],
            ),
        ];
        let expected = [("a100,studio".to_owned(), 16, 16), ("ffmpeg".to_owned(), 0, 8)];
        assert_eq!(found(&jobs), expected);
    }

    #[test]
    fn a_paused_job_asks_for_what_is_being_rendered_only() {
        let counts = TaskCounts { ready: 5, leased: 2, delayed: 1, ..TaskCounts::default() };
        assert_eq!(found(&[job(JobState::Paused, &[(&[], 0, counts)])]), [(String::new(), 0, 2)]);
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_told_once_as_none() {
        let counts = TaskCounts { ready: 5, ..TaskCounts::default() };
        let now = asked(&[job(JobState::Running, &[(&["a100"], 0, counts)])]);
        let mut demand = Demand::default();
        assert_eq!(demand.changed(now.clone()), now);
        assert_eq!(demand.changed(now.clone()), now);
        let none = demand.changed(BTreeMap::new());
        assert_eq!(none.into_values().collect::<Vec<_>>(), [0]);
        assert_eq!(demand.changed(BTreeMap::new()), BTreeMap::new());
    }
}
