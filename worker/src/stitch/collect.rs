//! Reads a job's frames into a [`Table`].

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::task::spawn_blocking;
use vqfarm_core::job::cell_identity;
use vqfarm_core::keys;
use vqfarm_core::plan::Content;
use vqfarm_core::render::RenderSettings;
use vqfarm_core::sweep::{Sweep, label};

use super::settings::Settings;
use super::table::{Axis, Cell, Table};
use super::{AT_ONCE, StitchError};
use crate::job::OpenJob;
use vqfarm_storage::frame;

/// The job's table, and the size of its largest frame.
pub(super) async fn collect(
    job: &Arc<OpenJob>,
    failures: &HashMap<u64, String>,
) -> Result<(Table, (u32, u32)), StitchError> {
    let plan = &job.plan;
    let looked: Vec<_> = stream::iter(0..plan.frames())
        .map(|index| look(job, index))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let (mut cells, mut damaged, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
    let (mut settings, mut size) = (Settings::default(), (1, 1));
    for (index, seen) in looked.into_iter().enumerate() {
        let index = index as u64;
        let (score, stopped, image) = match seen {
            Seen::Frame { score, stopped, width, height } => {
                size = (size.0.max(width), size.1.max(height));
                (score, stopped, Some(keys::frame(index)))
            }
            Seen::OtherJob => {
                foreign.push(index);
                continue;
            }
            Seen::Nothing if failures.contains_key(&index) || job.record.is_partial() => {
                (None, None, None)
            }
            Seen::Nothing => {
                damaged.push(index);
                continue;
            }
        };
        let cell = plan.settings(index)?;
        settings.push(&cell);
        let (place, identity) = match &plan.content {
            Content::Sweep(sweep) => {
                (sweep.places(index).unwrap_or_default(), cell_identity(&cell, &job.record.models))
            }
            // More than its settings decides a film's frame.
            Content::Film(_) => (Vec::new(), String::new()),
        };
        cells.push(Cell {
            index,
            place: place.into_iter().map(|place| place as usize).collect(),
            identity,
            prompt: cell.prompt,
            seed: cell.seed,
            score,
            stopped,
            error: if image.is_some() { None } else { failures.get(&index).cloned() },
            image,
        });
    }
    if !foreign.is_empty() {
        return Err(StitchError::OtherJob(foreign));
    }
    if !damaged.is_empty() {
        return Err(StitchError::lost(job, damaged));
    }
    if let Some(source) = job.record.source
        && cells.iter().all(|cell| cell.image.is_none())
    {
        return Err(StitchError::NoFrames(source.job));
    }
    let axes = match &plan.content {
        Content::Sweep(sweep) => axes(sweep),
        Content::Film(_) => Vec::new(),
    };
    let title = job.record.spec.name.to_string();
    let facts = facts(job, &axes);
    Ok((Table { title, axes, cells, facts, settings }, size))
}

fn axes(sweep: &Sweep) -> Vec<Axis> {
    let axis = |(axis, (name, len)): (usize, (&str, u64))| {
        let value = |at| sweep.value(axis, at).map_or(String::new(), |value| label(&value));
        Axis { name: name.to_owned(), values: (0..len).map(value).collect() }
    };
    sweep.axes().enumerate().map(axis).collect()
}

enum Seen {
    Frame {
        score: Option<f32>,
        stopped: Option<u32>,
        width: u32,
        height: u32,
    },
    /// Also a damaged frame: it must be made again.
    Nothing,
    OtherJob,
}

async fn look(job: &Arc<OpenJob>, index: u64) -> Result<Seen, StitchError> {
    let Some(bytes) = job.frames.get(&keys::frame(index)).await? else { return Ok(Seen::Nothing) };
    let decoded = spawn_blocking(move || frame::decode(&bytes)).await?;
    Ok(match decoded {
        Ok((info, _)) if info.spec != job.record.spec_hash => Seen::OtherJob,
        Ok((info, picture)) if info.index == index => {
            let (width, height) = picture.dimensions();
            Seen::Frame { score: info.score, stopped: info.stopped, width, height }
        }
        _ => Seen::Nothing,
    })
}

/// What all cells share and people want to know.
fn facts(job: &OpenJob, axes: &[Axis]) -> Vec<(String, String)> {
    let spec = &job.record.spec;
    let RenderSettings { prompt, seed, size, iterations, generator, perceptors, cutouts, .. } =
        &spec.render;
    let template = spec.sweep.as_ref().and_then(|sweep| sweep.prompt.as_ref()).unwrap_or(prompt);
    let all = [
        ("prompt", template.clone()),
        ("size", format!("{}×{}", size[0], size[1])),
        ("iterations", iterations.to_string()),
        ("generator", generator.clone()),
        ("perceptors", perceptors.join(", ")),
        ("cutouts.count", cutouts.count.to_string()),
        ("seed", seed.to_string()),
    ];
    let shared = all
        .into_iter()
        .filter(|(name, value)| !value.is_empty() && !axes.iter().any(|axis| axis.name == *name));
    shared.map(|(name, value)| (name.trim_end_matches(".count").to_owned(), value)).collect()
}
