//! The files that a job refers to: where they are named, and how to point them elsewhere.

use serde_json::Value;

use crate::job::Job;
use crate::render::Init;
use crate::sweep::Axis;

/// Larger files are refused.
pub const MAX_BYTES: u64 = 64 << 20;

/// What a file must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AssetKind {
    /// PNG, JPEG, WebP or GIF.
    Picture,
    /// One of [`crate::sound::SoundFormat`].
    Sound,
}

impl AssetKind {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Sound => "sound",
        }
    }
}

/// A file that a job needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    pub kind: AssetKind,
    /// The field that names it, as `render.init.image` or `sweep.axes.mask[2]`.
    pub field: String,
    /// In a job file a path beside it; in a resolved job a [`crate::keys::asset`].
    pub path: String,
}

impl Job {
    /// Every file that the job refers to: pictures in `[render]` and on the axes, the film's
    /// soundtrack. The same path may be there more than once.
    pub fn assets(&self) -> Vec<Asset> {
        let mut assets = Vec::new();
        visit(&mut self.clone(), &mut |kind, field, path| {
            assets.push(Asset { kind, field, path: path.clone() });
        });
        assets
    }

    /// Replaces each path by what `name` says of it; `None` leaves it as it is.
    pub fn rewrite_assets(&mut self, name: impl Fn(&str) -> Option<String>) {
        visit(self, &mut |_, _, path| {
            if let Some(name) = name(path) {
                *path = name;
            }
        });
    }
}

fn visit(job: &mut Job, see: &mut dyn FnMut(AssetKind, String, &mut String)) {
    visit_pictures(job, &mut |field, path| see(AssetKind::Picture, field, path));
    if let Some(path) = &mut job.output.video.soundtrack {
        see(AssetKind::Sound, "output.video.soundtrack".into(), path);
    }
}

fn visit_pictures(job: &mut Job, see: &mut dyn FnMut(String, &mut String)) {
    if let Init::Image(path) = &mut job.render.init {
        see("render.init.image".into(), path);
    }
    if let Some(path) = &mut job.render.mask {
        see("render.mask".into(), path);
    }
    for (i, prompt) in job.render.image_prompts.iter_mut().enumerate() {
        see(format!("render.image_prompts[{i}].image"), &mut prompt.image);
    }
    let sources = job.animation.iter_mut().flat_map(|animation| &mut animation.source);
    for (i, picture) in sources.flat_map(|source| &mut source.pictures).enumerate() {
        see(format!("animation.source.pictures[{i}]"), picture);
    }
    for (name, axis) in job.sweep.iter_mut().flat_map(|sweep| &mut sweep.axes.0) {
        let Axis::List(values) = axis else { continue };
        for (i, value) in values.iter_mut().enumerate() {
            visit_value(name, format!("sweep.axes.{name}[{i}]"), value, see);
        }
    }
}

/// Paths in one value of the axis `name`.
fn visit_value(
    name: &str,
    field: String,
    value: &mut Value,
    see: &mut dyn FnMut(String, &mut String),
) {
    match (name, value) {
        ("init.image" | "mask", Value::String(path)) => see(field, path),
        ("init", Value::Object(fields)) => {
            if let Some(Value::String(path)) = fields.get_mut("image") {
                see(format!("{field}.image"), path);
            }
        }
        ("image_prompts", Value::Array(prompts)) => {
            for (i, prompt) in prompts.iter_mut().enumerate() {
                if let Some(Value::String(path)) = prompt.get_mut("image") {
                    see(format!("{field}[{i}].image"), path);
                }
            }
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};

    #[test]
    fn files_are_found_everywhere_and_can_move() {
        let text = r#"
            version = 1
            [render]
            prompt = "x"
            init = { image = "a.png" }
            mask = "b.png"
            image_prompts = [{ image = "c.png", weight = 0.5 }]
            [sweep.axes]
            init.image = ["d.png", "e.png"]
            mask = ["f.png"]
            image_prompts = [[{ image = "g.png" }], []]
            seed = [1]
            [output.video]
            soundtrack = "h.ogg"
        "#;
        let document = Document::parse("job.toml", text.as_bytes()).unwrap();
        let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let mut job = document.job(Limits::default(), none).unwrap();
        let found: Vec<_> =
            job.assets().iter().map(|asset| format!("{} {}", asset.field, asset.path)).collect();
        assert_eq!(
            found,
            [
                "render.init.image a.png",
                "render.mask b.png",
                "render.image_prompts[0].image c.png",
                "sweep.axes.init.image[0] d.png",
                "sweep.axes.init.image[1] e.png",
                "sweep.axes.mask[0] f.png",
                "sweep.axes.image_prompts[0][0].image g.png",
                "output.video.soundtrack h.ogg",
            ]
        );
        let sounds = job.assets().into_iter().filter(|asset| asset.kind == AssetKind::Sound);
        assert_eq!(sounds.count(), 1);
        let hash = job.spec_hash();
        job.output.video.soundtrack = None;
        assert_eq!(job.spec_hash(), hash, "the sound is no part of the pictures");
        job.output.video.soundtrack = Some("h.ogg".into());
        job.rewrite_assets(|path| (path != "b.png").then(|| format!("jobs/1/{path}")));
        let last = job.cells().unwrap().cell(2).unwrap().render;
        assert_eq!(last.init, Init::Image("jobs/1/e.png".into()));
        assert_eq!(last.image_prompts[0].image, "jobs/1/g.png");
        assert_eq!(job.render.mask.as_deref(), Some("b.png"));
        assert_eq!(job.output.video.soundtrack.as_deref(), Some("jobs/1/h.ogg"));
    }
}
