//! The gallery: one HTML page that needs no server and asks nobody for anything.
//!
//! It shows the frames by their relative keys, so it works wherever the job's objects lie
//! side by side.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::settings::Column;
use super::table::{Axis, Table};

const SCRIPT: &str = include_str!("script.js");
const STYLE: &str = include_str!("style.css");

/// The page for a sweep, to lie at `out/index.html` beside so many pages of its contact sheet.
pub fn page(table: &Table, sheets: usize) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("gallery", include_str!("page.html"))?;
    environment.get_template("gallery")?.render(context! {
        title => table.title.as_str(),
        facts => Serde(&table.facts),
        data => Serde(Data::of(table, sheets)),
        style => STYLE,
        script => SCRIPT,
        // No other script runs, whatever people type.
        script_hash => BASE64_STANDARD.encode(Sha256::digest(SCRIPT)),
    })
}

/// What the script reads: a list for each thing that is said of cells, in their order.
#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    axes: &'a [Axis],
    index: Vec<u64>,
    /// For each axis, which of its values each cell has.
    place: Vec<Vec<usize>>,
    score: Vec<Option<f32>>,
    /// Cells without a picture, by their positions, and why.
    missing: BTreeMap<usize, Option<&'a str>>,
    /// Cells that were stopped early, by their positions, and after how many iterations.
    stopped: BTreeMap<usize, u32>,
    settings: Vec<Setting<'a>>,
    sheets: usize,
}

/// One field of the job files of all cells.
#[derive(Serialize)]
struct Setting<'a> {
    field: &'a str,
    texts: &'a [String],
    /// For each cell, which text; left out where all have the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'a [usize]>,
}

impl<'a> Data<'a> {
    fn of(table: &'a Table, sheets: usize) -> Self {
        let cells = &table.cells;
        let missing = cells.iter().enumerate().filter(|(_, cell)| cell.image.is_none());
        let stopped = cells.iter().enumerate().filter_map(|(at, cell)| Some((at, cell.stopped?)));
        Self {
            title: &table.title,
            axes: &table.axes,
            index: cells.iter().map(|cell| cell.index).collect(),
            place: (0..table.axes.len())
                .map(|axis| cells.iter().map(|cell| cell.place[axis]).collect())
                .collect(),
            score: cells.iter().map(|cell| cell.score).collect(),
            missing: missing.map(|(at, cell)| (at, cell.error.as_deref())).collect(),
            stopped: stopped.collect(),
            settings: table.settings.columns().iter().map(Setting::of).collect(),
            sheets,
        }
    }
}

impl<'a> Setting<'a> {
    fn of(Column { field, texts, at, .. }: &'a Column) -> Self {
        Self { field, texts, at: (texts.len() > 1).then_some(at) }
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_core::render::RenderSettings;

    use super::*;
    use crate::stitch::settings::Settings;
    use crate::stitch::table::Cell;

    fn data(page: &str) -> serde_json::Value {
        let data = page.split(r#"id="data">"#).nth(1).unwrap().split("</script>").next().unwrap();
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn what_people_type_stays_text() {
        let evil = r#"</script><script>alert(1)</script><img src=x onerror=alert(1)> " ' & <!--"#;
        let mut settings = Settings::default();
        settings.push(&RenderSettings { prompt: evil.into(), ..RenderSettings::default() });
        let table = Table {
            title: evil.into(),
            axes: vec![Axis { name: evil.into(), values: vec![evil.into()] }],
            cells: vec![Cell {
                place: vec![0],
                prompt: evil.into(),
                error: Some(evil.into()),
                ..Cell::default()
            }],
            facts: vec![(evil.into(), evil.into())],
            settings,
        };
        let page = page(&table, 1).unwrap();
        assert!(!page.contains("alert(1)</script>"));
        assert!(!page.contains("<img src=x"));
        assert_eq!(page.matches("<script").count(), 2, "the page's own two scripts");
        assert_eq!(page.matches("</script").count(), 2);
        // The data block is still the table.
        let read = data(&page);
        assert_eq!((&read["title"], &read["missing"]["0"]), (&evil.into(), &evil.into()));
        let prompt = &read["settings"][0];
        assert_eq!(
            (&prompt["field"], &prompt["texts"]),
            (&"render.prompt".into(), &serde_json::json!([serde_json::to_string(evil).unwrap()]),)
        );
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let page = page(&Table::default(), 1).unwrap();
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"));
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn large_sweeps_say_nothing_twice() {
        let prompt = "a lighthouse above a quiet harbour at dawn in the style of an old print";
        let mut table = Table::default();
        for index in 0..10_000 {
            let render =
                RenderSettings { prompt: prompt.into(), seed: index, ..RenderSettings::default() };
            table.settings.push(&render);
            let image = Some(vqfarm_core::keys::frame(index));
            table.cells.push(Cell { index, score: Some(0.25), image, ..Cell::default() });
        }
        let page = page(&table, 1).unwrap();
        assert_eq!(page.matches(prompt).count(), 1);
        assert!(page.len() < 400_000, "{} bytes", page.len());
        assert_eq!(data(&page)["index"].as_array().unwrap().len(), 10_000);
    }
}
