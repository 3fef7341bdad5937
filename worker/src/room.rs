//! Room for finished pictures that are not stored yet: a slow store does not hold lanes up, and
//! one that is away does not fill the memory.

use std::sync::Arc;

use futures::executor::block_on;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit of room, in bytes.
const UNIT: usize = 1 << 10;

/// So much room. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Room {
    free: Arc<Semaphore>,
    all: usize,
    /// What the smallest picture takes.
    least: usize,
}

/// Room in use, free again when dropped.
#[derive(Debug)]
pub struct Taken(#[expect(dead_code, reason = "it is held, not looked at")] OwnedSemaphorePermit);

impl Room {
    /// For at most so many pictures, which take no more than so many bytes together.
    pub fn new(bytes: usize, pictures: usize) -> Self {
        let all = (bytes / UNIT).max(1);
        let least = (all / pictures.max(1)).max(1);
        Self { free: Arc::new(Semaphore::new(all)), all, least }
    }

    /// Waits, and the thread with it, until there is room for a picture of so many bytes, or for
    /// one of any size when there is no other.
    pub fn take(&self, bytes: usize) -> Taken {
        let units = bytes.div_ceil(UNIT).clamp(self.least, self.all);
        let permit = self.free.clone().acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        // Nobody closes the semaphore.
        Taken(block_on(permit).expect("room is never taken away"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(room: &Room) -> usize {
        room.free.available_permits()
    }

    #[test]
    fn pictures_wait_for_room_by_size_and_by_number() {
        let room = Room::new(100 * UNIT, 4);
        let (small, large) = (room.take(1), room.take(60 * UNIT));
        assert_eq!(free(&room), 100 - 25 - 60);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| room.take(20 * UNIT));
            drop(small);
            drop(waiting.join().unwrap());
        });
        drop(large);
        let whole = room.take(1 << 30);
        assert_eq!(free(&room), 0, "one that is larger than all the room has it for itself");
        drop(whole);
        assert_eq!(free(&room), 100);
    }
}
