//! What whoever may look gets to see, and nothing beside it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use vqfarm_proto::v1::FetchRequest;
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_tests::farm::{Farm, Setup, sweep, token};

use crate::bearing;

const LATER: &str = "2999-01-01T00:00:00Z";

/// The files of a job that are asked for by their paths, as so many bytes.
fn fetch(farm: &Farm, secret: &str, job: &str, path: &str) -> Result<usize, String> {
    let address = format!("http://{}", farm.coordinator.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut client = FarmClient::connect(address).await.expect("the coordinator listens");
        let request = FetchRequest { job: job.into(), have: vec![], only: vec![path.into()] };
        let answer = client.fetch(bearing(request, secret)).await;
        let mut parts = answer.map_err(|status| status.message().to_owned())?.into_inner();
        let mut bytes = 0;
        while let Some(part) = parts.message().await.map_err(|s| s.message().to_owned())? {
            use vqfarm_proto::v1::fetch_response::Part;
            if let Some(Part::Data(data)) = part.part {
                bytes += data.len();
            }
        }
        Ok(bytes)
    })
}

/// The status of an answer of the page, and what it says.
fn page(farm: &Farm, secret: Option<&str>, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(farm.coordinator.web).expect("the page is there");
    let cookie =
        secret.map_or(String::new(), |secret| format!("Cookie: vqfarm-token-main={secret}\r\n"));
    let host = farm.coordinator.web;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{cookie}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), answer)
}

#[test]
fn whoever_looks_sees_jobs_files_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tokens.toml");
    let (viewer, first) = token("vera", "viewer", LATER);
    let (operator, second) = token("olga", "operator", LATER);
    fs::write(&file, [first, second].join("\n")).expect("the tokens are written");
    let coordinator =
        ["--farm", "main", "--tokens", &file.display().to_string()].map(str::to_owned).into();
    let farm = Farm::with_token(Setup { coordinator, ..Setup::default() }, &operator);
    let _one = farm.worker("one", &["--farm", "main"]);
    let jobs = [farm.submit(&sweep(1, 2), 1), farm.submit(&sweep(1, 3), 1)];
    jobs.iter().for_each(|job| farm.prove(job));
    let [id, other] = jobs.map(|job| job.id.to_string());
    assert_eq!(farm.vqfarm(&["pause", &id]).status, 1, "it is over");
    fs::write(farm.stored.path(&format!("jobs/{id}/control.json")), "{}").expect("written");

    for path in ["job.json", "frames/000000.png", "out/scores.csv"] {
        assert!(fetch(&farm, &viewer, &id, path).expect("a file") > 0, "{path}");
        assert_eq!(page(&farm, Some(&viewer), &format!("/jobs/{id}/{path}")).0, 200, "{path}");
    }
    let ways_out = [
        "control.json".to_owned(),
        "logs/render/000000.1.log".to_owned(),
        "work/render/000000.png".to_owned(),
        "../../models/names/tiny-f4.json".to_owned(),
        format!("../{other}/job.json"),
        format!("frames/../../{other}/job.json"),
        "frames/../control.json".to_owned(),
        "out/../control.json".to_owned(),
        "out/..%2fcontrol.json".to_owned(),
        "out/%2e%2e/control.json".to_owned(),
        "out/..\\control.json".to_owned(),
        "/etc/hostname".to_owned(),
        "assets//etc/hostname".to_owned(),
        "out/".to_owned(),
        String::new(),
    ];
    for path in &ways_out {
        let refused = fetch(&farm, &viewer, &id, path).expect_err(path);
        assert!(refused.contains("is no path of a job's file"), "{path}: {refused}");
        let (status, answer) = page(&farm, Some(&viewer), &format!("/jobs/{id}/{path}"));
        let shown = path.is_empty() && status == 200;
        assert!(shown || [303, 400, 404, 405].contains(&status), "{path}: {answer}");
    }
    // Without a token, or with one that is none, there is not even a job.
    for secret in [None, Some("vqf_guessed")] {
        for path in ["job.json", "frames/000000.png", "out/scores.csv"] {
            let (status, answer) = page(&farm, secret, &format!("/jobs/{id}/{path}"));
            assert_eq!(status, 401, "{path}: {answer}");
            assert!(!answer.contains("a red sun"), "{answer}");
        }
    }
    let refused = fetch(&farm, "vqf_guessed", &id, "job.json").expect_err("a stranger");
    assert!(refused.contains("does not know this token"), "{refused}");
}
