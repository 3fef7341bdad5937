//! Help of commands and topics, manual pages, and the question before a large job.

use std::fs;
use std::process::Command;

use vqfarm_testing::terminal::{Program, Terminal};

use crate::support::{Ran, TestFarm};

fn vqfarm(args: &[&str]) -> Ran {
    let mut command = assert_cmd::Command::cargo_bin("vqfarm").unwrap();
    command.args(args).env("COLUMNS", "100").env_remove("VQFARM_ADDR");
    Ran::of(&mut command)
}

#[test]
fn help_of_a_command_is_its_help() {
    for command in [&["render"][..], &["models", "pull"], &["profiles", "add"]] {
        let helped = vqfarm(&[&["help"], command].concat());
        let asked = vqfarm(&[command, &["--help"]].concat());
        assert_eq!((helped.status, &helped.stdout), (0, &asked.stdout));
    }
    assert_eq!(vqfarm(&["help"]).stdout, vqfarm(&["--help"]).stdout);
    let typo = vqfarm(&["help", "axis"]);
    assert_eq!(typo.status, 2);
    assert!(typo.stderr.contains("did you mean \"axes\"?"), "{}", typo.stderr);
}

#[test]
fn topics_are_listed_and_read() {
    let listed = vqfarm(&["help", "topics"]);
    insta::assert_snapshot!("help_topics", listed.stdout);
    for line in listed.stdout.lines() {
        let read = vqfarm(&["help", line.split(' ').next().unwrap()]);
        assert_eq!((read.status, read.stderr.as_str()), (0, ""), "{line}");
        let longest = read.stdout.lines().filter(|line| !line.starts_with("    "));
        assert!(longest.map(|line| line.chars().count()).max().unwrap() <= 100, "{line}");
        assert!(!read.stdout.contains('\u{1b}') && !read.stdout.contains("##"), "{line}");
    }
    insta::assert_snapshot!("help_axes", vqfarm(&["help", "axes"]).stdout);
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::TempDir::new().unwrap();
    let folder = dir.path().join("man1").display().to_string();
    let ran = vqfarm(&["man", "--dir", &folder]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let pages: Vec<_> = fs::read_dir(&folder).unwrap().map(|page| page.unwrap().path()).collect();
    let names: Vec<_> =
        pages.iter().map(|page| page.file_name().unwrap().to_str().unwrap()).collect();
    for name in ["vqfarm.1", "vqfarm-render.1", "vqfarm-models-pull.1", "vqfarm-profiles-add.1"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let render = fs::read_to_string(dir.path().join("man1/vqfarm-render.1")).unwrap();
    assert_eq!(render, vqfarm(&["man", "render"]).stdout);
    for part in [
        ".TH vqfarm-render 1",
        ".SH NAME",
        ".SH SYNOPSIS",
        ".SH OPTIONS",
        "\\-\\-prompt",
        "EXAMPLES AND NOTES",
        "Exit status",
    ] {
        assert!(render.contains(part), "{part}: {render}");
    }
    if Command::new("groff").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no groff to read the manual pages");
        return;
    }
    for page in &pages {
        // Every warning that there is.
        let ran = Command::new("groff")
            .args(["-k", "-man", "-Tutf8", "-ww", "-z"])
            .arg(page)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success() && said.is_empty(), "{}: {said}", page.display());
    }
}

/// A large job on a terminal: asked about, and not submitted unless the answer is yes.
#[test]
fn a_large_job_is_asked_about_on_a_terminal() {
    let farm = TestFarm::start();
    let program = assert_cmd::cargo::cargo_bin("vqfarm");
    let addr = format!("http://{}", farm.addr);
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/models");
    let file = farm.here.path().join("boats.toml").display().to_string();
    let env = [("VQFARM_ADDR", addr.as_str()), ("VQFARM_BUNDLED_MODELS", models), ("USER", "ada")];
    for (answer, status, jobs) in [("n\r", 2, 0), ("\r", 2, 0), ("y\r", 0, 1)] {
        let args = ["submit", &file, "--large-cells", "3"];
        let submit = Program { path: &program, args: &args, env: &env, says: "" };
        let mut terminal = Terminal::start(&submit, 100, 24);
        terminal.until_text("a large job; go on? [y/N]");
        terminal.press(answer);
        assert_eq!(terminal.wait().exit_code(), status, "{answer:?}");
        assert_eq!(farm.ok(&["jobs", "--json"]).lines().count(), jobs, "{answer:?}");
    }
}
