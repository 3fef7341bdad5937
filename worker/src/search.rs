//! `vqfarm-worker search`: pictures of this machine ranked by a text.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use image::RgbImage;
use tokio::sync::watch;
use tokio::task::{block_in_place, spawn_blocking};
use vqfarm_core::event::Event;
use vqfarm_core::search::{Found, MOST_NAMED, MOST_PICTURES, Match, Search as Wanted};
use vqfarm_core::sheet::{ContactSheet, page_path};
use vqfarm_engine::device;
use vqfarm_engine::search::{Search, Seen};
use vqfarm_weights::Model;
use vqfarm_weights::clip::{self, ClipConfig};
use vqfarm_weights::library::{Config, Library};

use crate::job;
use crate::models::ModelError;
use crate::standalone::{End, Halt, conclude_with};
use crate::stitch::Tell;
use crate::stitch::grid::in_order;
use crate::stitch::sheet::{Sheet, fit};
use crate::stitch::table::{Cell, Table};

/// Pictures that the perceptors look at together.
const BATCH: usize = 32;
/// Files that are read and decoded at the same time.
const AT_ONCE: usize = 8;
/// A larger file is no picture of ours, in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// A search on this machine.
pub struct Request {
    pub wanted: Wanted,
    /// `auto`, `cpu`, `cuda:0`…; see [`device::choose`].
    pub device: String,
    pub library: Library,
}

/// Searches. `tell` hears how far it is, of what was found or an error last; `stop` turning true
/// ends it early.
pub async fn search(request: Request, tell: &mut Tell<'_>, mut stop: watch::Receiver<bool>) -> End {
    let searched = tokio::select! {
        searched = try_search(request, tell) => searched,
        _ = stop.wait_for(|&stop| stop) => return End::Interrupted,
    };
    conclude_with(searched.map(|found| (End::Done, Event::Found(found))), tell)
}

async fn try_search(request: Request, tell: &mut Tell<'_>) -> Result<Found, Halt> {
    let Request { wanted, device, library } = request;
    check(&wanted)?;
    let device = device::choose(&device).map_err(Halt::refused)?;
    let perceptors = wanted.perceptors.iter().map(|name| perceptor(&library, name.as_str()));
    let perceptors = perceptors.collect::<Result<Vec<_>, _>>().map_err(Halt::refused)?;
    let search = Search::new(&perceptors, device, &wanted.text).map_err(Halt::failed)?;
    drop(perceptors);
    if search.is_cut() {
        let message = "the text is longer than the perceptor reads; its end does not count".into();
        tell(&Event::Warning { message });
    }
    let (mut all, unreadable) = look(&search, &wanted, tell).await?;
    let looked = all.len() as u64;
    // Of equals the one that was named first.
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.picture.cmp(&b.picture)));
    all.truncate(wanted.top);
    let sheets = match &wanted.sheet {
        Some(path) => draw(&wanted, &all, path.clone()).await?,
        None => Vec::new(),
    };
    Ok(Found { best: all, looked, unreadable, sheets })
}

fn check(wanted: &Wanted) -> Result<(), Halt> {
    let refused = |message: String| Err(Halt::refused(message));
    if wanted.text.trim().is_empty() {
        return refused("the text is empty; say what the pictures shall show".into());
    }
    if wanted.perceptors.is_empty() {
        return refused("at least one perceptor must judge the pictures".into());
    }
    if wanted.pictures.len() > MOST_PICTURES {
        let count = wanted.pictures.len();
        return refused(format!(
            "{count} pictures are more than the {MOST_PICTURES} of one search"
        ));
    }
    if !(1..=MOST_NAMED).contains(&wanted.top) {
        return refused(format!("the best {}; it must be from 1 to {MOST_NAMED}", wanted.top));
    }
    Ok(())
}

fn perceptor(library: &Library, name: &str) -> Result<Model<ClipConfig>, ModelError> {
    let entry = library.open(name)?;
    let Config::Clip(config) = entry.record.config else {
        let (wanted, found) = ("perceptor", "generator");
        return Err(ModelError::Kind { name: name.to_owned(), wanted, found });
    };
    Ok(clip::canonical(vqfarm_weights::read(&entry.path)?, Some(config))?)
}

