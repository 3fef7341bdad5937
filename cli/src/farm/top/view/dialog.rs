//! What lies over everything else: the help, a question.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Stylize;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Padding, Paragraph, Wrap};

use super::super::app::Dialog;
use super::super::keys::BINDINGS;
use super::{over, pane};

/// Columns of a question.
const WIDE: u16 = 54;

pub fn draw(dialog: &Dialog, frame: &mut Frame, area: Rect) {
    match dialog {
        Dialog::Help => {
            let line = |(keys, does): (&'static str, &'static str)| {
                Line::from_iter([Span::raw(format!("{keys:<6}")).bold(), Span::raw(does)])
            };
            let lines: Vec<Line> =
                BINDINGS.iter().map(|binding| line((binding.shown, binding.does))).collect();
            // Two lines are the frame.
            let area = over(frame, area, WIDE, lines.len() as u16 + 2);
            let block = pane("keys (any closes)", true).padding(Padding::horizontal(1));
            frame.render_widget(Paragraph::new(lines).block(block), area);
        }
        Dialog::Confirm { question, .. } => {
            let area = over(frame, area, WIDE, 6);
            let text = format!("{question}\n\ny: yes, any other key: no");
            let block = pane("sure?", true).padding(Padding::horizontal(1));
            let text = Paragraph::new(text).wrap(Wrap { trim: true }).block(block);
            frame.render_widget(text, area);
        }
    }
}
