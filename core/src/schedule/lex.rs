//! A schedule's text as tokens that know where they stood.

use std::ops::Range;

use super::ScheduleError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64),
    Name(String),
    /// An operator, a bracket, a comma or a colon.
    Mark(&'static str),
    /// Behind the last character.
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spanned {
    pub token: Token,
    /// Bytes of the text.
    pub at: Range<usize>,
}

/// The longer ones first, since they begin with shorter ones.
const MARKS: [&str; 22] = [
    "**", "<=", ">=", "==", "!=", "&&", "||", "+", "-", "*", "/", "%", "^", "(", ")", ",", ":",
    "<", ">", "!", "&", "|",
];

/// All tokens of a text; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, ScheduleError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, len) = if first.is_ascii_digit() || first == '.' {
            number(rest).map_err(|message| ScheduleError::new(at..at + 1, message))?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Name(rest[..len].to_owned()), len)
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            (Token::Mark(mark), mark.len())
        } else {
            let message = format!("{first:?} means nothing in a schedule");
            return Err(ScheduleError::new(at..at + first.len_utf8(), message));
        };
        tokens.push(Spanned { token, at: at..at + len });
        at += len;
    }
    tokens.push(Spanned { token: Token::End, at: text.len()..text.len() });
    Ok(tokens)
}

/// `12`, `1.5`, `.5`, `1e-3` at the beginning of `text`, and its length.
fn number(text: &str) -> Result<(Token, usize), String> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut len = digits(0);
    if bytes.get(len) == Some(&b'.') {
        len += 1 + digits(len + 1);
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let power = digits(len + 1 + sign);
        if power > 0 {
            len += 1 + sign + power;
        }
    }
    match text[..len].parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((Token::Number(value), len)),
        _ => Err(format!("{:?} is not a number", &text[..len])),
    }
}
