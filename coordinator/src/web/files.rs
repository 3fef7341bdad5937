//! Frames, outputs and the record of a job, as the service hands them out.

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::stream::TryStreamExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use vqfarm_core::keys;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;
use vqfarm_proto::v1::fetch_response::Part;

use super::fault::Fault;
use super::session::Visitor;

/// A URL with a version says that what lies there does not change.
#[derive(Deserialize)]
pub struct Version {
    v: Option<String>,
}

pub async fn frame(
    visitor: Visitor,
    Path((job, name)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    file(&visitor, job, format!("{}/{name}", keys::FRAMES), &version, &headers).await
}

pub async fn output(
    visitor: Visitor,
    Path((job, name)): Path<(String, String)>,
    Query(version): Query<Version>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    file(&visitor, job, format!("{}/{name}", keys::OUTPUTS), &version, &headers).await
}

/// `job.json`: the job in full, to be looked at or submitted again.
pub async fn record(
    visitor: Visitor,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    file(&visitor, job, keys::JOB_RECORD.into(), &Version { v: None }, &headers).await
}

async fn file(
    visitor: &Visitor,
    job: String,
    path: String,
    version: &Version,
    asked: &HeaderMap,
) -> Result<Response, Fault> {
    let bytes = fetch(visitor, job, path.clone()).await?;
    let bytes = bytes.ok_or_else(|| Fault::not_found(format!("the job has no {path}")))?;
    let (kind, shown) = kind_of(&path);
    let hash = Sha256::digest(&bytes);
    let tag: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let kept = match version.v {
        Some(_) => "private, max-age=31536000, immutable",
        None => "private, no-cache",
    };
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, text: &str| {
        // All of these texts are made here, of plain letters.
        headers.extend(text.parse().ok().map(|value| (name, value)));
    };
    set(CACHE_CONTROL, kept);
    set(ETAG, &tag);
    set(ACCEPT_RANGES, "bytes");
    if !shown {
        let name = path.rsplit('/').next().unwrap_or(&path);
        set(CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    let text = |name: &HeaderName| asked.get(name).and_then(|value| value.to_str().ok());
    if text(&IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    set(CONTENT_TYPE, kind);
    // A part of what was there before does not go with what is there now.
    let same = text(&IF_RANGE).is_none_or(|before| before == tag);
    let size = bytes.len() as u64;
    match text(&RANGE).filter(|_| same).map(|range| part_of(range, size)) {
        None | Some(Asked::Whole) => Ok((headers, Body::from(bytes)).into_response()),
        Some(Asked::Part(first, last)) => {
            set(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            let part = bytes.slice(first as usize..=last as usize);
            Ok((StatusCode::PARTIAL_CONTENT, headers, Body::from(part)).into_response())
        }
        Some(Asked::Nothing) => {
            set(CONTENT_RANGE, &format!("bytes */{size}"));
            Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response())
        }
    }
}

/// A file of a job, whole.
async fn fetch(visitor: &Visitor, job: String, path: String) -> Result<Option<Bytes>, Fault> {
    let request = v1::FetchRequest { job, have: Vec::new(), only: vec![path] };
    let mut parts = visitor.farm().fetch(visitor.ask(request)).await?.into_inner();
    let mut bytes: Option<BytesMut> = None;
    while let Some(message) = parts.try_next().await? {
        match message.part {
            Some(Part::File(header)) => {
                bytes = Some(BytesMut::with_capacity(header.size as usize));
            }
            Some(Part::Data(data)) => bytes.get_or_insert_default().extend_from_slice(&data),
            Some(Part::End(_)) | None => (),
        }
    }
    Ok(bytes.map(BytesMut::freeze))
}

/// A file's type by its ending, and whether a browser shows it. All else is for the disk: a page
/// that a worker wrote must not act as one of ours.
fn kind_of(path: &str) -> (&'static str, bool) {
    match path.rsplit('.').next().unwrap_or_default() {
        "png" => ("image/png", true),
        "gif" => ("image/gif", true),
        "webp" => ("image/webp", true),
        "mp4" => ("video/mp4", true),
        "webm" => ("video/webm", true),
        "mov" => ("video/quicktime", false),
        "csv" => ("text/csv; charset=utf-8", false),
        "json" => ("application/json", false),
        _ => ("application/octet-stream", false),
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing that is understood, so all of it.
    Whole,
    /// From this byte to that one.
    Part(u64, u64),
    /// Bytes past the end.
    Nothing,
}

/// One range of bytes; of several the whole is an answer, too.
fn part_of(range: &str, size: u64) -> Asked {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|both| both.split_once('-'))
    else {
        return Asked::Whole;
    };
    let end = size.saturating_sub(1);
    match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), _) if first >= size => Asked::Nothing,
        (Ok(first), Ok(last)) if first <= last => Asked::Part(first, last.min(end)),
        (Ok(first), Err(_)) if last.trim().is_empty() => Asked::Part(first, end),
        (Err(_), Ok(0)) if first.is_empty() => Asked::Nothing,
        (Err(_), Ok(most)) if first.is_empty() && size > 0 => {
            Asked::Part(size.saturating_sub(most), end)
        }
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        for (range, asked) in [
            ("bytes=0-", Asked::Part(0, 9)),
            ("bytes=2-4", Asked::Part(2, 4)),
            ("bytes=2-400", Asked::Part(2, 9)),
            ("bytes=-3", Asked::Part(7, 9)),
            ("bytes=-30", Asked::Part(0, 9)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=4-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=", Asked::Whole),
        ] {
            assert_eq!(part_of(range, 10), asked, "{range}");
        }
        assert_eq!(part_of("bytes=0-", 0), Asked::Nothing);
    }

    #[test]
    fn only_pictures_and_films_are_shown() {
        assert!(kind_of("frames/000001.png").1 && kind_of("out/video.mp4").1);
        for path in ["out/index.html", "out/x.svg", "out/x.xml", "job.json", "out/frames.zip"] {
            assert!(!kind_of(path).1, "{path}");
        }
    }
}
