//! `--print-config`: the settings in effect as a TOML file.

use std::fmt::Write;

use clap::{ArgAction, ArgMatches, Command};

use super::Source;
use super::file::is_setting;

/// One line a setting, with the source behind it. Arguments whose environment value is hidden
/// from help are secrets.
pub(super) fn print(
    settings: &Command,
    matches: &ArgMatches,
    source: impl Fn(&str) -> Source,
) -> String {
    let mut text = String::new();
    for arg in settings.get_arguments().filter(|arg| is_setting(arg)) {
        let (id, key) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        let values: Vec<String> = matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy())
            .map(|value| if arg.is_hide_env_values_set() { "***".into() } else { mask(&value) })
            .collect();
        let quoted = |value: &String| toml::Value::String(value.clone()).to_string();
        // Writing to a string does not fail.
        let _ = match arg.get_action() {
            ArgAction::SetTrue => {
                let on = matches.get_flag(id);
                writeln!(text, "{key} = {on}  # {}", source(id))
            }
            _ if values.is_empty() => writeln!(text, "# {key} is not set"),
            ArgAction::Append => {
                let list: Vec<String> = values.iter().map(quoted).collect();
                writeln!(text, "{key} = [{}]  # {}", list.join(", "), source(id))
            }
            _ => writeln!(text, "{key} = {}  # {}", quoted(&values[0]), source(id)),
        };
    }
    text
}

/// The text with the password of a URL in it replaced.
fn mask(text: &str) -> String {
    let masked = || {
        let (scheme, rest) = text.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}{path}"))
    };
    masked().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(mask("redis://farm:s3cret@host:6379/0"), "redis://farm:***@host:6379/0");
        assert_eq!(mask("redis://:s3cr@et@host"), "redis://:***@host");
        for plain in ["redis://host:6379", "s3://bucket/prefix", "a:b@c", ""] {
            assert_eq!(mask(plain), plain);
        }
    }
}
