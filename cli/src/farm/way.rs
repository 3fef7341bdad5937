//! Which coordinator, and who asks: flags, environment, profile.

use std::env;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::Args;
use clap_complete::ArgValueCompleter;
use tonic::metadata::{Ascii, MetadataValue};

use super::token::Token;
use crate::complete;
use crate::failure::Failure;
use crate::profiles::{Profile, Profiles};

/// Where a coordinator listens unless it is told otherwise.
const DEFAULT: &str = "http://127.0.0.1:7070";

/// Which coordinator, and who asks.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// A farm of `vqfarm profiles` [env: VQFARM_PROFILE] [default: the file's default]
    #[arg(short = 'P', long, value_name = "NAME", add = ArgValueCompleter::new(complete::profiles))]
    profile: Option<String>,

    /// Address of the farm's coordinator [env: VQFARM_ADDR] [default: the profile's, or
    /// http://127.0.0.1:7070]
    #[arg(long, value_name = "URL")]
    addr: Option<String>,

    /// Certificate, PEM, that vouches for an https:// coordinator of your own [env: VQFARM_CA]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    ca: Option<PathBuf>,

    /// Certificate, PEM, that you show a farm which asks for one; takes --key [env: VQFARM_CERT]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    cert: Option<PathBuf>,

    /// Private key, PEM, of your certificate [env: VQFARM_KEY]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    key: Option<PathBuf>,

    /// File with your token, where the farm asks for one [env: VQFARM_TOKEN_FILE]; VQFARM_TOKEN may
    /// hold the token itself
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    #[arg(skip)]
    way: OnceLock<Box<Way>>,

    /// Who asks: nobody is asked for a password again when a connection breaks.
    #[arg(skip)]
    pub(super) header: OnceLock<Option<MetadataValue<Ascii>>>,
}

/// How a farm is reached, with everything filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub addr: Setting<String>,
    pub ca: Option<Setting<PathBuf>>,
    /// What the farm is shown of who asks, and the key that proves it.
    pub cert: Option<Setting<PathBuf>>,
    pub key: Option<Setting<PathBuf>>,
    pub token: Option<Setting<Token>>,
    /// Whose jobs are submitted, where nobody says.
    pub user: Option<String>,
    /// The profile in force.
    pub profile: Option<String>,
}

/// A value and what said it, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    pub value: T,
    pub from: Origin,
}

