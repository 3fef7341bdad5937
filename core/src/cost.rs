//! What a job costs before it runs: iterations in all, those that must follow one another, and
//! the time of devices that they take where it was measured.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use crate::animation::Mode;
use crate::job::FieldError;
use crate::plan::{Content, Dependency, Layer, Plan, Work};
use crate::render::RenderSettings;
use crate::requires::Memory;
use crate::speed::{Speed, Speeds, Workload, Workloads, decides};

/// Cells of a sweep whose iterations are looked up one by one; of larger ones some are.
const LOOKED_AT: u64 = 20_000;
/// Cells whose time is estimated one by one where they differ; of larger sweeps some are.
const ESTIMATED: u64 = 2_000;
/// Tasks that are scheduled one by one; of larger jobs only the sum is divided.
const SCHEDULED: u64 = 200_000;

/// Iterations of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    pub layers: Vec<LayerCost>,
    pub total_iterations: u64,
    /// Those of the longest way from the first task to the last: with any number of workers no
    /// job is done before them.
    pub critical_path_iterations: u64,
}

/// Iterations of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCost {
    pub name: String,
    pub tasks: u64,
    pub iterations: u64,
}

/// Iterations of each task of a layer.
enum Durations {
    /// All the same.
    Same(u64),
    Each(Vec<u64>),
    /// Too many to look at each: about so many in all, at most so many in one.
    About {
        total: u64,
        longest: u64,
    },
}

impl Durations {
    fn of(&self, index: u64) -> u64 {
        match self {
            Self::Same(each) => *each,
            Self::Each(all) => all.get(index as usize).copied().unwrap_or(0),
            Self::About { longest, .. } => *longest,
        }
    }

    fn total(&self, tasks: u64) -> u64 {
        match self {
            Self::Same(each) => each * tasks,
            Self::Each(all) => all.iter().sum(),
            Self::About { total, .. } => *total,
        }
    }
}

/// The iterations of a plan. Composing, stitching and fetching count as nothing.
///
/// # Errors
/// A frame cannot be computed.
pub fn cost(plan: &Plan) -> Result<Cost, FieldError> {
    let durations = durations(plan)?;
    let layers = plan.layers.iter().zip(&durations);
    let layers: Vec<LayerCost> = layers
        .map(|(layer, durations)| LayerCost {
            name: layer.name.clone(),
            tasks: layer.tasks,
            iterations: durations.total(layer.tasks),
        })
        .collect();
    Ok(Cost {
        total_iterations: layers.iter().map(|layer| layer.iterations).sum(),
        critical_path_iterations: critical_path(&plan.layers, &durations),
        layers,
    })
}

/// After how many iterations of one worker's time a job is done by `workers` that are alike, by
/// the queue's rules: whoever is free takes the first task that may run, of the highest layer.
///
/// # Errors
/// A frame cannot be computed.
pub fn makespan(plan: &Plan, workers: u64) -> Result<u64, FieldError> {
    let durations = durations(plan)?;
    let workers = workers.max(1);
    if plan.layers.iter().map(|layer| layer.tasks).sum::<u64>() > SCHEDULED {
        let total: u64 = plan.layers.iter().zip(&durations).map(|(l, d)| d.total(l.tasks)).sum();
        return Ok(total.div_ceil(workers).max(critical_path(&plan.layers, &durations)));
    }
    Ok(schedule(&plan.layers, &durations, workers))
}

/// Iterations that are left when the tasks `made` (layer and numbers) are done.
///
/// # Errors
/// A frame cannot be computed.
pub fn left(plan: &Plan, made: &[(u8, Range<u64>)]) -> Result<u64, FieldError> {
    let durations = durations(plan)?;
    let total: u64 = plan.layers.iter().zip(&durations).map(|(l, d)| d.total(l.tasks)).sum();
    let spared = made.iter().map(|(layer, tasks)| match durations.get(usize::from(*layer)) {
        Some(durations) => tasks.clone().map(|index| durations.of(index)).sum(),
        None => 0,
    });
    Ok(total.saturating_sub(spared.sum()))
}

/// What a job will take, as far as is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Cells of a sweep, frames of a film.
    pub frames: u64,
    pub iterations: u64,
    /// The time of devices; none where pictures alike were not measured.
    pub time: Option<DeviceTime>,
    /// What a device must have to make any of its pictures; none where the models' sizes are not
    /// known.
    pub memory: Option<Memory>,
}

