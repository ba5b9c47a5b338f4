//! An answer with features, as columns that can be compared.
//!
//! Values are kept as the text that was sent, since `1` and `1.0` are the same number and not the
//! same answer. The columns of one answer come in an order; Feast's is that of a Python set, so
//! whoever compares with Feast sorts them first.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::svc::JOIN_KEYS;

/// The event time of whatever has none.
pub(crate) const EPOCH: &str = "1970-01-01T00:00:00Z";

/// One column of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Each the JSON that was sent.
    pub(crate) values: Vec<String>,
    pub(crate) statuses: Vec<String>,
    pub(crate) event_times: Vec<String>,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// Versions of views, when they were asked for.
    pub(crate) views: Option<Value>,
    /// How a null is written.
    pub(crate) null: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    results: Vec<WireColumn>,
    metadata: WireMetadata,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireColumn {
    values: Vec<Box<RawValue>>,
    statuses: Vec<String>,
    event_timestamps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireMetadata {
    feature_names: Vec<String>,
    feature_view_metadata: Option<Value>,
}

impl Table {
    /// Reads the body of an answer over HTTP.
    pub(crate) fn read(body: &str) -> Result<Self> {
        let wire: Wire = serde_json::from_str(body).with_context(|| format!("`{body}`"))?;
        let names = wire.metadata.feature_names;
        ensure!(names.len() == wire.results.len(), "{} columns: {body}", wire.results.len());
        let columns = names.into_iter().zip(wire.results).map(|(name, column)| Column {
            name,
            values: column.values.iter().map(|value| value.get().to_owned()).collect(),
            statuses: column.statuses,
            event_times: column.event_timestamps,
        });
        let columns = columns.collect();
        let table = Self { columns, views: wire.metadata.feature_view_metadata, null: "null" };
        table.check().with_context(|| format!("`{body}`"))
    }

    /// Reads an answer over gRPC, as Feast's Python prints messages.
    pub(crate) fn of_message(message: &Value) -> Result<Self> {
        let texts = |list: &Value| -> Vec<String> {
            let items = list.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let names = texts(&message["metadata"]["feature_names"]["val"]);
        let results = message["results"].as_array().context("an answer has columns")?;
        ensure!(names.len() == results.len(), "{} columns: {message}", results.len());
        let columns = names.into_iter().zip(results).map(|(name, column)| {
            let values = column["values"].as_array().into_iter().flatten();
            Column {
                name,
                values: values.map(Value::to_string).collect(),
                statuses: texts(&column["statuses"]),
                event_times: texts(&column["event_timestamps"]),
            }
        });
        let views = message["metadata"].get("feature_view_metadata").cloned();
        let table = Self { columns: columns.collect(), views, null: "{}" };
        table.check().with_context(|| message.to_string())
    }

    /// All columns must have as many statuses and times as values, and all as many as each other.
    fn check(self) -> Result<Self> {
        let rows = self.columns.first().map_or(0, |column| column.values.len());
        for column in &self.columns {
            let lengths = [column.values.len(), column.statuses.len(), column.event_times.len()];
            ensure!(lengths == [rows; 3], "`{}` has {lengths:?} of {rows} rows", column.name);
        }
        Ok(self)
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    /// The same with features by name; what identifies the rows keeps its order.
    pub(crate) fn sorted(mut self) -> Self {
        let place = |column: &Column| match is_join_key(&column.name) {
            true => (false, String::new()),
            false => (true, column.name.clone()),
        };
        self.columns.sort_by_key(place);
        self
    }

    /// The same with each value in our spelling.
    pub(crate) fn respelled(mut self) -> Result<Self> {
        for value in self.columns.iter_mut().flat_map(|column| &mut column.values) {
            *value = respelled(value)?;
        }
        Ok(self)
    }

    /// The same with other statuses in some columns. A value whose status says that there is none
    /// becomes null.
    pub(crate) fn with_statuses(mut self, of_columns: &[(&str, &[&str])]) -> Result<Self> {
        for (name, statuses) in of_columns {
            let null = self.null;
            let column = self.columns.iter_mut().find(|column| column.name == *name);
            let column = column.with_context(|| format!("there is no column `{name}`"))?;
            ensure!(statuses.len() == column.values.len(), "`{name}` has other rows");
            for (value, status) in column.values.iter_mut().zip(*statuses) {
                if ["NULL_VALUE", "NOT_FOUND"].contains(status) {
                    *value = null.to_owned();
                }
            }
            column.statuses = statuses.iter().map(|&status| status.to_owned()).collect();
        }
        Ok(self)
    }
}

/// JSON in our spelling. Numbers are read to the last digit, which `serde_json` alone does not do.
fn respelled(json: &str) -> Result<String> {
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
        let items: Vec<_> =
            items.iter().map(|item| respelled(item.get())).collect::<Result<_>>()?;
        return Ok(format!("[{}]", items.join(",")));
    }
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    Ok(match is_number && json.contains(['.', 'e', 'E']) {
        true => Value::from(json.parse::<f64>()?).to_string(),
        false if is_number => json.to_owned(),
        false => serde_json::from_str::<Value>(json)?.to_string(),
    })
}

fn is_join_key(name: &str) -> bool {
    JOIN_KEYS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"results":[
        {"values":[7,8],"statuses":["PRESENT","PRESENT"],"event_timestamps":["t","t"]},
        {"values":[1e+300,null],"statuses":["PRESENT","PRESENT"],"event_timestamps":["t","u"]},
        {"values":[1.0,-0.0],"statuses":["PRESENT","PRESENT"],"event_timestamps":["t","u"]}
        ],"metadata":{"feature_names":["driver_id","b","a"]}}"#;

    #[test]
    fn values_keep_the_text_that_was_sent() -> Result<()> {
        let table = Table::read(BODY)?;
        assert_eq!(table.names(), ["driver_id", "b", "a"]);
        assert_eq!(table.columns[1].values, ["1e+300", "null"]);
        assert_eq!(table.columns[2].values, ["1.0", "-0.0"]);
        assert_eq!(table.clone().sorted().names(), ["driver_id", "a", "b"]);
        assert_eq!(table.respelled()?.columns[1].values[0], Value::from(1e300).to_string());
        Ok(())
    }

    #[test]
    fn numbers_are_read_to_the_last_digit() -> Result<()> {
        for exact in ["3.4028234663852886e+38", "0.10000000149011612", "5e-324", "-0.0"] {
            let number: f64 = exact.parse()?;
            assert_eq!(respelled(exact)?, Value::from(number).to_string());
        }
        assert_eq!(respelled("[1, 1.50, \"a\\u0062\", null]")?, "[1,1.5,\"ab\",null]");
        assert_eq!(respelled("9223372036854775808")?, "9223372036854775808");
        Ok(())
    }

    #[test]
    fn a_status_that_says_there_is_nothing_takes_the_value() -> Result<()> {
        let table = Table::read(BODY)?;
        let changed = table.with_statuses(&[("b", &["NULL_VALUE", "OUTSIDE_MAX_AGE"])])?;
        assert_eq!(changed.columns[1].values, ["null", "null"]);
        assert_eq!(changed.columns[1].statuses, ["NULL_VALUE", "OUTSIDE_MAX_AGE"]);
        assert!(changed.with_statuses(&[("c", &[])]).is_err());
        Ok(())
    }

    #[test]
    fn columns_of_different_lengths_are_no_answer() {
        assert!(Table::read(&BODY.replace("[7,8]", "[7]")).is_err());
        assert!(Table::read(&BODY.replace("\"driver_id\",", "")).is_err());
        assert!(Table::read(&BODY.replace("\"results\"", "\"more\":1,\"results\"")).is_err());
    }
}
