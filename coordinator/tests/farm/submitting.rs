//! Submits: taken once, refused with the field, or only looked at.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::needs::Role;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::{JobRequest, JobState, ListJobsRequest, Model, SubmitRequest};
use vqfarm_queue::Jobs;

use crate::support::*;

#[tokio::test]
async fn the_same_request_is_the_same_job() {
    let farm = TestFarm::start().await;
    let mut client = farm.client.clone();
    let first = SubmitRequest { priority: 3, ..request(SWEEP) };
    let one = client.submit(first.clone()).await.unwrap().into_inner();
    let two = client.submit(first.clone()).await.unwrap().into_inner();
    assert!(!one.existed && two.existed);
    let job = one.job.unwrap();
    assert_eq!(job.id, two.job.unwrap().id);
    assert_eq!((job.priority, job.total().tasks, job.state()), (3, 9, JobState::Waiting));
    assert_eq!(farm.farm.queue.jobs(Jobs::All).await.unwrap().len(), 1);

    let id: JobId = job.id.parse().unwrap();
    let record = farm.farm.record(id).await.unwrap().unwrap();
    assert_eq!(record.models["demo-f8"], "ab".repeat(32));
    assert_eq!(farm.farm.control(id).await.unwrap().priority, Some(3));

    let other = SubmitRequest { job: resolved(&SWEEP.replace("boats", "ships")), ..first };
    assert_eq!(farm.refused(other).await.reason, Reason::RequestUsed);
}

#[tokio::test]
async fn a_submit_that_stopped_halfway_is_completed_by_the_next_one() {
    let farm = TestFarm::start().await;
    let asked = request(SWEEP);
    let job = farm.client.clone().submit(asked.clone()).await.unwrap().into_inner().job.unwrap();
    // The record is stored and the queue knows nothing: a coordinator was killed in between,
    // and another one, over the same folder, is asked again.
    let dir = farm.stop().await;
    let frames = dir.path().join("jobs").join(&job.id);
    assert!(frames.join("job.json").is_file());
    let farm = TestFarm::over(dir, &[]).await;
    let again = farm.client.clone().submit(asked).await.unwrap().into_inner().job.unwrap();
    assert_eq!(again.id, job.id);
    assert_eq!(farm.farm.queue.jobs(Jobs::All).await.unwrap().len(), 1);
}

#[tokio::test]
async fn ten_million_cells_are_taken_in_a_second() {
    let farm = TestFarm::start().await;
    let job = SWEEP.replace("\"1-4\"", "\"1-5000000\"");
    let began = Instant::now();
    let job = farm.submit(&job).await;
    let took = began.elapsed();
    assert_eq!(job.layers[0].counts.unwrap().ready, 10_000_000);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let listed = farm.client.clone().list_jobs(ListJobsRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().jobs[0].total().tasks, 10_000_001);

    let refusal = farm.refused(request(&SWEEP.replace("\"1-4\"", "\"1-5000001\""))).await;
    assert_eq!((refusal.reason, refusal.fields[0].field.as_str()), (Reason::BadJob, "sweep"));
    let said = &refusal.fields[0].message;
    assert_eq!(said, "10000002 cells are more than the 10000000 allowed here");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let farm = TestFarm::start().await;
    let before = files(farm.dir.path());
    let asked = SubmitRequest { dry_run: true, ..request(SWEEP) };
    let answer = farm.client.clone().submit(asked.clone()).await.unwrap().into_inner();
    assert_eq!(answer.job.unwrap().total().ready, 8);
    assert_eq!(answer.reasons[0].kind, "no_workers");
    assert!(farm.farm.queue.jobs(Jobs::All).await.unwrap().is_empty());
    assert_eq!(files(farm.dir.path()), before);

    // Models that would be pushed count as there, in a dry run only.
    let lacking = SWEEP.replace("demo-f8", "mine");
    let mine =
        Model { name: "mine".into(), sha256: "cd".repeat(32), kind: "generator".into(), bytes: 5 };
    let mut asked = SubmitRequest { dry_run: true, offered: vec![mine], ..request(&lacking) };
    assert!(farm.client.clone().submit(asked.clone()).await.is_ok());
    asked.dry_run = false;
    assert_eq!(farm.refused(asked).await.fields[0].field, "render.generator");
    assert_eq!(files(farm.dir.path()), before);
}

