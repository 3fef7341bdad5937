//! The App on the screen: where things lie, and one file for each.

mod dialog;
mod jobs;
mod lines;
mod logs;
mod map;
mod workers;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};
use ratatui_image::Image;

use super::app::App;
pub use map::area as map_area;

/// The smallest screen on which there is something to be seen.
const LEAST: (u16, u16) = (60, 16);
/// Lines that a key scrolls the logs by.
pub const PAGE: usize = 5;

/// Where things lie.
pub struct Panes {
    head: Rect,
    jobs: Rect,
    workers: Rect,
    /// Only where pictures are shown.
    pub preview: Option<Rect>,
    pub map: Rect,
    logs: Rect,
    foot: Rect,
}

pub fn panes(area: Rect, images: bool) -> Panes {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(area);
    let [upper, lower] = Layout::vertical([Constraint::Fill(14), Constraint::Fill(8)]).areas(body);
    let wide = if images { area.width * 2 / 5 } else { 0 };
    let [lists, preview] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(wide)]).areas(upper);
    let [jobs, workers] = Layout::vertical([Constraint::Fill(9), Constraint::Fill(5)]).areas(lists);
    let [map, logs] = Layout::horizontal([Constraint::Fill(2), Constraint::Fill(3)]).areas(lower);
    Panes { head, jobs, workers, preview: images.then_some(preview), map, logs, foot }
}

/// What a frame around an area leaves.
pub fn inside(area: Rect) -> Rect {
    Block::bordered().inner(area)
}

pub fn draw(app: &App, frame: &mut Frame) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let (width, height) = LEAST;
        let text = format!(
            "{} × {} is too small: top needs {width} columns and {height} lines. q quits.",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Default::default()), area);
        return;
    }
    let panes = panes(area, app.images);
    lines::head(app, frame, panes.head);
    jobs::draw(app, frame, panes.jobs);
    workers::draw(app, frame, panes.workers);
    if let Some(area) = panes.preview {
        preview(app, frame, area);
    }
    map::draw(app, frame, panes.map);
    logs::draw(app, frame, panes.logs);
    lines::foot(app, frame, panes.foot);
    if let Some(dialog) = &app.dialog {
        dialog::draw(dialog, frame, area);
    }
}

/// The newest frame of the chosen job, in the middle. A picture would lie over a dialog.
fn preview(app: &App, frame: &mut Frame, area: Rect) {
    let picture = app.picture_shown();
    let title = picture.map_or("newest frame", |picture| picture.path.as_str());
    frame.render_widget(pane(title, false), area);
    let room = inside(area);
    match picture {
        Some(picture) if app.dialog.is_none() => {
            let size = picture.shown.size();
            let middle = room.centered(
                Constraint::Length(size.width.min(room.width)),
                Constraint::Length(size.height.min(room.height)),
            );
            frame.render_widget(Image::new(&picture.shown), middle);
        }
        Some(_) => (),
        None => note(frame, room, "no frame yet"),
    }
}

/// A frame with a title; a bright one has the focus.
fn pane<'a>(title: impl Into<Line<'a>>, focus: bool) -> Block<'a> {
    let title = title.into();
    match focus {
        true => Block::bordered().border_style(accent()).title(title.bold()),
        false => Block::bordered().border_style(faint()).title(title),
    }
}

/// What is said where there is nothing to be shown.
fn note(frame: &mut Frame, area: Rect, text: &str) {
    frame.render_widget(Paragraph::new(text).style(faint()).wrap(Default::default()), area);
}

fn over(frame: &mut Frame, area: Rect, width: u16, height: u16) -> Rect {
    let area = area.centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, area);
    area
}

fn accent() -> Style {
    Style::new().fg(Color::Cyan)
}

fn faint() -> Style {
    Style::new().fg(Color::DarkGray)
}

fn good() -> Style {
    Style::new().fg(Color::Green)
}

fn warning() -> Style {
    Style::new().fg(Color::Yellow)
}

fn error() -> Style {
    Style::new().fg(Color::Red).bold()
}

/// The chosen row of a list.
fn chosen(focus: bool) -> Style {
    if focus { Style::new().reversed() } else { Style::new().bold() }
}

/// The colour of a state, by its word.
fn state(word: &str) -> Style {
    match word {
        "running" | "working" | "busy" | "done" => good(),
        "paused" | "waiting" | "draining" => warning(),
        "failed" | "lost" | "unwell" => error(),
        "cancelled" | "idle" => faint(),
        _ => Style::new(),
    }
}
