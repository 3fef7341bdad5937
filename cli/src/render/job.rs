//! A resolved job that this machine can render, and the folder of its results.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::keys;
use vqfarm_core::needs::{ModelUse, Role};
use vqfarm_core::record::JobRecord;
use vqfarm_weights::library::{Config, Library};

use super::RenderArgs;
use crate::failure::Failure;
use crate::job::assets::Asset;
use crate::job::{self, Resolved};

/// A resolved job, the files it needs, and the folder of its results.
pub struct Loaded {
    pub job: Job,
    pub assets: Vec<Asset>,
    pub out: PathBuf,
}

/// Reads and checks everything, and changes nothing.
pub fn load(args: &RenderArgs) -> Result<Loaded, Failure> {
    let library = job::library(args.job.models.as_deref())?;
    let resolved = job::load(&args.job, &library)?;
    check_models(&resolved, &library)?;
    let Resolved { job, assets, .. } = resolved;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("out").join(default_folder(args, &job)),
    };
    check_out(&out, &job)?;
    Ok(Loaded { job, assets, out })
}

fn default_folder(args: &RenderArgs, job: &Job) -> String {
    match args.job.file {
        Some(_) => job.name.to_string(),
        None => format!("{}-{}", job.name, job.render.seed),
    }
}

/// Refuses names that the library does not have, and perceptors as generators.
fn check_models(resolved: &Resolved, library: &Library) -> Result<(), Failure> {
    let unfit = |used: ModelUse| {
        let problem = match library.open(&used.name) {
            Err(error) => error.to_string(),
            Ok(entry) => match (used.role, entry.record.config) {
                (Role::Generator, Config::Clip(_)) => {
                    format!("`{}` is a perceptor, not a generator", used.name)
                }
                (Role::Perceptor, Config::Vqgan(_)) => {
                    format!("`{}` is a generator, not a perceptor", used.name)
                }
                _ => return None,
            },
        };
        Some(FieldError::new(used.field, problem))
    };
    resolved.refuse(resolved.job.models().into_iter().filter_map(unfit).collect())
}

/// Refuses a folder that holds another job's results. A changed sweep takes over what it still has.
fn check_out(out: &Path, job: &Job) -> Result<(), Failure> {
    let record = out.join(keys::JOB_RECORD);
    let bytes = match fs::read(&record) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::Usage(format!("--out {}: {error}", out.display())));
        }
    };
    let stored: JobRecord = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::Usage(format!("{}: not a job of vqfarm: {error}", record.display()))
    })?;
    if !stored.may_become(job) {
        let message = format!(
            "--out {}: the folder holds another job ({:?}); choose another folder, or remove \
             this one to start over",
            out.display(),
            stored.spec.name.as_str()
        );
        return Err(Failure::Usage(message));
    }
    Ok(())
}

/// Writes those files into the folder of the results, each whole or not at all.
pub fn store_assets(loaded: &Loaded) -> io::Result<()> {
    for asset in &loaded.assets {
        let path = loaded.out.join(&asset.key);
        if path.exists() {
            continue;
        }
        let folder = path.parent().unwrap_or(&loaded.out);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&asset.bytes)?;
        file.persist(path)?;
    }
    Ok(())
}