/// A sweep of more cells is large: it is asked about before it is submitted.
pub const LARGE_CELLS: u64 = 1000;
/// A job of more estimated hours of devices is large.
pub const LARGE_HOURS: f64 = 24.0;

impl Estimate {
    /// Whether it is more than somebody may want who is not asked.
    pub fn is_large(&self, is_sweep: bool, cells: u64, hours: f64) -> bool {
        let takes = self.time.as_ref().map_or(0.0, |time| time.seconds / HOUR);
        is_sweep && self.frames > cells || takes > hours
    }

    /// `16 cells, 3200 iterations, about 0.4 GPU hours`.
    pub fn sentence(&self, is_sweep: bool) -> String {
        let Self { frames, iterations, time, memory } = self;
        let noun = match (is_sweep, *frames) {
            (true, 1) => "cell",
            (true, _) => "cells",
            (false, 1) => "frame",
            (false, _) => "frames",
        };
        let time = match time {
            None => "; hours unknown: pictures like these were not measured yet".to_owned(),
            Some(DeviceTime { seconds, device }) => {
                let kind = match device.as_str() {
                    "cuda" => "GPU",
                    "cpu" => "CPU",
                    _ => "device",
                };
                format!(", about {} {kind} hours", rounded(seconds / HOUR))
            }
        };
        let memory = memory
            .map_or_else(String::new, |memory| format!("; each takes at least {memory} of memory"));
        format!("{frames} {noun}, {iterations} iterations{time}{memory}")
    }
}

const HOUR: f64 = 3600.0;

/// Two digits that count, and no more than are known.
fn rounded(hours: f64) -> String {
    match hours {
        0.0..0.01 => "0.01".to_owned(),
        0.01..0.1 => format!("{hours:.2}"),
        0.1..10.0 => format!("{hours:.1}"),
        _ => format!("{hours:.0}"),
    }
}

/// Time of devices, whichever and however many.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceTime {
    pub seconds: f64,
    /// What kind they are, `cuda` or `cpu`; both where they were measured on both.
    pub device: String,
}

/// The workloads whose speeds an [`estimate`] asks for.
///
/// # Errors
/// A frame cannot be computed.
pub fn workloads(plan: &Plan, hashes: &BTreeMap<String, String>) -> Result<Workloads, FieldError> {
    Ok(samples(plan)?.iter().map(|render| Workload::of(render, hashes)).collect())
}

/// What a job will take by these speeds.
///
/// # Errors
/// A frame cannot be computed.
pub fn estimate(
    plan: &Plan,
    hashes: &BTreeMap<String, String>,
    speeds: &Speeds,
) -> Result<Estimate, FieldError> {
    let iterations = cost(plan)?.total_iterations;
    let samples = samples(plan)?;
    let speed = |render: &RenderSettings| {
        let speed = speeds.of(&Workload::of(render, hashes), render.size)?;
        Some((f64::from(render.iterations), speed))
    };
    let known: Option<Vec<(f64, Speed)>> = samples.iter().map(speed).collect();
    let time = known.map(|known| {
        let all: f64 = known.iter().map(|(iterations, _)| iterations).sum();
        let seconds: f64 = known.iter().map(|(iterations, speed)| iterations * speed.seconds).sum();
        let mean = if all > 0.0 { seconds / all } else { 0.0 };
        let mut devices: Vec<String> = known.into_iter().map(|(_, speed)| speed.device).collect();
        devices.sort_unstable();
        devices.dedup();
        DeviceTime { seconds: mean * iterations as f64, device: devices.join(" and ") }
    });
    Ok(Estimate { frames: plan.frames(), iterations, time, memory: None })
}

/// Frames that stand for all: one where they differ in nothing that takes time or memory.
///
/// # Errors
/// A frame cannot be computed.
pub fn samples(plan: &Plan) -> Result<Vec<RenderSettings>, FieldError> {
    let differ = match &plan.content {
        Content::Sweep(sweep) => sweep.axes().any(|(name, _)| decides(name)),
        Content::Film(_) => false,
    };
    let frames = plan.frames();
    let looked_at = if differ { frames.min(ESTIMATED) } else { 1 };
    let nth = |n| (u128::from(n) * u128::from(frames) / u128::from(looked_at)) as u64;
    (0..looked_at).map(|n| plan.settings(nth(n))).collect()
}

