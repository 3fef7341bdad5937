//! Variants in a prompt: `{a|b|c}`, `{0.5::a|2::b}`, `{2$$ and $$a|b|c}`, `__wildcard__`.
//!
//! The grammar is that of the dynamic prompts which other programs for pictures have.

use crate::rng::{Key, Purpose};

/// The most texts that the variants of one place may come to.
pub const MAX_TEXTS: usize = 10_000;
/// Braces in braces, and wildcards in wildcards.
const MAX_DEPTH: usize = 8;

/// One piece of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it is, with the placeholders of axes.
    Text(String),
    Choice(Choice),
    /// A line of the file of that name.
    Wildcard(String),
}

/// `{…}` with more than a name in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// How many of the options are taken, at least and at most.
    take: [usize; 2],
    /// What stands between them.
    joiner: String,
    options: Vec<(f64, Vec<Piece>)>,
}

/// A text that variants come to, and how likely it is beside the others.
pub type Weighed = (f64, String);

/// Splits a prompt at its variants.
///
/// # Errors
/// Says what is wrong: a brace without its partner, a weight or number that cannot be.
pub fn parse(text: &str) -> Result<Vec<Piece>, String> {
    Parser { rest: text }.pieces(0)
}

/// Whether there are variants in a prompt, or what was meant to be some and cannot be read.
pub fn are_in(text: &str) -> bool {
    parse(text).map_or(true, |pieces| pieces.iter().any(|piece| !matches!(piece, Piece::Text(_))))
}

/// What an axis of prompts must say to mean this very text, where a job's prompt would be read as
/// having variants.
pub fn escaped(text: &str) -> Option<String> {
    // A value of an axis has braces only.
    are_in(text).then(|| text.replace('{', "{{").replace('}', "}}"))
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// Up to the end, or to the `|` or `}` that ends an option.
    fn pieces(&mut self, depth: usize) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        while let Some(next) = self.rest.chars().next() {
            let doubled = |c: char| self.rest.strip_prefix(c).is_some_and(|r| r.starts_with(c));
            match next {
                '{' | '}' if doubled(next) => {
                    plain.push_str(&self.rest[..2]);
                    self.rest = &self.rest[2..];
                }
                '|' | '}' if depth > 0 => break,
                '{' => match placeholder(self.rest) {
                    Some(name) if depth == 0 => {
                        plain.push_str(name);
                        self.rest = &self.rest[name.len()..];
                    }
                    Some(name) => {
                        return Err(format!(
                            "{name} stands inside of a variant, where no axis can"
                        ));
                    }
                    None => {
                        self.rest = &self.rest[1..];
                        let choice = self.choice(depth + 1)?;
                        push(&mut pieces, &mut plain, Piece::Choice(choice));
                    }
                },
                other => match wildcard(self.rest) {
                    Some((name, rest)) => {
                        push(&mut pieces, &mut plain, Piece::Wildcard(name.to_owned()));
                        self.rest = rest;
                    }
                    None => {
                        plain.push(other);
                        self.rest = &self.rest[other.len_utf8()..];
                    }
                },
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(pieces)
    }

    /// What follows a `{`, with its `}`.
    fn choice(&mut self, depth: usize) -> Result<Choice, String> {
        if depth > MAX_DEPTH {
            return Err(format!("variants lie in one another, {MAX_DEPTH} deep at most"));
        }
        let (take, joiner) = self.take()?;
        let mut options = Vec::new();
        loop {
            let weight = self.weight()?;
            options.push((weight, self.pieces(depth)?));
            let Some(mark) = self.rest.chars().next() else {
                return Err("`{` without a `}` after it; write `{{` for the brace itself".into());
            };
            self.rest = &self.rest[1..];
            if mark == '}' {
                break;
            }
        }
        let [least, most] = take.unwrap_or([1, 1]);
        if least > most || most > options.len() {
            return Err(format!("{most} of {} variants cannot be taken", options.len()));
        }
        Ok(Choice { take: [least, most], joiner, options })
    }

    /// `2$$`, `1-2$$`, `2$$ and $$`.
    fn take(&mut self) -> Result<(Option<[usize; 2]>, String), String> {
        let joiner = || ", ".to_owned();
        let Some((number, rest)) = self.rest.split_once("$$") else { return Ok((None, joiner())) };
        if number.contains(['{', '|', '}']) {
            return Ok((None, joiner()));
        }
        let whole = |text: &str| text.trim().parse::<usize>().ok();
        let (least, most) = number.split_once('-').unwrap_or((number, number));
        let (Some(least), Some(most)) = (whole(least), whole(most)) else {
            return Err(format!("`{number}$$` should say how many variants are taken, as `2$$`"));
        };
        self.rest = rest;
        let own = self.rest.split_once("$$").filter(|(own, _)| !own.contains(['{', '|', '}']));
        let joiner = own.map_or_else(joiner, |(own, rest)| {
            self.rest = rest;
            own.to_owned()
        });
        Ok((Some([least, most]), joiner))
    }

    /// `0.5::`; 1 where there is none.
    fn weight(&mut self) -> Result<f64, String> {
        let Some((number, rest)) = self.rest.split_once("::") else { return Ok(1.0) };
        if number.contains(['{', '|', '}', '_']) {
            return Ok(1.0);
        }
        let weight = number.trim().parse().ok().filter(|w: &f64| w.is_finite() && *w > 0.0);
        let Some(weight) = weight else {
            return Err(format!("`{number}::` should be a weight above 0, as `0.5::`"));
        };
        self.rest = rest;
        Ok(weight)
    }
}

fn push(pieces: &mut Vec<Piece>, plain: &mut String, piece: Piece) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain)));
    }
    pieces.push(piece);
}

