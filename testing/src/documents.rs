//! README.md and `docs/`: their pages, and the commands that they show.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Command;
use clap::error::{ContextKind, ErrorKind};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Markdown file.
#[derive(Clone, Debug)]
pub struct Page {
    /// From the repository's folder on, as `docs/sweeps.md`.
    pub path: PathBuf,
    pub text: String,
}

/// A piece of code in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its block's language; none of an indented block, or of code within a line.
    pub language: Option<String>,
    pub within_a_line: bool,
    /// The line of the page in which it begins, from 1.
    pub line: usize,
    pub text: String,
}

/// A call of a program that a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Page and line, as `docs/sweeps.md:12`.
    pub place: String,
    /// The program's name first.
    pub words: Vec<String>,
    /// Code within a line names commands without all that they need.
    pub in_part: bool,
}

/// README.md and all pages in `docs/`, in the order of their names.
///
/// # Panics
/// One cannot be read.
pub fn pages() -> Vec<Page> {
    let mut paths = vec![PathBuf::from("README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("docs/ can be read") {
            let name = entry.expect("docs/ can be read").file_name();
            let path = folder.join(name);
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).expect("a page can be read");
        Page { path, text }
    };
    paths.into_iter().map(read).collect()
}

/// Holds every call of a program that the documents show against its commands and flags.
///
/// # Panics
/// One is no call of it, or there is none.
pub fn check_calls(program: &Command) {
    let calls: Vec<Call> = pages().iter().flat_map(|page| page.calls(program.get_name())).collect();
    assert!(!calls.is_empty(), "the documents show no call of {}", program.get_name());
    let wrong: Vec<String> = calls.iter().filter_map(|call| mistake(program, call)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn mistake(program: &Command, call: &Call) -> Option<String> {
    let error = program.clone().try_get_matches_from(&call.words).err()?;
    let wanting = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    // Values that the reader shall think of are in capitals, as in help, variables, or left out.
    let value = error.get(ContextKind::InvalidValue).map(ToString::to_string);
    let is_named = |value: String| {
        value.contains('…') || value.bytes().all(|b| b.is_ascii_uppercase() || b"_$".contains(&b))
    };
    let is_right = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => value.is_some_and(is_named),
        kind => call.in_part && wanting.contains(&kind),
    };
    let told = error.to_string();
    let said = told.lines().next().unwrap_or_default();
    (!is_right).then(|| format!("{}: {}: {said}", call.place, call.words.join(" ")))
}

impl Page {
    /// What the page is made of, and where it stands in the text.
    pub fn events(&self) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
        Parser::new_ext(&self.text, options).into_offset_iter()
    }

    /// The line of a place in the text, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// All code, in blocks and within lines.
    pub fn code(&self) -> Vec<Code> {
        let mut found: Vec<Code> = Vec::new();
        let mut in_block = false;
        for (event, at) in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let (language, first) = match kind {
                        CodeBlockKind::Fenced(language) => (Some(language.to_string()), 1),
                        CodeBlockKind::Indented => (None, 0),
                    };
                    let line = self.line(at.start) + first;
                    let text = String::new();
                    found.push(Code { language, within_a_line: false, line, text });
                    in_block = true;
                }
                Event::Text(text) if in_block => {
                    if let Some(block) = found.last_mut() {
                        block.text.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Code(text) => {
                    let (line, text) = (self.line(at.start), text.to_string());
                    found.push(Code { language: None, within_a_line: true, line, text });
                }
                _ => (),
            }
        }
        found
    }

    /// All calls of a program that stand in it, with whatever path or variables before them.
    pub fn calls(&self, program: &str) -> Vec<Call> {
        let mut calls = Vec::new();
        for code in self.code() {
            let shell = ["", "sh", "bash", "console"];
            if !code.language.as_deref().is_none_or(|language| shell.contains(&language)) {
                continue;
            }
            let mut line = code.line;
            for text in joined(&code.text) {
                let place = format!("{}:{line}", self.path.display());
                line += text.matches('\n').count() + 1;
                for words in commands(&text) {
                    if let Some(mut words) = call_of(program, words) {
                        let (place, in_part) = (place.clone(), code.within_a_line);
                        if in_part {
                            // What may be left out is in brackets.
                            let bare = |word: &String| word.replace(['[', ']'], "");
                            words = words.iter().map(bare).collect();
                        }
                        calls.push(Call { place, words, in_part });
                    }
                }
            }
        }
        calls
    }
}

/// The lines, those that end in a backslash together with the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut().filter(|before| before.ends_with('\\')) {
            Some(before) => {
                before.pop();
                before.push('\n');
                before.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The commands of a line as a shell would split them into words; comments are left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&' | '>' | '<' | '(' | ')') => {
                end_word(&mut commands, &mut word);
                commands.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end_word(&mut commands, &mut word),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    end_word(&mut commands, &mut word);
    commands
}

fn end_word(commands: &mut [Vec<String>], word: &mut Option<String>) {
    if let (Some(command), Some(word)) = (commands.last_mut(), word.take()) {
        command.push(word);
    }
}

/// The words from the program's name on, if it is the one that is called.
fn call_of(program: &str, words: Vec<String>) -> Option<Vec<String>> {
    let is_before = |word: &&String| {
        ["$", "sudo", "exec", "time"].contains(&word.as_str())
            || word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            })
    };
    let before = words.iter().take_while(is_before).count();
    let mut words: Vec<String> = words.into_iter().skip(before).collect();
    let first = words.first_mut()?;
    *first = first.rsplit('/').next()?.to_owned();
    (first == program).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_as_a_shell_would_split_them() {
        let text = "Use `prog why [ID]`.\n\n    sudo target/prog go --name 'a b' \\\n      x  # not this\n\n\
                    ```console\n$ A_B=1 prog list | other prog\n$ source <(prog shell)\n```\n\n\
                    ```toml\nprog = 1\n```\n";
        let page = Page { path: "docs/page.md".into(), text: text.into() };
        let calls = page.calls("prog");
        let found: Vec<_> = calls
            .iter()
            .map(|call| (call.place.as_str(), call.words.join(","), call.in_part))
            .collect();
        let expected = [
            ("docs/page.md:1", "prog,why,ID".to_owned(), true),
            ("docs/page.md:3", "prog,go,--name,a b,x".to_owned(), false),
            ("docs/page.md:7", "prog,list".to_owned(), false),
            ("docs/page.md:8", "prog,shell".to_owned(), false),
        ];
        assert_eq!(found, expected);
    }
}
