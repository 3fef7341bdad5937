//! The keyframes of a zoom: what they are tied to, and the frames composed of them.

use std::ops::Range;

use image::RgbImage;
use tokio::task::spawn_blocking;
use vqfarm_core::animation::{Mode, Nesting, Timeline};
use vqfarm_core::event::Event;
use vqfarm_core::keys;
use vqfarm_core::plan::{self, Content};
use vqfarm_core::render::RenderSettings;
use vqfarm_engine::nest::{self, Nested};
use vqfarm_storage::frame;

use crate::attempt::Attempt;
use crate::job::{JobFault, OpenJob};
use crate::mend::Lost;
use crate::paint::Painted;
use crate::publish::{Origin, Stored, look, put};
use crate::run::Shift;
use crate::segment::SegmentFault;
use crate::stop::Stop;

/// Where a keyframe of a round is stored.
pub(crate) fn key(round: u32, index: u64) -> String {
    keys::work(&plan::keyframes(round), index, "png")
}

/// How a keyframe is rendered.
pub(crate) fn settings(
    job: &OpenJob,
    round: u32,
    index: u64,
) -> Result<RenderSettings, SegmentFault> {
    Ok(timeline(job)?.keyframe(round, index).map_err(fault)?)
}

/// Whether the job's frames are composed and nothing more.
pub(crate) fn only_composed(job: &OpenJob) -> bool {
    timeline(job).is_ok_and(|timeline| {
        let animation = timeline.animation();
        animation.mode == Mode::Zoom && animation.zoom.refine == 0
    })
}

fn timeline(job: &OpenJob) -> Result<&Timeline, SegmentFault> {
    match &job.plan.content {
        Content::Film(timeline) => Ok(&**timeline),
        Content::Sweep(_) => Err(SegmentFault::NoFilm),
    }
}

fn fault(error: vqfarm_core::job::FieldError) -> JobFault {
    JobFault::Plan(error.into())
}

/// The start of a keyframe in a round after the first: what the camera sees when it is there, of it
/// and its neighbours.
pub(crate) async fn tied(job: &OpenJob, round: u32, index: u64) -> Result<RgbImage, SegmentFault> {
    let rim = timeline(job)?.animation().zoom.rim;
    let (seen, at) = read_around(job, timeline(job)?, round - 1, index, (1, 1)).await?;
    blocking(move || nest::tie(&nested(&seen), at, rim)).await
}

/// A frame as the keyframes of the last round show it.
pub(crate) async fn composed(
    job: &OpenJob,
    timeline: &Timeline,
    frame: u64,
) -> Result<RgbImage, SegmentFault> {
    let zoom = &timeline.animation().zoom;
    let depth = zoom.depth(frame, timeline.len());
    let (rim, reach) = (zoom.rim, (nest::TONES, zoom.deepest(timeline.size())));
    let (seen, at) = read_around(job, timeline, zoom.rounds - 1, depth.base, reach).await?;
    blocking(move || nest::compose(&nested(&seen), at, depth.along, rim)).await
}

/// A keyframe and how the next one lies in it.
type Placed = (RgbImage, Option<Nesting>);

/// The keyframes of a round about the one where a camera is: so many around that, and so many that lie
/// in it. Also which of these the camera is at.
async fn read_around(
    job: &OpenJob,
    timeline: &Timeline,
    round: u32,
    base: u64,
    (around, inner): (u64, u64),
) -> Result<(Vec<Placed>, usize), SegmentFault> {
    let keyframes = timeline.animation().zoom.keyframes(timeline.len());
    let first = base.saturating_sub(around);
    let mut seen = Vec::new();
    for index in first..keyframes.min(base + inner + 1) {
        let next = match index + 1 < keyframes {
            true => Some(timeline.nesting(index).map_err(fault)?),
            false => None,
        };
        seen.push((read(job, round, index).await?, next));
    }
    Ok((seen, (base - first) as usize))
}

fn nested(placed: &[Placed]) -> Vec<Nested<'_>> {
    placed.iter().map(|(picture, next)| Nested { picture, next: *next }).collect()
}

async fn blocking(
    compute: impl FnOnce() -> vqfarm_engine::Result<RgbImage> + Send + 'static,
) -> Result<RgbImage, SegmentFault> {
    let made = spawn_blocking(move || {
        // Rounds differently on other numbers of threads.
        tch::set_num_threads(1);
        compute()
    });
    let failed = |error: String| SegmentFault::Compose(error);
    made.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

async fn read(job: &OpenJob, round: u32, index: u64) -> Result<RgbImage, SegmentFault> {
    let key = key(round, index);
    let bytes = job.store.get(&key).await.map_err(JobFault::from)?;
    let decoded = bytes.and_then(|bytes| frame::decode(&bytes).ok());
    match decoded.filter(|(info, _)| info.spec == job.record.spec_hash && info.index == index) {
        Some((_, picture)) => Ok(picture),
        None => Err(SegmentFault::Lost(Lost::Keyframe { round, index })),
    }
}

impl Shift {
    /// Composes and stores frames of a zoom, and commits their task.
    pub(crate) async fn compose(&self, attempt: &Attempt, job: &OpenJob, frames: Range<u64>) {
        for index in frames {
            let composed = tokio::select! {
                composed = self.compose_one(job, index) => composed,
                () = self.brake.reached(Stop::Now) => {
                    return self.hand_back(attempt, Some(job)).await;
                }
            };
            if let Err(fault) = composed {
                if let Some(lost) = fault.lost() {
                    return self.make_again(attempt, job, &[lost]).await;
                }
                return self.give_up(attempt, Some(job), fault.to_string(), true).await;
            }
            if attempt.is_unwanted() {
                return self.end(attempt, Some(job), "dropped").await;
            }
        }
        self.commit_segment(attempt, job).await;
    }

    async fn compose_one(&self, job: &OpenJob, index: u64) -> Result<(), SegmentFault> {
        let key = keys::frame(index);
        if matches!(look(job, &key).await?, Stored::Frame(_)) {
            return Ok(());
        }
        let begin = std::time::Instant::now();
        let timeline = timeline(job)?;
        let picture = composed(job, timeline, index).await?;
        let settings = timeline.frame(index).map_err(fault)?.render;
        let info = job.frame_info(index, &settings, None);
        let painted = Painted::new(picture, None);
        let stored = put(&self.worker.meters, job, &key, info, painted).await?;
        self.tell(Event::Frame {
            cell: index,
            path: stored.key,
            score: None,
            seconds: begin.elapsed().as_secs_f64(),
            adopted: stored.origin == Origin::Adopted,
            taken_over: false,
        });
        Ok(())
    }
}
