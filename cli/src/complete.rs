//! What the shell may offer where a word is being typed: names that this machine knows, and what
//! the farm has right now. A farm that does not answer at once has nothing.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter};
use vqfarm_core::fields;
use vqfarm_core::file::Format;
use vqfarm_core::job::Output;
use vqfarm_core::sheet::ContactSheet;
use vqfarm_core::video::Video;
use vqfarm_proto::v1::{Job, JobRequest, ListJobsRequest, ListWorkersRequest};
use vqfarm_weights::library::{CATALOGUE, Config, Entry, Library};

use crate::farm::{ConnectArgs, Farm, show};
use crate::help;
use crate::profiles::Profiles;

/// How long a farm is waited for while somebody types.
const PATIENCE: Duration = Duration::from_millis(900);
/// Jobs that are offered, the newest.
const MOST_JOBS: u32 = 100;

/// Names and what they are, in their order, as far as they begin like the word.
fn offer(
    word: &OsStr,
    names: impl IntoIterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    // A name lands on a command line: whatever a farm says, nothing there means more than itself.
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@=,+".contains(c);
    let fitting =
        names.into_iter().filter(|(name, _)| name.starts_with(word) && name.chars().all(is_plain));
    let candidate = |(place, (name, about)): (usize, (String, String))| {
        // A description is one line, whatever names hold.
        let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let about = (!about.is_empty()).then(|| about.into());
        CompletionCandidate::new(name).help(about).display_order(Some(place))
    };
    fitting.enumerate().map(candidate).collect()
}

fn plain(names: impl IntoIterator<Item = String>) -> impl Iterator<Item = (String, String)> {
    names.into_iter().map(|name| (name, String::new()))
}

/// The words of the line, the program's name first.
fn line() -> Vec<String> {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.by_ref().find(|word| word == "--");
    words.collect()
}

/// What the farm of this line says, if it does so at once.
fn ask<T>(question: impl AsyncFnOnce(Farm) -> Option<T>) -> Option<T> {
    let connect = ConnectArgs::on_line(&line());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async {
        let answered = async { question(connect.connect_silently().await.ok()?).await };
        tokio::time::timeout(PATIENCE, answered).await.ok().flatten()
    });
    // A name that is still being looked up is nobody's concern.
    runtime.shutdown_background();
    answer
}

async fn list_jobs(mut farm: Farm, live: bool) -> Option<Vec<Job>> {
    let request = ListJobsRequest { live, page_size: MOST_JOBS, ..ListJobsRequest::default() };
    Some(farm.list_jobs(request).await.ok()?.into_inner().jobs)
}

fn offer_jobs(word: &OsStr, live: bool) -> Vec<CompletionCandidate> {
    let jobs = ask(async |farm| list_jobs(farm, live).await).unwrap_or_default();
    // A whole id where somebody begins with its beginning, which no short form has.
    let typed = word.to_string_lossy();
    let is_whole = |id: &str| !typed.is_empty() && id.starts_with(typed.as_ref());
    let named = jobs.iter().map(|job| {
        let id = if is_whole(&job.id) { &job.id } else { show::short(&job.id) };
        (id.to_owned(), format!("{}, {}, {}", job.name, job.state().word(), job.user))
    });
    let last = (!jobs.is_empty()).then(|| ("last".to_owned(), "the newest job".to_owned()));
    offer(word, last.into_iter().chain(named))
}

/// Jobs of the farm.
pub fn jobs(word: &OsStr) -> Vec<CompletionCandidate> {
    offer_jobs(word, false)
}

/// Jobs that are not over.
pub fn live_jobs(word: &OsStr) -> Vec<CompletionCandidate> {
    offer_jobs(word, true)
}

/// Jobs of the farm, and folders.
pub fn jobs_and_folders(word: &OsStr) -> Vec<CompletionCandidate> {
    let folders = ArgValueCompleter::new(PathCompleter::dir()).complete(word);
    jobs(word).into_iter().chain(folders).collect()
}

pub fn workers(word: &OsStr) -> Vec<CompletionCandidate> {
    let workers = ask(async |mut farm| {
        Some(farm.list_workers(ListWorkersRequest {}).await.ok()?.into_inner().workers)
    });
    let named = |worker: vqfarm_proto::v1::Worker| {
        let about = format!("{}, {}", worker.state().word(), show::count(worker.leased, "task"));
        (worker.id, about)
    };
    offer(word, workers.unwrap_or_default().into_iter().map(named))
}

