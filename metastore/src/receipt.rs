//! A receipt as the ledger stores it: JSON with event times as integers.
//!
//! Apart from `model::Receipt`'s own serialization, which is made for people and may change; what
//! is stored must read back for ever.

use model::{EventTime, Receipt, WriteCounts};
use serde::{Deserialize, Serialize};

/// The stored form. A field that is missing was not known when the receipt was stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    rows_read: u64,
    entities: u64,
    written: u64,
    stale: u64,
    tombstoned: u64,
    refused: u64,
    swept: u64,
    bytes_written: u64,
    event_time_min: Option<i64>,
    event_time_max: Option<i64>,
}

/// Writes a receipt for storing.
pub(crate) fn to_text(receipt: &Receipt) -> sqlx::Result<String> {
    let Receipt { rows_read, entities, counts, refused, swept, bytes_written, .. } = *receipt;
    crate::row::json(&Stored {
        rows_read,
        entities,
        written: counts.written,
        stale: counts.stale,
        tombstoned: counts.tombstoned,
        refused,
        swept,
        bytes_written,
        event_time_min: receipt.event_time_min.map(EventTime::nanos),
        event_time_max: receipt.event_time_max.map(EventTime::nanos),
    })
}

/// Reads a stored receipt.
pub(crate) fn from_text(text: &str) -> serde_json::Result<Receipt> {
    let stored: Stored = serde_json::from_str(text)?;
    Ok(Receipt {
        rows_read: stored.rows_read,
        entities: stored.entities,
        counts: WriteCounts {
            written: stored.written,
            stale: stored.stale,
            tombstoned: stored.tombstoned,
        },
        refused: stored.refused,
        swept: stored.swept,
        bytes_written: stored.bytes_written,
        event_time_min: stored.event_time_min.map(EventTime::from_nanos),
        event_time_max: stored.event_time_max.map(EventTime::from_nanos),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let receipt = Receipt {
            rows_read: 15,
            entities: 10,
            counts: WriteCounts { written: 1, stale: 2, tombstoned: 3 },
            refused: 4,
            swept: 5,
            bytes_written: u64::MAX,
            event_time_min: Some(EventTime::MIN),
            event_time_max: Some(EventTime::MAX),
        };
        assert_eq!(from_text(&to_text(&receipt).unwrap()).unwrap(), receipt);
    }

    #[test]
    fn the_stored_form_stays_readable() {
        let text = r#"{"rows_read":3,"entities":2,"written":2,"event_time_max":7,"later":true}"#;
        let receipt = from_text(text).unwrap();
        assert_eq!((receipt.rows_read, receipt.counts.written), (3, 2));
        assert_eq!(receipt.event_time_max, Some(EventTime::from_nanos(7)));
        assert_eq!(receipt.event_time_min, None);
    }
}
