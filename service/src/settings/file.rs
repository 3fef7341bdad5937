//! The file's layer: a flat TOML table, each key the long name of a flag.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use toml::Value;
use vqfarm_core::nearest::nearest;

use super::SettingsError;

/// Values of a file, by the argument that they belong to.
#[derive(Debug, Default)]
pub(super) struct FileLayer {
    path: String,
    values: Vec<FileValue>,
}

#[derive(Debug)]
struct FileValue {
    id: String,
    key: String,
    /// As on the command line; an empty list for a switch that is off.
    flags: Vec<String>,
}

impl FileLayer {
    /// Reads a file and matches its keys to the arguments of `settings`.
    pub fn read(path: &Path, settings: &Command) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let fail = |reason: String| SettingsError::File { path: shown.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| fail(error.to_string()))?;
        let known = || settings.get_arguments().filter(|arg| is_setting(arg));
        let mut values = Vec::new();
        for (key, value) in table {
            let Some(arg) = known().find(|arg| arg.get_long() == Some(&key)) else {
                let near = nearest(&key, known().filter_map(Arg::get_long));
                let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(fail(format!("`{key}` is not a setting{hint}")));
            };
            let flags = flags(arg, &key, &value)
                .ok_or_else(|| fail(format!("{key}: {value} is not a value for it")))?;
            values.push(FileValue { id: arg.get_id().to_string(), key, flags });
        }
        Ok(Self { path: shown, values })
    }

    /// The values that nothing stronger replaces.
    pub fn unless(self, replaced: impl Fn(&str) -> bool) -> Self {
        let values = self.values.into_iter().filter(|value| !replaced(&value.id)).collect();
        Self { values, ..self }
    }

    /// The values as flags.
    pub fn flags(&self) -> impl Iterator<Item = OsString> {
        self.values.iter().flat_map(|value| &value.flags).map(OsString::from)
    }

    /// The file and the key that gave the argument `id` its value.
    pub fn origin(&self, id: &str) -> Option<(String, String)> {
        let value = self.values.iter().find(|value| value.id == id)?;
        Some((self.path.clone(), value.key.clone()))
    }
}

/// Whether an argument is a setting: not one that is about settings, or about the program.
pub(super) fn is_setting(arg: &Arg) -> bool {
    let about = ["config", "print_config", "help", "version"];
    arg.get_long().is_some() && !about.contains(&arg.get_id().as_str())
}

fn flags(arg: &Arg, key: &str, value: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
            Value::Datetime(_) | Value::Array(_) | Value::Table(_) => return None,
        };
        Some(format!("--{key}={text}"))
    };
    match (arg.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(on)) => {
            Some(if *on { vec![format!("--{key}")] } else { Vec::new() })
        }
        (ArgAction::Append, Value::Array(items)) => items.iter().map(one).collect(),
        (ArgAction::Set | ArgAction::Append, value) => Some(vec![one(value)?]),
        _ => None,
    }
}
