//! What an error says was found where something else was expected.
//!
//! Shared by everything that reads values of requests. Deliberately absent: what was expected.

use std::borrow::Cow;

use serde_json::Value as JsonValue;

use super::{Error, Value};

/// A longer text is cut: an error is no place for a document.
const TEXT_CHARS_MAX: usize = 60;

/// The error for a JSON value.
pub(super) fn refused(what: impl Into<Cow<'static, str>>, json: &JsonValue) -> Error {
    let found = match json {
        JsonValue::Null => "null".into(),
        JsonValue::Bool(value) => format!("`{value}`").into(),
        JsonValue::Number(number) => format!("`{number}`").into(),
        JsonValue::String(text) => return refused_text(what, text),
        JsonValue::Array(_) => "an array".into(),
        JsonValue::Object(_) => "an object".into(),
    };
    Error::Shape { what: what.into(), found }
}

/// The error for a text.
pub(super) fn refused_text(what: impl Into<Cow<'static, str>>, text: &str) -> Error {
    let mut cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    Error::Shape { what: what.into(), found: format!("the text `{cut}`").into() }
}

/// The error for a value of another type.
pub(super) fn refused_value(what: impl Into<Cow<'static, str>>, value: &Value) -> Error {
    let found: Cow<'static, str> = match (value, value.kind()) {
        (Value::Int32(number), _) => format!("the INT32 `{number}`").into(),
        (Value::Int64(number), _) => format!("the INT64 `{number}`").into(),
        (_, Some(kind)) => format!("a value of type {kind:?}").into(),
        (_, None) => "null".into(),
    };
    Error::Shape { what: what.into(), found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_say_what_was_found() {
        let long = "x".repeat(100);
        for (json, message) in [
            (json!(null), "a number expected, and got null".to_owned()),
            (json!(true), "a number expected, and got `true`".to_owned()),
            (json!(1.5), "a number expected, and got `1.5`".to_owned()),
            (json!("é"), "a number expected, and got the text `é`".to_owned()),
            (json!(long), format!("a number expected, and got the text `{}…`", &long[..60])),
            (json!([1]), "a number expected, and got an array".to_owned()),
            (json!({}), "a number expected, and got an object".to_owned()),
        ] {
            assert_eq!(refused("a number", &json).to_string(), message);
        }
        let value = |value| refused_value("a text", &value).to_string();
        assert_eq!(value(Value::Null), "a text expected, and got null");
        assert_eq!(value(Value::Int64(5)), "a text expected, and got the INT64 `5`");
        assert_eq!(value(Value::Bool(true)), "a text expected, and got a value of type Bool");
    }
}
