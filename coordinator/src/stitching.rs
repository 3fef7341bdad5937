//! Jobs that render nothing: they stitch the frames of another job once more.

use std::collections::BTreeMap;

use vqfarm_core::id::JobId;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::record::Source;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::QueueError;

use crate::error::{Error, Result};
use crate::farm::Farm;

impl Farm {
    /// The job whose folder has the frames that `job` stitches: itself, unless it renders none.
    ///
    /// # Errors
    /// There is no such job.
    pub(crate) async fn frames_owner(&self, job: JobId) -> Result<JobId> {
        let record = self.record(job).await?.ok_or(QueueError::NoSuchJob(job))?;
        Ok(record.source.map_or(record.id, |its| its.job))
    }

    /// The job that has the frames, and the models that they were made with, for the job `id`
    /// that is to stitch them as `job` says.
    ///
    /// # Errors
    /// There is no such job, `job` is another one, or frames are missing.
    pub async fn frames_for(
        &self,
        id: JobId,
        asked: Source,
        job: &Job,
    ) -> Result<(BTreeMap<String, String>, Option<Source>)> {
        let unknown = || Error::from(QueueError::NoSuchJob(asked.job));
        let record = self.record(asked.job).await?.ok_or_else(unknown)?;
        let source = Source { job: record.source.map_or(record.id, |its| its.job), ..asked };
        let short = source.job.short();
        let same = Job { output: job.output.clone(), ..record.spec };
        if same != *job {
            let message = format!("only [output] may be other than in job {short}");
            return Err(Error::refused(Reason::BadRequest, message));
        }
        // A request that was answered before is answered again, whatever has become of the frames.
        if self.record(id).await?.is_some() {
            return Ok((record.models, Some(source)));
        }
        let all =
            Plan::new(job).map_err(|error| Error::refused(Reason::Internal, error.to_string()))?;
        let all = all.frames();
        let names = self.storage.job(source.job).names(keys::FRAMES).await?;
        let there = names.iter().filter_map(|name| keys::frame_index(name));
        let there = there.filter(|index| *index < all).count() as u64;
        let message = match (there, source.partial) {
            (0, true) => format!("no frame of job {short} is stored yet; ask again later"),
            (there, false) if there < all => format!(
                "{} of {all} frames of job {short} are missing; vqfarm preview {short} stitches \
                 those that are there",
                all - there
            ),
            _ => return Ok((record.models, Some(source))),
        };
        Err(Error::refused(Reason::Unfinished, message))
    }
}
