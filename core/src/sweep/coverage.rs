//! An order of a sweep's cells in which any beginning of it samples the whole grid, by arithmetic
//! in both directions: nothing is kept of the order.
//!
//! All axes move on with each cell, each in an order of its own, as in a Latin square: of the
//! first `n` cells each of an axis's `l` values has `n / l`, rounded down or up. The longest axis is
//! halved again and again; the others step by a share of their length that has no small
//! fraction near it (a Richtmyer sequence), so that no two axes go together.
//!
//! Where axes decide what can be rendered together, cells come in runs that agree on these.

use crate::bisect;

/// Cells of a run: as many as workers lease at once unless they are told otherwise.
const RUN: u64 = 8;

/// The order of all combinations of a sweep's factors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    factors: Vec<Factor>,
    /// Over the factors that may differ within a run.
    free: Lattice,
    /// Cells of a run, and how many whole runs the free combinations make.
    run: u64,
    runs: u64,
    /// Over whole runs and the factors that a run agrees on.
    blocks: Lattice,
    /// Over the latter alone, for what is left after whole runs.
    tail: Lattice,
}

/// One factor of a combination: an axis, or axes that walk together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// How many values; at least one.
    pub len: u64,
    /// Cells that differ in it can be rendered together.
    pub is_free: bool,
}

impl Coverage {
    /// Of combinations that are numbered with the last factor fastest; their product is below
    /// 2^64.
    pub fn new(factors: Vec<Factor>) -> Self {
        let lens = |free: bool| {
            factors.iter().filter(move |factor| factor.is_free == free).map(|factor| factor.len)
        };
        let free = Lattice::spread(lens(true));
        let run = free.len().min(RUN);
        let runs = free.len() / run;
        Self {
            run,
            runs,
            blocks: Lattice::of_runs(runs, lens(false)),
            tail: Lattice::spread(lens(false)),
            free,
            factors,
        }
    }

    /// How many combinations.
    #[allow(clippy::len_without_is_empty)] // There is at least one.
    pub fn len(&self) -> u64 {
        self.free.len() * self.tail.len()
    }

    /// The combination that comes as number `turn`, below [`Self::len`].
    pub fn combination(&self, turn: u64) -> u64 {
        let whole = self.in_whole_runs();
        let (bound, place) = if turn < whole {
            let mut places = self.blocks.places(turn / self.run);
            let run = places.remove(0);
            (places, run * self.run + turn % self.run)
        } else {
            let rest = self.free.len() - self.runs * self.run;
            let turn = turn - whole;
            (self.tail.places(turn / rest), self.runs * self.run + turn % rest)
        };
        let (mut free, mut bound) = (self.free.places(place).into_iter(), bound.into_iter());
        self.factors.iter().fold(0, |number, factor| {
            let place = if factor.is_free { free.next() } else { bound.next() };
            number * factor.len + place.unwrap_or(0)
        })
    }

    /// As which number a combination comes: the inverse of [`Self::combination`].
    pub fn turn(&self, combination: u64) -> u64 {
        let (mut free, mut bound) = (Vec::new(), Vec::new());
        let mut number = combination;
        for factor in self.factors.iter().rev() {
            let places = if factor.is_free { &mut free } else { &mut bound };
            places.push(number % factor.len);
            number /= factor.len;
        }
        free.reverse();
        bound.reverse();
        let place = self.free.turn(&free);
        let in_runs = self.runs * self.run;
        if place < in_runs {
            bound.insert(0, place / self.run);
            return self.blocks.turn(&bound) * self.run + place % self.run;
        }
        let rest = self.free.len() - in_runs;
        self.in_whole_runs() + self.tail.turn(&bound) * rest + place - in_runs
    }

    fn in_whole_runs(&self) -> u64 {
        self.runs * self.run * self.tail.len()
    }
}

/// An order of all places of a grid that moves on along all of its axes with each step. After as
/// many steps as bring all axes to their beginnings (the least common multiple of their lengths)
/// the axes are shifted against each other, and so on until all is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lattice {
    axes: Vec<Axis>,
    /// Steps until the axes are shifted.
    period: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Axis {
    len: u64,
    /// By how many places it can be shifted against the axes before it.
    shifts: u64,
    order: AxisOrder,
}

/// In which order an axis's places come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AxisOrder {
    Ascending,
    Bisected,
    /// Each so many places after the last, around the end. Both numbers have no divisor in
    /// common with the length, and their product is 1 but for multiples of it.
    Strided {
        by: u64,
        inverse: u64,
    },
}

