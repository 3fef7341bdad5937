//! What an animation says of each frame, asked for by number.

use std::ops::Range;

use super::prompts::{self, TimedPart};
use super::{Animation, ColorReference, Memory, Mode, Nesting, Source, Warp};
use crate::job::{FieldError, Job};
use crate::render::RenderSettings;
use crate::schedule::{Moment, Schedule, ValueError};
use crate::video::Video;

/// Iterations of a frame that starts from another one.
const FOLLOWING: f64 = 12.0;

/// One frame: how it is rendered, and what it starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameSpec {
    pub index: u64,
    /// Prompt, iterations and all other settings as they are at this frame.
    pub render: RenderSettings,
    pub start: Start,
}

/// What a frame starts from.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// What the settings say, as a picture of a sweep: the first frame of a shot.
    Fresh,
    /// The frame before, moved.
    Moved(Step),
    /// What the keyframes of a zoom show.
    Composed,
    /// A picture of the source, with a share (0 to 1) of the frame before mixed in.
    Source { picture: String, blend: f64 },
}

impl Start {
    /// The other frames that frame `index` needs.
    pub fn needs(&self, index: u64) -> Vec<u64> {
        match self {
            Self::Moved(step) => vec![index - 1, step.reference],
            Self::Source { blend, .. } if *blend > 0.0 => vec![index - 1],
            _ => Vec::new(),
        }
    }
}

/// From the frame before to the start of this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub warp: Warp,
    pub color_match: f64,
    /// The frame whose colours are kept.
    pub reference: u64,
    pub noise: f64,
    pub sharpen: f64,
}

/// Frames that follow from one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shot {
    pub frames: Range<u64>,
}

/// All frames of an animation.
#[derive(Clone, Debug)]
pub struct Timeline {
    animation: Animation,
    base: RenderSettings,
    video: Video,
    /// By frame; the first is at frame 0.
    keys: Vec<Key>,
    shots: Vec<Shot>,
}

/// A prompt and the frame from which on it is wanted.
#[derive(Clone, Debug)]
struct Key {
    frame: u64,
    fade: u64,
    parts: Vec<TimedPart>,
    /// Where it is written.
    field: String,
}

impl Timeline {
    /// # Errors
    /// A prompt that cannot be read; names its field.
    pub fn new(job: &Job, animation: &Animation) -> Result<Self, FieldError> {
        let mut errors = Vec::new();
        let timeline = Self::read(job, animation, &mut errors);
        match errors.is_empty() {
            true => Ok(timeline),
            false => Err(errors.swap_remove(0)),
        }
    }

