//! Changes of the file of tokens. What people wrote around them stays, comments too.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};
use vqfarm_core::access::{Access, Token};

use crate::failure::Failure;
use crate::whole_file;

/// What the file says; nothing where there is none.
///
/// # Errors
/// It cannot be read, or something in it is wrong.
pub fn read(path: &Path) -> Result<Access, Failure> {
    parsed(path, &text_of(path)?)
}

/// Adds a token.
///
/// # Errors
/// As [`read`]; the file cannot be written.
pub fn add(path: &Path, token: &Token) -> Result<(), Failure> {
    change(path, |tokens| {
        let mut table = Table::new();
        table["sha256"] = value(&token.sha256);
        table["user"] = value(token.user.as_str());
        table["role"] = value(token.role.word());
        if let Some(expires) = token.expires {
            table["expires"] = value(expires.to_string());
        }
        tokens.push(table);
    })
}

/// Takes tokens out.
///
/// # Errors
/// As [`add`].
pub fn remove(path: &Path, gone: impl Fn(&str) -> bool) -> Result<(), Failure> {
    change(path, |tokens| {
        tokens.retain(|token| !token.get("sha256").and_then(Item::as_str).is_some_and(&gone));
    })
}

/// Changes the file whole or not at all. It must be right before and after.
fn change(path: &Path, change: impl FnOnce(&mut ArrayOfTables)) -> Result<(), Failure> {
    let name = path.display();
    let _lock = whole_file::lock(path).with_context(|| format!("cannot write {name}"))?;
    let text = text_of(path)?;
    parsed(path, &text)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let tokens = document.entry("token").or_insert_with(|| ArrayOfTables::new().into());
    let tokens = tokens.as_array_of_tables_mut().ok_or_else(|| {
        anyhow!("{name}: write each token as [[token]]; `token = […]` is not changed here")
    })?;
    change(tokens);
    let text = document.to_string();
    parsed(path, &text)?;
    whole_file::write(path, &text).with_context(|| format!("cannot write {name}"))?;
    Ok(())
}

fn text_of(path: &Path) -> Result<String, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::Usage(format!("{}: {error}", path.display()))),
    }
}

fn parsed(path: &Path, text: &str) -> Result<Access, Failure> {
    let named = |error| Failure::Usage(format!("{}: {error}", path.display()));
    Access::parse(text).map_err(named)
}

#[cfg(test)]
mod tests {
    use vqfarm_core::access::Role;
    use vqfarm_core::id::UserName;

    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("farm/tokens.toml");
        let token = |n: u8, user: &str| {
            Token::create(&[n; 32], UserName::new(user).unwrap(), Role::Viewer, None).1
        };
        let (ada, bob) = (token(1, "ada"), token(2, "bob"));
        add(&path, &ada).unwrap();
        let text = format!("# ours\n{}[quota] # of all\nopen_jobs = 3\n", text_of(&path).unwrap());
        fs::write(&path, text).unwrap();
        add(&path, &bob).unwrap();
        assert_eq!(read(&path).unwrap().tokens, [ada.clone(), bob.clone()]);
        remove(&path, |hash| hash == ada.sha256).unwrap();
        assert_eq!(read(&path).unwrap().tokens, [bob]);
        let text = text_of(&path).unwrap();
        assert!(text.contains("[quota] # of all\nopen_jobs = 3"), "{text}");
    }

    #[test]
    fn a_file_with_mistakes_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        fs::write(&path, "[[token]]\nuser = \"ada\"\nrole = \"god\"\n").unwrap();
        assert!(remove(&path, |_| true).is_err());
        assert!(text_of(&path).unwrap().contains("god"));
    }
}
