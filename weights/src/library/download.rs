//! Pulling a published model: a resumable download, a checksum, an import.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::{HeaderMap, Response, StatusCode, header};

use super::Library;
use super::catalogue::Published;
use super::error::{Io, LibraryError, Result};
use super::name::ModelName;
use super::record::{Entry, hash_file, write_json};
use crate::error::Reason;
use crate::source::read_text;

/// Connections that a download may lose, as long as each brings some of it.
const ATTEMPTS: u32 = 5;
const MAX_LEN: u64 = 32 << 30;
const PIECE: usize = 256 << 10;

/// What to pull, and from where.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The name that the model gets in the library.
    pub name: ModelName,
    /// HTTPS; or HTTP where a checksum guards the content or the server is this machine.
    pub url: String,
    /// What the file must hash to, in lower-case hexadecimal.
    pub sha256: Option<String>,
    pub licence: Option<String>,
}

impl Pull {
    /// A model of the catalogue, from `url` if given (a mirror) and else from its publisher.
    pub fn published(model: &Published, url: Option<&str>) -> Result<Self> {
        Ok(Self {
            name: ModelName::new(model.name)?,
            url: url.unwrap_or(model.url).to_owned(),
            sha256: model.sha256.map(str::to_owned),
            licence: Some(model.licence.to_owned()),
        })
    }

    fn fail(&self, problem: impl Into<String>) -> LibraryError {
        LibraryError::Download { url: self.url.clone(), problem: problem.into() }
    }

    /// Without a checksum, whoever sits on the way of a plain connection chooses the content.
    fn check_url(&self) -> Result<()> {
        let Some(host) = plain_host(&self.url) else {
            let problem = "the address should begin with https://";
            let secure = self.url.starts_with("https://");
            return if secure { Ok(()) } else { Err(self.fail(problem)) };
        };
        if self.sha256.is_some() || is_local(host) {
            return Ok(());
        }
        Err(self.fail("without a checksum only https:// is safe"))
    }
}

