//! Which metrics a program's sources tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The names in calls of `counter!`, `gauge!` and `histogram!` in Rust files below a folder, each
/// with the names of its labels.
///
/// # Panics
/// The folder cannot be read.
pub fn told_in(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut told = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the sources can be read") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            told.extend(told_in(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            told.extend(told_by(&fs::read_to_string(&path).expect("the sources can be read")));
        }
    }
    told
}

fn told_by(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let calls = ["counter!(", "gauge!(", "histogram!("].into_iter().flat_map(|call| {
        let at = source.match_indices(call);
        at.map(move |(at, _)| (at, &source[at + call.len()..]))
    });
    let own = calls.filter(|(at, _)| !source[..*at].ends_with("describe_"));
    own.filter_map(|(_, rest)| {
        let arguments = &rest[..closing(rest)];
        let name = arguments.split('"').nth(1)?.to_owned();
        // A label stands before an arrow.
        let (before, _) = arguments.rsplit_once("=>").unwrap_or_default();
        let labels = before.split("=>").filter_map(|piece| piece.rsplit('"').nth(1));
        Some((name, labels.map(str::to_owned).collect()))
    })
    .collect()
}

/// Where the bracket closes that was opened before `rest`.
fn closing(rest: &str) -> usize {
    let mut depth = 1;
    let closes = |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => (),
        }
        depth == 0
    };
    rest.find(closes).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_read() {
        let source = "describe_counter!(\"not\", \"this\");
            metrics::gauge!(\"depth\", \"job\" => job.short(),\n \"layer\" => layer).set(1.0);
            counter!(\"seen\").increment(1);";
        let told = told_by(source);
        let labels = |name: &str| told[name].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(told.len(), 2);
        assert_eq!(labels("seen"), [""; 0]);
        assert_eq!(labels("depth"), ["job", "layer"]);
    }
}
