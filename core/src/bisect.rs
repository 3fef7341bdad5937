//! An order that fills a long row evenly: the first place, the middle, the quarters, the eighths.
//!
//! Whoever looks before all places are filled sees the whole row in coarser steps. Arithmetic in
//! both directions, so that nothing is kept of the order.

/// The place, of `count`, that is filled as number `turn`. Turns that there are not stand for
/// themselves.
pub fn place(turn: u64, count: u64) -> u64 {
    if turn == 0 || turn >= count {
        return turn;
    }
    let halved = halved(count);
    if turn < halved {
        let parts = 2 << turn.ilog2();
        return cut(2 * (turn - parts / 2) + 1, parts, count);
    }
    // Halved so often, parts have one place or two. Their second places come last, ascending:
    // of the first `n` parts so many have two as `cut(n) - n` says.
    let wanted = u128::from(turn - halved + 1) * u128::from(halved);
    let parts = wanted.div_ceil(u128::from(count - halved)) as u64;
    cut(parts, halved, count) - 1
}

/// As which number a place of `count` is filled: the inverse of [`place`].
pub fn turn(place: u64, count: u64) -> u64 {
    if place == 0 || place >= count {
        return place;
    }
    let halved = halved(count);
    let part = part_at(place, halved, count);
    if cut(part, halved, count) != place {
        return place - 1 - part_at(place - 1, halved, count) + halved;
    }
    // It has begun a part since the row was cut into so many.
    let twos = part.trailing_zeros();
    let parts = halved >> twos;
    parts / 2 + (part >> twos) / 2
}

/// The largest power of two that is not above `count`, which is not 0.
fn halved(count: u64) -> u64 {
    1 << count.ilog2()
}

/// Where part number `part` begins when `count` places are cut into `parts`. What begins a part
/// does so in twice as many parts, too.
fn cut(part: u64, parts: u64, count: u64) -> u64 {
    (u128::from(part) * u128::from(count) / u128::from(parts)) as u64
}

/// The first part that begins at `place` or later.
fn part_at(place: u64, parts: u64, count: u64) -> u64 {
    (u128::from(place) * u128::from(parts)).div_ceil(u128::from(count)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(count: u64) -> Vec<u64> {
        (0..count).map(|turn| place(turn, count)).collect()
    }

    #[test]
    fn a_row_is_filled_from_coarse_to_fine() {
        assert_eq!(order(8), [0, 4, 2, 6, 1, 3, 5, 7]);
        assert_eq!(order(11), [0, 5, 2, 8, 1, 4, 6, 9, 3, 7, 10]);
        assert_eq!(
            (order(0), order(1), order(2), order(3)),
            (vec![], vec![0], vec![0, 1], vec![0, 1, 2])
        );
    }

    /// No two neighbours of the places of the first turns, nor the last and the end, are further
    /// apart than when the row is cut evenly into half as many parts.
    fn is_even(count: u64, turns: u64) {
        let mut filled: Vec<u64> = (0..turns).map(|turn| place(turn, count)).collect();
        filled.sort_unstable();
        filled.push(count);
        let widest = filled.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= count.div_ceil(halved(turns)), "{turns} of {count}: {filled:?}");
    }

    #[test]
    fn each_place_comes_once_and_each_beginning_covers_the_row() {
        for count in 1..300 {
            let mut places = order(count);
            for (at, &found) in places.iter().enumerate() {
                assert_eq!(turn(found, count), at as u64, "place {found} of {count}");
            }
            (1..=count).for_each(|turns| is_even(count, turns));
            places.sort_unstable();
            assert!(places.into_iter().eq(0..count), "{count}");
        }
    }

    proptest! {
        #[test]
        fn places_and_turns_of_any_row_stand_for_each_other(
            count in 1..=u64::MAX, at in any::<u64>()
        ) {
            let at = at % count;
            prop_assert!(place(at, count) < count);
            prop_assert_eq!(turn(place(at, count), count), at);
            prop_assert_eq!(place(turn(at, count), count), at);
        }

        #[test]
        fn the_beginning_of_a_long_row_covers_it(
            count in 1_000..=10_000_000_u64, turns in 1..1_000_u64
        ) {
            is_even(count, turns);
        }

        #[test]
        fn turns_that_there_are_not_stand_for_themselves(count in 0..1_000_u64, more in 0..10_u64) {
            prop_assert_eq!(place(count + more, count), count + more);
            prop_assert_eq!(turn(count + more, count), count + more);
        }
    }
}
