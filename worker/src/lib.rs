//! The worker: leases tasks, renders and publishes them; and the standalone mode, which runs
//! planner, queue, worker and stitcher in one process.

pub mod attempt;
pub mod bench;
pub mod cache;
mod cell;
pub mod cells;
mod changed;
pub mod commit;
pub mod cores;
pub mod early_stop;
pub mod farm;
mod feed;
pub mod job;
pub mod jobs;
mod keyframes;
pub mod lane;
pub mod log;
mod memory;
mod mend;
pub mod meters;
pub mod models;
mod momentum;
pub mod paint;
mod panic;
pub mod patience;
pub mod probe;
pub mod publish;
pub mod restitch;
pub mod room;
pub mod run;
pub mod saved;
pub mod search;
mod segment;
pub mod speeds;
pub mod standalone;
pub mod stitch;
pub mod stop;
