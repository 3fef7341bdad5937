//! What a job will take, by what workers have measured.

use vqfarm_core::cost::{self, Estimate};
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::record::JobRecord;
use vqfarm_core::speed::{Speeds, Workload};

use crate::error::{Error, Result};
use crate::farm::Farm;

impl Farm {
    /// What `record`'s job will take.
    ///
    /// # Errors
    /// A frame cannot be computed; storage does not answer.
    pub async fn estimate(&self, record: &JobRecord, plan: &Plan) -> Result<Estimate> {
        if plan.only_stitches() {
            return Ok(Estimate::default());
        }
        let wrong = |error| Error::fields(vec![error]);
        let mut speeds = Speeds::default();
        for workload in cost::workloads(plan, &record.models).map_err(wrong)? {
            self.read_speeds(workload, &mut speeds).await?;
        }
        cost::estimate(plan, &record.models, &speeds).map_err(wrong)
    }

    async fn read_speeds(&self, workload: Workload, speeds: &mut Speeds) -> Result<()> {
        let folder = workload.folder();
        let names = self.storage.names(&folder).await?;
        for size in names.iter().filter_map(|name| keys::speed_size(name)) {
            let bytes = self.storage.get(&keys::speed(&folder, size)).await?;
            // What cannot be read is as good as not measured.
            if let Some(speed) = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                speeds.add(workload.clone(), size, speed);
            }
        }
        Ok(())
    }
}
