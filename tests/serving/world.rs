//! Drawn registries, stores and requests.
//!
//! A world is the same for the same seed. What is drawn is what may go wrong: views that share a
//! hash, names that occur twice, keys of several parts, keys of other names, rows that are not
//! there, are old, or hold nothing. Deliberately absent: what the answers must be (see
//! `reference`).

use ::tests::definition::{Part, Project, Service, View};
use ::tests::dice::Dice;
use feast::ValueType;
use feast::entity_key::KeyValue;
use feast::value::Value;

use crate::store::{Key, Row};

/// Old rows are older than this and young ones are younger, by far: whatever the clocks do while
/// a test runs, the answer is the same.
const TTL_SECONDS: i64 = 6 * 3_600;
const HOUR_MICROS: i64 = 3_600_000_000;
const VIEWS_MAX: i64 = 4;
const FEATURES_MAX: i64 = 6;
const ROWS_MAX: i64 = 8;
const STATE_AVAILABLE: i64 = 4;
/// Few names, so that views have features of the same name.
const FEATURE_NAMES: [&str; 8] = ["age", "city", "f", "g", "rate", "seen", "tags", "x y"];
/// Join keys and their types. Few, so that views share a hash.
const JOIN_KEYS: [(&str, ValueType); 3] =
    [("id", ValueType::Int64), ("shop", ValueType::Int32), ("town", ValueType::String)];
const TEXTS: [&str; 7] = ["", "a", "Zürich", "空港", "quo\"te", "back\\slash", "line\nbreak"];
/// What a feature can be.
const TYPES: [ValueType; 13] = [
    ValueType::Int32,
    ValueType::Int64,
    ValueType::Float,
    ValueType::Double,
    ValueType::String,
    ValueType::Bool,
    ValueType::Bytes,
    ValueType::UnixTimestamp,
    ValueType::Int64List,
    ValueType::DoubleList,
    ValueType::StringList,
    ValueType::BoolList,
    ValueType::BytesList,
];

/// A registry and what is stored.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) project: Project,
    pub(crate) rows: Vec<Row>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// View and feature.
    Features(Vec<(String, String)>),
    /// A service, by name.
    Service(String),
}

/// A request for features.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    /// By the names that the request gives them, column by column.
    pub(crate) entities: Vec<(String, Vec<KeyValue>)>,
    pub(crate) full_names: bool,
}

impl World {
    /// Draws a world. `now_micros` is what old and young are measured from.
    pub(crate) fn draw(dice: &mut Dice, now_micros: i64) -> Self {
        let mut views: Vec<View> =
            (0..dice.between(1, VIEWS_MAX + 1)).map(|place| view(dice, place)).collect();
        if views.iter().all(|view| view.keys.is_empty()) {
            // Without any join key nobody could say how many rows are wanted.
            views[0].keys = vec![key_of(0)];
        }
        let rows = views.iter().flat_map(|view| rows(dice, view, now_micros)).collect();
        let mut project = Project::new("drawn", views);
        for place in 0..dice.between(0, 4) {
            let parts = parts(dice, &project);
            project = project.service_of(&format!("service {place}"), parts);
        }
        Self { project, rows }
    }

    /// Draws a request that makes sense, but for names that may occur twice.
    pub(crate) fn ask(&self, dice: &mut Dice) -> Asked {
        let services = &self.project.services;
        let wanted = match dice.below(services.len() as u64 + 2) {
            0 | 1 => Wanted::Features(self.references(dice)),
            _ => Wanted::Service(dice.one(services).name.clone()),
        };
        let mut keys = self.request_keys(&wanted);
        if keys.is_empty() {
            keys = self.project.views.iter().flat_map(|view| view.keys.clone()).take(1).collect();
        }
        dice.shuffle(&mut keys);
        let rows = dice.between(1, ROWS_MAX);
        let column = |dice: &mut Dice, kind| (0..rows).map(|_| key_value(dice, kind)).collect();
        let entities = keys.into_iter().map(|(name, kind)| (name, column(dice, kind))).collect();
        Asked { wanted, entities, full_names: dice.once_in(2) }
    }

