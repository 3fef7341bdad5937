//! A segment of an animation: frames that follow from one another, made under one lease.
//!
//! Each frame starts from the one before as it is stored, so a segment can be left after any
//! frame and gone on with elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use tokio::sync::mpsc;
use vqfarm_core::animation::{FrameSpec, Start};
use vqfarm_core::event::Event;
use vqfarm_core::id::TaskId;
use vqfarm_core::keys;
use vqfarm_core::plan::Content;
use vqfarm_engine::feedback::{blended, next_start};
use vqfarm_engine::picture::{Momentum, Picture};
use vqfarm_storage::frame;

use crate::attempt::Attempt;
use crate::job::{JobFault, OpenJob};
use crate::keyframes;
use crate::lane::{Failure, Finished, LaneParts, Work, paint};
use crate::mend::Lost;
use crate::models::ModelKey;
use crate::momentum;
use crate::paint::{Painted, Painter, Part};
use crate::publish::{Origin, PublishError, Stored, look, put};
use crate::run::Shift;

/// Finished frames that wait to be stored, at most.
const WAITING: usize = 8;

/// A leased segment with all that is needed to make it.
pub struct Segment {
    pub attempt: Arc<Attempt>,
    pub job: Arc<OpenJob>,
    pub models: ModelKey,
    /// The frames to be made, in their order. Never empty.
    frames: Vec<Planned>,
    /// Stored frames that others start from or take their colours from.
    stored: BTreeMap<u64, RgbImage>,
}

/// A frame to be made.
struct Planned {
    spec: FrameSpec,
    picture: Picture,
    /// It is stored, and made once more for what the optimiser remembers afterwards.
    is_stored: bool,
}

/// A segment under way: its finished frames come through `frames`, in order.
pub struct RunningSegment {
    pub attempt: Arc<Attempt>,
    pub job: Arc<OpenJob>,
    frames: mpsc::Receiver<Result<MadeFrame, Failure>>,
    /// How many there shall be.
    count: usize,
}

struct MadeFrame {
    spec: FrameSpec,
    painted: Painted,
    took: Duration,
}

impl Segment {
    /// Looks for what is stored of `frames`, the attempt's task, and reads what the others need;
    /// `None` when all are stored.
    ///
    /// # Errors
    /// Storage does not answer; a frame that another one starts from is missing or damaged.
    pub async fn prepare(
        attempt: &Arc<Attempt>,
        job: &Arc<OpenJob>,
        frames: Range<u64>,
    ) -> Result<Option<Self>, SegmentFault> {
        let Content::Film(timeline) = &job.plan.content else { return Ok(None) };
        let mut missing = BTreeSet::new();
        for index in frames.clone() {
            if matches!(look(job, &keys::frame(index)).await?, Stored::Nothing) {
                missing.insert(index);
            }
        }
        let (Some(&first), Some(&last)) = (missing.first(), missing.last()) else {
            return Ok(None);
        };
        let (made, mut momentum) = if timeline.keeps_optimizer() {
            let task = (attempt.ticket.task.layer, attempt.ticket.task.index);
            let known = momentum::before(job, task, frames, first).await.map_err(JobFault::from)?;
            let shot = &timeline.shots()[timeline.shot_of(first)];
            let (begin, momentum) = known.unwrap_or((shot.frames.start, Momentum::default()));
            ((begin..=last).collect(), Some(momentum))
        } else {
            (missing.clone(), None)
        };
        let mut planned = Vec::new();
        let mut stored = BTreeMap::new();
        for &index in &made {
            let spec = timeline.frame(index).map_err(|e| JobFault::Plan(e.into()))?;
            let mut picture = job.picture(&spec.render).await?;
            picture.frame = u32::try_from(index).unwrap_or(u32::MAX);
            picture.momentum = momentum.take();
            match &spec.start {
                Start::Composed => {
                    picture.init = Some(keyframes::composed(job, timeline, index).await?);
                }
                Start::Source { picture: key, .. } => {
                    picture.init = Some(job.source(key).await?);
                }
                Start::Fresh | Start::Moved(_) => (),
            }
            for needed in spec.start.needs(index) {
                if !missing.contains(&needed) && !stored.contains_key(&needed) {
                    stored.insert(needed, read(job, needed).await?);
                }
            }
            planned.push(Planned { spec, picture, is_stored: !missing.contains(&index) });
        }
        let Some(Planned { spec, .. }) = planned.first() else { return Ok(None) };
        let models = job.models(&spec.render);
        let (attempt, job) = (attempt.clone(), job.clone());
        Ok(Some(Self { attempt, job, models, frames: planned, stored }))
    }
}

