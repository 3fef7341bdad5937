//! TLS and tokens.

use std::fs;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
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
fn the_doctor_tells_when_certificates_and_tokens_end() {
    let dir = TempDir::new().unwrap();
    let (pem, ours) = authority();
    let ca = dir.path().join("clients.pem").display().to_string();
    fs::write(&ca, pem).unwrap();
    let soon = Timestamp::now() + SignedDuration::from_hours(72);
    let (secret, line) = create(UserName::new("bob").unwrap(), Role::Operator, Some(soon)).unwrap();
    let tokens = dir.path().join("tokens.toml").display().to_string();
    fs::write(&tokens, line).unwrap();
    let (farm, certs, cert) = secure(&["--tls-client-ca", &ca, "--tokens", &tokens]);
    let https = format!("https://localhost:{}", farm.addr.port());
    let [own, key] = client(&dir, "ada", &ours, 2999);
    let way = ["--addr", &https, "--ca", &cert, "--cert", &own, "--key", &key];
    let ask = || {
        let mut doctor = farm.command(&[&["doctor", "--json"][..], &way].concat());
        let said = Ran::of(doctor.env("VQFARM_TOKEN", &secret)).stdout;
        let checks = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let ends = checks.filter(|check| {
            let name = check["check"].as_str().unwrap_or_default();
            ["certificate", "token"].contains(&name)
        });
        ends.map(|check| [&check["state"], &check["text"]].map(|v| v.as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let checks = ask();
    let [coordinators, yours, token] = checks.as_slice() else { panic!("{checks:?}") };
    assert_eq!(coordinators[0], "ok");
    assert!(coordinators[1].starts_with("the coordinator's certificate is good until"));
    assert_eq!(yours[0], "ok");
    assert!(yours[1].starts_with("your certificate is good until 2999-01-01"), "{yours:?}");
    let day = soon.strftime("%Y-%m-%d").to_string();
    assert_eq!(token[0], "warning");
    assert!(token[1].starts_with(&format!("your token is good until {day}")), "{token:?}");

    // A certificate that has ended stops everything before anything is asked.
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = KeyPair::generate().unwrap();
    fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
    fs::write(certs.path().join("key.pem"), pair.serialize_pem()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let checks = loop {
        let checks = ask();
        if checks.len() == 1 {
            break checks;
        }
        assert!(Instant::now() < deadline, "the old certificate is still served");
    };
    assert_eq!(checks[0][0], "missing");
    assert!(checks[0][1].contains("certificate expired"), "{checks:?}");
}

/// Somebody who vouches for others, and the certificate that says who that is.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}

/// A client's certificate and key as files, good until this year.
fn client(dir: &TempDir, name: &str, by: &Issuer<'_, KeyPair>, until: i32) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let pems = [params.signed_by(&key, by).unwrap().pem(), key.serialize_pem()];
    let paths = ["cert", "key"].map(|kind| dir.path().join(format!("{name}.{kind}.pem")));
    for (path, pem) in paths.iter().zip(pems) {
        fs::write(path, pem).unwrap();
    }
    paths.map(|path| path.display().to_string())
}

#[test]
fn only_clients_whom_somebody_vouches_for_are_let_in() {
    let dir = TempDir::new().unwrap();
    let (pem, ours) = authority();
    let (_, foreign) = authority();
    let ca = dir.path().join("clients.pem").display().to_string();
    fs::write(&ca, pem).unwrap();
    let (farm, _certs, cert) = secure(&["--tls-client-ca", &ca]);
    let https = format!("https://localhost:{}", farm.addr.port());
    let ask = |more: &[&str]| {
        farm.run(&[&["status", "--addr", &https, "--ca", &cert][..], more].concat())
    };
    let [cert, key] = client(&dir, "ada", &ours, 2999);
    let good = ask(&["--cert", &cert, "--key", &key]);
    assert_eq!(good.status, 0, "{}", good.stderr);

    let none = ask(&[]);
    assert_eq!(none.status, 1);
    assert!(none.stderr.contains("give --cert and --key"), "{}", none.stderr);
    for (name, by, until) in [("old", &ours, 2020), ("stranger", &foreign, 2999)] {
        let [cert, key] = client(&dir, name, by, until);
        let refused = ask(&["--cert", &cert, "--key", &key]);
        assert_eq!(refused.status, 1, "{name}");
        assert!(refused.stderr.contains("does not take your certificate"), "{}", refused.stderr);
    }
    let half = ask(&["--cert", &cert]);
    assert_eq!(half.status, 2);
    assert!(half.stderr.contains("--cert takes --key"), "{}", half.stderr);
    let plain = farm.run(&["status"]);
    assert!(plain.stderr.contains("if it serves TLS, write https://"), "{}", plain.stderr);
}

#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    let (farm, dir, cert) = secure(&[]);
    let https = format!("https://localhost:{}", farm.addr.port());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let new = dir.path().join("new.pem").display().to_string();
    fs::write(&new, made.cert.pem()).unwrap();
    let ask = |ca: &str| farm.run(&["status", "--addr", &https, "--ca", ca]).status;
    assert_eq!((ask(&cert), ask(&new)), (0, 1));
    let old = dir.path().join("old.pem").display().to_string();
    fs::copy(&cert, &old).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask(&new) != 0 {
        assert!(Instant::now() < deadline, "the old certificate is still served");
    }
    assert_eq!(ask(&old), 1);
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
    let forbidden = with(&secret, &["reconcile"]);
    assert_eq!(forbidden.status, 1);
    assert!(forbidden.stderr.contains("takes the role of operator"), "{}", forbidden.stderr);
}
