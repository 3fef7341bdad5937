//! The web page over a farm in this process.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_proto::v1::JobRequest;
use vqfarm_queue::Failure;

use crate::support::{SWEEP, TestFarm, worker};

/// The status and the rest of an answer.
pub async fn ask(farm: &TestFarm, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(farm.web).await.unwrap();
    let (line, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
        farm.web,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A page that must be there.
async fn page(farm: &TestFarm, path: &str) -> String {
    let (status, answer) = ask(farm, &format!("GET {path}")).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn failures_are_shown_by_cause_with_their_logs() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let mut numbers = Vec::new();
    for n in 0..3 {
        let ticket = farm.lease("w", 1).await.remove(0);
        let message = format!("out of memory: <b>{n}</b> MiB\nmore");
        let failure = Failure { message, retryable: false };
        farm.farm.queue.fail(&ticket, &failure).await.unwrap();
        numbers.push(farm.number(ticket.task).await);
        let key = keys::log("render", numbers[n], 1);
        let log = format!("a log of <script>{n}</script>");
        farm.farm.storage.job(id).create(&key, log.into()).await.unwrap();
    }
    let path = format!("/jobs/{}", job.id);
    let shown = page(&farm, &path).await;
    assert!(
        shown.contains("<b>3 ×</b> <span class=\"message\">out of memory: &#60;b&#62;0"),
        "{shown}"
    );
    assert!(!shown.contains("out of memory: &#60;b&#62;1"), "numbers make no other cause");
    for number in &numbers {
        assert!(shown.contains(&format!("{path}/tasks/render/{number}")), "{shown}");
        assert!(shown.contains(&format!("log of cell {number}, ")), "the cell leads there, too");
    }
    let log = page(&farm, &format!("{path}/tasks/render/{}", numbers[1])).await;
    assert!(
        log.contains("a log of &#60;script&#62;1&#60;/script&#62;") && log.contains("attempt 1")
    );
    assert!(!log.contains("script&#62;2"), "the logs of others are not shown");
    assert!(page(&farm, "/").await.contains("out of memory"), "the farm's page tells of it");

    let (status, _) = ask(&farm, &format!("POST {path}/retry")).await;
    assert_eq!(status, 303);
    assert!(!page(&farm, &path).await.contains("t-failures"));
}

#[tokio::test]
async fn a_sheet_of_ten_million_cells_is_shown_page_by_page() {
    let farm = TestFarm::start().await;
    let job = farm.submit(&SWEEP.replace("1-4", "1-5000000")).await;
    let began = Instant::now();
    let shown = page(&farm, &format!("/jobs/{}?from=9999999", job.id)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(shown.contains("9999800 to 9999999 of 10000000"), "{shown}");
    assert_eq!(shown.matches("<li id=\"cell-").count(), 200);
    assert!(shown.contains("<i>seed</i> 5000000"));
}

#[tokio::test]
async fn the_farm_is_audited_and_reconciled_from_the_page() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    while farm.work("w", 8).await > 0 {}
    let id: JobId = job.id.parse().unwrap();
    let (status, answer) = ask(&farm, "POST /audit").await;
    assert_eq!(status, 200);
    assert!(answer.contains("1 job and 8 frames looked at: all is as it must be"), "{answer}");
    farm.farm.storage.job(id).delete(&keys::frame(3)).await.unwrap();
    let (_, answer) = ask(&farm, "POST /audit").await;
    assert!(answer.contains("1 problem") && answer.contains("Repair what can be"), "{answer}");
    let (_, answer) = ask(&farm, "POST /audit\n\nrepair=true").await;
    assert!(answer.contains("<span class=\"state done\">repaired</span>"), "{answer}");
    let again = farm.client.clone().get_job(JobRequest { job: job.id }).await.unwrap();
    assert!(again.into_inner().job.unwrap().total().ready > 0, "it is made again");
    let (_, answer) = ask(&farm, "POST /reconcile").await;
    assert!(answer.contains("1 job in storage, 0 put back"), "{answer}");
}

#[tokio::test]
async fn workers_are_shown_with_their_release() {
    let farm = TestFarm::start().await;
    farm.farm.queue.heartbeat(&worker("node7"), &[]).await.unwrap();
    let shown = page(&farm, "/workers").await;
    assert!(shown.contains("<th scope=\"col\">Version</th>"), "{shown}");
    assert!(shown.contains(concat!("<td>", env!("CARGO_PKG_VERSION"), "</td>")), "{shown}");
}
