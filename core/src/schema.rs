//! The JSON Schema of job files: for editors, for other programs, and for the reference.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::animation::Prompts;
use crate::job::Job;
use crate::schedule::Schedule;
use crate::sweep::Axes;

/// What a job file may say: every field with its type, default, limits and meaning. It knows fields one
/// by one: what fits it may still be refused, by what the fields say together.
pub fn of_jobs() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Job>().to_value();
    schema["title"] = "A job of vqfarm".into();
    add_written_elsewhere(&mut schema);
    schema
}

/// What people may write in other places than the types have it.
fn add_written_elsewhere(schema: &mut Value) {
    let render = &mut schema["properties"]["render"]["properties"];
    for name in ["iterations", "step_size", "init_weight"] {
        let kind = render[name]["type"].clone();
        render[name]["type"] = json!([kind, "string"]);
        let said = render[name]["description"].as_str().unwrap_or_default();
        let said = format!("{said} In an animation also a schedule, which goes to `motion`.");
        render[name]["description"] = said.into();
    }
    let rate = "/properties/output/properties/video/properties/interpolate_to";
    let mut rate = schema.pointer(rate).cloned().unwrap_or_default();
    rate["description"] = "As `output.video.interpolate_to`.".into();
    match schema.pointer_mut("/properties/animation/properties") {
        Some(animation) => animation["interpolate_to"] = rate,
        None => unreachable!("a job has an animation"),
    }
}

impl JsonSchema for Schedule {
    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"], "examples": [1.02, "0:(1), 60:(2)"] })
    }
}

impl JsonSchema for Prompts {
    fn schema_name() -> Cow<'static, str> {
        "Prompts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[0-9]+$" },
            "additionalProperties": { "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": {
                        "prompt": { "type": "string" },
                        "fade": { "type": "integer", "minimum": 0 },
                        "cut": { "type": "boolean" },
                    },
                    "required": ["prompt"],
                    "additionalProperties": false,
                },
            ]},
            "examples": [{ "0": "a sun", "24": { "prompt": "a moon", "fade": 12 } }],
        })
    }
}

impl JsonSchema for Axes {
    fn schema_name() -> Cow<'static, str> {
        "Axes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": { "anyOf": [
                { "type": "array", "minItems": 1 },
                { "type": "string" },
                // A file, a pattern, a draw, replaced texts, or the rest of a dotted name.
                { "type": "object" },
            ]},
            "examples": [{
                "seed": "1-4",
                "colour": ["red", "white"],
                "style": { "file": "styles.txt" },
                "init.image": { "glob": "inits/*.png" },
                "step_size": { "random": [0.02, 0.2], "count": 8, "scale": "log", "seed": 1 },
                "thing": { "replace": "boat", "with": ["boat", "ship"] },
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};

    /// Every number with its path and its limits, arrays by their items.
    fn numbers(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
        let properties = schema["properties"].as_object().into_iter().flatten();
        for (name, below) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            numbers(&path, below, found);
            if ["minimum", "maximum"].iter().any(|limit| below.get(limit).is_some()) {
                found.push((path, below.clone()));
            }
        }
    }

    /// A job of each kind, and a film that is played again and again.
    fn jobs() -> [Value; 4] {
        let film = json!({ "codec": "av1", "soundtrack": "a.mp3" });
        let job = |name: &str, table: Value, video: &Value| {
            let render = json!({ "prompt": "a" });
            json!({ "version": 1, "render": render, "output": { "video": video }, name: table })
        };
        let animation = |mode: &str| json!({ "mode": mode, "prompts": { "0": "a" } });
        let sweep = json!({ "axes": { "seed": "1-4" }, "early_stop": { "iterations": 2 } });
        let mut painted = animation("video");
        painted["source"] = json!({ "pictures": vec!["a.png"; 200] });
        [
            job("sweep", sweep, &film),
            job("animation", animation("feedback"), &json!({ "codec": "webp" })),
            job("animation", animation("zoom"), &film),
            job("animation", painted, &film),
        ]
    }

    /// What is said of a field that has this value, in each kind of job.
    fn said(path: &str, value: &Value) -> Vec<String> {
        let mut said = Vec::new();
        for mut job in jobs() {
            crate::fields::put(&mut job, path, value.clone());
            let document = Document::parse("job.json", job.to_string().as_bytes()).unwrap();
            let problems = match document.job(Limits::default(), |_| Ok(Vec::new())) {
                Ok(_) => Vec::new(),
                Err(error) => error.problems,
            };
            let of_it = problems.into_iter().filter(|problem| problem.field == path);
            said.push(of_it.map(|problem| problem.message).collect::<Vec<_>>().join("; "));
        }
        said
    }

    #[test]
    fn limits_are_those_that_are_checked() {
        let mut all = Vec::new();
        numbers("", &of_jobs(), &mut all);
        // Mistakes of this one are told of the field that it stands for.
        all.retain(|(path, _)| path != "animation.interpolate_to");
        assert!(all.len() > 20, "{}", all.len());
        for (path, schema) in all {
            for (limit, step) in [("minimum", -1.0), ("maximum", 1.0)] {
                let Some(bound) = schema[limit].as_f64() else { continue };
                // What says nothing of its own is all that the type holds.
                if bound.abs() >= 4_294_967_295.0 {
                    continue;
                }
                let number = |x: f64| match schema["type"].to_string().contains("integer") {
                    true => json!(x as i64),
                    false => json!(x),
                };
                let (good, bad) = (said(&path, &number(bound)), said(&path, &number(bound + step)));
                let holds = good.iter().zip(&bad).any(|(g, b)| g.is_empty() && !b.is_empty());
                assert!(holds, "{path}: {limit} {bound}: {good:?}, beyond it {bad:?}");
            }
        }
    }

    #[test]
    fn it_has_the_fields_of_a_picture() {
        let schema = of_jobs();
        let render = &schema["properties"]["render"];
        for name in crate::fields::names().iter().filter(|name| *name != "init.image") {
            let path = format!("/properties/{}", name.replace('.', "/properties/"));
            let field = render.pointer(&path).unwrap_or_else(|| panic!("{name}"));
            assert!(field["description"].is_string(), "{name} says nothing");
        }
    }
}
