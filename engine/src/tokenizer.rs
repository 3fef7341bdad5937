//! CLIP's byte-pair tokenizer: repaired, unescaped, lower-cased text to token ids.

use std::sync::LazyLock;

use instant_clip_tokenizer::{Token, Tokenizer};

use crate::text_repair;

static BPE: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::new);

/// One text's tokens, padded with zeros to the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Start of text, the text, end of text, zeros.
    pub ids: Vec<i64>,
    /// The text was longer than the context; its tail was dropped.
    pub truncated: bool,
}

/// Tokenizes as OpenAI's `clip.tokenize(text, context, truncate=True)` does.
///
/// `context` counts the start and end tokens, and is at least 2 (77 in published models).
pub fn encode(text: &str, context: usize) -> Tokens {
    let context = context.max(2);
    let mut tokens = vec![BPE.start_of_text()];
    BPE.encode(&clean(text), &mut tokens);
    let truncated = tokens.len() > context - 1;
    tokens.truncate(context - 1);
    tokens.push(BPE.end_of_text());
    let mut ids: Vec<i64> = tokens.into_iter().map(|t: Token| i64::from(t.to_u16())).collect();
    ids.resize(context, 0);
    Tokens { ids, truncated }
}

/// Mojibake repaired, HTML unescaped twice, white space folded.
fn clean(text: &str) -> String {
    let text = text_repair::fix_text(text);
    let once = htmlize::unescape(text);
    let twice = htmlize::unescape(once);
    twice.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_truncates_and_says_so() {
        let short = encode("hi there", 6);
        assert_eq!(short.ids, [49406, 1883, 997, 49407, 0, 0]);
        assert!(!short.truncated);
        let long = encode("hi there", 3);
        assert_eq!(long.ids, [49406, 1883, 49407]);
        assert!(long.truncated);
    }

    #[test]
    fn repairs_before_it_tokenizes() {
        assert_eq!(encode("cafÃ©", 8), encode("café", 8));
        assert_eq!(encode("a &amp;amp; b", 8), encode("a & b", 8));
        assert_eq!(encode("  A\t b\n", 8), encode("a b", 8));
    }
}
