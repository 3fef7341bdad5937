//! From tokens to keys with expressions.

use std::ops::Range;

use super::expr::{Expr, FUNCTIONS, Operator, Variable};
use super::lex::{Spanned, Token, tokens};
use super::{Curve, Key, ScheduleError};
use crate::nearest::nearest;

/// Brackets and signs within one another.
const DEEPEST: usize = 64;
/// Numbers, variables and operations of one schedule.
const MOST_NODES: usize = 4_000;
const MOST_KEYS: usize = 10_000;
/// Bytes of a schedule.
const LONGEST: usize = 256 * 1024;
/// The last frame that a key may name.
const LAST_FRAME: f64 = 1e9;

/// Reads `0:(1.02), 60:(1.02 + 0.02*sin(t)) ease`, or one expression for all frames.
pub(super) fn keys(text: &str) -> Result<Vec<Key>, ScheduleError> {
    if text.len() > LONGEST {
        let message = format!("a schedule of {} bytes; {LONGEST} are the most", text.len());
        return Err(ScheduleError::new(0..0, message));
    }
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, nodes: 0 };
    let keyed = matches!(&parser.tokens[..], [a, b, ..]
        if matches!(a.token, Token::Number(_)) && b.token == Token::Mark(":"));
    if !keyed {
        let value = parser.expression()?;
        let curve = parser.curve()?;
        parser.end("an operator or the end")?;
        return Ok(vec![Key { frame: 0, value, curve }]);
    }
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let at = parser.peek().at.clone();
        let key = parser.key()?;
        if let Some(before) = keys.last().filter(|before| before.frame >= key.frame) {
            let message = if before.frame == key.frame {
                format!("frame {} has two values", key.frame)
            } else {
                format!("frame {} comes after frame {}; keys go up", key.frame, before.frame)
            };
            return Err(ScheduleError::new(at, message));
        }
        if keys.len() == MOST_KEYS {
            return Err(ScheduleError::new(at, format!("more than {MOST_KEYS} keys")));
        }
        keys.push(key);
        if !parser.take(",") {
            break;
        }
    }
    parser.end("an operator, a comma before the next key, or the end")?;
    Ok(keys)
}

struct Parser {
    tokens: Vec<Spanned>,
    next: usize,
    depth: usize,
    nodes: usize,
}

impl Parser {
    fn peek(&self) -> &Spanned {
        // The last token is the end, which nothing takes.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self, mark: &str) -> bool {
        let found = matches!(self.peek().token, Token::Mark(found) if found == mark);
        self.next += usize::from(found);
        found
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, ScheduleError> {
        let Spanned { token, at } = self.peek();
        let found = match token {
            Token::Number(value) => format!("the number {value}"),
            Token::Name(name) => format!("`{name}`"),
            Token::Mark(mark) => format!("`{mark}`"),
            Token::End => "the end".into(),
        };
        Err(ScheduleError::new(at.clone(), format!("expected {wanted}, found {found}")))
    }

    fn end(&self, wanted: &str) -> Result<(), ScheduleError> {
        if self.peek().token == Token::End { Ok(()) } else { self.unexpected(wanted) }
    }

    fn key(&mut self) -> Result<Key, ScheduleError> {
        let Spanned { token, at } = self.peek().clone();
        let Token::Number(number) = token else {
            return self.unexpected("a frame's number and `:`");
        };
        if number.fract() != 0.0 || number > LAST_FRAME {
            let message = format!("{number} is not the number of a frame");
            return Err(ScheduleError::new(at, message));
        }
        self.next += 1;
        if !self.take(":") {
            return self.unexpected("`:` and the value at this frame");
        }
        Ok(Key { frame: number as u64, value: self.expression()?, curve: self.curve()? })
    }

    fn curve(&mut self) -> Result<Option<Curve>, ScheduleError> {
        let Spanned { token, at } = self.peek().clone();
        let Token::Name(name) = token else { return Ok(None) };
        let found = Curve::ALL.iter().find(|(known, _)| *known == name);
        let Some((_, curve)) = found else {
            let known = Curve::ALL.iter().map(|(known, _)| *known);
            return Err(unknown(&name, at, "way from one key to the next", known));
        };
        self.next += 1;
        Ok(Some(*curve))
    }

    fn expression(&mut self) -> Result<Expr, ScheduleError> {
        self.deeper(Self::either)
    }

    /// Counts how deep expressions lie in one another, so that none overflows the stack.
    fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ScheduleError>,
    ) -> Result<T, ScheduleError> {
        if self.depth == DEEPEST {
            let message = format!("brackets and signs lie more than {DEEPEST} deep");
            return Err(ScheduleError::new(self.peek().at.clone(), message));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn node(&mut self, expr: Expr) -> Result<Expr, ScheduleError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message = format!("more than {MOST_NODES} numbers and operations");
            return Err(ScheduleError::new(self.peek().at.clone(), message));
        }
        Ok(expr)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(&self.peek().token, Token::Name(name) if name == word);
        self.next += usize::from(found);
        found
    }

    /// A chain of operators of one strength, from the left.
    fn chain(
        &mut self,
        operators: &[(&str, Operator)],
        tighter: fn(&mut Self) -> Result<Expr, ScheduleError>,
    ) -> Result<Expr, ScheduleError> {
        let mut left = tighter(self)?;
        while let Some((_, operator)) =
            operators.iter().find(|(mark, _)| self.take(mark) || self.word(mark))
        {
            let right = tighter(self)?;
            left = self.node(Expr::Binary(*operator, left.into(), right.into()))?;
        }
        Ok(left)
    }

