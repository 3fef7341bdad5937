//! The log of changes.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use vqfarm_core::id::JobId;
use vqfarm_proto::v1::{
    AuditRequest, FILE_DESCRIPTOR_SET, JobRequest, StatusRequest, SubmitRequest,
};

use crate::owning::{Guarded, call, submit_bytes};
use crate::rubbish::proper;
use crate::support::*;

/// Calls that change nothing. All others must be noted.
const LOOKS: [&str; 15] = [
    "WhoAmI",
    "ListJobs",
    "GetJob",
    "ListTasks",
    "TaskMap",
    "ListWorkers",
    "Status",
    "Why",
    "Logs",
    "NewestFrame",
    "ListFiles",
    "Fetch",
    "Watch",
    "Changes",
    "FindModels",
];

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The names of all calls of the service, from its own description.
fn calls() -> Vec<String> {
    /// The parts of google.protobuf.FileDescriptorSet that are needed.
    #[derive(Clone, PartialEq, Message)]
    struct Set {
        #[prost(message, repeated, tag = "1")]
        files: Vec<File>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct File {
        #[prost(message, repeated, tag = "6")]
        services: Vec<Service>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Service {
        #[prost(message, repeated, tag = "2")]
        methods: Vec<Method>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
    }
    let set = Set::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.files.into_iter().flat_map(|file| file.services);
    services.flat_map(|service| service.methods).map(|method| method.name).collect()
}

#[tokio::test]
async fn every_call_that_changes_something_is_noted_with_who_made_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let log = path.display().to_string();
    let guarded = Guarded::with("", &["--audit-log", &log]).await;
    call(&guarded, Some("ada"), "Submit", submit_bytes()).await;
    let job = lines(&path)[0]["job"].as_str().unwrap().to_owned();
    let requests = proper(&job);
    let changes: Vec<String> =
        calls().into_iter().filter(|call| !LOOKS.contains(&call.as_str())).collect();
    assert!(changes.len() >= 12, "{changes:?}");
    for name in &changes {
        let found = requests.iter().find(|(call, _)| call == name);
        let (_, bytes) =
            found.unwrap_or_else(|| panic!("a new call: does {name} change something?"));
        for user in [Some("olga"), Some("vera"), None] {
            let before = lines(&path).len();
            call(&guarded, user, name, bytes.clone()).await;
            let noted = lines(&path);
            let [line] = &noted[before..] else { panic!("{name} by {user:?}: {noted:?}") };
            assert_eq!(line["action"], name.as_str());
            assert_eq!(line["user"].as_str(), user, "{line}");
            assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
            match user {
                Some("olga") => assert_ne!(line["reason"], "FORBIDDEN", "{line}"),
                Some(_) => assert_eq!(line["reason"], "FORBIDDEN", "{line}"),
                None => assert_eq!(line["reason"], "UNAUTHENTICATED", "{line}"),
            }
        }
    }
    // What only looks is not noted: an audit without a repair, and the rest.
    let before = lines(&path).len();
    let looks = requests.iter().filter(|(call, _)| LOOKS.contains(call));
    for (name, bytes) in looks {
        call(&guarded, Some("vera"), name, bytes.clone()).await;
    }
    let audit = AuditRequest { job: job.clone(), repair: false }.encode_to_vec();
    call(&guarded, Some("vera"), "Audit", audit).await;
    let noted = lines(&path);
    assert_eq!(noted.get(before), None, "a look was noted");
    let of_job: BTreeSet<&str> = noted
        .iter()
        .filter(|line| line["job"] == job.as_str())
        .filter_map(|line| line["action"].as_str())
        .collect();
    assert!(of_job.contains("Cancel") && of_job.contains("SetPriority"), "{of_job:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    for user in ["ada", "olga", "vera"] {
        assert!(!text.contains(guarded.secret(user)), "a secret was noted");
    }
}

#[tokio::test]
async fn what_the_page_does_is_noted_with_the_browsers_address() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let farm = TestFarm::with(&["--audit-log", &path.display().to_string()]).await;
    let job = farm.submit(SWEEP).await;
    let post = format!("POST /jobs/{}/pause", job.id);
    let (status, _) = crate::web::ask(&farm, &post).await;
    assert_eq!(status, 303);
    let noted = lines(&path);
    assert_eq!((&noted[1]["action"], &noted[1]["outcome"]), (&"Pause".into(), &"done".into()));
    assert_eq!(noted[1]["job"], job.id.as_str());
    assert!(noted[1]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{:?}", noted[1]);
    assert!(noted[1].get("user").is_none(), "the farm has no tokens");
}

#[tokio::test]
async fn who_is_not_let_in_is_noted_and_a_flood_in_one_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let guarded = Guarded::with("", &["--audit-log", &path.display().to_string()]).await;
    let last = || lines(&path).pop().unwrap_or_default();
    let known = ["user", "role", "token", "action", "reason"];
    let told = |line: &Value| known.map(|field| line[field].as_str().unwrap_or("").to_owned());
    let look = async |secret: &str| {
        let request = with_token(StatusRequest::default(), secret);
        guarded.farm.client.clone().status(request).await.unwrap_err();
    };
    // Nobody tries anything without a token.
    guarded.farm.client.clone().status(StatusRequest::default()).await.unwrap_err();
    assert_eq!(last(), Value::default());
    look("hunter2").await;
    assert_eq!(told(&last()), ["", "", "", "LogIn", "UNAUTHENTICATED"]);
    assert!(last()["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", last());
    // Revoked and expired ones are known by what they were.
    let text = std::fs::read_to_string(&guarded.file).unwrap();
    let tokens = text.split("[[token]]").filter(|one| !one.trim().is_empty());
    let tokens = tokens.filter(|one| !one.contains("\"vera\"")).map(|one| {
        let over = one.contains("\"eve\"").then_some("expires = \"2020-01-01T00:00:00Z\"");
        format!("[[token]]{}\n{}\n", one.trim_end(), over.unwrap_or_default())
    });
    let id = |user: &str| {
        let one = text.split("[[token]]").find(|one| one.contains(&format!("\"{user}\""))).unwrap();
        one.split('"').nth(1).unwrap()[..8].to_owned()
    };
    std::fs::write(&guarded.file, tokens.collect::<String>()).unwrap();
    look(guarded.secret("vera")).await;
    assert_eq!(told(&last()), ["", "", &id("vera"), "LogIn", "UNAUTHENTICATED"]);
    look(guarded.secret("eve")).await;
    assert_eq!(told(&last()), ["eve", "submitter", &id("eve"), "LogIn", "UNAUTHENTICATED"]);
    // A role that does not reach so far, though nothing would have changed.
    let dry = SubmitRequest { dry_run: true, ..request(SWEEP) };
    guarded.farm.client.clone().submit(guarded.by("node7", dry)).await.unwrap_err();
    assert_eq!(told(&last()), ["node7", "worker", &id("node7"), "Submit", "FORBIDDEN"]);
    // On the page.
    let before = lines(&path).len();
    let guess = format!("POST /login\n\ntoken=vqf_{}", "0".repeat(64));
    let (status, _) = crate::web::ask(&guarded.farm, &guess).await;
    assert_eq!(status, 401);
    let id_of_guess = told(&last())[2].clone();
    assert_eq!((lines(&path).len(), id_of_guess.len()), (before + 1, 8));

    // A flood, and other calls in between.
    for _ in 0..500 {
        look("hunter2").await;
    }
    let pause = format!("{}", JobId::generate());
    for _ in 0..50 {
        let request = with_token(JobRequest { job: pause.clone() }, "hunter2");
        guarded.farm.client.clone().pause(request).await.unwrap_err();
    }
    // A minute may end meanwhile.
    let noted = lines(&path);
    assert!(noted.len() < before + 9, "{noted:?}");
    assert_eq!(told(&last())[3], "Pause");
    let secrets = ["vera", "eve", "node7"].map(|user| guarded.secret(user).to_owned());
    // What was not told is told when the coordinator stops, if not before.
    let Guarded { farm, .. } = guarded;
    farm.stop().await;
    let noted = lines(&path);
    let times = |action: &str| {
        let of = noted.iter().filter(|line| line["action"] == action);
        of.map(|line| line["times"].as_u64().unwrap_or(1)).sum::<u64>()
    };
    assert_eq!((times("LogIn"), times("Pause")), (504, 50));
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in secrets.iter().map(String::as_str).chain(["hunter2"]) {
        assert!(!text.contains(secret), "a secret was noted");
    }
}
