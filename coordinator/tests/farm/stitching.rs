//! Submits that render nothing: whose frames they may be about, and what is refused.

use std::fs;

use sha2::{Digest, Sha256};
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::{AuditRequest, Job, SubmitRequest};
use vqfarm_queue::Jobs;

use crate::support::*;

/// To stitch the frames of `job`, whose spec `text` is.
fn stitching(job: &Job, text: &str) -> SubmitRequest {
    SubmitRequest { frames_of: job.id.clone(), ..request(text) }
}

/// The sweep with another contact sheet.
fn turned() -> String {
    format!("{SWEEP}[output]\ncontact_sheet = {{ rows = \"seed\" }}\n")
}

#[tokio::test]
async fn a_stitching_has_one_task_and_the_frames_of_the_other_job() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    while farm.work("w", 8).await > 0 {}
    let asked = stitching(&job, &turned());
    let mut client = farm.client.clone();
    let dry = SubmitRequest { dry_run: true, ..asked.clone() };
    assert_eq!(client.submit(dry).await.unwrap().into_inner().job.unwrap().total().ready, 1);
    let one = client.submit(asked.clone()).await.unwrap().into_inner();
    let again = one.job.unwrap();
    let layers: Vec<(&str, &str)> =
        again.layers.iter().map(|l| (l.name.as_str(), l.dependency.as_str())).collect();
    assert_eq!(layers, [("stitch", "independent")]);
    let id: JobId = again.id.parse().unwrap();
    let record = farm.farm.record(id).await.unwrap().unwrap();
    let original = farm.farm.record(job.id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((&record.spec_hash, &record.models), (&original.spec_hash, &original.models));
    let source = record.source.unwrap();
    assert_eq!((source.job.to_string(), source.partial), (job.id.clone(), false));
    // Until it is done, nothing of it is expected.
    let audit = AuditRequest { job: again.id.clone(), repair: false };
    farm.farm.queue.drain(&worker("w").id, true).await.unwrap();
    let audit = client.audit(audit).await.unwrap().into_inner();
    assert_eq!((audit.frames, audit.problems.as_slice()), (0, [].as_slice()));

    // A stitching of a stitching is of the job that has the frames.
    let third = client.submit(stitching(&again, SWEEP)).await.unwrap().into_inner().job.unwrap();
    let third = farm.farm.record(third.id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(third.source.unwrap().job.to_string(), job.id);

    // The same request is the same job, whatever has become of the frames.
    let frames = farm.dir.path().join("jobs").join(&job.id).join(keys::FRAMES);
    fs::remove_dir_all(frames).unwrap();
    let two = client.submit(asked.clone()).await.unwrap().into_inner();
    assert!(two.existed && two.job.unwrap().id == again.id);
    let other = SubmitRequest { partial: true, ..asked };
    assert_eq!(farm.refused(other).await.reason, Reason::RequestUsed);
}

#[tokio::test]
async fn what_cannot_be_stitched_is_refused_and_nothing_is_stored() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let preview = |job: &Job| SubmitRequest { partial: true, ..stitching(job, SWEEP) };
    let refusal = farm.refused(preview(&job)).await;
    assert_eq!(refusal.reason, Reason::Unfinished);
    assert!(refusal.message.contains("no frame of job"), "{refusal:?}");
    farm.work("w", 3).await;
    let nobody = Job { id: JobId::generate().to_string(), ..Job::default() };
    let cases = [
        (stitching(&job, SWEEP), Reason::Unfinished, "5 of 8 frames of job"),
        (stitching(&job, SWEEP), Reason::Unfinished, "vqfarm preview"),
        (preview(&nobody), Reason::NotFound, "no job"),
        (
            SubmitRequest { job: resolved(&SWEEP.replace("1-4", "1-3")), ..preview(&job) },
            Reason::BadRequest,
            "only [output] may be other",
        ),
        (
            SubmitRequest { frames_of: "last".into(), ..preview(&job) },
            Reason::BadRequest,
            "\"last\" is not a job's id in full",
        ),
        (
            SubmitRequest { frames_of: "../x".into(), ..preview(&job) },
            Reason::BadRequest,
            "not a job's id in full",
        ),
        (
            SubmitRequest { frames_of: String::new(), ..preview(&job) },
            Reason::BadRequest,
            "another job can be partial",
        ),
    ];
    for (request, reason, said) in cases {
        let refusal = farm.refused(request).await;
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        assert!(refusal.message.contains(said), "{refusal:?}");
    }
    assert_eq!(farm.farm.queue.jobs(Jobs::All).await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(farm.dir.path().join("jobs")).unwrap().count(), 1);
    assert!(farm.client.clone().submit(preview(&job)).await.is_ok());
}

#[tokio::test]
async fn the_pictures_of_a_job_need_not_come_along_again() {
    let farm = TestFarm::start().await;
    let bytes = b"GIF89a\x02\0\x02\0picture".to_vec();
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let name = keys::asset(&hash, "gif");
    let text = SWEEP.replace("size", &format!("init = {{ image = \"{name}\" }}\nsize"));
    let submit = SubmitRequest { assets: [(name.clone(), bytes.clone())].into(), ..request(&text) };
    let job = farm.client.clone().submit(submit).await.unwrap().into_inner().job.unwrap();
    farm.work("w", 3).await;
    let mut early = SubmitRequest { partial: true, ..stitching(&job, &text) };
    assert!(farm.client.clone().submit(early.clone()).await.is_ok());
    early.assets = [(name, bytes)].into();
    assert_eq!(farm.refused(early).await.reason, Reason::BadRequest);
}
