//! The pictures that are searched, and what people call them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tempfile::TempDir;
use vqfarm_core::keys;
use vqfarm_core::plan::{Content, Plan};
use vqfarm_core::record::JobRecord;
use vqfarm_core::search::{MOST_PICTURES, Picture};
use vqfarm_core::sweep::label;
use vqfarm_proto::v1::JobRequest;

use crate::failure::Failure;
use crate::farm::{ConnectArgs, receive};

/// Endings of files that are taken for pictures.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// Pictures in a folder of this machine.
pub struct Pictures {
    pub all: Vec<Known>,
    /// Those that the pictures were made with; none of pictures that are no render's.
    pub perceptors: Vec<String>,
    /// Of a job of the farm, where its frames are for the time of the search.
    _fetched: Option<TempDir>,
}

/// One picture.
pub struct Known {
    pub path: PathBuf,
    /// The path for people: of a job of the farm its key there.
    pub name: String,
    /// Of a frame.
    pub frame: Option<Frame>,
}

/// What the job says of a frame.
pub struct Frame {
    pub index: u64,
    pub prompt: String,
    /// Its values on the sweep's axes.
    pub axes: Vec<(String, serde_json::Value)>,
}

impl Pictures {
    /// Those of a folder: the frames of a render, or whatever pictures lie in it.
    ///
    /// # Errors
    /// There is no such folder, nothing in it, or too much.
    pub fn of_folder(dir: &Path) -> Result<Self, Failure> {
        if !dir.is_dir() {
            let message =
                format!("{} is no folder; name one, or a job of the farm by its id", dir.display());
            return Err(Failure::Usage(message));
        }
        let record = dir.join(keys::JOB_RECORD);
        let pictures = if record.is_file() {
            Self::of_render(dir, &record)?
        } else {
            let files = files(dir)?;
            let known = |path: PathBuf| {
                let name = path.display().to_string();
                Known { path, name, frame: None }
            };
            let all = files.into_iter().map(known).collect();
            Self { all, perceptors: Vec::new(), _fetched: None }
        };
        if pictures.all.is_empty() {
            let message = format!("{} holds no picture", dir.display());
            return Err(Failure::Usage(message));
        }
        if pictures.all.len() > MOST_PICTURES {
            let message = format!(
                "{} holds {} pictures; {MOST_PICTURES} are the most of one search",
                dir.display(),
                pictures.all.len()
            );
            return Err(Failure::Usage(message));
        }
        Ok(pictures)
    }

    /// Those of a job of the farm, as far as they are there.
    ///
    /// # Errors
    /// There is no such job, or no frame of it yet; the farm or the disk fails.
    pub async fn of_job(connect: &ConnectArgs, job: &str) -> Result<Self, Failure> {
        let mut farm = connect.connect().await?;
        let answer = farm.get_job(JobRequest { job: job.to_owned() }).await;
        let answer = answer.map_err(|status| connect.explain(status))?.into_inner();
        let record: JobRecord = serde_json::from_str(&answer.record)
            .with_context(|| format!("job {job}: its job.json cannot be read"))?;
        // A job that only stitches has the frames of another one.
        let job = record.source.map_or(record.id, |source| source.job);
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        receive(&mut farm, connect, job.to_string(), folder.path()).await?;
        let mut pictures = Self::of_render(folder.path(), &folder.path().join(keys::JOB_RECORD))?;
        if pictures.all.is_empty() {
            return Err(Failure::Other(anyhow!("job {} has no frames yet", job.short())));
        }
        for known in &mut pictures.all {
            known.name = keys::frame(known.frame.as_ref().map_or(0, |frame| frame.index));
        }
        Ok(Self { _fetched: Some(folder), ..pictures })
    }

    fn of_render(dir: &Path, record: &Path) -> Result<Self, Failure> {
        let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", record.display()));
        let bytes = fs::read(record).map_err(|error| wrong(error.to_string()))?;
        let record: JobRecord = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("not a job of vqfarm: {error}")))?;
        let plan = record.plan().map_err(|error| wrong(error.to_string()))?;
        let folder = dir.join(keys::FRAMES);
        let mut all = Vec::new();
        for path in if folder.is_dir() { files(&folder)? } else { Vec::new() } {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(index) = keys::frame_index(name).filter(|index| *index < plan.frames()) else {
                continue;
            };
            let frame = Frame::of(&plan, index).map_err(|error| wrong(error.to_string()))?;
            all.push(Known { name: path.display().to_string(), path, frame: Some(frame) });
        }
        Ok(Self { all, perceptors: record.spec.render.perceptors, _fetched: None })
    }

    /// As a worker is told of them.
    pub fn labelled(&self) -> Vec<Picture> {
        self.all.iter().map(|k| Picture { path: k.path.clone(), label: k.label() }).collect()
    }
}

impl Known {
    /// What it is called on a contact sheet.
    pub fn label(&self) -> String {
        let Some(frame) = &self.frame else {
            let name = self.path.file_name().unwrap_or_default();
            return name.display().to_string();
        };
        let axes = frame.axes.iter().map(|(_, value)| label(value));
        let parts: Vec<String> =
            std::iter::once(format!("frame {}", frame.index)).chain(axes).collect();
        parts.join(" · ")
    }
}

impl Frame {
    fn of(plan: &Plan, index: u64) -> Result<Self, vqfarm_core::job::FieldError> {
        Ok(match &plan.content {
            Content::Sweep(sweep) => {
                let cell = sweep.cell(index)?;
                Self { index, prompt: cell.render.prompt, axes: cell.values }
            }
            Content::Film(_) => {
                Self { index, prompt: plan.settings(index)?.prompt, axes: Vec::new() }
            }
        })
    }
}

/// Files that are pictures by their names, sorted.
fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let named = || dir.display().to_string();
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(named)? {
        let path = entry.with_context(named)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        // A worker is told names in text.
        if ENDINGS.contains(&ending.to_ascii_lowercase().as_str())
            && path.to_str().is_some()
            && path.is_file()
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