    /// Features of any views, mixed; now and then one of them twice.
    fn references(&self, dice: &mut Dice) -> Vec<(String, String)> {
        let views = self.project.views.iter();
        let mut all: Vec<_> = views
            .flat_map(|view| {
                view.features.iter().map(|(name, _)| (view.name.clone(), name.clone()))
            })
            .collect();
        dice.shuffle(&mut all);
        all.truncate(usize::try_from(dice.between(1, 7)).expect("it is small"));
        if dice.once_in(12) {
            all.push(all[0].clone());
        }
        all
    }

    /// The parts of views that are wanted, in order.
    pub(crate) fn parts(&self, wanted: &Wanted) -> Vec<Part> {
        match wanted {
            Wanted::Features(features) => {
                features.iter().map(|(view, feature)| Part::new(view, &[feature])).collect()
            }
            Wanted::Service(name) => {
                let is_it = |service: &&Service| service.name == *name;
                self.project.services.iter().find(is_it).expect("it was drawn").parts.clone()
            }
        }
    }

    /// A view by name.
    pub(crate) fn view(&self, name: &str) -> &View {
        self.project.views.iter().find(|view| view.name == name).expect("it was drawn")
    }

    /// The join keys that must be given, by the request's names, each once.
    fn request_keys(&self, wanted: &Wanted) -> Vec<(String, ValueType)> {
        let mut keys: Vec<(String, ValueType)> = Vec::new();
        for part in self.parts(wanted) {
            for (key, value_type) in &self.view(&part.view).keys {
                let name = part.join_key_map.get(key).unwrap_or(key).clone();
                if keys.iter().all(|(held, _)| *held != name) {
                    keys.push((name, *value_type));
                }
            }
        }
        keys
    }
}

fn key_of(place: usize) -> (String, ValueType) {
    let (name, value_type) = JOIN_KEYS[place];
    (name.to_owned(), value_type)
}

fn view(dice: &mut Dice, place: i64) -> View {
    let mut names = FEATURE_NAMES;
    dice.shuffle(&mut names);
    let count = usize::try_from(dice.between(1, FEATURES_MAX + 1)).expect("it is small");
    let features: Vec<_> = names[..count].iter().map(|&name| (name, *dice.one(&TYPES))).collect();
    let mut view = View::new(&format!("view{place}"), "data/none.parquet", &features);
    let mut keys: Vec<_> = (0..JOIN_KEYS.len()).map(key_of).collect();
    dice.shuffle(&mut keys);
    keys.truncate(usize::try_from(dice.between(0, 3)).expect("it is small"));
    view.keys = keys;
    view.state = STATE_AVAILABLE;
    if dice.once_in(2) { view.ttl(TTL_SECONDS) } else { view }
}

/// A service of one to three parts; names of views and keys may be others.
fn parts(dice: &mut Dice, project: &Project) -> Vec<Part> {
    let mut views: Vec<&View> = project.views.iter().collect();
    dice.shuffle(&mut views);
    views.truncate(usize::try_from(dice.between(1, 4)).expect("it is small"));
    let of_view = |view: &View, dice: &mut Dice| {
        let mut names: Vec<_> = view.features.iter().map(|(name, _)| name.as_str()).collect();
        dice.shuffle(&mut names);
        let count = dice.between(1, i64::try_from(names.len()).expect("it is small") + 1);
        names.truncate(usize::try_from(count).expect("it is small"));
        let mut part = Part::new(&view.name, &names);
        if dice.once_in(3) {
            part = part.named(&format!("{}_alias", view.name));
            for (key, _) in &view.keys {
                part = part.keyed(key, &format!("other_{key}"));
            }
        }
        part
    };
    views.into_iter().map(|view| of_view(view, dice)).collect()
}

/// Rows of some of the entities that may be asked for.
fn rows(dice: &mut Dice, view: &View, now_micros: i64) -> Vec<Row> {
    const DRAWS: usize = 12;
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..DRAWS {
        let key = |(name, kind): &(String, ValueType), dice: &mut Dice| {
            Key::new(name, *kind, key_value(dice, *kind))
        };
        let keys: Vec<_> = view.keys.iter().map(|of_view| key(of_view, dice)).collect();
        if rows.iter().any(|row| row.keys == keys) || dice.once_in(4) {
            continue;
        }
        let age = match dice.once_in(3) {
            true => dice.between(8 * HOUR_MICROS, 1_000 * HOUR_MICROS),
            false => dice.between(HOUR_MICROS / 60, 4 * HOUR_MICROS),
        };
        // Also whole seconds and milliseconds, whose texts are shorter.
        let unit = *dice.one(&[1, 1_000, 1_000_000]);
        let values = view.features.iter().map(|(name, kind)| (name.clone(), value(dice, *kind)));
        let (view, values) = (view.name.clone(), values.collect());
        rows.push(Row { view, keys, event_micros: (now_micros - age) / unit * unit, values });
    }
    rows
}

