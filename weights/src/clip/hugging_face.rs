//! Hugging Face's names for a CLIP, translated to OpenAI's.
//!
//! Their library splits the attention's input projection into three and stores the projections
//! into the common space the other way round.

use crate::error::Reason;
use crate::tensor::{StateDict, TensorData};

const PARTS: [&str; 3] = ["q", "k", "v"];

pub(super) fn rename(mut theirs: StateDict) -> Result<StateDict, Reason> {
    let mut ours = StateDict::new();
    let names: Vec<String> = theirs.names().map(str::to_owned).collect();
    for name in names {
        // The parts of an attention's projection go with the first of them.
        let Some(tensor) = theirs.remove(&name) else { continue };
        if let Some((layer, kind)) = name.split_once(".self_attn.k_proj.") {
            let mut part = |which: &str| {
                let name = format!("{layer}.self_attn.{which}_proj.{kind}");
                let hint = "the attention's projection is incomplete".into();
                theirs.remove(&name).ok_or(Reason::MissingTensor { name, hint })
            };
            let (q, v) = (part("q")?, part("v")?);
            let fused = concatenate(&name, [q, tensor, v])?;
            if let Some(layer) = block(layer) {
                ours.insert(format!("{layer}.attn.in_proj_{kind}"), fused);
            }
        } else if PARTS.iter().any(|part| name.contains(&format!(".self_attn.{part}_proj."))) {
            let hint = "the attention's projection is incomplete".into();
            let name = name.replace("q_proj", "k_proj").replace("v_proj", "k_proj");
            return Err(Reason::MissingTensor { name, hint });
        } else if let Some(own) = translate(&name) {
            let transposed = matches!(own.as_str(), "visual.proj" | "text_projection");
            ours.insert(own, if transposed { transpose(&name, &tensor)? } else { tensor });
        }
    }
    Ok(ours)
}

fn translate(name: &str) -> Option<String> {
    const WHOLE: [(&str, &str); 8] = [
        ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        ("text_projection.weight", "text_projection"),
        ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        ("visual_projection.weight", "visual.proj"),
        ("logit_scale", "logit_scale"),
    ];
    const NORMS: [(&str, &str); 3] = [
        ("text_model.final_layer_norm", "ln_final"),
        // Their spelling.
        ("vision_model.pre_layrnorm", "visual.ln_pre"),
        ("vision_model.post_layernorm", "visual.ln_post"),
    ];
    const IN_BLOCKS: [(&str, &str); 5] = [
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("self_attn.out_proj", "attn.out_proj"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    ];
    let find = |table: &[(&str, &str)], key: &str| {
        table.iter().find(|(theirs, _)| *theirs == key).map(|(_, ours)| (*ours).to_owned())
    };
    if let Some(own) = find(&WHOLE, name) {
        return Some(own);
    }
    let (module, kind) = name.rsplit_once('.')?;
    if let Some(own) = find(&NORMS, module) {
        return Some(format!("{own}.{kind}"));
    }
    IN_BLOCKS.iter().find_map(|(theirs, own)| {
        let layer = block(module.strip_suffix(theirs)?.strip_suffix('.')?)?;
        Some(format!("{layer}.{own}.{kind}"))
    })
}

/// `text_model.encoder.layers.3` → `transformer.resblocks.3`.
fn block(layer: &str) -> Option<String> {
    let tower = |theirs, ours| Some(format!("{ours}{}", layer.strip_prefix(theirs)?));
    tower("text_model.encoder.layers.", "transformer.resblocks.")
        .or_else(|| tower("vision_model.encoder.layers.", "visual.transformer.resblocks."))
}

/// Stacks tensors along their first dimension; all must have one shape and type.
fn concatenate(name: &str, parts: [TensorData; 3]) -> Result<TensorData, Reason> {
    let [first, second, third] = &parts;
    let same = |other: &TensorData| other.shape == first.shape && other.dtype == first.dtype;
    if first.shape.is_empty() || !same(second) || !same(third) {
        return Err(Reason::tensor(name, "its shape differs from its companions'"));
    }
    let mut shape = first.shape.clone();
    shape[0] *= parts.len();
    let dtype = first.dtype;
    let bytes = parts.into_iter().flat_map(|part| part.bytes).collect();
    Ok(TensorData { shape, dtype, bytes })
}

fn transpose(name: &str, tensor: &TensorData) -> Result<TensorData, Reason> {
    let &[rows, columns] = tensor.shape.as_slice() else {
        return Err(Reason::tensor(name, "a projection should be a matrix"));
    };
    let size = tensor.dtype.size();
    let mut bytes = Vec::with_capacity(tensor.bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            bytes.extend_from_slice(&tensor.bytes[at..at + size]);
        }
    }
    Ok(TensorData { shape: vec![columns, rows], dtype: tensor.dtype, bytes: bytes.into() })
}
