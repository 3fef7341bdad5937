//! One iteration captured and repeated: after some iterations as usual the next one is recorded,
//! and from then on a single launch does what thousands did.
//!
//! A recording is trusted once it has done the same as the iteration itself; whatever fails, the
//! session goes on as usual.

use tch::{Kind, Tensor};

use crate::device::{self, Graph};
use crate::error::{EngineError, Result};
use crate::guard::guard;

/// Iterations before the first recording: libraries choose their kernels and memory in these.
const WARM_UP: u32 = 3;

/// Iterations that must still be to come: recording takes about as long as three.
pub(super) const WORTH: u32 = 16;

/// How far a recording's state may be from the iteration's own, as a part of how far the iteration
/// moved it: sums in another order, but nothing else.
const ROUNDING: f64 = 1e-2;

/// What can be iterated.
pub(super) trait World {
    /// Changes the state by one iteration, in its place.
    fn step(&mut self) -> Result<()>;

    /// The tensors that an iteration goes on from, always in the same places.
    fn state(&self) -> Vec<Tensor>;
}

/// Makes recordings.
pub(super) trait Recorder {
    /// Records one iteration. The state may be anything afterwards.
    ///
    /// # Errors
    /// It cannot be recorded.
    fn record(&mut self, world: &mut dyn World) -> Result<Box<dyn Recording>>;
}

/// A recorded iteration.
pub(super) trait Recording {
    /// Changes the state as the iteration did.
    ///
    /// # Errors
    /// The device fails.
    fn replay(&self, world: &mut dyn World) -> Result<()>;
}

/// Iterates, by a recording where there is one.
pub(super) struct Repeater {
    recorder: Box<dyn Recorder>,
    phase: Phase,
}

enum Phase {
    /// So many iterations to go before a recording is made.
    Warming(u32),
    Recorded(Box<dyn Recording>),
    /// Recording failed once and is not tried again.
    Given,
}

impl Repeater {
    pub fn new(recorder: Box<dyn Recorder>) -> Self {
        Self { recorder, phase: Phase::Warming(WARM_UP) }
    }

    /// Drops the recording: what it was made for has changed.
    pub fn forget(&mut self) {
        if let Phase::Recorded(_) = self.phase {
            self.phase = Phase::Warming(0);
        }
    }

    /// One iteration. `left` is how many are still to come, this one included. The second value
    /// says why there are no recordings, when that turns out.
    ///
    /// # Errors
    /// The iteration itself fails.
    pub fn step(&mut self, world: &mut dyn World, left: u32) -> Result<Option<String>> {
        match &mut self.phase {
            Phase::Recorded(recording) => recording.replay(world).map(|()| None),
            Phase::Warming(0) if left > WORTH => match self.record(world) {
                Ok(recording) => {
                    self.phase = Phase::Recorded(recording);
                    Ok(None)
                }
                Err(Refusal::Recording(why)) => {
                    self.phase = Phase::Given;
                    Ok(Some(format!("CUDA graphs are not used: {why}")))
                }
                Err(Refusal::Iteration(error)) => Err(error),
            },
            Phase::Warming(left) => {
                *left = left.saturating_sub(1);
                world.step().map(|()| None)
            }
            Phase::Given => world.step().map(|()| None),
        }
    }

