//! JSON as Python's `json.loads` takes it.
//!
//! A reader of our own because Python takes `NaN`, `Infinity`, numbers beyond a float's range and
//! lone surrogates, which serde_json refuses, and keeps integers of any size. Deliberately absent:
//! writing JSON (see `text.rs`).

use serde::de::IgnoredAny;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// An integer that needs more, by its digits.
    BigInt(String),
    /// A number with a point or an exponent; also `NaN` and `Infinity`.
    Float(f64),
    /// A text.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object in the text's order; of equal keys the last one's value.
    Object(Vec<(String, Json)>),
}

impl From<&serde_json::Value> for Json {
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(float)) if number.is_f64() => Self::Float(float),
                _ => Self::BigInt(number.to_string()),
            },
            serde_json::Value::String(text) => Self::String(text.clone()),
            serde_json::Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(members) => Self::Object(
                members.iter().map(|(key, member)| (key.clone(), Self::from(member))).collect(),
            ),
        }
    }
}

/// Why a text is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no JSON: {what} at byte {at}")]
pub struct JsonError {
    /// What was found, or missing.
    pub what: &'static str,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// Deepest nesting that is read. Python stops near 990; a thread's stack must hold it here.
const DEPTH_MAX: usize = 512;

/// Reads a text.
///
/// # Errors
/// `JsonError` where the text is no JSON; a lone surrogate is one too, since no text can hold it.
pub fn parse(text: &str) -> Result<Json, JsonError> {
    let mut parser = Parser { text, at: 0, depth: 0, surrogates: Surrogates::Refused };
    parser.document()
}

/// Tells whether a text is JSON to Python; nothing is kept of it.
///
/// # Errors
/// As [`parse`], but lone surrogates pass, since they stay escaped in the text.
pub fn check(text: &str) -> Result<(), JsonError> {
    // Whatever serde_json skips over is JSON to Python too, and it is the faster reader.
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Ok(());
    }
    let mut parser = Parser { text, at: 0, depth: 0, surrogates: Surrogates::Replaced };
    parser.document().map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Surrogates {
    Refused,
    Replaced,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    surrogates: Surrogates,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<Json, JsonError> {
        let json = self.value()?;
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(self.error("more text after the value"));
        }
        Ok(json)
    }

    fn value(&mut self) -> Result<Json, JsonError> {
        self.skip_blanks();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') if !self.rest().starts_with("-I") => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Json, JsonError> {
        let words = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        for (word, json) in words {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(json);
            }
        }
        Err(self.error("no value"))
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Json, JsonError>,
    ) -> Result<Json, JsonError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error("nesting deeper than 512"));
        }
        self.depth += 1;
        self.at += 1;
        let json = read(self);
        self.depth -= 1;
        json
    }

    fn array(&mut self) -> Result<Json, JsonError> {
        let mut items = Vec::new();
        self.skip_blanks();
        if self.eat(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_blanks();
            if self.eat(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',', "no `,` or `]`")?;
        }
    }

    fn object(&mut self) -> Result<Json, JsonError> {
        let mut entries = serde_json::Map::new();
        let mut values = Vec::new();
        self.skip_blanks();
        if self.eat(b'}') {
            return Ok(Json::Object(Vec::new()));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.error("no key in double quotes"));
            }
            let key = self.string()?;
            self.skip_blanks();
            self.expect(b':', "no `:`")?;
            // The map keeps the place of each key's newest value, in the order of the keys.
            entries.insert(key, values.len().into());
            values.push(Some(self.value()?));
            self.skip_blanks();
            if self.eat(b'}') {
                break;
            }
            self.expect(b',', "no `,` or `}`")?;
        }
        let mut newest = |place: serde_json::Value| {
            let place = place.as_u64().expect("a place was put in") as usize;
            values[place].take().expect("each place stands under one key")
        };
        Ok(Json::Object(entries.into_iter().map(|(key, place)| (key, newest(place))).collect()))
    }

    fn number(&mut self) -> Result<Json, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if self.eat(b'0') {
            // Nothing may follow a leading zero but a point or an exponent.
        } else if self.digits() == 0 {
            return Err(self.error("no digit"));
        }
        let whole_end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.error("no digit after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if self.digits() == 0 {
                return Err(self.error("no digit in the exponent"));
            }
        }
        let text = &self.text[start..self.at];
        if self.at > whole_end {
            let number = text.parse().map_err(|_| self.error("no number"))?;
            return Ok(Json::Float(number));
        }
        Ok(text.parse().map_or_else(|_| Json::BigInt(text.to_owned()), Json::Int))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest
                .find(|char: char| char == '"' || char == '\\' || char < ' ')
                .ok_or_else(|| self.error("no closing `\"`"))?;
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return Err(self.error("a control character in a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.error("no character after `\\`"))?;
        let char = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.error("an unknown escape")),
        };
        self.at += 1;
        Ok(char)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let unit = self.hex()?;
        if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with("\\u") {
            let behind_high = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).expect("a surrogate pair names a character"));
            }
            self.at = behind_high;
        }
        match char::from_u32(unit) {
            Some(char) => Ok(char),
            None if self.surrogates == Surrogates::Replaced => Ok(char::REPLACEMENT_CHARACTER),
            None => Err(self.error("a lone surrogate, which UTF-8 cannot hold")),
        }
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.error("no four hexadecimal digits"))?;
        self.at += 4;
        Ok(digits.iter().fold(0, |unit, digit| {
            unit << 4 | char::from(*digit).to_digit(16).expect("checked above")
        }))
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(what)) }
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_python_reads_is_read() {
        for (text, json) in [
            (" 1 ", Json::Int(1)),
            ("-0", Json::Int(0)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
            ("1e400", Json::Float(f64::INFINITY)),
            ("9223372036854775808", Json::BigInt("9223372036854775808".to_owned())),
            (r#""\u00e9\ud83d\ude00\/\n""#, Json::String("é😀/\n".to_owned())),
            ("[]", Json::Array(vec![])),
            ("[1, null]", Json::Array(vec![Json::Int(1), Json::Null])),
            (
                r#"{"a":1,"b":true,"a":2}"#,
                Json::Object(vec![
                    ("a".to_owned(), Json::Int(2)),
                    ("b".to_owned(), Json::Bool(true)),
                ]),
            ),
            ("{}", Json::Object(vec![])),
        ] {
            assert_eq!(parse(text), Ok(json), "{text}");
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert!(matches!(parse("NaN"), Ok(Json::Float(nan)) if nan.is_nan()));
    }

    #[test]
    fn whatever_python_refuses_is_refused() {
        for text in [
            "",
            "\u{feff}1",
            "[1,]",
            "01",
            "\"a\tb\"",
            "{\"a\"}",
            "{1:2}",
            "{\"a\":1,}",
            "1.",
            ".5",
            "+1",
            "1e",
            "nan",
            "-NaN",
            "tru",
            "[1",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "'a'",
            "-",
        ] {
            assert!(parse(text).is_err(), "{text}");
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lone_surrogates_pass_where_the_text_is_kept() {
        for text in [r#""\ud800""#, r#"[NaN, "\udc00\ud800"]"#, r#"[NaN, "\ud800\u0041"]"#] {
            assert!(parse(text).is_err());
            assert_eq!(check(text), Ok(()));
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&deep(DEPTH_MAX)).is_ok());
        assert!(parse(&deep(100_000)).is_err());
        assert!(check(&deep(500)).is_ok());
        assert!(check(&"[".repeat(100_000)).is_err());
    }
}
