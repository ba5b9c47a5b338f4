//! Environment variables in the file's text.

/// Replaces `$NAME` and `${NAME}` in the whole text, comments included, before it is parsed.
///
/// A name is ASCII letters, digits and `_`; names that are not set stay as written. There is no
/// escape and no default: `$$A` is a `$` and the value of `A`. A value is not expanded again.
///
/// # Source
/// Feast 0.67 `repo_config.py` calls Python's POSIX `os.path.expandvars`.
pub fn expand_variables(text: &str, env: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, length) = variable(rest);
        match name.and_then(env) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The name of the variable that `text`, which begins with `$`, begins with, and how many bytes
/// of the text to replace or to keep.
fn variable(text: &str) -> (Option<&str>, usize) {
    let after = &text[1..];
    let (open, body) = match after.strip_prefix('{') {
        Some(body) => (1, body),
        None => (0, after),
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name_length = body.find(|c| !is_word(c)).unwrap_or(body.len());
    let is_closed = open == 0 || body[name_length..].starts_with('}');
    if name_length == 0 || !is_closed {
        return (None, 1);
    }
    (Some(&body[..name_length]), 1 + open + name_length + open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_as_python_does() {
        let env = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "LONG_name2" => Some("two".to_owned()),
            "LOOP" => Some("$A".to_owned()),
            _ => None,
        };
        for (text, expanded) in [
            ("plain", "plain"),
            ("x: $A", "x: 1"),
            ("x: ${A}y", "x: 1y"),
            ("$LONG_name2-$A", "two-1"),
            ("# $A in a comment", "# 1 in a comment"),
            ("$UNSET ${UNSET}", "$UNSET ${UNSET}"),
            ("${A:-default}", "${A:-default}"),
            (r"\$A", r"\1"),
            ("$$A", "$1"),
            ("$LOOP", "$A"),
            ("${A", "${A"),
            ("${}", "${}"),
            ("${UNSET$A}", "${UNSET1}"),
            ("€$A€", "€1€"),
            ("end$", "end$"),
            ("$Aé", "1é"),
        ] {
            assert_eq!(expand_variables(text, &env), expanded, "{text}");
        }
    }
}
