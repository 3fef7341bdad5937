//! How many pictures are computed together: as many as somebody says, or as pay.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vqfarm_core::speed::Workload;

/// What a device is tried with first.
const FIRST: u32 = 2;
/// More are never tried: tasks that one worker holds are missing elsewhere.
const MOST: u32 = 64;
/// Twice as many pictures pay from this gain on.
const PAYS: f64 = 1.05;

type Kind = (Workload, [u32; 2]);

/// The number of pictures that are leased and computed together, for all lanes of a worker.
#[derive(Debug)]
pub struct BatchSize {
    asked: Asked,
    learnt: Mutex<Learnt>,
}

/// What `--batch` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// As measured while working.
    Auto,
    /// No more than these.
    Fixed(u32),
}

/// What is known by kind of picture.
#[derive(Debug, Default)]
struct Learnt {
    curves: HashMap<Kind, Curve>,
    /// What was made last; the next lease will mostly be of the same.
    last: Option<Kind>,
}

impl BatchSize {
    pub fn new(asked: Asked) -> Self {
        Self { asked, learnt: Mutex::default() }
    }

    /// The most that will ever be asked for.
    pub fn most(&self) -> u32 {
        match self.asked {
            Asked::Auto => MOST,
            Asked::Fixed(n) => n.max(1),
        }
    }

    /// How many to lease next.
    pub fn next(&self) -> u32 {
        let Asked::Auto = self.asked else { return self.most() };
        let learnt = self.lock();
        let curve = learnt.last.as_ref().and_then(|kind| learnt.curves.get(kind));
        curve.map_or(FIRST, Curve::next)
    }

    /// Takes note of pictures that were made together: iterations of all of them a second, or none
    /// where it went only in parts.
    pub fn note(&self, kind: Kind, pictures: usize, rate: Option<f64>) {
        if self.asked == Asked::Auto {
            let mut learnt = self.lock();
            let curve = learnt.curves.entry(kind.clone()).or_default();
            curve.note(u32::try_from(pictures).unwrap_or(u32::MAX), rate.unwrap_or(0.0));
            learnt.last = Some(kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(n)) if (1..=1024).contains(&n) => Ok(Self::Fixed(n)),
            _ => Err("choose auto, or a number from 1 to 1024".into()),
        }
    }
}

/// Speed by the number of pictures.
#[derive(Debug, Default)]
struct Curve(BTreeMap<u32, f64>);

impl Curve {
    /// The last measurement counts.
    fn note(&mut self, pictures: u32, rate: f64) {
        self.0.insert(pictures, rate);
    }

    /// Twice as many as long as that has paid, or is not yet known to.
    fn next(&self) -> u32 {
        let mut best = FIRST;
        while let Some(rate) = self.0.get(&best).filter(|rate| **rate > 0.0) {
            let twice = best * 2;
            match self.0.get(&twice) {
                _ if twice > MOST => break,
                None => return twice,
                Some(more) if *more >= rate * PAYS => best = twice,
                Some(_) => break,
            }
        }
        // Where even the first ones did not fit together.
        if self.0.get(&best) == Some(&0.0) { 1 } else { best }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vqfarm_core::render::RenderSettings;

    use super::*;

    fn kind(side: u32) -> Kind {
        (Workload::of(&RenderSettings::default(), &BTreeMap::new()), [side; 2])
    }

    /// The sizes that are leased in turn on a device of this speed.
    fn leased(rate: impl Fn(u32) -> Option<f64>) -> Vec<u32> {
        let size = BatchSize::new(Asked::Auto);
        let lease = |_| {
            let n = size.next();
            size.note(kind(64), n as usize, rate(n));
            n
        };
        (0..9).map(lease).collect()
    }

    #[test]
    fn it_doubles_while_that_pays() {
        // A device that is busy with four pictures.
        let saturated = |n: u32| Some(10.0 * f64::from(n.min(4)));
        assert_eq!(leased(saturated), [2, 4, 8, 4, 4, 4, 4, 4, 4]);
        // One that a single picture fills.
        assert_eq!(leased(|_| Some(10.0)), [2, 4, 2, 2, 2, 2, 2, 2, 2]);
        // Without an end, up to what one worker may hold.
        assert_eq!(leased(|n| Some(f64::from(n))), [2, 4, 8, 16, 32, 64, 64, 64, 64]);
        let barely = |n: u32| Some(1.04_f64.powf(f64::from(n).log2()));
        assert_eq!(leased(barely), [2, 4, 2, 2, 2, 2, 2, 2, 2], "4 % is no gain");
    }

    #[test]
    fn what_the_memory_does_not_hold_is_not_asked_for_again() {
        let full = |n: u32| (n <= 8).then_some(f64::from(n));
        assert_eq!(leased(full), [2, 4, 8, 16, 8, 8, 8, 8, 8]);
        assert_eq!(leased(|n| (n < 2).then_some(1.0))[1..], [1; 8]);
    }

    #[test]
    fn each_kind_of_picture_has_a_curve_of_its_own() {
        let size = BatchSize::new(Asked::Auto);
        size.note(kind(64), 2, Some(1.0));
        assert_eq!(size.next(), 4);
        size.note(kind(512), 4, None);
        assert_eq!(size.next(), 2, "nothing is known of two of these");
        size.note(kind(64), 4, Some(4.0));
        assert_eq!(size.next(), 8);
    }

    #[test]
    fn a_number_is_a_number() {
        assert_eq!("auto".parse(), Ok(Asked::Auto));
        assert_eq!("16".parse(), Ok(Asked::Fixed(16)));
        for bad in ["", "0", "1025", "-1", "many", "Auto"] {
            assert!(bad.parse::<Asked>().is_err(), "{bad}");
        }
        let size = BatchSize::new(Asked::Fixed(5));
        size.note(kind(64), 5, Some(1.0));
        assert_eq!((size.next(), size.most()), (5, 5));
    }
}
