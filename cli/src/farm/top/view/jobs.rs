//! The list of jobs.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Span;
use ratatui::widgets::{Row, Table, TableState};
use vqfarm_proto::v1::Job;

use super::super::app::{App, Focus};
use super::{chosen, error, faint, inside, note, pane, state};
use crate::farm::show;

/// From this width on there are more columns.
const WIDE: u16 = 66;

pub fn draw(app: &App, frame: &mut Frame, area: Rect) {
    let focus = app.focus == Focus::Jobs;
    let jobs = &app.overview.jobs;
    let title = match app.job_row() {
        Some(row) => format!("jobs {}/{}", row + 1, jobs.len()),
        None => "jobs".into(),
    };
    let block = pane(title, focus);
    if jobs.is_empty() {
        frame.render_widget(block, area);
        note(frame, inside(area), "none yet; submit one: vqfarm submit JOB.toml");
        return;
    }
    let wide = area.width >= WIDE;
    let rows = jobs.iter().map(|job| row(job, wide));
    let table = Table::new(rows, widths(wide))
        .header(heads(wide))
        .row_highlight_style(chosen(focus))
        .block(block);
    let mut at = TableState::new().with_selected(app.job_row());
    frame.render_stateful_widget(table, area, &mut at);
}

fn heads(wide: bool) -> Row<'static> {
    let heads: &[&str] = match wide {
        true => &["ID", "NAME", "USER", "PRIO", "STATE", "DONE", "%", "FAILED"],
        false => &["ID", "NAME", "PRIO", "STATE", "%", "FAILED"],
    };
    Row::new(heads.iter().map(|head| Span::raw(*head))).style(faint())
}

fn widths(wide: bool) -> Vec<Constraint> {
    let (id, name, user) = (Constraint::Length(8), Constraint::Fill(1), Constraint::Length(8));
    let (priority, state, done) =
        (Constraint::Length(4), Constraint::Length(9), Constraint::Length(11));
    let (percent, failed) = (Constraint::Length(4), Constraint::Length(6));
    match wide {
        true => vec![id, name, user, priority, state, done, percent, failed],
        false => vec![id, name, priority, state, percent, failed],
    }
}

fn row(job: &Job, wide: bool) -> Row<'_> {
    let total = job.total();
    let percent = (total.done * 100).checked_div(total.tasks).unwrap_or(100);
    let word = job.state().word();
    let id = Span::raw(show::short(&job.id));
    let name = Span::raw(job.name.as_str());
    let user = Span::raw(job.user.as_str());
    let priority = Span::raw(format!("{:>4}", job.priority));
    let done = Span::raw(format!("{}/{}", total.done, total.tasks));
    let state = Span::styled(word, state(word));
    let percent = Span::raw(format!("{percent:>3}%"));
    let failed = match total.failed {
        0 => Span::raw("-"),
        n => Span::styled(n.to_string(), error()),
    };
    Row::new(match wide {
        true => vec![id, name, user, priority, state, done, percent, failed],
        false => vec![id, name, priority, state, percent, failed],
    })
}
