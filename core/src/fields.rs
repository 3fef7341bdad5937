//! The fields of `[render]` by their dotted names.

use serde_json::{Map, Value};

use crate::render::RenderSettings;

/// The settings as JSON; every field is there, with its default.
fn defaults() -> Value {
    to_json(&RenderSettings::default())
}

/// Any settings as JSON.
pub(crate) fn to_json(settings: &RenderSettings) -> Value {
    match serde_json::to_value(settings) {
        Ok(value) => value,
        Err(impossible) => unreachable!("settings are always JSON: {impossible}"),
    }
}

/// Whether `[render]` has a field of this dotted name.
pub fn is_field(path: &str) -> bool {
    path == "init.image" || lookup(&defaults(), path).is_some()
}

/// Whether the field takes whole numbers only.
pub fn is_whole(path: &str) -> bool {
    lookup(&defaults(), path).is_some_and(Value::is_u64)
}

/// Every field's dotted name.
pub fn names() -> Vec<String> {
    let mut names = vec!["init.image".to_owned()];
    if let Value::Object(fields) = defaults() {
        for (name, value) in fields {
            if let Value::Object(inner) = value {
                names.extend(inner.keys().map(|key| format!("{name}.{key}")));
            }
            names.push(name);
        }
    }
    names
}

/// The fields of `[render]` in which pictures that are rendered together may differ, but for their
/// parts; see [`RenderSettings::shared_in_a_batch`].
const FREE_IN_A_BATCH: [&str; 8] = [
    "prompt",
    "image_prompts",
    "noise_prompts",
    "seed",
    "phase_iterations",
    "init",
    "init_weight",
    "mask",
];

/// Whether pictures that differ in a field, by its dotted name, can be rendered together.
pub fn is_free_in_a_batch(path: &str) -> bool {
    path.split('.').next().is_some_and(|name| FREE_IN_A_BATCH.contains(&name))
}

fn lookup<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, name| node.as_object()?.get(name))
}

/// Puts `value` at a dotted path, making tables where there are none.
pub(crate) fn put(tree: &mut Value, path: &str, value: Value) {
    let mut node = tree;
    for name in path.split('.') {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        node = &mut node[name];
    }
    *node = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_shares_what_it_is_not_free_in() {
        let defaults = to_json(&RenderSettings::default().shared_in_a_batch());
        for name in FREE_IN_A_BATCH {
            assert!(is_field(name) && is_free_in_a_batch(name), "{name}");
        }
        let other: RenderSettings = serde_json::from_value(serde_json::json!({
            "prompt": "a", "seed": 1, "size": [8, 8], "iterations": 1, "phase_iterations": 1,
            "image_prompts": [{ "image": "a" }], "noise_prompts": [{ "seed": 1 }],
            "generator": "g", "perceptors": ["p"], "cutouts": { "count": 1 },
            "optimizer": "AdamW", "step_size": 1.0, "init": "noise", "init_weight": 1.0,
            "init_weight_form": "decay", "mask": "m", "precision": "bf16",
        }))
        .unwrap();
        let shared = to_json(&other.shared_in_a_batch());
        for (name, value) in to_json(&other).as_object().unwrap() {
            let expected = if is_free_in_a_batch(name) { &defaults[name] } else { value };
            assert_eq!(&shared[name], expected, "{name}");
            assert_ne!(value, &defaults[name], "the test sets {name}");
        }
    }

    #[test]
    fn every_name_is_a_field_and_others_are_not() {
        for name in names() {
            assert!(is_field(&name), "{name}");
        }
        for not in ["", "subject", "cutouts.cuont", "seed.x", "size.0", "cutouts."] {
            assert!(!is_field(not), "{not}");
        }
        assert!(is_whole("cutouts.count") && is_whole("seed"));
        assert!(!is_whole("step_size") && !is_whole("init_weight") && !is_whole("prompt"));
    }
}
