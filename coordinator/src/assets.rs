//! The files that jobs bring along: pictures and sounds, named by their contents.

use std::collections::HashMap;
use std::io::Cursor;

use bytes::Bytes;
use image::{ImageDecoder, ImageFormat, ImageReader, Limits};
use sha2::{Digest, Sha256};
use vqfarm_core::asset::{AssetKind, MAX_BYTES};
use vqfarm_core::check::MAX_SIDE;
use vqfarm_core::id::{JobId, RequestId};
use vqfarm_core::sound::SoundFormat;
use vqfarm_proto::RefusalReason as Reason;

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::submit::job_id;

/// The longest side of a picture, in pixels.
const MAX_ASSET_SIDE: u32 = 4 * MAX_SIDE;
/// Bytes that a picture's pixels may take, as many as workers decode.
const MAX_PIXELS: u64 = 512 << 20;
/// Bytes that are decoded before the pixels are reached, as of a colour profile; a larger one is left out.
const MAX_HEAD: u64 = MAX_BYTES;
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
    if found != hash {
        return Err(format!("the {what} {name:?} was altered on its way"));
    }
    if kind == AssetKind::Picture { check_size(bytes) } else { Ok(()) }
}

/// Refuses a picture that is small on its way and huge once it is decoded. Its head tells; what has
/// none that can be read is told of by the worker, which decodes it within the same limits.
fn check_size(bytes: &Bytes) -> std::result::Result<(), String> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_HEAD);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits);
    let Ok(reader) = reader.with_guessed_format() else { return Ok(()) };
    let Ok(decoder) = reader.into_decoder() else { return Ok(()) };
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_ASSET_SIDE {
        return Err(format!(
            "a picture of {width} × {height} pixels; at most {MAX_ASSET_SIDE} a side are taken"
        ));
    }
    if decoder.total_bytes() > MAX_PIXELS {
        return Err(format!(
            "a picture of {width} × {height} pixels, which take {} MiB; at most {} MiB are taken",
            decoder.total_bytes() >> 20,
            MAX_PIXELS >> 20
        ));
    }
    Ok(())
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
        let bytes = Bytes::from_static(b"GIF89a\x02\0\x02\0picture");
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
    fn pictures_that_are_bombs_are_refused_unopened() {
        // A PNG's head alone: its size, and nothing of what would fill it.
        let head = |width: u32, height: u32| {
            let mut body = b"IHDR".to_vec();
            body.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
            body.extend([8, 6, 0, 0, 0]);
            let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
            let sum = crc32fast::hash(&body);
            png.extend(body);
            png.extend(sum.to_be_bytes());
            png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
            Bytes::from(png)
        };
        // A GIF's screen, of which no picture need fill more than a corner.
        let screen = |width: u16, height: u16| {
            let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
            Bytes::from([b"GIF89a", &sides[..], b"\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02"].concat())
        };
        let told =
            |bytes: Bytes| check(AssetKind::Picture, &keys::asset(&hash(&bytes), "png"), &bytes);
        assert_eq!(told(head(16384, 8192)), Ok(()));
        assert_eq!(told(screen(16384, 8192)), Ok(()));
        for (width, height) in [(60_000, 60_000), (16_385, 1), (1, u32::MAX >> 1)] {
            let refused = told(head(width, height)).unwrap_err();
            assert!(refused.contains("at most 16384 a side"), "{refused}");
        }
        for bomb in [head(16384, 8193), screen(16384, 16384)] {
            let refused = told(bomb).unwrap_err();
            assert!(refused.contains("at most 512 MiB"), "{refused}");
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
