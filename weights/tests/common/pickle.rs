//! Pickles written by hand, instruction by instruction.

/// A pickle of protocol 2 that has not ended yet.
pub struct Pickle(Vec<u8>);

/// Pushes one value.
pub type Push<'a> = &'a dyn Fn(Pickle) -> Pickle;

impl Pickle {
    pub fn new() -> Self {
        Self(b"\x80\x02".to_vec())
    }

    pub fn op(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// What another pickle pushes.
    pub fn inner(self, other: Pickle) -> Self {
        self.op(&other.0[2..])
    }

    pub fn str(self, text: &str) -> Self {
        self.op(b"X").op(&(text.len() as u32).to_le_bytes()).op(text.as_bytes())
    }

    pub fn int(self, n: i64) -> Self {
        self.op(b"\x8a\x08").op(&n.to_le_bytes())
    }

    pub fn ints(self, items: &[i64]) -> Self {
        items.iter().fold(self.op(b"("), |p, &n| p.int(n)).op(b"t")
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.op(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn tuple1(self) -> Self {
        self.op(b"\x85")
    }

    pub fn dict(self, pairs: &[(&str, Push)]) -> Self {
        pairs.iter().fold(self.op(b"}("), |p, (key, push)| push(p.str(key))).op(b"u")
    }

    pub fn tensor(
        self,
        class: &str,
        key: &str,
        len: i64,
        offset: i64,
        shape: &[i64],
        strides: &[i64],
    ) -> Self {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .op(b"(")
            .op(b"(")
            .str("storage")
            .global("torch", class)
            .str(key)
            .str("cpu")
            .int(len)
            .op(b"tQ")
            .int(offset)
            .ints(shape)
            .ints(strides)
            .op(b"\x89")
            .global("collections", "OrderedDict")
            .op(b")RtR")
    }

    pub fn stop(self) -> Vec<u8> {
        self.op(b".").0
    }
}

/// A stream as `torch.save` wrote it before version 1.6; each storage with the length it claims.
pub fn legacy(object: Pickle, keys: &[&str], storages: &[(u64, &[u8])]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    let protocol = Pickle::new().int(1001).stop();
    let system = Pickle::new().dict(&[("little_endian", &|p| p.op(b"\x88"))]).stop();
    let keys = keys.iter().fold(Pickle::new().op(b"]("), |p, key| p.str(key)).op(b"e").stop();
    let mut file = [magic, protocol, system, object.stop(), keys].concat();
    for (len, bytes) in storages {
        file.extend(len.to_le_bytes());
        file.extend(*bytes);
    }
    file
}
