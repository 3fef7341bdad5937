//! What a user can get wrong at the farm's door: the message names the field or the setting,
//! and nothing is stored, in storage or in the queue.

use std::fs;
use std::process::{Command, Stdio};

use vqfarm_tests::farm::{Farm, Setup, sweep};
use vqfarm_tests::{Ran, SWEEP, finish, program};

/// Nothing of a job is anywhere.
fn nothing_stored(farm: &Farm) {
    assert!(farm.stored.jobs().is_empty(), "nothing in storage");
    assert!(farm.rows(&["jobs", "--json"]).is_empty(), "nothing in the queue");
}

fn refused(ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.status, 2, "{ran:?}");
    for part in expected {
        assert!(ran.stderr.contains(part), "no {part:?} in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}

/// A farm that is given changed jobs.
struct Door(Farm);

impl Door {
    fn new() -> Self {
        let limits = ["--most-cells", "1000", "--most-message-mib", "2"];
        let coordinator = limits.iter().map(|&flag| flag.to_owned()).collect();
        Self(Farm::new(Setup { coordinator, ..Setup::default() }))
    }

    fn submits(&self, toml: &str, expected: &[&str]) {
        self.0.write("job.toml", toml);
        refused(&self.0.vqfarm(&["submit", "job.toml"]), expected);
    }

    fn refuses(&self, from: &str, to: &str, expected: &[&str]) {
        assert!(SWEEP.contains(from), "{from}");
        self.submits(&SWEEP.replacen(from, to, 1), expected);
    }
}

#[test]
fn mistakes_in_a_job_are_answered_with_their_field() {
    let door = Door::new();
    let nearest = ["job.toml:7:1", "itterations", "\"iterations\""];
    door.refuses("iterations = 8", "itterations = 8", &nearest);
    door.refuses("iterations = 8", "iterations = \"many\"", &["render.iterations"]);
    door.refuses("iterations = 8", "iterations = 0", &["render.iterations"]);
    door.refuses("size = [32, 32]", "size = [0, 32]", &["render.size[0]"]);
    door.refuses("size = [32, 32]", "size = [-32, 32]", &["render.size[0]"]);
    door.refuses("size = [32, 32]", "size = [999999, 32]", &["render.size[0]"]);
    door.refuses("version = 1", "version = 7", &["version"]);
    door.refuses("a {colour} {thing}", "", &["prompt"]);
    door.refuses("a {colour} {thing}", "a {color} {thing}", &["color", "colour"]);
    door.refuses("thing = [\"sun\", \"tree\"]", "thing = []", &["sweep.axes.thing"]);
    door.refuses("\"tiny-f4\"", "\"../models/tiny-f4\"", &["render.generator"]);
    door.refuses("\"tiny-f4\"", "\"tiny-clip\"", &["render.generator", "perceptor"]);
    door.refuses("[\"tiny-clip\"]", "[\"tiny-f4\"]", &["render.perceptors[0]", "generator"]);
    door.submits(
        &format!("{SWEEP}\n[requires]\ngpu_memory = \"lots\"\n"),
        &["requires.gpu_memory"],
    );
    door.submits(&format!("{SWEEP}\n[requires]\ntags = [\"../x\"]\n"), &["requires.tags"]);
    nothing_stored(&door.0);
}

#[test]
fn sweeps_beyond_the_farms_limit_are_refused_by_their_size() {
    let door = Door::new();
    // Fewer than any farm takes, more than this one does.
    door.refuses("seed = \"1-2\"", "seed = \"1-200\"", &["1200", "1000"]);
    door.refuses("seed = \"1-2\"", "seed = \"1-1000000000\"", &["cells"]);
    nothing_stored(&door.0);
}

#[test]
fn pictures_that_are_missing_elsewhere_or_no_pictures_are_refused() {
    let door = Door::new();
    let init = |path: &str| format!("init = {{ image = \"{path}\" }}\niterations = 8");
    door.refuses("iterations = 8", &init("none.png"), &["render.init.image", "none.png"]);
    door.refuses("iterations = 8", &init("../../etc/passwd"), &["render.init.image"]);
    door.refuses("iterations = 8", &init("job.toml"), &["render.init.image", "job.toml"]);
    nothing_stored(&door.0);
}

#[test]
fn a_message_larger_than_the_farm_takes_is_refused_by_its_size() {
    let door = Door::new();
    // Noise does not become smaller as a PNG: three MiB and some.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let picture =
        image::RgbImage::from_fn(1024, 1024, |_, _| image::Rgb([noise(), noise(), noise()]));
    picture.save(door.0.bench.path("noise.png")).expect("the picture is written");
    let init = "init = { image = \"noise.png\" }\niterations = 8";
    door.refuses("iterations = 8", init, &["larger than the farm takes", "most-message-mib"]);
    nothing_stored(&door.0);
}

#[test]
fn files_that_are_no_jobs_are_refused() {
    let door = Door::new();
    let farm = &door.0;
    fs::write(farm.bench.path("latin.toml"), b"version = 1\nname = \"\xe4\"\n").unwrap();
    refused(&farm.vqfarm(&["submit", "latin.toml"]), &["latin.toml", "UTF-8"]);
    refused(&farm.vqfarm(&["submit", "none.toml"]), &["none.toml"]);
    farm.write("job.toml", SWEEP);
    let set = ["submit", "job.toml", "--set", "render.itterations=5"];
    refused(&farm.vqfarm(&set), &["--set render.itterations=5", "\"iterations\""]);
    for name in ["../night", "", &"x".repeat(300)] {
        let ran = farm.vqfarm(&["submit", "job.toml", "--request-id", name]);
        refused(&ran, &["--request-id"]);
    }
    refused(&farm.vqfarm(&["submit", "job.toml", "--user", "a/b"]), &["--user"]);
    nothing_stored(farm);
}

#[test]
fn a_long_prompt_is_cut_with_a_warning_and_rendered() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let long = format!("a red sun {}", "and a tree ".repeat(60));
    let job = farm.submit(&sweep(1, 5).replace("a red sun", &long), 1);
    farm.prove(&job);
    let logs = farm.vqfarm_ok(&["logs", &job.id.to_string()]);
    assert!(logs.contains("only the beginning is read"), "{logs}");
}

#[test]
fn weights_of_another_architecture_are_refused_by_name() {
    let farm = Farm::new(Setup::default());
    let files = vqfarm_tests::fixture("files");
    let file = |name: &str| files.join(name).display().to_string();
    // The configuration of another VQGAN; that of a VQGAN for a CLIP.
    for (weights, config, parts) in [
        ("vqgan_vq_f4.lightning.ckpt", "vqgan_gumbel_f8.yaml", ["lightning.ckpt", "quantizer"]),
        ("clip_vit.openai.pt", "vqgan_vq_f4.yaml", ["vqgan_vq_f4.yaml", "config"]),
    ] {
        let (weights, config) = (file(weights), file(config));
        let import = ["models", "import", &weights, "--config", &config, "--name", "wrong"];
        let ran = farm.vqfarm(&import);
        assert_eq!(ran.status, 1, "{ran:?}");
        for part in parts {
            assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
        }
    }
    let ran = farm.vqfarm(&["models", "push", "wrong"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("wrong"), "{}", ran.stderr);
    assert!(!farm.stored.path("models/names/wrong.json").exists());
}

#[test]
fn an_address_where_nobody_answers_is_named() {
    let farm = Farm::new(Setup::default());
    for (address, part) in
        [("http://127.0.0.1:9", "no coordinator answers"), ("ftp://x", "neither http nor https")]
    {
        let mut command = farm.command(&["jobs"]);
        let ran = finish(command.env("VQFARM_ADDR", address));
        assert_ne!(ran.status, 0, "{ran:?}");
        assert!(ran.stderr.contains(part) && ran.stderr.contains(address), "{}", ran.stderr);
    }
}

/// A program that must refuse its settings at once.
fn settings_refused(name: &str, arguments: &[&str], expected: &[&str]) {
    let mut command = Command::new(program(name));
    command.args(arguments).stdin(Stdio::null());
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("VQFARM_")) {
        command.env_remove(variable);
    }
    let ran = finish(&mut command);
    assert_eq!(ran.status, 2, "{name} {arguments:?}: {ran:?}");
    for part in expected {
        assert!(ran.stderr.contains(part), "{name}: no {part:?} in {}", ran.stderr);
    }
}

#[test]
fn bad_settings_end_a_program_at_its_start_with_the_setting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = format!("file://{}", folder.path().display());
    let coordinator = |more: &[&str], expected: &[&str]| {
        let all =
            [&["--storage", &storage, "--listen", "127.0.0.1:0", "--web-listen", "off"], more]
                .concat();
        settings_refused("vqfarm-coordinator", &all, expected);
    };
    coordinator(&["--lease", "soon"], &["lease", "soon"]);
    coordinator(&["--tls-cert", "x.pem"], &["tls-cert", "tls-key"]);
    let open = ["--storage", &storage, "--listen", "0.0.0.0:0"];
    settings_refused("vqfarm-coordinator", &open, &["listen", "--tokens"]);
    settings_refused(
        "vqfarm-worker",
        &["run", "--storage", &storage, "--threads", "0"],
        &["threads"],
    );
    settings_refused(
        "vqfarm-worker",
        &["run", "--storage", &storage, "--memory", "x"],
        &["memory"],
    );
}
