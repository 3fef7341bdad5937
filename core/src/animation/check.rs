//! What is wrong with an animation.

use super::{Animation, MAX_FRAMES, MAX_SEGMENT, Step, Timeline, WarpMethod};
use crate::job::{FieldError, Job};

/// Zooms within which a picture keeps enough of itself.
const ZOOMS: std::ops::RangeInclusive<f64> = 0.25..=4.0;

impl Animation {
    /// Everything that is wrong, field by field.
    pub(crate) fn check(&self, job: &Job) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if job.sweep.is_some() {
            let message = "a job is a sweep or an animation; leave one of them out";
            errors.push(FieldError::new("animation", message));
        }
        if !(1..=MAX_FRAMES).contains(&self.frames) {
            let message =
                format!("{} is out of range; it must be from 1 to {MAX_FRAMES}", self.frames);
            errors.push(FieldError::new("animation.frames", message));
        }
        if !(self.fps.is_finite() && (0.1..=240.0).contains(&self.fps)) {
            let message = format!("{} is out of range; it must be from 0.1 to 240", self.fps);
            errors.push(FieldError::new("animation.fps", message));
        }
        if !(1..=MAX_SEGMENT).contains(&self.feedback.segment) {
            let message = format!(
                "{} is out of range; it must be from 1 to {MAX_SEGMENT}",
                self.feedback.segment
            );
            errors.push(FieldError::new("animation.feedback.segment", message));
        }
        for (frame, key) in &self.prompts.0 {
            let field = format!("animation.prompts.{frame}");
            if *frame >= self.frames.max(1) {
                let message = format!("the animation ends at frame {}", self.frames.max(1) - 1);
                errors.push(FieldError::new(field, message));
            } else if key.prompt.trim().is_empty() {
                let message = "the prompt is empty; say what the picture shall show";
                errors.push(FieldError::new(field, message));
            }
        }
        let timeline = match Timeline::new(job, self) {
            Ok(timeline) => timeline,
            Err(error) => {
                errors.push(error);
                return errors;
            }
        };
        for (field, schedule) in timeline.schedules() {
            if let Some(error) = schedule.error() {
                errors.push(FieldError {
                    at: Some(error.at.clone()),
                    help: error.help.clone(),
                    ..FieldError::new(field, error.message.clone())
                });
            }
        }
        if errors.is_empty() {
            // Cheap enough to ask of every frame now, and nobody wants to know it at frame 4,000.
            errors.extend((0..timeline.len()).find_map(|frame| timeline.frame(frame).err()));
        }
        errors
    }
}

/// Whether the numbers of a step make sense.
pub(super) fn step(step: &Step, frame: u64) -> Result<(), FieldError> {
    let refuse = |field: &str, message: String| {
        Err(FieldError::new(field, format!("{message} (at frame {frame})")))
    };
    let w = &step.warp;
    if !ZOOMS.contains(&w.zoom) {
        let (least, most) = (ZOOMS.start(), ZOOMS.end());
        let message = format!("{} a frame; it must be from {least} to {most}", w.zoom);
        return refuse("animation.motion.zoom", message);
    }
    for (name, value) in [("center_x", w.center[0]), ("center_y", w.center[1])] {
        if !(-10.0..=10.0).contains(&value) {
            let message = format!("{value} is far off; 0 to 1 lie in the picture");
            return refuse(&format!("animation.motion.{name}"), message);
        }
    }
    let moves =
        [("angle", w.angle), ("translate_x", w.translate_x), ("translate_y", w.translate_y)];
    for (name, value) in moves {
        if value.abs() > 100_000.0 {
            return refuse(&format!("animation.motion.{name}"), format!("{value} is out of range"));
        }
    }
    if w.method == WarpMethod::Legacy {
        if w.angle != 0.0 {
            return refuse("animation.motion.angle", "the legacy method cannot turn".into());
        }
        if w.center != [0.5, 0.5] {
            let message = "the legacy method zooms about the middle";
            return refuse("animation.motion.center_x", message.into());
        }
    }
    for (name, value) in [("color_match", step.color_match), ("noise", step.noise)] {
        if !(0.0..=1.0).contains(&value) {
            let message = format!("{value} is out of range; it must be from 0 to 1");
            return refuse(&format!("animation.feedback.{name}"), message);
        }
    }
    if !(0.0..=10.0).contains(&step.sharpen) {
        let message = format!("{} is out of range; it must be from 0 to 10", step.sharpen);
        return refuse("animation.feedback.sharpen", message);
    }
    Ok(())
}