    /// Makes a recording, and one iteration with it, which must do as the iteration does. When it
    /// is refused, the iteration is made as usual.
    fn record(&mut self, world: &mut dyn World) -> Result<Box<dyn Recording>, Refusal> {
        let before = copies(world)?;
        world.step()?;
        let wanted = copies(world)?;
        put(world, &before)?;
        // Recorded last: what else the world keeps of an iteration is then where repeats leave it.
        let why = match self.recorder.record(world) {
            Ok(recording) => {
                put(world, &before)?;
                let replayed = recording.replay(world);
                match replayed.and_then(|()| compare(world, &before, &wanted)) {
                    Ok(apart) if apart <= ROUNDING => return Ok(recording),
                    Ok(apart) => format!("what they repeat differs by {apart:.1e} of a step"),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        put(world, &before)?;
        world.step()?;
        Err(Refusal::Recording(why))
    }
}

/// Why there is no recording.
enum Refusal {
    /// Iterations can go on without.
    Recording(String),
    /// The iteration itself failed.
    Iteration(EngineError),
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Iteration(error)
    }
}

fn copies(world: &dyn World) -> Result<Vec<Tensor>> {
    guard(|| world.state().iter().map(Tensor::copy).collect())
}

fn put(world: &mut dyn World, state: &[Tensor]) -> Result<()> {
    for (place, value) in world.state().iter_mut().zip(state) {
        place.f_copy_(value)?;
    }
    Ok(())
}

/// The largest distance of the state from the wanted one, relative to how far that has moved.
/// Infinite where numbers are none. Waits for the device.
fn compare(world: &dyn World, before: &[Tensor], wanted: &[Tensor]) -> Result<f64> {
    let length = |a: &Tensor, b: &Tensor| {
        let apart: Tensor = a.to_kind(Kind::Double) - b.to_kind(Kind::Double);
        apart.norm().double_value(&[])
    };
    guard(|| {
        let state = world.state();
        let parts = state.iter().zip(before).zip(wanted).map(|((now, before), wanted)| {
            match (length(now, wanted), length(wanted, before)) {
                (0.0, _) => 0.0,
                (apart, moved) if (apart / moved).is_finite() => apart / moved,
                _ => f64::INFINITY,
            }
        });
        parts.fold(0.0, f64::max)
    })
}

/// Records CUDA graphs on a device.
pub(super) struct CudaRecorder {
    pub device: usize,
}

impl Recorder for CudaRecorder {
    fn record(&mut self, world: &mut dyn World) -> Result<Box<dyn Recording>> {
        // What iterations used so far is not what the graph will use: it has memory of its own.
        device::empty_cache().map_err(EngineError::Failed)?;
        let work = || guard(|| world.step()).and_then(|result| result).map_err(|e| e.to_string());
        match Graph::capture::<String>(self.device, work) {
            Ok(graph) => Ok(Box::new(graph)),
            Err(why) => Err(EngineError::Failed(why)),
        }
    }
}

impl Recording for Graph {
    fn replay(&self, _: &mut dyn World) -> Result<()> {
        Graph::replay(self).map_err(EngineError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tch::Device;

    use super::*;

    /// Multiplies by its factor, and counts how often it was asked itself.
    struct Line {
        x: Tensor,
        /// A result beside the state, in new memory each time.
        result: Rc<RefCell<Tensor>>,
        factor: f64,
        steps: u32,
        fails: bool,
    }

    impl Line {
        fn new() -> Self {
            let x = Tensor::ones([3], (Kind::Float, Device::Cpu));
            Self {
                x,
                result: Rc::new(RefCell::new(Tensor::new())),
                factor: 2.0,
                steps: 0,
                fails: false,
            }
        }

        fn value(&self) -> f64 {
            self.x.double_value(&[0])
        }
    }

    impl World for Line {
        fn step(&mut self) -> Result<()> {
            self.steps += 1;
            if self.fails {
                return Err(EngineError::Failed("no step".into()));
            }
            self.x *= self.factor;
            *self.result.borrow_mut() = self.x.copy();
            Ok(())
        }

        fn state(&self) -> Vec<Tensor> {
            vec![self.x.shallow_clone()]
        }
    }

    #[derive(Clone, Copy, Default)]
    struct Faults {
        record: bool,
        replay: bool,
        /// What a replay is off by, as a factor.
        off: f64,
    }

    #[derive(Default)]
    struct Counts {
        records: u32,
        replays: u32,
    }

    /// Repeats by computing again, with the factor of when it was recorded, as a graph would.
    struct Fake {
        faults: Faults,
        counts: Rc<RefCell<Counts>>,
        result: Rc<RefCell<Tensor>>,
    }

    struct Again {
        faults: Faults,
        counts: Rc<RefCell<Counts>>,
        factor: f64,
        /// Where the result lay when this was recorded.
        result: Tensor,
    }

    impl Recorder for Fake {
        fn record(&mut self, world: &mut dyn World) -> Result<Box<dyn Recording>> {
            self.counts.borrow_mut().records += 1;
            let before = world.state()[0].double_value(&[0]);
            // A capture leaves no promise about the state.
            world.step()?;
            let factor = world.state()[0].double_value(&[0]) / before;
            match self.faults.record {
                true => Err(EngineError::Failed("no capture".into())),
                false => Ok(Box::new(Again {
                    faults: self.faults,
                    counts: Rc::clone(&self.counts),
                    factor,
                    result: self.result.borrow().shallow_clone(),
                })),
            }
        }
    }

    impl Recording for Again {
        fn replay(&self, world: &mut dyn World) -> Result<()> {
            self.counts.borrow_mut().replays += 1;
            if self.faults.replay {
                return Err(EngineError::Failed("no replay".into()));
            }
            let mut x = world.state().remove(0);
            x *= self.factor * (1.0 + self.faults.off);
            self.result.shallow_clone().copy_(&x);
            Ok(())
        }
    }

    fn repeater(faults: Faults) -> (Repeater, Rc<RefCell<Counts>>, Line) {
        let (counts, line) = (Rc::<RefCell<Counts>>::default(), Line::new());
        let result = Rc::clone(&line.result);
        let fake = Fake { faults, counts: Rc::clone(&counts), result };
        (Repeater::new(Box::new(fake)), counts, line)
    }

    /// So many iterations; what was said.
    fn go(repeater: &mut Repeater, world: &mut Line, count: u32, left: u32) -> Vec<String> {
        let mut said = Vec::new();
        for i in 0..count {
            said.extend(repeater.step(world, left - i).unwrap());
            assert_eq!(world.result.borrow().double_value(&[0]), world.value(), "iteration {i}");
        }
        said
    }

    #[test]
    fn warms_up_records_once_and_repeats() {
        let (mut repeater, counts, mut line) = repeater(Faults::default());
        assert!(go(&mut repeater, &mut line, 3, 100).is_empty());
        assert_eq!((line.steps, counts.borrow().records), (3, 0));
        assert!(go(&mut repeater, &mut line, 7, 97).is_empty());
        assert_eq!(line.value(), 1024.0);
        // One iteration was recorded and made beside the recording; the others are replays.
        assert_eq!((line.steps, counts.borrow().records, counts.borrow().replays), (5, 1, 7));
    }

    #[test]
    fn a_change_is_recorded_anew_without_warming_up() {
        let (mut repeater, counts, mut line) = repeater(Faults::default());
        go(&mut repeater, &mut line, 5, 100);
        line.factor = 3.0;
        repeater.forget();
        assert!(go(&mut repeater, &mut line, 2, 95).is_empty());
        assert_eq!(line.value(), 32.0 * 9.0);
        assert_eq!((counts.borrow().records, counts.borrow().replays), (2, 4));
    }

    #[test]
    fn what_cannot_be_recorded_is_said_once_and_computed_as_usual() {
        let off = |off| Faults { off, ..Faults::default() };
        let faults = [
            (Faults { record: true, ..Faults::default() }, "no capture"),
            (Faults { replay: true, ..Faults::default() }, "no replay"),
            (off(0.1), "differs"),
            (off(f64::NAN), "differs"),
        ];
        for (faults, why) in faults {
            let (mut repeater, counts, mut line) = repeater(faults);
            let said = go(&mut repeater, &mut line, 6, 100);
            assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
            assert_eq!((line.value(), counts.borrow().records), (64.0, 1), "{why}");
        }
    }

    #[test]
    fn rounding_is_no_reason_to_refuse() {
        let faults = Faults { off: 1e-4, ..Faults::default() };
        let (mut repeater, counts, mut line) = repeater(faults);
        assert!(go(&mut repeater, &mut line, 5, 100).is_empty());
        assert_eq!(counts.borrow().replays, 2);
    }

    #[test]
    fn few_iterations_are_not_worth_it() {
        let (mut repeater, counts, mut line) = repeater(Faults::default());
        go(&mut repeater, &mut line, 12, 12);
        assert_eq!((line.steps, counts.borrow().records), (12, 0));
    }

    #[test]
    fn an_iteration_that_fails_is_told() {
        let (mut repeater, _, mut line) = repeater(Faults::default());
        go(&mut repeater, &mut line, 3, 100);
        line.fails = true;
        assert!(repeater.step(&mut line, 90).is_err());
    }
}
