//! What is wrong with an animation.

use super::{
    Animation, Feedback, MAX_FRAMES, MAX_SEGMENT, Mode, Motion, Nesting, Source, Step, Timeline,
    WarpMethod, Zoom,
};
use crate::job::{FieldError, Job};

/// Zooms within which a picture keeps enough of itself.
const ZOOMS: std::ops::RangeInclusive<f64> = 0.25..=4.0;

impl Animation {
    /// Everything that is wrong, field by field; frame by frame only where the settings that all
    /// frames have are right.
    pub(crate) fn check(&self, job: &Job, settings_are_right: bool) -> Vec<FieldError> {
        let mut errors = self.check_fields(job);
        let mistakes = Timeline::mistakes(job, self);
        let untold = |error: &FieldError| errors.iter().all(|told| told.field != error.field);
        let mistakes: Vec<_> = mistakes.into_iter().filter(untold).collect();
        errors.extend(mistakes);
        if errors.is_empty()
            && settings_are_right
            && let Ok(timeline) = Timeline::new(job, self)
        {
            if self.mode == Mode::Zoom {
                let last = self.zoom.keyframes(self.frames) - 1;
                errors.extend((0..last).find_map(|index| timeline.nesting(index).err()));
            }
            // Cheap enough to ask of every frame now, and nobody wants to know it at frame 4,000.
            errors.extend((0..timeline.len()).find_map(|frame| timeline.frame(frame).err()));
        }
        errors
    }

    fn check_fields(&self, job: &Job) -> Vec<FieldError> {
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
        if self.mode == Mode::Zoom {
            self.check_zoom(&mut errors);
        } else if self.zoom != Zoom::default() {
            let message = "this is for mode = \"zoom\"; the camera is in [animation.motion]";
            errors.push(FieldError::new("animation.zoom", message));
        }
        match (&self.source, self.mode) {
            (source, Mode::Video) => self.check_source(source.as_ref(), &mut errors),
            (Some(_), _) => {
                let message =
                    "this is for mode = \"video\"; to start from a picture use render.init";
                errors.push(FieldError::new("animation.source", message));
            }
            (None, _) => (),
        }
        errors
    }

    fn check_source(&self, source: Option<&Source>, errors: &mut Vec<FieldError>) {
        let mut wrong = |field: &str, message: String, help: &str| {
            let help = Some(help.to_owned()).filter(|help| !help.is_empty());
            errors.push(FieldError {
                help,
                ..FieldError::new(format!("animation.{field}"), message)
            });
        };
        let Some(source) = source else {
            let message = "a video is painted over a film or pictures".into();
            return wrong("source", message, "say which: [animation.source] path = \"clip.mp4\"");
        };
        let pictures = source.pictures.len() as u64;
        if source.path.is_some() {
            let message = "a film or folder that nobody has taken apart into frames".into();
            wrong("source.path", message, "vqfarm render and vqfarm submit do that");
        } else if pictures == 0 {
            let message = "no pictures".into();
            wrong("source", message, "name a film or a folder as path, or list pictures");
        } else if pictures < self.frames {
            let message = format!("{} frames of a source that has {pictures}", self.frames);
            wrong("frames", message, "leave the field out to paint all");
        }
        if !(source.start.is_finite() && source.start >= 0.0) {
            wrong("source.start", format!("{} seconds; write 0 or more", source.start), "");
        }
        let Motion { iterations, step_size, init_weight, .. } = &self.motion;
        let (iterations, step_size) = (iterations.clone(), step_size.clone());
        let init_weight = init_weight.clone();
        if self.motion != (Motion { iterations, step_size, init_weight, ..Motion::default() }) {
            let message = "a video has the camera of its source; only iterations, step_size and \
                           init_weight are for it";
            wrong("motion", message.into(), "");
        }
        if self.feedback != (Feedback { segment: self.feedback.segment, ..Feedback::default() }) {
            wrong("feedback", "of this table only segment is for a video".into(), "");
        }
    }

    fn check_zoom(&self, errors: &mut Vec<FieldError>) {
        let zoom = &self.zoom;
        let mut wrong = |field: &str, message: String| {
            errors.push(FieldError::new(format!("animation.{field}"), message));
        };
        let mut between = |field: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                let message = format!("{value} is out of range; it must be from {least} to {most}");
                wrong(&format!("zoom.{field}"), message);
            }
        };
        between("step", zoom.step, 1.2, 4.0);
        between("frames_per_step", f64::from(zoom.frames_per_step), 1.0, 10_000.0);
        between("rounds", f64::from(zoom.rounds), 1.0, 50.0);
        between("round_iterations", f64::from(zoom.round_iterations), 1.0, 100_000.0);
        between("tie", zoom.tie, 0.0, 1e6);
        between("rim", zoom.rim, 0.0, 1.0);
        between("refine", f64::from(zoom.refine), 0.0, 100_000.0);
        if self.motion != Motion::default() {
            wrong("motion", "the camera of a zoom is in [animation.zoom]; leave this out".into());
        }
        if self.feedback != Feedback::default() {
            wrong(
                "feedback",
                "frames of a zoom do not follow from one another; leave it out".into(),
            );
        }
        if let Some((frame, _)) = self.prompts.0.iter().find(|(_, key)| key.cut) {
            let message = "a zoom has no cuts; give the prompt a fade".into();
            wrong(&format!("prompts.{frame}"), message);
        }
        if self.frames == 0 || zoom.frames_per_step == 0 {
            return;
        }
        // Two layers and one for each round, of 255.
        let keyframes = zoom.keyframes(self.frames.min(MAX_FRAMES));
        if keyframes > MAX_KEYFRAMES {
            let message = format!(
                "{keyframes} keyframes; {MAX_KEYFRAMES} are the most, so take more frames a step"
            );
            wrong("zoom.frames_per_step", message);
        }
    }
}

/// How the next keyframe lies in one must leave it inside.
pub(super) fn nesting(nesting: &Nesting, frame: u64) -> Result<(), FieldError> {
    let reach = (1.0 - 1.0 / nesting.step) / 2.0;
    for (name, center) in [("center_x", nesting.center[0]), ("center_y", nesting.center[1])] {
        if (center - 0.5).abs() > reach + 1e-9 {
            let (least, most) = (0.5 - reach, 0.5 + reach);
            let message = format!(
                "{center} puts the next keyframe over the edge; it must be from {least} to {most} \
                 (at frame {frame})"
            );
            return Err(FieldError::new(format!("animation.zoom.{name}"), message));
        }
    }
    if nesting.angle.abs() > 360.0 {
        let message = format!("{} degrees a step (at frame {frame})", nesting.angle);
        return Err(FieldError::new("animation.zoom.angle", message));
    }
    Ok(())
}

/// Keyframes of a zoom, at most.
const MAX_KEYFRAMES: u64 = 10_000;

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
