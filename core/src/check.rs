//! What the types alone do not say about settings: ranges, sizes, names, prompts.

use crate::id::ModelName;
use crate::job::FieldError;
use crate::prompt;
use crate::render::{Init, RenderSettings};

/// The largest width or height in pixels.
pub const MAX_SIDE: u32 = 4096;
/// The smallest width or height in pixels: one position of an f16 generator.
pub const MIN_SIDE: u32 = 16;
pub const MAX_ITERATIONS: u32 = 100_000;
pub const MAX_CUTOUTS: u32 = 1024;

/// Everything that is wrong with settings; fields are named from inside `[render]`. The place in a
/// prompt is one in the prompt of these settings.
pub fn settings(settings: &RenderSettings) -> Vec<FieldError> {
    let mut found = Found(Vec::new());
    let s = settings;
    check_prompt(s, &mut found);
    for (i, side) in s.size.iter().enumerate() {
        let name = ["width", "height"][i];
        found.unless((MIN_SIDE..=MAX_SIDE).contains(side), &format!("size[{i}]"), || {
            format!("a {name} of {side} pixels; it must be from {MIN_SIDE} to {MAX_SIDE}")
        });
    }
    found.between("iterations", s.iterations, 1, MAX_ITERATIONS);
    found.between("phase_iterations", s.phase_iterations, 0, MAX_ITERATIONS);
    found.between("cutouts.count", s.cutouts.count, 1, MAX_CUTOUTS);
    found.number("cutouts.power", s.cutouts.power, "more than 0", |x| x > 0.0);
    found.number("cutouts.noise", s.cutouts.noise, "from 0 to 1", |x| (0.0..=1.0).contains(&x));
    found.number("step_size", s.step_size, "more than 0", |x| x > 0.0);
    found.number("init_weight", s.init_weight, "0 or more", |x| x >= 0.0);
    found.model("generator", &s.generator);
    found.unless(!s.perceptors.is_empty(), "perceptors", || {
        "at least one perceptor must judge the picture".into()
    });
    for (i, name) in s.perceptors.iter().enumerate() {
        found.model(&format!("perceptors[{i}]"), name);
        found.unless(!s.perceptors[..i].contains(name), &format!("perceptors[{i}]"), || {
            format!("the perceptor {name:?} is there twice")
        });
    }
    for (i, prompt) in s.image_prompts.iter().enumerate() {
        let field = format!("image_prompts[{i}]");
        found.path(&format!("{field}.image"), &prompt.image);
        found.number(&format!("{field}.weight"), prompt.weight, "a finite number", |_| true);
        let stop = prompt.stop.unwrap_or(0.0);
        found.number(&format!("{field}.stop"), stop, "a finite number", |_| true);
    }
    for (i, prompt) in s.noise_prompts.iter().enumerate() {
        let field = format!("noise_prompts[{i}].weight");
        found.number(&field, prompt.weight, "a finite number", |_| true);
    }
    if let Init::Image(path) = &s.init {
        found.path("init.image", path);
    }
    if let Some(path) = &s.mask {
        found.path("mask", path);
    }
    found.0
}

/// What is wrong with one field, named as an axis would name it.
pub(crate) fn field(checked: &RenderSettings, name: &str) -> Option<FieldError> {
    let found = settings(checked).into_iter().find(|error| {
        let rest = error.field.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    });
    // A prompt that was put together stands nowhere.
    found.map(|error| FieldError { at: None, ..error })
}

/// Whether a path stays beside the job file: relative, without `..`.
pub fn path_stays(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with(['/', '\\'])
        && !path.contains(':')
        && !path.chars().any(char::is_control)
        && !path.split(['/', '\\']).any(|part| part == "..")
}

fn check_prompt(s: &RenderSettings, found: &mut Found) {
    match prompt::parse(&s.prompt) {
        Ok(phases) if phases.is_empty() => {
            let others = s.image_prompts.len() + s.noise_prompts.len();
            found.unless(others > 0, "prompt", || {
                "the prompt is empty; say what the picture shall show".into()
            });
        }
        Ok(_) => (),
        Err(error) => {
            let number = s.prompt[..error.at].chars().count() + 1;
            let message = format!("{error} (at character {number})");
            let at = Some(error.at..error.at + 1);
            found.0.push(FieldError { at, ..FieldError::new("prompt", message) });
        }
    }
}

struct Found(Vec<FieldError>);

impl Found {
    fn unless(&mut self, good: bool, field: &str, message: impl FnOnce() -> String) {
        if !good {
            self.0.push(FieldError::new(field, message()));
        }
    }

    fn between(&mut self, field: &str, value: u32, low: u32, high: u32) {
        self.unless((low..=high).contains(&value), field, || {
            format!("{value} is out of range; it must be from {low} to {high}")
        });
    }

    fn number(&mut self, field: &str, value: f64, rule: &str, good: impl Fn(f64) -> bool) {
        self.unless(value.is_finite() && good(value), field, || {
            format!("{value} is out of range; it must be {rule}")
        });
    }

    fn model(&mut self, field: &str, name: &str) {
        if let Err(error) = ModelName::new(name) {
            self.unless(false, field, || error.to_string());
        }
    }

    fn path(&mut self, field: &str, path: &str) {
        self.unless(path_stays(path), field, || {
            format!("{path:?} leads away from the job file; use a relative path without `..`")
        });
    }
}
