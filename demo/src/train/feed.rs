//! Batches drawn ahead on threads of their own, in a fixed order.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// Batch `k` is `make(k)`, whoever makes it and however many threads there are.
pub struct Feed<B> {
    lanes: Vec<Receiver<B>>,
    threads: Vec<JoinHandle<()>>,
    next: u64,
}

/// The threads are gone before the program is: what they draw with must not end under them.
impl<B> Drop for Feed<B> {
    fn drop(&mut self) {
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // One that died has said so itself.
            let _ = thread.join();
        }
    }
}

impl<B: Send + 'static> Feed<B> {
    /// Draws from batch `first` on with `threads` threads, each a few batches ahead.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<F>(first: u64, threads: u64, make: F) -> Result<Self>
    where
        F: Fn(u64) -> B + Clone + Send + 'static,
    {
        let mut feed = Self { lanes: Vec::new(), threads: Vec::new(), next: 0 };
        for lane in 0..threads {
            let (sender, receiver) = sync_channel(2);
            let make = make.clone();
            let thread = thread::Builder::new()
                .name(format!("scenes-{lane}"))
                // Ends when the receiver is dropped.
                .spawn(move || {
                    let mut k = first + lane;
                    while sender.send(make(k)).is_ok() {
                        k += threads;
                    }
                })
                .context("start a thread that draws scenes")?;
            feed.lanes.push(receiver);
            feed.threads.push(thread);
        }
        Ok(feed)
    }

    /// The next batch, in order.
    ///
    /// # Errors
    /// A drawing thread has died.
    pub fn take(&mut self) -> Result<B> {
        let lane = (self.next % self.lanes.len() as u64) as usize;
        self.next += 1;
        self.lanes[lane].recv().context("a thread that draws scenes has died")
    }
}
