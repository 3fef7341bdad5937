//! A compact token table: rows of the tokens that training saw, the others zero.

use crate::error::Reason;
use crate::tensor::{StateDict, TensorData};

const TABLE: &str = "token_embedding.weight";
/// int64 [n], ascending token ids.
const INDEX: &str = "token_embedding.index";
/// [n, width], the rows of those ids.
const ROWS: &str = "token_embedding.rows";

/// Entries of CLIP's own vocabulary.
const VOCAB_SIZE: usize = 49_408;
const MAX_VOCAB_SIZE: usize = 1 << 20;
/// Bytes of the whole table. The largest published one has half of it.
const MAX_BYTES: usize = 256 << 20;

/// Replaces `token_embedding.index` and `.rows` by the whole `token_embedding.weight`; other state
/// dicts pass unchanged. `vocab_size` is the metadata's entry of that name.
pub(super) fn expand(mut state: StateDict, vocab_size: Option<&str>) -> Result<StateDict, Reason> {
    let (Some(index), Some(rows)) = (state.remove(INDEX), state.remove(ROWS)) else {
        return Ok(state);
    };
    let vocab_size = match vocab_size.map(str::parse::<usize>) {
        None => VOCAB_SIZE,
        Some(Ok(size)) if (1..=MAX_VOCAB_SIZE).contains(&size) => size,
        Some(_) => {
            let what = format!("it should be a number between 1 and {MAX_VOCAB_SIZE}");
            return Err(Reason::config("vocab_size", what));
        }
    };
    let ids = index.to_i64().filter(|_| index.shape.len() == 1).unwrap_or_default();
    let &[count, width] = rows.shape.as_slice() else {
        return Err(Reason::tensor(
            ROWS,
            format!("shape {:?} where [n, width] is needed", rows.shape),
        ));
    };
    if count == 0 || width == 0 || ids.len() != count {
        let problem = format!("int64 [{count}] is needed for {:?} rows", rows.shape);
        return Err(Reason::tensor(INDEX, problem));
    }
    let ascending = ids.windows(2).all(|pair| pair[0] < pair[1]);
    let bounds = 0..vocab_size as i64;
    if !ascending || !bounds.contains(&ids[0]) || !bounds.contains(&ids[count - 1]) {
        return Err(Reason::tensor(INDEX, format!("ids should ascend within 0..{vocab_size}")));
    }
    let len = width * rows.dtype.size();
    if len > MAX_BYTES / vocab_size {
        let what = "the bytes of its whole token table".into();
        let found = (vocab_size as u64).saturating_mul(len as u64);
        return Err(Reason::Limit { what, found, limit: MAX_BYTES as u64 });
    }
    let mut bytes = vec![0; vocab_size * len];
    for (row, id) in rows.bytes.chunks_exact(len).zip(ids) {
        let at = id as usize * len;
        bytes[at..at + len].copy_from_slice(row);
    }
    let (shape, bytes) = (vec![vocab_size, width], bytes.into());
    state.insert(TABLE, TensorData { shape, dtype: rows.dtype, bytes });
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    fn compact(ids: &[i64]) -> StateDict {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let rows: Vec<f32> = (0..2 * ids.len()).map(|x| x as f32 + 1.0).collect();
        let mut state = StateDict::new();
        state.insert(INDEX, TensorData { shape: vec![ids.len()], dtype: Dtype::I64, bytes });
        state.insert(ROWS, TensorData::from_f32(vec![ids.len(), 2], &rows));
        state
    }

    #[test]
    fn rows_go_to_their_ids_and_the_rest_is_zero() {
        let state = expand(compact(&[1, 3]), Some("5")).unwrap();
        let table = state.get(TABLE).unwrap();
        assert_eq!(table.shape, [5, 2]);
        assert_eq!(table.to_f32(), [0., 0., 1., 2., 0., 0., 3., 4., 0., 0.]);
        assert_eq!(expand(compact(&[0]), None).unwrap().get(TABLE).unwrap().shape, [49408, 2]);
    }

    #[test]
    fn ids_out_of_order_or_range_and_absurd_vocabularies_are_refused() {
        for (ids, vocab_size) in
            [(&[3, 1][..], "5"), (&[1, 1], "5"), (&[-1, 1], "5"), (&[1, 5], "5"), (&[1], "0")]
        {
            assert!(expand(compact(ids), Some(vocab_size)).is_err(), "{ids:?} of {vocab_size}");
        }
        assert!(expand(compact(&[1]), Some("99999999999")).is_err());
        assert!(expand(compact(&[]), None).is_err());
    }
}
