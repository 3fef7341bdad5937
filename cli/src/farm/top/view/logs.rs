//! What was logged last of the chosen job, or by the chosen worker.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use vqfarm_proto::v1::Log;

use super::super::app::{App, Focus};
use super::{accent, error, inside, note, pane, warning};
use crate::farm::show;

pub fn draw(app: &App, frame: &mut Frame, area: Rect) {
    let of = match app.focus {
        Focus::Jobs => app.job().map(|job| job.name.as_str()),
        Focus::Workers => app.worker().map(|worker| worker.id.as_str()),
    };
    let mut title = of.map_or("logs".into(), |name| format!("logs of {name}"));
    if app.scroll > 0 {
        title += ", earlier";
    }
    frame.render_widget(pane(title, false), area);
    let area = inside(area);
    let logs = app.logs_shown();
    if logs.is_empty() {
        note(frame, area, "none yet: a log is stored when its attempt ends");
        return;
    }
    let lines: Vec<Line> =
        logs.iter().flat_map(|log| lines(log, usize::from(area.width))).collect();
    let high = usize::from(area.height);
    let most = lines.len().saturating_sub(high);
    let first = most - app.scroll.min(most);
    let seen: Vec<Line> = lines.into_iter().skip(first).take(high).collect();
    frame.render_widget(Paragraph::new(seen), area);
}

/// A head and the lines of an attempt, wrapped.
fn lines(log: &Log, wide: usize) -> Vec<Line<'static>> {
    let head = format!("{} {}, attempt {}", log.layer, log.index, log.attempt);
    let mut lines = vec![Line::styled(head, accent())];
    // Colours of a program that a worker ran would be read as letters.
    let text = anstream::adapter::strip_str(&log.text).to_string();
    for line in text.lines() {
        let line = without_day(line);
        let style = match line.split_whitespace().nth(1) {
            Some("error") => error(),
            Some("warn") => warning(),
            _ => Default::default(),
        };
        lines.extend(show::wrap(line, wide).into_iter().map(|line| Line::styled(line, style)));
    }
    lines
}

/// A line that begins with a time of day in place of a whole date.
fn without_day(line: &str) -> &str {
    match line.split_once('T') {
        Some((day, rest))
            if day.len() == 10 && day.bytes().all(|b| b.is_ascii_digit() || b == b'-') =>
        {
            rest
        }
        _ => line,
    }
}
