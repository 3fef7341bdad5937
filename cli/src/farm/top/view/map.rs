//! The heat map: which tasks of a layer are done, running, failed; and why others wait.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use vqfarm_proto::v1::TaskMapPart;

use super::super::app::App;
use super::{error, faint, good, inside, note, pane, warning};

/// Lines below the map that say what waits and why.
const REASONS: u16 = 2;

/// Where the map itself lies in its pane.
pub fn area(pane: Rect) -> Rect {
    rows(pane)[0]
}

fn rows(pane: Rect) -> [Rect; 2] {
    Layout::vertical([Constraint::Fill(1), Constraint::Length(REASONS)]).areas(inside(pane))
}

pub fn draw(app: &App, frame: &mut Frame, area: Rect) {
    let Some(job) = app.job() else {
        frame.render_widget(pane("tasks", false), area);
        return;
    };
    let shown = app.layer_shown();
    let at = job.layers.iter().position(|layer| layer.name == shown).unwrap_or(0);
    let counts = job.layers.get(at).and_then(|layer| layer.counts).unwrap_or_default();
    let layers = match job.layers.len() {
        1 => String::new(),
        all => format!(" ←{}/{all}→", at + 1),
    };
    let title = format!("{shown} {}/{}{layers}", counts.done, counts.tasks);
    let legend = Line::from_iter([
        Span::styled("█done ", good()),
        Span::styled("▶run ", warning()),
        Span::styled("!failed ", error()),
        Span::styled("·wait", faint()),
    ]);
    frame.render_widget(pane(title, false).title_bottom(legend), area);
    let [map, reasons] = rows(area);
    match app.map_shown() {
        Some(found) => {
            let cells: Vec<Span> = found.parts.iter().map(cell).collect();
            let lines: Vec<Line> = cells
                .chunks(usize::from(map.width.max(1)))
                .map(|row| Line::from(row.to_vec()))
                .collect();
            frame.render_widget(Paragraph::new(lines), map);
        }
        None => note(frame, map, "…"),
    }
    // What runs is no trouble.
    let waiting = app.reasons_shown().iter().find(|reason| reason.kind != "running");
    if let Some(reason) = waiting {
        let text = Paragraph::new(reason.text.as_str()).style(faint());
        frame.render_widget(text.wrap(Wrap { trim: true }), reasons);
    }
}

/// One part: trouble shows however small it is, then what is going on, then how much is done.
fn cell(part: &TaskMapPart) -> Span<'static> {
    let TaskMapPart { tasks, done, leased, delayed, failed } = *part;
    let (symbol, style): (&str, Style) = if failed > 0 {
        ("!", error())
    } else if delayed > 0 {
        ("~", warning().bold())
    } else if leased > 0 {
        ("▶", warning())
    } else if done >= tasks {
        ("█", good())
    } else if done * 2 >= tasks {
        ("▓", good())
    } else if done > 0 {
        ("░", good())
    } else {
        ("·", faint())
    };
    Span::styled(symbol, style)
}
