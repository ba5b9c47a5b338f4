//! Bytes as the golden cases write them.

use anyhow::{Context, Result, ensure};

/// Two lower-case digits a byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a text of two digits each.
///
/// # Errors
/// When the text is anything else.
pub fn decode(text: &str) -> Result<Vec<u8>> {
    ensure!(text.len().is_multiple_of(2) && text.is_ascii(), "`{text}` is no hex text");
    (0..text.len())
        .step_by(2)
        .map(|at| {
            u8::from_str_radix(&text[at..at + 2], 16).with_context(|| format!("`{text}` is no hex"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() -> Result<()> {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&bytes))?, bytes);
        assert!(decode("0").is_err() && decode("zz").is_err() && decode("é").is_err());
        Ok(())
    }
}
