//! Any text as a schedule: it is read or refused with a place in it, and what it comes to is a
//! finite number or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vqfarm_core::schedule::{Moment, Schedule};

fuzz_target!(|text: &str| {
    let schedule = Schedule::text(text);
    match schedule.error() {
        Some(error) => assert!(error.at.start <= error.at.end && error.at.end <= text.len()),
        None => {
            for frame in [0.0, 0.5, 7.0, 1e6] {
                let moment = Moment { frame, frames: 100.0, fps: 24.0, seed: 7 };
                if let Ok(value) = schedule.at(&moment) {
                    assert!(value.is_finite());
                }
            }
        }
    }
});
