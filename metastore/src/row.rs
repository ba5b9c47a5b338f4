//! Reads typed values out of rows.
//!
//! A file of its own so that a value nobody could have written, such as an unknown state, becomes
//! an error that names its column, everywhere in the same way.

use std::error::Error as StdError;
use std::str::FromStr;

use model::{EventTime, Interval, Receipt, ViewRef};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::receipt;

/// A row, read by column names.
pub(crate) struct Read<'a>(pub(crate) &'a AnyRow);

impl Read<'_> {
    pub(crate) fn number(&self, column: &str) -> sqlx::Result<i64> {
        self.0.try_get(column)
    }

    /// A number that is smaller than the `BIGINT` it is stored as.
    pub(crate) fn small<T>(&self, column: &str) -> sqlx::Result<T>
    where
        T: TryFrom<i64, Error: StdError + Send + Sync + 'static>,
    {
        self.number(column)?.try_into().map_err(|error: T::Error| corrupt(column, error))
    }

    pub(crate) fn small_opt<T>(&self, column: &str) -> sqlx::Result<Option<T>>
    where
        T: TryFrom<i64, Error: StdError + Send + Sync + 'static>,
    {
        self.0
            .try_get::<Option<i64>, _>(column)?
            .map(|number| number.try_into().map_err(|error: T::Error| corrupt(column, error)))
            .transpose()
    }

    /// A yes or no, stored as 1 or 0: SQLite has no type for it.
    pub(crate) fn flag(&self, column: &str) -> sqlx::Result<bool> {
        self.number(column).map(|number| number != 0)
    }

    pub(crate) fn text(&self, column: &str) -> sqlx::Result<String> {
        self.0.try_get(column)
    }

    pub(crate) fn text_opt(&self, column: &str) -> sqlx::Result<Option<String>> {
        self.0.try_get(column)
    }

    pub(crate) fn time(&self, column: &str) -> sqlx::Result<EventTime> {
        self.number(column).map(EventTime::from_nanos)
    }

    pub(crate) fn time_opt(&self, column: &str) -> sqlx::Result<Option<EventTime>> {
        Ok(self.0.try_get::<Option<i64>, _>(column)?.map(EventTime::from_nanos))
    }

    /// The interval in `interval_start` and `interval_end`.
    pub(crate) fn interval(&self) -> sqlx::Result<Interval> {
        Ok(Interval::new(self.time("interval_start")?, self.time("interval_end")?))
    }

    pub(crate) fn interval_opt(&self) -> sqlx::Result<Option<Interval>> {
        let bounds = self.time_opt("interval_start")?.zip(self.time_opt("interval_end")?);
        Ok(bounds.map(|(start, end)| Interval::new(start, end)))
    }

    /// The view in `project` and `storage_name`.
    pub(crate) fn view(&self) -> sqlx::Result<ViewRef> {
        Ok(ViewRef { project: self.text("project")?, storage_name: self.text("storage_name")? })
    }

    pub(crate) fn id<T>(&self, column: &str) -> sqlx::Result<T>
    where
        T: FromStr<Err: StdError + Send + Sync + 'static>,
    {
        self.text(column)?.parse().map_err(|error| corrupt(column, error))
    }

    /// A value stored by name, such as a state.
    pub(crate) fn named<T>(
        &self,
        column: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> sqlx::Result<T> {
        let text = self.text(column)?;
        parse(&text).ok_or_else(|| corrupt(column, format!("`{text}` is not known")))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| corrupt(column, error))
    }

    pub(crate) fn json_opt<T: DeserializeOwned>(&self, column: &str) -> sqlx::Result<Option<T>> {
        self.text_opt(column)?
            .map(|text| serde_json::from_str(&text).map_err(|error| corrupt(column, error)))
            .transpose()
    }

    /// The receipt in `receipt`.
    pub(crate) fn receipt_opt(&self) -> sqlx::Result<Option<Receipt>> {
        self.text_opt("receipt")?
            .map(|text| receipt::from_text(&text).map_err(|error| corrupt("receipt", error)))
            .transpose()
    }
}

/// Writes a value that [`Read::json`] reads back.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn corrupt(column: &str, error: impl Into<Box<dyn StdError + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: format!("`{column}`"), source: error.into() }
}
