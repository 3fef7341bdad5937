//! The worker: leases tasks, renders and publishes them; and the standalone mode, which runs
//! planner, queue, worker and stitcher in one process.

pub mod bench;
pub mod job;
pub mod lane;
pub mod models;
pub mod paint;
pub mod publish;
pub mod run;
pub mod standalone;
pub mod stitch;
