//! How axes combine: `*` crosses, `(a, b)` walks together.

use std::collections::BTreeSet;

/// A combination of axes, each named by its place in the list of axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combine {
    root: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    /// Which axis, and how many values it has.
    Axis(usize, u64),
    /// The last one moves fastest.
    Cross(Vec<Node>, u64),
    Together(Vec<Node>, u64),
}

/// Deeper nesting of parentheses than anybody means.
const MAX_DEPTH: usize = 32;

impl Combine {
    /// No axes: one cell.
    pub fn none() -> Self {
        Self { root: Node::Cross(Vec::new(), 1) }
    }

    /// All axes crossed in their order.
    pub fn all(lens: &[u64]) -> Result<Self, String> {
        let axes = lens.iter().enumerate().map(|(axis, &len)| Node::Axis(axis, len)).collect();
        Ok(Self { root: cross(axes)? })
    }

    /// Reads `text`; `names` and `lens` are the axes and how many values each has. Axes that
    /// it does not name are crossed with the rest and move fastest.
    ///
    /// # Errors
    /// Says what is wrong: the syntax, an unknown or repeated axis, lists that walk together
    /// and differ in length.
    pub fn parse(text: &str, names: &[&str], lens: &[u64]) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, names, lens, seen: BTreeSet::new() };
        let root = parser.product(0)?;
        parser.skip();
        if parser.at < text.len() {
            return Err(parser.unexpected("`*` or the end"));
        }
        let rest = (0..names.len()).filter(|axis| !parser.seen.contains(axis));
        let mut factors = vec![root];
        factors.extend(rest.map(|axis| Node::Axis(axis, lens[axis])));
        Ok(Self { root: cross(factors)? })
    }

    /// How many cells.
    pub fn len(&self) -> u64 {
        self.root.len()
    }

    /// The factors whose product it is, each as its length and the axes in it.
    pub fn factors(&self) -> Vec<(u64, Vec<usize>)> {
        let mut factors = Vec::new();
        self.root.factors(&mut factors);
        factors
    }

    /// For cell `index`, below [`Self::len`], the place of each axis's value in `places`.
    pub fn places(&self, index: u64, places: &mut [u64]) {
        self.root.place(index, places);
    }
}

impl Node {
    fn len(&self) -> u64 {
        match self {
            Self::Axis(_, len) | Self::Cross(_, len) | Self::Together(_, len) => *len,
        }
    }

    fn factors(&self, found: &mut Vec<(u64, Vec<usize>)>) {
        match self {
            Self::Cross(factors, _) => factors.iter().for_each(|node| node.factors(found)),
            Self::Axis(_, len) | Self::Together(_, len) => found.push((*len, self.axes())),
        }
    }

    fn axes(&self) -> Vec<usize> {
        match self {
            Self::Axis(axis, _) => vec![*axis],
            Self::Cross(nodes, _) | Self::Together(nodes, _) => {
                nodes.iter().flat_map(Self::axes).collect()
            }
        }
    }

    fn place(&self, mut index: u64, places: &mut [u64]) {
        match self {
            Self::Axis(axis, _) => places[*axis] = index,
            Self::Together(nodes, _) => nodes.iter().for_each(|node| node.place(index, places)),
            Self::Cross(factors, _) => {
                for node in factors.iter().rev() {
                    node.place(index % node.len(), places);
                    index /= node.len();
                }
            }
        }
    }
}

