//! Variables that the programs read: a mistyped one is silently another one.

use std::env;

use vqfarm_core::nearest;

use super::Check;

const PREFIX: &str = "VQFARM_";

/// What may follow [`PREFIX`].
const KNOWN: &[&str] = &[
    "ADDR",
    "ATTEMPTS",
    "AUDIT_LOG",
    "BATCH",
    "BUNDLED_MODELS",
    "CA",
    "CACHE",
    "CERT",
    "CHECK_MODELS",
    "COMPLETE",
    "CONFIG",
    "CUDA_GRAPHS",
    "DEVICE",
    "FARM",
    "FIXTURES",
    "GRACE",
    "JOB",
    "JOB_NAME",
    "JOB_STATE",
    "JOB_USER",
    "KEY",
    "LARGE_CELLS",
    "LARGE_HOURS",
    "LEASE",
    "LISTEN",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MEMORY",
    "METRICS_LISTEN",
    "MODELS",
    "MOST_CELLS",
    "MOST_JOB_KIB",
    "MOST_MESSAGE_MIB",
    "NOTIFICATION",
    "NOTIFY",
    "PARITY_DEVICE",
    "PROFILE",
    "PROFILES",
    "QUEUE",
    "REDIS",
    "REDIS_SERVER",
    "S3_ENDPOINT",
    "SHARE_WEIGHTS",
    "STORAGE",
    "TAGS",
    "THREADS",
    "TLS_CERT",
    "TLS_CLIENT_CA",
    "TLS_KEY",
    "TOKEN",
    "TOKENS",
    "TOKEN_FILE",
    "TORCH_LIB",
    "TRACE",
    "WEB_LISTEN",
    "WEED",
    "WORKER_ID",
];

pub fn checks() -> Vec<Check> {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    judge(names.filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned())).collect())
}

/// Names without the prefix.
fn judge(mut set: Vec<String>) -> Vec<Check> {
    set.sort_unstable();
    let (known, unknown): (Vec<_>, Vec<_>) =
        set.into_iter().partition(|name| KNOWN.contains(&name.as_str()));
    let mut checks = vec![Check::ok(
        "environment",
        match known.as_slice() {
            [] => "no VQFARM_* variable is set".to_owned(),
            names => format!("{PREFIX}{} set", names.join(&format!(", {PREFIX}"))),
        },
    )];
    checks.extend(unknown.iter().map(|name| {
        let remedy = match nearest::nearest(name, KNOWN.iter().copied()) {
            Some(near) => format!("did you mean {PREFIX}{near}?"),
            None => "unset it".into(),
        };
        Check::warning("environment", format!("nobody reads {PREFIX}{name}"), remedy)
    }));
    checks
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn mistyped_variables_are_told() {
        let checks = judge(vec!["ADRR".into(), "MODELS".into(), "XYZZY".into()]);
        assert_eq!(checks[0].text, "VQFARM_MODELS set");
        assert_eq!(checks[1].remedy, "did you mean VQFARM_ADDR?");
        assert_eq!(checks[2].remedy, "unset it");
    }

    /// Every source file below a folder.
    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                into.push(path);
            }
        }
    }

    #[test]
    fn every_variable_of_the_programs_is_known() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = Vec::new();
        for part in ["cli", "coordinator", "worker", "service", "weights", "engine", "storage"] {
            sources(&root.join(part).join("src"), &mut files);
        }
        let mut found = 0;
        for file in files.iter().filter(|file| !file.ends_with("doctor/environment.rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            // Of the settings' own tests.
            for rest in text.split("\"VQFARM_").skip(1) {
                let end = rest.find('"').unwrap();
                let name = &rest[..end];
                if !name.starts_with("TEST_")
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit())
                {
                    assert!(KNOWN.contains(&name), "{name} of {}", file.display());
                    found += 1;
                }
            }
        }
        assert!(found > 20, "{found}");
    }
}
