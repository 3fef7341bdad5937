//! Which combinations are wanted: `where = "style != 'dots' or seed < 3"`.

use serde_json::Value;

/// Deeper nesting of parentheses and `not` than anybody means.
const MAX_DEPTH: usize = 32;

/// A condition on a cell's values; axes are named by their place in the list of axes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Relation, Operand),
    In(Operand, Vec<Operand>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Axis(usize, String),
    Number(f64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// Longer marks first.
const RELATIONS: [(&str, Relation); 6] = [
    ("==", Relation::Equal),
    ("!=", Relation::Unequal),
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Less),
    (">", Relation::More),
];

impl Condition {
    /// Reads a condition on axes of these names.
    ///
    /// # Errors
    /// Says what is wrong: the syntax, a name that is no axis's.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, names };
        let condition = parser.any(0)?;
        parser.skip();
        if parser.at < text.len() {
            return Err(parser.unexpected("`and`, `or` or the end"));
        }
        Ok(condition)
    }

    /// Whether it holds where `value` says what each axis has.
    ///
    /// # Errors
    /// A number and a text have no order, nor have lists and tables.
    pub fn holds(&self, value: &impl Fn(usize) -> Value) -> Result<bool, String> {
        match self {
            Self::Any(parts) => {
                parts.iter().try_fold(false, |any, part| Ok(any || part.holds(value)?))
            }
            Self::All(parts) => {
                parts.iter().try_fold(true, |all, part| Ok(all && part.holds(value)?))
            }
            Self::Not(part) => Ok(!part.holds(value)?),
            Self::In(operand, list) => {
                let found = operand.value(value);
                Ok(list.iter().any(|other| same(&found, &other.value(value))))
            }
            Self::Compare(left, relation, right) => {
                let (a, b) = (left.value(value), right.value(value));
                let order = || match (a.as_f64(), b.as_f64(), a.as_str(), b.as_str()) {
                    (Some(a), Some(b), ..) => Ok(a.total_cmp(&b)),
                    (.., Some(a), Some(b)) => Ok(a.cmp(b)),
                    _ => Err(format!("{a} and {b} have no order; numbers have, and texts")),
                };
                Ok(match relation {
                    Relation::Equal => same(&a, &b),
                    Relation::Unequal => !same(&a, &b),
                    Relation::Less => order()?.is_lt(),
                    Relation::AtMost => order()?.is_le(),
                    Relation::More => order()?.is_gt(),
                    Relation::AtLeast => order()?.is_ge(),
                })
            }
        }
    }
}

impl Operand {
    fn value(&self, value: &impl Fn(usize) -> Value) -> Value {
        match self {
            Self::Axis(axis, _) => value(*axis),
            Self::Number(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_str()),
        }
    }
}

