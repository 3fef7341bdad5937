//! The files that jobs bring along: pictures and sounds, named by their contents.

use std::collections::HashMap;

use bytes::Bytes;
use image::ImageFormat;
use sha2::{Digest, Sha256};
use vqfarm_core::asset::{AssetKind, MAX_BYTES};
use vqfarm_core::id::{JobId, RequestId};
use vqfarm_core::sound::SoundFormat;
use vqfarm_proto::RefusalReason as Reason;

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::submit::job_id;

/// Kinds of pictures that workers read.
const READ: [ImageFormat; 4] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif];

impl Farm {
    /// Stores files of a job that will be submitted under this request id: more than fit into
    /// one message come before it.
    ///
    /// # Errors
    /// A file is not what its name says; storage fails.
    pub async fn put_assets(
        &self,
        request: &RequestId,
        assets: HashMap<String, Bytes>,
    ) -> Result<()> {
        for (name, bytes) in &assets {
            let kind = if is_picture(name) { AssetKind::Picture } else { AssetKind::Sound };
            check(kind, name, bytes).map_err(|why| Error::refused(Reason::BadRequest, why))?;
        }
        let store = self.storage.job(job_id(self.name.as_str(), request));
        for (name, bytes) in assets {
            // Named by their contents: one that is there is the same.
            store.create(&name, bytes).await?;
        }
        Ok(())
    }

    /// The names of a job's files that are stored.
    pub(crate) async fn stored_assets(&self, id: JobId) -> Result<Vec<String>> {
        let names = self.storage.job(id).names("assets").await?;
        Ok(names.into_iter().map(|name| format!("assets/{name}")).collect())
    }
}

const PICTURES: [&str; 4] = ["png", "jpg", "webp", "gif"];

fn is_picture(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| PICTURES.contains(&extension))
}

/// A file's name is its contents' hash: nothing else is written, least of all elsewhere.
/// Answers with the hash.
pub(crate) fn check_name(kind: AssetKind, name: &str) -> std::result::Result<&str, String> {
    let what = kind.name();
    let known = |extension: &str| match kind {
        AssetKind::Picture => PICTURES.contains(&extension),
        AssetKind::Sound => SoundFormat::ALL.map(SoundFormat::extension).contains(&extension),
    };
    let parts = name.strip_prefix("assets/").and_then(|rest| rest.split_once('.'));
    let hex = |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let named = parts.filter(|(hash, extension)| hex(hash) && known(extension));
    named
        .map(|(hash, _)| hash)
        .ok_or_else(|| format!("{name:?} is not the name of a {what} that came along"))
}

/// Whether a file is what its name and its field say.
pub(crate) fn check(kind: AssetKind, name: &str, bytes: &Bytes) -> std::result::Result<(), String> {
    let what = kind.name();
    let hash = check_name(kind, name)?;
    if bytes.len() as u64 > MAX_BYTES {
        let (is, most) = (bytes.len() >> 20, MAX_BYTES >> 20);
        return Err(format!("a {what} of {is} MiB; at most {most} MiB are taken"));
    }
    let (known, kinds) = match kind {
        AssetKind::Picture => {
            let format = image::guess_format(bytes).ok();
            (format.is_some_and(|format| READ.contains(&format)), "PNG, JPEG, WebP and GIF")
        }
        AssetKind::Sound => (SoundFormat::of(bytes).is_some(), SoundFormat::NAMES),
    };
    if !known {
        return Err(format!("{name:?} is not a {what}; {kinds} are taken"));
    }
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == hash { Ok(()) } else { Err(format!("the {what} {name:?} was altered on its way")) }
}

#[cfg(test)]
mod tests {
    use vqfarm_core::keys;

    use super::*;

    fn hash(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn files_go_by_their_contents_and_nowhere_else() {
        let check = |name: &str, bytes: &Bytes| check(AssetKind::Picture, name, bytes);
        let bytes = Bytes::from_static(b"GIF89a picture");
        let hash = hash(&bytes);
        assert!(check(&keys::asset(&hash, "png"), &bytes).is_ok());
        for bad in [
            "../../etc/passwd".to_owned(),
            "assets/../job.json".to_owned(),
            format!("assets/{hash}.png/../x"),
            format!("assets/{hash}.exe"),
            format!("assets/{hash}.mp3"),
            format!("assets/{}.png", "0".repeat(64)),
            format!("frames/{hash}.png"),
        ] {
            assert!(check(&bad, &bytes).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_must_be_what_its_field_asks_for() {
        let told = |kind, bytes: &Bytes, extension| {
            check(kind, &keys::asset(&hash(bytes), extension), bytes)
        };
        let text = Bytes::from_static(b"a text");
        let refused = told(AssetKind::Picture, &text, "png").unwrap_err();
        assert!(refused.contains("is not a picture"), "{refused}");
        let list = Bytes::from_static(b"#EXTM3U\nhttp://host/x.ts");
        let refused = told(AssetKind::Sound, &list, "mp3").unwrap_err();
        assert!(refused.contains("is not a sound; MP3, "), "{refused}");

        let sound = Bytes::from_static(b"fLaC and so on");
        assert_eq!(told(AssetKind::Sound, &sound, "flac"), Ok(()));
        assert!(told(AssetKind::Picture, &sound, "png").is_err());
        assert!(told(AssetKind::Sound, &sound, "png").is_err());
        let mut long = vec![0; MAX_BYTES as usize + 1];
        long[..4].copy_from_slice(b"fLaC");
        let refused = told(AssetKind::Sound, &long.into(), "flac").unwrap_err();
        assert!(refused.contains("at most 64 MiB"), "{refused}");
    }
}
