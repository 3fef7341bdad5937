//! How fast a farm works, from the commits that a coordinator hears of.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use vqfarm_core::clock::Timestamp;

/// How far back it looks.
const WINDOW: Duration = Duration::from_secs(60);
/// Commits within one such slot are counted together.
const SLOT: i64 = 1000;

/// Commits of the last minute.
#[derive(Debug, Default)]
pub struct Pace(Mutex<VecDeque<Slot>>);

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: i64,
    tasks: u64,
    frames: u64,
}

impl Pace {
    /// A task was committed that made so many frames.
    pub fn committed(&self, now: Timestamp, frames: u64) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.0 / SLOT;
        match slots.back_mut() {
            Some(last) if last.number == number => {
                last.tasks += 1;
                last.frames += frames;
            }
            _ => slots.push_back(Slot { number, tasks: 1, frames }),
        }
        forget(&mut slots, now);
    }

    /// Tasks a minute, since the first commit of the last minute; 0 while there is too little to
    /// tell by.
    pub fn tasks_a_minute(&self, now: Timestamp) -> f64 {
        self.a_second(now, |slot| slot.tasks) * 60.0
    }

    /// Frames an hour, seen the same way.
    pub fn frames_an_hour(&self, now: Timestamp) -> f64 {
        self.a_second(now, |slot| slot.frames) * 3600.0
    }

    fn a_second(&self, now: Timestamp, count: impl Fn(&Slot) -> u64) -> f64 {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut slots, now);
        // Nobody knows how long the first ones took: they mark the beginning.
        let Some(first) = slots.front() else { return 0.0 };
        let span = now.since(Timestamp(first.number * SLOT)).as_secs_f64();
        let counted: u64 = slots.iter().skip(1).map(count).sum();
        if span < 1.0 { 0.0 } else { counted as f64 / span }
    }
}

fn forget(slots: &mut VecDeque<Slot>, now: Timestamp) {
    while slots.front().is_some_and(|slot| now.since(Timestamp(slot.number * SLOT)) > WINDOW) {
        slots.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_looked_at_and_no_more() {
        let pace = Pace::default();
        assert_eq!(pace.tasks_a_minute(Timestamp(0)), 0.0);
        for second in 0..30 {
            pace.committed(Timestamp(second * 1000), 3);
        }
        assert_eq!(pace.tasks_a_minute(Timestamp(29_000)), 60.0);
        assert_eq!(pace.frames_an_hour(Timestamp(29_000)), 3.0 * 3600.0);
        assert_eq!(pace.tasks_a_minute(Timestamp(58_000)), 30.0);
        assert_eq!(pace.tasks_a_minute(Timestamp(200_000)), 0.0);
        // Two tasks that end at once are no pace.
        pace.committed(Timestamp(200_000), 1);
        pace.committed(Timestamp(200_000), 1);
        assert_eq!(pace.tasks_a_minute(Timestamp(201_000)), 0.0);
    }
}
