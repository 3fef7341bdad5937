//! A set of task numbers: one bit each, as long as its largest member.

/// Grows with its largest member and never shrinks.
#[derive(Clone, Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    count: u64,
}

fn place(index: u64) -> (usize, u64) {
    // Task numbers lie below a sweep's limit of cells, far inside usize.
    ((index / 64) as usize, 1 << (index % 64))
}

impl Bitmap {
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn get(&self, index: u64) -> bool {
        let (word, bit) = place(index);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    pub fn set(&mut self, index: u64) {
        let (word, bit) = place(index);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit == 0 {
            self.words[word] |= bit;
            self.count += 1;
        }
    }

    pub fn clear(&mut self, index: u64) {
        let (word, bit) = place(index);
        if self.get(index) {
            self.words[word] &= !bit;
            self.count -= 1;
        }
    }

    /// The smallest member that is `from` or more.
    pub fn next_set(&self, from: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        self.search(from, |word| word)
    }

    /// All members, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let first = self.next_set(0);
        std::iter::successors(first, |&last| self.next_set(last + 1))
    }

    /// The smallest number that is `from` or more and no member.
    pub fn next_clear(&self, from: u64) -> u64 {
        self.search(from, |word| !word).unwrap_or(from.max(self.words.len() as u64 * 64))
    }

    fn search(&self, from: u64, view: impl Fn(u64) -> u64) -> Option<u64> {
        let (first, bit) = place(from);
        for (at, &word) in self.words.iter().enumerate().skip(first) {
            // In the first word the bits before `from` do not count.
            let mask = if at == first { !(bit - 1) } else { u64::MAX };
            let word = view(word) & mask;
            if word != 0 {
                return Some(at as u64 * 64 + u64::from(word.trailing_zeros()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(
            steps in proptest::collection::vec((any::<bool>(), 0u64..300), 0..100), from in 0u64..400
        ) {
            let mut bits = Bitmap::default();
            let mut set = BTreeSet::new();
            for (add, index) in steps {
                if add {
                    bits.set(index);
                    set.insert(index);
                } else {
                    bits.clear(index);
                    set.remove(&index);
                }
            }
            prop_assert_eq!(bits.count(), set.len() as u64);
            prop_assert_eq!(bits.next_set(from), set.range(from..).next().copied());
            let clear = (from..).find(|i| !set.contains(i)).unwrap();
            prop_assert_eq!(bits.next_clear(from), clear);
            prop_assert!(bits.iter().eq(set.iter().copied()));
        }
    }
}
