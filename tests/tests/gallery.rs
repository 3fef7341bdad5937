//! The gallery of a real sweep in a real browser, from a file and without a server.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use vqfarm_tests::browser::Browser;
use vqfarm_tests::{Bench, CELLS, SWEEP, finish};

/// The sweep with texts that try to be more than text.
const HOSTILE: &str = "a {colour} {thing} <img src=x onerror=alert(1)> \\\"&</script>";

fn rendered(job: &str) -> (Bench, Option<Browser>) {
    let bench = Bench::new(job);
    let ran = bench.render(&["job.toml", "--out", "o"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let browser = Browser::open(&bench.path("o/out/index.html"));
    (bench, browser)
}

/// Rows of `scores.csv` by their column and cell.
fn scores(bench: &Bench) -> Vec<BTreeMap<String, String>> {
    let mut table = csv::Reader::from_path(bench.path("o/out/scores.csv")).unwrap();
    table.deserialize().map(|row| row.unwrap()).collect()
}

/// What `vqfarm expand --json` says of a job file's only cell.
fn expanded(bench: &Bench, text: &str) -> Value {
    fs::write(bench.path("copied.toml"), text).unwrap();
    let ran = finish(&mut bench.vqfarm(&["expand", "copied.toml", "--json"]));
    assert_eq!(ran.status, 0, "{}\n{text}", ran.stderr);
    let [cell] = ran.stdout.lines().collect::<Vec<_>>().try_into().unwrap();
    serde_json::from_str(cell).unwrap()
}

/// The cells that the grid shows, in its order.
fn cells(browser: &mut Browser) -> Vec<u64> {
    let shown = browser.value("[...document.querySelectorAll('.card')].map(c => +c.dataset.cell)");
    serde_json::from_value(shown).unwrap()
}

#[test]
fn pictures_are_filtered_sorted_and_found() {
    let (bench, Some(mut browser)) = rendered(SWEEP) else { return };
    assert_eq!(cells(&mut browser), (0..CELLS as u64).collect::<Vec<_>>());
    browser.wait_for("[...document.images].filter(i => i.naturalWidth === 32).length >= 4");
    assert_eq!(browser.text("document.title"), "tiny sweep");

    browser.choose("#filters select[data-axis='0']", "blue");
    assert_eq!(cells(&mut browser), [4, 5, 6, 7]);
    assert_eq!(browser.text("document.querySelector('#count').textContent"), "4 of 12 pictures");
    browser.choose("#filters select[data-axis='2']", "2");
    assert_eq!(cells(&mut browser), [5, 7]);
    browser.click("#reset");
    assert_eq!(cells(&mut browser).len(), CELLS);

    browser.click("#find");
    for letter in "red tree".chars() {
        browser.press(&letter.to_string());
    }
    assert_eq!(cells(&mut browser), [2, 3]);
    browser.click("#reset");

    browser.choose("#sort", "best score first");
    let scores = scores(&bench);
    let score = |cell: &u64| scores[*cell as usize]["score"].parse::<f64>().unwrap();
    let best: Vec<f64> = cells(&mut browser).iter().map(score).collect();
    assert!(best.is_sorted_by(|a, b| a >= b) && best.len() == CELLS, "{best:?}");
    browser.choose("#sort", "worst score first");
    let worst: Vec<f64> = cells(&mut browser).iter().map(score).collect();
    assert!(worst.is_sorted() && best[0] > worst[0], "{worst:?}");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn cells_that_were_stopped_early_say_so_and_can_be_left_out() {
    let job = format!("{SWEEP}[sweep.early_stop]\niterations = 3\nkeep = 2\n");
    let (_bench, Some(mut browser)) = rendered(&job) else { return };
    let marked = "[...document.querySelectorAll('.stopped')].map(mark => mark.textContent)";
    assert_eq!(browser.value(marked), json!(vec!["stopped at 3"; CELLS - 2]));
    browser.choose("#early", "finished");
    let finished = cells(&mut browser);
    assert_eq!((finished.len(), browser.value(marked)), (2, json!([])));
    browser.choose("#early", "stopped early");
    let stopped = cells(&mut browser);
    assert!(stopped.len() == CELLS - 2 && !stopped.iter().any(|cell| finished.contains(cell)));
    browser.click("#reset");
    assert_eq!(cells(&mut browser).len(), CELLS);
    browser.click(&format!(".card[data-cell='{}'] .open", stopped[0]));
    browser.wait_for("document.querySelector('#viewer').open");
    let details = browser.text("document.querySelector('#details').textContent");
    assert!(details.contains("after 3 iterations"), "{details}");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn a_cell_copied_as_a_job_file_is_the_same_cell() {
    let (bench, Some(mut browser)) = rendered(SWEEP) else { return };
    browser.click(".card[data-cell='5'] .open");
    browser.wait_for("document.querySelector('#viewer').open");
    browser.click(".job button");
    browser.wait_for("document.querySelector('.job [role=status]').textContent.includes('copied')");
    // The page hears of the end later than it is seen, and then moves the focus.
    browser.value(
        "document.querySelector('#viewer').addEventListener('close', () => { window.ended = true })",
    );
    browser.press("Escape");
    browser.wait_for("window.ended");
    // Pasted where a person would see it, line breaks and all.
    browser.value(
        "document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))",
    );
    browser.click("#paste");
    browser.call(
        "Input.dispatchKeyEvent",
        json!({ "type": "keyDown", "key": "v", "modifiers": 2, "commands": ["paste"] }),
    );
    let pasted = browser.text("document.querySelector('#paste').value");
    let scores = scores(&bench);
    assert_eq!(expanded(&bench, &pasted)["identity"], scores[5]["identity"]);
    let again = bench.render(&["copied.toml", "--out", "again"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let pixels = |path: &str| image::open(bench.path(path)).unwrap().to_rgb8();
    assert!(pixels("again/frames/000000.png") == pixels("o/frames/000005.png"));

    // And so are all the others.
    for (cell, row) in scores.iter().enumerate() {
        let text = browser.text(&format!("jobFile({cell})"));
        assert_eq!(expanded(&bench, &text)["identity"], row["identity"], "{text}");
    }
}

#[test]
fn two_cells_are_compared_side_by_side_and_zoomed_together() {
    let (_bench, Some(mut browser)) = rendered(SWEEP) else { return };
    assert_eq!(browser.value("document.querySelector('#compare').disabled"), true);
    browser.click(".card[data-cell='0'] input");
    browser.click(".card[data-cell='4'] input");
    browser.click(".card[data-cell='3'] input");
    // The third took the place of the first.
    assert_eq!(browser.value("picked"), json!([4, 3]));
    browser.click("#compare");
    browser.wait_for("document.querySelectorAll('#panes img').length === 2");
    let rows = "[...document.querySelectorAll('#details tbody th')].map(th => th.textContent)";
    assert_eq!(
        browser.value(rows),
        json!(["prompt", "colour", "thing", "seed", "CLIP score", "file"])
    );
    let widths =
        "[...document.querySelectorAll('#panes img')].map(i => i.getBoundingClientRect().width)";
    let fit = browser.value(widths);
    browser.press("+");
    browser.press("+");
    assert_eq!(browser.value(widths), json!([32, 32]));
    for _ in 0..3 {
        browser.press("+");
    }
    assert_eq!(browser.value(widths), json!([256, 256]));
    browser.press("0");
    assert_eq!(browser.value(widths), fit);
}

#[test]
fn everything_works_from_the_keyboard_and_is_said_aloud() {
    let (_bench, Some(mut browser)) = rendered(SWEEP) else { return };
    browser.value("document.querySelector('.open').focus()");
    browser.press("ArrowRight");
    browser.press("ArrowRight");
    let focused = "document.activeElement.closest('.card')?.dataset.cell ?? ''";
    assert_eq!(browser.text(focused), "2");
    browser.press("Enter");
    browser.wait_for("document.querySelector('#viewer').open");
    let heading = "document.querySelector('#heading').textContent";
    assert_eq!(browser.text(heading), "cell 2");
    browser.press("ArrowRight");
    assert_eq!(browser.text(heading), "cell 3");
    assert_eq!(browser.text("document.querySelector('#panes img').alt"), "a red tree");
    browser.press("Escape");
    browser.wait_for("!document.querySelector('#viewer').open");
    // Focus returns to the cell that was seen last, once the page has heard of the end.
    browser.wait_for(&format!("({focused}) === '3'"));

    let said = browser.read_aloud();
    let named = |role: &str, name: &str| said.iter().any(|(r, n)| r == role && n == name);
    assert!(named("button", "cell 3, red · tree · 2: a red tree"), "{said:?}");
    for (role, name) in [
        ("heading", "tiny sweep"),
        ("combobox", "sort"),
        ("combobox", "colour"),
        ("searchbox", "find"),
        ("slider", "size of the pictures"),
        ("list", "Pictures"),
        ("checkbox", "compare"),
    ] {
        assert!(named(role, name), "no {role} {name:?} in {said:?}");
    }
    let nameless: Vec<_> = said
        .iter()
        .filter(|(role, name)| {
            name.is_empty() && ["button", "combobox", "checkbox"].contains(&role.as_str())
        })
        .collect();
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn the_page_is_dark_where_the_system_is_and_can_be_read() {
    let (_bench, Some(mut browser)) = rendered(SWEEP) else { return };
    // Contrast of two colours, as WCAG 2 has it.
    let contrast = "(() => { const light = c => { const [r, g, b] = c.match(/\\d+/g).map(v => { v /= \
         255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r \
         + 0.7152 * g + 0.0722 * b; }; const paper = light(getComputedStyle(document.body)\
         .backgroundColor); return ['h1', '.facts', '.said .score', '.said label'].map(s => { const \
         ink = light(getComputedStyle(document.querySelector(s)).color); const [a, b] = [ink, \
         paper].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); }); })()";
    let paper = "getComputedStyle(document.body).backgroundColor";
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        papers.push(browser.text(paper));
        let contrasts: Vec<f64> = serde_json::from_value(browser.value(contrast)).unwrap();
        assert!(contrasts.iter().all(|&c| c >= 4.5), "{scheme}: {contrasts:?}");
    }
    assert_ne!(papers[0], papers[1]);
}

#[test]
fn what_people_type_is_never_more_than_text() {
    let job = SWEEP.replace("a {colour} {thing}", HOSTILE);
    let (bench, Some(mut browser)) = rendered(&job) else { return };
    assert_eq!(cells(&mut browser).len(), CELLS);
    assert_eq!(browser.value("document.querySelectorAll('img[src=x], body script').length"), 2);
    browser.click(".card[data-cell='0'] .open");
    browser.wait_for("document.querySelector('#viewer').open");
    let said = browser.text("document.querySelector('#details dd').textContent");
    assert_eq!(said, "a red sun <img src=x onerror=alert(1)> \"&</script>");
    // A script that got in all the same would not run.
    browser.value(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; \
         document.body.append(s); })()",
    );
    assert_eq!(browser.value("window.ran ?? null"), Value::Null);
    let text = browser.text("jobFile(0)");
    assert_eq!(expanded(&bench, &text)["identity"], scores(&bench)[0]["identity"], "{text}");
}
