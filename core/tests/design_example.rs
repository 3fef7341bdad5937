//! The example of the design reads, in all three formats, as the same job.

use vqfarm_core::file::{Document, Limits};
use vqfarm_core::job::Job;
use vqfarm_core::plan::{Dependency, Plan, TaskSpec};

const TOML: &str = r#"
version = 1
name = "harbours"

[render]
size = [512, 512]
iterations = 300
generator = "imagenet-f16-16384"
perceptors = ["ViT-B/32"]
cutouts = { method = "latest", count = 32 }

[sweep]
prompt = "{subject}, {style} | blurry:-0.4"
combine = "subject * style * seed"
[sweep.axes]
subject = ["a harbour at dawn", "a lighthouse"]
style   = { file = "styles.txt" }
seed    = "1-4"
step_size = [0.05, 0.1]
[output]
contact_sheet = { rows = "subject", columns = "style" }
"#;

const YAML: &str = r#"
version: 1
name: harbours
render:
  size: [512, 512]
  iterations: 300
  generator: imagenet-f16-16384
  perceptors: [ViT-B/32]
  cutouts: { method: latest, count: 32 }
sweep:
  prompt: "{subject}, {style} | blurry:-0.4"
  combine: subject * style * seed
  axes:
    subject: [a harbour at dawn, a lighthouse]
    style: { file: styles.txt }
    seed: 1-4
    step_size: [0.05, 0.1]
output:
  contact_sheet: { rows: subject, columns: style }
"#;

const JSON: &str = r#"{
  "version": 1, "name": "harbours",
  "render": {
    "size": [512, 512], "iterations": 300, "generator": "imagenet-f16-16384",
    "perceptors": ["ViT-B\/32"], "cutouts": { "method": "latest", "count": 32 }
  },
  "sweep": {
    "prompt": "{subject}, {style} | blurry:-0.4",
    "combine": "subject * style * seed",
    "axes": {
      "subject": ["a harbour at dawn", "a lighthouse"],
      "style": { "file": "styles.txt" }, "seed": "1-4", "step_size": [0.05, 0.1]
    }
  },
  "output": { "contact_sheet": { "rows": "subject", "columns": "style" } }
}"#;

fn job(file: &str, text: &str) -> Job {
    let styles = |path: &str| {
        assert_eq!(path, "styles.txt");
        Ok(b"# styles\noil on canvas\r\n\nwoodcut\nink".to_vec())
    };
    Document::parse(file, text.as_bytes())
        .and_then(|document| document.job(Limits::default(), styles))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn three_formats_are_one_job() {
    let toml = job("job.toml", TOML);
    assert_eq!(toml, job("job.yaml", YAML));
    assert_eq!(toml, job("job.json", JSON));
    assert_eq!(toml.spec_hash(), job("job.yml", YAML).spec_hash());
}

#[test]
fn its_cells_are_the_grid() {
    let job = job("job.toml", TOML);
    let plan = Plan::new(&job).unwrap();
    assert_eq!(plan.layers[0].tasks, 2 * 3 * 4 * 2);
    assert_eq!((plan.layers[1].tasks, plan.layers[1].dependency), (1, Dependency::All));
    let (layer, task) = plan.maker(47).unwrap();
    let TaskSpec::Cell(cell) = plan.task(layer, task).unwrap() else { panic!("a cell") };
    assert_eq!(cell.render.prompt, "a lighthouse, ink | blurry:-0.4");
    assert_eq!((cell.render.seed, cell.render.step_size), (4, 0.1));
    assert_eq!(cell.values[1], ("style".into(), "ink".into()));
    assert_eq!(plan.task(1, 0).unwrap(), TaskSpec::Stitch);
    assert!(plan.task(0, 48).is_err() && plan.task(2, 0).is_err());
}

#[test]
fn a_resolved_job_survives_its_record() {
    let job = job("job.toml", TOML);
    let text = serde_json::to_string_pretty(&job).unwrap();
    let back: Job = serde_json::from_str(&text).unwrap();
    assert_eq!(back, job);
    assert_eq!(back.spec_hash(), job.spec_hash());
    // A stored spec is a job file too.
    let again = Document::parse("job.json", text.as_bytes()).unwrap();
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    assert_eq!(again.job(Limits::default(), none).unwrap(), job);
}

#[test]
fn set_changes_a_file_and_flags_alone_make_a_job() {
    let mut document = Document::parse("job.toml", TOML.as_bytes()).unwrap();
    for assignment in [
        "render.iterations=50",
        "render.cutouts.count = 8",
        "name=night harbours",
        "sweep.axes.seed=1-2",
        "sweep.axes.style=[\"ink\"]",
    ] {
        document.set(assignment).unwrap();
    }
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let job = document.job(Limits::default(), none).unwrap();
    assert_eq!((job.render.iterations, job.render.cutouts.count), (50, 8));
    assert_eq!(job.name.as_str(), "night harbours");
    assert_eq!(job.cells().unwrap().len(), 2 * 2 * 2);

    let mut document = Document::empty();
    document.set_text("--prompt", "render.prompt", "[1, 2] = {odd}").unwrap();
    document.set("render.seed=7").unwrap();
    document.set("render.init={ image = \"in.png\" }").unwrap();
    let job = document.job(Limits::default(), none).unwrap();
    let cell = job.cells().unwrap().cell(0).unwrap();
    assert_eq!(cell.render.prompt, "[1, 2] = {odd}");
    assert_eq!(cell.render.seed, 7);
    assert_eq!(job.cells().unwrap().len(), 1);
}
