//! The file of `--notify`: who is told of ended jobs, and how patiently.
//!
//! ```toml
//! [[webhook]]
//! url = "https://studio.example/vqfarm"
//! secret_file = "/etc/vqfarm/studio.secret"
//! on = ["done", "failed"]             # done, failed and cancelled when left out
//! users = ["ada"]                     # everybody's jobs when left out
//! jobs = "harbour*"                   # by name; all when left out
//!
//! [[command]]
//! run = ["/usr/local/bin/tell", "--loud"]
//!
//! [retry]                             # seconds; these are the defaults
//! first = 5
//! longest = 3600
//! give_up = 86400
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use glob::Pattern;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::{Host, Url};
use vqfarm_core::ending::Ending;
use vqfarm_core::file::{Document, Format, JobError};
use vqfarm_core::id::UserName;
use vqfarm_core::job::FieldError;
use vqfarm_queue::JobSnapshot;

use super::retry::Retry;
use super::sign::Secret;

/// Targets that a file may name.
const MOST_TARGETS: usize = 100;
/// Bytes of the file and of a secret's.
const MOST_BYTES: u64 = 1 << 20;

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("notify: {path}: {reason}")]
    Read { path: String, reason: String },
    #[error("notify: {0}")]
    File(#[from] JobError),
}

/// The file, checked, with the secrets that it names.
#[derive(Debug, Default)]
pub struct Settings {
    pub targets: Vec<Arc<Target>>,
    pub retry: Retry,
    /// When the files were changed that this was read from.
    read_from: Vec<(PathBuf, Option<SystemTime>)>,
}

/// Somebody who is told.
#[derive(Debug)]
pub struct Target {
    /// Names it in logs and in storage: a URL may hold secrets, and its length has no bounds.
    pub name: String,
    /// Hexadecimal digits that stay the same as long as it is the same URL or command.
    pub key: String,
    pub way: Way,
    filter: Filter,
}

#[derive(Debug)]
pub enum Way {
    Webhook { url: Url, secret: Secret },
    Command(Vec<String>),
}

/// Which ends a target is told of.
#[derive(Debug)]
struct Filter {
    on: Vec<Ending>,
    /// Everybody's jobs when empty.
    users: Vec<UserName>,
    jobs: Pattern,
}

impl Target {
    pub fn wants(&self, job: &JobSnapshot, ending: Ending) -> bool {
        let Filter { on, users, jobs } = &self.filter;
        on.contains(&ending)
            && (users.is_empty() || users.contains(&job.user))
            && jobs.matches(job.name.as_str())
    }
}

impl Settings {
    /// # Errors
    /// The file or a secret cannot be read, or something in it is not valid; all mistakes are told,
    /// each with its place.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let mut read_from = vec![(path.to_owned(), changed(path))];
        let fail = |reason| SettingsError::Read { path: path.display().to_string(), reason };
        let bytes = read(path).map_err(fail)?;
        let document = Document::parse_as(&path.display().to_string(), Some(Format::Toml), &bytes)?;
        let file: File = document.settings()?;
        let mut errors = Vec::new();
        let mut targets = Vec::new();
        if file.webhook.len() + file.command.len() > MOST_TARGETS {
            errors.push(FieldError::new("", format!("{MOST_TARGETS} targets are the most")));
        }
        for (number, webhook) in file.webhook.into_iter().enumerate() {
            read_from.push((webhook.secret_file.clone(), changed(&webhook.secret_file)));
            targets.extend(webhook.target(&format!("webhook[{number}]"), &mut errors));
        }
        for (number, command) in file.command.into_iter().enumerate() {
            targets.extend(command.target(&format!("command[{number}]"), &mut errors));
        }
        for (number, target) in targets.iter().enumerate() {
            if targets[..number].iter().any(|other| other.key == target.key) {
                let message = format!("{} is there twice; tell it once, of all", target.name);
                errors.push(FieldError::new("", message));
            }
        }
        let retry = file.retry.checked(&mut errors);
        if errors.is_empty() {
            Ok(Self { targets: targets.into_iter().map(Arc::new).collect(), retry, read_from })
        } else {
            Err(document.refuse(errors).into())
        }
    }

    /// Whether one of the files has changed since this was read.
    pub fn is_stale(&self) -> bool {
        self.read_from.iter().any(|(path, before)| changed(path) != *before)
    }

    /// The files stay unread until they change again.
    pub fn mark_fresh(&mut self) {
        for (path, when) in &mut self.read_from {
            *when = changed(path);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    webhook: Vec<Webhook>,
    #[serde(default)]
    command: Vec<Command>,
    #[serde(default)]
    retry: RetryFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    secret_file: PathBuf,
    /// Lets plain HTTP leave this machine.
    #[serde(default)]
    insecure: bool,
    on: Option<Vec<Ending>>,
    #[serde(default)]
    users: Vec<UserName>,
    jobs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    run: Vec<String>,
    on: Option<Vec<Ending>>,
    #[serde(default)]
    users: Vec<UserName>,
    jobs: Option<String>,
}

/// In seconds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryFile {
    first: f64,
    longest: f64,
    give_up: f64,
}

