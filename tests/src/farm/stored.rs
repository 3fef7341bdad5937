//! What lies in a farm's storage, looked at past all coordinators and workers.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_storage::frame;
use vqfarm_storage::{JobStore, Storage, StorageOptions};
use vqfarm_testing::s3::S3Server;

use tempfile::TempDir;

/// Where in its bucket a farm stores.
pub const PREFIX: &str = "studio";

/// Where a farm stores.
pub enum Place {
    Folder(TempDir),
    S3(S3Server),
}

/// A farm's storage, read synchronously.
pub struct Stored {
    place: Place,
    storage: Storage,
    runtime: tokio::runtime::Runtime,
}

impl Stored {
    pub fn new(place: Place) -> Self {
        let (url, options) = match &place {
            Place::Folder(folder) => {
                (format!("file://{}", folder.path().display()), StorageOptions::default())
            }
            Place::S3(server) => {
                let (access_key, secret_key) = server.keys();
                let options = StorageOptions {
                    endpoint: Some(format!("http://{}", server.address())),
                    region: Some("us-east-1".into()),
                    access_key: Some(access_key.into()),
                    secret_key: Some(secret_key.into()),
                    ..StorageOptions::default()
                };
                // Below a prefix, as in a bucket that others use, too.
                (format!("{}/{PREFIX}", server.url()), options)
            }
        };
        let storage = Storage::open(&url, &options).expect("the storage can be opened");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { place, storage, runtime: runtime.expect("a runtime") }
    }

    /// What `--storage` wants.
    pub fn url(&self) -> &str {
        self.storage.url()
    }

    pub fn server(&self) -> Option<&S3Server> {
        match &self.place {
            Place::Folder(_) => None,
            Place::S3(server) => Some(server),
        }
    }

    /// A path in a storage that is a folder.
    pub fn path(&self, key: &str) -> PathBuf {
        let Place::Folder(folder) = &self.place else { panic!("this storage is no folder") };
        folder.path().join(key)
    }

    /// A job's file in a storage that is a folder.
    pub fn job_path(&self, job: JobId, key: &str) -> PathBuf {
        self.path(&keys::job_root(job)).join(key)
    }

    fn job(&self, job: JobId) -> JobStore {
        self.storage.job(job)
    }

    pub fn jobs(&self) -> Vec<JobId> {
        self.runtime.block_on(self.storage.jobs()).expect("the storage answers")
    }

    pub fn get(&self, job: JobId, key: &str) -> Option<Vec<u8>> {
        let bytes = self.runtime.block_on(self.job(job).get(key));
        bytes.expect("the storage answers").map(|bytes| bytes.to_vec())
    }

    pub fn put(&self, job: JobId, key: &str, bytes: Vec<u8>) {
        let done = self.runtime.block_on(self.job(job).replace(key, bytes.into()));
        done.expect("the storage answers");
    }

    pub fn names(&self, job: JobId, folder: &str) -> Vec<String> {
        self.runtime.block_on(self.job(job).names(folder)).expect("the storage answers")
    }

    /// The bytes of the job's frames as they are, by file name.
    pub fn frames(&self, job: JobId) -> BTreeMap<String, Vec<u8>> {
        let names = self.names(job, keys::FRAMES);
        let read = |name: String| {
            let bytes = self.get(job, &format!("{}/{name}", keys::FRAMES))?;
            Some((name, bytes))
        };
        names.into_iter().filter_map(read).collect()
    }

    /// When each of the job's frames was written, by file name, in a storage that is a folder.
    pub fn written(&self, job: JobId) -> BTreeMap<String, SystemTime> {
        let names = self.names(job, keys::FRAMES);
        let written = |name: String| {
            let file = self.job_path(job, &format!("{}/{name}", keys::FRAMES));
            let time = fs::metadata(file).and_then(|meta| meta.modified()).ok()?;
            Some((name, time))
        };
        names.into_iter().filter_map(written).collect()
    }

    /// The frames of a finished job, each of which must be whole and the job's own, at its own
    /// place, and of which there must be so many and nothing else beside them.
    pub fn whole_frames(&self, job: JobId, cells: usize) -> BTreeMap<String, Vec<u8>> {
        let record = self.get(job, keys::JOB_RECORD).expect("the job is stored");
        let record: JobRecord = serde_json::from_slice(&record).expect("the record is whole");
        let frames = self.frames(job);
        for (name, bytes) in &frames {
            let (info, _) = frame::decode(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(info.spec, record.spec_hash, "{name}");
            assert_eq!(Some(info.index), keys::frame_index(name), "{name}");
        }
        let expected: Vec<String> = (0..cells as u64).map(|i| format!("{i:06}.png")).collect();
        let found: Vec<&String> = frames.keys().collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "each frame exists once");
        frames
    }

    /// Whether the overviews are there, each whole if it is.
    pub fn outputs(&self, job: JobId) -> bool {
        let record = self.get(job, keys::JOB_RECORD).expect("the job is stored");
        let record: JobRecord = serde_json::from_slice(&record).expect("the record is whole");
        if record.spec.animation.is_some() {
            let film = self.get(job, record.spec.output.video.codec.key());
            return film.is_some() && self.get(job, keys::SCORES).is_some();
        }
        let sheet = self.get(job, keys::CONTACT_SHEET);
        if let Some(sheet) = &sheet {
            image::load_from_memory(sheet).expect("a contact sheet is whole or absent");
        }
        let page = self.get(job, keys::GALLERY);
        if let Some(page) = &page {
            assert!(String::from_utf8_lossy(page).trim_end().ends_with("</html>"), "a whole page");
        }
        sheet.is_some() && page.is_some() && self.get(job, keys::SCORES).is_some()
    }

    /// The attempts at a task that left a log, in their order.
    pub fn attempts(&self, job: JobId, layer: &str, index: u64) -> Vec<(u32, String)> {
        let prefix = format!("{index:06}.");
        let names = self.names(job, &format!("logs/{layer}"));
        let attempts = names.iter().filter_map(|name| {
            let attempt = name.strip_prefix(&prefix)?.strip_suffix(".log")?.parse().ok()?;
            let log = self.get(job, &keys::log(layer, index, attempt))?;
            Some((attempt, String::from_utf8_lossy(&log).into_owned()))
        });
        let mut attempts: Vec<(u32, String)> = attempts.collect();
        attempts.sort();
        attempts
    }
}
