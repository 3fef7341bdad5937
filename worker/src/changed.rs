//! A folder whose job was changed: frames of the job that it held before make room for those of
//! the new one, which takes over what both have.

use tokio::task::spawn_blocking;
use vqfarm_core::keys;
use vqfarm_core::plan::{CHOOSE, PREVIEW};
use vqfarm_storage::{JobStore, frame};

use crate::early_stop::saved_key;
use crate::standalone::Halt;

/// Puts frames of other jobs than that of `spec_hash` aside, under their pictures' identities; answers
/// how many. Interrupted anywhere, it goes on the next time, with the new job and with the old one.
pub(crate) async fn keep_frames(store: &JobStore, spec_hash: &str) -> Result<u64, Halt> {
    let previews = keys::work_folder(PREVIEW);
    let old_previews = put_aside(store, &previews, spec_hash).await?;
    let kept = put_aside(store, keys::FRAMES, spec_hash).await?;
    if old_previews + kept > 0 {
        // What was chosen of them is not meant of the new ones.
        let choice = keys::work(CHOOSE, 0, "json");
        store.delete(&choice).await.map_err(Halt::failed)?;
        for name in store.names(keys::KEEP).await.map_err(Halt::failed)? {
            store.delete(&format!("{}/{name}", keys::KEEP)).await.map_err(Halt::failed)?;
        }
    }
    Ok(kept)
}

async fn put_aside(store: &JobStore, folder: &str, spec_hash: &str) -> Result<u64, Halt> {
    let mut kept = 0;
    for name in store.names(folder).await.map_err(Halt::failed)? {
        let key = format!("{folder}/{name}");
        let is_frame = keys::frame_index(&name).is_some();
        let bytes = if is_frame { store.get(&key).await.map_err(Halt::failed)? } else { None };
        let Some(bytes) = bytes else { continue };
        let read = bytes.clone();
        let decoded = spawn_blocking(move || frame::decode(&read)).await.map_err(Halt::failed)?;
        // A damaged one is thrown away where it is met.
        let Ok((info, _)) = decoded else { continue };
        if info.spec == spec_hash {
            continue;
        }
        let to = keys::kept_cell(&info.identity());
        let saved = saved_key(&key);
        if let Some(saved) = store.get(&saved).await.map_err(Halt::failed)? {
            store.create(&saved_key(&to), saved).await.map_err(Halt::failed)?;
        }
        store.create(&to, bytes).await.map_err(Halt::failed)?;
        store.delete(&saved).await.map_err(Halt::failed)?;
        store.delete(&key).await.map_err(Halt::failed)?;
        kept += 1;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use vqfarm_core::render::RenderSettings;
    use vqfarm_storage::frame::FrameInfo;

    use super::*;

    fn info(spec: &str, seed: u64) -> FrameInfo {
        FrameInfo {
            index: seed,
            spec: spec.into(),
            settings: RenderSettings { seed, ..RenderSettings::default() },
            models: Default::default(),
            score: None,
            version: "1".into(),
            stopped: None,
            film: false,
        }
    }

    #[tokio::test]
    async fn only_other_jobs_frames_make_room() {
        let store = JobStore::memory();
        let picture = RgbImage::new(4, 4);
        for (index, spec) in [(0, "old"), (1, "new"), (2, "old")] {
            let bytes = frame::encode(&picture, &info(spec, index)).unwrap();
            store.create(&keys::frame(index), bytes.into()).await.unwrap();
        }
        store.create("frames/notes.txt", "mine".into()).await.unwrap();
        store.create(&keys::frame(7), "cut off".into()).await.unwrap();
        assert_eq!(keep_frames(&store, "new").await.ok(), Some(2));
        let left = store.names(keys::FRAMES).await.unwrap();
        assert_eq!(left, ["000001.png", "000007.png", "notes.txt"]);
        let identity = info("old", 2).identity();
        let kept = store.get(&keys::kept_cell(&identity)).await.unwrap().unwrap();
        assert_eq!(frame::decode(&kept).unwrap(), (info("old", 2), picture));
        assert_eq!(keep_frames(&store, "new").await.ok(), Some(0));
    }
}
