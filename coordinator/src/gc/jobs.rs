//! Jobs go in an order that leaves, wherever it is interrupted, something that the next call goes on
//! from: the decision is stored first and goes last.

use futures::future::ready;
use futures::stream::TryStreamExt;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::record::JobControl;
use vqfarm_queue::QueueError;

use super::survey::{Going, Survey};
use super::{Garbage, Kind, Policy, Size, sweep};
use crate::error::{Error, Result};
use crate::farm::Farm;

/// What goes last of a job.
const LAST: [&str; 2] = [keys::JOB_RECORD, keys::JOB_CONTROL];

impl Farm {
    /// A whole job.
    pub(super) async fn collect_job(
        &self,
        going: &Going,
        survey: &Survey,
        policy: &Policy,
    ) -> Result<Option<Garbage>> {
        let garbage = |size: Size, reason: &str, deleted| {
            let Size { objects, bytes } = size;
            let (id, name, reason) = (going.job.to_string(), going.name.clone(), reason.into());
            Some(Garbage { kind: Kind::Job, id, name, reason, objects, bytes, deleted })
        };
        let store = self.storage.job(going.job);
        if !policy.delete {
            let size = sweep(&store, store.objects(""), false).await?;
            return Ok(garbage(size, &going.reason, false));
        }
        if let Some(kept) = self.let_go(going, survey).await? {
            return Ok(garbage(Size::default(), kept, false));
        }
        let others = store.objects("").try_filter(|l| ready(!LAST.contains(&l.key.as_str())));
        let mut size = sweep(&store, others, true).await?;
        // Of a submit that was refused because it came upon this.
        self.drop_from_queue(going.job).await?;
        for key in LAST {
            if let Some(bytes) = store.size(key).await? {
                store.delete(key).await?;
                size.objects += 1;
                size.bytes += bytes;
            }
        }
        tracing::info!(job = %going.job, name = going.name, "a job was deleted");
        Ok(garbage(size, &going.reason, true))
    }

    /// Says that the job goes and has the queue forget it. Answers why it stays, if it does.
    async fn let_go(&self, going: &Going, survey: &Survey) -> Result<Option<&'static str>> {
        let job = going.job;
        let old = match self.control(job).await {
            Err(Error::Unreadable { .. }) => JobControl::default(),
            control => control?,
        };
        let decided = JobControl { deleted: true, ..old.clone() };
        self.set_control(job, &decided).await?;
        let kept = if self.wanted_since(job, survey).await? {
            Some("stays: a new job stitches its frames")
        } else {
            match self.queue.forget(job).await {
                Ok(()) | Err(QueueError::NoSuchJob(_)) => None,
                Err(QueueError::NotOver { .. }) => Some("stays: it goes on"),
                Err(error) => return Err(error.into()),
            }
        };
        if kept.is_some() {
            self.set_control(job, &JobControl { deleted: false, ..old }).await?;
        }
        Ok(kept)
    }

    async fn drop_from_queue(&self, job: JobId) -> Result<()> {
        for dropped in [self.queue.cancel(job).await, self.queue.forget(job).await] {
            match dropped {
                Ok(()) | Err(QueueError::NoSuchJob(_) | QueueError::Finished { .. }) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What a job that is over was made of. None where it has nothing of that.
    pub(super) async fn collect_work(
        &self,
        going: &Going,
        policy: &Policy,
    ) -> Result<Option<Garbage>> {
        let store = self.storage.job(going.job);
        let mut size = Size::default();
        for folder in [keys::WORK, keys::LOGS] {
            let swept = sweep(&store, store.objects(folder), policy.delete).await?;
            size.objects += swept.objects;
            size.bytes += swept.bytes;
        }
        let Size { objects, bytes } = size;
        Ok((objects > 0).then(|| Garbage {
            kind: Kind::Work,
            id: going.job.to_string(),
            name: going.name.clone(),
            reason: going.reason.clone(),
            objects,
            bytes,
            deleted: policy.delete,
        }))
    }

    /// Files of a job that was never submitted: of an upload that broke off, or what an
    /// interrupted deletion left. Young ones may be of a submit that goes on.
    pub(super) async fn collect_orphan(
        &self,
        job: JobId,
        policy: &Policy,
    ) -> Result<Option<Garbage>> {
        let store = self.storage.job(job);
        let now = self.clock.now();
        let young = |modified| now.since(modified) < super::YOUNG;
        let mut listed = store.objects("");
        while let Some(object) = listed.try_next().await? {
            if young(object.modified) {
                return Ok(None);
            }
        }
        // It may have become a job since it was looked at.
        if store.size(keys::JOB_RECORD).await?.is_some() {
            return Ok(None);
        }
        let Size { objects, bytes } = sweep(&store, store.objects(""), policy.delete).await?;
        Ok((objects > 0).then(|| Garbage {
            kind: Kind::Orphan,
            id: job.to_string(),
            name: String::new(),
            reason: "files without a job".into(),
            objects,
            bytes,
            deleted: policy.delete,
        }))
    }
}
