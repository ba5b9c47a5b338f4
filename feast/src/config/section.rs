//! One mapping of the file, read key by key, so that errors name the key.

use serde_norway::{Mapping, Value};

use super::Error;

/// A mapping and the key it stands under.
pub(super) struct Section<'a> {
    /// Empty for the file itself.
    name: &'static str,
    mapping: &'a Mapping,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: &'static str, mapping: &'a Mapping) -> Self {
        Self { name, mapping }
    }

    /// The key with the section it stands in.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The value of a key; `None` when it is absent or null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.mapping.get(key).filter(|value| !value.is_null())
    }

    /// Tells whether the key is there and null.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.mapping.get(key).is_some_and(Value::is_null)
    }

    /// The keys that are text, and all others as they print.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> + 'a {
        self.mapping.keys().map(|key| match key {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            other => kind(other).to_owned(),
        })
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong_type(key, "text", other)),
        }
    }

    /// A boolean, in YAML 1.1's words too, which PyYAML reads.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        let word = match self.value(key) {
            None => return Ok(default),
            Some(Value::Bool(flag)) => return Ok(*flag),
            Some(Value::String(word)) => word.to_ascii_lowercase(),
            Some(other) => return Err(self.wrong_type(key, "true or false", other)),
        };
        match word.as_str() {
            "yes" | "on" | "true" => Ok(true),
            "no" | "off" | "false" => Ok(false),
            _ => Err(self.wrong_type(key, "true or false", &Value::String(word))),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i64>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(other) => match other.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong_type(key, "an integer", other)),
            },
        }
    }

    /// A positive integer.
    pub(super) fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(number) = self.integer(key)? else { return Ok(None) };
        match usize::try_from(number) {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(self.invalid(key, &number.to_string(), "it must be above 0")),
        }
    }

    /// A mapping below this one.
    pub(super) fn section(
        &self,
        key: &str,
        name: &'static str,
    ) -> Result<Option<Section<'a>>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Mapping(mapping)) => Ok(Some(Section::new(name, mapping))),
            Some(other) => Err(self.wrong_type(key, "a mapping of keys", other)),
        }
    }

    /// Refuses every key that is not among `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Error> {
        match self.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::UnknownKey {
                section: self.name.to_owned(),
                key,
                known: known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    pub(super) fn wrong_type(&self, key: &str, expected: &'static str, found: &Value) -> Error {
        Error::Type { key: self.path(key), expected, found: kind(found) }
    }

    pub(super) fn invalid(&self, key: &str, value: &str, why: &str) -> Error {
        Error::Value { key: self.path(key), value: value.to_owned(), why: why.to_owned() }
    }

    pub(super) fn unsupported(&self, key: &str, value: &str, hint: &str) -> Error {
        Error::Unsupported { key: self.path(key), value: value.to_owned(), hint: hint.to_owned() }
    }
}

/// What a value is, in a word.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with decimals",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}