fn cross(mut factors: Vec<Node>) -> Result<Node, String> {
    if factors.len() == 1 {
        return Ok(factors.remove(0));
    }
    let len = factors.iter().try_fold(1u64, |len, node| len.checked_mul(node.len()));
    match len {
        Some(len) => Ok(Node::Cross(factors, len)),
        None => Err("the axes have more than 2^64 combinations".into()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: &'a [&'a str],
    lens: &'a [u64],
    seen: BTreeSet<usize>,
}

impl Parser<'_> {
    fn skip(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, mark: char) -> bool {
        self.skip();
        let found = self.text[self.at..].starts_with(mark);
        self.at += if found { mark.len_utf8() } else { 0 };
        found
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.text[self.at..].chars().next() {
            Some(c) => format!(
                "`combine` has `{c}` at character {} where {wanted} should be",
                self.text[..self.at].chars().count() + 1
            ),
            None => format!("`combine` ends where {wanted} should be"),
        }
    }

    fn product(&mut self, depth: usize) -> Result<Node, String> {
        let mut factors = Vec::new();
        loop {
            factors.push(self.factor(depth)?);
            if !self.take('*') {
                return cross(factors);
            }
        }
    }

    fn factor(&mut self, depth: usize) -> Result<Node, String> {
        if !self.take('(') {
            return self.axis();
        }
        if depth == MAX_DEPTH {
            return Err(format!("`combine` nests deeper than {MAX_DEPTH}"));
        }
        let start = self.at;
        let mut nodes = vec![self.product(depth + 1)?];
        while self.take(',') {
            nodes.push(self.product(depth + 1)?);
        }
        if !self.take(')') {
            return Err(self.unexpected("`,` or `)`"));
        }
        let lens: Vec<u64> = nodes.iter().map(Node::len).collect();
        if lens.iter().any(|&len| len != lens[0]) {
            let lens: Vec<_> = lens.iter().map(u64::to_string).collect();
            return Err(format!(
                "`({}` walks together lists of different lengths: {}",
                &self.text[start..self.at],
                lens.join(" and ")
            ));
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Together(nodes, lens[0]) })
    }

    fn axis(&mut self) -> Result<Node, String> {
        self.skip();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.-".contains(c)));
        let name = &rest[..end.unwrap_or(rest.len())];
        if name.is_empty() {
            return Err(self.unexpected("the name of an axis"));
        }
        let Some(axis) = self.names.iter().position(|known| *known == name) else {
            let near = crate::nearest::nearest(name, self.names.iter().copied());
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("`combine` names `{name}`, which is not an axis{help}"));
        };
        if !self.seen.insert(axis) {
            return Err(format!("`combine` names the axis `{name}` twice"));
        }
        self.at += name.len();
        Ok(Node::Axis(axis, self.lens[axis]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(text: &str, axes: &[(&str, u64)]) -> Result<Vec<Vec<u64>>, String> {
        let (names, lens): (Vec<_>, Vec<_>) = axes.iter().copied().unzip();
        let combine = Combine::parse(text, &names, &lens)?;
        let cell = |index| {
            let mut places = vec![u64::MAX; lens.len()];
            combine.places(index, &mut places);
            places
        };
        Ok((0..combine.len()).map(cell).collect())
    }

    #[test]
    fn crossing_moves_the_last_axis_fastest() {
        let all = cells("a * b", &[("a", 2), ("b", 3)]).unwrap();
        assert_eq!(all, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert_eq!(cells("b*a", &[("a", 2), ("b", 3)]).unwrap()[1], [1, 0]);
        assert_eq!(
            cells("b", &[("a", 2), ("b", 3)]).unwrap(),
            cells("b*a", &[("a", 2), ("b", 3)]).unwrap()
        );
    }

    #[test]
    fn walking_together_pairs_equal_lengths() {
        let all = cells("(a, b) * c", &[("a", 2), ("b", 2), ("c", 2)]).unwrap();
        assert_eq!(all, [[0, 0, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]]);
        let nested = cells("(a * b, c)", &[("a", 2), ("b", 2), ("c", 4)]).unwrap();
        assert_eq!(nested, [[0, 0, 0], [0, 1, 1], [1, 0, 2], [1, 1, 3]]);
    }

    #[test]
    fn mistakes_are_named() {
        let axes = [("subject", 2), ("style", 3), ("seed", 2)];
        let table = [
            (
                "subject * stile * seed",
                "`combine` names `stile`, which is not an axis; did you mean `style`?",
            ),
            ("subject * subject", "`combine` names the axis `subject` twice"),
            (
                "(subject, style) * seed",
                "`(subject, style)` walks together lists of different lengths: 2 and 3",
            ),
            (
                "subject * * seed",
                "`combine` has `*` at character 11 where the name of an axis should be",
            ),
            ("subject *", "`combine` ends where the name of an axis should be"),
            ("(subject, seed", "`combine` ends where `,` or `)` should be"),
            ("subject seed", "`combine` has `s` at character 9 where `*` or the end should be"),
            ("", "`combine` ends where the name of an axis should be"),
        ];
        for (text, message) in table {
            assert_eq!(cells(text, &axes).unwrap_err(), message, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[abc(),* é]{0,60}") {
            let _ = cells(&text, &[("a", 2), ("b", 2), ("c", 3)]);
        }

        #[test]
        fn every_cell_is_another_combination(lens in proptest::collection::vec(1u64..5, 1..5)) {
            let combine = Combine::all(&lens).unwrap();
            let mut seen = BTreeSet::new();
            for index in 0..combine.len() {
                let mut places = vec![0; lens.len()];
                combine.places(index, &mut places);
                prop_assert!(places.iter().zip(&lens).all(|(place, len)| place < len));
                seen.insert(places);
            }
            prop_assert_eq!(seen.len() as u64, lens.iter().product::<u64>());
        }
    }
}
