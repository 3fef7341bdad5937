//! From a job to layers of numbered tasks. A task is arithmetic, never a record.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::animation::{Animation, COMPOSED, Mode, Shot, Timeline};
use crate::bisect;
use crate::job::{FieldError, Job};
use crate::keys;
use crate::render::RenderSettings;
use crate::sweep::{self, Cell, CellOrder, EarlyStop, Sweep};
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
    /// Each makes the first iterations of a cell, `iterations` of them.
    Preview { iterations: u32, order: CellOrder },
    /// The one task ranks the previews and chooses `kept` of them.
    Choose { kept: u64 },
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
    /// Its first iterations.
    Preview {
        cell: Box<Cell>,
        iterations: u32,
    },
    /// So many previews are chosen.
    Choose {
        kept: u64,
    },
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
                let layers = match job.early_stop() {
                    None => vec![each_by_itself(sweep.len(), Order::Cells(order))],
                    Some(early_stop) => stopped_early(sweep.len(), early_stop, order),
                };
                (Content::Sweep(sweep), layers)
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
        let Some(found) = found else { return Err(none) };
        let frames = match (&found.work, found.frames_of(index)) {
            (_, Some(frames)) => frames,
            (Work::Keyframes { round }, _) => {
                return Ok(TaskSpec::Keyframe { round: *round, index });
            }
            (Work::Preview { iterations, order }, _) => {
                let Content::Sweep(sweep) = &self.content else { return Err(none) };
                let cell = Box::new(sweep.cell(order.cell(index))?);
                return Ok(TaskSpec::Preview { cell, iterations: *iterations });
            }
            (Work::Choose { kept }, _) => return Ok(TaskSpec::Choose { kept: *kept }),
            _ => return Ok(TaskSpec::Stitch),
        };
        Ok(match &self.content {
            Content::Sweep(sweep) => TaskSpec::Cell(Box::new(sweep.cell(frames.start)?)),
            Content::Film(timeline) if timeline.is_independent() => TaskSpec::Frame(frames.start),
            Content::Film(_) => TaskSpec::Segment(frames),
        })
    }

    /// The layers that make no frames and hand on what they make to others, by their numbers.
    pub fn handing_on(&self) -> impl Iterator<Item = (u8, &Layer)> {
        (0..).zip(&self.layers).filter(|(_, layer)| layer.hands_on().is_some())
    }

    /// The task that makes a cell's first iterations: its layer and its number there.
    pub fn preview_maker(&self, cell: u64) -> Option<(u8, u64)> {
        let mut layers = (0..).zip(&self.layers);
        layers.find_map(|(number, layer)| match &layer.work {
            Work::Preview { .. } => Some((number, layer.task_of(cell))),
            _ => None,
        })
    }

    /// After how many iterations its cells are judged, if they are.
    pub fn preview_iterations(&self) -> Option<u32> {
        self.layers.iter().find_map(|layer| match layer.work {
            Work::Preview { iterations, .. } => Some(iterations),
            _ => None,
        })
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
                if all && layer.hands_on().is_some() {
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
            Work::Preview { order, .. } => order.cell(index),
            _ => index,
        }
    }

    /// The ending of the files that hand on what its tasks make, each under the task's number as
    /// people know it, in the layer's folder ([`keys::work`]).
    pub fn hands_on(&self) -> Option<&'static str> {
        match self.work {
            Work::Keyframes { .. } | Work::Preview { .. } => Some("png"),
            Work::Choose { .. } => Some("json"),
            Work::Render { .. } | Work::Stitch => None,
        }
    }

    /// The tasks whose results are among the files of these names in the layer's folder.
    pub fn handed_on(&self, names: &[String]) -> Vec<Range<u64>> {
        let Some(extension) = self.hands_on() else { return Vec::new() };
        let numbers = names.iter().filter_map(|name| keys::work_index(name, extension));
        let tasks = numbers.map(|number| self.task_of(number));
        ranges(&tasks.filter(|task| *task < self.tasks).collect())
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
            Work::Preview { order, .. } => order.turn(number),
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

/// A sweep whose cells are stopped early, all but the best.
fn stopped_early(cells: u64, early_stop: &EarlyStop, order: CellOrder) -> Vec<Layer> {
    let layer =
        |name: &str, tasks, dependency, work| Layer { name: name.into(), tasks, dependency, work };
    let previews = Work::Preview { iterations: early_stop.iterations, order: order.clone() };
    let choice = Work::Choose { kept: early_stop.kept(cells) };
    vec![
        layer(PREVIEW, cells, Dependency::Independent, previews),
        layer(CHOOSE, 1, Dependency::All, choice),
        Layer { dependency: Dependency::All, ..each_by_itself(cells, Order::Cells(order)) },
    ]
}

/// The name of the layer that makes cells' first iterations.
pub const PREVIEW: &str = "preview";
/// The name of the layer that ranks them.
pub const CHOOSE: &str = "choose";

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