#[tokio::test]
async fn what_is_wrong_with_a_job_is_said_of_its_fields_and_nothing_is_stored() {
    let farm = TestFarm::start().await;
    let before = files(farm.dir.path());
    let job = |from: &str, to: &str| SubmitRequest {
        job: resolved(SWEEP).replace(from, to),
        ..request(SWEEP)
    };
    for (request, field, said) in [
        (job("demo-f8", "nonesuch"), "render.generator", "vqfarm models push nonesuch"),
        (job("[\"demo-clip\"]", "[\"demo-f8\"]"), "render.perceptors[0]", "is a generator, not"),
        (job("[64,64]", "[0,64]"), "render.size[0]", "from 16 to 4096"),
        (
            job("\"prompt\":\"a {colour} boat\"", "\"prompt\":\"a {clour} boat\""),
            "sweep.prompt",
            "clour",
        ),
        (job("\"version\":1", "\"version\":1,\"nmae\":2"), "nmae", "did you mean \"name\""),
    ] {
        let refusal = farm.refused(request).await;
        assert_eq!(refusal.reason, Reason::BadJob);
        let found = refusal.fields.iter().find(|error| error.field == field);
        let found = found.unwrap_or_else(|| panic!("{field}: {refusal:?}"));
        assert!(found.message.contains(said), "{found}");
    }
    let not_json = SubmitRequest { job: "version = 1".into(), ..request(SWEEP) };
    assert_eq!(farm.refused(not_json).await.reason, Reason::BadJob);
    let nobody = SubmitRequest { user: "a b".into(), ..request(SWEEP) };
    assert_eq!(farm.refused(nobody).await.reason, Reason::BadRequest);
    let odd = SubmitRequest { request_id: "../x".into(), ..request(SWEEP) };
    assert_eq!(farm.refused(odd).await.reason, Reason::BadRequest);
    assert_eq!(files(farm.dir.path()), before);
}

#[tokio::test]
async fn pictures_come_along_under_their_own_hash_or_not_at_all() {
    let farm = TestFarm::start().await;
    let before = files(farm.dir.path());
    let bytes = b"GIF89a\x02\0\x02\0picture".to_vec();
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let name = keys::asset(&hash, "png");
    let with = |path: &str, assets: &[(&str, &[u8])]| SubmitRequest {
        job: resolved(&SWEEP.replace("size", &format!("init = {{ image = \"{path}\" }}\nsize"))),
        assets: assets.iter().map(|(k, v)| ((*k).to_owned(), v.to_vec())).collect(),
        ..request(SWEEP)
    };
    for (request, said) in [
        (with("init.png", &[]), "is not the name of a picture"),
        (with(&name, &[]), "did not come along"),
        (with(&name, &[(&name, b"GIF89a another")]), "was altered on its way"),
    ] {
        let refusal = farm.refused(request).await;
        assert_eq!(refusal.fields[0].field, "render.init.image");
        assert!(refusal.fields[0].message.contains(said), "{refusal:?}");
    }
    let mut stray = with(&name, &[(&name, &bytes)]);
    stray.assets.insert("../../../etc/passwd".into(), b"x".to_vec());
    assert_eq!(farm.refused(stray).await.reason, Reason::BadRequest);
    assert_eq!(files(farm.dir.path()), before);

    let taken = farm.client.clone().submit(with(&name, &[(&name, &bytes)])).await.unwrap();
    let id: JobId = taken.into_inner().job.unwrap().id.parse().unwrap();
    assert_eq!(farm.farm.storage.job(id).get(&name).await.unwrap().unwrap(), bytes);
}

