//! Objects under one root, whatever holds them: a job's, or a whole farm's.
//!
//! Keys are relative to the root, so that a farm's `jobs/<id>/` and the folder of a standalone
//! render have the same layout (see [`vqfarm_core::keys`]).

use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;
use vqfarm_core::clock::Timestamp;

use crate::error::{Result, StoreError};
use crate::options::{self, Patience};
use crate::storage::path;

/// Outcome of a create-only write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Stored,
    /// An object lay there already and still does. After an answer was lost it may be ours.
    Existed,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Relative to the store's root.
    pub key: String,
    pub bytes: u64,
    /// When it was written last, by the store's clock.
    pub modified: Timestamp,
}

/// The most bytes of an object that is read as a whole: the optimiser's state of a picture of
/// 4096 × 4096 has 0.8 GB, everything else far less. Weights and films are read in pieces.
const LARGEST: u64 = 1 << 30;
/// The first pause before a write is repeated; the next ones are longer, all are random.
const PAUSE: Duration = Duration::from_millis(200);
/// Attempts at a create-only write.
const WRITES: u32 = 3;
/// Large objects travel in parts of this many bytes, each with its own attempts. Parts that S3
/// takes have at least 5 MiB.
pub(crate) const PART: u64 = 8 << 20;
/// Parts under way at the same time.
pub(crate) const AT_ONCE: usize = 4;

/// The objects of one job.
#[derive(Clone, Debug)]
pub struct JobStore {
    pub(crate) objects: Arc<dyn ObjectStore>,
    root: Path,
    /// Objects are listed in the order of their names, as S3 does.
    ordered: bool,
    pub(crate) patience: Patience,
}

impl JobStore {
    /// Objects of `store` under `root`.
    pub fn new(objects: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { objects, root, ordered: false, patience: Patience::default() }
    }

    pub(crate) fn ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    pub(crate) fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// The same store, further down.
    pub(crate) fn under(&self, folder: &str) -> Self {
        Self { root: self.path(folder), ..self.clone() }
    }

    /// A folder on this machine, made when missing. Writes are whole or absent even when the
    /// process dies in the middle, and on disk before they are reported done.
    pub fn folder(path: &FilePath) -> Result<Self> {
        Ok(Self::new(options::folder(path)?, Path::default()))
    }