/// Why a segment cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum SegmentFault {
    #[error(transparent)]
    Job(#[from] JobFault),
    #[error(transparent)]
    Look(#[from] PublishError),
    /// Others start from it or are composed of it.
    #[error("{0}, which is needed, is missing or damaged")]
    Lost(Lost),
    #[error("the frame cannot be composed: {0}")]
    Compose(String),
    #[error("the job has no film")]
    NoFilm,
}

impl SegmentFault {
    /// What must be made again first.
    pub fn lost(&self) -> Option<Lost> {
        match self {
            Self::Lost(lost) => Some(*lost),
            _ => None,
        }
    }
}

async fn read(job: &OpenJob, index: u64) -> Result<RgbImage, SegmentFault> {
    let bytes = job.store.get(&keys::frame(index)).await.map_err(JobFault::from)?;
    let bytes = bytes.ok_or(SegmentFault::Lost(Lost::Frame(index)))?;
    match frame::decode(&bytes) {
        Ok((info, picture)) if info.spec == job.record.spec_hash => Ok(picture),
        _ => Err(SegmentFault::Lost(Lost::Frame(index))),
    }
}

/// Makes a segment's frames one after the other on a lane's thread. Breaks when nobody wants
/// results any more.
pub(crate) fn run<'a>(
    painter: &mut Painter<'a>,
    parts: &'a LaneParts,
    segment: Segment,
) -> ControlFlow<()> {
    let Segment { attempt, job, models, frames, mut stored } = segment;
    let (results, made) = mpsc::channel(WAITING);
    let running = RunningSegment {
        attempt: attempt.clone(),
        job: job.clone(),
        frames: made,
        count: frames.iter().filter(|frame| !frame.is_stored).count(),
    };
    if parts.finished.send(Finished::Segment(running)).is_err() {
        return ControlFlow::Break(());
    }
    let mut momentum = None;
    let mut frames = frames.into_iter().peekable();
    while let Some(Planned { spec, mut picture, is_stored }) = frames.next() {
        // Only the first one is given it.
        picture.momentum = picture.momentum.or(momentum.take());
        let begin = Instant::now();
        let start = start_of(&spec, picture.init.take(), &stored);
        let result = start.and_then(|start| {
            picture.init = start;
            let work = Work {
                attempts: &[&attempt],
                models: &models,
                pictures: vec![(picture, Part::default())],
                numbers: vec![spec.index],
                round: None,
                is_last: frames.peek().is_none(),
            };
            paint(painter, parts, work).pop().unwrap_or(Err(Failure::Unwanted))
        });
        let took = begin.elapsed();
        let failed = result.is_err();
        if let Ok(painted) = &result {
            momentum = painted.momentum.clone();
            if is_stored {
                continue;
            }
        }
        let result = result.map(|painted| {
            // What lies further back than the colours' frame is not needed any more.
            let needed = spec.start.needs(spec.index).into_iter().min();
            stored.retain(|&index, _| index >= needed.unwrap_or(spec.index));
            stored.insert(spec.index, painted.picture.clone());
            MadeFrame { spec, painted, took }
        });
        // Nobody listens to a segment that another worker has gone on with.
        if results.blocking_send(result).is_err() || failed {
            break;
        }
    }
    ControlFlow::Continue(())
}

