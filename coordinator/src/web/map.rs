//! A layer's tasks as a small map: a square for each, or for several neighbours.

use vqfarm_proto::telling::grouped;
use vqfarm_proto::v1;

/// Squares in a row.
const ROW: usize = 60;
/// The most squares of a map.
pub const PARTS: u32 = 240;
/// Width and height of a square with the gap beside it.
const STEP: usize = 10;

pub struct Map {
    pub layer: String,
    pub needs: String,
    pub done: String,
    pub tasks: String,
    /// What a screen reader says in place of the squares.
    pub said: String,
    pub squares: Vec<Square>,
    pub width: usize,
    pub height: usize,
}

pub struct Square {
    pub x: usize,
    pub y: usize,
    pub state: &'static str,
}

impl Map {
    pub fn new(layer: &v1::Layer, parts: &[v1::TaskMapPart]) -> Self {
        let counts = layer.counts.unwrap_or_default();
        let square =
            |(at, part)| Square { x: at % ROW * STEP, y: at / ROW * STEP, state: state(part) };
        let said = super::words::tasks(&counts).into_iter();
        let said = said.map(|(state, count)| format!("{count} {state}"));
        Self {
            layer: layer.name.clone(),
            needs: layer.needs.as_ref().map(needs).unwrap_or_default(),
            done: grouped(counts.done),
            tasks: grouped(counts.tasks),
            said: said.collect::<Vec<_>>().join(", "),
            squares: parts.iter().enumerate().map(square).collect(),
            width: parts.len().clamp(1, ROW) * STEP,
            height: parts.len().div_ceil(ROW).max(1) * STEP,
        }
    }
}

/// One part: trouble shows however small it is, then what is going on, then how much is done.
fn state(part: &v1::TaskMapPart) -> &'static str {
    let v1::TaskMapPart { tasks, done, leased, delayed, failed } = *part;
    match () {
        () if failed > 0 => "failed",
        () if delayed > 0 => "delayed",
        () if leased > 0 => "running",
        () if done >= tasks => "done",
        () if done > 0 => "begun",
        () => "waiting",
    }
}

fn needs(needs: &v1::Needs) -> String {
    let memory = (needs.memory > 0).then(|| vqfarm_proto::telling::memory(needs.memory));
    let tags = needs.tags.iter().map(|tag| format!("#{tag}"));
    let all = memory.into_iter().chain(tags).chain(needs.models.iter().cloned());
    all.collect::<Vec<_>>().join(", ")
}
