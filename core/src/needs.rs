//! The models that a job refers to, and where it does.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::Job;
use crate::sweep::Axis;

/// What a model is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Generator,
    Perceptor,
}

/// A model that a job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelUse {
    /// The field that names it, as `render.perceptors[0]` or `sweep.axes.generator[2]`.
    pub field: String,
    pub name: String,
    pub role: Role,
}

impl Job {
    /// Every model that the cells refer to. The same name may be there more than once;
    /// fields of `[render]` that an axis replaces in every cell are left out.
    pub fn models(&self) -> Vec<ModelUse> {
        let mut uses = Vec::new();
        let axes = self.sweep.iter().flat_map(|sweep| &sweep.axes.0);
        let is_axis = |field: &str| axes.clone().any(|(name, _)| name == field);
        if !is_axis("generator") {
            let (field, name) = ("render.generator".into(), self.render.generator.clone());
            uses.push(ModelUse { field, name, role: Role::Generator });
        }
        if !is_axis("perceptors") {
            for (i, name) in self.render.perceptors.iter().enumerate() {
                let (field, name) = (format!("render.perceptors[{i}]"), name.clone());
                uses.push(ModelUse { field, name, role: Role::Perceptor });
            }
        }
        for (axis, values) in axes.clone() {
            let role = match axis.as_str() {
                "generator" => Role::Generator,
                "perceptors" => Role::Perceptor,
                _ => continue,
            };
            let Axis::List(values) = values else { continue };
            for (i, value) in values.iter().enumerate() {
                let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for name in names.iter().filter_map(Value::as_str) {
                    let (field, name) = (format!("sweep.axes.{axis}[{i}]"), name.to_owned());
                    uses.push(ModelUse { field, name, role });
                }
            }
        }
        uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};

    #[test]
    fn models_of_the_table_and_of_the_axes_are_found_with_their_fields() {
        let text = r#"
            version = 1
            [render]
            prompt = "a tree"
            generator = "unused"
            perceptors = ["ViT-B/32", "RN50"]
            [sweep.axes]
            generator = ["demo-f8", "coco"]
        "#;
        let document = Document::parse("job.toml", text.as_bytes()).unwrap();
        let job = document.job(Limits::default(), |_| Ok(vec![])).unwrap();
        let uses: Vec<_> = job.models().into_iter().map(|m| (m.field, m.name, m.role)).collect();
        let expected = [
            ("render.perceptors[0]", "ViT-B/32", Role::Perceptor),
            ("render.perceptors[1]", "RN50", Role::Perceptor),
            ("sweep.axes.generator[0]", "demo-f8", Role::Generator),
            ("sweep.axes.generator[1]", "coco", Role::Generator),
        ];
        assert_eq!(uses, expected.map(|(f, n, r)| (f.to_owned(), n.to_owned(), r)));
    }
}