/// What a frame starts from, given its own picture if it has one; none where it starts a shot.
fn start_of(
    spec: &FrameSpec,
    own: Option<RgbImage>,
    stored: &BTreeMap<u64, RgbImage>,
) -> Result<Option<RgbImage>, Failure> {
    let frame = |index: u64| {
        stored.get(&index).ok_or_else(|| Failure::Error {
            message: SegmentFault::Lost(Lost::Frame(index)).to_string(),
            retryable: true,
        })
    };
    let made = match (&spec.start, own) {
        (Start::Moved(step), _) => {
            let (before, reference) = (frame(spec.index - 1)?, frame(step.reference)?);
            let key = (spec.render.seed, u32::try_from(spec.index).unwrap_or(u32::MAX));
            next_start(before, step, reference, key)
        }
        (Start::Source { blend, .. }, Some(own)) if *blend > 0.0 => {
            Ok(blended(&own, frame(spec.index - 1)?, *blend))
        }
        (_, own) => return Ok(own),
    };
    made.map(Some).map_err(|error| Failure::Error { message: error.to_string(), retryable: false })
}

impl Shift {
    /// Stores a segment's frames as they come, in order, and commits the task after the last.
    pub(crate) async fn publish_segment(&self, segment: RunningSegment) {
        let RunningSegment { attempt, job, mut frames, count } = segment;
        let mut left = count;
        while let Some(made) = frames.recv().await {
            let MadeFrame { spec, painted, took } = match made {
                Ok(made) => made,
                Err(Failure::Error { message, retryable }) => {
                    return self.give_up(&attempt, Some(&job), message, retryable).await;
                }
                Err(Failure::Unwanted) => break,
            };
            let info = job.frame_info(spec.index, &spec.render, painted.score);
            let (picture, momentum) = (painted.picture.clone(), painted.momentum.clone());
            let key = keys::frame(spec.index);
            match put(&self.worker.meters, &job, &key, info, painted).await {
                Ok(stored)
                    if stored.origin == Origin::Adopted
                        && !self.is_same(&job, spec.index, &picture).await =>
                {
                    tracing::info!(key = stored.key, "another picture is stored; going on from it");
                    break;
                }
                Ok(stored) => {
                    if let Some(momentum) = momentum {
                        let TaskId { layer, index, .. } = attempt.ticket.task;
                        let kept = momentum::keep(&job, (layer, index), spec.index, momentum).await;
                        if let Err(error) = kept {
                            let error = Err(PublishError::Store(error));
                            return self.published(&attempt, &job, error, took, true).await;
                        }
                    }
                    self.rest.all_is_well();
                    left -= 1;
                    self.tell(Event::Frame {
                        cell: stored.info.index,
                        path: stored.key,
                        score: stored.info.score,
                        seconds: took.as_secs_f64(),
                        adopted: stored.origin == Origin::Adopted,
                        taken_over: false,
                    });
                }
                Err(error) => {
                    return self.published(&attempt, &job, Err(error), took, true).await;
                }
            }
        }
        if left > 0 {
            return self.hand_back(&attempt, Some(&job)).await;
        }
        self.commit_segment(&attempt, &job).await;
        self.worker.speeds.store().await;
    }

    /// Makes a segment count whose frames are all stored.
    pub(crate) async fn commit_segment(&self, attempt: &Attempt, job: &OpenJob) {
        let outcome = match self.committer.commit(attempt.ticket).await {
            Ok(_) => {
                tracing::info!("committed");
                "rendered"
            }
            Err(error) => {
                tracing::info!(%error, "the frames are stored, but this attempt does not count");
                "dropped"
            }
        };
        self.end(attempt, Some(job), outcome).await;
    }

    /// Whether the stored frame shows this picture.
    async fn is_same(&self, job: &OpenJob, index: u64, picture: &RgbImage) -> bool {
        matches!(read(job, index).await, Ok(stored) if stored == *picture)
    }
}
