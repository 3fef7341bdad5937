//! Cells and tasks by their numbers, as people write them.

/// Numbers as `3,7-9` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub Vec<u64>);

/// More than this are not named one by one in a call.
const MOST: u64 = 100_000;

/// # Errors
/// Says what is no number or range.
pub fn numbers(text: &str) -> Result<Numbers, String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse::<u64>().map_err(|_| format!("{part:?} is not a number or range"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} runs backwards"));
        }
        if last - first >= MOST - (all.len() as u64).min(MOST) {
            return Err(format!("more than {MOST} numbers"));
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(Numbers(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_people_write_them() {
        assert_eq!(numbers("3,7-9").unwrap().0, [3, 7, 8, 9]);
        assert_eq!(numbers("9, 7-8,7").unwrap().0, [7, 8, 9]);
        for bad in ["", "x", "3,", "9-7", "-1", "0-99999999999", "0-99999,7"] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }
}
