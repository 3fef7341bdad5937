//! How mistakes in files are shown: the line, a mark under the very words, the remedy; for
//! programs as JSON.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};
use vqfarm_core::file::{MAX_PROBLEMS, Place, Problem};

use crate::farm::show;

/// All of them, coloured, with how many they are where they are several.
pub fn rendered(problems: &[Problem]) -> String {
    // Where nobody looks lines are as long as annotate-snippets has them.
    let width = show::terminal_width().unwrap_or(140);
    let renderer = Renderer::styled().hyperlink(false).term_width(width);
    let mut texts: Vec<String> =
        problems.iter().map(|problem| renderer.render(&[group(problem)])).collect();
    match problems.len() {
        0 | 1 => (),
        MAX_PROBLEMS => texts.push(format!("the first {MAX_PROBLEMS} mistakes are shown")),
        several => texts.push(format!("{several} mistakes")),
    }
    texts.join("\n\n")
}

fn group(problem: &Problem) -> Group<'_> {
    let field = match problem.field.as_str() {
        "" => String::new(),
        field => format!("{field}: "),
    };
    let group = match &problem.place {
        Some(place) => {
            let title = format!("{field}{}", problem.message);
            Group::with_title(Level::ERROR.primary_title(title)).element(
                Snippet::source(place.text.as_str())
                    .line_start(place.line)
                    .path(problem.source.as_str())
                    .annotation(AnnotationKind::Primary.span(span(place))),
            )
        }
        None => {
            let title = format!("{}: {field}{}", problem.source, problem.message);
            Group::with_title(Level::ERROR.primary_title(title))
        }
    };
    match &problem.help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// The bytes of the line that are meant.
fn span(place: &Place) -> std::ops::Range<usize> {
    let offset = |characters: usize| {
        place.text.char_indices().nth(characters).map_or(place.text.len(), |(at, _)| at)
    };
    let start = place.column - 1;
    offset(start)..offset(start + place.width)
}

/// One object each. `file` is the flag where a flag was wrong; lines and columns count from 1.
pub fn as_json(problem: &Problem) -> Value {
    json!({
        "type": "error",
        "kind": "usage",
        "file": problem.source,
        "line": problem.place.as_ref().map(|place| place.line),
        "column": problem.place.as_ref().map(|place| place.column),
        "field": problem.field,
        "message": problem.message,
        "help": problem.help,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, marked: &str) -> String {
        let start = text.find(marked).unwrap();
        let problem = Problem {
            source: "job.toml".into(),
            field: "name".into(),
            message: "no".into(),
            help: None,
            place: Some(Place::of(text, &(start..start + marked.len()))),
        };
        anstream::adapter::strip_str(&rendered(&[problem])).to_string()
    }

    /// The column of the caret's line at which the marks begin, by the width of what is before.
    fn mark_is_under(shown: &str, marked: &str) {
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|line| line.contains('^')).unwrap();
        let (source, marks) = (lines[at - 1], lines[at]);
        let before = &source[..source.find(marked).unwrap()];
        let caret = marks.find('^').unwrap();
        assert_eq!(unicode_width(before), unicode_width(&marks[..caret]), "{shown}");
    }

    fn unicode_width(text: &str) -> usize {
        // Those of the tests: Han is two columns wide.
        text.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum()
    }

    #[test]
    fn marks_stand_under_wide_characters_and_tabs() {
        mark_is_under(&shown("name = \"月 ä\" # x", "# x"), "# x");
        mark_is_under(&shown("\t\tname = 3", "3"), "3");
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_mark() {
        let text = format!("name = [{}bad{}]", "1, ".repeat(50_000), ", 1".repeat(50_000));
        let shown = shown(&text, "bad");
        assert!(shown.len() < 2_000, "{} bytes", shown.len());
        assert!(shown.contains("bad") && shown.contains("^^^"), "{shown}");
    }

    #[test]
    fn what_steers_a_terminal_is_not_passed_on() {
        let shown = shown("name = \"\u{1b}]0;x\u{7}\" 3", "3");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7}'), "{shown:?}");
    }
}