impl Default for RetryFile {
    fn default() -> Self {
        let Retry { first, longest, give_up } = Retry::default();
        Self {
            first: first.as_secs_f64(),
            longest: longest.as_secs_f64(),
            give_up: give_up.as_secs_f64(),
        }
    }
}

impl Webhook {
    fn target(self, field: &str, errors: &mut Vec<FieldError>) -> Option<Target> {
        let Self { url, secret_file, insecure, on, users, jobs } = self;
        let filter = filter(field, on, users, jobs, errors);
        let url = match self::url(&url, insecure) {
            Ok(url) => Some(url),
            Err(why) => {
                errors.push(FieldError::new(format!("{field}.url"), why));
                None
            }
        };
        let secret = read(&secret_file)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not text".into()))
            .and_then(|text| Secret::parse(&text));
        if let Err(why) = &secret {
            let message = format!("{}: {why}", secret_file.display());
            errors.push(FieldError::new(format!("{field}.secret_file"), message));
        }
        let (url, secret) = (url?, secret.ok()?);
        let key = key(&["webhook", url.as_str()]);
        // The rest of a URL may be a secret of its own.
        let name = format!("{}#{}", url.host_str().unwrap_or_default(), &key[..4]);
        Some(Target { name, key, way: Way::Webhook { url, secret }, filter: filter? })
    }
}

impl Command {
    fn target(self, field: &str, errors: &mut Vec<FieldError>) -> Option<Target> {
        let Self { run, on, users, jobs } = self;
        let filter = filter(field, on, users, jobs, errors);
        let program = run.first().map(Path::new).filter(|program| program.is_absolute());
        let Some(program) = program else {
            let message = "it must be a program's full path and its arguments, as in \
                           [\"/usr/local/bin/tell\", \"--loud\"]";
            errors.push(FieldError::new(format!("{field}.run"), message));
            return None;
        };
        if !program.is_file() {
            let message = format!("there is no program {}", program.display());
            errors.push(FieldError::new(format!("{field}.run"), message));
            return None;
        }
        let file = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words: Vec<&str> = run.iter().map(String::as_str).collect();
        let key = key(&[&["command"], words.as_slice()].concat());
        Some(Target {
            name: format!("{file}#{}", &key[..4]),
            key,
            way: Way::Command(run),
            filter: filter?,
        })
    }
}