    /// Objects that live as long as this process.
    pub fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()), Path::default())
    }

    /// Writes one key twice, create-only; refuses a store that lets both succeed.
    pub async fn probe(&self) -> Result<()> {
        let key = format!("probe-{}", Uuid::now_v7());
        let outcome = match self.create(&key, Bytes::from_static(b"1")).await {
            Ok(_) => self.create(&key, Bytes::from_static(b"2")).await,
            Err(e) => return Err(e),
        };
        self.delete(&key).await?;
        match outcome? {
            Put::Existed => Ok(()),
            Put::Stored => Err(StoreError::NotCreateOnly(self.objects.to_string())),
        }
    }

    /// The whole object, or `None` when there is none.
    ///
    /// # Errors
    /// The store fails, or the object is larger than any that is read as a whole.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key);
        let read = async {
            let found = self.objects.get(&path).await?;
            let size = found.meta.size;
            Ok(if size <= LARGEST { Ok(found.bytes().await?) } else { Err(size) })
        };
        match self.in_time("read", key, read).await {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(size)) => Err(StoreError::TooLarge { key: key.into(), size, most: LARGEST }),
            Err(error) => none(error),
        }
    }

    /// Bytes of the object, or `None` when there is none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        let path = self.path(key);
        match self.in_time("look at", key, self.objects.head(&path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) => none(error),
        }
    }

    /// When the object was written last, by the store's clock; `None` when there is none.
    pub async fn modified(&self, key: &str) -> Result<Option<Timestamp>> {
        let path = self.path(key);
        match self.in_time("look at", key, self.objects.head(&path)).await {
            Ok(meta) => Ok(Some(Timestamp(meta.last_modified.timestamp_millis()))),
            Err(error) => none(error),
        }
    }

    /// Writes an object that must not exist yet. A write whose answer got lost is repeated, and
    /// then finds its own object.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let path = self.path(key);
        let deadline = Instant::now() + self.patience.operation;
        let mut attempt = 1;
        loop {
            let options = PutOptions::from(PutMode::Create);
            let put = self.objects.put_opts(&path, bytes.clone().into(), options);
            let error = match timeout_at(deadline, put).await {
                Ok(Ok(_)) => return Ok(Put::Stored),
                Ok(Err(object_store::Error::AlreadyExists { .. })) => return Ok(Put::Existed),
                Ok(Err(source)) => object("write", key, source),
                Err(_) => self.too_slow("write", key),
            };
            let pause = PAUSE * 4_u32.pow(attempt - 1);
            let pause = pause.mul_f64(0.5 + fastrand::f64());
            if attempt == WRITES || !error.is_transient() || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::warn!(%error, "storage failed; trying again");
            sleep(pause).await;
            attempt += 1;
        }
    }

    /// Writes an object, in place of an older one if there is one.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(key);
        self.in_time("write", key, self.objects.put(&path, bytes.into())).await?;
        Ok(())
    }

    /// The same from a file, of which only parts are in memory at a time.
    ///
    /// # Errors
    /// The file cannot be read or the store fails; then what was there before still is.
    pub async fn replace_with_file(&self, key: &str, file: &FilePath) -> Result<()> {
        let fail =
            |source: io::Error| StoreError::File { path: file.display().to_string(), source };
        let mut reading = File::open(file).await.map_err(fail)?;
        let mut part = Vec::new();
        (&mut reading).take(PART).read_to_end(&mut part).await.map_err(fail)?;
        if (part.len() as u64) < PART {
            return self.replace(key, part.into()).await;
        }
        let path = self.path(key);
        let upload = self.in_time("write", key, self.objects.put_multipart(&path)).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART as usize);
        while !part.is_empty() {
            let sent = parts.wait_for_capacity(AT_ONCE).await;
            sent.map_err(|source| object("write", key, source))?;
            parts.put(std::mem::take(&mut part).into());
            if let Err(error) = (&mut reading).take(PART).read_to_end(&mut part).await {
                // Tidying up may fail too; the file is what is wrong.
                let _ = parts.abort().await;
                return Err(fail(error));
            }
        }
        parts.finish().await.map_err(|source| object("write", key, source))?;
        Ok(())
    }

    /// Removes an object; none there is no error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        match self.in_time("delete", key, self.objects.delete(&path)).await {
            Ok(()) => Ok(()),
            Err(error) => none::<()>(error).map(drop),
        }
    }

    /// Names of the objects right under `folder`, sorted.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.path(folder);
        let depth = prefix.parts_count() + 1;
        let mut names: Vec<String> = self
            .objects
            .list(Some(&prefix))
            .try_filter_map(|meta| async move {
                let here = meta.location.parts_count() == depth;
                Ok(meta.location.filename().filter(|_| here).map(str::to_owned))
            })
            .try_collect()
            .await
            .map_err(|source| object("list", folder, source))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Names of the objects in a folder from that of `first` to that of `last`, which lie in the same
    /// one; sorted. Of a store that lists in order no more is read than is asked for.
    pub async fn names_between(&self, first: &str, last: &str) -> Result<Vec<String>> {
        let (first, last) = (self.path(first), self.path(last));
        let folder = Path::from_iter(first.parts().take(first.parts_count().saturating_sub(1)));
        // Listing begins behind the offset, so that is the name without its last letter.
        let mut before = first.filename().unwrap_or_default().to_owned();
        before.pop();
        let offset = folder.clone().join(before);
        let ordered = self.ordered;
        let wanted = |path: &Path| first <= *path && *path <= last;
        let mut names: Vec<String> = self
            .objects
            .list_with_offset(Some(&folder), &offset)
            .try_take_while(|meta| ready(Ok(!ordered || meta.location <= last)))
            .try_filter_map(|meta| {
                let name = meta.location.filename().filter(|_| wanted(&meta.location));
                ready(Ok(name.map(str::to_owned)))
            })
            .try_collect()
            .await
            .map_err(|source| object("list", folder.as_ref(), source))?;
        names.sort_unstable();
        Ok(names)
    }

    /// All objects below `folder`, however deep, in no order; below the root where it is empty. They
    /// may be deleted while they are listed.
    pub fn objects(&self, folder: &str) -> BoxStream<'static, Result<Listed>> {
        let prefix = if folder.is_empty() { self.root.clone() } else { self.path(folder) };
        let (root, folder) = (self.root.clone(), folder.to_owned());
        let listed = move |meta: ObjectMeta| {
            let parts = meta.location.prefix_match(&root)?;
            let key = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            let modified = Timestamp(meta.last_modified.timestamp_millis());
            Some(Listed { key, bytes: meta.size, modified })
        };
        let all = self.objects.list(Some(&prefix));
        let all = all.map_err(move |source| object("list", &folder, source));
        all.try_filter_map(move |meta| ready(Ok(listed(meta)))).boxed()
    }

    /// Names of the folders right under `folder`, sorted.
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.path(folder);
        let listed = self.objects.list_with_delimiter(Some(&prefix)).await;
        let listed = listed.map_err(|source| object("list", folder, source))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut names: Vec<String> = listed.common_prefixes.iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn path(&self, key: &str) -> Path {
        path(&self.root, key)
    }

    /// Nothing hangs for longer than the store's patience, whatever the network does.
    pub(crate) async fn in_time<T>(
        &self,
        action: &'static str,
        key: &str,
        operation: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        match timeout_at(Instant::now() + self.patience.operation, operation).await {
            Ok(done) => done.map_err(|source| object(action, key, source)),
            Err(_) => Err(self.too_slow(action, key)),
        }
    }

    fn too_slow(&self, action: &'static str, key: &str) -> StoreError {
        StoreError::TooSlow { action, key: key.to_owned(), patience: self.patience.operation }
    }
}

