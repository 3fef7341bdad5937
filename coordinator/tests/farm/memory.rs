//! Jobs go to workers that can hold their pictures.

use vqfarm_core::id::RequestId;
use vqfarm_core::needs::Role;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::put_model_request::Part;
use vqfarm_proto::v1::*;
use vqfarm_queue::LeaseAnswer;

use crate::support::{SWEEP, TestFarm, clip, refusal, request, vqgan, worker};

const GIB: u64 = 1 << 30;

async fn sized() -> TestFarm {
    let farm = TestFarm::start().await;
    farm.add_sized("demo-f8", Role::Generator, Some(vqgan())).await;
    farm.add_sized("demo-clip", Role::Perceptor, Some(clip())).await;
    farm
}

fn of_size(side: u32) -> String {
    SWEEP.replace("size = [64, 64]", &format!("size = [{side}, {side}]"))
}

async fn estimate(farm: &TestFarm, job: &str) -> u64 {
    let asked = SubmitRequest { dry_run: true, ..request(job) };
    farm.client.clone().submit(asked).await.unwrap().into_inner().estimate.unwrap().memory
}

#[tokio::test]
async fn a_job_is_leased_by_workers_that_can_hold_its_pictures_only() {
    let farm = sized().await;
    let (small, large) = (estimate(&farm, SWEEP).await, estimate(&farm, &of_size(4096)).await);
    assert!(0 < small && small < 8 * GIB && 8 * GIB < large, "{small} {large}");

    let job = farm.submit(&of_size(4096)).await;
    assert!(farm.lease("small", 1).await.is_empty(), "it has 8 GiB");
    let answer = farm.client.clone().why(JobRequest { job: job.id.clone() }).await.unwrap();
    let reasons = answer.into_inner().reasons;
    assert_eq!(reasons[0].kind, "memory");
    assert!(reasons[0].text.contains("the largest has 8 GiB"), "{:?}", reasons[0]);
    assert!(reasons[0].remedy.contains("smaller pictures"), "{:?}", reasons[0]);

    let mut enough = worker("enough");
    enough.memory = large;
    let leased = farm.farm.queue.lease(&RequestId::generate(), &enough, 1).await.unwrap();
    assert!(matches!(leased, LeaseAnswer::Work(_)));
}

#[tokio::test]
async fn what_the_job_says_itself_wins_and_what_is_not_known_asks_for_nothing() {
    let farm = sized().await;
    farm.submit(&format!("{}[requires]\ngpu_memory = \"1 GiB\"", of_size(4096))).await;
    assert_eq!(farm.lease("small", 1).await.len(), 1);

    let unknown = TestFarm::start().await;
    assert_eq!(estimate(&unknown, &of_size(4096)).await, 0);
    unknown.submit(&of_size(4096)).await;
    assert_eq!(unknown.lease("small", 1).await.len(), 1);
}

#[tokio::test]
async fn a_submit_that_is_repeated_after_a_model_was_replaced_is_the_same_job() {
    let farm = sized().await;
    let asked = request(&of_size(512));
    let submit = async || farm.client.clone().submit(asked.clone()).await.unwrap().into_inner();
    let first = submit().await.job.unwrap().id;
    let mut wider = vqgan();
    wider["config"]["ch"] = 256.into();
    farm.add_sized("demo-f8", Role::Generator, Some(wider)).await;
    assert_eq!(submit().await.job.unwrap().id, first);
}

#[tokio::test]
async fn the_largest_pictures_of_a_sweep_count() {
    let farm = sized().await;
    let axis = SWEEP.replace("seed = \"1-4\"", "size = [[64, 64], [2048, 2048], [128, 128]]");
    let (all, one) = (estimate(&farm, &axis).await, estimate(&farm, &of_size(2048)).await);
    assert_eq!(all, one);
    assert!(one > estimate(&farm, &of_size(128)).await);
}

#[tokio::test]
async fn sizes_that_are_none_are_refused_with_the_model() {
    let farm = TestFarm::start().await;
    let mut zero = vqgan();
    zero["config"]["ch"] = 0.into();
    for (config, said) in [
        ("{".to_owned(), "EOF"),
        (zero.to_string(), "ch"),
        (clip().to_string(), "the other kind"),
        (format!("\"{}\"", "x".repeat(20_000)), "16 KiB"),
    ] {
        let model = Model {
            name: "mine".into(),
            sha256: "cd".repeat(32),
            kind: "generator".into(),
            bytes: 1,
            config,
        };
        let part = PutModelRequest { part: Some(Part::Model(model)) };
        let status = farm.client.clone().put_model(tokio_stream::iter([part])).await.unwrap_err();
        let refusal = refusal(&status);
        assert_eq!(refusal.reason, Reason::BadRequest);
        assert!(refusal.message.contains(said), "{said}: {}", refusal.message);
    }
}
