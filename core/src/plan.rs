//! From a job to layers of numbered tasks. A task is arithmetic, never a record.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::animation::{Animation, COMPOSED, Mode, Shot, Timeline};
use crate::bisect;
use crate::job::{FieldError, Job};
use crate::keys;
use crate::render::RenderSettings;
use crate::sweep::{self, Cell, CellOrder, Sweep};
use crate::video::Video;

/// When a task of a layer may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dependency {
    /// At once.
    Independent,
    /// Task i after task i-1 of the same layer.
    Chain,
    /// Task i after tasks i-1, i and i+1 of the layer below.
    Neighbours,
    /// After all tasks of all layers below.
    All,
}

/// Why there is no such plan or task.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("the job has no task {index} in layer {layer}")]
    NoSuchTask { layer: u8, index: u64 },
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// One layer of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// `render`, `shot-2`, `stitch`; names the layer's keys in storage.
    pub name: String,
    /// How many tasks it has, numbered from 0.
    pub tasks: u64,
    pub dependency: Dependency,
    /// What its tasks do.
    pub work: Work,
}

/// What the tasks of a layer do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Together they optimise and store these frames, each task `each` of them in a row.
    Render { frames: Range<u64>, each: u64, order: Order },
    /// Each makes the keyframe of its number, in this round.
    Keyframes { round: u32 },
    /// The one task makes the outputs from all frames.
    Stitch,
}

/// In which order the tasks of a layer make its rows of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first to the last.
    Ascending,
    /// As a sweep has its cells.
    Cells(CellOrder),
    /// The first row, the middle one, the quarters and so on, so that the frames that are there
    /// early show the whole of the film.
    Bisected,
}

/// One task with all that is needed to do it.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskSpec {
    /// A cell of a sweep.
    Cell(Box<Cell>),
    /// Frames of an animation, one after the other.
    Segment(Range<u64>),
    /// A frame of an animation that follows from no other.
    Frame(u64),
    /// A keyframe of a zoom, in its first round (0) or a later one.
    Keyframe {
        round: u32,
        index: u64,
    },
    Stitch,
}

/// A job's layers and frames.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layers: Vec<Layer>,
    pub content: Content,
}

/// What a job's frames are.
#[derive(Clone, Debug)]
pub enum Content {
    /// The cells of a sweep.
    Sweep(Sweep),
    /// The frames of an animation.
    Film(Box<Timeline>),
}

impl Plan {
    /// # Errors
    /// The job has not been checked.
    pub fn new(job: &Job) -> Result<Self, PlanError> {
        let (content, mut layers) = match &job.animation {
            None => {
                let sweep = job.cells()?;
                // A job that does not say is of before there was a choice.
                let order = job.sweep.as_ref().and_then(|sweep| sweep.order);
                let order = sweep.order(order.unwrap_or(sweep::Order::Ascending));
                let cells = each_by_itself(sweep.len(), Order::Cells(order));
                (Content::Sweep(sweep), vec![cells])
            }
            Some(animation) => {
                let timeline = Timeline::new(job, animation)?;
                let layers = match animation.mode {
                    Mode::Zoom => zoom(animation),
                    Mode::Feedback | Mode::Video if timeline.is_chain() => {
                        shots(timeline.shots(), u64::from(animation.feedback.segment))
                    }
                    Mode::Feedback | Mode::Video => {
                        vec![each_by_itself(animation.frames, Order::Bisected)]
                    }
                };
                (Content::Film(Box::new(timeline)), layers)
            }
        };
        layers.push(stitching(Dependency::All));
        Ok(Self { layers, content })
    }

    /// The same job with nothing to do but to stitch: its frames are those of another one.
    pub fn only_stitching(self) -> Self {
        // There is no layer below to wait for.
        Self { layers: vec![stitching(Dependency::Independent)], ..self }
    }

    /// Whether it renders nothing.
    pub fn only_stitches(&self) -> bool {
        self.layers.iter().all(|layer| layer.work == Work::Stitch)
    }

    /// How many frames the job has.
    pub fn frames(&self) -> u64 {
        match &self.content {
            Content::Sweep(sweep) => sweep.len(),
            Content::Film(timeline) => timeline.len(),
        }
    }

