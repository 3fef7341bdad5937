//! The stack machine. See the module above for what it does not do.

use std::collections::HashMap;

use super::globals::hostile;
use super::opcode as op;
use super::reader::{Reader, small_long, unescape};
use super::value::{Heap, Id, Object, Value};
use crate::error::Reason;

/// How much a pickle may make.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub values: usize,
}

impl Default for Limits {
    /// A checkpoint of a large model with its optimiser's state makes some hundred thousand.
    fn default() -> Self {
        Self { values: 4_000_000 }
    }
}

/// What a pickle came to.
pub(crate) struct Loaded {
    pub heap: Heap,
    pub root: Id,
    /// Bytes read, up to and with the pickle's end; others may follow.
    pub len: usize,
}

/// Reads the pickle at the front of `bytes`.
pub(crate) fn load(bytes: &[u8], limits: Limits) -> Result<Loaded, Reason> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        if machine.heap.len() > limits.values {
            let (found, limit) = (machine.heap.len() as u64, limits.values as u64);
            return Err(Reason::Limit {
                what: "the number of values in its pickle".into(),
                found,
                limit,
            });
        }
        let op = machine.reader.byte()?;
        if op == op::STOP {
            let root = machine.pop()?;
            return Ok(Loaded { heap: machine.heap, root, len: machine.reader.at });
        }
        machine.step(op)?;
    }
}