/// Layers of the job that the line names.
pub fn layers(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(job) = line().into_iter().skip(2).find(|word| !word.starts_with('-')) else {
        return Vec::new();
    };
    let job = ask(async |mut farm| farm.get_job(JobRequest { job }).await.ok()?.into_inner().job);
    let layers = job.unwrap_or_default().layers;
    let named = layers.into_iter().map(|layer| {
        let tasks = layer.counts.unwrap_or_default().tasks;
        (layer.name, show::count(tasks, "task"))
    });
    offer(word, named)
}

fn library() -> Vec<Entry> {
    Library::of_user().and_then(|library| library.list()).unwrap_or_default()
}

fn is_generator(entry: &Entry) -> bool {
    matches!(entry.record.config, Config::Vqgan(_))
}

/// Models of this machine.
pub fn models(word: &OsStr) -> Vec<CompletionCandidate> {
    let kind = |entry: &Entry| if is_generator(entry) { "generator" } else { "perceptor" };
    offer(word, library().iter().map(|entry| (entry.name.to_string(), kind(entry).to_owned())))
}

pub fn perceptors(word: &OsStr) -> Vec<CompletionCandidate> {
    let library = library();
    let perceptors = library.iter().filter(|entry| !is_generator(entry));
    offer(word, plain(perceptors.map(|entry| entry.name.to_string())))
}

/// Models that can be pulled.
pub fn published(word: &OsStr) -> Vec<CompletionCandidate> {
    offer(word, plain(CATALOGUE.iter().map(|model| model.name.to_owned())))
}

pub fn profiles(word: &OsStr) -> Vec<CompletionCandidate> {
    let profiles = Profiles::read().map(|profiles| profiles.farms).unwrap_or_default();
    offer(word, profiles.into_iter().map(|(name, profile)| (name, profile.coordinator)))
}

/// Fields for `--set`, and the generators for theirs.
pub fn settings(word: &OsStr) -> Vec<CompletionCandidate> {
    const GENERATOR: &str = "render.generator=";
    if word.to_string_lossy().starts_with(GENERATOR) {
        let library = library();
        let generators = library.iter().filter(|entry| is_generator(entry));
        return offer(word, plain(generators.map(|entry| format!("{GENERATOR}{}", entry.name))));
    }
    let render = fields::names().into_iter().map(|name| format!("render.{name}="));
    offer(word, plain(render.chain(outputs())))
}

/// Fields of `[output]`, for `--set` of a job that is there.
pub fn output_settings(word: &OsStr) -> Vec<CompletionCandidate> {
    offer(word, plain(outputs()))
}

fn outputs() -> Vec<String> {
    // Fields that are left out are not written.
    let text = || Some(String::new());
    let video = Video {
        crf: Some(0),
        pixel_format: text(),
        fps: Some(0.0),
        interpolate_to: Some(0.0),
        repeat: Some(0),
        soundtrack: text(),
        ..Video::default()
    };
    let contact_sheet = ContactSheet {
        rows: text(),
        columns: text(),
        pages: vec![String::new()],
        cell: Some(0),
        page_size: [0, 0],
    };
    let tables = serde_json::to_value(Output { contact_sheet, video }).unwrap_or_default();
    let tables = tables.as_object().cloned().unwrap_or_default();
    let names = |(table, fields): (String, serde_json::Value)| {
        let fields = fields.as_object().cloned().unwrap_or_default();
        fields.into_iter().map(move |(field, _)| format!("output.{table}.{field}="))
    };
    tables.into_iter().flat_map(names).collect()
}

/// Fields of `[render]` as axes.
pub fn axes(word: &OsStr) -> Vec<CompletionCandidate> {
    offer(word, plain(fields::names().into_iter().map(|name| format!("{name}="))))
}

/// Job files, and folders on the way to them.
pub fn job_files() -> ArgValueCompleter {
    let is_job = |path: &std::path::Path| Format::of(&path.to_string_lossy()).is_some();
    ArgValueCompleter::new(PathCompleter::file().filter(is_job))
}

/// Commands and topics.
pub fn help(word: &OsStr) -> Vec<CompletionCandidate> {
    offer(word, help::all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_would_obey_are_not_offered() {
        let named = |name: &str| (name.to_owned(), "idle\n\u{1b}[2J".to_owned());
        let names = ["w-1", "w;rm", "w$(x)", "w x", "v-1"].map(named);
        let offered = offer("w".as_ref(), names);
        let names: Vec<_> = offered.iter().map(CompletionCandidate::get_value).collect();
        assert_eq!(names, ["w-1"]);
        let about = offered[0].get_help().unwrap().to_string();
        assert!(!about.contains(char::is_control), "{about:?}");
    }
}
