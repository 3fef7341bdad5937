//! Expressions over the time: what they are made of and what they come to.

use super::noise::noise;

/// The moment at which a schedule is asked for its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// The frame's number, from 0: `t`.
    pub frame: f64,
    /// Frames of the whole animation: `frames`.
    pub frames: f64,
    /// Frames a second: `fps`.
    pub fps: f64,
    /// The job's seed: `seed`, and what `noise` is drawn from.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Variable {
    Time,
    Frames,
    Fps,
    Seed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Unequal,
    And,
    Or,
}

/// A function by its name, and how many arguments it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub least: usize,
    pub most: usize,
    apply: fn(&[f64], &Moment) -> f64,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Number(f64),
    Variable(Variable),
    Minus(Box<Expr>),
    Not(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Call(&'static Function, Vec<Expr>),
}

impl Expr {
    /// Its value; may be no number, or none that is finite.
    pub fn value(&self, at: &Moment) -> f64 {
        match self {
            Self::Number(value) => *value,
            Self::Variable(Variable::Time) => at.frame,
            Self::Variable(Variable::Frames) => at.frames,
            Self::Variable(Variable::Fps) => at.fps,
            Self::Variable(Variable::Seed) => at.seed as f64,
            Self::Minus(x) => -x.value(at),
            Self::Not(x) => truth(x.value(at) == 0.0),
            Self::Binary(operator, a, b) => operator.apply(a.value(at), b.value(at)),
            Self::Call(function, arguments) => {
                let values: Vec<f64> = arguments.iter().map(|x| x.value(at)).collect();
                (function.apply)(&values, at)
            }
        }
    }

    /// Whether it is the same in every frame.
    pub fn is_steady(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Variable(variable) => *variable != Variable::Time,
            Self::Minus(x) | Self::Not(x) => x.is_steady(),
            Self::Binary(_, a, b) => a.is_steady() && b.is_steady(),
            Self::Call(_, arguments) => arguments.iter().all(Self::is_steady),
        }
    }
}

fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

impl Operator {
    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Remainder => remainder(a, b),
            Self::Power => a.powf(b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::Equal => truth(a == b),
            Self::Unequal => truth(a != b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
        }
    }
}

/// With the sign of `b`, so that it counts round and round below 0 too.
fn remainder(a: f64, b: f64) -> f64 {
    a - b * (a / b).floor()
}

/// `most` of functions that take any number of arguments.
const ANY: usize = 64;

macro_rules! functions {
    ($($name:literal $least:literal..$most:expr => $apply:expr;)*) => {
        pub(super) static FUNCTIONS: &[Function] = &[
            $(Function { name: $name, least: $least, most: $most, apply: $apply },)*
        ];
    };
}

functions! {
    "sin" 1..1 => |x, _| x[0].sin();
    "cos" 1..1 => |x, _| x[0].cos();
    "tan" 1..1 => |x, _| x[0].tan();
    "asin" 1..1 => |x, _| x[0].asin();
    "acos" 1..1 => |x, _| x[0].acos();
    "atan" 1..1 => |x, _| x[0].atan();
    "atan2" 2..2 => |x, _| x[0].atan2(x[1]);
    "sinh" 1..1 => |x, _| x[0].sinh();
    "cosh" 1..1 => |x, _| x[0].cosh();
    "tanh" 1..1 => |x, _| x[0].tanh();
    "radians" 1..1 => |x, _| x[0].to_radians();
    "degrees" 1..1 => |x, _| x[0].to_degrees();
    "sqrt" 1..1 => |x, _| x[0].sqrt();
    "exp" 1..1 => |x, _| x[0].exp();
    "log" 1..1 => |x, _| x[0].ln();
    "log2" 1..1 => |x, _| x[0].log2();
    "log10" 1..1 => |x, _| x[0].log10();
    "pow" 2..2 => |x, _| x[0].powf(x[1]);
    "hypot" 2..2 => |x, _| x[0].hypot(x[1]);
    "abs" 1..1 => |x, _| x[0].abs();
    "sign" 1..1 => |x, _| if x[0] == 0.0 { 0.0 } else { x[0].signum() };
    "floor" 1..1 => |x, _| x[0].floor();
    "ceil" 1..1 => |x, _| x[0].ceil();
    "round" 1..1 => |x, _| x[0].round();
    "trunc" 1..1 => |x, _| x[0].trunc();
    "fract" 1..1 => |x, _| x[0] - x[0].floor();
    "mod" 2..2 => |x, _| remainder(x[0], x[1]);
    "min" 1..ANY => |x, _| x.iter().copied().fold(f64::INFINITY, f64::min);
    "max" 1..ANY => |x, _| x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    "clamp" 3..3 => |x, _| x[0].max(x[1]).min(x[2]);
    "where" 3..3 => |x, _| if x[0] != 0.0 { x[1] } else { x[2] };
    "lerp" 3..3 => |x, _| x[0] + (x[1] - x[0]) * x[2];
    "smoothstep" 3..3 => |x, _| super::ease(((x[2] - x[0]) / (x[1] - x[0])).clamp(0.0, 1.0));
    "noise" 1..2 => |x, at| noise(at.seed, x.get(1).copied().unwrap_or(0.0), x[0]);
}
