//! The queue in Redis conforms.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use vqfarm_core::clock::{ManualClock, Timestamp};
use vqfarm_core::id::FarmName;
use vqfarm_queue::conformance::{Soon, Subject};
use vqfarm_queue::{Policy, Queue, RedisQueue};
use vqfarm_testing::redis::RedisServer;

/// One server; each test has a farm of its own there.
static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);
static FARMS: AtomicU32 = AtomicU32::new(0);

async fn with_fresh_queue(test: impl AsyncFnOnce(Subject<'_>)) {
    let farm = format!("farm-{}", FARMS.fetch_add(1, Ordering::Relaxed));
    let name = FarmName::new(&*farm).expect("a farm's name");
    let policy = Policy::default();
    let queue = RedisQueue::connect(&SERVER.url(), &name, policy.clone()).await.expect("connected");
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
    let queue = queue.with_clock(clock.clone());
    queue.open().await.expect("opened");
    let advance = |by: Duration| clock.advance(by);
    let lose = || -> Soon<'_> {
        Box::pin(async {
            let delete = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                          redis.call('DEL', key) end";
            SERVER.ask(&["EVAL", delete, "0", &format!("{{vqfarm:{farm}}}:*")]);
        })
    };
    test(Subject { queue: &queue, advance: &advance, lose: &lose, policy }).await;
}

vqfarm_queue::conformance_tests!(with_fresh_queue);