    /// What is wrong with prompts and schedules, each by itself.
    pub(super) fn mistakes(job: &Job, animation: &Animation) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let timeline = Self::read(job, animation, &mut errors);
        for (field, schedule) in timeline.schedules() {
            if let Some(error) = schedule.error() {
                let error = ValueError::Unreadable(error.clone());
                errors.push(at_field(field, error));
            }
        }
        errors
    }

    /// The timeline of those prompts that can be read.
    fn read(job: &Job, animation: &Animation, errors: &mut Vec<FieldError>) -> Self {
        let mut keys = Vec::new();
        let mut cuts = vec![0];
        let mut add = |phases: Result<Vec<Key>, FieldError>, fade: u64| match phases {
            Ok(mut phases) => {
                // Only the first phase comes in as the key says.
                phases.iter_mut().skip(1).for_each(|phase| phase.fade = fade);
                keys.extend(phases);
            }
            Err(error) => errors.push(error),
        };
        let fade = u64::from(animation.fade);
        if animation.prompts.is_empty() {
            add(spread(&job.render.prompt, 0..animation.frames, fade, "render.prompt"), fade);
        }
        let prompts: Vec<_> = animation.prompts.0.iter().collect();
        for (i, (frame, key)) in prompts.iter().enumerate() {
            // What is wanted first is wanted from the beginning.
            let start = if i == 0 { 0 } else { **frame };
            let end = prompts.get(i + 1).map_or(animation.frames, |(next, _)| **next);
            let own = key.fade.map_or(fade, u64::from);
            let own = if key.cut { 0 } else { own };
            let field = format!("animation.prompts.{frame}");
            add(spread(&key.prompt, start..end, own, &field), fade);
            if key.cut && **frame > 0 && **frame < animation.frames {
                cuts.push(**frame);
            }
        }
        let ends = cuts.iter().skip(1).copied().chain([animation.frames]);
        let shots = cuts.iter().zip(ends).map(|(&start, end)| Shot { frames: start..end });
        Self {
            shots: shots.collect(),
            animation: animation.clone(),
            base: job.render.clone(),
            video: job.output.video.clone(),
            keys,
        }
    }

    pub fn animation(&self) -> &Animation {
        &self.animation
    }

    /// Whether frames follow from the ones before them.
    pub fn is_chain(&self) -> bool {
        match self.animation.mode {
            Mode::Feedback => true,
            Mode::Zoom => false,
            Mode::Video => self.animation.source.as_ref().is_some_and(Source::is_chain),
        }
    }

    /// Whether the optimiser goes on from frame to frame.
    pub fn keeps_optimizer(&self) -> bool {
        self.animation.mode == Mode::Feedback && self.animation.feedback.optimizer == Memory::Keep
    }

    /// Whether each frame is a picture by itself.
    pub fn is_independent(&self) -> bool {
        self.animation.mode == Mode::Video && !self.is_chain()
    }

    /// How the film is encoded.
    pub fn video(&self) -> &Video {
        &self.video
    }

    /// Frames a second of the film, before any are made up in between.
    pub fn film_fps(&self) -> f64 {
        self.video.fps.unwrap_or(self.animation.fps)
    }

    /// Width and height of all frames, in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.base.size
    }

    /// How many frames; at least 1.
    #[allow(clippy::len_without_is_empty)] // An animation is never empty.
    pub fn len(&self) -> u64 {
        self.animation.frames
    }

    /// The settings of keyframe `index` of a zoom, in its first round (0) or a later one.
    ///
    /// # Errors
    /// A schedule comes to no number there.
    pub fn keyframe(&self, round: u32, index: u64) -> Result<RenderSettings, FieldError> {
        let zoom = &self.animation.zoom;
        let later = round > 0;
        let render = RenderSettings {
            prompt: self.prompt(zoom.frame_of(index, self.len()))?,
            iterations: if later { zoom.round_iterations } else { self.base.iterations },
            init_weight: if later { zoom.tie } else { self.base.init_weight },
            phase_iterations: 0,
            ..self.base.clone()
        };
        match crate::check::settings(&render).into_iter().next() {
            Some(error) => Err(FieldError { at: None, ..error }.under("render")),
            None => Ok(render),
        }
    }

    /// How keyframe `index` + 1 lies in keyframe `index`.
    ///
    /// # Errors
    /// A schedule comes to no number there, or to one that leaves the picture.
    pub fn nesting(&self, index: u64) -> Result<Nesting, FieldError> {
        let zoom = &self.animation.zoom;
        let frame = zoom.frame_of(index, self.len());
        let moment = self.moment(frame as f64);
        let value = |name: &str, schedule: &Schedule| {
            let field = format!("animation.zoom.{name}");
            schedule.at(&moment).map_err(|error| at_field(&field, error))
        };
        let nesting = Nesting {
            step: zoom.step,
            angle: value("angle", &zoom.angle)?,
            center: [value("center_x", &zoom.center_x)?, value("center_y", &zoom.center_y)?],
        };
        super::check::nesting(&nesting, frame)?;
        Ok(nesting)
    }

    /// The shots in their order; together they are all frames.
    pub fn shots(&self) -> &[Shot] {
        &self.shots
    }

    /// The frames at which prompts begin.
    pub fn prompt_keys(&self) -> impl Iterator<Item = u64> {
        self.keys.iter().map(|key| key.frame)
    }

    /// The moment of a frame, for schedules.
    pub fn moment(&self, frame: f64) -> Moment {
        Moment {
            frame,
            frames: self.animation.frames as f64,
            fps: self.animation.fps,
            seed: self.base.seed,
        }
    }

    /// Every schedule, with its field's name.
    pub fn schedules(&self) -> Vec<(&'static str, Schedule)> {
        let (m, f) = (&self.animation.motion, &self.animation.feedback);
        if self.animation.mode == Mode::Zoom {
            let zoom = &self.animation.zoom;
            return vec![
                ("animation.zoom.angle", zoom.angle.clone()),
                ("animation.zoom.center_x", zoom.center_x.clone()),
                ("animation.zoom.center_y", zoom.center_y.clone()),
            ];
        }
        let [iterations, step_size, init_weight] = self.settings();
        if let Some(source) = &self.animation.source {
            return vec![
                ("animation.source.blend", source.blend.clone()),
                ("animation.motion.iterations", iterations),
                ("animation.motion.step_size", step_size),
                ("animation.motion.init_weight", init_weight),
            ];
        }
        vec![
            ("animation.motion.zoom", m.zoom.clone()),
            ("animation.motion.angle", m.angle.clone()),
            ("animation.motion.translate_x", m.translate_x.clone()),
            ("animation.motion.translate_y", m.translate_y.clone()),
            ("animation.motion.center_x", m.center_x.clone()),
            ("animation.motion.center_y", m.center_y.clone()),
            ("animation.motion.iterations", iterations),
            ("animation.motion.step_size", step_size),
            ("animation.motion.init_weight", init_weight),
            ("animation.feedback.color_match", f.color_match.clone()),
            ("animation.feedback.noise", f.noise.clone()),
            ("animation.feedback.sharpen", f.sharpen.clone()),
        ]
    }

    /// Iterations, step size and init weight, with what they are when left out.
    fn settings(&self) -> [Schedule; 3] {
        let motion = &self.animation.motion;
        let (first, following) = (f64::from(self.base.iterations), FOLLOWING);
        let iterations = || match self.animation.mode {
            // Each frame is a picture of its own.
            Mode::Video => first.into(),
            _ => Schedule::text(format!("0:({first}) hold, 1:({following})")),
        };
        [
            motion.iterations.clone().unwrap_or_else(iterations),
            motion.step_size.clone().unwrap_or(self.base.step_size.into()),
            motion.init_weight.clone().unwrap_or(self.base.init_weight.into()),
        ]
    }

    /// The shot that a frame is in, by number.
    pub fn shot_of(&self, frame: u64) -> usize {
        self.shots.partition_point(|shot| shot.frames.start <= frame).saturating_sub(1)
    }

    /// Frame number `index`.
    ///
    /// # Errors
    /// There is no such frame; a schedule comes to no number there, or to one that its field
    /// does not take.
    pub fn frame(&self, index: u64) -> Result<FrameSpec, FieldError> {
        if index >= self.len() {
            let message = format!("no frame {index}; the last is {}", self.len() - 1);
            return Err(FieldError::new("animation.frames", message));
        }
        if self.animation.mode == Mode::Zoom {
            let refine = self.animation.zoom.refine;
            let render = self.keyframe(1, self.animation.zoom.depth(index, self.len()).base)?;
            let render =
                RenderSettings { prompt: self.prompt(index)?, iterations: refine.max(1), ..render };
            return Ok(FrameSpec { index, render, start: Start::Composed });
        }
        let moment = self.moment(index as f64);
        let value = |field: &str, schedule: &Schedule| {
            schedule.at(&moment).map_err(|error| at_field(field, error))
        };
        let [iterations, step_size, init_weight] = self.settings();
        let first = self.shots[self.shot_of(index)].frames.start;
        // A shot's first frame is a picture from nothing, wherever the shot begins.
        let iterations = if index == first && self.animation.motion.iterations.is_none() {
            f64::from(self.base.iterations)
        } else {
            value("animation.motion.iterations", &iterations)?
        };
        let render = RenderSettings {
            prompt: self.prompt(index)?,
            iterations: whole("animation.motion.iterations", iterations, index)?,
            step_size: value("animation.motion.step_size", &step_size)?,
            init_weight: value("animation.motion.init_weight", &init_weight)?,
            phase_iterations: 0,
            ..self.base.clone()
        };
        if let Some(error) = crate::check::settings(&render).into_iter().next() {
            let timed = ["step_size", "init_weight", "iterations"];
            let outer =
                if timed.contains(&error.field.as_str()) { "animation.motion" } else { "render" };
            let message = format!("{} (at frame {index})", error.message);
            return Err(FieldError { message, at: None, ..error }.under(outer));
        }
        let start = match &self.animation.source {
            Some(source) => self.source(source, index, first, value)?,
            None if index == first => Start::Fresh,
            None => Start::Moved(self.step(index, first, value)?),
        };
        Ok(FrameSpec { index, render, start })
    }

    fn source(
        &self,
        source: &Source,
        index: u64,
        first: u64,
        value: impl Fn(&str, &Schedule) -> Result<f64, FieldError>,
    ) -> Result<Start, FieldError> {
        let field = "animation.source.blend";
        let blend = if index == first { 0.0 } else { value(field, &source.blend)? };
        if !(0.0..=1.0).contains(&blend) {
            let message = format!("comes to {blend} at frame {index}; it must be from 0 to 1");
            return Err(FieldError::new(field, message));
        }
        let picture = usize::try_from(index).ok().and_then(|index| source.pictures.get(index));
        let picture = picture.cloned().ok_or_else(|| {
            FieldError::new("animation.source", format!("there is no picture for frame {index}"))
        })?;
        Ok(Start::Source { picture, blend })
    }

    fn step(
        &self,
        index: u64,
        first: u64,
        value: impl Fn(&str, &Schedule) -> Result<f64, FieldError>,
    ) -> Result<Step, FieldError> {
        let (m, f) = (&self.animation.motion, &self.animation.feedback);
        let motion =
            |name: &str, schedule: &Schedule| value(&format!("animation.motion.{name}"), schedule);
        let feedback = |name: &str, schedule: &Schedule| {
            value(&format!("animation.feedback.{name}"), schedule)
        };
        let key = self.keys.iter().rev().map(|key| key.frame).find(|&frame| frame < index);
        let step = Step {
            warp: Warp {
                zoom: motion("zoom", &m.zoom)?,
                angle: motion("angle", &m.angle)?,
                translate_x: motion("translate_x", &m.translate_x)?,
                translate_y: motion("translate_y", &m.translate_y)?,
                center: [motion("center_x", &m.center_x)?, motion("center_y", &m.center_y)?],
                edge: m.edge,
                method: m.method,
            },
            color_match: feedback("color_match", &f.color_match)?,
            reference: match f.color_reference {
                ColorReference::First => first,
                ColorReference::Key => key.unwrap_or(first).max(first),
            },
            noise: feedback("noise", &f.noise)?,
            sharpen: feedback("sharpen", &f.sharpen)?,
        };
        super::check::step(&step, index)?;
        Ok(step)
    }

    /// The prompt at a frame, its parts weighed by how far they have come in.
    fn prompt(&self, index: u64) -> Result<String, FieldError> {
        let at = self.keys.partition_point(|key| key.frame <= index).saturating_sub(1);
        let Some(key) = self.keys.get(at) else { return Ok(String::new()) };
        let moment = self.moment(index as f64);
        let passed = index - key.frame;
        let mut shares = vec![(1.0, key.parts.as_slice())];
        if let Some(before) = at.checked_sub(1).map(|before| &self.keys[before])
            && passed < key.fade
        {
            // The first frame of the new prompt has a little of it already.
            let share = (passed + 1) as f64 / (key.fade + 1) as f64;
            shares = vec![(1.0 - share, before.parts.as_slice()), (share, key.parts.as_slice())];
        }
        prompts::at(&shares, &moment).map_err(|error| at_field(&key.field, error))
    }
}

