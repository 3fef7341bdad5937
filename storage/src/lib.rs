//! Where a farm's objects lie: frames, job records, models, outputs, in any object store. The
//! stored object is the truth; everything else can be made again from it.

mod error;
pub mod frame;
mod job_store;
mod model;
mod options;
mod storage;
mod stored;

pub use error::{Result, StoreError};
pub use job_store::{JobStore, Listed, Put};
pub use model::ModelUpload;
pub use options::{Patience, StorageOptions};
pub use storage::Storage;
pub use stored::{CheckError, Found, check};
