//! The queue in memory conforms.

use std::sync::Arc;
use std::time::Duration;

use vqfarm_core::clock::{ManualClock, Timestamp};
use vqfarm_queue::conformance::Subject;
use vqfarm_queue::{MemoryQueue, Policy};

async fn with_fresh_queue(test: impl AsyncFnOnce(Subject<'_>)) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let queue = MemoryQueue::new(Policy::default(), clock.clone(), 1);
    let advance = |by: Duration| clock.advance(by);
    test(Subject { queue: &queue, advance: &advance, policy: Policy::default() }).await;
}

vqfarm_queue::conformance_tests!(with_fresh_queue);
