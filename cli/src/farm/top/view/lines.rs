//! The line at the top, which says how the farm is, and the one at the bottom, which says what
//! happened last or what to press.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};

use super::super::app::{App, Focus, Link};
use super::{error, faint, good, state, warning};
use crate::farm::show;

pub fn head(app: &App, frame: &mut Frame, area: Rect) {
    let status = &app.overview.status;
    let mut line = Line::default();
    match &app.link {
        Link::Up => {
            line.push_span(Span::styled(status.word.to_uppercase(), state(&status.word).bold()))
        }
        Link::Down { since, reason } => {
            line.push_span(Span::styled("RECONNECTING", warning().bold()));
            line.push_span(format!(" no answer for {since}: {reason}"));
            frame.render_widget(line, area);
            return;
        }
    }
    line.push_span(format!(" {} ", status.farm).bold());
    line.push_span(Span::styled(facts(app).join(" · "), faint()));
    frame.render_widget(line, area);
}

fn facts(app: &App) -> Vec<String> {
    let status = &app.overview.status;
    let tasks = status.tasks.unwrap_or_default();
    let waiting = tasks.ready + tasks.blocked + tasks.delayed;
    let mut facts = vec![format!("{} running, {waiting} waiting", tasks.leased)];
    if tasks.failed > 0 {
        facts.push(format!("{} failed", tasks.failed));
    }
    if status.frames_an_hour > 0.0 {
        facts.push(format!("{} frames/h", show::grouped(status.frames_an_hour.round() as u64)));
    }
    if status.seconds_left > 0 {
        facts.push(format!("{} left", show::span(Duration::from_secs(status.seconds_left))));
    }
    facts.extend(
        status.health.iter().filter(|h| !h.well).map(|h| format!("{} unwell: {}", h.part, h.text)),
    );
    facts
}

pub fn foot(app: &App, frame: &mut Frame, area: Rect) {
    let line = match &app.notice {
        Some(notice) => {
            let style = if notice.bad { error() } else { good() };
            Line::styled(notice.text.as_str(), style)
        }
        None => hints(app.focus),
    };
    frame.render_widget(line, area);
}

/// The keys that matter most here.
fn hints(focus: Focus) -> Line<'static> {
    let keys: &[(&str, &str)] = match focus {
        Focus::Jobs => &[
            ("?", "help"),
            ("↑↓", "job"),
            ("Tab", "workers"),
            ("p", "pause"),
            ("c", "cancel"),
            ("+-", "priority"),
            ("q", "quit"),
        ],
        Focus::Workers => {
            &[("?", "help"), ("↑↓", "worker"), ("Tab", "jobs"), ("d", "drain"), ("q", "quit")]
        }
    };
    let spans = keys.iter().flat_map(|(key, does)| {
        [Span::raw(*key).bold(), Span::styled(format!(" {does}  "), faint())]
    });
    spans.collect()
}
