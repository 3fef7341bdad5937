//! The queue in memory conforms.

use std::sync::Arc;
use std::time::Duration;

use vqfarm_core::clock::{ManualClock, Timestamp};
use vqfarm_queue::conformance::{Soon, Subject};
use vqfarm_queue::{MemoryQueue, Policy};

async fn with_fresh_queue(test: impl AsyncFnOnce(Subject<'_>)) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let queue = MemoryQueue::new(Policy::default(), clock.clone(), 1);
    let advance = |by: Duration| clock.advance(by);
    let lose = || -> Soon<'_> { Box::pin(async { queue.lose() }) };
    let policy = Policy::default();
    test(Subject { queue: &queue, advance: &advance, lose: &lose, policy }).await;
}

vqfarm_queue::conformance_tests!(with_fresh_queue);
