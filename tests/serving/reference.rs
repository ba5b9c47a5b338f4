//! What an answer must be, worked out in the slowest and plainest way from what was drawn.
//!
//! It shares nothing with the server but Feast's value type, and not how that is written as JSON.

use ::tests::definition::Part;
use feast::ValueType;
use feast::entity_key::KeyValue;
use feast::value::Value;
use serde_json::{Value as Json, json};

use crate::site::Mode;
use crate::store::Row;
use crate::table::{Column, EPOCH};
use crate::world::{Asked, BYTES, Wanted, World};

/// All that an answer depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference<'a> {
    pub(crate) world: &'a World,
    pub(crate) mode: Mode,
    /// When it is asked; a second more or less must not matter.
    pub(crate) now_micros: i64,
}

/// The body of a request.
pub(crate) fn body(asked: &Asked) -> Json {
    let mut entities = serde_json::Map::new();
    for (name, values) in &asked.entities {
        entities.insert(name.clone(), values.iter().map(key_json).collect());
    }
    let mut body = json!({ "entities": entities });
    match &asked.wanted {
        Wanted::Service(name) => body["feature_service"] = json!(name),
        Wanted::Features(features) => {
            let references = features.iter().map(|(view, feature)| format!("{view}:{feature}"));
            body["features"] = references.collect();
        }
    }
    if asked.full_names {
        body["full_feature_names"] = json!(true);
    }
    body
}

fn entity_column((name, values): &(String, Vec<KeyValue>)) -> Column {
    Column {
        name: name.clone(),
        values: values.iter().map(|value| key_json(value).to_string()).collect(),
        statuses: vec!["PRESENT".to_owned(); values.len()],
        event_times: vec![EPOCH.to_owned(); values.len()],
    }
}

fn key_json(value: &KeyValue) -> Json {
    match value {
        KeyValue::Integer(number) => json!(number),
        KeyValue::Text(text) => json!(text),
        KeyValue::Bytes(_) => unreachable!("no join key of bytes is drawn"),
    }
}

impl Reference<'_> {
    /// The columns of the answer; `None` when two of them would have one name.
    pub(crate) fn answer(&self, asked: &Asked) -> Option<Vec<Column>> {
        let mut columns: Vec<Column> = asked.entities.iter().map(entity_column).collect();
        let entities = columns.len();
        for part in self.world.parts(&asked.wanted) {
            for feature in &part.features {
                let view = part.alias.as_ref().unwrap_or(&part.view);
                let name = match asked.full_names {
                    true => format!("{view}__{feature}"),
                    false => feature.clone(),
                };
                if columns[entities..].iter().any(|column| column.name == name) {
                    return None;
                }
                let mut column = Column { name, ..Column::default() };
                self.fill(&mut column, asked, &part, feature);
                columns.push(column);
            }
        }
        Some(columns)
    }

    /// Fills the column of a feature, row by row.
    fn fill(&self, column: &mut Column, asked: &Asked, part: &Part, feature: &str) {
        let ttl_micros = self.world.view(&part.view).ttl_seconds * 1_000_000;
        let rows = asked.entities.first().map_or(0, |(_, values)| values.len());
        for place in 0..rows {
            let row = self.world.rows.iter().find(|row| is_row_of(row, part, asked, place));
            let Some(row) = row else {
                self.push(column, &Json::Null, "NOT_FOUND", EPOCH.to_owned());
                continue;
            };
            let held = row.values.iter().find(|(held, _)| held == feature);
            let (_, value) = held.expect("every row has all");
            let is_null = *value == Value::Null || *value == Value::UnixTimestamp(i64::MIN);
            let is_old = ttl_micros > 0 && self.now_micros - row.event_micros > ttl_micros;
            let status = match (is_old, is_null) {
                (true, _) => "OUTSIDE_MAX_AGE",
                (false, true) => "NULL_VALUE",
                (false, false) => "PRESENT",
            };
            let is_hidden = is_null && self.mode == Mode::Strict;
            let shown = if is_hidden { Json::Null } else { value_json(value) };
            self.push(column, &shown, status, time_text(row.event_micros));
        }
    }

    fn push(&self, column: &mut Column, value: &Json, status: &str, event_time: String) {
        // Feast calls everything present.
        let status = if self.mode == Mode::Compat { "PRESENT" } else { status };
        column.values.push(value.to_string());
        column.statuses.push(status.to_owned());
        column.event_times.push(event_time);
    }
}

