//! What must be stored after a case: Feast's result, with what we do differently put in.

use anyhow::{Context, Result, ensure};
use feast::value::{Entries, Value};
use serde_json::Value as Json;
use tests::golden::Case;
use tests::hex;
use tests::online::{Hashes, Rows, StoredRow, entity_key, redis_key};

use crate::differences::{Cell, Cells, Row};

/// Feast's Redis.
pub(crate) fn redis(case: &Case) -> Result<Hashes> {
    let mut hashes = Hashes::new();
    let keys = case.json["expected"]["redis"].as_object().context("a case has Redis")?;
    for (key, hash) in keys {
        let mut fields = std::collections::BTreeMap::new();
        for (field, value) in hash.as_object().context("a key has fields")? {
            let value = value.as_str().context("a value is text")?;
            fields.insert(hex::decode(field)?, hex::decode(value)?);
        }
        hashes.insert(hex::decode(key)?, fields);
    }
    Ok(hashes)
}

/// Redis as it is to be instead of Feast's.
pub(crate) fn change_redis(case: &Case, hashes: &mut Hashes, cells: &Cells) -> Result<()> {
    let project = case.project()?;
    for id in cells.not {
        let gone = hashes.remove(&redis_key(project, *id));
        ensure!(gone.is_some(), "Feast did not store entity {id} either");
    }
    for &(id, name, value) in cells.redis as &[Cell] {
        let field = match name.strip_prefix("_ts:") {
            Some(_) => name.as_bytes().to_vec(),
            None => hex::decode(case.field(name).with_context(|| format!("no field `{name}`"))?)?,
        };
        let hash = hashes.entry(redis_key(project, id)).or_default();
        let before = hash.insert(field, hex::decode(value)?);
        ensure!(before != Some(hex::decode(value)?), "`{name}` of {id} is the same in Feast");
    }
    Ok(())
}

/// One of Feast's SQLite tables.
pub(crate) fn table(table: &Json) -> Result<Rows> {
    let mut rows = Rows::new();
    for row in table["rows"].as_array().context("a table has rows")? {
        let text = |at: usize| row[at].as_str().map(str::to_owned);
        let key = (text(0).context("a row has a key")?, text(1).context("a row has a feature")?);
        let stored = StoredRow {
            value: hex::decode(&text(2).context("a row has a value")?)?,
            text: text(3),
            vector: text(4).map(|vector| hex::decode(&vector)).transpose()?,
            event_seconds: row[5].as_i64(),
            created_seconds: row[6].as_i64(),
        };
        rows.insert(key, stored);
    }
    Ok(rows)
}

/// A view's table as it is to be instead of Feast's.
pub(crate) fn change_table(view: &str, rows: &mut Rows, cells: &Cells) {
    for id in cells.not {
        let key = hex::encode(&entity_key(*id));
        rows.retain(|(entity, _), _| *entity != key);
    }
    for &(id, name, value, text, seconds) in cells.sqlite as &[Row] {
        let Some((_, feature)) = name.split_once(':').filter(|(held, _)| *held == view) else {
            continue;
        };
        let stored = StoredRow {
            value: hex::decode(value).expect("the table of differences has hex values"),
            text: text.map(str::to_owned),
            vector: None,
            event_seconds: Some(seconds),
            created_seconds: None,
        };
        rows.insert((hex::encode(&entity_key(id)), feature.to_owned()), stored);
    }
}

/// Compares two values; where Feast's order is free, by their meaning.
pub(crate) fn is_same(case: &Case, feature: &str, ours: &[u8], feasts: &[u8]) -> Result<bool> {
    if case.is_volatile(feature) || ours == feasts {
        return Ok(true);
    }
    if !case.is_unordered(feature) {
        return Ok(false);
    }
    let (mut ours, mut feasts) = (Value::decode(ours)?, Value::decode(feasts)?);
    sort(&mut ours);
    sort(&mut feasts);
    Ok(ours == feasts)
}

/// Puts maps and sets in an order of our own. Lists of any other kind keep theirs.
fn sort(value: &mut Value) {
    match value {
        Value::List(kind, items) if format!("{kind:?}").ends_with("Set") => {
            items.sort_by_key(|item| format!("{item:?}"));
        }
        Value::Map(_, entries) => sort_entries(entries),
        Value::MapList(_, maps) => maps.iter_mut().for_each(sort_entries),
        Value::Nested(_, values) => values.iter_mut().for_each(sort),
        _ => {}
    }
}

fn sort_entries(entries: &mut Entries) {
    entries.iter_mut().for_each(|(_, value)| sort(value));
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
}
