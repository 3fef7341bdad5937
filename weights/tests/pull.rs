//! Pulling models from a real HTTP server with the faults of real ones.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::server::{Answer, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vqfarm_weights::library::{Entry, Library, ModelName, Pull, Result};

fn checkpoint() -> Vec<u8> {
    fs::read(common::files("vqgan_vq_f4.lightning.ckpt")).unwrap()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Place {
    dir: TempDir,
    library: Library,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let library = Library::at(dir.path(), None);
        Self { dir, library }
    }

    fn pull(&self, server: &Server, sha256: Option<String>) -> Result<Entry> {
        let name = ModelName::new("tiny/f4").unwrap();
        let pull = Pull { name, url: server.url.clone(), sha256, licence: Some("MIT".into()) };
        let mut last = 0;
        let entry = self.library.pull(&pull, &mut |done, total| {
            assert!(total.is_none_or(|total| done <= total));
            last = done;
        })?;
        assert!(last > 0, "progress was told");
        Ok(entry)
    }

    /// Bytes of the unfinished download.
    fn kept(&self) -> Option<u64> {
        let part = self.dir.path().join("downloads/tiny%2Ff4.part");
        fs::metadata(part).ok().map(|meta| meta.len())
    }
}

#[test]
fn a_model_is_pulled_checked_imported_and_found_again() {
    let content = checkpoint();
    let server = Server::start(vec![Answer::whole(&content)]);
    let place = Place::new();
    let entry = place.pull(&server, Some(hash(&content))).unwrap();
    assert_eq!(entry.record.source, server.url);
    assert_eq!(entry.record.licence.as_deref(), Some("MIT"));
    assert_eq!(place.library.open("tiny/f4").unwrap(), entry);
    assert!(entry.verify().unwrap());
    assert_eq!(place.kept(), None, "the download is tidied away");
    // The second time nothing is asked of the server, which would not answer.
    let name = entry.name.clone();
    let again = Pull { name, url: server.url.clone(), sha256: None, licence: None };
    assert_eq!(place.library.pull(&again, &mut |_, _| {}).unwrap(), entry);
    assert_eq!(server.requests(), [None]);
}

#[test]
fn a_broken_connection_is_resumed_at_once_where_it_stopped() {
    let content = checkpoint();
    let whole = Answer::whole(&content);
    let cut = |at| Answer { cut: Some(at), ..whole.clone() };
    let server = Server::start(vec![cut(500_000), cut(300_001), whole.clone()]);
    let place = Place::new();
    place.pull(&server, Some(hash(&content))).unwrap();
    assert_eq!(server.requests(), [None, Some(500_000), Some(800_001)]);
}

#[test]
fn a_download_that_was_given_up_goes_on_the_next_time() {
    let content = checkpoint();
    let whole = Answer::whole(&content);
    let place = Place::new();
    // The second connection brings nothing, which ends the attempts.
    let cut = |at| Answer { cut: Some(at), ..whole.clone() };
    let server = Server::start(vec![cut(700_000), cut(0), whole.clone()]);
    let message = place.pull(&server, None).unwrap_err().to_string();
    assert!(
        message.contains(&server.url) && message.contains("700000 bytes are kept"),
        "{message}"
    );
    assert_eq!(place.kept(), Some(700_000));
    place.pull(&server, None).unwrap();
    assert_eq!(server.requests(), [None, Some(700_000), Some(700_000)]);
}

#[test]
fn a_server_that_ignores_ranges_sends_the_whole_again() {
    let content = checkpoint();
    let whole = Answer { ranges: false, ..Answer::whole(&content) };
    let cut = Answer { cut: Some(500_000), ..whole.clone() };
    let server = Server::start(vec![cut, whole]);
    let place = Place::new();
    place.pull(&server, Some(hash(&content))).unwrap();
    assert_eq!(server.requests(), [None, Some(500_000)]);
}

#[test]
fn a_file_that_changed_meanwhile_is_not_mixed_with_its_former_self() {
    let content = checkpoint();
    let mut former = content.clone();
    former[..500_000].fill(0);
    let former = Answer { cut: Some(500_000), etag: Some("\"v0\""), ..Answer::whole(&former) };
    let server = Server::start(vec![former, Answer::whole(&content)]);
    let place = Place::new();
    place.pull(&server, None).unwrap();
    assert_eq!(server.requests(), [None, Some(500_000)]);
}

#[test]
fn without_tag_and_checksum_a_download_starts_over() {
    let content = checkpoint();
    let whole = Answer { etag: None, ..Answer::whole(&content) };
    let cut = Answer { cut: Some(500_000), ..whole.clone() };
    let server = Server::start(vec![cut, whole]);
    let place = Place::new();
    place.pull(&server, None).unwrap();
    assert_eq!(server.requests(), [None, None]);
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_is_kept() {
    let content = checkpoint();
    let server = Server::start(vec![Answer::whole(&content)]);
    let place = Place::new();
    let wrong = hash(b"something else");
    let message = place.pull(&server, Some(wrong.clone())).unwrap_err().to_string();
    assert!(message.contains(&wrong) && message.contains(&hash(&content)), "{message}");
    assert_eq!(place.kept(), None);
    assert!(place.library.open("tiny/f4").is_err());
}

#[test]
fn a_whole_download_that_was_not_imported_yet_is_not_fetched_again() {
    let content = checkpoint();
    let whole = Answer::whole(&content);
    let place = Place::new();
    let server = Server::start(vec![
        Answer { cut: Some(10), ..whole.clone() },
        Answer { cut: Some(0), ..whole.clone() },
        whole,
    ]);
    place.pull(&server, Some(hash(&content))).unwrap_err();
    fs::write(place.dir.path().join("downloads/tiny%2Ff4.part"), &content).unwrap();
    place.pull(&server, Some(hash(&content))).unwrap();
    assert_eq!(server.requests(), [None, Some(10), Some(content.len())]);
}

#[test]
fn what_is_no_model_or_not_there_is_said_with_the_address() {
    let place = Place::new();
    let page = b"<html>This link has expired</html>";
    let server = Server::start(vec![Answer::whole(page)]);
    let message = place.pull(&server, None).unwrap_err().to_string();
    assert!(message.contains(&server.url) && message.contains("web page"), "{message}");
    assert_eq!(place.kept(), None);

    let gone = Answer { status: Some("404 Not Found"), ..Answer::whole(page) };
    let server = Server::start(vec![gone]);
    let message = place.pull(&server, None).unwrap_err().to_string();
    assert!(message.contains("404 Not Found"), "{message}");
}

#[test]
fn plain_http_needs_a_checksum_unless_it_stays_on_this_machine() {
    let place = Place::new();
    let refused = |url: &str, sha256| {
        let name = ModelName::new("x").unwrap();
        let pull = Pull { name, url: url.into(), sha256, licence: None };
        place.library.pull(&pull, &mut |_, _| {}).unwrap_err().to_string()
    };
    assert!(refused("http://models.example/x", None).contains("only https:// is safe"));
    assert!(refused("http://127.0.0.1.example/x", None).contains("only https:// is safe"));
    assert!(refused("ftp://127.0.0.1/x", Some(hash(b""))).contains("https://"));
    assert!(refused("file:///etc/passwd", None).contains("https://"));
}
