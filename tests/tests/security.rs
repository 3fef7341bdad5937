//! A farm whose programs have no more rights than they need, and what they say of its secrets.

use std::fs;

use tempfile::TempDir;
use vqfarm_testing::receiver::Receiver;
use vqfarm_testing::redis::RedisServer;
use vqfarm_tests::collector::Collector;
use vqfarm_tests::farm::{Farm, RedisKind, Setup, sweep, token, until};
use vqfarm_tests::{Ran, finish};

const LATER: &str = "2999-01-01T00:00:00Z";
const PASSWORD: &str = "sesame-of-redis";
const COLLECTORS: &str = "sesame-of-the-collector";

/// A Redis with the account of `deploy/redis.acl`, and the way to it by that account.
fn guarded_redis() -> (RedisServer, RedisKind) {
    let server = RedisServer::start();
    let line = include_str!("../../deploy/redis.acl").trim();
    let password = format!(">{PASSWORD}");
    let words = line.split(' ').skip(1).map(|word| match word.strip_prefix('#') {
        Some(_) => password.as_str(),
        None => word,
    });
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(words).collect();
    assert_eq!(server.ask(&words), "OK");
    let way = RedisKind::At(format!("redis://vqfarm:{PASSWORD}@127.0.0.1:{}", server.port()));
    (server, way)
}

fn fine(ran: &Ran) {
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

#[test]
fn a_farm_does_everything_with_its_account_and_the_account_nothing_else() {
    let (mut server, redis) = guarded_redis();
    let coordinator = ["--farm", "main"].map(str::to_owned).into();
    let farm = Farm::new(Setup { redis, coordinator, ..Setup::default() });
    let one = farm.worker("one", &["--farm", "main"]);
    let job = farm.submit(&sweep(3, 5), 3);
    farm.prove(&job);
    let ids = [job.id.to_string(), farm.submit(&sweep(2, 400), 2).id.to_string()];
    for arguments in [
        &["pause", &ids[1]][..],
        &["priority", &ids[1], "3"],
        &["resume", &ids[1]],
        &["why", &ids[1]],
        &["tasks", &ids[1]],
        &["cancel", &ids[1]],
        &["retry", &ids[0], "--tasks", "1"],
        &["wait", &ids[0]],
        &["drain", "one"],
        &["undrain", "one"],
        &["reconcile"],
        &["status"],
        &["jobs"],
    ] {
        fine(&farm.vqfarm(arguments));
    }
    farm.audit();
    drop(one);
    // Nothing that any of this took was denied.
    assert_eq!(server.ask(&["ACL", "LOG"]).trim(), "", "the farm was denied something");

    server.log_in("vqfarm", PASSWORD);
    for words in [
        &["FLUSHALL"][..],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["GET", "{vqfarm:other}:epoch"],
        &["SET", "x", "1"],
        &["SET", "{vqfarm:other}:x", "1"],
        &["UNLINK", "{vqfarm:other}:epoch"],
        &["EVAL", "return redis.call('set', KEYS[1], 1)", "1", "{vqfarm:other}:x"],
        &["EVAL", "return redis.call('flushall')", "0"],
        &["PUBLISH", "{vqfarm:other}:events", "x"],
        &["SUBSCRIBE", "elsewhere"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["ACL", "LIST"],
        &["ACL", "SETUSER", "vqfarm", "allkeys"],
        &["SCRIPT", "FLUSH"],
        &["MONITOR"],
        &["REPLICAOF", "127.0.0.1", "1"],
        &["SHUTDOWN", "NOSAVE"],
    ] {
        let answer = server.command(words).expect("the server is there");
        // A script is told in words of its own.
        let denied = answer.starts_with("NOPERM") || answer.contains("can't run this command");
        assert!(denied, "{words:?}: {answer}");
    }
    farm.audit();
}

#[test]
fn no_secret_is_in_any_log() {
    let (dir, receiver) = (TempDir::new().expect("a folder"), Receiver::start());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let whole = |name: &str, text: &str| fs::write(path(name), text).expect("written");
    let (_server, redis) = guarded_redis();
    let (operator, lines) = token("olga", "operator", LATER);
    whole("tokens.toml", &lines);
    let webhook = "whsec_c2VzYW1lLW9wZW4tc2VzYW1lLW9wZW4tc2VzYW1l";
    whole("secret", webhook);
    let (url, secret) = (receiver.url(), path("secret"));
    whole("notify.toml", &format!("[[webhook]]\nurl = \"{url}\"\nsecret_file = \"{secret}\"\n"));
    let coordinator = [
        "--farm",
        "main",
        "--tokens",
        &path("tokens.toml"),
        "--notify",
        &path("notify.toml"),
        "--audit-log",
        &path("audit.log"),
        "--log-level",
        "trace",
    ];
    let coordinator = coordinator.map(str::to_owned).into();
    let collector = Collector::start();
    let mut variables = collector.over_http();
    let header = format!("authorization=Bearer {COLLECTORS}");
    variables.push(("OTEL_EXPORTER_OTLP_HEADERS", header));
    let setup = Setup { redis, coordinator, s3: true, variables, ..Setup::default() };
    let farm = Farm::with_token(setup, &operator);
    let one = farm.worker("one", &["--farm", "main", "--log-level", "trace"]);
    let job = farm.submit(&sweep(2, 5), 2);
    farm.prove(&job);
    until("somebody is told", || (!receiver.posts().is_empty()).then_some(()));
    // Refusals, too: they tell of what was asked.
    let guessed = finish(farm.command(&["jobs"]).env("VQFARM_TOKEN", "vqf_guessed-by-eve"));
    assert_eq!(guessed.status, 1);

    let (_, s3_secret) = farm.stored.server().expect("a farm with S3").keys();
    let audit = fs::read_to_string(path("audit.log")).expect("the audit log");
    until("all programs have told of the job", || {
        let spans = collector.spans();
        ["task", "plan"].iter().all(|name| spans.iter().any(|s| s.name == *name)).then_some(())
    });
    let spans = collector.words();
    let logs = [farm.coordinator.process.log(), one.process.log(), audit, guessed.stderr, spans];
    assert!(logs[0].contains("TRACE") && logs[1].contains("TRACE"), "all is logged");
    let secrets = [&operator, PASSWORD, webhook, &webhook[6..], s3_secret, "guessed-by-eve"];
    for secret in secrets.into_iter().chain([COLLECTORS]) {
        for log in &logs {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "a secret was logged");
        }
    }
}
