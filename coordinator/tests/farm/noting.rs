//! The log of changes.

use std::collections::BTreeSet;
use std::path::Path;

use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use vqfarm_proto::v1::{AuditRequest, FILE_DESCRIPTOR_SET};

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
