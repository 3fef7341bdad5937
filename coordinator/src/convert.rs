//! From what the farm knows to messages.

use vqfarm_core::cost::Estimate;
use vqfarm_core::id::ModelName;
use vqfarm_core::needs::Role;
use vqfarm_core::plan::{Dependency, Plan};
use vqfarm_core::record::{ModelRecord, Source};
use vqfarm_core::requires::Memory;
use vqfarm_proto::{RefusalReason, v1};
use vqfarm_queue::WorkerSnapshot;
use vqfarm_queue::{JobSnapshot, JobState, LayerSnapshot, TaskCounts, TaskSnapshot, TaskState};
use vqfarm_weights::library::Config;

use crate::audit::Problem;
use crate::error::{Error, Result};
use crate::files::Log;
use crate::gc::Garbage;
use crate::map::Part;
use crate::status::{Activity, PartHealth, WorkerGroup};
use crate::why::Reason;

/// Whose frames a submit is about; none where it renders its own.
pub fn source(frames_of: &str, partial: bool) -> Result<Option<Source>> {
    match (frames_of, partial) {
        ("", false) => Ok(None),
        ("", true) => {
            let message = "only what stitches the frames of another job can be partial";
            Err(Error::refused(RefusalReason::BadRequest, message))
        }
        (text, partial) => match text.parse() {
            Ok(job) => Ok(Some(Source { job, partial })),
            Err(_) => {
                let message = format!("frames_of: {text:?} is not a job's id in full");
                Err(Error::refused(RefusalReason::BadRequest, message))
            }
        },
    }
}

pub fn estimate(estimate: Estimate) -> v1::Estimate {
    let Estimate { frames, iterations, time, memory } = estimate;
    let (device_seconds, device) = time.map(|time| (time.seconds, time.device)).unzip();
    let (device, memory) = (device.unwrap_or_default(), memory.map_or(0, Memory::bytes));
    v1::Estimate { frames, iterations, device_seconds, device, memory }
}

pub fn job(job: &JobSnapshot) -> v1::Job {
    v1::Job {
        id: job.job.to_string(),
        name: job.name.to_string(),
        user: job.user.to_string(),
        priority: job.priority,
        state: state(job.state).into(),
        submitted: job.submitted.0,
        finished: job.finished.map_or(0, |at| at.0),
        layers: job.layers.iter().map(layer).collect(),
    }
}

fn state(state: JobState) -> v1::JobState {
    match state {
        JobState::Waiting => v1::JobState::Waiting,
        JobState::Running => v1::JobState::Running,
        JobState::Paused => v1::JobState::Paused,
        JobState::Done => v1::JobState::Done,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
    }
}

fn layer(layer: &LayerSnapshot) -> v1::Layer {
    let dependency = match layer.dependency {
        Dependency::Independent => "independent",
        Dependency::Chain => "chain",
        Dependency::Neighbours => "neighbours",
        Dependency::All => "all",
    };
    v1::Layer {
        name: layer.name.clone(),
        counts: Some(counts(&layer.counts)),
        dependency: dependency.into(),
        needs: Some(v1::Needs {
            tags: layer.needs.tags.iter().map(ToString::to_string).collect(),
            memory: layer.needs.memory,
            models: layer.needs.models.iter().cloned().collect(),
        }),
    }
}

pub fn counts(counts: &TaskCounts) -> v1::Counts {
    v1::Counts {
        tasks: counts.tasks,
        done: counts.done,
        failed: counts.failed,
        cancelled: counts.cancelled,
        leased: counts.leased,
        delayed: counts.delayed,
        ready: counts.ready,
        blocked: counts.blocked,
    }
}

pub fn task(job: &JobSnapshot, plan: Option<&Plan>, task: TaskSnapshot) -> v1::Task {
    let planned = plan.and_then(|plan| plan.layers.get(usize::from(task.task.layer)));
    let index = planned.map_or(task.task.index, |planned| planned.number_of(task.task.index));
    let layer = job.layers.get(usize::from(task.task.layer));
    let (state, worker, until) = match task.state {
        TaskState::Leased { worker, expires } => ("leased", worker.to_string(), expires.0),
        TaskState::Delayed { until } => ("delayed", String::new(), until.0),
        TaskState::Failed => ("failed", String::new(), 0),
    };
    v1::Task {
        layer: layer.map_or_else(String::new, |layer| layer.name.clone()),
        index,
        attempt: task.attempt,
        state: state.into(),
        worker,
        until,
        last_error: task.last_error.unwrap_or_default(),
    }
}

