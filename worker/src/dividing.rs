//! A batch that does not come out as a whole: smaller ones, and with less memory.

use std::ops::Range;

use vqfarm_weights::memory::Thrift;

use crate::budget::Plan;
use crate::paint::PaintError;

/// Whoever makes the pictures of a batch.
pub trait Attempt {
    type Made;

    /// How so many pictures are made.
    fn plan(&mut self, pictures: usize) -> Result<Plan, PaintError>;

    /// Makes some of them together.
    fn make(&mut self, which: Range<usize>, thrift: Thrift) -> Result<Vec<Self::Made>, PaintError>;

    /// Plans with less memory from now on, as this was too much; false when nothing less is left.
    fn economise(&mut self, failed: Plan) -> bool;
}

/// Makes pictures, as many together as is planned; one result for each. For want of memory they
/// are made with less; whatever else fails is tried again in halves, so that a picture fails only
/// by itself.
pub fn make_all<A: Attempt>(
    attempt: &mut A,
    which: Range<usize>,
) -> Vec<Result<A::Made, PaintError>> {
    if which.is_empty() {
        return Vec::new();
    }
    let split = |attempt: &mut A, at: usize| {
        let mut results = make_all(attempt, which.start..which.start + at);
        results.extend(make_all(attempt, which.start + at..which.end));
        results
    };
    let made = match attempt.plan(which.len()) {
        Ok(plan) if (plan.pictures as usize) < which.len() => {
            return split(attempt, plan.pictures.max(1) as usize);
        }
        Ok(plan) => match attempt.make(which.clone(), plan.thrift) {
            Err(error) if error.is_out_of_memory() && attempt.economise(plan) => {
                return make_all(attempt, which);
            }
            made => made,
        },
        Err(error) => Err(error),
    };
    match made {
        Ok(made) => made.into_iter().map(Ok).collect(),
        Err(PaintError::Stopped) => which.map(|_| Err(PaintError::Stopped)).collect(),
        Err(error) if which.len() == 1 => vec![Err(error)],
        Err(_) => split(attempt, which.len() / 2),
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_engine::EngineError;
    use vqfarm_weights::memory::Batch;

    use super::*;

    /// A device that holds so much, and a picture that never comes out.
    struct Device {
        holds: usize,
        poison: Option<usize>,
        fits: Option<Plan>,
        tried: Vec<(Range<usize>, Thrift)>,
    }

    impl Device {
        fn new(holds: usize) -> Self {
            Self { holds, poison: None, fits: None, tried: Vec::new() }
        }

        /// How many were tried together, in turn, since it was last asked.
        fn tried(&mut self) -> Vec<usize> {
            self.tried.drain(..).map(|(which, _)| which.len()).collect()
        }
    }

    const BATCH: Batch =
        Batch { pictures: 1, size: [64, 64], cutouts: 32, bf16: false, cuda: true };

    impl Attempt for Device {
        type Made = usize;

        fn plan(&mut self, pictures: usize) -> Result<Plan, PaintError> {
            let whole = Plan { pictures: pictures as u32, thrift: Thrift::default() };
            Ok(self.fits.map_or(whole, |fits| fits.no_more_than(pictures as u32)))
        }

        fn make(&mut self, which: Range<usize>, thrift: Thrift) -> Result<Vec<usize>, PaintError> {
            self.tried.push((which.clone(), thrift));
            let failed = |what: &str| Err(EngineError::Failed(what.into()).into());
            // Nothing computed twice saves a half here.
            let takes = which.len() * if thrift.computes_once() { 2 } else { 1 };
            if takes > self.holds {
                return failed("CUDA out of memory. Tried to allocate 3 GiB");
            }
            match self.poison.is_some_and(|poison| which.contains(&poison)) {
                true => failed("index out of range in self"),
                false => Ok(which.collect()),
            }
        }

        fn economise(&mut self, failed: Plan) -> bool {
            let less = failed.less(Some(&BATCH));
            self.fits = less.or(self.fits);
            less.is_some()
        }
    }

    fn well(results: &[Result<usize, PaintError>]) -> Vec<usize> {
        results.iter().filter_map(|result| result.as_ref().ok().copied()).collect()
    }

    #[test]
    fn a_batch_too_large_is_halved_until_it_fits_and_so_are_those_after_it() {
        let mut device = Device::new(4);
        assert_eq!(well(&make_all(&mut device, 0..8)), (0..8).collect::<Vec<_>>());
        assert_eq!(device.tried(), [8, 4, 2, 2, 2, 2]);
        assert_eq!(well(&make_all(&mut device, 0..5)), [0, 1, 2, 3, 4]);
        assert_eq!(device.tried(), [2, 2, 1], "remembered");
    }

    #[test]
    fn one_picture_too_large_is_made_more_frugally_before_it_fails() {
        let mut device = Device::new(1);
        assert_eq!(well(&make_all(&mut device, 0..2)), [0, 1]);
        let ways: Vec<Thrift> = device.tried.iter().map(|(_, thrift)| *thrift).collect();
        assert!(ways.last().is_some_and(|way| !way.computes_once()), "{ways:?}");
        device.tried();
        assert_eq!(well(&make_all(&mut device, 0..2)), [0, 1]);
        assert_eq!(device.tried(), [1, 1], "remembered");

        let mut full = Device::new(0);
        let results = make_all(&mut full, 0..1);
        assert!(matches!(&results[..], [Err(error)] if error.is_out_of_memory()));
        assert_eq!(full.tried.len(), BATCH.ways().count(), "every way once");
    }

    #[test]
    fn what_fails_otherwise_is_found_by_halves_and_costs_the_others_nothing() {
        let mut device = Device { poison: Some(5), ..Device::new(100) };
        let results = make_all(&mut device, 0..8);
        assert_eq!(well(&results), [0, 1, 2, 3, 4, 6, 7]);
        assert!(results[5].is_err());
        assert_eq!(device.tried(), [8, 4, 4, 2, 1, 1, 2]);
        assert_eq!(device.fits, None, "nothing is said of the memory");
    }
}
