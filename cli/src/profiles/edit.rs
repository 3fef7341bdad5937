//! Changes of the file of the profiles. What people wrote around them stays, comments too.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::file::{self, Profiles};
use crate::failure::Failure;
use crate::whole_file;

/// A farm as its flags say it.
pub struct New {
    pub coordinator: String,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    pub token_command: Vec<String>,
    pub user: Option<String>,
}

/// Adds a farm, or gives one that is there other settings. The first one is the default.
pub fn add(name: &str, new: &New, make_default: bool) -> Result<Profiles, Failure> {
    file::check_name(name).map_err(|reason| Failure::Usage(format!("{name}: {reason}")))?;
    change(|document| {
        let farms = farms(document)?;
        let is_first = farms.is_empty();
        let table = farms.entry(name).or_insert_with(|| Item::Table(Table::new()));
        let farm = table
            .as_table_like_mut()
            .with_context(|| format!("farm.{name} is no table in the file"))?;
        let path = |path: &PathBuf| -> anyhow::Result<Item> {
            // Paths of the file begin beside it, those of a flag where its user is.
            let whole = std::path::absolute(path).context("where the file is")?;
            let text = whole.to_str().context("a path in this file is text")?;
            Ok(value(text))
        };
        let command = (!new.token_command.is_empty())
            .then(|| value(new.token_command.iter().collect::<Array>()));
        let fields = [
            ("coordinator", Some(value(&new.coordinator))),
            ("ca", new.ca.as_ref().map(path).transpose()?),
            ("cert", new.cert.as_ref().map(path).transpose()?),
            ("key", new.key.as_ref().map(path).transpose()?),
            ("token_file", new.token_file.as_ref().map(path).transpose()?),
            ("token_command", command),
            ("user", new.user.as_ref().map(value)),
        ];
        for (field, item) in fields {
            match (item, farm.get_mut(field)) {
                (Some(Item::Value(mut new)), Some(Item::Value(old))) => {
                    // A comment behind the old value stays.
                    *new.decor_mut() = old.decor().clone();
                    *old = new;
                }
                (Some(new), _) => {
                    farm.insert(field, new);
                }
                (None, _) => {
                    farm.remove(field);
                }
            }
        }
        if make_default || is_first {
            set_default(document, name);
        }
        Ok(())
    })
}

/// Makes a farm the default.
pub fn make_default(name: &str) -> Result<Profiles, Failure> {
    Profiles::read()?.take(name, "profile")?;
    change(|document| {
        set_default(document, name);
        Ok(())
    })
}

/// Forgets a farm; if it was the default there is none then.
pub fn remove(name: &str) -> Result<Profiles, Failure> {
    Profiles::read()?.take(name, "profile")?;
    change(|document| {
        farms(document)?.remove(name);
        if document.get("default").and_then(Item::as_str) == Some(name) {
            document.remove("default");
        }
        Ok(())
    })
}

fn farms(document: &mut DocumentMut) -> anyhow::Result<&mut Table> {
    let farms = document.entry("farm").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    farms.as_table_mut().context("write [farm.NAME] tables; `farm = { … }` is not changed here")
}

fn set_default(document: &mut DocumentMut, name: &str) {
    match document.get_mut("default") {
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = name.into();
            *old.decor_mut() = decor;
        }
        _ => {
            document.insert("default", value(name));
        }
    }
}

/// Changes the file whole or not at all. It must be right before and after.
fn change(
    change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<()>,
) -> Result<Profiles, Failure> {
    let path = file::path().ok_or_else(|| anyhow!("no home folder: set VQFARM_PROFILES"))?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::Usage(format!("{}: {error}", path.display()))),
    };
    Profiles::parse(&path, &text).map_err(Failure::Mistakes)?;
    let mut document: DocumentMut = text.parse().context("the file of the profiles")?;
    change(&mut document)?;
    let text = document.to_string();
    let profiles = Profiles::parse(&path, &text).map_err(Failure::Mistakes)?;
    whole_file::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(profiles)
}
