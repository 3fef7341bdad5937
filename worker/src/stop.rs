//! When a worker stops, and how soon.

use tokio::sync::watch;

/// How urgently a worker stops. Only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    No,
    /// Finish what is being rendered; hand back the rest.
    Finish,
    /// Hand everything back.
    Now,
}

/// The one brake of a worker. Clones are the same brake.
#[derive(Clone, Debug)]
pub struct Brake(watch::Sender<Stop>);

impl Default for Brake {
    fn default() -> Self {
        Self(watch::Sender::new(Stop::No))
    }
}

impl Brake {
    /// Asks for this much; less than was asked before changes nothing.
    pub fn raise(&self, stop: Stop) {
        self.0.send_if_modified(|now| {
            let more = stop > *now;
            if more {
                *now = stop;
            }
            more
        });
    }

    pub fn level(&self) -> Stop {
        *self.0.borrow()
    }

    /// Waits until this much is asked.
    pub async fn reached(&self, stop: Stop) {
        // The sender is ours, so waiting ends only this way.
        let _ = self.0.subscribe().wait_for(|now| *now >= stop).await;
    }
}