/// A value of a join key: few, so that what is asked for is often there.
fn key_value(dice: &mut Dice, kind: ValueType) -> KeyValue {
    match kind {
        ValueType::String => KeyValue::Text((*dice.one(&TEXTS[..4])).to_owned()),
        ValueType::Int32 => KeyValue::Integer(*dice.one(&[0, -1, i64::from(i32::MAX)])),
        _ => KeyValue::Integer(*dice.one(&[0, 7, -7, i64::MAX, i64::MIN, (1 << 53) + 1])),
    }
}

/// A value of a feature, or Feast's null of its type.
fn value(dice: &mut Dice, kind: ValueType) -> Value {
    if dice.once_in(6) {
        return match kind {
            ValueType::UnixTimestamp => Value::UnixTimestamp(i64::MIN),
            _ => Value::Null,
        };
    }
    if let Some(element) = kind.element() {
        let count = dice.below(4);
        return Value::List(kind, (0..count).map(|_| scalar(dice, element)).collect());
    }
    scalar(dice, kind)
}

fn scalar(dice: &mut Dice, kind: ValueType) -> Value {
    let integer = *dice.one(&[0, 1, -1, 41, i64::MAX, i64::MIN + 1, (1 << 53) + 1]);
    let numbers = [0.0, -0.0, 0.1, -2.5, 1e300, 5e-324, f64::NAN, f64::INFINITY, -f64::INFINITY];
    match kind {
        ValueType::Int32 => Value::Int32(*dice.one(&[0, 1, -7, i32::MAX, i32::MIN])),
        ValueType::Int64 => Value::Int64(integer),
        ValueType::UnixTimestamp => Value::UnixTimestamp(*dice.one(&[0, -1, 1_767_323_045])),
        ValueType::Float => Value::Float(*dice.one(&[0.0, 0.1, -2.5, 3.402_823_5e38, f32::NAN])),
        ValueType::Double => Value::Double(*dice.one(&numbers)),
        ValueType::Bool => Value::Bool(dice.once_in(2)),
        ValueType::Bytes => Value::Bytes(dice.one(&BYTES).0.to_vec()),
        _ => Value::String((*dice.one(&TEXTS)).to_owned()),
    }
}

/// Bytes and their base64, which are thus not worked out by what is tested.
pub(crate) const BYTES: [(&[u8], &str); 5] = [
    (b"", ""),
    (b"\x00", "AA=="),
    (b"\x00\xff", "AP8="),
    (b"\x00\xff\x01", "AP8B"),
    (b"any carnal pleas", "YW55IGNhcm5hbCBwbGVhcw=="),
];

#[cfg(test)]
mod tests {
    use ::tests::registry::file_bytes;
    use anyhow::Result;
    use feast::registry::Snapshot;

    use super::*;

    #[test]
    fn every_world_is_a_registry_whose_views_can_be_served() -> Result<()> {
        for seed in 0..200 {
            let world = World::draw(&mut Dice::new(seed), 1_800_000_000_000_000);
            let snapshot = Snapshot::from_file(&file_bytes(&world.project), "drawn")?;
            assert_eq!(snapshot.views.len(), world.project.views.len());
            for view in &snapshot.views {
                assert_eq!((view.refusal.as_ref(), view.disabled), (None, false));
                assert_eq!(view.features.len(), world.view(&view.name).features.len());
            }
            assert_eq!(snapshot.services.len(), world.project.services.len());
        }
        Ok(())
    }

    #[test]
    fn a_seed_draws_the_same_world_and_the_same_questions() {
        let drawn = |seed| {
            let mut dice = Dice::new(seed);
            let world = World::draw(&mut dice, 1_800_000_000_000_000);
            format!("{:?} {world:?}", world.ask(&mut dice))
        };
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
    }
}
