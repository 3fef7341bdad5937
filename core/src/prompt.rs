//! Prompts: `text:weight:stop` parts joined by `|`, phases joined by `^`.

/// One thing to steer towards or, with a negative weight, away from.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptPart {
    pub text: String,
    /// 1 when left out.
    pub weight: f64,
    /// The loss stops pulling below this value; `None` never stops.
    pub stop: Option<f64>,
}

/// The phases of a prompt, one after the other, each with its parts.
pub type Phases = Vec<Vec<PromptPart>>;

/// A prompt that says nothing where it should say something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PromptError {
    /// Byte offset in the prompt.
    pub at: usize,
    pub message: String,
}

/// Reads a prompt. Blank parts (`"a | | b"`) are skipped and a blank prompt has no phases.
///
/// Weight and stop are split off from the right and only when they are finite numbers, so
/// `"12:30 at night"` and `"http://x:2"` keep their colons (the second has weight 2).
///
/// # Errors
/// A part of only a weight, and a phase without a part between others that have some.
pub fn parse(prompt: &str) -> Result<Phases, PromptError> {
    if prompt.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut phases = Vec::new();
    for (at, phase) in pieces(prompt, '^') {
        let mut parts = Vec::new();
        for (offset, part) in pieces(phase, '|') {
            if part.trim().is_empty() {
                continue;
            }
            let part = parse_part(part);
            if part.text.is_empty() {
                return Err(PromptError {
                    at: at + offset,
                    message: "a part of the prompt has a weight but no text".into(),
                });
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(PromptError { at, message: "a phase of the prompt is empty".into() });
        }
        phases.push(parts);
    }
    Ok(phases)
}

/// `text` split at `mark`, each piece with its byte offset.
fn pieces(text: &str, mark: char) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(mark).map(move |piece| {
        let start = at;
        at += piece.len() + mark.len_utf8();
        (start, piece)
    })
}

fn parse_part(part: &str) -> PromptPart {
    let whole = PromptPart { text: part.trim().to_owned(), weight: 1.0, stop: None };
    let Some((rest, last)) = part.rsplit_once(':') else { return whole };
    // With two fields at the end the last one is the stop, which may be -inf: never.
    if let Some((text, weight)) = rest.rsplit_once(':').and_then(|(t, w)| Some((t, number(w)?))) {
        let never = last.trim() == "-inf";
        if never || number(last).is_some() {
            return PromptPart { text: text.trim().to_owned(), weight, stop: number(last) };
        }
    }
    match number(last) {
        Some(weight) => PromptPart { text: rest.trim().to_owned(), weight, stop: None },
        None => whole,
    }
}

/// A finite number as people write it; not `inf`, `nan` or their longer names.
fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|n: &f64| digits && n.is_finite())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(text: &str, weight: f64, stop: Option<f64>) -> PromptPart {
        PromptPart { text: text.into(), weight, stop }
    }

    #[test]
    fn parts_carry_weights_and_stops() {
        let table = [
            ("a red sun", part("a red sun", 1.0, None)),
            (" blurry : -0.4 ", part("blurry", -0.4, None)),
            ("sea:2:0.5", part("sea", 2.0, Some(0.5))),
            ("sea:2:-inf", part("sea", 2.0, None)),
            ("12:30 at night", part("12:30 at night", 1.0, None)),
            ("12:30 at night:1.5", part("12:30 at night", 1.5, None)),
            ("http://x:2", part("http://x", 2.0, None)),
            ("sea:nan", part("sea:nan", 1.0, None)),
            ("to infinity:inf", part("to infinity:inf", 1.0, None)),
            ("ratio 1:2:3", part("ratio 1", 2.0, Some(3.0))),
            ("sea:", part("sea:", 1.0, None)),
            ("sea::2", part("sea:", 2.0, None)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(vec![vec![expected]]), "{text}");
        }
    }

    #[test]
    fn phases_and_parts_keep_their_order() {
        assert_eq!(
            parse("sun | sea:0.5 ^ moon |"),
            Ok(vec![
                vec![part("sun", 1.0, None), part("sea", 0.5, None)],
                vec![part("moon", 1.0, None)],
            ])
        );
        assert_eq!(parse(" \t"), Ok(vec![]));
    }

    #[test]
    fn nothing_where_something_should_be_is_an_error_with_a_place() {
        let at = |prompt| parse(prompt).unwrap_err().at;
        assert_eq!(at("sun ^ ^ moon"), 5);
        assert_eq!(at("sun ^"), 5);
        assert_eq!(at("a | :2"), 3);
        assert_eq!(at("^"), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(?s).{0,80}") {
            for phase in parse(&text).unwrap_or_default() {
                for part in phase {
                    prop_assert!(!part.text.is_empty());
                    prop_assert!(part.weight.is_finite());
                }
            }
        }

        #[test]
        fn written_parts_read_back(
            text in "[a-z:]{0,10}[a-z]", weight in -9.0..9.0f64, stop in proptest::option::of(0.0..2.0f64)
        ) {
            let stop_text = stop.map_or("-inf".into(), |s| s.to_string());
            let parsed = parse(&format!("{text}:{weight}:{stop_text}")).unwrap();
            prop_assert_eq!(parsed, vec![vec![PromptPart { text, weight, stop }]]);
        }
    }
}
