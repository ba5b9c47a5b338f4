//! What a reader of the online store sees: every entity of every view, at one moment.
//!
//! Read past the program, with one script, so that nothing changes in between. Keys that are no
//! entity's are the program's own marks, and left to it.

use std::collections::BTreeMap;

use ::tests::online::{int_hash, redis_key};
use anyhow::{Context, Result, bail, ensure};
use feast::redis_layout::timestamp_field;
use harness::{Redis, Reply};

use crate::oracle::{ENTITIES, Fact, Held, Source};
use crate::source::{PROJECT, VIEWS};

/// All hashes of the given suffix; at most some hundred, so in one go.
const ALL: &str = "local out = {} \
    for _, key in ipairs(redis.call('KEYS', '*')) do \
      if string.sub(key, -string.len(ARGV[1])) == ARGV[1] \
        and redis.call('TYPE', key).ok == 'hash' then \
        out[#out + 1] = {key, redis.call('HGETALL', key)} \
      end \
    end \
    return out";

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is stored, by place of the view and entity.
pub(crate) type Stored = BTreeMap<(usize, i64), Held>;

/// Reads all of it.
pub(crate) fn read(redis: &Redis) -> Result<Stored> {
    let reply = redis.command(&["EVAL", ALL, "0", PROJECT])?;
    let Some(entries) = reply.items() else { bail!("{reply:?}") };
    let mut stored = Stored::new();
    for entry in entries {
        let Some([key, pairs]) = entry.items() else { bail!("{entry:?}") };
        let key = key.bytes().context("a key is bytes")?;
        let Some(entity) = entity_of(key)? else { continue };
        let fields = fields(pairs)?;
        for (view, (name, _)) in VIEWS.iter().enumerate() {
            let held = held(name, &fields).with_context(|| format!("{name}, entity {entity}"))?;
            stored.insert((view, entity), held);
        }
    }
    Ok(stored)
}

/// The entity of a key; `None` for a key of another shape.
fn entity_of(key: &[u8]) -> Result<Option<i64>> {
    let shape = redis_key(PROJECT, 0);
    let number = shape.len() - PROJECT.len() - size_of::<i64>();
    if key.len() != shape.len() || key[..number] != shape[..number] {
        return Ok(None);
    }
    let bytes = key[number..number + size_of::<i64>()].try_into()?;
    let entity = i64::from_le_bytes(bytes);
    ensure!((0..ENTITIES).contains(&entity), "entity {entity} is stored, and no row has it");
    Ok(Some(entity))
}

fn fields(pairs: &Reply) -> Result<Fields> {
    let pairs = pairs.items().context("a hash is a list")?;
    let bytes = |reply: &Reply| reply.bytes().map(<[u8]>::to_vec).context("a hash is of bytes");
    pairs.chunks(2).map(|pair| Ok((bytes(&pair[0])?, bytes(&pair[1])?))).collect()
}

/// What the fields of an entity say in one view. Bytes that are not exactly Feast's are an error.
fn held(view: &str, fields: &Fields) -> Result<Held> {
    let empty = int_hash(view, 0, &[("f", 0), ("g", 0)]);
    let present: Fields = fields
        .iter()
        .filter(|(field, _)| empty.contains_key(*field))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    let Some(time) = present.get(&timestamp_field(view)) else {
        ensure!(present.is_empty(), "features without an event time: {present:?}");
        return Ok(Held::Nothing);
    };
    let micros = ::tests::wire::timestamp_micros(time)?;
    let features = |f, g| int_hash(view, micros, &[("f", f), ("g", g)]);
    let held = match present.len() {
        1 => (Held::Tombstone(micros), int_hash(view, micros, &[])),
        _ => {
            let [f, g] = ["f", "g"].map(|name| {
                let field = feast::redis_layout::feature_field(view, name);
                present.get(field.as_slice()).map(Vec::as_slice)
            });
            let f = number(f.context("there is no `f`")?)?;
            let g = number(g.context("there is no `g`")?)?;
            // Whether it was active is not stored: a stored row is.
            (Held::Row(micros, Fact { f, g, active: true }), features(f, g))
        }
    };
    ensure!(held.1 == present, "{present:?} are not Feast's bytes of {:?}", held.0);
    Ok(held.0)
}

fn number(value: &[u8]) -> Result<i64> {
    let fields = ::tests::wire::fields(value)?;
    let [(4, value)] = &fields[..] else { bail!("{value:?} is no INT64 value") };
    Ok(value.number())
}

/// What is stored of an entity.
pub(crate) fn of(stored: &Stored, view: usize, entity: i64) -> Held {
    stored.get(&(view, entity)).copied().unwrap_or(Held::Nothing)
}

/// What the oracle wants, as a reader can see it: whether a row was active is not stored.
pub(crate) fn visible(held: Held) -> Held {
    match held {
        Held::Row(micros, fact) => Held::Row(micros, Fact { active: true, ..fact }),
        other => other,
    }
}

/// Tells whether what is stored of an entity comes from a row of the source.
pub(crate) fn is_of(source: &Source, entity: i64, held: Held) -> bool {
    let Some(micros) = held.micros() else { return true };
    source.at(entity, micros).is_some_and(|row| visible(row) == held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_tombstones_and_nothing_are_told_apart() -> Result<()> {
        let view = VIEWS[1].0;
        let fact = Fact { f: 7, g: -7, active: true };
        let row = int_hash(view, 1_500_001, &[("f", 7), ("g", -7)]);
        assert_eq!(held(view, &row)?, Held::Row(1_500_001, fact));
        assert_eq!(held(view, &int_hash(view, 9, &[]))?, Held::Tombstone(9));
        let other = int_hash(VIEWS[0].0, 9, &[("f", 1), ("g", 1)]);
        assert_eq!(held(view, &other)?, Held::Nothing, "another view's fields are not ours");
        let mut half = row.clone();
        half.remove(feast::redis_layout::feature_field(view, "g").as_slice());
        assert!(held(view, &half).is_err(), "half a row is not a row");
        let mut timeless = row;
        timeless.remove(&timestamp_field(view));
        assert!(held(view, &timeless).is_err());
        Ok(())
    }

    #[test]
    fn what_is_stored_is_read_past_other_keys() -> Result<()> {
        let redis = Redis::start()?;
        let view = VIEWS[2].0;
        let mut command = vec![b"HSET".to_vec(), redis_key(PROJECT, 3)];
        command
            .extend(int_hash(view, 5, &[("f", 1), ("g", 2)]).into_iter().flat_map(<[_; 2]>::from));
        redis.command(&command)?;
        redis.command(&["SET", "tidegate:faults", "a mark"])?;
        redis.command(&["HSET", "fence:faults", "a", "mark"])?;
        let stored = read(&redis)?;
        let fact = Fact { f: 1, g: 2, active: true };
        assert_eq!(of(&stored, 2, 3), Held::Row(5, fact));
        assert_eq!(of(&stored, 0, 3), Held::Nothing);
        redis.command(&[b"HSET".to_vec(), redis_key(PROJECT, ENTITIES), vec![1], vec![2]])?;
        assert!(read(&redis).is_err(), "an entity of nobody's is found");
        Ok(())
    }
}