fn durations(plan: &Plan) -> Result<Vec<Durations>, FieldError> {
    plan.layers.iter().map(|layer| layer_durations(plan, layer)).collect()
}

fn layer_durations(plan: &Plan, layer: &Layer) -> Result<Durations, FieldError> {
    let iterations = |frame| Ok(u64::from(plan.settings(frame)?.iterations));
    match (&layer.work, &plan.content) {
        (Work::Stitch | Work::Choose { .. }, _) => Ok(Durations::Same(0)),
        (Work::Preview { iterations, .. }, _) => Ok(Durations::Same((*iterations).into())),
        (Work::Keyframes { round }, Content::Film(film)) => {
            Ok(Durations::Same(film.keyframe(*round, 0)?.iterations.into()))
        }
        (Work::Keyframes { .. }, _) => Ok(Durations::Same(0)),
        (Work::Render { .. }, Content::Sweep(_)) if plan.preview_iterations().is_some() => {
            let first = plan.preview_iterations().unwrap_or(0);
            let rest = iterations(0)?.saturating_sub(first.into());
            let kept = plan.layers.iter().find_map(|layer| match layer.work {
                Work::Choose { kept } => Some(kept),
                _ => None,
            });
            // Which ones go on is not known yet.
            let kept = kept.unwrap_or(0);
            let longest = if kept == 0 { 0 } else { rest };
            Ok(Durations::About { total: kept * rest, longest })
        }
        (Work::Render { .. }, Content::Sweep(sweep)) => {
            if !sweep.axes().any(|(name, _)| name == "iterations") {
                return Ok(Durations::Same(iterations(0)?));
            }
            if sweep.len() <= LOOKED_AT {
                let frames = |index| layer.frames_of(index).unwrap_or_default();
                let each: Result<_, FieldError> =
                    (0..sweep.len()).flat_map(frames).map(iterations).collect();
                return Ok(Durations::Each(each?));
            }
            let some: Result<Vec<u64>, FieldError> =
                (0..LOOKED_AT).map(|n| iterations(n * (sweep.len() / LOOKED_AT))).collect();
            let some = some?;
            let mean = some.iter().sum::<u64>() as f64 / some.len() as f64;
            let total = (mean * sweep.len() as f64).round() as u64;
            Ok(Durations::About { total, longest: some.into_iter().max().unwrap_or(0) })
        }
        (Work::Render { .. }, Content::Film(film)) => {
            let animation = film.animation();
            if animation.mode == Mode::Zoom && animation.zoom.refine == 0 {
                return Ok(Durations::Same(0));
            }
            let task = |index| {
                layer.frames_of(index).unwrap_or_default().map(iterations).sum::<Result<u64, _>>()
            };
            let each: Result<_, FieldError> = (0..layer.tasks).map(task).collect();
            Ok(Durations::Each(each?))
        }
    }
}

fn critical_path(layers: &[Layer], durations: &[Durations]) -> u64 {
    // When each task of the layer below ends at the earliest, and all layers below.
    let mut below: Vec<u64> = Vec::new();
    let mut all_below = 0;
    for (layer, durations) in layers.iter().zip(durations) {
        let ends: Vec<u64> = match layer.dependency {
            // However many there are, the longest ends last.
            Dependency::Independent if layer.tasks > SCHEDULED => {
                vec![match durations {
                    Durations::Each(all) => all.iter().copied().max().unwrap_or(0),
                    other => other.of(0),
                }]
            }
            Dependency::Independent => (0..layer.tasks).map(|i| durations.of(i)).collect(),
            Dependency::Chain => {
                let mut end = 0;
                let ends = (0..layer.tasks).map(|i| {
                    end += durations.of(i);
                    end
                });
                ends.collect()
            }
            Dependency::Neighbours => (0..layer.tasks)
                .map(|i| {
                    let near = i.saturating_sub(1)..=i + 1;
                    let start = near.filter_map(|n| below.get(n as usize)).max();
                    start.copied().unwrap_or(0) + durations.of(i)
                })
                .collect(),
            Dependency::All => {
                (0..layer.tasks.min(SCHEDULED)).map(|i| all_below + durations.of(i)).collect()
            }
        };
        all_below = all_below.max(ends.iter().copied().max().unwrap_or(0));
        below = ends;
    }
    all_below
}

