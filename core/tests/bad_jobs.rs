//! Every mistake in a job file is answered with its place, its field and a remedy.

use vqfarm_core::file::{Document, JobError, Limits, MAX_PROBLEMS, Problem};
use vqfarm_core::job::FieldError;

/// Reads a job; axes may come from `styles.txt`, `empty.txt` and `latin1.txt`.
fn error_of(file: &str, bytes: &[u8], sets: &[&str]) -> JobError {
    let read = |path: &str| match path {
        "styles.txt" => Ok(b"ink\nwoodcut".to_vec()),
        "empty.txt" => Ok(b"\n# nothing\n".to_vec()),
        "latin1.txt" => Ok(b"caf\xe9".to_vec()),
        _ => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file")),
    };
    let result = Document::parse(file, bytes).and_then(|mut document| {
        for assignment in sets {
            document.set(assignment)?;
        }
        document.job(Limits::default(), read)
    });
    match result {
        Err(error) => error,
        Ok(job) => panic!("accepted {job:?}"),
    }
}

/// Every job of a table has its message, maybe among others.
fn check(head: &str, table: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (text, expected) in table {
        let text = format!("version = 1\n{head}{text}");
        let message = error_of("job.toml", text.as_bytes(), &[]).to_string();
        if !message.lines().any(|line| line == *expected) {
            wrong += &format!("{text}\n  said {message}\n  not  {expected}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Each mistake's place, as line, column and what is marked there, and its field.
fn places(error: &JobError) -> Vec<(usize, usize, String, &str)> {
    let place = |problem: &'_ Problem| {
        let at = problem.place.as_ref().expect("a place");
        let marked = at.text.chars().skip(at.column - 1).take(at.width).collect();
        (at.line, at.column, marked)
    };
    let problems = error.problems.iter();
    let placed = problems.map(|problem| (place(problem), problem.field.as_str()));
    placed.map(|((line, column, marked), field)| (line, column, marked, field)).collect()
}

#[test]
fn the_place_is_right_in_every_format() {
    let toml = "version = 1\n[render]\nprompt = \"a sun\"\n\titeratons = 300\n";
    let yaml = "version: 1\nrender:\n  prompt: ä sun\n  cutouts: { method: latest, cuont: 3 }\n";
    let json = "{\"version\": 1,\n \"render\": {\"prompt\": \"ä \\\" sun\", \"sise\": [64, 64]}}";
    for (file, text, place) in [
        ("job.toml", toml, (4, 2, "iteratons".to_owned(), "render.iteratons")),
        ("job.yaml", yaml, (4, 30, "cuont".to_owned(), "render.cutouts.cuont")),
        ("job.json", json, (2, 35, "\"sise\"".to_owned(), "render.sise")),
    ] {
        assert_eq!(places(&error_of(file, text.as_bytes(), &[])), [place]);
    }
}

/// The place of a mistake is that of the very words, where a text holds it.
#[test]
fn the_words_that_are_wrong_are_marked() {
    let sweep = "version = 1\nsweep.prompt = \"ä {subjct} or {stile}\"\n[sweep.axes]\nsubject = [\"a\"]\nstyle = [\"b\"]\n";
    let film = "version = 1\n[animation]\nmode = \"feedback\"\nframes = 9\n[animation.prompts]\n0 = \"a:(t+)\"\n4 = \"b:(sine(t))\"\n[animation.motion]\nzoom = \"1 + tt\"\nangle = \"0:(1), 3:(\"\n";
    for (text, expected) in [
        (sweep, &[(2, 19, "{subjct}", "sweep.prompt"), (2, 31, "{stile}", "sweep.prompt")][..]),
        (
            film,
            &[
                (6, 11, ")", "animation.prompts.0"),
                (7, 9, "sine", "animation.prompts.4"),
                (9, 13, "tt", "animation.motion.zoom"),
                (10, 20, "\"", "animation.motion.angle"),
            ],
        ),
        ("version = 1\nrender.prompt = \"ä ^ ^ b\"\n", &[(2, 21, " ", "render.prompt")]),
    ] {
        let error = error_of("job.toml", text.as_bytes(), &[]);
        let found = places(&error);
        let found: Vec<_> =
            found.iter().map(|(l, c, text, f)| (*l, *c, text.as_str(), *f)).collect();
        assert_eq!(found, expected, "{error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    for (text, expected) in [
        // Of the types.
        (
            "version = 1\nnmae = \"x\"\n[render]\nprompt = 3\nsize = [64]\ncutouts = { method = \"lastest\" }\n[animation]\nmode = \"x\"\n",
            &[
                "2 nmae",
                "4 render.prompt",
                "5 render.size",
                "6 render.cutouts.method",
                "8 animation.mode",
            ][..],
        ),
        // Of their meaning, beside them.
        (
            "[render]\nprompt = \"a\"\nsize = [8, 64]\nstep_size = \"big\"\ncutouts.count = 0\n[sweep]\nprompt = \"{a} {b}\"\n[sweep.axes]\na = 3\nseed = [1, -1]\nsize = [[64, 64], [1, 1]]\nb = { file = \"gone.txt\" }\n",
            &[
                "0 version",
                "3 render.size[0]",
                "4 render.step_size",
                "5 render.cutouts.count",
                "9 sweep.axes.a",
                "10 sweep.axes.seed[1]",
                "11 sweep.axes.size[1]",
                "12 sweep.axes.b",
            ],
        ),
        // Each by itself, though each makes no sense without the others.
        (
            "version = 1\n[sweep]\nprompt = \"{colr} boat {x}\"\ncombine = \"colour * sed\"\n[sweep.axes]\ncolour = [\"red\"]\nseed = [1]\nitertions = [3]\n",
            &["3 sweep.prompt", "3 sweep.prompt", "4 sweep.combine", "8 sweep.axes.itertions"],
        ),
        (
            "version = 1\n[animation]\nmode = \"feedback\"\nframes = 9\nfps = 0\n[animation.motion]\nangle = \"1 +\"\n[output.video]\nfps = -1\n[render]\nsize = [0, 64]\n",
            &[
                "5 animation.fps",
                "7 animation.motion.angle",
                "9 output.video.fps",
                "11 render.size[0]",
            ],
        ),
        // Of the syntax.
        ("version = \nname = \"a\n[render]\nsize = [64\nseed = 1\n", &["1 ", "2 ", "5 "]),
    ] {
        let error = error_of("job.toml", text.as_bytes(), &[]);
        let line = |p: &Problem| p.place.as_ref().map_or(0, |place| place.line);
        let found: Vec<_> =
            error.problems.iter().map(|p| format!("{} {}", line(p), p.field)).collect();
        assert_eq!(found, expected, "{error}");
    }
}

#[test]
fn what_follows_from_a_mistake_is_not_told() {
    for (text, field) in [
        // The prompt is there, and so are the axis and the frames.
        ("[render]\npromt = \"a sun\"\n", "render.promt"),
        ("render = 3\n", "render"),
        ("sweep = 3\nrender.prompt = \"{a}\"", "sweep"),
        ("render.prompt = \"{a}\"\nsweep.axes.a = 1", "sweep.axes.a"),
        (
            "render.prompt = \"{a}\"\nsweep.axes.a = { file = \"gone.txt\" }\noutput.contact_sheet.rows = \"a\"",
            "sweep.axes.a",
        ),
        (
            "[animation]\nmode = \"feedback\"\nframes = \"many\"\nprompts = { 40 = \"a\" }",
            "animation.frames",
        ),
        (
            "[animation]\nmode = \"feedbak\"\nframes = 40\nprompts = { 39 = \"a\" }",
            "animation.mode",
        ),
    ] {
        let error = error_of("job.toml", format!("version = 1\n{text}").as_bytes(), &[]);
        let found: Vec<_> = error.problems.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(found, [field], "{error}");
    }
}

#[test]
fn the_remedy_is_apart_from_the_fault() {
    for (text, message, help) in [
        ("render.size = [0, 64]", "a width of 0 pixels", Some("it must be from 16 to 4096")),
        // What people write stays whole.
        (
            "name = \"a; b/\"",
            "\"a; b/\" is not a job name: it must be 1 to 100 characters without slashes, control characters, a leading dot or outer spaces",
            None,
        ),
    ] {
        let text = format!("version = 1\nrender.prompt = \"a\"\n{text}");
        let error = error_of("job.toml", text.as_bytes(), &[]);
        let problem = &error.problems[0];
        assert_eq!((problem.message.as_str(), problem.help.as_deref()), (message, help));
    }
}

#[test]
fn no_file_is_answered_with_more_than_anybody_reads() {
    let values = vec!["-1"; 1000].join(", ");
    let text = format!("version = 1\nrender.prompt = \"a\"\nsweep.axes.seed = [{values}]\n");
    let error = error_of("job.toml", text.as_bytes(), &[]);
    assert_eq!(error.problems.len(), MAX_PROBLEMS);
}

#[test]
fn settings_that_make_no_sense_name_the_field() {
    let table = [
        (
            "[render]\nprompt = \"\"",
            "job.toml:3:10: render.prompt: the prompt is empty; say what the picture shall show",
        ),
        (
            "[render]\niterations = 5",
            "job.toml:2:1: render.prompt: the prompt is empty; say what the picture shall show",
        ),
        (
            "render.prompt = \"a | :2\"",
            "job.toml:2:21: render.prompt: a part of the prompt has a weight but no text (at character 4)",
        ),
        (
            "render.prompt = \"a ^ ^ b\"",
            "job.toml:2:21: render.prompt: a phase of the prompt is empty (at character 4)",
        ),
        (
            "render.size = [0, 64]",
            "job.toml:2:16: render.size[0]: a width of 0 pixels; it must be from 16 to 4096",
        ),
        (
            "render.size = [64, 1000000]",
            "job.toml:2:20: render.size[1]: a height of 1000000 pixels; it must be from 16 to 4096",
        ),
        (
            "render.size = [-64, 64]",
            "job.toml:2:16: render.size[0]: expected a whole number from 0 to 4294967295, found the number -64",
        ),
        ("render.size = [64, 64, 64]", "job.toml:2:15: render.size: expected a list of 2, found 3"),
        ("render.size = [64]", "job.toml:2:15: render.size: expected a list of 2, found 1"),
        (
            "render.size = 64",
            "job.toml:2:15: render.size: expected a list of 2, found the number 64",
        ),
        (
            "render.iterations = \"many\"",
            "job.toml:2:21: render.iterations: expected a whole number from 0 to 4294967295, found the text \"many\"",
        ),
        (
            "render.iterations = 0",
            "job.toml:2:21: render.iterations: 0 is out of range; it must be from 1 to 100000",
        ),
        (
            "render.iterations = 2.5",
            "job.toml:2:21: render.iterations: expected a whole number from 0 to 4294967295, found the number 2.5",
        ),
        (
            "render.cutouts.count = 1025",
            "job.toml:2:24: render.cutouts.count: 1025 is out of range; it must be from 1 to 1024",
        ),
        (
            "render.cutouts.method = \"lastest\"",
            "job.toml:2:25: render.cutouts.method: \"lastest\" is not known here; did you mean \"latest\"?",
        ),
        (
            "render.cutouts.augmentations = [\"Af\", \"Qq\"]",
            "job.toml:2:39: render.cutouts.augmentations[1]: \"Qq\" is not known here; it may be Ji, Sh, Gn, Pe, Ro, Af, Et, Ts, Cr, Er, Re",
        ),
        (
            "render.step_size = 0",
            "job.toml:2:20: render.step_size: 0 is out of range; it must be more than 0",
        ),
        (
            "render.step_size = nan",
            "job.toml:2:20: render.step_size: expected a number, found the number NaN",
        ),
        (
            "render.step_size = \"0.1\"",
            "job.toml:2:20: render.step_size: expected a number, found the text \"0.1\"",
        ),
        (
            "render.init_weight = -1",
            "job.toml:2:22: render.init_weight: -1 is out of range; it must be 0 or more",
        ),
        (
            "render.perceptors = []",
            "job.toml:2:21: render.perceptors: at least one perceptor must judge the picture",
        ),
        (
            "render.perceptors = \"ViT-B/32\"",
            "job.toml:2:21: render.perceptors: expected a list, found the text \"ViT-B/32\"",
        ),
        (
            "render.perceptors = [\"a\", \"a\"]",
            "job.toml:2:27: render.perceptors[1]: the perceptor \"a\" is there twice",
        ),
        (
            "render.generator = \"../../etc/passwd\"",
            "job.toml:2:20: render.generator: \"../../etc/passwd\" is not a model name: it must be letters, digits or any of `._-@`, in parts joined by `/` that do not start with a dot",
        ),
        (
            "render.seed = -1",
            "job.toml:2:15: render.seed: expected a whole number from 0 to 18446744073709551615, found the number -1",
        ),
        (
            "render.mask = \"/etc/passwd\"",
            "job.toml:2:15: render.mask: \"/etc/passwd\" leads away from the job file; use a relative path without `..`",
        ),
        (
            "render.init = { image = \"../x.png\" }",
            "job.toml:2:25: render.init.image: \"../x.png\" leads away from the job file; use a relative path without `..`",
        ),
        (
            "render.init = \"image\"",
            "job.toml:2:15: render.init: \"image\" needs a value: write { image = … }",
        ),
        (
            "render.init = { imgae = \"x.png\" }",
            "job.toml:2:17: render.init.imgae: \"imgae\" is not known here; did you mean \"image\"?",
        ),
        (
            "render.init = 3",
            "job.toml:2:15: render.init: expected one of random, noise, gradient, image, found the number 3",
        ),
        (
            "[[render.image_prompts]]\nweight = 1",
            "job.toml:2:1: render.image_prompts[0]: the field `image` is missing",
        ),
        (
            "name = \"../x\"",
            "job.toml:2:8: name: \"../x\" is not a job name: it must be 1 to 100 characters without slashes, control characters, a leading dot or outer spaces",
        ),
        ("name = 3", "job.toml:2:8: name: expected text, found the number 3"),
        ("render = 3", "job.toml:2:10: render: expected a table, found the number 3"),
        ("[animation]\nframes = 3", "job.toml:2:1: animation: the field `mode` is missing"),
    ];
    check("", &table);
}

#[test]
fn sweeps_that_make_no_sense_name_the_axis() {
    let table = [
        ("", "job.toml:3:1: sweep.axes: a sweep has at least one axis, or variants in its prompt"),
        (
            "axes = {}",
            "job.toml:4:8: sweep.axes: a sweep has at least one axis, or variants in its prompt",
        ),
        (
            "axes = 3",
            "job.toml:4:8: sweep.axes: expected a table of axes by name, found the number 3",
        ),
        ("axes.seed = []", "job.toml:4:13: sweep.axes.seed: the axis has no values"),
        (
            "axes.seed = 3",
            "job.toml:4:13: sweep.axes.seed: expected the values of an axis, found the number 3; write a list as [1, 2], a range as \"1-4\", \"1-10 (+2)\" or \"0..1 [5]\", { file = \"values.txt\" }, { glob = \"inits/*.png\" }, { random = [0, 1], count = 8 } or { replace = \"red\", with = [\"blue\"] }",
        ),
        (
            "axes.seed = \"one to four\"",
            "job.toml:4:13: sweep.axes.seed: \"one to four\" is not a range; write a list as [1, 2], a range as \"1-4\", \"1-10 (+2)\" or \"0..1 [5]\", { file = \"values.txt\" }, { glob = \"inits/*.png\" }, { random = [0, 1], count = 8 } or { replace = \"red\", with = [\"blue\"] }",
        ),
        (
            "axes.seed = \"1-4 (-1)\"",
            "job.toml:4:13: sweep.axes.seed: steps of -1 never lead from 1 to 4",
        ),
        (
            "axes.seed = \"1-3 [5]\"",
            "job.toml:4:13: sweep.axes.seed: the range repeats whole numbers, and the field takes no others",
        ),
        (
            "axes.seed = \"-2..2\"",
            "job.toml:4:13: sweep.axes.seed: expected a whole number from 0 to 18446744073709551615, found the number -2",
        ),
        (
            "axes.subjcet = [\"a\"]\nprompt = \"{subject}\"",
            "job.toml:5:11: sweep.prompt: no axis is named `subject`; did you mean \"subjcet\"?",
        ),
        (
            "axes.iteratons = [10]",
            "job.toml:4:18: sweep.axes.iteratons: neither a field of [render] nor used in the prompt as {iteratons}; did you mean \"iterations\"?",
        ),
        (
            "axes.cutouts.cuont = [10]",
            "job.toml:4:22: sweep.axes.cutouts.cuont: neither a field of [render] nor used in the prompt as {cutouts.cuont}; did you mean \"cutouts.count\"?",
        ),
        (
            "axes.size = [[64, 64], [0, 64]]",
            "job.toml:4:24: sweep.axes.size[1]: a width of 0 pixels; it must be from 16 to 4096",
        ),
        (
            "axes.step_size = [0.1, \"fast\"]",
            "job.toml:4:24: sweep.axes.step_size[1]: expected a number, found the text \"fast\"",
        ),
        (
            "axes.cutouts.method = [\"latest\", \"olds\"]",
            "job.toml:4:34: sweep.axes.cutouts.method[1]: \"olds\" is not known here; it may be latest, original, updated, nrupdated, updatedpooling",
        ),
        (
            "axes.prompt = [\"a\", 5]",
            "job.toml:4:21: sweep.axes.prompt[1]: expected text, found the number 5",
        ),
        (
            "axes.prompt = [\"a\"]\nprompt = \"b\"",
            "job.toml:5:10: sweep.prompt: the axis `prompt` already says every cell's prompt; leave one of them out",
        ),
        (
            "axes.style = [\"x\", \"\"]\nprompt = \"{style}\"",
            "job.toml:4:20: sweep.axes.style[1]: the prompt is empty; say what the picture shall show",
        ),
        (
            "axes.seed = [1]\nprompt = \" \"",
            "job.toml:5:10: sweep.prompt: the prompt is empty; say what the picture shall show",
        ),
        (
            "axes.seed = [1]\nprompt = \"a {b\"",
            "job.toml:5:10: sweep.prompt: `{` without a `}` after it; write `{{` for the brace itself",
        ),
        (
            "axes.cutouts = [{ count = 3 }]\naxes.\"cutouts.count\" = [1]",
            "job.toml:5:24: sweep.axes.cutouts.count: the axis `cutouts` already sets this field",
        ),
        (
            "axes.\"cutouts.count\" = [3]\naxes.cutouts.count = [1]",
            "job.toml:4:1: sweep.axes: two axes named `cutouts.count`",
        ),
        (
            "axes.seed = { file = \"/etc/passwd\" }",
            "job.toml:4:13: sweep.axes.seed: \"/etc/passwd\" leads away from the job file; use a relative path without `..`",
        ),
        (
            "axes.seed = { file = \"missing.txt\" }",
            "job.toml:4:13: sweep.axes.seed: cannot read \"missing.txt\": no such file",
        ),
        (
            "axes.seed = { file = \"empty.txt\" }",
            "job.toml:4:13: sweep.axes.seed: \"empty.txt\" has no values",
        ),
        (
            "axes.seed = { file = \"latin1.txt\" }",
            "job.toml:4:13: sweep.axes.seed: \"latin1.txt\" is not UTF-8 text; save the file as UTF-8",
        ),
        (
            "axes.seed = \"1-4\"\naxes.step_size = [1]\ncombine = \"(seed, step_size)\"",
            "job.toml:6:11: sweep.combine: `(seed, step_size)` walks together lists of different lengths: 4 and 1",
        ),
        (
            "axes.seed = \"1-1000000\"\naxes.step_size = \"0.1..1 [1000]\"",
            "job.toml:3:1: sweep: 1000000000 cells are more than the 10000000 allowed here",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { rows = \"sed\" }",
            "job.toml:6:26: output.contact_sheet.rows: \"sed\" is not an axis of the sweep; did you mean \"seed\"?",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { rows = \"seed\", columns = \"seed\" }",
            "job.toml:6:44: output.contact_sheet.columns: rows and columns are the same axis",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { rows = \"seed\", pages = [\"seed\"] }",
            "job.toml:6:43: output.contact_sheet.pages[0]: rows and pages[0] are the same axis",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { pages = [\"sede\"] }",
            "job.toml:6:28: output.contact_sheet.pages[0]: \"sede\" is not an axis of the sweep; did you mean \"seed\"?",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { cell = 9 }",
            "job.toml:6:26: output.contact_sheet.cell: 9 pixels; it must be from 32 to 2048",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { cell = 700, page_size = [4096, 1024] }",
            "job.toml:6:26: output.contact_sheet.cell: a cell of 700 pixels leaves no room for labels on a page of 1024",
        ),
        (
            "axes.seed = [1]\n[output]\ncontact_sheet = { page_size = [8192, 20000] }",
            "job.toml:6:38: output.contact_sheet.page_size[1]: 20000 pixels; it must be from 1024 to 16384",
        ),
    ];
    check(
        "render.prompt = \"a sun\"
[sweep]
",
        &table,
    );
}

#[test]
fn files_that_are_no_job_files_say_so() {
    let table: [(&str, &[u8], &str); 12] = [
        (
            "job.toml",
            b"name = \"x\"",
            "job.toml: version: the field is missing; begin the file with version = 1",
        ),
        (
            "job.toml",
            b"version = 2\nfuture = 1",
            "job.toml:1:11: version: this program reads version 1 of job files",
        ),
        (
            "job.toml",
            b"version = 1\nname = \"a\"\xff",
            "job.toml: line 2 is not UTF-8 text; save the file as UTF-8",
        ),
        ("job.ini", b"", "job.ini: a job file's name ends in .toml, .yaml, .yml or .json"),
        ("job.json", b"[1]", "job.json: the file must be a table of fields"),
        ("job.yaml", b"- 1", "job.yaml: the file must be a table of fields"),
        ("job.yaml", b"", "job.yaml: the file must be a table of fields"),
        ("job.json", b"{\"version\": 1,\n \"name\" 3}", "job.json:2:9: expected `:`"),
        (
            "job.json",
            b"{\"version\": 1, \"version\": 1}",
            "job.json:1:16: the key \"version\" is there twice",
        ),
        (
            "job.toml",
            b"version = 1\nname = \"a",
            "job.toml:2:10: invalid basic string, expected `\"`",
        ),
        ("job.toml", b"version = 1\nversion = 1", "job.toml:2:1: duplicate key"),
        ("job.yaml", b"version: 1\nversion: 1", "job.yaml:2:1: duplicate mapping key: version"),
    ];
    for (file, bytes, expected) in table {
        let message = error_of(file, bytes, &[]).to_string();
        assert_eq!(message.lines().next().unwrap(), expected, "{file} {bytes:?}");
    }
}

#[test]
fn a_set_that_is_wrong_is_named_itself() {
    let table = [
        (
            "render.iteratons=50",
            "--set render.iteratons=50: render.iteratons: no such field; did you mean \"iterations\"?",
        ),
        (
            "render.size=[0,64]",
            "--set render.size=[0,64]: render.size[0]: a width of 0 pixels; it must be from 16 to 4096",
        ),
        (
            "render.iterations",
            "--set render.iterations: write a field and its value, as in render.iterations=50",
        ),
        ("render..x=1", "--set render..x=1: render..x: a field's path is names joined by dots"),
        ("=1", "--set =1: a field's path is names joined by dots"),
        ("render=1", "--set render=1: render: expected a table, found the number 1"),
        (
            "render.init=image",
            "--set render.init=image: render.init: \"image\" needs a value: write { image = … }",
        ),
    ];
    for (assignment, expected) in table {
        let text = b"version = 1\nrender.prompt = \"a sun\"";
        assert_eq!(error_of("job.toml", text, &[assignment]).to_string(), expected);
    }
}

#[test]
fn what_the_world_lacks_is_shown_at_its_field() {
    let text = "version = 1\n[render]\ninit = { image = \"gone.png\" }\n";
    let document = Document::parse("job.toml", text.as_bytes()).unwrap();
    let error = FieldError::new("render.init.image", "cannot read \"gone.png\"");
    let error = document.refuse(vec![error]);
    assert_eq!(error.to_string(), "job.toml:3:18: render.init.image: cannot read \"gone.png\"");
    assert_eq!(places(&error), [(3, 18, "\"gone.png\"".to_owned(), "render.init.image")]);
}