/// `{name}` at the beginning of the text: an axis's placeholder.
fn placeholder(text: &str) -> Option<&str> {
    let end = text.find('}')?;
    let name = &text[1..end];
    let usable = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    (!name.is_empty() && name.chars().all(usable)).then_some(&text[..=end])
}

/// `__name__` at the beginning of the text: the name, and what follows.
fn wildcard(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix("__")?.split_once("__")?;
    let usable = |c: char| c.is_alphanumeric() || "_-/. ".contains(c);
    let edge = |c: char| c.is_alphanumeric();
    let whole = name.starts_with(edge) && name.ends_with(edge) && name.chars().all(usable);
    whole.then_some((name, rest))
}

impl Piece {
    /// All texts that the piece may come to, in the order in which they are written. `lines`
    /// reads a wildcard's.
    ///
    /// # Errors
    /// More than [`MAX_TEXTS`]; a wildcard that cannot be read, or whose lines cannot.
    pub fn texts(
        &self,
        lines: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
    ) -> Result<Vec<Weighed>, String> {
        let mut texts = self.expand(lines, 0)?;
        for (_, text) in &mut texts {
            // Braces that are meant as such are no template's any more.
            *text = text.replace("{{", "{").replace("}}", "}");
        }
        Ok(texts)
    }

    fn expand(
        &self,
        lines: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
        depth: usize,
    ) -> Result<Vec<Weighed>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("wildcards lie in one another, {MAX_DEPTH} deep at most"));
        }
        match self {
            Self::Text(text) => Ok(vec![(1.0, text.clone())]),
            Self::Choice(choice) => choice.expand(lines, depth),
            Self::Wildcard(name) => {
                let mut texts = Vec::new();
                for line in lines(name)? {
                    let pieces = parse(&line).map_err(|error| format!("__{name}__: {error}"))?;
                    texts.extend(joined(&pieces, lines, depth + 1)?);
                    few(&texts)?;
                }
                Ok(texts)
            }
        }
    }
}

impl Choice {
    fn expand(
        &self,
        lines: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
        depth: usize,
    ) -> Result<Vec<Weighed>, String> {
        let mut options = Vec::new();
        for (weight, pieces) in &self.options {
            let own = joined(pieces, lines, depth + 1)?;
            let all: f64 = own.iter().map(|(own, _)| own).sum();
            // An option is as likely as its weight says, however many texts it comes to.
            let own =
                own.into_iter().map(|(own, text)| (weight * own / all, text.trim().to_owned()));
            options.push(own.collect::<Vec<_>>());
        }
        let mut texts = Vec::new();
        for take in self.take[0]..=self.take[1] {
            self.pick(&options, take, &mut Vec::new(), &mut texts)?;
        }
        Ok(texts)
    }

    /// All ways to take so many of the options, in their order.
    fn pick(
        &self,
        options: &[Vec<Weighed>],
        take: usize,
        taken: &mut Vec<Weighed>,
        texts: &mut Vec<Weighed>,
    ) -> Result<(), String> {
        if take == 0 {
            let words: Vec<&str> = taken.iter().map(|(_, text)| text.as_str()).collect();
            let weight = taken.iter().map(|(weight, _)| weight).product();
            texts.push((weight, words.join(&self.joiner)));
            return few(texts);
        }
        for (at, option) in options.iter().enumerate().take(options.len() + 1 - take) {
            for own in option {
                taken.push(own.clone());
                self.pick(&options[at + 1..], take - 1, taken, texts)?;
                taken.pop();
            }
        }
        Ok(())
    }
}

