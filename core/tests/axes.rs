//! Axes beyond lists and ranges, variants in prompts: what cells they make, what is refused.

use std::io;

use serde_json::{Value, json};
use vqfarm_core::file::{Document, JobError, Limits};
use vqfarm_core::job::Job;
use vqfarm_core::sweep::Beside;

/// A folder with some files.
struct Folder;

impl Beside for Folder {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        match path {
            "wildcards/animal.txt" => Ok(b"# tame\ncat\n\n{big|small} dog\n".to_vec()),
            "wildcards/places/sea.txt" => Ok(b"bay\ncape".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn names(&mut self, folder: &str) -> io::Result<Vec<String>> {
        match folder {
            "inits" => Ok(["b.png", "a.png", "notes.txt"].map(str::to_owned).into()),
            "" => Ok(vec!["job.toml".into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn job(text: &str, axes: &[&str]) -> Result<Job, JobError> {
    let text = format!("version = 1\nrender.iterations = 5\n{text}");
    let mut document = Document::parse("job.toml", text.as_bytes())?;
    for axis in axes {
        document.set_axis(axis)?;
    }
    let job = document.job_beside(Limits::default(), &mut Folder)?;
    // What is resolved says the same wherever it is read again.
    let json = serde_json::to_vec(&job).expect("JSON");
    let again = Document::parse("job.json", &json)?;
    assert_eq!(again.job(Limits::default(), |_| Err(io::ErrorKind::NotFound.into()))?, job);
    Ok(job)
}

/// A field of every cell.
fn cells(job: &Job, field: &str) -> Vec<Value> {
    let sweep = job.cells().expect("a checked job");
    let value = |index| {
        let render = serde_json::to_value(sweep.cell(index).expect("a cell").render);
        render.expect("JSON")[field].clone()
    };
    (0..sweep.len()).map(value).collect()
}

fn prompts(text: &str) -> Vec<Value> {
    cells(&job(text, &[]).unwrap_or_else(|error| panic!("{error}")), "prompt")
}

#[test]
fn variants_are_axes() {
    let text = "render.prompt = \"a {red|blue} __animal__ | sea:0.5\"\n";
    let expected = [
        "a red cat | sea:0.5",
        "a red big dog | sea:0.5",
        "a red small dog | sea:0.5",
        "a blue cat | sea:0.5",
        "a blue big dog | sea:0.5",
        "a blue small dog | sea:0.5",
    ];
    assert_eq!(prompts(text), expected);
    let found = job(text, &[]).unwrap();
    let sweep = found.cells().unwrap();
    assert_eq!(sweep.axes().collect::<Vec<_>>(), [("variant", 2), ("animal", 3)]);
    let text = "[sweep]\nprompt = \"{2$$ by the $$sun|sea|sun}, {style} __places/sea__\"\n\
                axes.style = [\"flat\"]\n";
    let found = prompts(text);
    assert_eq!(found.len(), 6);
    assert_eq!(found[3], "sun by the sun, flat cape");
}

#[test]
fn without_variants_a_prompt_is_taken_at_its_word() {
    for text in ["a {red} sun", "a {{red|blue}} sun", ":} snake__case"] {
        let job = job(&format!("render.prompt = {text:?}\n"), &[]).unwrap();
        assert_eq!((job.sweep.is_none(), job.render.prompt.as_str()), (true, text));
    }
    for (text, said) in [("a {red|blue sun", "`{` without"), ("{2$$red} sun", "2 of 1 variants")] {
        let error = job(&format!("render.prompt = {text:?}\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("render.prompt: ") && error.contains(said), "{error}");
    }
}

#[test]
fn variants_are_drawn_by_their_weights() {
    let text = |draw: u64, seed: u64| {
        format!(
            "render.seed = {seed}\n[sweep]\nprompt = \"{{8::red|blue}} {{sun|moon}}\"\n\
             draw = {draw}\naxes.step_size = [0.1, 0.2]\n"
        )
    };
    let many = prompts(&text(200, 1));
    assert_eq!(many.len(), 400);
    let red = many.iter().filter(|p| p.as_str().is_some_and(|p| p.starts_with("red"))).count();
    assert!((320..=390).contains(&red), "{red} of 400");
    assert_eq!(prompts(&text(9, 1))[..9], many[..9], "the first draws are the same");
    assert_ne!(prompts(&text(200, 2)), many);
}

#[test]
fn random_axes_are_numbers_of_their_field() {
    let text = "render.prompt = \"a\"\n[sweep.axes]\n\
                step_size = { random = [0.02, 0.2], count = 50, scale = \"log\", seed = 3 }\n";
    let steps = cells(&job(text, &[]).unwrap(), "step_size");
    assert_eq!(steps.len(), 50);
    let all = steps.iter().filter_map(Value::as_f64);
    assert!(all.into_iter().all(|step| (0.02..=0.2).contains(&step)));
    let text = "render.prompt = \"a\"\n[sweep.axes]\nseed = { random = [1, 6], count = 40 }\n";
    let seeds = cells(&job(text, &[]).unwrap(), "seed");
    assert!(seeds.iter().all(|seed| (1..=6).contains(&seed.as_u64().unwrap())), "{seeds:?}");
    assert!((1..=6).all(|side| seeds.contains(&json!(side))), "{seeds:?}");
}

#[test]
fn texts_are_replaced_and_files_found() {
    let text = "[sweep]\nprompt = \"a {kind} red sun, red sea\"\n[sweep.axes]\nkind = [\"big\"]\n\
                colour = { replace = \"red\", with = [\"red\", \"blue\"] }\n\
                blue = { replace = \"blue\", with = [\"blue\", \"navy\"] }\n";
    let expected = ["a big red sun, red sea", "a big red sun, red sea", "a big blue sun, blue sea"];
    let found = prompts(text);
    assert_eq!(found[..3], expected);
    assert_eq!(found[3], "a big navy sun, navy sea");
    let text = "render.prompt = \"a\"\n[sweep.axes]\ninit.image = { glob = \"inits/*.png\" }\n";
    let inits = cells(&job(text, &[]).unwrap(), "init");
    assert_eq!(inits, [json!({ "image": "inits/a.png" }), json!({ "image": "inits/b.png" })]);
}

#[test]
fn only_cells_where_a_condition_holds_are_made() {
    let text = "[sweep]\nprompt = \"{style} {sun|moon}\"\n\
                where = \"variant == 'sun' and (style != 'dots' or seed < 3)\"\n\
                [sweep.axes]\nstyle = [\"flat\", \"dots\"]\nseed = \"1-3\"\n";
    let found = job(text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let expected = ["flat sun", "flat sun", "flat sun", "dots sun", "dots sun"];
    assert_eq!(cells(&found, "prompt"), expected);
    assert_eq!(cells(&found, "seed"), [1, 2, 3, 1, 2]);
    let sweep = found.cells().unwrap();
    assert_eq!((sweep.len(), sweep.places(5)), (5, None));
}

#[test]
fn axes_come_from_flags_too() {
    let plain = "render.prompt = \"a\"\n";
    let of = |axes: &[&str]| {
        let job = job(plain, axes).unwrap_or_else(|error| panic!("{error}"));
        let sweep = job.cells().unwrap();
        (0..sweep.len()).map(|n| sweep.cell(n).unwrap().values).collect::<Vec<_>>()
    };
    let named = |name: &str, values: &[Value]| -> Vec<Vec<(String, Value)>> {
        values.iter().map(|value| vec![(name.to_owned(), value.clone())]).collect()
    };
    assert_eq!(of(&["seed=1-3"]), named("seed", &[json!(1), json!(2), json!(3)]));
    assert_eq!(of(&["seed=7"]), named("seed", &[json!(7)]));
    assert_eq!(of(&["cutouts.count = 4, 8"]), named("cutouts.count", &[json!(4), json!(8)]));
    assert_eq!(of(&["step_size=[0.1, 0.2]"]), named("step_size", &[json!(0.1), json!(0.2)]));
    assert_eq!(of(&["seed={ random = [1, 9], count = 4 }"]).len(), 4);
    let error = job(plain, &["style=flat,dots"]).unwrap_err().to_string();
    assert!(error.starts_with("--axis style=flat,dots: sweep.axes.style: neither"), "{error}");
    let error = job(plain, &["seed"]).unwrap_err().to_string();
    assert!(error.contains("write an axis and its values"), "{error}");
}

#[test]
fn what_cannot_be_names_its_field_and_a_remedy() {
    let table = [
        ("axes.a = { file = \"x\", count = 3 }", "sweep.axes.a: an axis as a table is { file"),
        ("axes.step_size = { random = [0.1, 0.2] }", "`count` says how many numbers are drawn"),
        ("axes.step_size = { random = [0, 1], count = 2, scale = \"log\" }", "must be above 0"),
        ("axes.step_size = { random = [-1, 1], count = 2 }", "sweep.axes.step_size: "),
        ("axes.step_size = { random = [1, 2], count = 2, scale = \"cubic\" }", "linear, log"),
        ("axes.a = { replace = \"moon\", with = [\"sea\"] }", "the prompt says \"moon\" nowhere"),
        ("axes.seed = { replace = \"sun\", with = [\"sea\"] }", "a field of [render]"),
        ("axes.init = { glob = \"inits/*.gif\" }", "no file fits \"inits/*.gif\""),
        ("axes.init = { glob = \"../*.png\" }", "leads away from the job file"),
        ("axes.init = { glob = \"*/a.png\" }", "a pattern before its last `/`"),
        ("axes.init = { glob = \"gone/*.png\" }", "cannot read \"gone\""),
        ("prompt = \"{3$$a|b}\"", "sweep.prompt: 3 of 2 variants cannot be taken"),
        ("prompt = \"__nothing__\"", "cannot read \"wildcards/nothing.txt\""),
        ("prompt = \"__../secret__\"", "sweep.axes: a sweep has at least one axis"),
        ("prompt = \"a\"\ndraw = 3", "the prompt has no variants to draw"),
        ("prompt = \"{a|b}\"\ndraw = 0", "draw 1 or more"),
        ("axes.seed = \"1-3\"\nwhere = \"seeds > 1\"", "sweep.where: `where` names `seeds`"),
        ("axes.seed = \"1-3\"\nwhere = \"seed > 5\"", "it holds for none of the combinations"),
        ("axes.seed = \"1-3\"\nwhere = \"seed > 'a'\"", "have no order"),
        ("axes.seed = \"1-300000\"\nwhere = \"seed > 1\"", "too many to choose from"),
    ];
    for (text, said) in table {
        let text = format!("render.prompt = \"a sun\"\n[sweep]\n{text}\n");
        let error = job(&text, &[]).expect_err(&text).to_string();
        assert!(error.contains(said), "{text}\n{error}");
    }
}
