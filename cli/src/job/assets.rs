//! Files that a job refers to: checked and named by their contents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use sha2::{Digest, Sha256};
use vqfarm_core::asset::{AssetKind, MAX_BYTES};
use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::keys;
use vqfarm_core::sound::SoundFormat;

use super::source;

/// A file under its key in storage.
pub struct Asset {
    pub key: String,
    pub bytes: Vec<u8>,
}

/// Wider and higher pictures are refused: a small file can decode to gigabytes.
const MAX_SIDE: u32 = 16_384;

impl Asset {
    /// Named by its contents.
    pub fn new(extension: &str, bytes: Vec<u8>) -> Self {
        let sha256: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        Self { key: keys::asset(&sha256, extension), bytes }
    }
}

/// Reads the files of a job and points it at their keys; also says which cannot be read. What
/// is in `assets` already the job knows by its key.
pub fn resolve(
    job: &mut Job,
    beside: &Path,
    mut assets: Vec<Asset>,
) -> (Vec<Asset>, Vec<FieldError>) {
    let known: BTreeSet<String> = assets.iter().map(|asset| asset.key.clone()).collect();
    let mut keys = BTreeMap::new();
    let mut errors = Vec::new();
    for wanted in job.assets() {
        if known.contains(&wanted.path) || keys.contains_key(&(wanted.kind, wanted.path.clone())) {
            continue;
        }
        match read(&beside.join(&wanted.path), wanted.kind) {
            Ok(asset) => {
                keys.insert((wanted.kind, wanted.path), asset.key.clone());
                if assets.iter().all(|other| other.key != asset.key) {
                    assets.push(asset);
                }
            }
            Err(reason) => {
                let message = format!("{:?}: {reason}", wanted.path);
                errors.push(FieldError::new(wanted.field, message));
            }
        }
    }
    // A path is of one kind: what is a picture is no sound.
    let keys: BTreeMap<_, _> = keys.into_iter().map(|((_, path), key)| (path, key)).collect();
    job.rewrite_assets(|path| keys.get(path).cloned());
    (assets, errors)
}

fn read(path: &Path, kind: AssetKind) -> Result<Asset, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        return Err(format!("a file of {} MiB; at most {most} MiB are taken", size >> 20));
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let extension = match kind {
        AssetKind::Picture => decode(&bytes)?.0,
        AssetKind::Sound => {
            let format = SoundFormat::of(&bytes)
                .ok_or_else(|| format!("not a sound file; {} are taken", SoundFormat::NAMES))?;
            source::check_sound(path)?;
            format.extension()
        }
    };
    Ok(Asset::new(extension, bytes))
}

/// A picture, which must be whole, and the usual ending of its kind.
pub fn decode(bytes: &[u8]) -> Result<(&'static str, DynamicImage), String> {
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let extension = match reader.format() {
        Some(ImageFormat::Png) => "png",
        Some(ImageFormat::Jpeg) => "jpg",
        Some(ImageFormat::WebP) => "webp",
        Some(ImageFormat::Gif) => "gif",
        _ => return Err("not a picture; PNG, JPEG, WebP and GIF are read".into()),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| format!("not a whole picture: {e}"))?;
    Ok((extension, picture))
}
