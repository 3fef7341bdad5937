//! Tokens and TLS: who may do what, and what those are told who may not.

use std::fs;

use vqfarm_tests::farm::{Farm, Setup, sweep, token};
use vqfarm_tests::{Ran, finish};

const LATER: &str = "2999-01-01T00:00:00Z";
const OVER: &str = "2020-01-01T00:00:00Z";

fn denied(ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in expected {
        assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
    }
}

#[test]
fn a_token_lets_its_bearer_do_what_its_role_allows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tokens.toml");
    let (viewer, first) = token("vera", "viewer", LATER);
    let (submitter, second) = token("sam", "submitter", LATER);
    let (operator, third) = token("olga", "operator", LATER);
    let (expired, fourth) = token("eve", "operator", LATER);
    let fourth = fourth.replace(LATER, OVER);
    fs::write(&file, [first, second, third, fourth].join("\n")).expect("the tokens are written");
    let coordinator = vec!["--tokens".into(), file.display().to_string()];
    let mut farm = Farm::with_token(Setup { coordinator, ..Setup::default() }, &submitter);
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 5), 2);
    let id = job.id.to_string();
    let with = |token: &str, arguments: &[&str]| {
        finish(farm.command(arguments).env("VQFARM_TOKEN", token))
    };
    assert_eq!(farm.job(job.id)["user"], "sam", "a job is its token's");

    denied(&with("", &["jobs"]), &["token", "VQFARM_TOKEN"]);
    denied(&with("vqf_guessed", &["jobs"]), &["does not know this token"]);
    denied(&with(&expired, &["jobs"]), &["eve", "expired", "2020-01-01"]);
    assert_eq!(with(&viewer, &["jobs"]).status, 0);
    let jobs = farm.stored.jobs();
    denied(&with(&viewer, &["submit", "job.toml"]), &["vera is a viewer", "submitter"]);
    assert_eq!(farm.stored.jobs(), jobs, "nothing was stored");
    denied(&with(&viewer, &["cancel", &id]), &["vera is a viewer", "submitter"]);
    denied(&with(&submitter, &["drain", "one"]), &["sam is a submitter", "worker"]);
    assert_eq!(with(&operator, &["pause", &id]).status, 0, "an operator changes any job");
    assert_eq!(with(&submitter, &["resume", &id]).status, 0, "and everybody their own");
    let bad = with("line\nbreak", &["jobs"]);
    assert_eq!(bad.status, 2, "{bad:?}");

    // The file may also be named, and the token is in no log.
    farm.write("token", &viewer);
    assert_eq!(with("", &["jobs", "--token-file", "token"]).status, 0);
    farm.token = Some(operator.clone());
    farm.prove(&job);
    let log = farm.coordinator.process.log() + &one.process.log();
    for secret in [&viewer, &submitter, &operator, &expired] {
        assert!(!log.contains(secret.as_str()), "a token was logged");
    }
}

#[test]
fn what_a_user_has_is_counted_over_all_coordinators() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tokens.toml");
    let (submitter, token) = token("sam", "submitter", LATER);
    fs::write(&file, token + "\n[quota]\nopen_jobs = 2\nwaiting_tasks = 10\n").expect("written");
    let coordinator = vec!["--tokens".into(), file.display().to_string()];
    let farm = Farm::with_token(Setup { coordinator, ..Setup::default() }, &submitter);
    let other = farm.another_coordinator("other");
    let submit = |cells: usize, to_other: bool| {
        farm.write("job.toml", &sweep(cells, 5));
        let mut command = farm.command(&["submit", "job.toml"]);
        if to_other {
            command.env("VQFARM_ADDR", format!("http://{}", other.address));
        }
        finish(&mut command)
    };
    assert_eq!(submit(4, false).status, 0);
    // Five tasks of the first, and the stitching counts.
    denied(&submit(6, true), &["waiting_tasks"]);
    assert_eq!(submit(2, true).status, 0);
    for to_other in [false, true] {
        denied(&submit(1, to_other), &["you may have 2 jobs that are not over", "open_jobs"]);
    }
    farm.vqfarm_ok(&["cancel", "last"]);
    assert_eq!(submit(1, true).status, 0);
}

#[test]
fn plain_text_and_tls_that_meet_say_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cert.pem"), made.cert.pem()).expect("written");
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let coordinator =
        vec!["--tls-cert".into(), path("cert.pem"), "--tls-key".into(), path("key.pem")];
    let farm = Farm::with_ca(Setup { coordinator, ..Setup::default() }, path("cert.pem").into());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 5), 2);
    farm.prove(&job);

    let port = farm.coordinator.address.port();
    let ask = |address: String, ca: Option<String>| {
        let mut command = farm.command(&["jobs"]);
        command.env("VQFARM_ADDR", address).env_remove("VQFARM_CA");
        finish(command.envs(ca.map(|ca| ("VQFARM_CA", ca))))
    };
    // Plain text against TLS.
    denied(&ask(format!("http://127.0.0.1:{port}"), None), &["https://"]);
    // A certificate that nobody vouches for.
    denied(&ask(format!("https://127.0.0.1:{port}"), None), &["--ca"]);
    // TLS against plain text.
    let plain = Farm::new(Setup::default());
    let port = plain.coordinator.address.port();
    denied(&ask(format!("https://127.0.0.1:{port}"), Some(path("cert.pem"))), &["http://"]);
}
