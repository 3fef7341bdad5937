//! What is wrong with a job beyond its types: everything that can be told apart, at once.

use super::Limits;
use crate::check;
use crate::fields;
use crate::job::{FieldError, Job};
use crate::sweep::{self, Axis, Beside, Sweep, SweepSpec};

/// Everything that is wrong. Of fields that were left out nothing is said, nor of what depends on
/// them. Writes out the job's sweep.
pub(super) fn check(
    job: &mut Job,
    limits: Limits,
    beside: &mut dyn Beside,
    left_out: &[String],
) -> Vec<FieldError> {
    let lacks = |table: &str| left_out.iter().any(|out| is_inside(out, table));
    // Variants in its prompt make a sweep of a job that says nothing of one.
    if job.sweep.is_none() && job.animation.is_none() && sweep::has_variants(&job.render.prompt) {
        job.sweep = Some(SweepSpec::default());
    }
    let mut errors = check_settings(job, lacks("sweep") || lacks("animation"));
    let right = errors.is_empty() && !lacks("render");
    if let Some(animation) = job.animation.as_ref().filter(|_| !lacks("animation.frames")) {
        errors.extend(animation.check(job, right && !lacks("animation")));
    }
    errors.extend(job.output.video.check());
    if job.animation.is_some() {
        errors.extend(check_sheet(job));
    }
    if job.animation.is_none() && !lacks("render.prompt") && !lacks("animation") {
        errors.extend(check_sweep(job, limits, beside, left_out));
    }
    errors.retain(|error| !left_out.iter().any(|out| is_inside(&error.field, out)));
    errors
}

/// What is wrong with `[render]`.
fn check_settings(job: &Job, lacks_timed: bool) -> Vec<FieldError> {
    // A template is judged with its placeholders filled in, as part of the sweep; an
    // animation's prompts frame by frame.
    let templated = job.sweep.is_some() || job.animation.is_some() || lacks_timed;
    let found = check::settings(&job.render).into_iter();
    found.filter(|e| !(templated && e.field == "prompt")).map(|e| e.under("render")).collect()
}

/// What is wrong with the sweep and with what is to be made of it.
fn check_sweep(
    job: &mut Job,
    limits: Limits,
    beside: &mut dyn Beside,
    left_out: &[String],
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut rewritten = false;
    let mut lost: Vec<String> = Vec::new();
    for out in left_out.iter().filter(|out| is_inside(out, "sweep")) {
        match out.strip_prefix("sweep.axes.") {
            Some(name) => lost.push(name.split('[').next().unwrap_or(name).to_owned()),
            // Without the rest of it nothing can be said of the sweep.
            None => return errors,
        }
    }
    if let Some(sweep) = &mut job.sweep {
        let prompt = sweep.prompt.clone();
        errors = sweep.write_out(&job.render.prompt, job.render.seed, beside);
        rewritten = sweep.prompt != prompt;
        if errors.iter().any(|error| !is_inside(&error.field, "sweep.axes")) {
            return errors;
        }
        let unread = sweep.axes.0.iter().filter(|(_, axis)| axis.len().is_none());
        lost.extend(unread.map(|(name, _)| name.clone()));
        stand_in(sweep, &lost);
    }
    let mut found = match Sweep::checked(job) {
        Ok(cells) => check_cells(job, &cells, limits),
        Err(found) => found,
    };
    if lost.is_empty() {
        found.extend(check_sheet(job));
    } else {
        // What is said of all axes together may be wrong for the lack of some.
        let own = |field: &str| field.starts_with("sweep.axes.") || field.ends_with(".prompt");
        found.retain(|error| own(&error.field));
    }
    if rewritten {
        // It is not the text that stands in the file.
        found.iter_mut().for_each(|error| error.at = None);
    }
    errors.extend(found);
    errors
}

/// Puts something in the place of axes whose values are not known, so that the others can be
/// judged.
fn stand_in(sweep: &mut SweepSpec, lost: &[String]) {
    sweep.axes.0.retain(|(name, _)| !lost.contains(name));
    for name in lost.iter().filter(|name| !fields::is_field(name)) {
        sweep.axes.0.push((name.clone(), Axis::List(vec![name.as_str().into()])));
    }
}

/// What is wrong with the contact sheet, for the axes that there are.
fn check_sheet(job: &Job) -> Vec<FieldError> {
    let axes = job.sweep.iter().flat_map(|sweep| &sweep.axes.0);
    let axes: Vec<&str> = axes.map(|(name, _)| name.as_str()).collect();
    let found = job.output.contact_sheet.check(&axes).into_iter();
    found.map(|error| error.under("output.contact_sheet")).collect()
}

fn check_cells(job: &Job, cells: &Sweep, limits: Limits) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if cells.len() > limits.cells {
        let message =
            format!("{} cells are more than the {} allowed here", cells.len(), limits.cells);
        errors.push(FieldError::new("sweep", message));
    }
    if let Some(early_stop) = job.early_stop() {
        errors.extend(early_stop.check(cells, job.render.iterations));
    }
    errors
}

/// Whether a field is `outer` or lies in it.
fn is_inside(field: &str, outer: &str) -> bool {
    field.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