/// Tells whether a stored row is what a part of a request names in its `place`th row.
fn is_row_of(row: &Row, part: &Part, asked: &Asked, place: usize) -> bool {
    row.view == part.view
        && row.keys.iter().all(|key| {
            let own = &key.join_key.name;
            let name = part.join_key_map.get(own).unwrap_or(own);
            let column = asked.entities.iter().find(|(held, _)| held == name);
            column.is_some_and(|(_, values)| values[place] == key.value)
        })
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int32(number) => json!(number),
        Value::Int64(number) | Value::UnixTimestamp(number) => json!(number),
        Value::Float(number) => float_json(f64::from(*number)),
        Value::Double(number) => float_json(*number),
        Value::Bool(value) => json!(value),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => {
            let known = BYTES.iter().find(|(held, _)| held == bytes);
            json!(known.expect("only these are drawn").1)
        }
        Value::List(kind, values) => {
            let element = kind.element().unwrap_or(ValueType::Invalid);
            assert_ne!(element, ValueType::Invalid, "only lists of scalars are drawn");
            values.iter().map(value_json).collect()
        }
        other => unreachable!("{other:?} is not drawn"),
    }
}

fn float_json(number: f64) -> Json {
    if number.is_nan() {
        return json!("NaN");
    }
    match number.is_infinite() {
        true => json!(if number > 0.0 { "Infinity" } else { "-Infinity" }),
        false => json!(number),
    }
}

/// RFC 3339 in UTC, with as many digits as the instant needs: none, three or six.
pub(crate) fn time_text(micros: i64) -> String {
    const DAY_SECONDS: i64 = 86_400;
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (mut days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let mut year = 1970;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_days(year, month) {
        days -= month_days(year, month);
        month += 1;
    }
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = match fraction {
        0 => String::new(),
        whole if whole % 1_000 == 0 => format!(".{:03}", whole / 1_000),
        other => format!(".{other:06}"),
    };
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", days + 1)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn year_days(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::svc;
    use crate::table::Table;

    #[test]
    fn instants_are_written_as_feast_wrote_them() {
        for (micros, text) in [
            (0, EPOCH),
            (1_795_421_022_000_000, "2026-11-23T08:03:42Z"),
            (1_795_421_022_123_000, "2026-11-23T08:03:42.123Z"),
            (1_795_421_022_000_001, "2026-11-23T08:03:42.000001Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
        ] {
            assert_eq!(time_text(micros), text);
        }
    }

    #[test]
    fn the_reference_answers_the_recorded_request_as_feast_did() -> anyhow::Result<()> {
        let world = World { project: svc::project(), rows: svc::rows() };
        let ids = [1005, 1001, 1002, 1003, 1004, 9999, 1001].map(KeyValue::Integer);
        let features = svc::STATS.map(|(name, _)| ("driver_stats".to_owned(), name.to_owned()));
        let asked = Asked {
            wanted: Wanted::Features(features.to_vec()),
            entities: vec![("driver_id".to_owned(), ids.to_vec())],
            full_names: false,
        };
        let pairs = crate::recorded::pairs()?;
        let pair = pairs.iter().find(|pair| pair.name == "http/basic_multi_dup_missing");
        let feast = Table::read(&pair.expect("it was recorded").answer.body)?;
        let reference = Reference { world: &world, mode: Mode::Compat, now_micros: 0 };
        let columns = reference.answer(&asked).expect("no name is there twice");
        let ours = Table { columns, views: None, null: "null" };
        assert_eq!(ours.sorted(), feast.sorted().respelled()?);
        Ok(())
    }
}