/// Numbers are the same by what they say, 1 and 1.0 too.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, mark: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(mark);
        self.at += if found { mark.len() } else { 0 };
        found
    }

    /// The name at this place, which is left where it is.
    fn word(&mut self) -> &'a str {
        self.skip();
        let end = self.rest().find(|c: char| !(c.is_alphanumeric() || "_.-".contains(c)));
        &self.rest()[..end.unwrap_or(self.rest().len())]
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.word() == word;
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest().chars().next() {
            Some(c) => {
                let place = self.text[..self.at].chars().count() + 1;
                format!("`where` has `{c}` at character {place} where {wanted} should be")
            }
            None => format!("`where` ends where {wanted} should be"),
        }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut parts = vec![self.one(depth)?];
        while self.take_word("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth == MAX_DEPTH {
            return Err(format!("`where` nests deeper than {MAX_DEPTH}"));
        }
        if self.take_word("not") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            if !self.take(")") {
                return Err(self.unexpected("`)`"));
            }
            return Ok(inner);
        }
        let left = self.operand()?;
        if self.take_word("in") {
            return Ok(Condition::In(left, self.list()?));
        }
        self.skip();
        let relation = RELATIONS.iter().find(|(mark, _)| self.take(mark));
        let Some((_, relation)) = relation else {
            return Err(self.unexpected("a comparison (==, !=, <, <=, >, >=, in)"));
        };
        Ok(Condition::Compare(left, *relation, self.operand()?))
    }

    fn list(&mut self) -> Result<Vec<Operand>, String> {
        if !self.take("[") {
            return Err(self.unexpected("`[`"));
        }
        let mut list = vec![self.operand()?];
        while self.take(",") {
            list.push(self.operand()?);
        }
        if !self.take("]") {
            return Err(self.unexpected("`,` or `]`"));
        }
        Ok(list)
    }

    fn operand(&mut self) -> Result<Operand, String> {
        for quote in ["'", "\""] {
            if self.take(quote) {
                let Some((text, _)) = self.rest().split_once(quote) else {
                    return Err(format!("`where` has a {quote} without its partner"));
                };
                self.at += text.len() + 1;
                return Ok(Operand::Text(text.to_owned()));
            }
        }
        let word = self.word();
        // A name may be a number's letters (`1e3` is a number, though).
        if let Some(axis) = self.names.iter().position(|name| *name == word) {
            self.at += word.len();
            return Ok(Operand::Axis(axis, word.to_owned()));
        }
        let end = self.rest().find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let number = &self.rest()[..end.unwrap_or(self.rest().len())];
        if let Some(found) = number.parse().ok().filter(|n: &f64| n.is_finite()) {
            self.at += number.len();
            return Ok(Operand::Number(found));
        }
        if word.is_empty() {
            return Err(self.unexpected("an axis, a number or a text in quotes"));
        }
        let near = crate::nearest::nearest(word, self.names.iter().copied());
        let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(format!("`where` names `{word}`, which is not an axis (texts go in quotes){help}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: [&str; 3] = ["style", "seed", "cutouts.count"];

    fn holds(text: &str) -> Result<bool, String> {
        let values = [json!("dots"), json!(3), json!(16)];
        Condition::parse(text, &NAMES)?.holds(&|axis| values[axis].clone())
    }

    #[test]
    fn conditions_hold_or_not() {
        let table = [
            ("style == 'dots'", true),
            ("style != \"dots\"", false),
            ("seed < 3", false),
            ("seed <= 3 and cutouts.count > 15.5", true),
            ("seed == 3.0", true),
            ("seed == '3'", false),
            ("style in ['flat', 'dots']", true),
            ("not style in ['flat']", true),
            ("seed > 5 or style == 'dots' and seed >= 3", true),
            ("(seed > 5 or style == 'dots') and seed > 3", false),
            ("not (seed == 3)", false),
            ("-1 < seed", true),
            ("style < 'e'", true),
        ];
        for (text, expected) in table {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            (
                "stile == 'dots'",
                "`where` names `stile`, which is not an axis (texts go in quotes); did you mean `style`?",
            ),
            ("style == dots", "`where` names `dots`, which is not an axis (texts go in quotes)"),
            (
                "style = 'dots'",
                "`where` has `=` at character 7 where a comparison (==, !=, <, <=, >, >=, in) should be",
            ),
            ("style == 'dots", "`where` has a ' without its partner"),
            ("seed in 3", "`where` has `3` at character 9 where `[` should be"),
            ("(seed == 3", "`where` ends where `)` should be"),
            (
                "seed == 3 seed",
                "`where` has `s` at character 11 where `and`, `or` or the end should be",
            ),
            ("", "`where` ends where an axis, a number or a text in quotes should be"),
            ("style < 3", "\"dots\" and 3.0 have no order; numbers have, and texts"),
        ];
        for (text, message) in table {
            assert_eq!(holds(text), Err(message.to_owned()), "{text}");
        }
        let deep = format!("{}seed == 3{}", "(".repeat(40), ")".repeat(40));
        assert!(holds(&deep).unwrap_err().contains("deeper than"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z'\"()\\[\\],<=>!0-9. é-]{0,40}|(style|seed| |==|<|3|'a'|and|or|not|\\(|\\)){0,12}") {
            let _ = holds(&text);
        }
    }
}
