//! `gen`: writes what is made from the code and kept beside it.
//!
//! Each piece is written by the test that compares it, so that the two cannot differ.

use crate::Outcome;
use crate::cargo::{cargo, succeeds};

/// Set for a test that is to write instead of compare.
const GENERATE: &str = "TIDEGATE_GENERATE";

/// The crate and the test of each piece.
const PIECES: [(&str, &str); 2] = [
    ("scheduler", "http::document::tests::the_golden_copy_is_what_is_served"),
    ("feature-server", "http::document::tests::the_golden_copy_is_what_is_served"),
];

/// Writes every piece anew.
pub(crate) fn run() -> Outcome {
    for (package, test) in PIECES {
        let mut command = cargo(&["test", "--package", package, "--lib", "--", "--exact", test])?;
        if !succeeds(command.env(GENERATE, "1"))? {
            return Ok(false);
        }
    }
    Ok(true)
}