/// The phases of a prompt over frames, each as long as the others.
fn spread(
    prompt: &str,
    frames: Range<u64>,
    fade: u64,
    field: &str,
) -> Result<Vec<Key>, FieldError> {
    let phases = prompts::phases(prompt).map_err(|error| FieldError {
        at: Some(error.at..error.at + 1),
        ..FieldError::new(field, error.message)
    })?;
    let count = phases.len().max(1) as u64;
    let len = frames.end.saturating_sub(frames.start);
    for schedule in phases.iter().flatten().map(|part| &part.weight) {
        let Some(error) = schedule.error() else { continue };
        let start = schedule.as_text().and_then(|text| prompt.find(text)).unwrap_or(0);
        return Err(FieldError {
            at: Some(start + error.at.start..start + error.at.end),
            help: error.help.clone(),
            ..FieldError::new(field, error.message.clone())
        });
    }
    let key = |(i, parts)| {
        let frame = frames.start + len * i as u64 / count;
        Key { frame, fade, parts, field: field.to_owned() }
    };
    Ok(phases.into_iter().enumerate().map(key).collect())
}

fn at_field(field: &str, error: ValueError) -> FieldError {
    match error {
        ValueError::Unreadable(error) => FieldError {
            at: Some(error.at),
            help: error.help,
            ..FieldError::new(field, error.message)
        },
        not_finite => FieldError::new(field, not_finite.to_string()),
    }
}

fn whole(field: &str, value: f64, frame: u64) -> Result<u32, FieldError> {
    let rounded = value.round();
    if (1.0..=f64::from(crate::check::MAX_ITERATIONS)).contains(&rounded) {
        return Ok(rounded as u32);
    }
    let most = crate::check::MAX_ITERATIONS;
    let message = format!("comes to {value} at frame {frame}; it must be from 1 to {most}");
    Err(FieldError::new(field, message))
}
