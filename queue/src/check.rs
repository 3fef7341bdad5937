//! What no submission may be, whoever keeps the queue.

use vqfarm_core::plan::Dependency;

use crate::{MOST_TASKS, Needs, QueueError, Submission};

/// Numbers up to here are exact wherever the queue keeps them.
const EXACT: u64 = 1 << 53;

pub(crate) fn check(submission: &Submission) -> Result<(), QueueError> {
    let invalid = |message: String| Err(QueueError::Invalid(message));
    if submission.layers.is_empty() || submission.layers.len() > 255 {
        return invalid(format!("{} layers; 1 to 255 are possible", submission.layers.len()));
    }
    let mut below: Option<u64> = None;
    for layer in &submission.layers {
        let name = &layer.name;
        match (layer.dependency, below) {
            _ if name.len() > 100 => return invalid("a layer's name is over 100 bytes".into()),
            _ if layer.tasks == 0 => return invalid(format!("layer {name:?} is empty")),
            _ if layer.tasks > MOST_TASKS => {
                return invalid(format!("layer {name:?} has more than {MOST_TASKS} tasks"));
            }
            (Dependency::All | Dependency::Neighbours, None) => {
                return invalid(format!("layer {name:?} has no layer below to wait for"));
            }
            (Dependency::Neighbours, Some(tasks)) if tasks != layer.tasks => {
                return invalid(format!("layer {name:?} has not as many tasks as the one below"));
            }
            _ => below = Some(layer.tasks),
        }
        check_needs(name, &layer.needs)?;
    }
    for (layer, range) in &submission.done {
        let tasks = submission.layers.get(usize::from(*layer)).map_or(0, |layer| layer.tasks);
        if range.start > range.end || range.end > tasks {
            return invalid(format!("layer {layer} has no tasks {range:?} to be done"));
        }
    }
    Ok(())
}

fn check_needs(layer: &str, needs: &Needs) -> Result<(), QueueError> {
    let invalid = |what: &str| Err(QueueError::Invalid(format!("layer {layer:?} needs {what}")));
    if needs.memory >= EXACT {
        return invalid("more memory than there is");
    }
    if needs.tags.len() > 32 || needs.models.len() > 32 {
        return invalid("more than 32 tags or models");
    }
    let odd =
        |name: &String| !(1..=200).contains(&name.len()) || name.chars().any(|c| c.is_control());
    if needs.models.iter().any(odd) {
        return invalid("a model whose name is not 1 to 200 bytes of printable text");
    }
    Ok(())
}
