//! Reads JSON as Python's `json.loads` does: `NaN` and `Infinity` are numbers, the last of several
//! members with one name counts, lone surrogates are accepted, raw control characters in strings
//! are not, and an integer may have up to 4,300 digits. The text is Latin-1: one byte is one
//! character.

use std::collections::BTreeMap;

use super::value::Value;

/// Nesting depth at which Python fails too (its recursion limit minus the reference's own calls).
const MAX_DEPTH: usize = 985;
/// Python's limit on the digits of an integer.
const MAX_DIGITS: usize = 4300;

/// Why a text is not JSON, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    pub(super) reason: &'static str,
    pub(super) at: usize,
}

/// Reads the one value that makes up the text, apart from white space around it.
pub(super) fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_blanks();
    let value = reader.value(0)?;
    reader.skip_blanks();
    if reader.at < text.len() { Err(reader.error("text after the object")) } else { Ok(value) }
}

/// A JSON object as Python's `json.load` reads it from a UTF-8 file. What JSON cannot express (NaN,
/// infinite numbers, lone surrogates) becomes null or U+FFFD.
pub(crate) fn python_json(text: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let value = parse(text.as_bytes()).ok()?;
    match plain(&value) {
        serde_json::Value::Object(members) => Some(members),
        _ => None,
    }
}

fn plain(value: &Value) -> serde_json::Value {
    use serde_json::Value as Plain;
    match value {
        Value::Null => Plain::Null,
        Value::Bool(yes) => Plain::Bool(*yes),
        Value::Int(int) => i64::try_from(*int).map_or_else(|_| (*int as f64).into(), Plain::from),
        Value::Huge(_) => value.as_f64().into(),
        Value::Float(float) => (*float).into(),
        Value::Text(text) => Plain::String(utf8(text)),
        Value::List(items) => items.iter().map(plain).collect(),
        Value::Map(members) => {
            Plain::Object(members.iter().map(|(name, it)| (utf8(name), plain(it))).collect())
        }
    }
}

