//! The documents, held against the command: its calls, job files, and the pages of `docs/reference/` that are
//! made of it.

mod job_file;

use clap::CommandFactory;
use vqfarm_core::file::{Document, Limits};
use vqfarm_testing::documents;
use vqfarm_testing::reference::{self, commands, head};

use crate::Cli;

const ABOUT: &str = "
What each command and flag does, in the words of its help. Of profiles, exit statuses and errors for scripts tells
[the command line](../command-line.md).
";

#[test]
fn the_reference_is_what_the_code_says() {
    reference::hold("vqfarm.md", &[&head("vqfarm"), ABOUT, &commands(Cli::command())].concat());
    let schema = vqfarm_core::schema::of_jobs();
    reference::hold("job-file.schema.json", &format!("{schema:#}\n"));
    reference::hold("job-file.md", &job_file::page(&schema));
}

#[test]
fn calls_in_the_documents_are_calls() {
    documents::check_calls(&Cli::command());
}

/// Tables of files that are no jobs: profiles, whom to tell, who may do what.
const OTHERS: [&str; 4] = ["[farm.", "[[webhook]]", "[quota]", "[[token]]"];

/// Those that say `version = 1` are whole jobs; the others are parts, whose fields are right.
#[test]
fn every_example_in_toml_is_a_job_file() {
    let mut whole = 0;
    for page in documents::pages() {
        for example in page.code() {
            let is_job = example.language.as_deref() == Some("toml")
                && !OTHERS.iter().any(|table| example.text.contains(table));
            if is_job {
                let place = format!("{}:{}", page.path.display(), example.line);
                whole += usize::from(check_job(&place, &example.text));
            }
        }
    }
    assert!(whole >= 3, "{whole} whole jobs");
}

/// Whether it is a whole job.
fn check_job(place: &str, example: &str) -> bool {
    let is_whole = example.contains("version = 1");
    let version = if is_whole { "" } else { "version = 1\n" };
    let text = format!("{version}{example}");
    let document = Document::parse("example.toml", text.as_bytes());
    let document = document.unwrap_or_else(|error| panic!("{place}: {error}"));
    let lines = |_: &str| Ok(b"ink\nwoodcut\n".to_vec());
    if let Err(error) = document.job(Limits::default(), lines) {
        let text = error.to_string();
        let wrong = ["no such field", "not known here", "expected", "out of range"];
        let of_a_part = !is_whole && !wrong.iter().any(|wrong| text.contains(wrong));
        assert!(of_a_part, "{place}: {error}");
    }
    is_whole
}
