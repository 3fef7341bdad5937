//! Whatever is in a file, reading it gives a job or a message; and a sweep's numbers and
//! values stand for each other.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::job::Job;

fn read(file: &str, text: &str) -> Option<Job> {
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let job = Document::parse(file, text.as_bytes()).and_then(|d| d.job(Limits::default(), none));
    match job {
        Ok(job) => Some(job),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Fragments of job files, so that random text gets past the parsers.
fn fragment() -> impl Strategy<Value = String> {
    let known = [
        "version = 1\n",
        "[render]\n",
        "[sweep]\n",
        "[sweep.axes]\n",
        "[output]\n",
        "name = ",
        "seed = ",
        "prompt = ",
        "combine = ",
        "size = ",
        "init = ",
        "cutouts = ",
        "contact_sheet = ",
        "\"1-4\"\n",
        "\"a {b}\"\n",
        "[1, 2]\n",
        "[64, 64]\n",
        "{ count = 3 }\n",
        "{ file = \"x\" }\n",
        "{ image = \"x\" }\n",
        "1e400\n",
        "nan\n",
        "'x'\n",
        "\"é^|:1:2\"\n",
        "b = [\"x\", {a = 1}]\n",
        "version: 1\n",
        "render:\n",
        "  size: [1]\n",
        "- x\n",
        "{",
        "}",
        "\"version\": 1",
        ":",
        ",",
        "&a",
        "*a",
        "|\n",
        "\u{1F600}",
        "\t",
        "99999999999999999999999\n",
    ];
    prop_oneof![8 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "(?s).{0,4}"]
}

proptest! {
    #[test]
    fn reading_never_panics(pieces in proptest::collection::vec(fragment(), 0..14), garbage in ".{0,40}") {
        let text = pieces.concat();
        for file in ["x.toml", "x.yaml", "x.json"] {
            if let Some(job) = read(file, &text) {
                let cells = job.cells().unwrap();
                cells.cell(cells.len() - 1).unwrap();
            }
            read(file, &garbage);
            read(file, &format!("version = 1\n{text}"));
        }
    }

    #[test]
    fn sets_never_panic(path in "[a-z.\\[\\]0-2]{0,12}", value in ".{0,12}") {
        let mut document = Document::empty();
        if document.set(&format!("render.{path}={value}")).is_ok() {
            let _ = document.job(Limits::default(), |_| Err(std::io::ErrorKind::NotFound.into()));
        }
    }

    #[test]
    fn numbers_and_values_of_a_sweep_stand_for_each_other(
        subjects in 1usize..4, seeds in 1u64..5, steps in 1usize..4, together in any::<bool>()
    ) {
        let names: Vec<_> = (0..subjects).map(|i| format!("\"subject {i}\"")).collect();
        let styles: Vec<_> = (0..subjects).map(|i| format!("\"style {i}\"")).collect();
        let sizes: Vec<_> = (1..=steps).map(|i| format!("0.{i}")).collect();
        let combine = if together { "(subject, style) * seed * step_size" } else { "" };
        let text = format!(
            "version = 1\n[sweep]\nprompt = \"{{subject}} in {{style}}\"\n{}axes = {{ subject = [{}], \
             style = [{}], seed = \"1-{seeds}\", step_size = [{}] }}",
            if together { format!("combine = \"{combine}\"\n") } else { String::new() },
            names.join(","), styles.join(","), sizes.join(","),
        );
        let job = read("x.toml", &text).expect("a good job");
        let cells = job.cells().unwrap();
        let expected = subjects as u64 * seeds * steps as u64 * if together { 1 } else { subjects as u64 };
        prop_assert_eq!(cells.len(), expected);
        let mut seen = BTreeSet::new();
        for index in 0..cells.len() {
            let cell = cells.cell(index).unwrap();
            let (r, values) = (&cell.render, &cell.values);
            prop_assert_eq!(cells.value(2, cells.places(index).unwrap()[2]), Some(values[2].1.clone()));
            let prompt = format!("{} in {}", values[0].1.as_str().unwrap(), values[1].1.as_str().unwrap());
            prop_assert_eq!(&r.prompt, &prompt);
            prop_assert_eq!(Some(r.seed), values[2].1.as_u64());
            prop_assert_eq!(Some(r.step_size), values[3].1.as_f64());
            seen.insert(format!("{values:?}"));
        }
        prop_assert_eq!(seen.len() as u64, cells.len());
        prop_assert!(cells.cell(cells.len()).is_err());
    }
}

#[test]
fn ten_million_cells_cost_nothing() {
    let text = "version = 1\nrender.prompt = \"x\"\n[sweep.axes]\nseed = \"1-10000000\"";
    let cells = read("x.toml", text).unwrap().cells().unwrap();
    assert_eq!(cells.len(), 10_000_000);
    assert_eq!(cells.cell(9_999_999).unwrap().render.seed, 10_000_000);
}

#[test]
fn nesting_without_end_is_refused() {
    for (file, open) in [("x.toml", "a = "), ("x.json", ""), ("x.yaml", "a: ")] {
        let text = format!("{open}{}", "[".repeat(100_000));
        assert_eq!(read(file, &text), None, "{file}");
        let text = format!("{open}{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(file, &text), None, "{file}");
    }
}
