//! What a search tells: progress, then a table or JSON.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value, json};
use vqfarm_core::event::Event;
use vqfarm_core::search::Found;

use super::pictures::{Frame, Pictures};
use crate::failure::Failure;
use crate::farm::show::{Rows, count, json_lines};

/// A bar on standard error, where that is a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let bar = ProgressBar::new(0);
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("  pictures     {bar:24} {pos}/{len}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Looked { done, of } => {
                self.0.set_length(*of);
                self.0.set_position(*done);
            }
            Event::Warning { message } => self.0.suspend(|| super::warn(message)),
            _ => (),
        }
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// The result: pictures to standard output, the rest to standard error.
pub fn tell(pictures: &Pictures, found: &Found, json: bool) -> Result<ExitCode, Failure> {
    let best =
        found.best.iter().zip(1..).filter_map(|(found, place)| {
            Some((place, found.score, pictures.all.get(found.picture)?))
        });
    if json {
        json_lines(best.map(|(place, score, picture)| {
            let mut line = json!({ "place": place, "score": score, "path": picture.name });
            if let Some(Frame { index, prompt, axes }) = &picture.frame {
                let axes: Map<String, Value> = axes.iter().cloned().collect();
                line["frame"] = (*index).into();
                line["prompt"] = prompt.as_str().into();
                line["axes"] = axes.into();
            }
            line
        }))?;
    } else {
        let frames = pictures.all.iter().any(|picture| picture.frame.is_some());
        let heads = ["#", "#score", "picture", "~prompt"];
        let mut rows = Rows::new(if frames { &heads } else { &heads[..3] });
        for (place, score, picture) in best {
            let prompt = picture.frame.as_ref().map_or("", |frame| frame.prompt.as_str());
            let name = picture.name.clone();
            rows.add([
                place.to_string(),
                format!("{score:.3}"),
                printable(&name),
                printable(prompt),
            ]);
        }
        rows.print()?;
    }
    let unreadable = match found.unreadable {
        0 => String::new(),
        unreadable => format!(", {unreadable} could not be read"),
    };
    let best = found.best.len();
    anstream::eprintln!("the best {best} of {}{unreadable}", count(found.looked, "picture"));
    for sheet in &found.sheets {
        anstream::eprintln!("contact sheet {sheet}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Without what a terminal would take for a command.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
