//! Which tensors of a checkpoint belong to the model, and what they are called in it.
//!
//! Decided on names alone, before any tensor is read: training leaves behind much that is larger
//! than the model (a transformer around it, losses, running averages).

/// Prefixes that wrappers put before a model's own names, outermost first. Where some names carry
/// one, the others belong to something else.
const WRAPPERS: [&str; 4] = [
    // This project's golden fixtures.
    "weights.",
    // A transformer or a diffusion model trained on top of a VQGAN.
    "first_stage_model.",
    // DataParallel, DistributedDataParallel; OpenCLIP's training runs.
    "module.",
    // torch.compile.
    "_orig_mod.",
];

/// Prefixes of what only training needs.
const TRAINING: [&str; 2] = ["loss.", "model_ema."];

/// The wrappers to take off, given all names of a checkpoint.
pub(crate) struct Selection {
    prefix: String,
}

impl Selection {
    pub fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut prefix = String::new();
        for wrapper in WRAPPERS {
            let longer = format!("{prefix}{wrapper}");
            if names.clone().any(|name| name.starts_with(&longer)) {
                prefix = longer;
            }
        }
        Self { prefix }
    }

    /// The name in the model, or none for what is no part of it.
    pub fn name<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix(self.prefix.as_str())?;
        (!TRAINING.iter().any(|prefix| name.starts_with(prefix))).then_some(name)
    }

    /// Whether the names carried OpenCLIP's wrapper.
    pub fn distributed(&self) -> bool {
        self.prefix.contains("module.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Vec<String> {
        let selection = Selection::of(names.iter().copied());
        names.iter().filter_map(|n| selection.name(n)).map(str::to_owned).collect()
    }

    #[test]
    fn a_wrapped_model_is_told_from_what_surrounds_it() {
        let names = ["first_stage_model.decoder.x", "transformer.y", "first_stage_model.loss.z"];
        assert_eq!(selected(&names), ["decoder.x"]);
        assert_eq!(
            selected(&["module.visual.proj", "module.logit_scale"]),
            ["visual.proj", "logit_scale"]
        );
        assert_eq!(selected(&["weights.a", "image"]), ["a"]);
    }

    #[test]
    fn a_bare_model_keeps_its_names_and_loses_its_losses() {
        assert_eq!(selected(&["encoder.x", "loss.discriminator.y"]), ["encoder.x"]);
    }
}
