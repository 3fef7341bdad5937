//! `scores.csv`: one line a cell, for spreadsheets and scripts.

use super::table::Table;

/// The table as CSV: index, the axes, prompt and seed where these are no axes, score, file,
/// identity, error. A prompt is what was rendered, with its placeholders filled in.
pub fn csv(table: &Table) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let axes = table.axes.iter().map(|axis| axis.name.as_str());
    let is_axis = |name: &str| table.axes.iter().any(|axis| axis.name == name);
    let (prompts, seeds) = (!is_axis("prompt"), !is_axis("seed"));
    let own = [("prompt", prompts), ("seed", seeds)].into_iter().filter(|(_, shown)| *shown);
    let head = std::iter::once("index").chain(axes).chain(own.map(|(name, _)| name));
    writer.write_record(head.chain(["score", "file", "identity", "error"]))?;
    for cell in &table.cells {
        let mut record = vec![cell.index.to_string()];
        record.extend((0..table.axes.len()).map(|axis| match table.axes[axis].name.as_str() {
            "prompt" => cell.prompt.clone(),
            _ => table.value(cell, axis).to_owned(),
        }));
        record.extend(prompts.then(|| cell.prompt.clone()));
        record.extend(seeds.then(|| cell.seed.to_string()));
        record.push(cell.score.map(|score| format!("{score:.6}")).unwrap_or_default());
        record.push(cell.image.clone().unwrap_or_default());
        record.push(cell.identity.clone());
        record.push(cell.error.clone().unwrap_or_default());
        writer.write_record(&record)?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stitch::table::{Axis, Cell};

    #[test]
    fn commas_quotes_and_line_breaks_survive() {
        let prompt = "a \"red\" sun, over\nthe sea";
        let cell = Cell {
            index: 0,
            place: vec![1],
            prompt: prompt.into(),
            seed: 7,
            score: Some(0.5),
            stopped: None,
            image: None,
            error: Some("out of memory".into()),
            identity: "1f0c".into(),
        };
        let axes = vec![Axis { name: "style".into(), values: vec!["flat".into(), "dots".into()] }];
        let table = Table { axes, cells: vec![cell], ..Table::default() };
        let bytes = csv(&table).unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let head = ["index", "style", "prompt", "seed", "score", "file", "identity", "error"];
        assert_eq!(reader.headers().unwrap(), head.as_slice());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record, vec!["0", "dots", prompt, "7", "0.500000", "", "1f0c", "out of memory"]);
    }

    #[test]
    fn a_prompt_from_an_axis_is_the_one_that_was_rendered() {
        let axes = vec![Axis { name: "prompt".into(), values: vec!["a {colour} sun".into()] }];
        let cell = Cell { place: vec![0], prompt: "a red sun".into(), ..Cell::default() };
        let table = Table { axes, cells: vec![cell], ..Table::default() };
        let text = String::from_utf8(csv(&table).unwrap()).unwrap();
        assert_eq!(text, "index,prompt,seed,score,file,identity,error\n0,a red sun,0,,,,\n");
    }
}