struct Machine<'a> {
    reader: Reader<'a>,
    heap: Heap,
    stack: Vec<Id>,
    /// Heights of the stack at which a mark lies.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl Machine<'_> {
    fn step(&mut self, op: u8) -> Result<(), Reason> {
        match op {
            op::PROTO => {
                let version = self.reader.byte()?;
                if version > 5 {
                    return self.reader.fail(format!("protocol {version} is not known"));
                }
            }
            op::FRAME => {
                self.reader.take(8)?;
            }
            op::MARK => self.marks.push(self.stack.len()),
            op::POP => {
                // A mark counts as an item here.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            op::POP_MARK => {
                self.pop_mark()?;
            }
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(op)?,
            op::GET | op::BINGET | op::LONG_BINGET => self.get(op)?,
            op::APPEND | op::APPENDS | op::SETITEM | op::SETITEMS | op::ADDITEMS | op::BUILD => {
                self.modify(op)?
            }
            op::GLOBAL
            | op::STACK_GLOBAL
            | op::REDUCE
            | op::INST
            | op::OBJ
            | op::NEWOBJ
            | op::NEWOBJ_EX
            | op::PERSID
            | op::BINPERSID => self.name_or_call(op)?,
            op::EXT1 | op::EXT2 | op::EXT4 => {
                return self.reader.fail("it uses Python's extension registry");
            }
            op::EMPTY_TUPLE
            | op::TUPLE
            | op::TUPLE1
            | op::TUPLE2
            | op::TUPLE3
            | op::EMPTY_LIST
            | op::LIST
            | op::EMPTY_DICT
            | op::DICT
            | op::EMPTY_SET
            | op::FROZENSET => self.collect(op)?,
            _ => {
                let value = self.scalar(op)?;
                self.push(value);
            }
        }
        Ok(())
    }

    /// Numbers and texts.
    fn scalar(&mut self, op: u8) -> Result<Value, Reason> {
        let r = &mut self.reader;
        Ok(match op {
            op::NONE => Value::None,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::INT => match r.text_line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => Value::Int(parse(r, digits)?),
            },
            op::LONG => {
                let digits = r.text_line()?;
                Value::Int(parse(r, digits.strip_suffix('L').unwrap_or(digits))?)
            }
            op::BININT => Value::Int(i64::from(r.uint(4)? as i32)),
            op::BININT1 => Value::Int(r.uint(1)? as i64),
            op::BININT2 => Value::Int(r.uint(2)? as i64),
            op::LONG1 | op::LONG4 => {
                let len = r.uint(if op == op::LONG1 { 1 } else { 4 })?;
                let bytes = r.take(len)?;
                small_long(bytes).map_or(Value::Number, Value::Int)
            }
            op::FLOAT => {
                r.line()?;
                Value::Number
            }
            op::BINFLOAT => {
                r.take(8)?;
                Value::Number
            }
            op::STRING | op::UNICODE => Value::Str(unescape(r.line()?)),
            op::BINSTRING | op::BINUNICODE => {
                let len = r.uint(4)?;
                Value::Str(r.text(len)?)
            }
            op::SHORT_BINSTRING | op::SHORT_BINUNICODE => {
                let len = r.uint(1)?;
                Value::Str(r.text(len)?)
            }
            op::BINUNICODE8 => {
                let len = r.uint(8)?;
                Value::Str(r.text(len)?)
            }
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                let width = match op {
                    op::SHORT_BINBYTES => 1,
                    op::BINBYTES => 4,
                    _ => 8,
                };
                let len = r.uint(width)?;
                r.take(len)?;
                Value::Bytes
            }
            _ => return r.fail(format!("there is no instruction {op:#04x}")),
        })
    }

    /// New tuples, lists, dictionaries and sets.
    fn collect(&mut self, op: u8) -> Result<(), Reason> {
        let value = match op {
            op::EMPTY_TUPLE => Value::Tuple(Vec::new()),
            op::EMPTY_LIST => Value::List(Vec::new()),
            op::EMPTY_DICT => Value::Dict(Vec::new()),
            op::EMPTY_SET => Value::Set,
            op::TUPLE => Value::Tuple(self.pop_mark()?),
            op::LIST => Value::List(self.pop_mark()?),
            op::DICT => {
                let items = self.pop_mark()?;
                Value::Dict(self.pairs(&items)?)
            }
            op::FROZENSET => {
                self.pop_mark()?;
                Value::Set
            }
            _ => {
                let len = usize::from(op - op::TUPLE1) + 1;
                let mut items = Vec::with_capacity(len);
                for _ in 0..len {
                    items.push(self.pop()?);
                }
                items.reverse();
                Value::Tuple(items)
            }
        };
        self.push(value);
        Ok(())
    }

    /// What changes the value on top of the stack.
    fn modify(&mut self, op: u8) -> Result<(), Reason> {
        let items = match op {
            op::APPEND | op::BUILD => vec![self.pop()?],
            op::SETITEM => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        let new_pairs = match op {
            op::SETITEM | op::SETITEMS => self.pairs(&items)?,
            _ => Vec::new(),
        };
        match (self.heap.get_mut(target), op) {
            (Value::List(list), op::APPEND | op::APPENDS) => list.extend(items),
            (Value::Dict(pairs), op::SETITEM | op::SETITEMS) => pairs.extend(new_pairs),
            (Value::Object(object), op::SETITEM | op::SETITEMS) => object.pairs.extend(new_pairs),
            (Value::Object(object), op::BUILD) => object.state = items.first().copied(),
            // Items of sets and of list-like objects never matter here.
            (Value::Object(_), op::APPEND | op::APPENDS | op::ADDITEMS)
            | (Value::Set, op::ADDITEMS) => {}
            (other, _) => {
                let what = format!("instruction {op:#04x} on {}", kind(other));
                return self.reader.fail(what);
            }
        }
        Ok(())
    }

    /// Names of classes and functions, and the calls that are not made.
    fn name_or_call(&mut self, op: u8) -> Result<(), Reason> {
        let value = match op {
            op::GLOBAL => self.read_global()?,
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.heap.str(module), self.heap.str(name)) {
                    (Some(module), Some(name)) => global(module, name)?,
                    _ => return self.reader.fail("a name is not text"),
                }
            }
            op::INST => {
                let class = self.read_global()?;
                let class = self.heap.add(class);
                let args = Value::Tuple(self.pop_mark()?);
                self.call(class, args)
            }
            op::OBJ => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return self.reader.fail("an object without a class");
                }
                let class = items.remove(0);
                self.call(class, Value::Tuple(items))
            }
            op::REDUCE | op::NEWOBJ => {
                let (args, class) = (self.pop()?, self.pop()?);
                object(class, args)
            }
            op::NEWOBJ_EX => {
                let (_keywords, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                object(class, args)
            }
            op::PERSID => {
                let text = self.reader.text_line()?.into();
                Value::Persistent(self.heap.add(Value::Str(text)))
            }
            _ => Value::Persistent(self.pop()?),
        };
        self.push(value);
        Ok(())
    }

    fn read_global(&mut self) -> Result<Value, Reason> {
        let module = self.reader.text_line()?;
        let name = self.reader.text_line()?;
        global(module, name)
    }

    fn call(&mut self, class: Id, args: Value) -> Value {
        let args = self.heap.add(args);
        object(class, args)
    }

    fn put(&mut self, op: u8) -> Result<(), Reason> {
        let key = match op {
            op::MEMOIZE => self.memo.len() as u64,
            _ => self.memo_key(op)?,
        };
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, op: u8) -> Result<(), Reason> {
        let key = self.memo_key(op)?;
        match self.memo.get(&key) {
            Some(&id) => self.stack.push(id),
            None => return self.reader.fail(format!("nothing is remembered as {key}")),
        }
        Ok(())
    }

    fn memo_key(&mut self, op: u8) -> Result<u64, Reason> {
        match op {
            op::BINPUT | op::BINGET => self.reader.uint(1),
            op::LONG_BINPUT | op::LONG_BINGET => self.reader.uint(4),
            _ => {
                let digits = self.reader.text_line()?;
                parse(&self.reader, digits)
            }
        }
    }

    fn push(&mut self, value: Value) {
        let id = self.heap.add(value);
        self.stack.push(id);
    }

    fn top(&self) -> Result<Id, Reason> {
        self.stack.last().copied().map_or_else(|| self.reader.fail("its stack is empty"), Ok)
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Reason> {
        match self.marks.pop() {
            Some(height) if height <= self.stack.len() => Ok(self.stack.split_off(height)),
            _ => self.reader.fail("a mark is missing"),
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, Reason> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return self.reader.fail("a key without a value");
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }
}

fn global(module: &str, name: &str) -> Result<Value, Reason> {
    if hostile(module, name) {
        return Err(Reason::Hostile { global: format!("{module}.{name}") });
    }
    Ok(Value::Global { module: module.into(), name: name.into() })
}

fn object(class: Id, args: Id) -> Value {
    Value::Object(Box::new(Object { class, args, pairs: Vec::new(), state: None }))
}

fn parse<T: std::str::FromStr>(reader: &Reader, digits: &str) -> Result<T, Reason> {
    digits.trim().parse().or_else(|_| reader.fail("a number that is none, or too large"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::Number => "a number",
        Value::Str(_) | Value::Bytes => "a text",
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
        Value::Set => "a set",
        Value::Global { .. } => "a name",
        Value::Object(_) => "an object",
        Value::Persistent(_) => "a reference",
    }
}
