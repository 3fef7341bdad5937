//! The tokens that captions use, numbered without gaps: a perceptor in training holds no
//! rows for the 49,000 others.

use tch::Tensor;
use vqfarm_engine::tokenizer;

/// Tokens of a caption, padding included.
pub const CONTEXT: i64 = 32;

#[derive(Clone)]
pub struct Vocabulary {
    /// The tokenizer's ids, ascending: their order keeps the end of text the largest.
    pub ids: Vec<i64>,
}

impl Vocabulary {
    pub fn new() -> Self {
        let mut ids: Vec<i64> = crate::caption::words()
            .flat_map(|word| tokenizer::encode(word, CONTEXT as usize).ids)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Self { ids }
    }

    /// One row of compact ids for each text, int64 [N, CONTEXT]; tokens that captions do not
    /// use become padding.
    pub fn encode<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Tensor {
        let ids: Vec<i64> = texts
            .flat_map(|text| tokenizer::encode(text, CONTEXT as usize).ids)
            .map(|id| self.ids.binary_search(&id).unwrap_or(0) as i64)
            .collect();
        Tensor::from_slice(&ids).view([-1, CONTEXT])
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_text_stays_the_largest_and_padding_zero() {
        let vocabulary = Vocabulary::new();
        assert_eq!(vocabulary.ids[0], 0);
        let rows = vocabulary.encode(["a red sun over the sea"].into_iter());
        let row: Vec<i64> = Vec::try_from(rows.get(0)).unwrap();
        let last = vocabulary.ids.len() as i64 - 1;
        assert_eq!(row.iter().position(|t| *t == last), Some(7));
        assert!(row[8..].iter().all(|t| *t == 0));
        assert!(row[..8].iter().all(|t| *t > 0));
    }
}
