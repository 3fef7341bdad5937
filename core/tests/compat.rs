//! Job files of version 1 stay jobs, and the same jobs: what was read once is read for ever.
//!
//! `compat/` holds a file for each corner of the format, and beside it the resolved job as the version
//! that first read it stored it. Neither is ever changed. `ADD_COMPAT=1` writes the resolved job of a
//! file that is new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::job::Job;
use vqfarm_core::render::RenderSettings;

fn read(path: &str) -> io::Result<Vec<u8>> {
    match path {
        "styles.txt" => Ok(b"ink\nwoodcut\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// The job files of `compat/`, each with the file of its resolved job.
fn files() -> Vec<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat");
    let entries = fs::read_dir(folder).expect("compat/ can be read");
    let entries = entries.map(|entry| entry.expect("compat/ can be read").path());
    let is_resolved = |path: &Path| path.to_string_lossy().ends_with(".resolved.json");
    let files = entries.filter(|path| !is_resolved(path));
    files.map(|file| (file.clone(), file.with_extension("resolved.json"))).collect()
}

fn job_of(file: &Path) -> Job {
    let bytes = fs::read(file).expect("a job file can be read");
    let document = Document::parse(&file.to_string_lossy(), &bytes);
    let job = document.and_then(|document| document.job(Limits::default(), read));
    job.unwrap_or_else(|error| panic!("{error}"))
}

/// Where `now` lacks what was stored: fields may be added, none may go or change.
fn lacking(field: &str, stored: &Value, now: &Value) -> Option<String> {
    match (stored, now) {
        (Value::Object(stored), Value::Object(now)) => stored.iter().find_map(|(name, value)| {
            let field = format!("{field}.{name}");
            now.get(name).map_or(Some(field.clone()), |now| lacking(&field, value, now))
        }),
        (Value::Array(stored), Value::Array(now)) if stored.len() == now.len() => {
            let mut pairs = stored.iter().zip(now).enumerate();
            pairs.find_map(|(n, (stored, now))| lacking(&format!("{field}[{n}]"), stored, now))
        }
        _ => (stored != now).then(|| format!("{field} was {stored} and is {now}")),
    }
}

#[test]
fn files_of_version_1_are_the_jobs_that_they_were() {
    for (file, resolved) in files() {
        let job = job_of(&file);
        let now = serde_json::to_value(&job).unwrap();
        if std::env::var_os("ADD_COMPAT").is_some() && !resolved.exists() {
            fs::write(&resolved, format!("{now:#}\n")).unwrap();
        }
        let stored = fs::read(&resolved);
        let stored = stored.unwrap_or_else(|error| panic!("{}: {error}", resolved.display()));
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        assert_eq!(lacking("job", &stored, &now), None, "{}", file.display());
        // What farms and folders have stored is read, too.
        let again: Job = serde_json::from_value(stored).unwrap();
        assert_eq!(again, job, "{}", resolved.display());
    }
}

#[test]
fn every_field_of_a_picture_is_set_somewhere() {
    let field = |job: &Value, name: &str| {
        job["render"].pointer(&format!("/{}", name.replace('.', "/"))).cloned()
    };
    let default = serde_json::json!({ "render": RenderSettings::default() });
    let jobs: Vec<_> =
        files().iter().map(|(file, _)| serde_json::to_value(job_of(file)).unwrap()).collect();
    for name in vqfarm_core::fields::names() {
        let is_set = |job: &Value| {
            let value = field(job, &name);
            value.is_some() && value != field(&default, &name)
        };
        assert!(jobs.iter().any(is_set), "no file of compat/ sets {name}");
    }
}
