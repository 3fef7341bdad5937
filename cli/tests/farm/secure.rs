//! TLS and tokens.

use std::fs;

use tempfile::TempDir;
use vqfarm_coordinator::tokens::{Role, create};
use vqfarm_core::id::UserName;

use crate::support::{Ran, TestFarm};

/// A farm with a certificate of its own; the certificate's file, too.
fn secure(flags: &[&str]) -> (TestFarm, TempDir, String) {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let farm = TestFarm::with(&[&tls[..], flags].concat());
    (farm, dir, cert)
}

#[test]
fn tls_is_spoken_where_both_sides_want_it_and_explained_where_not() {
    let (farm, _dir, cert) = secure(&[]);
    let https = format!("https://localhost:{}", farm.addr.port());
    let good = farm.run(&["status", "--addr", &https, "--ca", &cert]);
    assert_eq!(good.status, 0, "{}", good.stderr);

    let plain = farm.run(&["status"]);
    assert_eq!(plain.status, 1);
    assert!(plain.stderr.contains("if it serves TLS, write https://"), "{}", plain.stderr);
    let stranger = farm.run(&["status", "--addr", &https]);
    assert_eq!(stranger.status, 1);
    assert!(stranger.stderr.contains("with --ca"), "{}", stranger.stderr);

    let open = TestFarm::start();
    let https = format!("https://localhost:{}", open.addr.port());
    let vain = open.run(&["status", "--addr", &https, "--ca", &cert]);
    assert_eq!(vain.status, 1);
    assert!(vain.stderr.contains("try http://"), "{}", vain.stderr);
}

#[test]
fn tokens_come_from_a_file_or_the_environment() {
    let dir = TempDir::new().unwrap();
    let (secret, line) = create(UserName::new("bob").unwrap(), Role::Submitter, None).unwrap();
    let (old, expired) = create(
        UserName::new("eve").unwrap(),
        Role::Operator,
        Some("2020-01-01T00:00:00Z".parse().unwrap()),
    )
    .unwrap();
    let tokens = dir.path().join("tokens.toml");
    fs::write(&tokens, line + &expired).unwrap();
    let farm = TestFarm::with(&["--tokens", &tokens.display().to_string()]);
    let with = |token: &str, args: &[&str]| Ran::of(farm.command(args).env("VQFARM_TOKEN", token));

    let none = farm.run(&["jobs"]);
    assert_eq!(none.status, 1);
    assert!(none.stderr.contains("VQFARM_TOKEN"), "{}", none.stderr);
    assert!(with("vqf_00", &["jobs"]).stderr.contains("does not know this token"));
    assert!(with(&old, &["jobs"]).stderr.contains("the token of eve expired at 2020-01-01"));

    let submitted = with(&secret, &["submit", "boats.toml"]);
    assert_eq!(submitted.status, 0, "{}", submitted.stderr);
    let file = dir.path().join("token");
    fs::write(&file, format!("{secret}\n")).unwrap();
    let listed = farm.run(&["jobs", "--json", "--token-file", &file.display().to_string()]);
    assert!(listed.stdout.contains("\"user\":\"bob\""), "{}", listed.stdout);
    let forbidden = with(&secret, &["cancel", "last"]);
    assert_eq!(forbidden.status, 1);
    assert!(forbidden.stderr.contains("takes the role of operator"), "{}", forbidden.stderr);
}
