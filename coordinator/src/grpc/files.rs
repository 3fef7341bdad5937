//! A job's files: logs, frames, outputs.

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use vqfarm_core::id::WorkerId;
use vqfarm_core::keys;
use vqfarm_proto::v1::fetch_response;
use vqfarm_proto::{RefusalReason as Reason, v1};

use super::{Answer, Answers, BUFFER, Grpc};
use crate::convert;
use crate::error::Error;
use crate::recent;

/// Bytes of a file that travel in one message.
const CHUNK: usize = 256 << 10;

impl Grpc {
    pub(super) async fn logs(&self, asked: v1::LogsRequest) -> Answer<Answers<v1::Log>> {
        if asked.last > 0 {
            return self.last_logs(asked).await;
        }
        if !asked.worker.is_empty() {
            let message = "say of how many tasks the logs of a worker are wanted: `last`";
            return Err(Error::refused(Reason::BadRequest, message).into());
        }
        let id = self.farm.find(&asked.job).await?;
        let logs = self.farm.logs(id, &asked.layer, asked.task).await?;
        let logs = logs.map(|log| log.map(convert::log).map_err(Status::from));
        Ok(Response::new(Box::pin(logs)))
    }

    pub(super) async fn newest_frame(
        &self,
        asked: v1::NewestFrameRequest,
    ) -> Answer<v1::NewestFrameResponse> {
        let id = self.farm.find(&asked.job).await?;
        let Some((owner, frame)) = self.farm.newest_frame(id).await? else {
            return Ok(Response::new(v1::NewestFrameResponse::default()));
        };
        let path = keys::frame(frame);
        let png = if path == asked.have {
            None
        } else {
            self.farm.storage.job(owner).get(&path).await.map_err(Error::from)?
        };
        let png = png.unwrap_or_default().into();
        Ok(Response::new(v1::NewestFrameResponse { path, png }))
    }

    pub(super) async fn fetch(
        &self,
        asked: v1::FetchRequest,
    ) -> Answer<Answers<v1::FetchResponse>> {
        // The state of before the listing: the files are then at least as new.
        let (id, job) = self.job_of(&asked.job).await?;
        let have = asked.have.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let wanted = match asked.only.as_slice() {
            [] => self.farm.all_files(id, have).await?,
            only => chosen_files(only)?,
        };
        let mut files = Box::pin(self.farm.files(id, wanted));
        let (to, answers) = mpsc::channel(BUFFER);
        tokio::spawn(async move {
            let mut sent = 0;
            let part = |part| Ok(v1::FetchResponse { part: Some(part) });
            while let Some(file) = files.next().await {
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        let _ = to.send(Err(error.into())).await;
                        return;
                    }
                };
                sent += 1;
                let size = file.bytes.len() as u64;
                let header = v1::FileHeader { path: file.key, size };
                let header = stream::iter([fetch_response::Part::File(header)]);
                let chunks = stream::iter(file.bytes.chunks(CHUNK))
                    .map(|chunk| fetch_response::Part::Data(chunk.to_vec()));
                let mut parts = header.chain(chunks);
                while let Some(next) = parts.next().await {
                    if to.send(part(next)).await.is_err() {
                        return;
                    }
                }
            }
            let end = v1::FetchEnd { job: Some(convert::job(&job)), files: sent };
            let _ = to.send(part(fetch_response::Part::End(end))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    /// The logs of the tasks that ended last.
    async fn last_logs(&self, asked: v1::LogsRequest) -> Answer<Answers<v1::Log>> {
        if asked.task.is_some() || !asked.layer.is_empty() {
            let message = "`last` goes with neither a task nor a layer";
            return Err(Error::refused(Reason::BadRequest, message).into());
        }
        let worker = match asked.worker.as_str() {
            "" => None,
            _ => Some(WorkerId::new(asked.worker).map_err(Error::from)?),
        };
        let job = match asked.job.as_str() {
            "" if worker.is_some() => None,
            text => Some(self.farm.find(text).await?),
        };
        let last = usize::try_from(asked.last).unwrap_or(usize::MAX).min(recent::KEPT);
        let logs = self.farm.last_logs(job, worker.as_ref(), last).await?;
        let logs = stream::iter(logs).map(|log| Ok(convert::log(log)));
        Ok(Response::new(Box::pin(logs)))
    }

    pub(super) async fn list_files(
        &self,
        asked: v1::ListFilesRequest,
    ) -> Answer<v1::ListFilesResponse> {
        let id = self.farm.find(&asked.job).await?;
        let listed = self.farm.list_files(id, asked.first_frame, asked.frames).await?;
        Ok(Response::new(v1::ListFilesResponse {
            frames: listed.frames,
            outputs: listed.outputs,
            frames_of: listed.frames_of.to_string(),
        }))
    }
}

/// The files that are asked for by their paths, if a job can have such files.
fn chosen_files(paths: &[String]) -> Result<Vec<String>, Error> {
    match paths.iter().find(|path| !keys::is_file(path)) {
        None => Ok(paths.to_vec()),
        Some(path) => {
            let message = format!("{path:?} is no path of a job's file, as frames/000012.png is");
            Err(Error::refused(Reason::BadRequest, message))
        }
    }
}
