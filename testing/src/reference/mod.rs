//! The pages of `docs/reference/`, which are made of the code and must say what it says.

mod commands;
mod metrics;

use std::fs;

pub use self::commands::commands;
pub use self::metrics::told_in;
use crate::documents;

/// Holds a file of `docs/reference/` against what the code says now. With `UPDATE_REFERENCE` set,
/// as `make reference` does, it is written instead.
///
/// # Panics
/// The file is not what the code says, or cannot be written.
pub fn hold(file: &str, says: &str) {
    let path = documents::root().join("docs/reference").join(file);
    if std::env::var_os("UPDATE_REFERENCE").is_some_and(|set| !set.is_empty()) {
        fs::write(&path, says).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, written, says)) = first_difference(&written, says) {
        panic!(
            "docs/reference/{file} is not what the code says; run `make reference`\n\
             line {line} is    {written}\nand should be {says}"
        );
    }
}

/// The number of the first line in which two texts differ, and that line of each.
fn first_difference<'a>(one: &'a str, other: &'a str) -> Option<(usize, &'a str, &'a str)> {
    if one == other {
        return None;
    }
    let same = one.lines().zip(other.lines()).take_while(|(one, other)| one == other).count();
    let line = |text: &'a str| text.lines().nth(same).unwrap_or("(the end)");
    Some((same + 1, line(one), line(other)))
}

/// A page's beginning.
pub fn head(title: &str) -> String {
    format!(
        "<!-- Made of the code by `make reference`; what is changed here is lost. -->\n\n# {title}\n"
    )
}

/// A table; what stands in its cells may hold bars.
pub fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: [String; N]| {
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(N));
    let rows = rows.into_iter().map(line);
    [line(head.map(str::to_owned)), rule].into_iter().chain(rows).collect()
}

/// Text as Markdown that shows it as it is; what stands between backticks is code already.
pub fn plain(text: &str) -> String {
    let escaped = |(n, part): (usize, &str)| match n % 2 {
        0 => part.replace('<', "\\<").replace('*', "\\*"),
        _ => format!("`{part}`"),
    };
    text.split('`').enumerate().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_told() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some((2, "b", "c")));
        assert_eq!(first_difference("a\n", "a\nc\n"), Some((2, "(the end)", "c")));
    }

    #[test]
    fn a_cell_may_hold_anything() {
        let rows = [["a|b".to_owned(), plain("jobs/<id>, `<id>` and *")]];
        let text = table(["one", "other"], rows);
        let expected = "| one | other |\n|---|---|\n| a\\|b | jobs/\\<id>, `<id>` and \\* |\n";
        assert_eq!(text, expected);
    }
}
