//! `vqfarm-worker stitch`: the outputs of a folder's frames made again, with no queue and no
//! models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use vqfarm_core::event::Summary;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::record::{JobRecord, Source};
use vqfarm_storage::JobStore;

use crate::job::OpenJob;
use crate::standalone::{End, Halt, conclude, write_record};
use crate::stitch::{self, Outputs, StitchError, Tell};

/// What is to be stitched.
pub struct Request {
    /// The folder's job with other outputs.
    pub job: Job,
    /// The folder of a render, or of a fetched job.
    pub dir: PathBuf,
    /// A folder for a preview of the frames that are there; none to make the outputs of all
    /// frames, in the folder itself.
    pub preview: Option<PathBuf>,
}

/// Stitches. `tell` hears of a summary or an error last; `stop` turning true ends it early, with
/// each output whole or as it was.
pub async fn stitch(request: Request, tell: &mut Tell<'_>, mut stop: watch::Receiver<bool>) -> End {
    let stitched = tokio::select! {
        stitched = try_stitch(request, tell) => stitched,
        _ = stop.wait_for(|&stop| stop) => return End::Interrupted,
    };
    conclude(stitched, tell)
}

async fn try_stitch(request: Request, tell: &mut Tell<'_>) -> Result<Summary, Halt> {
    let begin = Instant::now();
    let job = Arc::new(open(&request).await?);
    stitch::film::check(&job).await.map_err(Halt::refused)?;
    let stitched = stitch::stitch(&job, &HashMap::new(), tell).await;
    let outputs = stitched.map_err(|error| match error {
        StitchError::Damaged(frames) => Halt::failed(format!(
            "{} of {} frames are missing or damaged, the first is frame {}; vqfarm render makes \
             them, vqfarm preview stitches those that are there",
            frames.len(),
            job.plan.frames(),
            frames.first().copied().unwrap_or_default()
        )),
        error => Halt::failed(error),
    })?;
    if request.preview.is_none() {
        // What lies in `out` is what the record says.
        write_record(&job).await?;
    }
    summary(&request, &job, outputs, begin).await
}

/// The folder's job, to be stitched only.
async fn open(request: &Request) -> Result<OpenJob, Halt> {
    let folder = request.dir.display();
    let path = request.dir.join(keys::JOB_RECORD);
    if !path.is_file() {
        return Err(Halt::refused(format!("{folder} holds no {}", keys::JOB_RECORD)));
    }
    let frames = JobStore::folder(&request.dir).map_err(Halt::failed)?;
    let bytes = frames.get(keys::JOB_RECORD).await.map_err(Halt::failed)?.unwrap_or_default();
    let record: JobRecord = serde_json::from_slice(&bytes)
        .map_err(|error| Halt::refused(format!("{}: {error}", path.display())))?;
    if record.spec_hash != request.job.spec_hash() {
        return Err(Halt::refused(format!("{folder} holds frames of another job")));
    }
    // In the folder itself all outputs are made again, the gallery of its frames, too.
    let source = request.preview.is_some().then_some(Source { job: record.id, partial: true });
    let record = JobRecord { spec: request.job.clone(), source, ..record };
    let store = match &request.preview {
        Some(out) => JobStore::folder(out).map_err(Halt::failed)?,
        None => frames.clone(),
    };
    let job = OpenJob::new(record, store).map_err(Halt::refused)?;
    Ok(job.with_frames(frames))
}

async fn summary(
    request: &Request,
    job: &OpenJob,
    outputs: Outputs,
    begin: Instant,
) -> Result<Summary, Halt> {
    let names = job.frames.names(keys::FRAMES).await.map_err(Halt::failed)?;
    let cells = job.plan.frames();
    let frames = names.iter().filter_map(|name| keys::frame_index(name));
    let out: &Path = request.preview.as_ref().unwrap_or(&request.dir);
    let path = |key: String| out.join(key).display().to_string();
    Ok(Summary {
        job: job.id(),
        cells,
        frames: frames.filter(|index| *index < cells).count() as u64,
        rendered: 0,
        taken_over: 0,
        failed: 0,
        interrupted: false,
        seconds: begin.elapsed().as_secs_f64(),
        iterations_per_second: 0.0,
        out: out.display().to_string(),
        frames_dir: request.dir.join(keys::FRAMES).display().to_string(),
        contact_sheet_pages: outputs.contact_sheets.len() as u64,
        contact_sheet: outputs.contact_sheets.into_iter().next().map(path),
        gallery: outputs.gallery.map(path),
        video: outputs.video.map(path),
        scores: Some(path(outputs.scores)),
    })
}