    /// How frame `index` is rendered.
    ///
    /// # Errors
    /// There is no such frame.
    pub fn settings(&self, index: u64) -> Result<RenderSettings, FieldError> {
        match &self.content {
            Content::Sweep(sweep) => Ok(sweep.cell(index)?.render),
            Content::Film(timeline) => Ok(timeline.frame(index)?.render),
        }
    }

    /// What task `index` of layer number `layer` does.
    ///
    /// # Errors
    /// There is no such task.
    pub fn task(&self, layer: u8, index: u64) -> Result<TaskSpec, PlanError> {
        let none = PlanError::NoSuchTask { layer, index };
        let found = self.layers.get(usize::from(layer)).filter(|found| index < found.tasks);
        let found = found.ok_or(none)?;
        let frames = match (&found.work, found.frames_of(index)) {
            (_, Some(frames)) => frames,
            (Work::Keyframes { round }, _) => {
                return Ok(TaskSpec::Keyframe { round: *round, index });
            }
            _ => return Ok(TaskSpec::Stitch),
        };
        Ok(match &self.content {
            Content::Sweep(sweep) => TaskSpec::Cell(Box::new(sweep.cell(frames.start)?)),
            Content::Film(timeline) if timeline.is_independent() => TaskSpec::Frame(frames.start),
            Content::Film(_) => TaskSpec::Segment(frames),
        })
    }

    /// The layers that hand pictures on to others: their number, their folder in storage, how many
    /// tasks they have.
    pub fn work_folders(&self) -> Vec<(u8, String, u64)> {
        let layers = (0..).zip(&self.layers);
        let handing = layers.filter(|(_, layer)| matches!(layer.work, Work::Keyframes { .. }));
        handing
            .map(|(number, layer)| (number, keys::work_folder(&layer.name), layer.tasks))
            .collect()
    }

    /// How the film is encoded, where there is to be one.
    pub fn video(&self) -> Option<&Video> {
        match &self.content {
            Content::Sweep(_) => None,
            Content::Film(timeline) => Some(timeline.video()),
        }
    }

    /// What stitching writes, all of which are there when it is done. The gallery is only where
    /// the frames are that it shows; nothing that can be set changes it.
    pub fn outputs(&self) -> Vec<&'static str> {
        match &self.content {
            Content::Sweep(_) if self.only_stitches() => vec![keys::CONTACT_SHEET, keys::SCORES],
            Content::Sweep(_) => vec![keys::CONTACT_SHEET, keys::GALLERY, keys::SCORES],
            Content::Film(timeline) => vec![timeline.video().codec.key(), keys::SCORES],
        }
    }

    /// The task that makes a frame: its layer and its number there.
    pub fn maker(&self, frame: u64) -> Option<(u8, u64)> {
        (0..).zip(&self.layers).find_map(|(number, layer)| match &layer.work {
            Work::Render { frames, each, order } if frames.contains(&frame) => {
                let row = (frame - frames.start) / each;
                Some((number, order.task_of(row, layer.tasks)))
            }
            _ => None,
        })
    }

    /// The task that makes a keyframe of a round: its layer and its number there.
    pub fn keyframe_maker(&self, round: u32, index: u64) -> Option<(u8, u64)> {
        (0..).zip(&self.layers).find_map(|(number, layer)| {
            let makes = layer.work == Work::Keyframes { round } && index < layer.tasks;
            makes.then_some((number, index))
        })
    }

    /// The tasks all of whose frames are in `stored`, by layer. What only hands on to others
    /// counts as made when all frames are.
    pub fn made(&self, stored: &BTreeSet<u64>) -> Vec<(u8, Range<u64>)> {
        let mut made = Vec::new();
        let all = stored.range(0..self.frames()).count() as u64 == self.frames();
        for (number, layer) in (0..).zip(&self.layers) {
            let Work::Render { frames, .. } = &layer.work else {
                if all && matches!(layer.work, Work::Keyframes { .. }) {
                    made.push((number, 0..layer.tasks));
                }
                continue;
            };
            let begun: BTreeSet<u64> =
                stored.range(frames.clone()).filter_map(|&f| Some(self.maker(f)?.1)).collect();
            let whole = begun.into_iter().filter(|&index| {
                let frames = layer.frames_of(index).unwrap_or_default();
                stored.range(frames.clone()).count() as u64 == frames.end - frames.start
            });
            made.extend(ranges(&whole.collect()).into_iter().map(|range| (number, range)));
        }
        made
    }
}

