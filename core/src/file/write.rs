//! Settings as a job file that makes the picture again.

use serde_json::{Value, json};

use crate::fields;
use crate::render::RenderSettings;
use crate::sweep;

/// A picture's settings as fields of a job by their dotted names, with their values in TOML:
/// `render.cutouts.count` and `32`. What has no value is left out. With a `version` they make a job
/// of this one picture.
pub fn fields_of(settings: &RenderSettings) -> Vec<(String, String)> {
    let mut tree = fields::to_json(settings);
    // In `[render]` it would be read as several prompts.
    let axis = sweep::escaped_prompt(&settings.prompt).map(|prompt| {
        fields::put(&mut tree, "prompt", Value::Null);
        ("sweep.axes.prompt".to_owned(), toml(&json!([prompt])))
    });
    let mut lines = Vec::new();
    flatten("render", &tree, &mut lines);
    lines.extend(axis);
    lines
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, lines);
            }
        }
        Value::Null => (),
        value => lines.push((path.to_owned(), toml(value))),
    }
}

/// A value on one line. Text is also JSON.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !value.is_null());
            let given: Vec<_> = given.map(|(name, v)| format!("{name} = {}", toml(v))).collect();
            format!("{{ {} }}", given.join(", "))
        }
        // Their escapes are the same but for one character.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};
    use crate::render::{Augmentation, ImagePrompt, Init, NoisePrompt};

    fn read_back(settings: &RenderSettings) -> RenderSettings {
        let lines = fields_of(settings).into_iter();
        let lines = lines.map(|(field, value)| format!("{field} = {value}\n"));
        let file = format!("version = 1\n{}", lines.collect::<String>());
        let document = Document::parse("job.toml", file.as_bytes()).expect(&file);
        let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let cells = document.job(Limits::default(), no_files).expect(&file).cells().expect(&file);
        assert_eq!(cells.len(), 1, "{file}");
        cells.cell(0).expect(&file).render
    }

    #[test]
    fn what_looks_like_variants_stays_one_prompt() {
        for prompt in ["a {red|blue} sun", "__animal__", "{x", "{x} }", "a {{b}}", "2$$ {1-2$$a|b}"]
        {
            let settings = RenderSettings { prompt: prompt.into(), ..RenderSettings::default() };
            assert_eq!(read_back(&settings).prompt, prompt);
        }
    }

    #[test]
    fn written_settings_are_read_back() {
        let plain = RenderSettings { prompt: "a sun".into(), ..RenderSettings::default() };
        assert_eq!(read_back(&plain), plain);
        let mut all = RenderSettings {
            prompt: "\"a\\b\" 'c' {{d}} # e\t月 \u{7f} \u{1} 🌙 : 1 | f:-0.5".into(),
            image_prompts: vec![
                ImagePrompt { image: "assets/a.png".into(), weight: 0.1, stop: Some(-1e-9) },
                ImagePrompt { image: "b \"c\".png".into(), weight: -2.0, stop: None },
            ],
            noise_prompts: vec![NoisePrompt { seed: u64::MAX, weight: 1e300 }],
            seed: u64::MAX,
            size: [96, 64],
            step_size: 1.0,
            init: Init::Image("assets/d.png".into()),
            init_weight: 0.30000000000000004,
            mask: Some("assets/e.png".into()),
            ..RenderSettings::default()
        };
        all.cutouts.augmentations = Some(vec![Augmentation::Ji, Augmentation::Sh]);
        assert_eq!(read_back(&all), all);
    }

    #[test]
    fn fields_have_dotted_names_and_the_empty_ones_are_left_out() {
        let lines = fields_of(&RenderSettings::default());
        let value = |field: &str| lines.iter().find(|(name, _)| name == field).map(|(_, v)| v);
        assert_eq!(value("render.cutouts.count").map(String::as_str), Some("32"));
        assert_eq!(value("render.size").map(String::as_str), Some("[512, 512]"));
        assert_eq!((value("render.mask"), value("render.cutouts")), (None, None));
    }
}
