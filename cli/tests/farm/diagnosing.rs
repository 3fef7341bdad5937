//! Mistakes in job files, as they are shown to people and told to programs.

use std::fs;

use serde_json::Value;

use crate::support::{Ran, TestFarm};

const TOML: &str = "\
version = 1
nmae = \"boats\"
[render]
size = [8, 64]
step_size = \"big\"
[sweep]
prompt = \"ä {colr} boat 月 {style}\"
combine = \"colour * sed\"
[sweep.axes]
colour = [\"red\"]
seed = \"one to four\"
size = [[64, 64], [1, 1]]
style = { file = \"gone.txt\" }
\titerations = 3
";

const YAML: &str = "\
version: 1
render:
  prompt: ä | :2
  cutouts: { method: lastest, count: 0 }
animation:
  mode: feedback
  frames: 12
  prompts:
    0: a:(2 * tt)
    40: too late
  motion:
    zoom: 1 + sine(t)
    angel: 3
";

const JSON: &str = "{
  \"version\": 1,
  \"render\": { \"prompt\": \"a \\\"sun\\\"\", \"perceptors\": [], \"sise\": [1, 2] },
  \"output\": { \"contact_sheet\": { \"rows\": \"sed\", \"cell\": 9 } },
  \"sweep\": { \"axes\": { \"seed\": [1, -1, \"x\"] } }
}
";

#[test]
fn all_mistakes_are_shown_at_once_in_every_format() {
    let farm = TestFarm::start();
    for (name, text) in [("bad.toml", TOML), ("bad.yaml", YAML), ("bad.json", JSON)] {
        fs::write(farm.here.path().join(name), text).unwrap();
        let ran = farm.run(&["expand", name]);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
        insta::assert_snapshot!(format!("mistakes_{}", &name[4..]), ran.stderr);
    }
}

#[test]
fn programs_get_an_object_for_each() {
    let farm = TestFarm::start();
    fs::write(farm.here.path().join("bad.toml"), TOML).unwrap();
    let objects = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ran = farm.run(&["submit", "bad.toml", "--json"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    let told = objects(&ran.stderr);
    assert_eq!(told.len(), 8, "{}", ran.stderr);
    assert_eq!(
        told[0],
        serde_json::json!({
            "type": "error", "kind": "usage", "file": "bad.toml", "line": 2, "column": 1,
            "field": "nmae", "message": "no such field", "help": "did you mean \"name\"?",
        })
    );
    // Among the events of a render, where the end is told.
    let rendered = farm.run(&["render", "bad.toml", "--json"]);
    let events = objects(&rendered.stdout);
    assert_eq!((rendered.status, events.len()), (2, 8));
    assert_eq!((&events[0]["event"], &events[0]["line"]), (&"error".into(), &2.into()));
    // A flag has no line; what is no mistake of a file has no file.
    let flag =
        objects(&farm.run(&["expand", "boats.toml", "--set", "render.seed=x", "--json"]).stderr);
    assert_eq!(flag[0]["file"], "--set render.seed=x");
    assert_eq!(flag[0]["line"], Value::Null);
    let away = objects(&farm.run(&["jobs", "--json", "--addr", "http://127.0.0.1:1"]).stderr);
    assert_eq!((&away[0]["kind"], away[0].get("file")), (&"failed".into(), None));
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let farm = TestFarm::start();
    fs::write(farm.here.path().join("bad.toml"), TOML).unwrap();
    let coloured = |args: &[&str], no_color: bool| {
        let mut command = farm.command(args);
        if !no_color {
            command.env_remove("NO_COLOR");
        }
        Ran::of(&mut command).stderr.contains('\u{1b}')
    };
    let expand = ["expand", "bad.toml"];
    assert!(!coloured(&expand, false), "a pipe");
    assert!(coloured(&["expand", "bad.toml", "--color", "always"], true));
    assert!(!coloured(&["--color", "never", "expand", "bad.toml"], false));
}