/// Scores of all pictures that can be read, and how many cannot.
async fn look(
    search: &Search,
    wanted: &Wanted,
    tell: &mut Tell<'_>,
) -> Result<(Vec<Match>, u64), Halt> {
    let of = wanted.pictures.len() as u64;
    let sides: Arc<[i64]> = search.resolutions().into();
    let read = |picture: usize| {
        let (path, sides) = (wanted.pictures[picture].path.clone(), sides.clone());
        async move {
            let seen = spawn_blocking(move || -> Result<Seen, String> {
                Seen::new(&open(&path)?, &sides).map_err(|error| error.to_string())
            });
            (picture, seen.await.unwrap_or_else(|died| Err(died.to_string())))
        }
    };
    let reading = stream::iter(0..wanted.pictures.len()).map(read).buffered(AT_ONCE);
    let mut batches = reading.chunks(BATCH);
    let (mut all, mut unreadable) = (Vec::new(), 0);
    tell(&Event::Looked { done: 0, of });
    while let Some(batch) = batches.next().await {
        let (mut pictures, mut seen) = (Vec::new(), Vec::new());
        for (picture, view) in batch {
            match view {
                Ok(view) => {
                    pictures.push(picture);
                    seen.push(view);
                }
                Err(reason) => {
                    unreadable += 1;
                    let path = wanted.pictures[picture].path.display();
                    tell(&Event::Warning { message: format!("{path}: {reason}") });
                }
            }
        }
        let scores = block_in_place(|| search.scores(&seen)).map_err(Halt::failed)?;
        let matches = pictures.into_iter().zip(scores);
        all.extend(matches.map(|(picture, score)| Match { picture, score }));
        tell(&Event::Looked { done: all.len() as u64 + unreadable, of });
    }
    if all.is_empty() {
        return Err(Halt::failed("there is no picture that can be read"));
    }
    Ok((all, unreadable))
}

fn open(path: &Path) -> Result<RgbImage, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MOST_BYTES {
        return Err(format!("{bytes} bytes are too many for a picture"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let picture = job::decode(&bytes).map_err(|error| error.to_string())?.to_rgb8();
    if picture.width() == 0 || picture.height() == 0 {
        return Err("it has no pixels".into());
    }
    Ok(picture)
}

/// The contact sheet of the best; answers with its pages.
async fn draw(wanted: &Wanted, best: &[Match], path: PathBuf) -> Result<Vec<String>, Halt> {
    let (title, judges) = (wanted.text.clone(), wanted.perceptors.clone());
    let label = |(n, found): (usize, &Match)| {
        let label = &wanted.pictures[found.picture].label;
        format!("{}. {:.3} {label}", n + 1, found.score)
    };
    let captions: Vec<String> = best.iter().enumerate().map(label).collect();
    let files: Vec<PathBuf> =
        best.iter().map(|found| wanted.pictures[found.picture].path.clone()).collect();
    let drawn = spawn_blocking(move || -> anyhow::Result<Vec<String>> {
        let judges: Vec<&str> = judges.iter().map(|name| name.as_str()).collect();
        let table = Table {
            title,
            cells: files.iter().map(|_| Cell::default()).collect(),
            facts: vec![("by".into(), judges.join(", "))],
            ..Table::default()
        };
        let sizes = files.iter().filter_map(|file| image::image_dimensions(file).ok());
        let largest = sizes.fold((1, 1), |(w, h), size| (w.max(size.0), h.max(size.1)));
        let sheet = Sheet::new(table.into(), in_order(captions), &ContactSheet::default(), largest);
        // Whatever vanished since it was looked at leaves its place empty.
        let shown = |at: usize, cell| Some(fit(open(&files[at]).ok()?, cell));
        let mut pictures =
            |cells: &[usize], size| cells.iter().map(|&at| shown(at, size)).collect();
        let mut pages = Vec::new();
        for page in 0..sheet.pages() {
            let path = page_path(&path, page);
            write(&sheet, page, &path, &mut pictures)
                .map_err(|error| error.context(path.display().to_string()))?;
            pages.push(path.display().to_string());
        }
        Ok(pages)
    });
    drawn.await.map_err(Halt::failed)?.map_err(|error| Halt::failed(format!("{error:#}")))
}

/// Writes a page, whole or not at all.
fn write(
    sheet: &Sheet,
    page: usize,
    path: &Path,
    pictures: &mut crate::stitch::sheet::Pictures<'_>,
) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    sheet.write(page, BufWriter::new(file.as_file()), pictures)?;
    file.persist(path)?;
    Ok(())
}
