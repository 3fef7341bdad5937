//! `vqfarm token`: the file of tokens, and a farm that goes by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use crate::support::{Ran, TestFarm};

#[test]
fn a_token_is_made_listed_and_revoked_while_the_farm_runs() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("tokens.toml");
    let file = path.display().to_string();
    let token = |args: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("vqfarm").unwrap();
        command.arg("token").args(args).env("NO_COLOR", "1").env_remove("COLUMNS");
        Ran::of(command.env("VQFARM_TOKENS", &file))
    };
    let made = token(&["create", "--user", "ada", "--role", "submitter", "--expires", "90d"]);
    assert_eq!(made.status, 0, "{}", made.stderr);
    let ada = made.stdout.trim().to_owned();
    assert!(ada.starts_with("vqf_") && !made.stderr.contains(&ada), "{}", made.stderr);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("user = \"ada\"") && !text.contains(&ada), "{text}");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);

    let farm = TestFarm::with(&["--tokens", &file]);
    let ask = |secret: &str| {
        let ran = Ran::of(farm.command(&["jobs"]).env("VQFARM_TOKEN", secret));
        (ran.status, ran.stderr)
    };
    assert_eq!(ask(&ada).0, 0);
    // A file that others may read stays so: the coordinator may be one of them.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let made = token(&["create", "--user", "olga", "--role", "operator", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(mode(&path), 0o640);
    let olga = made["secret"].as_str().unwrap();
    assert_eq!(ask(olga).0, 0, "it is known at once");

    let listed = token(&["list"]).stdout;
    let row = listed.lines().find(|line| line.contains("ada")).unwrap();
    assert!(row.contains("submitter") && !listed.contains(&ada), "{listed}");
    assert!(listed.lines().any(|line| line.contains("operator") && line.contains("never")));
    let id = row.split_whitespace().next().unwrap();

    let unknown = token(&["revoke", "00000000"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.stderr.contains("vqfarm token list"), "{}", unknown.stderr);
    let revoked = token(&["revoke", id]);
    assert_eq!(revoked.status, 0, "{}", revoked.stderr);
    let (status, said) = ask(&ada);
    assert!(status == 1 && said.contains("does not know this token"), "{said}");
    assert_eq!(ask(olga).0, 0);
    assert_eq!(token(&["revoke", "--user", "olga"]).status, 0);
    assert_eq!(ask(olga).0, 1);
}

#[test]
fn what_makes_no_token_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tokens.toml");
    let token = |args: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("vqfarm").unwrap();
        Ran::of(command.arg("token").args(args).env_remove("VQFARM_TOKENS"))
    };
    let nowhere = token(&["list"]);
    assert_eq!(nowhere.status, 2);
    assert!(nowhere.stderr.contains("--tokens FILE"), "{}", nowhere.stderr);
    let path = file.display().to_string();
    for wrong in [
        ["--user", "a b", "--role", "viewer", "--expires", "1d"],
        ["--user", "ada", "--role", "god", "--expires", "1d"],
        ["--user", "ada", "--role", "viewer", "--expires", "2020-01-01T00:00:00Z"],
    ] {
        let ran = token(&[&["create", "--tokens", &path][..], &wrong].concat());
        assert_eq!(ran.status, 2, "{wrong:?}: {}", ran.stderr);
        assert!(!file.exists());
    }
    fs::write(&file, "[[token]]\nuser = \"ada\"\nrole = \"god\"\n").unwrap();
    let ran = token(&["list", "--tokens", &path]);
    assert!(ran.status == 2 && ran.stderr.contains("god"), "{}", ran.stderr);
}
