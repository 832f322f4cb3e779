//! A JSON value with Python's semantics. The reference compares and counts by Python's rules, under
//! which `true == 1`, `2.0 == 2` and a NaN equals itself.

use std::{collections::BTreeMap, fmt};

/// One JSON value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction and exponent.
    Int(i128),
    /// The digits of an integer that does not fit [`Value::Int`].
    Huge(String),
    /// Any other number; the log may contain `NaN` and `Infinity`.
    Float(f64),
    /// A string. A lone surrogate U+D8xx is stored as U+10D8xx (private use), which no log
    /// contains.
    Text(String),
    /// `[..]`
    List(Vec<Self>),
    /// `{..}`; the last of several members with one name counts.
    Map(BTreeMap<String, Self>),
}

impl Value {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one; `true` counts as 1, as in Python.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(yes) => Some(f64::from(u8::from(*yes))),
            Self::Int(int) => Some(*int as f64),
            Self::Huge(digits) => digits.parse().ok(),
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// The member `name`, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members.get(name),
            _ => None,
        }
    }

    /// Python's `name in self`; `None` where Python raises an error.
    pub(super) fn contains(&self, name: &str) -> Option<bool> {
        match self {
            Self::Map(members) => Some(members.contains_key(name)),
            Self::List(items) => Some(items.iter().any(|item| item.as_str() == Some(name))),
            Self::Text(text) => Some(text.contains(name)),
            _ => None,
        }
    }

    /// Python's `len(self)`; `None` where Python raises an error.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Map(members) => Some(members.len()),
            Self::List(items) => Some(items.len()),
            Self::Text(text) => Some(text.chars().count()),
            _ => None,
        }
    }

    /// Python's `==`, where NaN is one object and equals itself.
    #[expect(clippy::float_cmp, reason = "Python compares exactly")]
    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b)) | (Self::Huge(a), Self::Huge(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|((name, a), (other, b))| name == other && a.same(b))
            }
            (Self::Float(a), Self::Float(b)) => a == b || a.is_nan() && b.is_nan(),
            (Self::Float(float), whole) | (whole, Self::Float(float)) => match whole.as_i128() {
                Some(int) => int as f64 == *float && *float as i128 == int,
                None => false,
            },
            (a, b) => matches!((a.as_i128(), b.as_i128()), (Some(a), Some(b)) if a == b),
        }
    }

    fn as_i128(&self) -> Option<i128> {
        match self {
            Self::Bool(yes) => Some(i128::from(*yes)),
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }
}

/// JSON, cut after 60 characters, for messages.
impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = match self {
            Self::Null => "null".into(),
            Self::Bool(yes) => yes.to_string(),
            Self::Int(int) => int.to_string(),
            Self::Huge(digits) => digits.clone(),
            Self::Float(float) => format!("{float:?}"),
            Self::Text(text) => format!("{text:?}"),
            Self::List(items) => format!("a list of {}", items.len()),
            Self::Map(members) => {
                let names: Vec<_> = members.keys().map(String::as_str).collect();
                format!("an object of {}", names.join(", "))
            }
        };
        match whole.char_indices().nth(60) {
            Some((end, _)) => write!(out, "{}..", &whole[..end]),
            None => out.write_str(&whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_as_in_python() {
        use Value::{Bool, Float, Huge, Int, List, Null, Text};
        assert!(Bool(true).same(&Int(1)) && Bool(true).same(&Float(1.0)));
        assert!(Int(2).same(&Float(2.0)) && Float(f64::NAN).same(&Float(f64::NAN)));
        assert!(List(vec![Int(0)]).same(&List(vec![Bool(false)])));
        assert!(Null.same(&Null) && Huge("1".repeat(50)).same(&Huge("1".repeat(50))));
        assert!(!Int((1 << 53) + 1).same(&Float((1_u64 << 53) as f64)));
        assert!(!Null.same(&Bool(false)) && !Text("1".into()).same(&Int(1)));
    }

    #[test]
    fn membership_is_by_name_by_item_and_by_substring() {
        let name = || Value::Text("epoch_num".into());
        let map = Value::Map([("epoch_num".into(), Value::Null)].into());
        assert_eq!(map.contains("epoch_num"), Some(true));
        assert_eq!(Value::List(vec![name()]).contains("epoch_num"), Some(true));
        assert_eq!(Value::Text("an epoch_num".into()).contains("epoch_num"), Some(true));
        assert_eq!(Value::Text(String::new()).contains("epoch_num"), Some(false));
        assert_eq!(Value::Null.contains("epoch_num"), None);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = Value::Text("ü".repeat(100)).to_string();
        assert_eq!(text.chars().count(), 62);
        assert!(text.ends_with(".."));
    }
}
