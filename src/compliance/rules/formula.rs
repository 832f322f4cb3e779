//! Formulas in rules: numbers, names, `+ - * / ^`, brackets and a few functions.
//!
//! A name stands for a value that an earlier record has left; `value` is the record's own.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// How deeply brackets may nest.
const MAX_DEPTH: usize = 32;

/// An arithmetic expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Formula {
    root: Node,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Name(String),
    Binary(char, Box<[Self; 2]>),
    Call(Function, Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// The next whole number.
    RoundUp,
    /// The previous whole number.
    RoundDown,
    /// The larger one of two.
    Max,
    /// Of four: the third if the first is below the second, otherwise the fourth.
    IfBelow,
}

impl Function {
    fn named(name: &str) -> Option<(Self, usize)> {
        match name {
            "round_up" => Some((Self::RoundUp, 1)),
            "round_down" => Some((Self::RoundDown, 1)),
            "max" => Some((Self::Max, 2)),
            "if_below" => Some((Self::IfBelow, 4)),
            _ => None,
        }
    }
}

impl Formula {
    /// The value, if `lookup` knows every name. `None` as well where Python raises an error: for a
    /// division by zero, and for rounding what is not finite.
    pub(in super::super) fn value(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
        self.root.value(lookup)
    }

    /// The names in the formula.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.add_names(&mut names);
        names
    }
}

impl Node {
    fn value(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => lookup(name),
            Self::Binary(operator, operands) => {
                let (a, b) = (operands[0].value(lookup)?, operands[1].value(lookup)?);
                match operator {
                    '+' => Some(a + b),
                    '-' => Some(a - b),
                    '*' => Some(a * b),
                    '/' => (b != 0.0).then(|| a / b),
                    _ => Some(a.powf(b)),
                }
            }
            Self::Call(function, arguments) => {
                let at = |index: usize| arguments.get(index)?.value(lookup);
                let finite = |x: f64| x.is_finite().then_some(x);
                match function {
                    Function::RoundUp => finite(at(0)?).map(f64::ceil),
                    Function::RoundDown => finite(at(0)?).map(f64::floor),
                    Function::Max => Some(at(0)?.max(at(1)?)),
                    Function::IfBelow => at(if at(0)? < at(1)? { 2 } else { 3 }),
                }
            }
        }
    }

    fn add_names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => names.push(name),
            Self::Binary(_, operands) => operands.iter().for_each(|node| node.add_names(names)),
            Self::Call(_, nodes) => nodes.iter().for_each(|node| node.add_names(names)),
        }
    }
}

/// The formula as it was written.
impl fmt::Display for Formula {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for Formula {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let root = parser.sum()?;
        match parser.peek() {
            None => Ok(Self { root, text: text.into() }),
            Some(other) => Err(parser.error(&format!("unexpected {other:?}"))),
        }
    }
}

impl From<f64> for Formula {
    fn from(number: f64) -> Self {
        Self { root: Node::Number(number), text: number.to_string() }
    }
}

impl<'de> Deserialize<'de> for Formula {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(FormulaVisitor)
    }
}

struct FormulaVisitor;

impl Visitor<'_> for FormulaVisitor {
    type Value = Formula;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number or a formula")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Formula, E> {
        Ok(number.into())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Formula, E> {
        Ok((number as f64).into())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Formula, E> {
        text.parse().map_err(E::custom)
    }
}

