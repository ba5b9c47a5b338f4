//! What the feature servers serve: the view of `dataset`, and twenty small views in one hash.
//!
//! Every value comes from its row's number, so an answer can be checked without keeping anything.
//! The rows are loaded as Feast's own bytes by plain `HSET`: how they get there is not asked here.

use std::path::Path;

use anyhow::Result;
use feast::ValueType;
use feast::value::Value;
use harness::{Feast, Redis};

use crate::dataset::{DAY_MICROS, Dataset, Day, FIRST_MICROS, Repository, VIEW, features};
use crate::hash::{JOIN_KEY, Layout, Pair, mix};
use crate::hset::Commands;

/// Views of the bundle.
pub const BUNDLE_VIEWS: usize = 20;
/// Features of each of them.
pub const BUNDLE_FEATURES: usize = 6;
/// Entities that the bundle's views have. They are others than those of `dataset`, whose hashes
/// would be twenty times as large otherwise.
const BUNDLE_ENTITIES: usize = 10_000;

/// A feature service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The view of `dataset`.
    Stats,
    /// Twenty views of one entity, all of whose features lie in one hash.
    Bundle,
}

impl Service {
    /// Its name in Feast.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stats => "stats",
            Self::Bundle => "bundle",
        }
    }

    /// How many feature views it takes.
    #[must_use]
    pub fn views(self) -> usize {
        match self {
            Self::Stats => 1,
            Self::Bundle => BUNDLE_VIEWS,
        }
    }

    /// Its features, as they are named in an answer.
    #[must_use]
    pub fn features(self) -> Vec<String> {
        match self {
            Self::Stats => features().map(|(name, _)| name.to_owned()).collect(),
            Self::Bundle => {
                (0..BUNDLE_VIEWS).flat_map(bundle_features).map(|(name, _)| name).collect()
            }
        }
    }
}

/// The rows that are served.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    dataset: Dataset,
}

impl Served {
    /// So many entities of `dataset`, and those of the bundle.
    #[must_use]
    pub fn new(entities: usize) -> Self {
        Self { dataset: Dataset::new(entities) }
    }

    /// The rows of the view of `dataset`.
    #[must_use]
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// How many entities a service can be asked for.
    #[must_use]
    pub fn entities(&self, service: Service) -> usize {
        match service {
            Service::Stats => self.dataset.rows(),
            Service::Bundle => BUNDLE_ENTITIES,
        }
    }

    /// The join key's value of one of a service's entities.
    #[must_use]
    pub fn key(&self, service: Service, index: usize) -> i64 {
        match service {
            Service::Stats => Dataset::key(index),
            Service::Bundle => Dataset::key(self.dataset.rows() + index),
        }
    }

    /// What a service must answer for one of its entities, in the order of its features.
    #[must_use]
    pub fn values(&self, service: Service, index: usize) -> Vec<Value> {
        match service {
            Service::Stats => self.dataset.values(Day::First, index),
            Service::Bundle => {
                (0..BUNDLE_VIEWS).flat_map(|view| bundle_values(view, index)).collect()
            }
        }
    }

    /// Writes every row into an empty Redis.
    ///
    /// # Errors
    /// When Redis refuses them, or does not hold them afterwards.
    pub fn load(&self, redis: &Redis) -> Result<()> {
        Commands::encode(&self.dataset).send(redis)?;
        self.dataset.check(Day::First, redis)?;
        let mut commands = Commands::of_fields(BUNDLE_VIEWS * (BUNDLE_FEATURES + 1));
        let layouts: Vec<Layout> = (0..BUNDLE_VIEWS).map(bundle_layout).collect();
        for index in 0..BUNDLE_ENTITIES {
            let (key, fields) = self.bundle_hash(&layouts, index);
            commands.push(&key, &fields);
        }
        commands.send(redis)?;
        Ok(())
    }

    /// The fields of all the bundle's views, which share an entity and so a key.
    fn bundle_hash(&self, layouts: &[Layout], index: usize) -> (Vec<u8>, Vec<Pair>) {
        let id = self.key(Service::Bundle, index);
        let micros = FIRST_MICROS + index as i64 * 1_000_000 % DAY_MICROS;
        let (mut key, mut fields) = (Vec::new(), Vec::new());
        for (view, layout) in layouts.iter().enumerate() {
            let (of_entity, of_view) = layout.hash(id, micros, bundle_values(view, index));
            key = of_entity;
            fields.extend(of_view);
        }
        (key, fields)
    }

