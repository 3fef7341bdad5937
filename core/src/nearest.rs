//! The known name that a mistyped one was meant to be.

/// The name most like `typed`, when one is like it at all.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler favours a common beginning, as typing mistakes do.
    let alike = |name: &str| strsim::jaro_winkler(&typed.to_lowercase(), &name.to_lowercase());
    known
        .into_iter()
        .map(|name| (alike(name), name))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
