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
pub struct Pace(Mutex<VecDeque<(i64, u64)>>);

impl Pace {
    pub fn committed(&self, now: Timestamp) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = now.0 / SLOT;
        match slots.back_mut() {
            Some((last, count)) if *last == slot => *count += 1,
            _ => slots.push_back((slot, 1)),
        }
        forget(&mut slots, now);
    }

    /// Tasks a minute, since the first commit of the last minute; 0 while there is too little to
    /// tell by.
    pub fn a_minute(&self, now: Timestamp) -> f64 {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut slots, now);
        // Nobody knows how long the first ones took: they mark the beginning.
        let Some((first, _)) = slots.front() else { return 0.0 };
        let span = now.since(Timestamp(first * SLOT)).as_secs_f64();
        let count: u64 = slots.iter().skip(1).map(|(_, count)| count).sum();
        if span < 1.0 { 0.0 } else { count as f64 * 60.0 / span }
    }
}

fn forget(slots: &mut VecDeque<(i64, u64)>, now: Timestamp) {
    while slots.front().is_some_and(|(slot, _)| now.since(Timestamp(slot * SLOT)) > WINDOW) {
        slots.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_looked_at_and_no_more() {
        let pace = Pace::default();
        assert_eq!(pace.a_minute(Timestamp(0)), 0.0);
        for second in 0..30 {
            pace.committed(Timestamp(second * 1000));
        }
        assert_eq!(pace.a_minute(Timestamp(29_000)), 60.0);
        assert_eq!(pace.a_minute(Timestamp(58_000)), 30.0);
        assert_eq!(pace.a_minute(Timestamp(200_000)), 0.0);
        // Two tasks that end at once are no pace.
        pace.committed(Timestamp(200_000));
        pace.committed(Timestamp(200_000));
        assert_eq!(pace.a_minute(Timestamp(201_000)), 0.0);
    }
}