impl RetryFile {
    fn checked(self, errors: &mut Vec<FieldError>) -> Retry {
        let mut seconds = |name: &str, value: f64, least: f64, most: f64| {
            if !(least..=most).contains(&value) {
                let message = format!("it must be a number of seconds from {least} to {most}");
                errors.push(FieldError::new(format!("retry.{name}"), message));
                return Duration::ZERO;
            }
            Duration::from_secs_f64(value)
        };
        Retry {
            first: seconds("first", self.first, 0.1, 3600.0),
            longest: seconds("longest", self.longest, 0.1, 86_400.0),
            give_up: seconds("give_up", self.give_up, 1.0, 604_800.0),
        }
    }
}

fn filter(
    field: &str,
    on: Option<Vec<Ending>>,
    users: Vec<UserName>,
    jobs: Option<String>,
    errors: &mut Vec<FieldError>,
) -> Option<Filter> {
    let on = on.unwrap_or_else(|| vec![Ending::Done, Ending::Failed, Ending::Cancelled]);
    if on.is_empty() {
        let message = "it tells of nothing; name done, failed or cancelled, or leave it out";
        errors.push(FieldError::new(format!("{field}.on"), message));
    }
    match Pattern::new(jobs.as_deref().unwrap_or("*")) {
        Ok(jobs) => Some(Filter { on, users, jobs }),
        Err(error) => {
            errors.push(FieldError::new(format!("{field}.jobs"), error.to_string()));
            None
        }
    }
}

/// A URL that may be posted to. Plain HTTP shows everybody on the way what the body says.
fn url(text: &str, insecure: bool) -> Result<Url, String> {
    // The text itself is not repeated: it may hold secrets.
    let url = Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return Err("it names no host".into()),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if here || insecure => Ok(url),
        "http" => Err("plain http shows the body to everybody on the way; use https, or say \
                       insecure = true in a network of your own"
            .into()),
        scheme => Err(format!("{scheme} cannot be posted to; use https")),
    }
}

