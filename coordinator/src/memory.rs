//! What memory a job's pictures take, before a worker has leased any.

use std::collections::BTreeMap;

use vqfarm_core::cost;
use vqfarm_core::id::ModelName;
use vqfarm_core::job::Job;
use vqfarm_core::plan::Plan;
use vqfarm_core::record::ModelRecord;
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_core::requires::Memory;
use vqfarm_weights::library::Config;
use vqfarm_weights::memory::{Batch, Networks};

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::quotas::MIB;

impl Farm {
    /// What a device must have to make any picture of a job, in the most frugal way; none where the
    /// sizes of a model are not known.
    ///
    /// # Errors
    /// A frame cannot be computed; storage does not answer.
    pub async fn memory_of(
        &self,
        job: &Job,
        plan: &Plan,
        offered: &[ModelRecord],
    ) -> Result<Option<Memory>> {
        if plan.only_stitches() {
            return Ok(None);
        }
        let mut configs = BTreeMap::new();
        for used in job.models() {
            if let Some(config) = self.config_of(&used.name, offered).await? {
                configs.insert(used.name, config);
            }
        }
        let samples = cost::samples(plan).map_err(|error| Error::fields(vec![error]))?;
        let least = |render: &RenderSettings| {
            let networks = Networks::named(&render.generator, &render.perceptors, &configs)?;
            let bf16 = render.precision == Precision::Bf16;
            Some(networks.least(&Batch::single(render.size, render.cutouts.count, bf16)))
        };
        let each: Option<Vec<u64>> = samples.iter().map(least).collect();
        // In whole MiB, as a person would write it.
        let whole = |bytes: u64| bytes.div_ceil(MIB).saturating_mul(MIB);
        Ok(each.and_then(|each| Memory::of_bytes(whole(each.into_iter().max()?)).ok()))
    }

    async fn config_of(&self, name: &str, offered: &[ModelRecord]) -> Result<Option<Config>> {
        let stored = self.model(&ModelName::new(name)?).await?;
        let offer = || offered.iter().find(|model| model.name.as_str() == name);
        let config = stored.as_ref().or_else(offer).and_then(|model| model.config.as_ref());
        // What another version wrote may be unreadable; then nothing is known.
        Ok(config.and_then(|json| Config::read(json).ok()))
    }
}