#[tokio::test]
async fn a_films_sound_comes_along_as_pictures_do() {
    const FILM: &str = r#"
[render]
prompt = "a red sun"
generator = "demo-f8"
perceptors = ["demo-clip"]
[animation]
mode = "feedback"
frames = 4
[output.video]
soundtrack = "NAME"
"#;
    let farm = TestFarm::start().await;
    let before = files(farm.dir.path());
    let named = |bytes: &[u8], extension| {
        let hash: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        keys::asset(&hash, extension)
    };
    let with = |name: &str, bytes: &[u8]| SubmitRequest {
        job: resolved(&FILM.replace("NAME", name)),
        assets: [(name.to_owned(), bytes.to_vec())].into(),
        ..request(SWEEP)
    };
    let (sound, picture, list) =
        (b"fLaC and so on", b"GIF89a\x02\0\x02\0picture", b"#EXTM3U\nhttp://host/");
    for (bytes, extension, said) in [
        (picture.as_slice(), "gif", "is not the name of a sound"),
        (picture, "mp3", "is not a sound; MP3, "),
        (list, "mp3", "is not a sound; MP3, "),
    ] {
        let refusal = farm.refused(with(&named(bytes, extension), bytes)).await;
        assert_eq!(refusal.fields[0].field, "output.video.soundtrack");
        assert!(refusal.fields[0].message.contains(said), "{refusal:?}");
    }
    assert_eq!(files(farm.dir.path()), before);

    let name = named(sound, "flac");
    let taken = farm.client.clone().submit(with(&name, sound)).await.unwrap();
    let id: JobId = taken.into_inner().job.unwrap().id.parse().unwrap();
    assert_eq!(farm.farm.storage.job(id).get(&name).await.unwrap().unwrap(), sound.as_slice());
}

#[tokio::test]
async fn too_much_is_refused_with_the_limit() {
    let flags = ["--most-job-kib", "4", "--most-message-mib", "1", "--most-cells", "7"];
    let farm = TestFarm::with(&flags).await;
    let refusal = farm.refused(request(SWEEP)).await;
    assert!(refusal.fields[0].message.contains("8 cells are more than the 7"), "{refusal:?}");
    let long = SubmitRequest { job: " ".repeat(5000), ..request(SWEEP) };
    let refusal = farm.refused(long).await;
    assert_eq!(refusal.reason, Reason::TooLarge);
    assert!(refusal.message.contains("takes up to 4"), "{refusal:?}");
    let huge = SubmitRequest { job: " ".repeat(2 << 20), ..request(SWEEP) };
    let status = farm.client.clone().submit(huge).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::OutOfRange, "{status}");
}

#[tokio::test]
async fn ids_are_found_by_their_parts() {
    let farm = TestFarm::start().await;
    farm.add_model("x", Role::Generator).await;
    let ask = async |text: &str| {
        let answer = farm.client.clone().get_job(JobRequest { job: text.into() }).await;
        answer.map(|answer| answer.into_inner().job.unwrap().id).map_err(|s| refusal(&s))
    };
    assert_eq!(ask("last").await.unwrap_err().reason, Reason::NotFound);
    let (a, b) = (farm.submit(SWEEP).await.id, farm.submit(SWEEP).await.id);
    assert_eq!(ask("last").await.unwrap(), b);
    assert_eq!(ask(&a[24..]).await.unwrap(), a);
    assert_eq!(ask(&b[24..].to_uppercase()).await.unwrap(), b);
    assert_eq!(ask(&a).await.unwrap(), a);
    assert_eq!(ask(&a[..8]).await.unwrap_err().reason, Reason::Ambiguous);
    assert_eq!(ask("../../etc").await.unwrap_err().reason, Reason::BadRequest);
    assert_eq!(ask(&"0".repeat(32)).await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(ask("00000000").await.unwrap_err().reason, Reason::NotFound);
}

/// All files under a folder, by their paths.
fn files(dir: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path.display().to_string())
        }
    }
    found.sort();
    found
}
