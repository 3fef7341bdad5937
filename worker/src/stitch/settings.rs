//! The settings of many cells, each text kept once.

use std::collections::HashMap;

use vqfarm_core::file::fields_of;
use vqfarm_core::render::RenderSettings;

/// The fields of cells' job files, field by field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    cells: usize,
    columns: Vec<Column>,
}

/// One field in all cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The field's dotted name in a job file.
    pub field: String,
    /// Its values as a job file has them; empty where a cell has none.
    pub texts: Vec<String>,
    /// For each cell, which of the texts is its own.
    pub at: Vec<usize>,
    known: HashMap<String, usize>,
}

impl Settings {
    /// Adds the next cell.
    pub fn push(&mut self, settings: &RenderSettings) {
        let fields = fields_of(settings);
        for (field, text) in fields {
            let column = match self.columns.iter().position(|column| column.field == field) {
                Some(known) => &mut self.columns[known],
                None => {
                    self.columns.push(Column::new(field));
                    let last = self.columns.len() - 1;
                    &mut self.columns[last]
                }
            };
            column.fill(self.cells);
            column.push(text);
        }
        self.cells += 1;
        for column in &mut self.columns {
            column.fill(self.cells);
        }
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }
}

impl Column {
    fn new(field: String) -> Self {
        Self { field, texts: Vec::new(), at: Vec::new(), known: HashMap::new() }
    }

    fn push(&mut self, text: String) {
        let next = self.texts.len();
        let at = *self.known.entry(text.clone()).or_insert(next);
        if at == next {
            self.texts.push(text);
        }
        self.at.push(at);
    }

    /// Cells up to here that did not have the field.
    fn fill(&mut self, cells: usize) {
        while self.at.len() < cells {
            self.push(String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_a_field_may_come_late() {
        let mut settings = Settings::default();
        for (seed, mask) in [(1, None), (2, Some("m.png")), (1, None)] {
            settings.push(&RenderSettings {
                seed,
                mask: mask.map(str::to_owned),
                ..RenderSettings::default()
            });
        }
        let column = |field: &str| {
            let column = settings.columns().iter().find(|column| column.field == field).unwrap();
            column.at.iter().map(|&at| column.texts[at].as_str()).collect::<Vec<_>>()
        };
        assert_eq!(column("render.seed"), ["1", "2", "1"]);
        assert_eq!(column("render.mask"), ["", "\"m.png\"", ""]);
        let seed = settings.columns().iter().find(|c| c.field == "render.seed").unwrap();
        assert_eq!(seed.texts, ["1", "2"]);
    }
}
