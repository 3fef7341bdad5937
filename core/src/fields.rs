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