    /// The repository, as Feast has applied it.
    ///
    /// # Errors
    /// When Feast cannot be installed or refuses.
    pub fn repository(&self, feast: &Feast, directory: &Path) -> Result<Repository> {
        Repository::define(feast, directory, definitions())
    }
}

fn definitions() -> String {
    let stats: Vec<String> = features().map(|(name, kind)| field(name, kind)).collect();
    let mut text = format!(
        "from datetime import timedelta\n\
         from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType\n\
         from feast.types import Float32, Int64\n\
         driver = Entity(name='driver', join_keys=['{JOIN_KEY}'], value_type=ValueType.INT64)\n\
         source = FileSource(name='s', path='data', timestamp_field='event_timestamp')\n\
         def view(name, *fields):\n\
         \x20   key = Field(name='{JOIN_KEY}', dtype=Int64)\n\
         \x20   return FeatureView(name=name, entities=[driver], ttl=timedelta(0),\n\
         \x20       source=source, schema=[key, *fields])\n\
         view_stats = view('{VIEW}', {})\n\
         stats = FeatureService(name='{}', features=[view_stats])\n",
        stats.join(", "),
        Service::Stats.name(),
    );
    for number in 0..BUNDLE_VIEWS {
        let (name, features) = (bundle_view(number), bundle_features(number));
        let fields: Vec<String> = features.map(|(name, kind)| field(&name, kind)).collect();
        text.push_str(&format!("{name} = view('{name}', {})\n", fields.join(", ")));
    }
    let views: Vec<String> = (0..BUNDLE_VIEWS).map(bundle_view).collect();
    let (name, views) = (Service::Bundle.name(), views.join(", "));
    text.push_str(&format!("bundle = FeatureService(name='{name}', features=[{views}])\n"));
    text
}

fn field(name: &str, kind: ValueType) -> String {
    let kind = if kind == ValueType::Float { "Float32" } else { "Int64" };
    format!("Field(name='{name}', dtype={kind})")
}

fn bundle_view(view: usize) -> String {
    format!("bundle_{view:02}")
}

/// Names that differ between views, so that answers need not name those.
fn bundle_features(view: usize) -> impl Iterator<Item = (String, ValueType)> {
    (0..BUNDLE_FEATURES).map(move |feature| {
        let kind = if feature % 2 == 0 { ValueType::Float } else { ValueType::Int64 };
        (format!("bundle_{view:02}_{feature}"), kind)
    })
}

fn bundle_layout(view: usize) -> Layout {
    let names: Vec<String> = bundle_features(view).map(|(name, _)| name).collect();
    Layout::new(&bundle_view(view), names.iter().map(String::as_str))
}

fn bundle_values(view: usize, index: usize) -> impl Iterator<Item = Value> {
    (0..BUNDLE_FEATURES).map(move |feature| {
        let random = mix((index as u64) << 16 | (view as u64) << 8 | feature as u64);
        match feature % 2 {
            // 24 bits are exact as float32.
            0 => Value::Float((random >> 40) as f32 / 16_777_216.0),
            _ => Value::Int64((random >> 44) as i64),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use harness::Reply;

    use super::*;

    #[test]
    fn every_entity_is_loaded_with_all_fields_of_its_views() -> Result<()> {
        let redis = Redis::start()?;
        let served = Served::new(100);
        served.load(&redis)?;
        assert_eq!(redis.command(&["DBSIZE"])?, Reply::Integer(100 + BUNDLE_ENTITIES as i64));
        let layouts: Vec<Layout> = (0..BUNDLE_VIEWS).map(bundle_layout).collect();
        let (key, _) = served.bundle_hash(&layouts, BUNDLE_ENTITIES - 1);
        let fields = redis.command(&[b"HLEN".as_slice(), &key])?;
        assert_eq!(fields, Reply::Integer(140));
        Ok(())
    }

    #[test]
    fn services_have_a_value_for_each_feature_and_names_of_their_own() {
        let served = Served::new(10);
        let mut names = HashSet::new();
        for service in [Service::Stats, Service::Bundle] {
            let features = service.features();
            assert_eq!(served.values(service, 3).len(), features.len());
            assert_ne!(served.key(service, 3), served.key(service, 4));
            assert!(features.into_iter().all(|name| names.insert(name)));
        }
        assert_ne!(served.key(Service::Stats, 3), served.key(Service::Bundle, 3));
    }
}
