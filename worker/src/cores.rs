//! A CPU's cores, shared by lanes whose pictures need one or several.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a wait lasts before its caller is asked whether it still wants to wait.
const LOOK: Duration = Duration::from_millis(100);

/// So many cores, of which some are in use.
#[derive(Debug)]
pub struct Cores {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
}

/// Cores in use, free again when dropped.
#[derive(Debug)]
pub struct InUse<'a> {
    cores: &'a Cores,
    count: usize,
}

impl Cores {
    pub fn new(all: usize) -> Self {
        Self { all, free: Mutex::new(all), freed: Condvar::new() }
    }

    /// Waits for `count` cores, or all where there are fewer, for as long as `wanted` says.
    pub fn take(&self, count: usize, wanted: impl Fn() -> bool) -> Option<InUse<'_>> {
        let count = count.min(self.all);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < count {
            if !wanted() {
                return None;
            }
            let waited = self.freed.wait_timeout(free, LOOK);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= count;
        Some(InUse { cores: self, count })
    }
}

impl InUse<'_> {
    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        *self.cores.free.lock().unwrap_or_else(PoisonError::into_inner) += self.count;
        self.cores.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_there_is() {
        let cores = Cores::new(2);
        let one = cores.take(1, || true).unwrap();
        assert!(cores.take(2, || false).is_none());
        let other = cores.take(1, || false).unwrap();
        drop((one, other));
        assert!(cores.take(5, || false).is_some(), "as many as there are");
        std::thread::scope(|scope| {
            let both = cores.take(2, || true).unwrap();
            let waiting = scope.spawn(|| cores.take(1, || true).is_some());
            drop(both);
            assert!(waiting.join().unwrap());
        });
    }
}