    fn either(&mut self) -> Result<Expr, ScheduleError> {
        let marks = [("||", Operator::Or), ("|", Operator::Or), ("or", Operator::Or)];
        self.chain(&marks, Self::both)
    }

    fn both(&mut self) -> Result<Expr, ScheduleError> {
        let marks = [("&&", Operator::And), ("&", Operator::And), ("and", Operator::And)];
        self.chain(&marks, Self::negation)
    }

    fn negation(&mut self) -> Result<Expr, ScheduleError> {
        if self.take("!") || self.word("not") {
            let of = self.deeper(Self::negation)?;
            return self.node(Expr::Not(of.into()));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, ScheduleError> {
        let marks = [
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let left = self.sum()?;
        let Some((_, operator)) = marks.iter().find(|(mark, _)| self.take(mark)) else {
            return Ok(left);
        };
        let right = self.sum()?;
        let next = self.peek().clone();
        if marks.iter().any(|(mark, _)| next.token == Token::Mark(mark)) {
            let message = "two comparisons in a row; join them with `and`";
            return Err(ScheduleError::new(next.at, message));
        }
        self.node(Expr::Binary(*operator, left.into(), right.into()))
    }

    fn sum(&mut self) -> Result<Expr, ScheduleError> {
        self.chain(&[("+", Operator::Add), ("-", Operator::Subtract)], Self::product)
    }

    fn product(&mut self) -> Result<Expr, ScheduleError> {
        let marks =
            [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
        self.chain(&marks, Self::signed)
    }

    fn signed(&mut self) -> Result<Expr, ScheduleError> {
        if self.take("-") {
            let of = self.deeper(Self::signed)?;
            return self.node(Expr::Minus(of.into()));
        }
        if self.take("+") {
            return self.deeper(Self::signed);
        }
        self.power()
    }

    /// Binds tighter than a sign before it, and from the right: `-2**2` is -4, `2**3**2` is 512.
    fn power(&mut self) -> Result<Expr, ScheduleError> {
        let base = self.atom()?;
        if self.take("**") || self.take("^") {
            let exponent = self.deeper(Self::signed)?;
            return self.node(Expr::Binary(Operator::Power, base.into(), exponent.into()));
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Expr, ScheduleError> {
        let Spanned { token, at } = self.peek().clone();
        match token {
            Token::Number(value) => {
                self.next += 1;
                self.node(Expr::Number(value))
            }
            Token::Name(name) => {
                self.next += 1;
                if self.take("(") { self.call(&name, at) } else { self.name(&name, at) }
            }
            Token::Mark("(") => {
                self.next += 1;
                let inner = self.expression()?;
                if self.take(")") { Ok(inner) } else { self.unexpected("an operator or `)`") }
            }
            _ => self.unexpected("a number, a variable, a function or `(`"),
        }
    }

    fn name(&mut self, name: &str, at: Range<usize>) -> Result<Expr, ScheduleError> {
        let expr = match name {
            "t" => Expr::Variable(Variable::Time),
            "frames" => Expr::Variable(Variable::Frames),
            "fps" => Expr::Variable(Variable::Fps),
            "seed" => Expr::Variable(Variable::Seed),
            "pi" => Expr::Number(std::f64::consts::PI),
            "tau" => Expr::Number(std::f64::consts::TAU),
            "e" => Expr::Number(std::f64::consts::E),
            _ if FUNCTIONS.iter().any(|function| function.name == name) => {
                let message = format!("the function `{name}` needs its arguments: {name}(…)");
                return Err(ScheduleError::new(at, message));
            }
            _ => {
                let known = ["t", "frames", "fps", "seed", "pi", "tau", "e"];
                let functions = FUNCTIONS.iter().map(|function| function.name);
                return Err(unknown(name, at, "variable", known.into_iter().chain(functions)));
            }
        };
        self.node(expr)
    }

    fn call(&mut self, name: &str, at: Range<usize>) -> Result<Expr, ScheduleError> {
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            let known = FUNCTIONS.iter().map(|function| function.name);
            return Err(unknown(name, at, "function", known));
        };
        let mut arguments = Vec::new();
        if !self.take(")") {
            loop {
                arguments.push(self.expression()?);
                if self.take(")") {
                    break;
                }
                if !self.take(",") {
                    return self.unexpected("an operator, `,` or `)`");
                }
            }
        }
        let (least, most) = (function.least, function.most);
        if !(least..=most).contains(&arguments.len()) {
            let wanted = match (least, most) {
                (1, 1) => "one argument".to_owned(),
                _ if least == most => format!("{least} arguments"),
                (_, 2) => format!("{least} or {most} arguments"),
                _ => format!("{least} to {most} arguments"),
            };
            let message = format!("`{name}` takes {wanted}, not {}", arguments.len());
            return Err(ScheduleError::new(at, message));
        }
        self.node(Expr::Call(function, arguments))
    }
}

fn unknown<'a>(
    name: &str,
    at: Range<usize>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> ScheduleError {
    let help = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
    };
    ScheduleError { help: Some(help), ..ScheduleError::new(at, format!("no {what} `{name}`")) }
}