impl<T> Setting<T> {
    /// The value as people wrote it: a flag or variable, or a field of a profile.
    pub fn named(&self, field: &str, written: impl fmt::Display) -> String {
        match &self.from {
            Origin::Profile(name) => format!("profile {name}: {field} {written}"),
            from => format!("{from} {written}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag, by its name.
    Flag(&'static str),
    /// A variable, by its name.
    Variable(&'static str),
    /// A field of a profile.
    Profile(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What one place says; the rest is left to the next one.
#[derive(Default)]
struct Layer {
    addr: Option<Setting<String>>,
    ca: Option<Setting<PathBuf>>,
    cert: Option<Setting<PathBuf>>,
    key: Option<Setting<PathBuf>>,
    token: Option<Setting<Token>>,
    user: Option<String>,
    profile: Option<String>,
}

impl Layer {
    /// What this one says, then what `next` does.
    fn or(self, next: Self) -> Self {
        Self {
            addr: self.addr.or(next.addr),
            ca: self.ca.or(next.ca),
            cert: self.cert.or(next.cert),
            key: self.key.or(next.key),
            token: self.token.or(next.token),
            user: self.user.or(next.user),
            profile: self.profile.or(next.profile),
        }
    }

    fn of_profile(name: &str, profile: Profile) -> Self {
        let Profile { coordinator, ca, cert, key, token, user } = profile;
        let from = Origin::Profile(name.to_owned());
        Self {
            addr: Some(Setting { value: coordinator, from: from.clone() }),
            ca: ca.map(|value| Setting { value, from: from.clone() }),
            cert: cert.map(|value| Setting { value, from: from.clone() }),
            key: key.map(|value| Setting { value, from: from.clone() }),
            token: token.map(|value| Setting { value, from: from.clone() }),
            user,
            profile: Some(name.to_owned()),
        }
    }

    fn of_environment() -> Self {
        let path = |name| variable(name).map(|text| (PathBuf::from(text), Origin::Variable(name)));
        let file = path("VQFARM_TOKEN_FILE").map(|(path, from)| (Token::File(path), from));
        let text = variable("VQFARM_TOKEN")
            .map(|text| (Token::Text(text.into()), Origin::Variable("VQFARM_TOKEN")));
        Self {
            addr: variable("VQFARM_ADDR")
                .map(|value| Setting { value, from: Origin::Variable("VQFARM_ADDR") }),
            ca: path("VQFARM_CA").map(|(value, from)| Setting { value, from }),
            cert: path("VQFARM_CERT").map(|(value, from)| Setting { value, from }),
            key: path("VQFARM_KEY").map(|(value, from)| Setting { value, from }),
            token: file.or(text).map(|(value, from)| Setting { value, from }),
            ..Self::default()
        }
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

impl ConnectArgs {
    /// Those that stand on a line that is not finished yet.
    pub fn on_line(words: &[String]) -> Self {
        let value = |flags: &[&str]| {
            let mut rest = words.iter().enumerate().rev();
            rest.find_map(|(at, word)| match word.split_once('=') {
                Some((flag, value)) if flags.contains(&flag) => Some(value.to_owned()),
                _ if flags.contains(&word.as_str()) => words.get(at + 1).cloned(),
                _ => None,
            })
        };
        Self {
            profile: value(&["-P", "--profile"]),
            addr: value(&["--addr"]),
            ca: value(&["--ca"]).map(PathBuf::from),
            cert: value(&["--cert"]).map(PathBuf::from),
            key: value(&["--key"]).map(PathBuf::from),
            token_file: value(&["--token-file"]).map(PathBuf::from),
            ..Self::default()
        }
    }

    /// The way to the farm: flags first, a profile that a flag names among them, then the
    /// environment, then the profile that it names. A default profile is for when nobody says where
    /// the farm is: with an address of another farm its token stays at home.
    ///
    /// # Errors
    /// The file of the profiles is wrong or has no such profile.
    pub fn way(&self) -> Result<&Way, Failure> {
        if let Some(way) = self.way.get() {
            return Ok(way);
        }
        let way = Box::new(self.find_way()?);
        Ok(self.way.get_or_init(|| way))
    }

    fn find_way(&self) -> Result<Way, Failure> {
        let flags = Layer {
            addr: self.addr.clone().map(|value| Setting { value, from: Origin::Flag("--addr") }),
            ca: self.ca.clone().map(|value| Setting { value, from: Origin::Flag("--ca") }),
            cert: self.cert.clone().map(|value| Setting { value, from: Origin::Flag("--cert") }),
            key: self.key.clone().map(|value| Setting { value, from: Origin::Flag("--key") }),
            token: self.token_file.clone().map(|path| Setting {
                value: Token::File(path),
                from: Origin::Flag("--token-file"),
            }),
            ..Layer::default()
        };
        let said = match (&self.profile, variable("VQFARM_PROFILE")) {
            (Some(name), _) => flags.or(named(name, "--profile")?).or(Layer::of_environment()),
            (None, Some(name)) => {
                flags.or(Layer::of_environment()).or(named(&name, "VQFARM_PROFILE")?)
            }
            (None, None) => {
                let said = flags.or(Layer::of_environment());
                match said.addr {
                    Some(_) => said,
                    None => said.or(default_profile()?),
                }
            }
        };
        let Layer { addr, ca, cert, key, token, user, profile } = said;
        let addr =
            addr.unwrap_or_else(|| Setting { value: DEFAULT.to_owned(), from: Origin::Default });
        Ok(Way { addr, ca, cert, key, token, user, profile })
    }
}

fn named(name: &str, from: &str) -> Result<Layer, Failure> {
    let profile = Profiles::read()?.take(name, from)?;
    Ok(Layer::of_profile(name, profile))
}

fn default_profile() -> Result<Layer, Failure> {
    let profiles = Profiles::read()?;
    match profiles.default.clone() {
        Some(name) => {
            let profile = profiles.take(&name, "default")?;
            Ok(Layer::of_profile(&name, profile))
        }
        None => Ok(Layer::default()),
    }
}

/// What is wrong with a coordinator's address.
pub fn check_address(addr: &str) -> Result<(), String> {
    let rest = match addr.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some((scheme, _)) => return Err(format!("`{scheme}` is neither http nor https")),
        None => addr,
    };
    let host = rest.split('/').next().unwrap_or(rest);
    if host.contains('@') {
        return Err("an address holds no user and no password; a token goes into a file, see \
                    vqfarm help farm"
            .into());
    }
    if host.is_empty() { Err("it names no host".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_no_secrets() {
        for good in ["http://a:1", "https://farm.example", "127.0.0.1:7070", "http://[::1]:7070/"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in ["ftp://a", "https://me:secret@farm", "me@farm:1", "https://", ""] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_flags_of_an_unfinished_line_count() {
        let line = "vqfarm job --addr=http://a:1 -P studio --token-file".split(' ');
        let args = ConnectArgs::on_line(&line.map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(args.addr.as_deref(), Some("http://a:1"));
        assert_eq!(args.profile.as_deref(), Some("studio"));
        assert_eq!(args.token_file, None);
    }
}
