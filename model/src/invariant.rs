//! What must always hold, stated once; tests and debug assertions call it from here.

use crate::receipt::Receipt;
use crate::watermark::Coverage;

/// A way in which the ledger contradicts itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Violation {
    /// The watermark is not the end of an interval that landed.
    #[error("the watermark is not the end of a landed interval")]
    WatermarkWithoutInterval,
    /// Rows went in that nobody accounted for.
    #[error("the receipt does not account for every entity: {0:?}")]
    UnbalancedReceipt(Receipt),
}

/// Checks that the watermark is the end of an interval that has landed.
///
/// # Errors
/// [`Violation::WatermarkWithoutInterval`].
pub fn watermark_is_covered(coverage: &Coverage) -> Result<(), Violation> {
    let Some(watermark) = coverage.watermark() else {
        return if coverage.intervals().is_empty() {
            Ok(())
        } else {
            Err(Violation::WatermarkWithoutInterval)
        };
    };
    coverage
        .intervals()
        .as_slice()
        .iter()
        .any(|interval| interval.end == watermark)
        .then_some(())
        .ok_or(Violation::WatermarkWithoutInterval)
}

/// Checks that every entity of a receipt was written, stale, tombstoned or refused.
///
/// # Errors
/// [`Violation::UnbalancedReceipt`].
pub fn receipt_is_balanced(receipt: &Receipt) -> Result<(), Violation> {
    receipt.is_balanced().then_some(()).ok_or(Violation::UnbalancedReceipt(*receipt))
}
