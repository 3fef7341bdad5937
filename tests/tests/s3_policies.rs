//! The policies for S3 in `deploy/` allow all that the programs ask for, and nothing that none of them
//! does.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;
use vqfarm_testing::s3::BUCKET;
use vqfarm_tests::farm::{Farm, PREFIX, Setup, film, sweep, until};

/// What a request takes, in AWS's words.
#[derive(Debug)]
struct Asked {
    action: &'static str,
    /// Below the bucket; empty of the bucket itself.
    key: String,
    /// What a listing is limited to.
    prefix: Option<String>,
}

impl Asked {
    /// Of the first line of a request.
    fn of(line: &str) -> Self {
        let mut words = line.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { panic!("{line}") };
        if method == "KEY" {
            return Self { action: "s3:DeleteObject", key: target.into(), prefix: None };
        }
        let url = Url::parse(&format!("http://s3{target}")).expect("a target");
        let has = |name: &str| url.query_pairs().any(|(key, _)| key == name);
        let prefix = url.query_pairs().find(|(key, _)| key == "prefix");
        let path = url.path().strip_prefix(&format!("/{BUCKET}")).expect("the bucket");
        let key = path.trim_start_matches('/').to_owned();
        let action = match method {
            "GET" if has("list-type") => "s3:ListBucket",
            "GET" | "HEAD" => "s3:GetObject",
            "PUT" => "s3:PutObject",
            "POST" if has("uploads") || has("uploadId") => "s3:PutObject",
            "DELETE" if has("uploadId") => "s3:AbortMultipartUpload",
            "DELETE" => "s3:DeleteObject",
            _ => panic!("what does this take: {line}"),
        };
        Self { action, key, prefix: prefix.map(|(_, prefix)| prefix.into_owned()) }
    }
}

/// A policy for the farm of the test.
struct Policy(Vec<Value>);

impl Policy {
    fn new(text: &str) -> Self {
        let text = text.replace("BUCKET", BUCKET).replace("PREFIX", PREFIX);
        let policy: Value = serde_json::from_str(&text).expect("JSON");
        Self(policy["Statement"].as_array().expect("statements").clone())
    }

    /// As AWS judges: somebody allows it, and nobody denies it.
    fn allows(&self, asked: &Asked) -> bool {
        let matching = |effect: &str| {
            self.0.iter().any(|one| one["Effect"] == effect && Self::is_about(one, asked))
        };
        matching("Allow") && !matching("Deny")
    }

    fn is_about(statement: &Value, asked: &Asked) -> bool {
        let bucket = format!("arn:aws:s3:::{BUCKET}");
        let resource = match asked.key.as_str() {
            "" => bucket,
            key => format!("{bucket}/{key}"),
        };
        let within = |condition: &Value| match condition {
            Value::Null => true,
            condition => {
                let patterns = &condition["StringLike"]["s3:prefix"];
                assert!(patterns.is_array(), "a condition that this test does not know");
                asked.prefix.as_deref().is_some_and(|prefix| any(patterns, prefix))
            }
        };
        any(&statement["Action"], asked.action)
            && any(&statement["Resource"], &resource)
            && within(&statement["Condition"])
    }

    /// The actions that are allowed.
    fn actions(&self) -> BTreeSet<String> {
        let allowing = self.0.iter().filter(|one| one["Effect"] == "Allow");
        allowing.flat_map(|one| words(&one["Action"])).map(str::to_owned).collect()
    }
}

/// A text or a list of texts.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn any(patterns: &Value, text: &str) -> bool {
    words(patterns).iter().any(|pattern| fits(pattern, text))
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text
            .strip_prefix(head)
            .is_some_and(|text| (0..=text.len()).any(|from| fits(rest, &text[from..]))),
    }
}

