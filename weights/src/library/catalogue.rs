//! Published models that are known by name, and where they are to be had.

use crate::model::Kind;

/// A published model.
#[derive(Debug)]
pub struct Published {
    pub name: &'static str,
    pub kind: Kind,
    /// Where the file is, over HTTPS.
    pub url: &'static str,
    /// Hash of the file, where its publisher gives one.
    pub sha256: Option<&'static str>,
    pub licence: &'static str,
    /// What to know before pulling it.
    pub note: &'static str,
}

const OPENAI: &str = "MIT (OpenAI CLIP); see the model card about its limits";
const TAMING: &str = "MIT (taming-transformers); the images it was trained on have their own terms";
const WIKIART: &str = "none stated; trained on WikiArt by its community";

/// An OpenAI CLIP. Its hash is part of its address.
macro_rules! openai {
    ($name:literal, $file:literal, $sha256:literal) => {
        Published {
            name: $name,
            kind: Kind::Clip,
            url: concat!(
                "https://openaipublic.azureedge.net/clip/models/",
                $sha256,
                "/",
                $file,
                ".pt"
            ),
            sha256: Some($sha256),
            licence: OPENAI,
            note: "",
        }
    };
}

/// A VQGAN. None of their publishers gives a hash.
const fn vqgan(
    name: &'static str,
    url: &'static str,
    licence: &'static str,
    note: &'static str,
) -> Published {
    Published { name, kind: Kind::Vqgan, url, sha256: None, licence, note }
}

/// All that are known, perceptors first.
pub const CATALOGUE: &[Published] = &[
    openai!("RN50", "RN50", "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
    openai!("RN101", "RN101", "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
    openai!("RN50x4", "RN50x4", "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
    openai!(
        "RN50x16",
        "RN50x16",
        "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa"
    ),
    openai!(
        "RN50x64",
        "RN50x64",
        "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c"
    ),
    openai!(
        "ViT-B/32",
        "ViT-B-32",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    ),
    openai!(
        "ViT-B/16",
        "ViT-B-16",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    ),
    openai!(
        "ViT-L/14",
        "ViT-L-14",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
    ),
    openai!(
        "ViT-L/14@336px",
        "ViT-L-14-336px",
        "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    ),
    vqgan(
        "imagenet-f16-1024",
        "https://heibox.uni-heidelberg.de/d/8088892a516d4e3baf92/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        TAMING,
        "958 MB",
    ),
    vqgan(
        "imagenet-f16-16384",
        "https://heibox.uni-heidelberg.de/d/a7530b09fed84f80a887/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        TAMING,
        "980 MB",
    ),
    vqgan(
        "openimages-gumbel-f8",
        "https://heibox.uni-heidelberg.de/d/2e5662443a6b4307b470/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        TAMING,
        "376 MB",
    ),
    vqgan(
        "coco",
        "https://dl.nmkd.de/ai/clip/coco/coco.ckpt",
        TAMING,
        "8.4 GB, most of which is a transformer that is left out; a private mirror",
    ),
    vqgan(
        "faceshq",
        "https://app.koofr.net/content/links/a04deec9-0c59-4673-8b37-3d696fe63a5d/files/get/last.ckpt?path=%2F2020-11-13T21-41-45_faceshq_transformer%2Fcheckpoints%2Flast.ckpt",
        TAMING,
        "several GB, most of which is a transformer that is left out",
    ),
    vqgan(
        "sflckr",
        "https://heibox.uni-heidelberg.de/d/73487ab6e5314cb5adba/files/?p=%2Fcheckpoints%2Flast.ckpt&dl=1",
        TAMING,
        "several GB, most of which is a transformer that is left out",
    ),
    vqgan(
        "wikiart-1024",
        "https://github.com/Eleiber/VQGAN-Mirrors/releases/download/0.0.1/wikiart_1024.ckpt",
        WIKIART,
        "958 MB; a private mirror",
    ),
    vqgan(
        "wikiart-16384",
        "https://github.com/Eleiber/VQGAN-Mirrors/releases/download/0.0.1/wikiart_16384.ckpt",
        WIKIART,
        "1 GB; a private mirror",
    ),
];

/// A published model by its name, regardless of case.
pub fn published(name: &str) -> Option<&'static Published> {
    CATALOGUE.iter().find(|model| model.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::ModelName;

    #[test]
    fn names_are_legal_and_addresses_are_safe() {
        for (i, model) in CATALOGUE.iter().enumerate() {
            assert!(ModelName::new(model.name).is_ok(), "{}", model.name);
            assert!(model.url.starts_with("https://"), "{}", model.name);
            assert!(CATALOGUE[..i].iter().all(|other| other.name != model.name));
            if let Some(hash) = model.sha256 {
                assert!(hash.len() == 64 && model.url.contains(hash));
            }
        }
    }
}