/// The host of an `http://` address, with its port.
fn plain_host(url: &str) -> Option<&str> {
    url.strip_prefix("http://")?.split(['/', '?', '#']).next()
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Which file on the server the first part of a download is of.
#[derive(Serialize, Deserialize, PartialEq)]
struct Origin {
    url: String,
    /// The server's `ETag` or `Last-Modified`.
    validator: Option<String>,
}

/// A download that has not ended yet.
struct Part {
    path: PathBuf,
    origin_path: PathBuf,
    file: File,
    len: u64,
}

/// Why an attempt ended early.
enum Stop {
    /// The connection broke; another may go on from here.
    Interrupted(String),
    Failed(LibraryError),
}

impl From<LibraryError> for Stop {
    fn from(error: LibraryError) -> Self {
        Self::Failed(error)
    }
}

impl Library {
    /// Downloads and imports a model, unless the library has one of that name already.
    ///
    /// A download that breaks off goes on where it stopped, now or the next time. `progress` is
    /// told the bytes so far and, where known, of how many.
    pub fn pull(&self, pull: &Pull, progress: &mut dyn FnMut(u64, Option<u64>)) -> Result<Entry> {
        if let Some(entry) = self.imported(&pull.name)? {
            return Ok(entry);
        }
        pull.check_url()?;
        let mut part = self.part(pull)?;
        download(pull, &mut part, progress)?;
        if let Some(expected) = &pull.sha256 {
            let found = hash_file(&part.path)?;
            if !found.eq_ignore_ascii_case(expected) {
                part.remove()?;
                let (url, expected) = (pull.url.clone(), expected.clone());
                return Err(LibraryError::Checksum { url, found, expected });
            }
        }
        let (url, licence) = (pull.url.clone(), pull.licence.clone());
        let imported = self.import_from(&part.path, None, &pull.name, url, licence);
        match imported {
            Ok(entry) => {
                part.remove()?;
                Ok(entry)
            }
            // What is no model will be none the next time either.
            Err(LibraryError::Weights(error)) if !matches!(error.reason, Reason::Io(_)) => {
                part.remove()?;
                let problem =
                    format!("what it gives cannot be used and was thrown away: {}", error.reason);
                Err(pull.fail(problem))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens what is there of a download, for this process alone.
    fn part(&self, pull: &Pull) -> Result<Part> {
        let folder = self.root().join("downloads");
        fs::create_dir_all(&folder).at(&folder)?;
        let path = folder.join(pull.name.file_stem() + ".part");
        let origin_path = folder.join(pull.name.file_stem() + ".json");
        let open =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = open.at(&path)?;
        if file.try_lock().is_err() {
            return Err(pull.fail("another process is downloading it"));
        }
        let len = file.seek(SeekFrom::End(0)).at(&path)?;
        Ok(Part { path, origin_path, file, len })
    }
}

impl Part {
    fn origin(&self) -> Option<Origin> {
        serde_json::from_str(&read_text(&self.origin_path).ok()?).ok()
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).at(&self.path)?;
        self.len = self.file.seek(SeekFrom::Start(0)).at(&self.path)?;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at(&self.path)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.path).at(&self.path)?;
        fs::remove_file(&self.origin_path).at(&self.origin_path)
    }
}

fn download(
    pull: &Pull,
    part: &mut Part,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<()> {
    let mut config = Agent::config_builder()
        .https_only(pull.url.starts_with("https://"))
        .http_status_as_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("vqfarm/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)));
    if plain_host(&pull.url).is_some_and(is_local) {
        config = config.proxy(None);
    }
    let agent = config.build().into();
    let mut left = ATTEMPTS;
    loop {
        let before = part.len;
        let problem = match attempt(&agent, pull, part, progress) {
            Ok(()) => return Ok(()),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Interrupted(problem)) => problem,
        };
        left -= 1;
        if left == 0 || part.len <= before {
            let kept =
                format!("{problem} ({} bytes are kept: run the command again to go on)", part.len);
            return Err(pull.fail(kept));
        }
    }
}

/// One request for what is missing.
fn attempt(
    agent: &Agent,
    pull: &Pull,
    part: &mut Part,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Stop> {
    let origin = part.origin().filter(|origin| origin.url == pull.url);
    let validator = origin.as_ref().and_then(|origin| origin.validator.clone());
    // Going on with a file that cannot be told from another is right only if a checksum follows.
    if origin.is_none() || (validator.is_none() && pull.sha256.is_none()) {
        part.restart()?;
    }
    let mut request = agent.get(&pull.url);
    if part.len > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.len));
        if let Some(validator) = &validator {
            request = request.header(header::IF_RANGE, validator);
        }
    }
    let mut response = request.call().map_err(|e| interrupted(&e))?;
    let headers = response.headers();
    match response.status() {
        StatusCode::OK => part.restart()?,
        StatusCode::PARTIAL_CONTENT if content_range(headers).0 == Some(part.len) => {}
        // It was whole already.
        StatusCode::RANGE_NOT_SATISFIABLE if content_range(headers).1 == Some(part.len) => {
            progress(part.len, Some(part.len));
            return Ok(());
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            part.restart()?;
            return Err(pull
                .fail("the server sends another part than was asked for; try again")
                .into());
        }
        status => return Err(pull.fail(format!("the server answers {status}")).into()),
    }
    let total = length(&response).map(|len| part.len.saturating_add(len));
    if let Some(total) = total.filter(|&total| total > MAX_LEN) {
        return Err(pull.fail(format!("{total} bytes are more than any model has")).into());
    }
    let origin = Origin { url: pull.url.clone(), validator: new_validator(headers) };
    write_json(&part.origin_path, &origin)?;

    let mut body = response.body_mut().as_reader();
    let mut piece = vec![0; PIECE];
    loop {
        progress(part.len, total);
        let len = body.read(&mut piece).map_err(|e| Stop::Interrupted(e.to_string()))?;
        if len == 0 {
            break;
        }
        part.append(&piece[..len])?;
        if part.len > MAX_LEN {
            return Err(pull.fail("it is longer than any model").into());
        }
    }
    match total {
        Some(total) if total != part.len => {
            let problem = format!("the connection ended after {} of {total} bytes", part.len);
            Err(Stop::Interrupted(problem))
        }
        _ => Ok(()),
    }
}

/// Errors before any content. Those that another attempt cannot mend are told apart by their
/// making no progress.
fn interrupted(error: &ureq::Error) -> Stop {
    Stop::Interrupted(error.to_string())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn length<T>(response: &Response<T>) -> Option<u64> {
    text(response.headers(), header::CONTENT_LENGTH)?.parse().ok()
}

/// Start and total of `bytes 5-9/10`; of `bytes */10` only the total.
fn content_range(headers: &HeaderMap) -> (Option<u64>, Option<u64>) {
    let parsed = text(headers, header::CONTENT_RANGE)
        .and_then(|value| value.strip_prefix("bytes ")?.split_once('/'))
        .map(|(range, total)| {
            let from = range.split_once('-').and_then(|(from, _)| from.parse().ok());
            (from, total.parse().ok())
        });
    parsed.unwrap_or_default()
}

/// What tells this content from another at the same address. Weak tags do not.
fn new_validator(headers: &HeaderMap) -> Option<String> {
    let tag = text(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned)
}