/// Nothing that was asked is forbidden.
fn allowed(policy: &Policy, lines: &[String]) -> BTreeSet<String> {
    let mut actions = BTreeSet::new();
    // A request that deletes several objects takes what deleting each of them takes.
    let several = |line: &&String| line.starts_with("POST") && line.contains("?delete ");
    for line in lines.iter().filter(|line| !several(line)) {
        let asked = Asked::of(line);
        assert!(policy.allows(&asked), "not allowed: {line}");
        // AWS says that an object is not there to those only who may list it.
        let listing = Asked { action: "s3:ListBucket", key: String::new(), prefix: None };
        if asked.action == "s3:GetObject" {
            let listing = Asked { prefix: Some(asked.key.clone()), ..listing };
            assert!(policy.allows(&listing), "absence would not be told: {line}");
        }
        actions.insert(asked.action.to_owned());
    }
    actions
}

#[test]
fn programs_ask_for_what_their_policies_allow_and_use_all_of_it() {
    let farm = Farm::new(Setup::with_s3());
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(3, 5), 3);
    farm.prove(&job);
    let id = job.id.to_string();
    let moving = farm.submit(&film(2), 0);
    until("the film is there", || (farm.state(moving.id) == "done").then_some(()));
    let stitched = farm.json(&["stitch", &id, "--json"])["job"]["id"].clone();
    let stitched = stitched.as_str().expect("a job");
    assert_eq!(farm.vqfarm(&["wait", stitched]).status, 0);
    for arguments in [
        &["fetch", &id, "fetched"][..],
        &["cancel", &farm.submit(&sweep(2, 400), 2).id.to_string()],
        &["reconcile"],
        &["audit", "--repair"],
        &["gc", "--older-than", "0s", "--delete", "--yes"],
        &["doctor"],
    ] {
        let ran = farm.vqfarm(arguments);
        assert!(ran.status == 0 || arguments[0] == "doctor", "{arguments:?}: {}", ran.stderr);
    }
    let coordinator = Policy::new(include_str!("../../deploy/s3-policy-coordinator.json"));
    let worker = Policy::new(include_str!("../../deploy/s3-policy-worker.json"));
    let asked = [farm.coordinator.wires.s3().asked(), one.wires.s3().asked()];
    assert!(asked.iter().all(|lines| lines.len() > 10), "the proxies see what is asked");
    let by_coordinator = allowed(&coordinator, &asked[0]);
    let by_worker = allowed(&worker, &asked[1]);
    // Uploads that break off are rare: these are asked for when one does.
    let rare = || "s3:AbortMultipartUpload".to_owned();
    assert_eq!(&by_coordinator | &BTreeSet::from([rare()]), coordinator.actions());
    assert_eq!(&by_worker | &BTreeSet::from([rare()]), worker.actions());

    // What the coordinator decides a worker's account cannot.
    for key in [
        "models/ab.safetensors",
        "models/names/demo-clip.json",
        "jobs/x/job.json",
        "jobs/x/control.json",
        "jobs/x/assets/ab.png",
        "jobs/x/notified/000001.json",
    ] {
        let key = format!("{PREFIX}/{key}");
        for action in ["s3:PutObject", "s3:DeleteObject"] {
            let asked = Asked { action, key: key.clone(), prefix: None };
            assert!(coordinator.allows(&asked) && !worker.allows(&asked), "{asked:?}");
        }
    }
    // Nobody reaches what lies beside the farm.
    for policy in [&coordinator, &worker] {
        for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"] {
            for key in ["other/frame.png", "studios/frame.png", "frame.png"] {
                let asked = Asked { action, key: key.into(), prefix: None };
                assert!(!policy.allows(&asked), "{asked:?}");
            }
        }
        for prefix in [None, Some(""), Some("other/"), Some("studios/")] {
            let prefix = prefix.map(str::to_owned);
            let asked = Asked { action: "s3:ListBucket", key: String::new(), prefix };
            assert!(!policy.allows(&asked), "{asked:?}");
        }
    }
}
