//! The farms that somebody uses, by name: `~/.config/vqfarm/config.toml`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, Value};
use vqfarm_core::file::{Place, Problem};
use vqfarm_core::id::UserName;
use vqfarm_core::nearest::nearest;

use crate::failure::Failure;
use crate::farm::{Token, check_address};

/// How a farm is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub coordinator: String,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub token: Option<Token>,
    pub user: Option<String>,
}

/// Every profile of the file.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    pub path: PathBuf,
    pub default: Option<String>,
    pub farms: BTreeMap<String, Profile>,
}

const FIELDS: [&str; 7] =
    ["coordinator", "ca", "cert", "key", "token_file", "token_command", "user"];

impl Profiles {
    /// Those of this user; none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong: all of that at once.
    pub fn read() -> Result<Self, Failure> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text).map_err(Failure::Mistakes),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Self { path, ..Self::default() })
            }
            Err(error) => Err(Failure::Usage(format!("{}: {error}", path.display()))),
        }
    }

    /// Reads `text`, which messages call `path`; relative paths in it begin beside it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader { path, text, problems: Vec::new() };
        let profiles = reader.file();
        reader.problems.sort_by_key(|p| p.place.as_ref().map(|at| (at.line, at.column)));
        if reader.problems.is_empty() { Ok(profiles) } else { Err(reader.problems) }
    }

    /// The profile `name`, which `from` asks for.
    pub fn take(mut self, name: &str, from: &str) -> Result<Profile, Failure> {
        if let Some(profile) = self.farms.remove(name) {
            return Ok(profile);
        }
        let known = self.farms.keys().map(String::as_str);
        let remedy = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if self.farms.is_empty() => "vqfarm profiles add makes one".into(),
            None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
        };
        let path = self.path.display();
        Err(Failure::Usage(format!("{from} {name}: {path} has no such profile; {remedy}")))
    }
}

/// Where this user's profiles are: `VQFARM_PROFILES`, else `vqfarm/config.toml` below
/// `XDG_CONFIG_HOME` or `~/.config`.
pub fn path() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("VQFARM_PROFILES").or_else(|| {
        // Relative ones are to be passed over, says the XDG specification.
        let config = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        Some(config.or_else(|| Some(set("HOME")?.join(".config")))?.join("vqfarm/config.toml"))
    })
}

