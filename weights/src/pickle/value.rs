//! Inert values. They live in one arena and refer to each other by index, so that cycles, sharing
//! and nesting of any depth cost no more than the bytes that made them.

/// Index of a value in its heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u32);

#[derive(Debug)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number that no size or position can be: a fraction, or of more than 64 bits.
    Number,
    Str(Box<str>),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Set,
    /// A class or function, by name only.
    Global {
        module: Box<str>,
        name: Box<str>,
    },
    /// What calling or instantiating something would have made.
    Object(Box<Object>),
    /// A reference to something outside the pickle; a tensor's storage, for PyTorch.
    Persistent(Id),
}

/// A call that was not made, with what would have been done to its result.
#[derive(Debug)]
pub(crate) struct Object {
    pub class: Id,
    pub args: Id,
    /// Key-value pairs set on it.
    pub pairs: Vec<(Id, Id)>,
    /// Its attributes, as handed to `__setstate__` or `__dict__`.
    pub state: Option<Id>,
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    values: Vec<Value>,
}

impl Heap {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn add(&mut self, value: Value) -> Id {
        let id = Id(self.values.len() as u32);
        self.values.push(value);
        id
    }

    pub fn get(&self, id: Id) -> &Value {
        &self.values[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    pub fn str(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// A non-negative integer.
    pub fn size(&self, id: Id) -> Option<u64> {
        self.int(id).and_then(|n| u64::try_from(n).ok())
    }

    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    pub fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The pairs of a dictionary, or of an object that is one (`OrderedDict` and the like).
    pub fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            Value::Object(object) => Some(&object.pairs),
            _ => None,
        }
    }

    /// The value last set under a text key.
    pub fn lookup(&self, id: Id, key: &str) -> Option<Id> {
        let pairs = self.pairs(id)?;
        pairs.iter().rev().find(|(k, _)| self.str(*k) == Some(key)).map(|(_, value)| *value)
    }
}