fn activity_state(activity: Activity) -> v1::WorkerState {
    match activity {
        Activity::Idle => v1::WorkerState::Idle,
        Activity::Busy => v1::WorkerState::Busy,
        Activity::Draining => v1::WorkerState::Draining,
        Activity::Lost => v1::WorkerState::Lost,
    }
}

pub fn group(group: WorkerGroup) -> v1::WorkerGroup {
    v1::WorkerGroup {
        state: activity_state(group.activity).into(),
        workers: group.workers,
        memory: group.memory,
        busy: group.busy,
    }
}

pub fn worker(worker: &WorkerSnapshot, activity: Activity) -> v1::Worker {
    v1::Worker {
        id: worker.info.id.to_string(),
        state: activity_state(activity).into(),
        tags: worker.info.tags.iter().map(ToString::to_string).collect(),
        memory: worker.info.memory,
        loaded: worker.info.loaded.iter().cloned().collect(),
        leased: worker.leased,
        last_seen: worker.last_seen.0,
        version: worker.version.clone().unwrap_or_default(),
        busy: worker.info.busy.map(|percent| f64::from(percent) / 100.0),
        disk: worker.info.disk,
    }
}

pub fn part(part: Part) -> v1::TaskMapPart {
    let Part { tasks, done, leased, delayed, failed } = part;
    v1::TaskMapPart { tasks, done, leased, delayed, failed }
}

pub fn reason(reason: Reason) -> v1::Reason {
    v1::Reason {
        layer: reason.layer,
        tasks: reason.tasks,
        kind: reason.kind.word().into(),
        text: reason.text,
        remedy: reason.remedy,
    }
}

pub fn health(health: PartHealth) -> v1::Health {
    v1::Health {
        part: health.part.into(),
        well: health.well,
        text: health.text,
        warnings: health.warnings,
    }
}

pub fn problem(problem: Problem) -> v1::Problem {
    v1::Problem {
        job: problem.job.map_or_else(String::new, |job| job.to_string()),
        kind: problem.kind.word().into(),
        text: problem.text,
        repaired: problem.repaired,
    }
}

pub fn garbage(garbage: Garbage) -> v1::Garbage {
    let Garbage { kind, id, name, reason, objects, bytes, deleted } = garbage;
    v1::Garbage { kind: kind.word().into(), id, name, reason, objects, bytes, deleted }
}

pub fn log(log: Log) -> v1::Log {
    let Log { job, layer, index, attempt, text } = log;
    v1::Log { job: job.to_string(), layer, index, attempt, text }
}

pub fn model(model: ModelRecord) -> v1::Model {
    let ModelRecord { name, sha256, kind, bytes, config } = model;
    let kind = match kind {
        Role::Generator => "generator",
        Role::Perceptor => "perceptor",
    };
    let config = config.map_or_else(String::new, |config| config.to_string());
    v1::Model { name: name.into(), sha256, kind: kind.into(), bytes, config }
}

pub fn model_record(model: v1::Model) -> Result<ModelRecord> {
    let kind = match model.kind.as_str() {
        "generator" => Role::Generator,
        "perceptor" => Role::Perceptor,
        other => {
            let message = format!("{other:?} is no kind of model");
            return Err(Error::refused(RefusalReason::BadRequest, message));
        }
    };
    let name = ModelName::new(model.name)?;
    let config = (!model.config.is_empty()).then(|| config(kind, &model.config)).transpose()?;
    Ok(ModelRecord { name, sha256: model.sha256, kind, bytes: model.bytes, config })
}

/// The most that a network's sizes take as JSON, which are a dozen numbers.
const CONFIG: usize = 16 << 10;

fn config(kind: Role, text: &str) -> Result<serde_json::Value> {
    let refuse = |reason: String| Err(Error::refused(RefusalReason::BadRequest, reason));
    if text.len() > CONFIG {
        return refuse(format!("the network's sizes take more than {} KiB", CONFIG >> 10));
    }
    let read = |json: &serde_json::Value| Config::read(json).map_err(|error| error.to_string());
    let json = serde_json::from_str(text).map_err(|error| error.to_string());
    match json.and_then(|json| Ok((read(&json)?, json))) {
        Ok((Config::Vqgan(_), json)) if kind == Role::Generator => Ok(json),
        Ok((Config::Clip(_), json)) if kind == Role::Perceptor => Ok(json),
        Ok(_) => refuse("the network's sizes are those of the other kind of model".into()),
        Err(reason) => refuse(reason),
    }
}
