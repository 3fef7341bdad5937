//! The gallery: one HTML page that needs no server and asks nobody for anything.
//!
//! It shows the frames by their relative keys, so it works wherever the job's objects lie
//! side by side.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use super::table::Table;

/// The page for a sweep, to lie at `out/index.html`.
pub fn page(table: &Table) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("gallery", include_str!("gallery.html"))?;
    environment.get_template("gallery")?.render(context! {
        title => table.title.as_str(),
        facts => Serde(&table.facts),
        data => Serde(table),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::table::{Axis, Cell};

    #[test]
    fn what_people_type_stays_text() {
        let evil = r#"</script><script>alert(1)</script><img src=x onerror=alert(1)> " ' & <!--"#;
        let table = Table {
            title: evil.into(),
            axes: vec![Axis { name: evil.into(), values: vec![evil.into()] }],
            cells: vec![Cell {
                index: 0,
                place: vec![0],
                prompt: evil.into(),
                seed: 1,
                score: Some(0.25),
                image: Some("frames/000000.png".into()),
                error: Some(evil.into()),
            }],
            facts: vec![(evil.into(), evil.into())],
        };
        let page = page(&table).unwrap();
        assert!(!page.contains("alert(1)</script>"));
        assert!(!page.contains("<img src=x"));
        assert_eq!(page.matches("<script").count(), 2, "the page's own two scripts");
        assert_eq!(page.matches("</script").count(), 2);
        // The data block is still the table.
        let data = page.split(r#"id="data">"#).nth(1).unwrap().split("</script>").next().unwrap();
        let read: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(read["cells"][0]["prompt"], evil);
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let table = Table { title: "t".into(), axes: vec![], cells: vec![], facts: vec![] };
        let page = page(&table).unwrap();
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("//cdn"));
    }
}