impl Lattice {
    fn spread(lens: impl Iterator<Item = u64>) -> Self {
        let lens: Vec<u64> = lens.collect();
        let longest = (0..lens.len()).rev().max_by_key(|&at| lens[at]);
        let mut shares = (2_u64..).filter(|&n| (2..n).all(|m| n % m != 0)).map(share);
        let order = |(at, &len): (usize, &u64)| {
            if Some(at) == longest {
                return (len, AxisOrder::Bisected);
            }
            (len, stride(len, shares.next().unwrap_or(0.5)))
        };
        Self::new(lens.iter().enumerate().map(order).collect())
    }

    /// With the number of a run before the others, ascending: runs are spread in themselves.
    fn of_runs(runs: u64, lens: impl Iterator<Item = u64>) -> Self {
        let others = Self::spread(lens).axes.into_iter().map(|axis| (axis.len, axis.order));
        Self::new(std::iter::once((runs, AxisOrder::Ascending)).chain(others).collect())
    }

    fn new(axes: Vec<(u64, AxisOrder)>) -> Self {
        let mut period = 1;
        let mut axis = |(len, order)| {
            let shifts = gcd(period, len);
            period *= len / shifts;
            Axis { len, shifts, order }
        };
        let axes = axes.into_iter().map(&mut axis).collect();
        Self { axes, period }
    }

    fn len(&self) -> u64 {
        self.axes.iter().map(|axis| axis.len).product()
    }

    fn places(&self, turn: u64) -> Vec<u64> {
        let (mut shifts, step) = (turn / self.period, turn % self.period);
        let place = |axis: &Axis| {
            let shift = shifts % axis.shifts;
            shifts /= axis.shifts;
            axis.place(add(step % axis.len, shift, axis.len))
        };
        self.axes.iter().map(place).collect()
    }

    /// Finds the step by the Chinese remainder theorem: each axis tells the step but for
    /// multiples of its length, once its shift is known.
    fn turn(&self, places: &[u64]) -> u64 {
        let (mut step, mut period) = (0_u64, 1_u64);
        let (mut shifts, mut radix) = (0, 1);
        for (axis, &place) in self.axes.iter().zip(places) {
            let at = axis.turn(place);
            let behind = subtract(at, step % axis.len, axis.len);
            let shift = behind % axis.shifts;
            shifts += shift * radix;
            radix *= axis.shifts;
            // step + period·times must leave what the axis tells.
            let (more, len) = ((behind - shift) / axis.shifts, axis.len / axis.shifts);
            let times = multiply(more, inverse(period / axis.shifts, len), len);
            step += period * times;
            period *= len;
        }
        shifts * self.period + step
    }
}

impl Axis {
    fn place(&self, turn: u64) -> u64 {
        match self.order {
            AxisOrder::Ascending => turn,
            AxisOrder::Bisected => bisect::place(turn, self.len),
            AxisOrder::Strided { by, .. } => multiply(turn, by, self.len),
        }
    }

    fn turn(&self, place: u64) -> u64 {
        match self.order {
            AxisOrder::Ascending => place,
            AxisOrder::Bisected => bisect::turn(place, self.len),
            AxisOrder::Strided { inverse, .. } => multiply(place, inverse, self.len),
        }
    }
}

/// The fraction of a prime's square root. Square roots are exact, so it is the same everywhere.
fn share(prime: u64) -> f64 {
    (prime as f64).sqrt().fract()
}

/// Steps of about this share of a length, all of whose places they come to.
fn stride(len: u64, share: f64) -> AxisOrder {
    let wanted = ((len as f64 * share).round() as u64).min(len);
    let fits = |&by: &u64| by > 0 && gcd(by, len) == 1;
    let near = (0..=len).find_map(|off| {
        [wanted.checked_sub(off), wanted.checked_add(off)].into_iter().flatten().find(fits)
    });
    let by = near.unwrap_or(1);
    AxisOrder::Strided { by, inverse: inverse(by, len) }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn add(a: u64, b: u64, modulus: u64) -> u64 {
    ((u128::from(a) + u128::from(b)) % u128::from(modulus)) as u64
}

fn subtract(a: u64, b: u64, modulus: u64) -> u64 {
    add(a, modulus - b, modulus)
}

fn multiply(a: u64, b: u64, modulus: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(modulus)) as u64
}