impl Layer {
    /// The frames that a task makes; none where tasks make no frames.
    pub fn frames_of(&self, index: u64) -> Option<Range<u64>> {
        let Work::Render { frames, each, order } = &self.work else { return None };
        let start = frames.start + order.row_of(index, self.tasks) * each;
        Some(start..(start + each).min(frames.end))
    }
}

impl Layer {
    /// The number by which people know a task: that of its frame, where tasks make one frame each
    /// in an order of their own.
    pub fn number_of(&self, index: u64) -> u64 {
        match &self.work {
            Work::Render { frames, each: 1, order } => {
                frames.start + order.row_of(index, self.tasks)
            }
            _ => index,
        }
    }

    /// The task that people know by a number: the inverse of [`Self::number_of`].
    pub fn task_of(&self, number: u64) -> u64 {
        match &self.work {
            Work::Render { frames, each: 1, order } => {
                // A number that there is not stays one.
                number
                    .checked_sub(frames.start)
                    .map_or(number, |row| order.task_of(row, self.tasks))
            }
            _ => number,
        }
    }
}

/// Frames that need nothing of one another.
fn each_by_itself(frames: u64, order: Order) -> Layer {
    Layer {
        name: "render".into(),
        tasks: frames,
        dependency: Dependency::Independent,
        work: Work::Render { frames: 0..frames, each: 1, order },
    }
}

impl Order {
    /// Which row of frames a task makes.
    fn row_of(&self, task: u64, tasks: u64) -> u64 {
        match self {
            Self::Ascending => task,
            Self::Cells(order) => order.cell(task),
            Self::Bisected => bisect::place(task, tasks),
        }
    }

    /// The task that makes a row.
    fn task_of(&self, row: u64, tasks: u64) -> u64 {
        match self {
            Self::Ascending => row,
            Self::Cells(order) => order.turn(row),
            Self::Bisected => bisect::turn(row, tasks),
        }
    }
}

/// Rounds of keyframes, each after its neighbours' last round, and the frames made of them.
fn zoom(animation: &Animation) -> Vec<Layer> {
    let tasks = animation.zoom.keyframes(animation.frames);
    let mut layers: Vec<Layer> = (0..animation.zoom.rounds)
        .map(|round| Layer {
            name: keyframes(round),
            tasks,
            dependency: match round {
                0 => Dependency::Independent,
                _ => Dependency::Neighbours,
            },
            work: Work::Keyframes { round },
        })
        .collect();
    layers.push(Layer {
        name: "render".into(),
        tasks: animation.frames.div_ceil(COMPOSED),
        dependency: Dependency::All,
        work: Work::Render { frames: 0..animation.frames, each: COMPOSED, order: Order::Bisected },
    });
    layers
}

/// The name of a round's layer.
pub fn keyframes(round: u32) -> String {
    format!("keyframes-{}", round + 1)
}

/// A chain for each shot, all of them side by side.
fn shots(shots: &[Shot], each: u64) -> Vec<Layer> {
    let name = |n: usize| match shots.len() {
        1 => "render".to_owned(),
        _ => format!("shot-{}", n + 1),
    };
    let layer = |(n, shot): (usize, &Shot)| Layer {
        name: name(n),
        tasks: (shot.frames.end - shot.frames.start).div_ceil(each),
        dependency: Dependency::Chain,
        work: Work::Render { frames: shot.frames.clone(), each, order: Order::Ascending },
    };
    shots.iter().enumerate().map(layer).collect()
}

/// The layer above all others.
fn stitching(dependency: Dependency) -> Layer {
    Layer { name: "stitch".into(), tasks: 1, dependency, work: Work::Stitch }
}

/// Numbers of tasks as the fewest ranges, ascending.
pub fn ranges(numbers: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}