fn schedule(layers: &[Layer], durations: &[Durations], workers: u64) -> u64 {
    let mut done: Vec<Vec<bool>> =
        layers.iter().map(|layer| vec![false; layer.tasks as usize]).collect();
    let mut taken = done.clone();
    let mut open: Vec<usize> = layers.iter().map(|layer| layer.tasks as usize).collect();
    // From here on tasks of a layer may be untaken.
    let mut first = vec![0; layers.len()];
    let mut running: BinaryHeap<Reverse<(u64, usize, usize)>> = BinaryHeap::new();
    let (mut now, mut idle) = (0, workers);
    loop {
        while idle > 0 {
            let free = |at: usize, index: usize| match layers[at].dependency {
                Dependency::Independent => true,
                Dependency::Chain => index == 0 || done[at][index - 1],
                Dependency::Neighbours => {
                    let below = &done[at - 1];
                    (index.saturating_sub(1)..=(index + 1).min(below.len() - 1)).all(|i| below[i])
                }
                Dependency::All => open[..at].iter().all(|left| *left == 0),
            };
            let next = (0..layers.len()).rev().find_map(|at| {
                while taken[at].get(first[at]) == Some(&true) {
                    first[at] += 1;
                }
                let rest = first[at]..taken[at].len();
                let mut ready = rest.filter(|&index| !taken[at][index] && free(at, index));
                Some((at, ready.next()?))
            });
            let Some((at, index)) = next else { break };
            taken[at][index] = true;
            running.push(Reverse((now + durations[at].of(index as u64), at, index)));
            idle -= 1;
        }
        let Some(Reverse((end, at, index))) = running.pop() else { return now };
        (now, idle) = (end, idle + 1);
        done[at][index] = true;
        open[at] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};

    fn plan(text: &str) -> Plan {
        let text = format!("version = 1\n[render]\nprompt = \"a\"\niterations = 100\n{text}");
        let document = Document::parse("job.toml", text.as_bytes()).unwrap();
        Plan::new(&document.job(Limits::default(), |_| Ok(Vec::new())).unwrap()).unwrap()
    }

    fn figures(text: &str) -> (u64, u64) {
        let cost = cost(&plan(text)).unwrap();
        (cost.total_iterations, cost.critical_path_iterations)
    }

    const FEEDBACK: &str = "[animation]\nmode = \"feedback\"\nframes = 480\n";
    const ZOOM: &str = "[animation]\nmode = \"zoom\"\nframes = 480\n";

    #[test]
    fn a_sweep_is_as_long_as_its_longest_cell() {
        assert_eq!(figures("[sweep.axes]\nseed = \"1-12\"\n"), (1200, 100));
        assert_eq!(figures("[sweep.axes]\niterations = [10, 30]\nseed = \"1-2\"\n"), (80, 30));
        let million = plan("[sweep.axes]\nseed = \"1-10000000\"\n");
        assert_eq!(cost(&million).unwrap().total_iterations, 1_000_000_000);
        assert_eq!(makespan(&million, 10).unwrap(), 100_000_000);
    }

    #[test]
    fn a_zoom_of_480_frames_is_done_in_a_tenth_of_the_time_of_a_chain() {
        let (chain_total, chain) = figures(FEEDBACK);
        assert_eq!((chain_total, chain), (100 + 479 * 12, 100 + 479 * 12));
        let (_, zoom) = figures(ZOOM);
        assert_eq!(zoom, 100 + 2 * 40);
        assert!(zoom * 10 <= chain, "{zoom} of {chain}");
    }

    #[test]
    fn more_workers_are_faster_until_the_critical_path() {
        for text in
            [ZOOM, "[animation]\nmode = \"zoom\"\nframes = 480\n[animation.zoom]\nrefine = 5\n"]
        {
            let plan = plan(text);
            let cost = cost(&plan).unwrap();
            let mut last = u64::MAX;
            for workers in [1, 2, 4, 8, 16, 32, 64] {
                let time = makespan(&plan, workers).unwrap();
                assert!(time <= last && time >= cost.critical_path_iterations);
                assert!(time >= cost.total_iterations.div_ceil(workers));
                last = time;
            }
            assert_eq!(makespan(&plan, 1).unwrap(), cost.total_iterations);
            assert_eq!(makespan(&plan, 10_000).unwrap(), cost.critical_path_iterations);
        }
    }

    #[test]
    fn what_is_made_is_not_left() {
        let sweep = plan("[sweep.axes]\niterations = [10, 30]\nseed = \"1-2\"\n");
        assert_eq!(left(&sweep, &[]).unwrap(), 80);
        assert_eq!(left(&sweep, &[(0, 0..2), (0, 3..4)]).unwrap(), 30);
        let zoom = plan(ZOOM);
        assert_eq!(left(&zoom, &[(0, 0..21)]).unwrap(), 21 * 80);
    }

    #[test]
    fn time_is_that_of_pictures_alike() {
        let hashes = BTreeMap::new();
        let sweep = plan("[sweep.axes]\nsize = [[64, 64], [128, 64]]\niterations = [10, 30]\n");
        let workload = workloads(&sweep, &hashes).unwrap().pop_first().unwrap();
        let none = estimate(&sweep, &hashes, &Speeds::default()).unwrap();
        assert_eq!(none, Estimate { frames: 4, iterations: 80, time: None, memory: None });
        let mut speeds = Speeds::default();
        speeds.add(workload, [64, 64], Speed { seconds: 0.5, device: "cpu".into() });
        let time = estimate(&sweep, &hashes, &speeds).unwrap().time.unwrap();
        assert_eq!(time, DeviceTime { seconds: 40.0 * 0.5 + 40.0, device: "cpu".into() });
        // One of the cells is of a kind that nobody measured.
        let other = plan("[sweep.axes]\n\"cutouts.count\" = [32, 8]\n");
        assert_eq!(workloads(&other, &hashes).unwrap().len(), 2);
        assert_eq!(estimate(&other, &hashes, &speeds).unwrap().time, None);
    }

    #[test]
    fn only_what_is_kept_takes_all_its_iterations() {
        let text = "[sweep.axes]\nseed = \"1-10\"\n[sweep.early_stop]\niterations = 20\n";
        assert_eq!(figures(text), (200, 20));
        assert_eq!(figures(&format!("{text}keep = 3\n")), (200 + 3 * 80, 100));
    }

    #[test]
    fn shots_run_side_by_side() {
        let text = "[animation]\nmode = \"feedback\"\nframes = 40\n[animation.prompts]\n0 = \"a\"\n\
                    20 = { prompt = \"b\", cut = true }\n";
        let shot = 100 + 19 * 12;
        assert_eq!(figures(text), (2 * shot, shot));
        assert_eq!(makespan(&plan(text), 2).unwrap(), shot);
    }

    #[test]
    fn an_estimate_is_read_as_a_sentence() {
        let time = |seconds, device: &str| Some(DeviceTime { seconds, device: device.into() });
        let estimate = |frames, time| Estimate { frames, iterations: 300, time, memory: None };
        for (estimate, is_sweep, said) in [
            (estimate(1, time(1.0, "cuda")), true, "1 cell, 300 iterations, about 0.01 GPU hours"),
            (
                estimate(2, time(4500.0, "cpu")),
                false,
                "2 frames, 300 iterations, about 1.2 CPU hours",
            ),
            (
                estimate(2, time(360_000.0, "cpu and cuda")),
                true,
                "2 cells, 300 iterations, about 100 device hours",
            ),
            (
                estimate(2, None),
                true,
                "2 cells, 300 iterations; hours unknown: pictures like these were not measured yet",
            ),
        ] {
            assert_eq!(estimate.sentence(is_sweep), said);
        }
    }

    #[test]
    fn a_job_is_large_by_its_cells_or_its_hours() {
        let time = |hours| Some(DeviceTime { seconds: hours * HOUR, device: "cuda".into() });
        let estimate = |frames, time| Estimate { frames, iterations: 1, time, memory: None };
        let is_large = |estimate: Estimate, is_sweep| estimate.is_large(is_sweep, 1000, 24.0);
        assert!(!is_large(estimate(1000, None), true) && is_large(estimate(1001, None), true));
        assert!(!is_large(estimate(5000, time(24.0)), false), "frames of a film are many");
        assert!(is_large(estimate(1, time(24.5)), false));
    }
}