fn key(words: &[&str]) -> String {
    let digest = Sha256::digest(words.join("\0"));
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > MOST_BYTES => Err(format!("it has more than {MOST_BYTES} bytes")),
        Ok(_) => fs::read(path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file of this text makes, beside a secret `s` of the same folder.
    fn settings(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("s"), "a secret of at least 24 bytes").unwrap();
        fs::write(dir.path().join("short"), "sesame").unwrap();
        let path = dir.path().join("notify.toml");
        fs::write(&path, text.replace("DIR", &dir.path().display().to_string())).unwrap();
        Settings::read(&path).map_err(|error| error.to_string())
    }

    fn job(name: &str, user: &str) -> JobSnapshot {
        JobSnapshot {
            job: vqfarm_core::id::JobId::from_u128(1),
            name: vqfarm_core::id::JobName::new(name).unwrap(),
            user: UserName::new(user).unwrap(),
            priority: 0,
            state: vqfarm_queue::JobState::Done,
            submitted: Default::default(),
            finished: None,
            layers: Vec::new(),
        }
    }

    #[test]
    fn targets_choose_their_ends() {
        let read = settings(
            r#"
            [[webhook]]
            url = "https://studio.example/hooks/sesame"
            secret_file = "DIR/s"
            on = ["failed"]
            users = ["ada"]
            jobs = "harbour*"
            [[command]]
            run = ["/bin/sh", "-c", "true"]
            [retry]
            first = 0.5
            "#,
        );
        let read = read.unwrap();
        let [webhook, command] = &read.targets[..] else { panic!("{read:?}") };
        assert!(webhook.name.starts_with("studio.example#"));
        assert!(command.name.starts_with("sh#"));
        assert!(webhook.wants(&job("harbours", "ada"), Ending::Failed));
        assert!(!webhook.wants(&job("harbours", "ada"), Ending::Done));
        assert!(!webhook.wants(&job("harbours", "bob"), Ending::Failed));
        assert!(!webhook.wants(&job("boats", "ada"), Ending::Failed));
        assert!(command.wants(&job("boats", "bob"), Ending::Cancelled));
        assert_eq!(read.retry, Retry { first: Duration::from_millis(500), ..Retry::default() });
    }

    #[test]
    fn the_documented_file_is_one() {
        let page = include_str!("../../../docs/operating.md");
        let example = page.split("```toml\n").find(|rest| rest.starts_with("[[webhook]]"));
        let example = example.and_then(|rest| rest.split("```").next()).unwrap();
        // Neither the secret nor the command is there on every machine.
        let example = example.replace("/etc/vqfarm/studio.secret", "DIR/s");
        let read = settings(&example.replace("/usr/local/bin/tell", "/bin/sh")).unwrap();
        assert_eq!((read.targets.len(), read.retry), (2, Retry::default()));
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_no_secret() {
        let hook = "[[webhook]]\nsecret_file = \"DIR/s\"\nurl = ";
        for (text, why) in [
            ("[[webhok]]", "did you mean \"webhook\"?"),
            ("[[command]]\nrun = [\"/bin/sh\"]\nonn = [\"done\"]", "did you mean \"on\"?"),
            ("[[command]]\nrun = [\"/bin/sh\"]\non = [\"dnoe\"]", "did you mean \"done\"?"),
            ("[[command]]\nrun = [\"/bin/sh\"]\non = []", "command[0].on: it tells of nothing"),
            ("[[command]]\nrun = [\"/bin/sh\"]\nusers = [\"a b\"]", "is not a user name"),
            ("[[command]]\nrun = [\"/bin/sh\"]\njobs = \"[\"", "command[0].jobs"),
            ("[[command]]\nrun = []", "command[0].run: it must be a program's full path"),
            ("[[command]]\nrun = [\"sh\"]", "full path"),
            ("[[command]]\nrun = [\"/no/such\"]", "there is no program /no/such"),
            ("[[webhook]]\nsecret_file = \"DIR/s\"", "the field `url` is missing"),
            (&format!("{hook}\"http://studio.example/sesame\""), "insecure = true"),
            (&format!("{hook}\"ftp://studio.example\""), "use https"),
            (&format!("{hook}\"studio\""), "it is not a URL"),
            (&format!("{hook}\"https://a.b/c\"\n{hook}\"https://a.b/c\""), "is there twice"),
            ("[[webhook]]\nurl = \"https://a.b\"\nsecret_file = \"DIR/short\"", "this one has 6"),
            ("[[webhook]]\nurl = \"https://a.b\"\nsecret_file = \"DIR/none\"", "No such file"),
            ("[retry]\nfirst = 0", "retry.first: it must be a number of seconds from 0.1"),
            ("[retry", "notify.toml:1"),
        ] {
            let refused = settings(text).unwrap_err();
            assert!(refused.starts_with("notify: ") && refused.contains(why), "{refused}");
            let shown = refused.contains("sesame") && !text.contains("sesame");
            assert!(!shown, "{refused}");
        }
        assert!(settings(&format!("{hook}\"http://127.0.0.1:8080/\"")).is_ok());
        assert!(settings(&format!("{hook}\"http://a.b\"\ninsecure = true")).is_ok());
        assert!(settings("").unwrap().targets.is_empty());
    }

    #[test]
    fn a_changed_file_or_secret_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, secret) = (dir.path().join("notify.toml"), dir.path().join("s"));
        fs::write(&secret, "a secret of at least 24 bytes").unwrap();
        let hook =
            format!("[[webhook]]\nurl = \"https://a.b\"\nsecret_file = \"{}\"\n", secret.display());
        fs::write(&path, hook).unwrap();
        let mut settings = Settings::read(&path).unwrap();
        assert!(!settings.is_stale());
        for file in [&path, &secret] {
            let later = SystemTime::now() + Duration::from_secs(5);
            fs::File::options().write(true).open(file).unwrap().set_modified(later).unwrap();
            assert!(settings.is_stale(), "{}", file.display());
            settings.mark_fresh();
            assert!(!settings.is_stale());
        }
    }
}