/// The text of bytes that were read one by one.
fn utf8(text: &str) -> String {
    let bytes: Option<Vec<u8>> = text.chars().map(|it| u8::try_from(u32::from(it)).ok()).collect();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| text.to_owned())
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, reason: &'static str) -> JsonError {
        JsonError { reason, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.text[self.at..].starts_with(text.as_bytes());
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?)),
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            _ if self.take("null") => Ok(Value::Null),
            _ if self.take("true") => Ok(Value::Bool(true)),
            _ if self.take("false") => Ok(Value::Bool(false)),
            _ if self.take("NaN") => Ok(Value::Float(f64::NAN)),
            _ if self.take("Infinity") => Ok(Value::Float(f64::INFINITY)),
            _ if self.take("-Infinity") => Ok(Value::Float(f64::NEG_INFINITY)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.error("a value is expected")),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut members = BTreeMap::new();
        self.at += 1;
        self.skip_blanks();
        if self.take("}") {
            return Ok(Value::Map(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("a member's name in double quotes is expected"));
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.take(":") {
                return Err(self.error("a colon is expected"));
            }
            self.skip_blanks();
            members.insert(name, self.value(depth + 1)?);
            self.skip_blanks();
            if self.take("}") {
                return Ok(Value::Map(members));
            }
            if !self.take(",") {
                return Err(self.error("a comma or a closing brace is expected"));
            }
            self.skip_blanks();
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_blanks();
        if self.take("]") {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take("]") {
                return Ok(Value::List(items));
            }
            if !self.take(",") {
                return Err(self.error("a comma or a closing bracket is expected"));
            }
            self.skip_blanks();
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// Leaves text after the number to the caller, as Python does.
    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take("-");
        if !self.take("0") && self.digits() == 0 {
            return Err(self.error("a digit is expected"));
        }
        let whole = self.at;
        if self.take(".") && self.digits() == 0 {
            self.at = whole;
        }
        let mantissa = self.at;
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if self.digits() == 0 {
                self.at = mantissa;
            }
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).expect("digits are ASCII");
        if self.at > whole {
            return Ok(Value::Float(text.parse().expect("a JSON number is one of Rust's")));
        }
        if text.trim_start_matches('-').len() > MAX_DIGITS {
            return Err(self.error("an integer with more than 4300 digits"));
        }
        Ok(text.parse().map_or_else(|_| Value::Huge(text.into()), Value::Int))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let mut text = String::new();
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(self.error("the string has no end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(0..=0x1f) => return Err(self.error("a control character in a string")),
                Some(byte) if byte.is_ascii() => text.push_str(self.plain()),
                Some(byte) => {
                    text.push(char::from(byte));
                    self.at += 1;
                }
            }
        }
    }

    /// The following characters that need no decoding.
    fn plain(&mut self) -> &str {
        let rest = &self.text[self.at..];
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x80..);
        let length = rest.iter().position(special).unwrap_or(rest.len());
        self.at += length;
        std::str::from_utf8(&rest[..length]).expect("ASCII is UTF-8")
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.error("an escape that JSON lacks")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// `\uXXXX`, from its `u`, and a second one if the two form a surrogate pair.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.unit()?;
        if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 1;
            let second = self.unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let point = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(point).expect("a surrogate pair is a character"));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or_else(|| {
            char::from_u32(0x10_0000 + first).expect("plane 16 has a place for every unit")
        }))
    }

    fn unit(&mut self) -> Result<u32, JsonError> {
        let hex = self.text.get(self.at + 1..self.at + 5);
        let digits = hex.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.error("four hexadecimal digits are expected after \\u"));
        };
        self.at += 5;
        let text = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
        Ok(u32::from_str_radix(text, 16).expect("four hexadecimal digits fit"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        parse(json.as_bytes()).unwrap().to_string()
    }

    fn reason(json: &str) -> &'static str {
        parse(json.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn accepts_what_python_accepts() {
        assert_eq!(text(" [NaN, -Infinity] \n"), "a list of 2");
        assert_eq!(text("-0.5e3"), "-500.0");
        assert_eq!(text("1e999"), "inf");
        assert_eq!(text("123456789012345678901234567890"), "123456789012345678901234567890");
        let huge = parse("9".repeat(MAX_DIGITS).as_bytes()).unwrap();
        assert_eq!(huge.as_f64(), Some(f64::INFINITY));
        let twice = parse(br#"{"a": 1, "a": 2}"#).unwrap();
        assert!(twice.get("a").unwrap().same(&Value::Int(2)));
    }

    #[test]
    fn strings_are_latin_1_with_escapes() {
        let value = parse(b"\"\xfc \\u00fc \\ud83d\\ude00 \\/\"").unwrap();
        assert_eq!(value.as_str(), Some("ü ü 😀 /"));
        let lone = parse(br#""\ud800x\ud801\n""#).unwrap();
        assert_eq!(lone.as_str(), Some("\u{10d800}x\u{10d801}\n"));
    }

    #[test]
    fn rejects_what_python_rejects_with_a_reason() {
        assert_eq!(reason("{} {}"), "text after the object");
        assert_eq!(reason("01"), "text after the object");
        assert_eq!(reason("1."), "text after the object");
        assert_eq!(reason("-"), "a digit is expected");
        assert_eq!(reason(""), "a value is expected");
        assert_eq!(reason("\"a\tb\""), "a control character in a string");
        assert_eq!(reason(r#""\u12g4""#), "four hexadecimal digits are expected after \\u");
        assert_eq!(reason(r#""\x""#), "an escape that JSON lacks");
        assert_eq!(reason("{'a': 1}"), "a member's name in double quotes is expected");
        assert_eq!(reason("{\"a\": 1,}"), "a member's name in double quotes is expected");
        assert_eq!(reason("[1,]"), "a value is expected");
        assert_eq!(reason("\"open"), "the string has no end");
        assert_eq!(reason(&"9".repeat(MAX_DIGITS + 1)), "an integer with more than 4300 digits");
        assert_eq!(reason(&"[".repeat(100_000)), "nested too deeply");
    }
}
