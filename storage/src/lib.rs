//! Where a farm's objects lie: frames, job records, outputs, in any object store. The stored
//! object is the truth; everything else can be made again from it.

pub mod frame;
mod job_store;
mod stored;

pub use job_store::{JobStore, Put, Result, StoreError};
pub use stored::{CheckError, Found, check};
