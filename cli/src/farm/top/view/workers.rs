//! The list of workers.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Span;
use ratatui::widgets::{Row, Table, TableState};
use vqfarm_proto::v1::Worker;

use super::super::app::{App, Focus};
use super::{chosen, faint, inside, note, pane, state};
use crate::farm::show;

pub fn draw(app: &App, frame: &mut Frame, area: Rect) {
    let focus = app.focus == Focus::Workers;
    let workers = &app.overview.workers;
    let title = match app.worker_row() {
        Some(row) => format!("workers {}/{}", row + 1, workers.len()),
        None => "workers".into(),
    };
    let block = pane(title, focus);
    if workers.is_empty() {
        frame.render_widget(block, area);
        note(frame, inside(area), "none; start one: vqfarm-worker run");
        return;
    }
    let heads = ["WORKER", "STATE", "TASKS", "MEMORY", "IN USE", "SEEN"];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(8),
        Constraint::Length(5),
        Constraint::Length(9),
        Constraint::Length(6),
        Constraint::Length(6),
    ];
    let rows = workers.iter().map(|worker| row(worker, app.overview.status.now));
    let table = Table::new(rows, widths)
        .header(Row::new(heads).style(faint()))
        .row_highlight_style(chosen(focus))
        .block(block);
    let mut at = TableState::new().with_selected(app.worker_row());
    frame.render_stateful_widget(table, area, &mut at);
}

fn row(worker: &Worker, now: i64) -> Row<'_> {
    let word = worker.state().word();
    let busy = worker.busy.map_or("-".into(), |share| format!("{:.0}%", share * 100.0));
    let silent = u64::try_from(now - worker.last_seen).unwrap_or(0);
    Row::new([
        Span::raw(worker.id.as_str()),
        Span::styled(word, state(word)),
        Span::raw(format!("{:>5}", worker.leased)),
        Span::raw(show::memory(worker.memory)),
        Span::raw(format!("{busy:>6}")),
        Span::raw(show::span(Duration::from_millis(silent))),
    ])
}