/// What `a` must be multiplied by to leave 1, by Euclid's algorithm; they have no divisor in common.
fn inverse(a: u64, modulus: u64) -> u64 {
    let m = i128::from(modulus);
    let (mut old, mut new) = ((i128::from(a) % m, 1_i128), (m, 0_i128));
    while new.0 != 0 {
        let times = old.0 / new.0;
        (old, new) = (new, (old.0 - times * new.0, old.1 - times * new.1));
    }
    old.1.rem_euclid(m) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn coverage(factors: &[(u64, bool)]) -> Coverage {
        Coverage::new(factors.iter().map(|&(len, is_free)| Factor { len, is_free }).collect())
    }

    fn places(factors: &[(u64, bool)], mut combination: u64) -> Vec<u64> {
        let mut places = Vec::new();
        for (len, _) in factors.iter().rev() {
            places.push(combination % len);
            combination /= len;
        }
        places.reverse();
        places
    }

    /// The most by which two values of an axis may differ in how often they came.
    fn bound(factors: &[(u64, bool)], is_free: bool) -> u64 {
        let all = |free: bool| -> u64 {
            factors.iter().filter(|factor| factor.1 == free).map(|factor| factor.0).product()
        };
        // Runs go by all free values once for each combination of the others.
        if is_free { all(false) } else { RUN.min(all(true)) }
    }

    #[test]
    fn the_first_cells_are_far_from_each_other() {
        let factors = [(5, true), (4, true)];
        let order = coverage(&factors);
        let first: Vec<_> = (0..5).map(|n| places(&factors, order.combination(n))).collect();
        assert_eq!(first, [[0, 0], [2, 1], [1, 2], [3, 3], [4, 0]]);
        let factors = [(12, true), (12, true)];
        let order = coverage(&factors);
        let quarters: BTreeSet<_> = (0..8)
            .map(|n| places(&factors, order.combination(n)))
            .map(|place| (place[0] / 6, place[1] / 6))
            .collect();
        assert_eq!(quarters.len(), 4, "eight cells are in all quarters of the grid");
    }

    #[test]
    fn runs_agree_on_what_cannot_be_rendered_together() {
        let factors = [(3, false), (20, true), (2, false), (5, true)];
        let order = coverage(&factors);
        for run in 0..order.len() / RUN {
            let bound: BTreeSet<_> = (run * RUN..(run + 1) * RUN)
                .map(|turn| places(&factors, order.combination(turn)))
                .map(|place| (place[0], place[2]))
                .collect();
            // 100 free combinations are twelve runs and a half.
            assert!(bound.len() == 1 || run >= 12 * 6, "run {run}: {bound:?}");
        }
    }

    #[test]
    fn ten_million_cells_need_no_table() {
        let order = coverage(&[(1000, true), (100, true), (100, true)]);
        assert_eq!(order.len(), 10_000_000);
        for turn in (0..order.len()).step_by(99_991) {
            assert_eq!(order.turn(order.combination(turn)), turn);
        }
    }

    fn any_factors() -> impl Strategy<Value = Vec<(u64, bool)>> {
        proptest::collection::vec((1..9_u64, any::<bool>()), 0..5)
    }

    proptest! {
        #[test]
        fn it_is_a_permutation(factors in any_factors()) {
            let order = coverage(&factors);
            let mut seen = BTreeSet::new();
            for turn in 0..order.len() {
                let combination = order.combination(turn);
                prop_assert!(combination < order.len());
                prop_assert_eq!(order.turn(combination), turn);
                seen.insert(combination);
            }
            prop_assert_eq!(seen.len() as u64, factors.iter().map(|f| f.0).product::<u64>());
        }

        #[test]
        fn any_beginning_has_all_values_alike(factors in any_factors()) {
            let order = coverage(&factors);
            let mut counts: Vec<Vec<u64>> =
                factors.iter().map(|factor| vec![0; factor.0 as usize]).collect();
            for turn in 0..order.len() {
                for (axis, place) in places(&factors, order.combination(turn)).into_iter().enumerate() {
                    counts[axis][place as usize] += 1;
                }
                for (counts, factor) in counts.iter().zip(&factors) {
                    let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
                    prop_assert!(most - least <= bound(&factors, factor.1), "{:?}", counts);
                }
            }
        }

        #[test]
        fn long_axes_are_there_and_back(
            lens in proptest::collection::vec((1..60_000_u64, any::<bool>()), 1..4), at in any::<u64>()
        ) {
            let order = coverage(&lens);
            let turn = at % order.len();
            prop_assert_eq!(order.turn(order.combination(turn)), turn);
        }
    }
}
