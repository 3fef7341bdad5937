//! The page of job files, of the schema's words: a table of fields for each table of the file.

use std::fmt::Write;

use serde_json::Value;
use vqfarm_testing::reference::{head, plain, table};

const ABOUT: &str = "
Every field of a job file, with what it holds, its default and its limits. Fields whose default is empty may be left out all the
same, but for those marked *needed*. How they are used: [job files](../job-files.md), [sweeps](../sweeps.md),
[animations](../animations.md). The same as JSON Schema, which editors complete and check by:
[job-file.schema.json](job-file.schema.json), or `vqfarm schema`.
";

/// `docs/reference/job-file.md`.
pub fn page(schema: &Value) -> String {
    let mut page = head("Fields of a job file") + ABOUT;
    add(&mut page, "", schema);
    page
}

/// A table of a job file and those in it.
fn add(page: &mut String, path: &str, schema: &Value) {
    let needed: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(fields) = schema["properties"].as_object() else { return };
    let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
    let row = |(name, field): (&String, &Value)| {
        let default = match needed.contains(&name.as_str()) {
            true => "*needed*".to_owned(),
            false => default(field),
        };
        [format!("`{name}`"), kind(field), default, limits(field), says(field)]
    };
    let rows =
        table(["field", "holds", "default", "limits", "what it says"], fields.iter().map(row));
    // Writing to a string does not fail.
    let _ = write!(page, "\n## {title}\n\n{rows}");
    for (name, field) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = table_in(field);
        let path = if is_list(field) { format!("{path}[]") } else { path };
        if let Some(inner) = inner {
            add(page, &path, inner);
        }
        if let Some(example) = field["examples"].as_array().and_then(|list| list.last())
            && example.is_object()
        {
            let _ = write!(
                page,
                "\n## `{path}`\n\nFor example, as JSON:\n\n```json\n{example:#}\n```\n"
            );
        }
    }
}

/// The schema of the table that a field is, or is a list of.
fn table_in(field: &Value) -> Option<&Value> {
    let choices = field["anyOf"].as_array().into_iter().flatten();
    let mut all = choices.chain([field, &field["items"]]);
    all.find(|schema| schema["properties"].is_object())
}

fn is_list(field: &Value) -> bool {
    field["items"].is_object()
}

/// What a field holds, in words.
fn kind(field: &Value) -> String {
    let choices = ["oneOf", "anyOf"].iter().find_map(|name| field[name].as_array());
    if let Some(choices) = choices {
        let mut kinds: Vec<String> =
            choices.iter().map(kind).filter(|kind| !kind.is_empty()).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    let words: Vec<Value> = field["enum"].as_array().cloned().unwrap_or_default();
    let words = words.iter().chain(field.get("const")).filter_map(Value::as_str);
    let words: Vec<String> = words.map(|word| format!("`\"{word}\"`")).collect();
    if !words.is_empty() {
        return words.join(" or ");
    }
    let types = match &field["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    let kinds = types.into_iter().filter_map(|kind| match kind {
        "integer" => Some("whole number".to_owned()),
        "number" => Some("number".to_owned()),
        "string" => Some("text".to_owned()),
        "boolean" => Some("`true` or `false`".to_owned()),
        "object" => Some("table".to_owned()),
        "array" => Some(match field["minItems"].as_u64().filter(|n| field["maxItems"] == *n) {
            Some(count) => format!("list of {count}: {}", kind_of_items(field)),
            None => format!("list of: {}", kind_of_items(field)),
        }),
        _ => None,
    });
    kinds.collect::<Vec<_>>().join(" or ")
}

fn kind_of_items(field: &Value) -> String {
    kind(&field["items"])
}

fn default(field: &Value) -> String {
    match &field["default"] {
        Value::Null | Value::Object(_) => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        Value::String(text) if text.is_empty() => String::new(),
        value => format!("`{value}`"),
    }
}

/// The least and the most, of what a list holds where it is one.
fn limits(field: &Value) -> String {
    let field = if is_list(field) { &field["items"] } else { field };
    // What says nothing of its own is all that the type holds.
    let number = |name: &str| field[name].as_f64().filter(|bound| *bound < 4_294_967_295.0);
    if field["exclusiveMinimum"].is_number() {
        return "more than 0".into();
    }
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) if least == most => format!("{most}"),
        (least, Some(most)) => format!("{} to {most}", least.unwrap_or(0.0)),
        (Some(least), None) => format!("{least} or more"),
        (None, None) => String::new(),
    }
}

/// What is said of a field, and of each word that it may hold.
fn says(field: &Value) -> String {
    let text = |schema: &Value| {
        let text = schema["description"].as_str().unwrap_or_default();
        plain(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let choices = field["oneOf"].as_array().into_iter().flatten();
    let of_words = choices.filter_map(|choice| {
        let word = choice["const"].as_str().or_else(|| {
            choice["required"].as_array().and_then(|names| names.first()).and_then(Value::as_str)
        })?;
        (!text(choice).is_empty()).then(|| format!("`{word}`: {}", text(choice)))
    });
    [text(field)].into_iter().chain(of_words).collect::<Vec<_>>().join(" ")
}
