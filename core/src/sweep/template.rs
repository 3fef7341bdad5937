//! Prompt templates: `{name}` stands for an axis's value, `{{` and `}}` for braces.

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Axis(String),
}

/// A prompt with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// # Errors
    /// A brace without its partner, or something in braces that cannot be an axis's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err("`}` without a `{` before it; write `}}` for the brace itself".into());
            }
            let Some((name, after)) = rest.split_once('}') else {
                return Err("`{` without a `}` after it; write `{{` for the brace itself".into());
            };
            let usable = |c: char| c.is_alphanumeric() || "_.-".contains(c);
            if name.is_empty() || !name.chars().all(usable) {
                return Err(format!(
                    "`{{{name}}}` does not name an axis; write `{{{{` for the brace itself"
                ));
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Axis(name.to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The names in braces.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Axis(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with each name replaced by what `value` says; names it knows nothing of vanish.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Axis(name) => value(name).unwrap_or_default(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        Ok(Template::parse(text)?.fill(|name| Some(format!("<{name}>"))))
    }

    #[test]
    fn names_are_filled_and_doubled_braces_stay() {
        assert_eq!(fill("{a}, in {b-2} | x").unwrap(), "<a>, in <b-2> | x");
        assert_eq!(fill("{{a}} {{{a}}}").unwrap(), "{a} {<a>}");
        assert_eq!(fill("é{a}").unwrap(), "é<a>");
    }

    #[test]
    fn stray_braces_are_refused() {
        for bad in ["{", "a}", "{a", "{}", "{a|b}", "{a{b}}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
