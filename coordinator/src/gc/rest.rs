//! What lies beside the jobs: weights, records of cells.

use std::collections::BTreeSet;

use futures::stream::TryStreamExt;
use vqfarm_core::keys;
use vqfarm_core::record::{CellRecord, ModelRecord};

use super::survey::Survey;
use super::{AT_ONCE, Garbage, Kind, Policy, YOUNG, sweep};
use crate::error::Result;
use crate::farm::Farm;

impl Farm {
    /// Weights that no name stands for and no job needs that stays. None where a name has changed
    /// lately: a submit may be under way that took the older meaning.
    pub(super) async fn collect_models(
        &self,
        survey: &Survey,
        policy: &Policy,
    ) -> Result<Vec<Garbage>> {
        let Some(mut needed) = survey.models.clone() else {
            tracing::warn!("a job.json cannot be read, so nobody knows which weights are needed");
            return Ok(Vec::new());
        };
        let root = self.storage.root();
        let young = |modified| self.clock.now().since(modified) < YOUNG;
        let mut named: BTreeSet<String> = BTreeSet::new();
        let mut names = root.objects(keys::MODEL_NAMES);
        while let Some(name) = names.try_next().await? {
            let record = root.get(&name.key).await?.unwrap_or_default();
            match serde_json::from_slice::<ModelRecord>(&record) {
                Ok(record) if !young(name.modified) => named.insert(record.sha256),
                _ => return Ok(Vec::new()),
            };
        }
        needed.append(&mut named);
        let mut found = Vec::new();
        let mut weights = root.objects(keys::MODELS);
        while let Some(object) = weights.try_next().await? {
            let Some(hash) = keys::model_hash(&object.key) else { continue };
            if needed.contains(hash) || young(object.modified) {
                continue;
            }
            if policy.delete {
                root.delete(&object.key).await?;
            }
            found.push(Garbage {
                kind: Kind::Model,
                id: hash.to_owned(),
                name: String::new(),
                reason: "no job needs it and no name stands for it".into(),
                objects: 1,
                bytes: object.bytes,
                deleted: policy.delete,
            });
        }
        Ok(found)
    }

    /// Records of where pictures of jobs are stored that are not there. Each is a hint that whoever
    /// follows it verifies, so that one which changes meanwhile may go as well: its picture is
    /// made once more.
    pub(super) async fn collect_cells(
        &self,
        survey: &Survey,
        policy: &Policy,
    ) -> Result<Option<Garbage>> {
        let root = self.storage.root();
        let dangling = root.objects(keys::CELLS).map_ok(|listed| async move {
            let bytes = root.get(&listed.key).await?;
            let stays = match bytes.map(|bytes| serde_json::from_slice::<CellRecord>(&bytes)) {
                // Deleted meanwhile.
                None => true,
                Some(Err(_)) => false,
                Some(Ok(CellRecord { job, .. })) => {
                    let is_there = async || self.storage.job(job).size(keys::JOB_RECORD).await;
                    survey.staying.contains(&job)
                        || (!survey.goes(job) && is_there().await?.is_some())
                }
            };
            Ok((!stays).then_some(listed))
        });
        let dangling = dangling.try_buffer_unordered(AT_ONCE);
        let dangling = dangling.try_filter_map(async |listed| Ok(listed));
        let size = sweep(root, dangling, policy.delete).await?;
        Ok((size.objects > 0).then(|| Garbage {
            kind: Kind::Cells,
            id: String::new(),
            name: String::new(),
            reason: "they point to jobs that are gone".into(),
            objects: size.objects,
            bytes: size.bytes,
            deleted: policy.delete,
        }))
    }
}
