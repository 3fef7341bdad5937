//! `vqfarm top` on a terminal, as a person sees and steers it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use vqfarm_testing::terminal::{KITTY, Program, Terminal};

use crate::support::TestFarm;

fn program() -> PathBuf {
    assert_cmd::cargo::cargo_bin("vqfarm")
}

/// `top` in a shell, which writes a line before and one after.
fn in_a_shell(farm: &TestFarm, flags: &str, columns: u16, lines: u16) -> Terminal {
    let script = format!(
        "echo before; \"{}\" top {flags}; echo \"after $?\"; read line",
        program().display()
    );
    let addr = format!("http://{}", farm.addr);
    let env = [("VQFARM_ADDR", addr.as_str()), ("VQFARM_TOKEN", "")];
    let program = Program { path: "/bin/sh".as_ref(), args: &["-c", &script], env: &env, says: "" };
    Terminal::start(&program, columns, lines)
}

#[test]
fn a_job_is_seen_and_paused_and_the_terminal_given_back() {
    let farm = TestFarm::start();
    let id = farm.submit();
    farm.work(1);
    let frames = || -> BTreeSet<_> {
        let files = fs::read_dir(farm.stored(&id).join("frames")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let first = frames();
    farm.work(1);
    let newest = format!("frames/{}", frames().difference(&first).next().unwrap());
    let mut terminal = in_a_shell(&farm, "", 80, 24);
    let modes = terminal.modes();
    let shown = terminal.until("the job", |screen| screen.contents().contains("boats"));
    assert!(shown.contains(&id[24..]) && shown.contains("running"), "{shown}");
    assert_ne!(terminal.modes(), modes, "keys come one by one");
    terminal.until("the newest frame", |screen| screen.contents().contains(&newest));

    terminal.press("p");
    terminal.until_text("is paused");
    let job: serde_json::Value = serde_json::from_str(&farm.ok(&["job", &id, "--json"])).unwrap();
    assert_eq!(job["state"], "paused");
    terminal.until("it says so", |screen| screen.contents().contains("paused     40%"));
    terminal.press("p");
    terminal.until_text("goes on");
    terminal.press("+");
    terminal.until_text("has priority 1");

    // Asked first, and the answer is no.
    terminal.press("c");
    terminal.until_text("Cancel boats");
    terminal.press("n");
    terminal.until("no question", |screen| !screen.contents().contains("Cancel boats"));
    terminal.resize(120, 40);
    terminal.until("all of the screen", |screen| {
        screen.size().1.get() == 120 && screen.contents().lines().count() == 40
    });
    terminal.press("q");
    let left = terminal.until("the shell", |screen| {
        !screen.alternate_screen() && screen.contents().contains("after 0")
    });
    assert_eq!(left.trim(), "before\nafter 0");
    terminal.until("the cursor", |screen| !screen.hide_cursor());
    assert_eq!(terminal.modes(), modes);
    terminal.press("\n");
    assert!(terminal.wait().success());
    let job: serde_json::Value = serde_json::from_str(&farm.ok(&["job", &id, "--json"])).unwrap();
    assert_eq!((&job["state"], &job["priority"]), (&"running".into(), &1.into()));
}

#[test]
fn a_worker_is_drained_and_its_logs_are_shown() {
    let farm = TestFarm::start();
    let id = farm.submit();
    farm.work(1);
    let folder = farm.stored(&id).join("logs/render");
    std::fs::create_dir_all(&folder).unwrap();
    let line = "2026-01-02T03:04:05.678Z info  painted by w-1\n";
    std::fs::write(folder.join("000000.1.log"), line).unwrap();
    let terminal = in_a_shell(&farm, "--no-images", 80, 24);
    terminal.until_text("03:04:05.678Z info painted by w-1");
    terminal.press("\t");
    terminal.until_text("logs of w-1");
    terminal.press("d");
    terminal.until_text("w-1 finishes what it has and leaves");
    terminal.until("the list says so", |screen| {
        let text = screen.contents();
        text.lines().any(|line| line.starts_with("│w-1") && line.contains("draining"))
    });
    terminal.press("d");
    terminal.until_text("w-1 takes work again");
    terminal.until_text("03:04:05.678Z info painted by w-1");
}

#[test]
fn it_waits_for_the_next_coordinator() {
    let farm = TestFarm::start();
    farm.submit();
    let terminal = in_a_shell(&farm, "--no-images", 100, 30);
    terminal.until_text("boats");
    let addr = farm.addr.to_string();
    let dir = farm.stop();
    let shown = terminal.until_text("RECONNECTING");
    assert!(shown.contains("boats"), "what was known stays: {shown}");
    terminal.press("p");
    terminal.until("the order fails", |screen| {
        screen.contents().lines().last().is_some_and(|line| line.contains(&addr))
    });
    let farm = TestFarm::over(dir, &addr, &[]);
    terminal.until("it is back", |screen| screen.contents().starts_with("WAITING"));
    terminal.press("p");
    terminal.until_text("is paused");
    drop(farm);
}

#[test]
fn a_terminal_that_shows_pictures_gets_them_as_they_are() {
    let farm = TestFarm::start();
    farm.submit();
    farm.work(1);
    let addr = format!("http://{}", farm.addr);
    let (path, env) = (program(), [("VQFARM_ADDR", addr.as_str()), ("VQFARM_TOKEN", "")]);
    let program = Program { path: &path, args: &["top"], env: &env, says: KITTY };
    let terminal = Terminal::start(&program, 80, 24);
    // The head of a picture in pixels, one that takes its place among letters.
    terminal.until_written(b"\x1b_Gq=2,");
    let shown = terminal.until_text("frames/000000.png");
    assert!(!shown.contains('▄'), "{shown}");
}

#[test]
fn a_signal_ends_it_as_well() {
    let farm = TestFarm::start();
    let addr = format!("http://{}", farm.addr);
    let (path, env) = (program(), [("VQFARM_ADDR", addr.as_str()), ("VQFARM_TOKEN", "")]);
    let program = Program { path: &path, args: &["top", "--no-images"], env: &env, says: "" };
    let mut terminal = Terminal::start(&program, 80, 24);
    terminal.until_text("none yet; submit one");
    let sent = Command::new("kill").arg(terminal.pid().to_string()).status().unwrap();
    assert!(sent.success());
    terminal.until("the screen is given back", |screen| {
        !screen.alternate_screen() && !screen.hide_cursor()
    });
    assert!(terminal.wait().success());
}

#[test]
fn it_ends_with_its_terminal() {
    let farm = TestFarm::start();
    let terminal = in_a_shell(&farm, "--no-images", 80, 24);
    terminal.until_text("none yet; submit one");
    let shell = terminal.pid();
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let top = children.trim();
    // The terminal is the shell's and goes with it, as when a connection is lost.
    let killed = Command::new("kill").args(["-KILL", &shell.to_string()]).status().unwrap();
    assert!(killed.success());
    let deadline = Instant::now() + Duration::from_secs(60);
    // Nobody may have asked yet how it ended.
    let runs = || {
        fs::read_to_string(format!("/proc/{top}/stat"))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z")))
    };
    while runs() {
        assert!(Instant::now() < deadline, "process {top} goes on without a terminal");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn without_a_terminal_or_a_farm_it_says_what_to_do() {
    let farm = TestFarm::start();
    let ran = farm.run(&["top"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("top draws on a terminal") && ran.stderr.contains("vqfarm status"));
    let ran = farm.run(&["top", "--addr", "http://127.0.0.1:1"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("is it running?"), "{}", ran.stderr);
}