pub(crate) fn object(action: &'static str, key: &str, source: object_store::Error) -> StoreError {
    StoreError::Object { action, key: key.to_owned(), source }
}

/// No object is an answer, not an error.
fn none<T>(error: StoreError) -> Result<Option<T>> {
    match error {
        StoreError::Object { source: object_store::Error::NotFound { .. }, .. } => Ok(None),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_core::clock::{Clock, SystemClock};

    use super::*;

    async fn keeps_the_first_of_two_creates(store: JobStore) {
        store.probe().await.unwrap();
        let key = "frames/000001.png";
        assert_eq!(store.get(key).await.unwrap(), None);
        assert_eq!(store.create(key, "first".into()).await.unwrap(), Put::Stored);
        assert_eq!(store.create(key, "second".into()).await.unwrap(), Put::Existed);
        assert_eq!(store.get(key).await.unwrap().unwrap(), "first");
        assert_eq!(store.names("frames").await.unwrap(), ["000001.png"]);
        let modified = store.modified(key).await.unwrap().unwrap();
        assert!(SystemClock.now().since(modified) < Duration::from_secs(60));
        assert_eq!(store.modified("none").await.unwrap(), None);
        store.replace(key, "third".into()).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap(), "third");
        store.delete(key).await.unwrap();
        store.delete(key).await.unwrap();
        assert_eq!(store.names("frames").await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn memory_and_folder_behave_alike() {
        keeps_the_first_of_two_creates(JobStore::memory()).await;
        let dir = tempfile::tempdir().unwrap();
        keeps_the_first_of_two_creates(JobStore::folder(dir.path()).unwrap()).await;
        assert!(!dir.path().join("frames").exists(), "a folder without objects is none");
    }

    #[tokio::test]
    async fn what_is_too_large_for_memory_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = JobStore::folder(dir.path()).unwrap();
        // Without blocks on the disk.
        let file = std::fs::File::create(dir.path().join("job.json")).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        let error = store.get("job.json").await.unwrap_err();
        assert!(
            matches!(&error, StoreError::TooLarge { size, .. } if *size == LARGEST + 1),
            "{error}"
        );
        assert!(!error.is_transient());
    }

    #[tokio::test]
    async fn objects_are_listed_however_deep_and_below_their_folder_only() {
        let dir = tempfile::tempdir().unwrap();
        for store in [JobStore::memory(), JobStore::folder(dir.path()).unwrap()] {
            let job = store.under("jobs/a");
            for key in ["job.json", "work/render/000001.png", "workshop"] {
                job.replace(key, "12345".into()).await.unwrap();
            }
            store.replace("jobs/ab/job.json", "x".into()).await.unwrap();
            let list = async |folder: &str| {
                let listed: Vec<Listed> = job.objects(folder).try_collect().await.unwrap();
                let mut keys: Vec<_> = listed.into_iter().map(|l| (l.key, l.bytes)).collect();
                keys.sort();
                keys
            };
            let expected = [("job.json", 5), ("work/render/000001.png", 5), ("workshop", 5)];
            assert_eq!(list("").await, expected.map(|(key, n)| (key.to_owned(), n)));
            assert_eq!(list("work").await, [("work/render/000001.png".to_owned(), 5)]);
            assert_eq!(list("out").await, []);
        }
    }

    #[tokio::test]
    async fn a_file_of_any_size_takes_the_place_of_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("film");
        for store in [JobStore::memory(), JobStore::folder(&dir.path().join("out")).unwrap()] {
            for size in [0, 5, PART, 2 * PART + 12_345, 3] {
                let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
                std::fs::write(&file, &bytes).unwrap();
                store.replace_with_file("out/video.mp4", &file).await.unwrap();
                assert!(store.get("out/video.mp4").await.unwrap().unwrap() == bytes, "{size}");
            }
            let none = store.replace_with_file("out/video.mp4", &dir.path().join("none")).await;
            assert!(matches!(none, Err(StoreError::File { .. })));
            assert_eq!(store.size("out/video.mp4").await.unwrap(), Some(3));
        }
        let left = std::fs::read_dir(dir.path().join("out/out")).unwrap().count();
        assert_eq!(left, 1, "nothing half-written stays");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inside = file.path().join("out");
        let refused = JobStore::folder(&inside).unwrap_err();
        assert!(refused.to_string().contains(&inside.display().to_string()), "{refused}");
    }
}
