//! What shells offer, with a farm that has jobs and one that does not answer.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use vqfarm_testing::terminal::{Program, Terminal};

use crate::support::{Ran, TestFarm};

fn program() -> PathBuf {
    assert_cmd::cargo::cargo_bin("vqfarm")
}

/// What zsh is told of the last of these words, but for flags: names with their descriptions.
fn offered(farm: &TestFarm, words: &[&str]) -> Vec<String> {
    let mut command = farm.command(&[&["--", "vqfarm"], words].concat());
    command.env("VQFARM_COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let ran = Ran::of(&mut command);
    names(&ran)
}

fn names(ran: &Ran) -> Vec<String> {
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    ran.stdout.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect()
}

#[test]
fn the_farm_says_what_it_has() {
    let farm = TestFarm::start();
    let done = farm.submit();
    while farm.work(8) > 0 {}
    let live = farm.submit();
    let short = |id: &str| id[24..].to_owned();
    assert_eq!(
        offered(&farm, &["job", ""]),
        [
            "last:the newest job".to_owned(),
            format!("{}:boats, waiting, ada", short(&live)),
            format!("{}:boats, done, ada", short(&done)),
        ]
    );
    assert_eq!(
        offered(&farm, &["cancel", &short(&live)[..3]]),
        [format!("{}:boats, waiting, ada", short(&live))]
    );
    assert!(offered(&farm, &["cancel", &short(&done)]).is_empty(), "it is over");
    // The beginning of a whole id.
    let whole = offered(&farm, &["fetch", &live[..20]]);
    assert!(whole.iter().all(|line| line.starts_with(&live[..20])), "{whole:?}");
    assert_eq!(offered(&farm, &["drain", "w"]), ["w-1:idle, 0 tasks"]);
    assert_eq!(
        offered(&farm, &["retry", "last", "--tasks", "1", "--layer", ""]),
        ["render:4 tasks", "stitch:1 task"]
    );
    let models = offered(&farm, &["models", "show", ""]);
    assert_eq!(models, ["demo-clip:perceptor", "demo-f8:generator", "demo-judge:perceptor"]);
    assert_eq!(
        offered(&farm, &["rank", "x", "last", "--perceptor", ""]),
        ["demo-clip", "demo-judge"]
    );
    let fields = offered(&farm, &["render", "--set", "render.it"]);
    assert_eq!(fields, ["render.iterations="]);
    assert_eq!(
        offered(&farm, &["submit", "--set", "render.generator=d"]),
        ["render.generator=demo-f8"]
    );
    assert_eq!(
        offered(&farm, &["stitch", "last", "--set", "output.video.cr"]),
        ["output.video.crf="]
    );
    assert_eq!(offered(&farm, &["plan", "--axis", "cutouts.co"]), ["cutouts.count="]);
    fs::write(farm.here.path().join("notes.txt"), "").unwrap();
    assert_eq!(offered(&farm, &["expand", ""]), ["boats.toml"]);
    let topics = offered(&farm, &["help", "ax"]);
    assert!(topics[0].starts_with("axes:"), "{topics:?}");
}

#[test]
fn the_flags_of_the_line_say_which_farm() {
    let (farm, other) = (TestFarm::start(), TestFarm::start());
    other.submit();
    assert!(offered(&farm, &["job", ""]).is_empty());
    let addr = format!("http://{}", other.addr);
    assert_eq!(offered(&farm, &["job", "--addr", &addr, ""]).len(), 2);
    let file = farm.here.path().join("config.toml");
    fs::write(&file, format!("[farm.other]\ncoordinator = \"{addr}\"\n")).unwrap();
    let mut command = farm.command(&["--", "vqfarm", "jobs", "-P", ""]);
    command.env("VQFARM_COMPLETE", "fish").env("VQFARM_PROFILES", &file);
    assert_eq!(Ran::of(&mut command).stdout, format!("other\t{addr}\n"));
}

#[test]
fn a_farm_that_is_silent_or_away_is_waited_for_a_second_and_no_more() {
    let farm = TestFarm::start();
    // It takes calls and answers none.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for addr in [silent.as_str(), "http://127.0.0.1:1", "not an address"] {
        let began = Instant::now();
        assert!(offered(&farm, &["job", "--addr", addr, ""]).is_empty());
        assert!(began.elapsed() < Duration::from_secs(10), "{addr}");
    }
    // Nor for a program that would ask for a password.
    let file = farm.here.path().join("config.toml");
    let text = "[farm.slow]\ncoordinator = \"http://x\"\ntoken_command = [\"sleep\", \"60\"]\n";
    fs::write(&file, text).unwrap();
    let began = Instant::now();
    let mut command = farm.command(&["--", "vqfarm", "job", "-P", "slow", ""]);
    command.env("VQFARM_COMPLETE", "zsh").env("_CLAP_COMPLETE_INDEX", "4");
    let ran = Ran::of(command.env("VQFARM_PROFILES", &file));
    assert!(names(&ran).is_empty());
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_tab_key_of_bash_finishes_words() {
    let farm = TestFarm::start();
    let id = farm.submit();
    let addr = format!("http://{}", farm.addr);
    let env = [("VQFARM_ADDR", addr.as_str()), ("PS1", "$ "), ("VQFARM_TOKEN", "")];
    let args = ["--norc", "--noprofile", "-i"];
    let bash = Program { path: "/bin/bash".as_ref(), args: &args, env: &env, says: "" };
    let terminal = Terminal::start(&bash, 100, 24);
    terminal.until_text("$ ");
    let program = program();
    let folder = program.parent().unwrap().display();
    terminal.press(&format!(
        "PATH=\"{folder}:$PATH\"; source <(vqfarm completions bash); echo rea''dy\n"
    ));
    terminal.until_text("ready");
    terminal.press(&format!("vqfarm job {}\t", &id[24..28]));
    terminal.until_text(&format!("vqfarm job {} ", &id[24..]));
    terminal.press("--js\t\n");
    terminal.until("the job", |screen| screen.contents().replace('\n', "").contains(&id));
    terminal.press("vqfarm recon\t");
    terminal.until_text("vqfarm reconcile ");
}

/// Those that are installed read their scripts without a complaint.
#[test]
fn every_shell_takes_its_script() {
    let folder = tempfile::TempDir::new().unwrap();
    let other =
        Command::new(program()).args(["completions", "fish", "--program", "/opt/x"]).output();
    assert!(String::from_utf8(other.unwrap().stdout).unwrap().contains("/opt/x --"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = Command::new(program()).args(["completions", shell]).output().unwrap();
        assert!(printed.status.success());
        let script = String::from_utf8(printed.stdout).unwrap();
        assert!(script.contains("VQFARM_COMPLETE") && script.contains("vqfarm"), "{script}");
        if !["bash", "zsh", "fish"].contains(&shell) {
            continue;
        }
        let file = folder.path().join(shell);
        fs::write(&file, script).unwrap();
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(ran) => {
                assert!(ran.status.success(), "{shell}: {}", String::from_utf8_lossy(&ran.stderr))
            }
            Err(error) => eprintln!("SKIPPED: the script of {shell} is not tried: {error}"),
        }
    }
}