/// A parser by recursive descent.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, what: &str) -> String {
        format!("formula {:?}: {what} at byte {}", self.text, self.at + 1)
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn accept(&mut self, wanted: &[char]) -> Option<char> {
        let found = self.peek().filter(|found| wanted.contains(found))?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        self.accept(&[wanted])
            .map(drop)
            .ok_or_else(|| self.error(&format!("{wanted:?} is missing")))
    }

    fn sum(&mut self) -> Result<Node, String> {
        let mut left = self.product()?;
        while let Some(operator) = self.accept(&['+', '-']) {
            left = Node::Binary(operator, Box::new([left, self.product()?]));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node, String> {
        let mut left = self.power()?;
        while let Some(operator) = self.accept(&['*', '/']) {
            left = Node::Binary(operator, Box::new([left, self.power()?]));
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Node, String> {
        let base = self.operand()?;
        match self.accept(&['^']) {
            Some(operator) => Ok(Node::Binary(operator, Box::new([base, self.operand()?]))),
            None => Ok(base),
        }
    }

    fn operand(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("brackets nest too deeply"));
        }
        let node = match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.expect(')')?;
                inner
            }
            Some(first) if first.is_ascii_digit() => self.number()?,
            Some(first) if first.is_ascii_alphabetic() => self.name()?,
            _ => return Err(self.error("a number, a name or a bracket is missing")),
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Takes characters while `belongs` accepts them, given the previous one.
    fn take(&mut self, belongs: impl Fn(char, char) -> bool) -> &str {
        let start = self.at;
        let mut before = ' ';
        for next in self.text[start..].chars() {
            if !belongs(before, next) {
                break;
            }
            self.at += next.len_utf8();
            before = next;
        }
        &self.text[start..self.at]
    }

    fn number(&mut self) -> Result<Node, String> {
        let digits = self.take(|before, next| {
            next.is_ascii_digit() || matches!(next, '.' | 'e') || before == 'e' && next == '-'
        });
        let number = digits.parse::<f64>();
        number.map(Node::Number).map_err(|_| self.error("a bad number ends"))
    }

    fn name(&mut self) -> Result<Node, String> {
        let name = self.take(|_, next| next.is_ascii_alphanumeric() || next == '_').to_owned();
        if self.accept(&['(']).is_none() {
            return Ok(Node::Name(name));
        }
        let Some((function, num_arguments)) = Function::named(&name) else {
            return Err(self.error(&format!("{name} is no function; its arguments begin")));
        };
        let mut arguments = vec![self.sum()?];
        while self.accept(&[',']).is_some() {
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        if arguments.len() != num_arguments {
            return Err(self.error(&format!("{name} takes {num_arguments} arguments; it ends")));
        }
        Ok(Node::Call(function, arguments))
    }
}

/// Two formulas that must have the same value, written `A = B`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Equation {
    pub(in super::super) left: Formula,
    pub(in super::super) right: Formula,
}

impl fmt::Display for Equation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} = {}", self.left, self.right)
    }
}

impl<'de> Deserialize<'de> for Equation {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        let (left, right) = text.split_once(" = ").ok_or_else(|| {
            de::Error::custom(format!("equation {text:?} has no \" = \"; write A = B"))
        })?;
        let side = |side: &str| side.parse().map_err(de::Error::custom);
        Ok(Self { left: side(left)?, right: side(right)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<f64> {
        let formula: Formula = text.parse().unwrap();
        formula.value(&|name| (name == "batch").then_some(2304.0))
    }

    #[test]
    fn formulas_follow_the_order_of_operations() {
        assert_eq!(value("1 + 2 * 3 ^ 2 - 4 / 2"), Some(17.0));
        assert_eq!(value("(1 + 2) * 3 - 2 - 1"), Some(6.0));
        assert_eq!(value("round_up(8000 * 1152 / batch)"), Some(4000.0));
        assert_eq!(value("round_down(2.5 + 3840 / batch) + max(1, 2)"), Some(6.0));
        assert_eq!(value("if_below(batch, 8192, 0.712, 0.706)"), Some(0.712));
        assert_eq!(value("2.4e-05 * 1e2"), Some(0.002_400_000_000_000_000_2));
    }

    #[test]
    fn what_python_cannot_compute_has_no_value() {
        assert_eq!(value("1 / (batch - 2304)"), None);
        assert_eq!(value("round_up(1e308 * 10)"), None);
        assert_eq!(value("unknown + 1"), None);
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| text.parse::<Formula>().unwrap_err();
        assert_eq!(
            error("1 +"),
            "formula \"1 +\": a number, a name or a bracket is missing at byte 4"
        );
        assert_eq!(error("(1"), "formula \"(1\": ')' is missing at byte 3");
        assert!(error("sin(1)").contains("sin is no function"));
        assert!(error("max(1)").contains("max takes 2 arguments"));
        assert!(error(&"(".repeat(1000)).contains("nest too deeply"));
        assert!(error("1 é").contains("unexpected 'é'"));
    }
}
