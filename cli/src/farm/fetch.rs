//! `vqfarm fetch`: a job's files into a folder, each whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;
use tempfile::NamedTempFile;
use vqfarm_core::check::path_stays;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::v1::fetch_response::Part;
use vqfarm_proto::v1::{FetchEnd, FetchRequest, FileHeader, JobRequest};

use super::client::{ConnectArgs, Farm};
use super::{Outcome, show};
use crate::complete;
use crate::failure::Failure;

/// Copy a job's frames and outputs into a folder, also while it runs
///
/// Frames that are there already are not copied again: run it as often as you like.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// The folder, made when missing; its layout is that of `vqfarm render --out`
    dir: PathBuf,

    /// Print one JSON object: what was copied
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn fetch(args: FetchArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.get_job(JobRequest { job: args.job.clone() }).await;
    let job = answer.map_err(|s| args.connect.explain(s))?.into_inner().job.unwrap_or_default();
    let fetched = receive(&mut farm, &args.connect, job.id, &args.dir).await?;
    tell(&args, &fetched)
}

/// What has been copied.
pub struct Fetched {
    files: u64,
    frames: u64,
    bytes: u64,
    end: FetchEnd,
}

/// Copies a job's files into a folder, but for frames that are there.
///
/// # Errors
/// The folder is another job's; the farm or the disk fails. What was copied is whole and stays.
pub async fn receive(
    farm: &mut Farm,
    connect: &ConnectArgs,
    job: String,
    dir: &Path,
) -> Result<Fetched, Failure> {
    refuse_other(dir, &job)?;
    let have = stored_frames(dir)?;
    let answer = farm.fetch(FetchRequest { job, have, only: Vec::new() }).await;
    let mut parts = answer.map_err(|s| connect.explain(s))?.into_inner();
    let mut open: Option<Incoming> = None;
    let (mut files, mut frames, mut bytes) = (0, 0, 0);
    let end = loop {
        let part = parts.message().await.map_err(|s| connect.explain(s))?;
        match part.and_then(|message| message.part) {
            Some(Part::Data(data)) => {
                bytes += data.len() as u64;
                let file = open.as_mut().ok_or_else(|| anyhow!("the answer makes no sense"))?;
                file.write(&data)?;
            }
            Some(Part::File(header)) => {
                if let Some(file) = open.take() {
                    file.publish()?;
                }
                files += 1;
                frames += u64::from(header.path.starts_with("frames/"));
                open = Some(Incoming::new(dir, header)?);
            }
            Some(Part::End(end)) => {
                if let Some(file) = open.take() {
                    file.publish()?;
                }
                break end;
            }
            None => return Err(anyhow!("the answer broke off; run the same command again").into()),
        }
    };
    Ok(Fetched { files, frames, bytes, end })
}

fn tell(args: &FetchArgs, fetched: &Fetched) -> Outcome {
    let Fetched { files, frames, bytes, end } = fetched;
    let (files, frames, bytes) = (*files, *frames, *bytes);
    let job = end.job.clone().unwrap_or_default();
    let dir = args.dir.display().to_string();
    if args.json {
        show::json_lines([json!({
            "dir": dir, "files": files, "frames": frames, "bytes": bytes,
            "job": show::job_json(&job),
        })])?;
        return Ok(ExitCode::SUCCESS);
    }
    show::line(&dir)?;
    let frames = show::count(frames, "new frame");
    let others = show::count(files.saturating_sub(1), "file");
    anstream::eprintln!("{frames}, {others} in all, {:.1} MiB", bytes as f64 / (1 << 20) as f64);
    if !job.state().is_final() {
        anstream::eprintln!("{}; run the same command again for the rest", show::outcome(&job));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a folder that holds another job's results.
fn refuse_other(dir: &Path, id: &str) -> Result<(), Failure> {
    let path = dir.join(keys::JOB_RECORD);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::Usage(format!("{}: {error}", path.display()))),
    };
    let other = match serde_json::from_slice::<JobRecord>(&bytes) {
        Ok(record) if record.id.to_string() == id => return Ok(()),
        Ok(record) => format!("the results of {:?}", record.spec.name.as_str()),
        Err(_) => "a job.json that is not vqfarm's".into(),
    };
    Err(Failure::Usage(format!("{} holds {other}; choose another folder", dir.display())))
}

/// Frames of the folder, as pairs of the first and one past the last.
fn stored_frames(dir: &Path) -> anyhow::Result<Vec<u64>> {
    let folder = dir.join(keys::FRAMES);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let mut frames = BTreeSet::new();
    for entry in entries {
        let name = entry.with_context(|| folder.display().to_string())?.file_name();
        frames.extend(name.to_str().and_then(keys::frame_index));
    }
    let mut pairs: Vec<u64> = Vec::new();
    for frame in frames {
        match pairs.last_mut() {
            Some(end) if *end == frame => *end += 1,
            _ => pairs.extend([frame, frame + 1]),
        }
    }
    Ok(pairs)
}

/// A file on its way, beside its place until it is whole.
struct Incoming {
    file: NamedTempFile,
    path: PathBuf,
    left: u64,
}

impl Incoming {
    fn new(dir: &Path, header: FileHeader) -> anyhow::Result<Self> {
        // Whoever answers does not decide where on this machine files go.
        let hidden = header.path.split('/').any(|part| part.starts_with('.'));
        if !path_stays(&header.path) || hidden {
            bail!("the coordinator sent a file named {:?}", header.path);
        }
        let path = dir.join(&header.path);
        let folder = path.parent().unwrap_or(dir);
        let named = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(named)?;
        let file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .with_context(named)?;
        Ok(Self { file, path, left: header.size })
    }

    fn write(&mut self, data: &[u8]) -> anyhow::Result<()> {
        let length = data.len() as u64;
        self.left = self.left.checked_sub(length).context("a file is longer than was said")?;
        self.file.write_all(data).with_context(|| self.path.display().to_string())
    }

    fn publish(self) -> anyhow::Result<()> {
        if self.left > 0 {
            bail!("{} broke off; run the same command again", self.path.display());
        }
        self.file.persist(&self.path).with_context(|| self.path.display().to_string())?;
        Ok(())
    }
}
