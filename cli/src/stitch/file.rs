//! The file of a preview.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::sheet::page_path;

use crate::failure::Failure;

/// Where a preview goes, and what it is called where it is made.
pub struct PreviewFile {
    path: PathBuf,
    key: &'static str,
}

impl PreviewFile {
    /// The file that was asked for, or one beside us.
    ///
    /// # Errors
    /// It has another ending than what is made.
    pub fn new(job: &Job, asked: Option<&Path>) -> Result<Self, Failure> {
        let key = match &job.animation {
            Some(_) => job.output.video.codec.key(),
            None => keys::CONTACT_SHEET,
        };
        let ending = Path::new(key).extension().unwrap_or_default();
        let Some(path) = asked else {
            let name = format!("{}-preview.{}", job.name, ending.display());
            return Ok(Self { path: name.into(), key });
        };
        let wrong =
            |reason: String| Err(Failure::Usage(format!("--out {}: {reason}", path.display())));
        if path.is_dir() {
            return wrong("this is a folder; name a file".into());
        }
        if !path.extension().is_some_and(|given| given.eq_ignore_ascii_case(ending)) {
            let codec = if job.animation.is_some() { ", or choose another --codec" } else { "" };
            return wrong(format!("it is made as .{}; name it so{codec}", ending.display()));
        }
        Ok(Self { path: path.to_owned(), key })
    }

    /// Puts what was made in `dir` there, each file whole or not at all; answers with the files.
    /// A contact sheet's further pages get numbers.
    ///
    /// # Errors
    /// It is not there, or cannot be written.
    pub fn publish(&self, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = vec![self.path.clone()];
        copy(&dir.join(self.key), &self.path)?;
        for page in 1.. {
            let made = page_path(&dir.join(self.key), page);
            if !made.is_file() {
                break;
            }
            let path = page_path(&self.path, page);
            copy(&made, &path)?;
            files.push(path);
        }
        Ok(files)
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let folder = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let named = || to.display().to_string();
    fs::create_dir_all(folder).with_context(named)?;
    let mut source =
        File::open(from).with_context(|| format!("{} was not made", from.display()))?;
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(named)?;
    io::copy(&mut source, &mut file).with_context(named)?;
    file.persist(to).with_context(named)?;
    Ok(())
}
