//! The worker: leases tasks, renders and publishes them; and the standalone mode, which runs
//! planner, queue, worker and stitcher in one process.

pub mod frame;
pub mod stitch;
pub mod store;
