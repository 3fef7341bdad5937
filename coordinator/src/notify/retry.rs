//! When to try again to tell somebody who could not be told.

use std::time::Duration;

use vqfarm_core::clock::Timestamp;

/// How patiently a target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The pause after the first attempt; it doubles with each further one.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// So long after the job's end nobody tries any more.
    pub give_up: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(3600),
            give_up: Duration::from_secs(24 * 3600),
        }
    }
}

impl Retry {
    /// The longest pause after attempt `attempt`, counted from 1.
    pub fn at_most(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }

    /// When to try next after an attempt that failed at `now`. `random`, in 0..1, takes up to half
    /// of the pause away, so that many who failed together do not come back together. A receiver
    /// that `asked` for a longer pause gets it.
    pub fn next(
        &self,
        attempt: u32,
        now: Timestamp,
        asked: Option<Duration>,
        random: f64,
    ) -> Timestamp {
        let pause = self.at_most(attempt).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        now.after(pause.max(asked.unwrap_or_default()))
    }

    /// Whether it is too late to try at `now`, when the job ended at `ended`.
    pub fn is_over(&self, ended: Timestamp, now: Timestamp) -> bool {
        now.since(ended) > self.give_up
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_core::clock::{Clock, ManualClock};

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_up_to_the_longest_until_a_day_has_passed() {
        let retry = Retry::default();
        let ended = Timestamp(1_000_000);
        let clock = ManualClock::at(ended);
        let mut pauses = Vec::new();
        for attempt in 1.. {
            let next = retry.next(attempt, clock.now(), None, 0.0);
            let pause = next.since(clock.now());
            if retry.is_over(ended, next) {
                break;
            }
            pauses.push(pause.as_secs());
            clock.advance(pause);
        }
        assert_eq!(pauses[..11], [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]);
        assert!(pauses[10..].iter().all(|pause| *pause == 3600));
        assert_eq!(pauses.len(), 10 + 22, "attempts in a day");
    }

    #[test]
    fn chance_shortens_and_a_receiver_lengthens_a_pause() {
        let retry = Retry::default();
        let pause = |attempt, asked, random| {
            retry.next(attempt, Timestamp(7), asked, random).since(Timestamp(7))
        };
        assert_eq!(pause(3, None, 0.5), seconds(15));
        assert_eq!(pause(3, None, 1.0), seconds(10));
        assert_eq!(pause(1, Some(seconds(90)), 0.5), seconds(90));
        assert_eq!(pause(9, Some(seconds(90)), 0.0), seconds(1280));
        assert_eq!(pause(u32::MAX, None, 0.0), seconds(3600));
        assert_eq!(
            retry.next(1, Timestamp(i64::MAX), Some(Duration::MAX), 0.0),
            Timestamp(i64::MAX)
        );
    }
}