/// All texts that pieces in a row may come to.
fn joined(
    pieces: &[Piece],
    lines: &mut dyn FnMut(&str) -> Result<Vec<String>, String>,
    depth: usize,
) -> Result<Vec<Weighed>, String> {
    let mut texts = vec![(1.0, String::new())];
    for piece in pieces {
        let own = piece.expand(lines, depth)?;
        if texts.len() * own.len() > MAX_TEXTS {
            return Err(too_many());
        }
        let with = |(weight, text): &Weighed| {
            let (weight, text) = (*weight, text.clone());
            own.iter().map(move |(w, t)| (weight * w, format!("{text}{t}"))).collect::<Vec<_>>()
        };
        texts = texts.iter().flat_map(with).collect();
    }
    Ok(texts)
}

fn few(texts: &[Weighed]) -> Result<(), String> {
    if texts.len() > MAX_TEXTS { Err(too_many()) } else { Ok(()) }
}

fn too_many() -> String {
    format!("the variants of one place come to more than {MAX_TEXTS} texts; draw some: sweep.draw")
}

/// `count` of the texts, drawn by their weights; a text may come more than once.
pub fn draw(texts: &[Weighed], count: u64, seed: u64, name: &str) -> Vec<String> {
    let all: f64 = texts.iter().map(|(weight, _)| weight).sum();
    let one = |n: u64| {
        let key = Key::new(seed ^ super::random::hash(name), Purpose::Axis);
        let mut left = key.frame(n as u32).stream().uniform() * all;
        let hit = texts.iter().find(|(weight, _)| {
            left -= weight;
            left < 0.0
        });
        hit.or(texts.last()).map_or_else(String::new, |(_, text)| text.clone())
    };
    (0..count).map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(name: &str) -> Result<Vec<String>, String> {
        match name {
            "animal" => Ok(vec!["cat".into(), "{big|small} dog".into()]),
            "loop" => Ok(vec!["__loop__".into()]),
            _ => Err(format!("no {name}")),
        }
    }

    fn texts(text: &str) -> Result<Vec<String>, String> {
        let all = joined(&parse(text)?, &mut lines, 0)?;
        Ok(all.into_iter().map(|(_, text)| text).collect())
    }

    #[test]
    fn variants_come_in_the_order_in_which_they_are_written() {
        let table: [(&str, &[&str]); 9] = [
            ("a sun", &["a sun"]),
            ("a {red|blue} sun", &["a red sun", "a blue sun"]),
            ("{a|b}{1|2}", &["a1", "a2", "b1", "b2"]),
            ("a {{b}} {c}", &["a {{b}} {c}"]),
            ("{2$$ and $$a|b|c}", &["a and b", "a and c", "b and c"]),
            ("{1-2$$a|b}", &["a", "b", "a, b"]),
            ("{a {x|y}|b}", &["a x", "a y", "b"]),
            ("a __animal__ | sea", &["a cat | sea", "a big dog | sea", "a small dog | sea"]),
            ("{|very} old", &[" old", "very old"]),
        ];
        for (text, expected) in table {
            assert_eq!(texts(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_option_is_as_likely_as_its_weight() {
        let all = joined(&parse("{3::{a|b}|c}").unwrap(), &mut lines, 0).unwrap();
        let weights: Vec<f64> = all.iter().map(|(weight, _)| *weight).collect();
        assert_eq!(weights, [1.5, 1.5, 1.0]);
        let drawn = draw(&all, 4_000, 5, "variant");
        let times = |text: &str| drawn.iter().filter(|drawn| *drawn == text).count();
        assert!(times("c").abs_diff(1_000) < 100, "{}", times("c"));
        assert!(times("a").abs_diff(1_500) < 120, "{}", times("a"));
        assert_eq!(draw(&all, 9, 5, "variant"), drawn[..9], "more of them begin with the fewer");
    }

    #[test]
    fn mistakes_are_named() {
        let table = [
            ("{a|b", "`{` without a `}` after it; write `{{` for the brace itself"),
            ("{3$$a|b}", "3 of 2 variants cannot be taken"),
            ("{x$$a|b}", "`x$$` should say how many variants are taken, as `2$$`"),
            ("{x::a|b}", "`x::` should be a weight above 0, as `0.5::`"),
            ("{-1::a|b}", "`-1::` should be a weight above 0, as `0.5::`"),
            ("{a {colour} b|c}", "{colour} stands inside of a variant, where no axis can"),
            ("__nothing__", "no nothing"),
            ("__loop__", "wildcards lie in one another, 8 deep at most"),
        ];
        for (text, message) in table {
            assert_eq!(texts(text).unwrap_err(), message, "{text}");
        }
        let many = "{0|1|2|3|4|5|6|7|8|9}".repeat(5);
        assert!(texts(&many).unwrap_err().contains("more than 10000 texts"));
        let deep = format!("{}a|b{}", "{x|".repeat(9), "}".repeat(9));
        assert!(texts(&deep).unwrap_err().contains("8 deep"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[ab{}|$:_0-9. -]{0,40}") {
            if let Ok(texts) = texts(&text) {
                prop_assert!(texts.len() <= MAX_TEXTS);
            }
        }
    }
}