/// What can be a profile's name.
pub fn check_name(name: &str) -> Result<(), String> {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=60).contains(&name.len()) && name.chars().all(usable) && !name.starts_with('-') {
        return Ok(());
    }
    Err("a profile's name is 1 to 60 letters, digits, dots, dashes and underscores".into())
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self) -> Profiles {
        let mut profiles = Profiles { path: self.path.to_owned(), ..Profiles::default() };
        let document = match Document::parse(self.text) {
            Ok(document) => document,
            Err(error) => {
                let message = error.message().replace('\n', ", ");
                self.wrong("", message, None, error.span());
                return profiles;
            }
        };
        let root = document.as_table();
        for (name, item) in root.iter() {
            match name {
                "default" => profiles.default = self.string("default", item),
                "farm" => self.farms(item, &mut profiles.farms),
                _ => self.unknown(root, "", name, &["default", "farm"]),
            }
        }
        let farms = root.get("farm").and_then(Item::as_table_like);
        if let Some(name) = &profiles.default
            && !farms.is_some_and(|farms| farms.contains_key(name))
        {
            let known = farms.into_iter().flat_map(|farms| farms.iter().map(|(name, _)| name));
            let help = nearest(name, known).map(|near| format!("did you mean {near:?}?"));
            let help = help.or_else(|| Some(format!("write a table [farm.{name}]")));
            let span = root.get("default").and_then(Item::span);
            self.wrong("default", format!("no farm is called {name:?}"), help, span);
        }
        profiles
    }

    fn farms(&mut self, item: &Item, farms: &mut BTreeMap<String, Profile>) {
        let Some(table) = item.as_table_like() else {
            let help = "write a table for each, as [farm.studio]".to_owned();
            return self.wrong("farm", "expected tables by name", Some(help), item.span());
        };
        for (name, item) in table.iter() {
            let field = format!("farm.{name}");
            let Some(farm) = item.as_table_like() else {
                let help = format!("write [farm.{name}] and coordinator = \"https://…\" below it");
                self.wrong(&field, "expected a table", Some(help), item.span());
                continue;
            };
            if let Err(message) = check_name(name) {
                self.wrong(&field, message, None, item.span());
            }
            if let Some(profile) = self.farm(&field, farm, item.span()) {
                farms.insert(name.to_owned(), profile);
            }
        }
    }

    fn farm(
        &mut self,
        field: &str,
        table: &dyn TableLike,
        at: Option<Range<usize>>,
    ) -> Option<Profile> {
        for (name, item) in table.iter() {
            if name == "token" {
                let message =
                    "a token does not stand in this file, which is shown and copied around";
                let help = "put it into a file of its own that only you can read, and write \
                            token_file = \"…\"; or token_command = [\"pass\", \"show\", \"…\"], or set \
                            VQFARM_TOKEN";
                // The line itself would show it.
                let problem = self.problem(&format!("{field}.token"), message, Some(help.into()));
                let place = item.span().map(|span| Place {
                    text: "token = …".into(),
                    column: 1,
                    width: 5,
                    ..Place::of(self.text, &span)
                });
                self.problems.push(Problem { place, ..problem });
            } else if !FIELDS.contains(&name) {
                self.unknown(table, field, name, &FIELDS);
            }
        }
        let mut text = |name: &str| {
            let item = table.get(name)?;
            Some((self.string(&format!("{field}.{name}"), item)?, item.span()))
        };
        let coordinator = text("coordinator");
        let (ca, token_file, user) = (text("ca"), text("token_file"), text("user"));
        let (cert, key) = (text("cert"), text("key"));
        let command = table.get("token_command").and_then(|item| self.words(field, item));
        let file = token_file.as_ref().map(|(path, _)| Token::File(self.beside(path)));
        if let (Some(_), Some(_), Some((_, span))) = (&file, &command, &token_file) {
            let message = "token_command says where the token is, too";
            let help = Some("leave one of them out".to_owned());
            self.wrong(&format!("{field}.token_file"), message, help, span.clone());
        }
        if let Some((name, span)) = &user
            && let Err(error) = UserName::new(name)
        {
            self.wrong(&format!("{field}.user"), error.to_string(), None, span.clone());
        }
        let Some((coordinator, span)) = coordinator else {
            if !table.contains_key("coordinator") {
                let help = Some("write coordinator = \"https://…\" below it".to_owned());
                self.wrong(field, "the field `coordinator` is missing", help, at);
            }
            return None;
        };
        if let Err(message) = check_address(&coordinator) {
            self.wrong(&format!("{field}.coordinator"), message, None, span);
        }
        let [ca, cert, key] = [ca, cert, key].map(|file| file.map(|(path, _)| self.beside(&path)));
        let (token, user) = (file.or(command), user.map(|(name, _)| name));
        Some(Profile { coordinator, ca, cert, key, token, user })
    }

    fn string(&mut self, field: &str, item: &Item) -> Option<String> {
        let text = item.as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            self.wrong(field, "expected text in quotes", None, item.span());
        }
        text.map(str::to_owned)
    }

    fn words(&mut self, field: &str, item: &Item) -> Option<Token> {
        let words = item.as_array().filter(|words| !words.is_empty());
        let words =
            words.and_then(|words| words.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        let Some(words) = words else {
            let help = "write a program and its arguments, as [\"pass\", \"show\", \"vqfarm\"]";
            let field = format!("{field}.token_command");
            self.wrong(&field, "expected a list of texts", Some(help.into()), item.span());
            return None;
        };
        Some(Token::Command(words.into_iter().map(str::to_owned).collect()))
    }

    /// A path of the file: `~/` is the home, relative ones begin beside it.
    fn beside(&self, path: &str) -> PathBuf {
        let home = env::var_os("HOME").map(PathBuf::from);
        match (path.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.path.parent().unwrap_or(Path::new("")).join(path),
        }
    }

    fn unknown(&mut self, table: &dyn TableLike, outer: &str, name: &str, known: &[&str]) {
        let dot = if outer.is_empty() { "" } else { "." };
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("the fields here are {}", known.join(", ")),
        };
        let span = table.key(name).and_then(toml_edit::Key::span);
        self.wrong(&format!("{outer}{dot}{name}"), "no such field", Some(help), span);
    }

    fn wrong(
        &mut self,
        field: &str,
        message: impl Into<String>,
        help: Option<String>,
        span: Option<Range<usize>>,
    ) {
        let place = span.map(|span| Place::of(self.text, &span));
        let problem = self.problem(field, message, help);
        self.problems.push(Problem { place, ..problem });
    }

    fn problem(&self, field: &str, message: impl Into<String>, help: Option<String>) -> Problem {
        Problem {
            source: self.path.display().to_string(),
            field: field.to_owned(),
            message: message.into(),
            help,
            place: None,
        }
    }
}
