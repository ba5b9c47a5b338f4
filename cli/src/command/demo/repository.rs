//! The sample repository: what `feast init`, `feast apply` and a few months of exports leave.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use feast::registry::{Definitions, SqliteTable, ViewDefinition};
use feast::{DataSource, Entity, FeatureService, Field, ProjectionRef, ValueType};
use uuid::Uuid;

use super::rows;
use crate::output;

/// The feature service that is read.
pub const SERVICE: &str = "attrition_model";
/// The view of what changes every week.
pub const ACTIVITY: &str = "employee_activity";
/// The view of what hardly changes.
const PROFILE: &str = "employee_profile";
/// The definitions as Feast's users write them.
pub const FEATURES_PY: &str = "features.py";

const PROJECT: &str = "employee_attrition";
const ENTITY: &str = "employee";
const REGISTRY: &str = "data/registry.db";
const ONLINE_STORE: &str = "data/online.db";
const PROFILE_PATH: &str = "data/employee_profile.parquet";
const ACTIVITY_PATH: &str = "data/employee_activity";
/// Feast's code of a file source.
const TYPE_FILE: i32 = 1;

const SECONDS_PER_DAY: u64 = 86_400;
/// Valid for a year: whoever has not changed is still served.
const PROFILE_TTL: Duration = Duration::from_secs(365 * SECONDS_PER_DAY);
/// Valid for four weeks, so the first run has older files to leave alone.
const ACTIVITY_TTL: Duration = Duration::from_secs(28 * SECONDS_PER_DAY);

/// Makes the repository in an empty directory and says what is in it.
pub async fn make(directory: &Path, now: DateTime<Utc>) -> anyhow::Result<String> {
    let activity = directory.join(ACTIVITY_PATH);
    std::fs::create_dir_all(&activity)
        .with_context(|| format!("failed to create `{}`", activity.display()))?;
    let profiles = rows::write_profiles(&directory.join(PROFILE_PATH), now)?;
    let activities = rows::write_activity(&activity, now)?;

    let online_store = directory.join(ONLINE_STORE);
    online_store::create_tables(&online_store, PROJECT, &[PROFILE, ACTIVITY]).await?;
    let definitions = definitions(&online_store, now);
    let registry = definitions.encode(|| Uuid::new_v4().to_string())?;
    write(&directory.join(REGISTRY), &registry)?;
    write(&directory.join("feature_store.yaml"), feature_store_yaml().as_bytes())?;
    write(&directory.join(FEATURES_PY), include_bytes!("features.py"))?;
    let row = |view: &str, path: &str, files: usize, rows: usize| {
        let count = |number| output::count(u64::try_from(number).unwrap_or(u64::MAX));
        [view.to_owned(), count(rows), count(files), path.to_owned()]
    };
    Ok(output::table(
        ["VIEW", "ROWS", "FILES", "SOURCE"],
        [
            row(PROFILE, PROFILE_PATH, 1, profiles),
            row(ACTIVITY, ACTIVITY_PATH, rows::WEEKS, activities),
        ],
    ))
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("failed to write `{}`", path.display()))
}

fn feature_store_yaml() -> String {
    format!(
        "project: {PROJECT}\n\
         provider: local\n\
         registry: {REGISTRY}\n\
         online_store:\n  type: sqlite\n  path: {ONLINE_STORE}\n\
         offline_store:\n  type: file\n\
         entity_key_serialization_version: 3\n"
    )
}

/// What `features.py` says.
fn definitions(online_store: &Path, now: DateTime<Utc>) -> Definitions {
    let table = |view| SqliteTable {
        path: online_store.display().to_string(),
        name: format!("{PROJECT}_{view}"),
    };
    Definitions {
        project: PROJECT.to_owned(),
        created_micros: now.timestamp_micros(),
        entities: vec![Entity {
            name: ENTITY.to_owned(),
            join_key: rows::JOIN_KEY.to_owned(),
            value_type: Some(ValueType::Int64),
        }],
        sources: vec![source(PROFILE, PROFILE_PATH), source(ACTIVITY, ACTIVITY_PATH)],
        views: vec![
            view(
                PROFILE,
                PROFILE_TTL,
                &[
                    ("department", ValueType::String),
                    ("job_level", ValueType::Int32),
                    ("years_at_company", ValueType::Float),
                ],
            ),
            view(
                ACTIVITY,
                ACTIVITY_TTL,
                &[
                    ("average_monthly_hours", ValueType::Float),
                    ("overtime_ratio", ValueType::Double),
                    ("last_evaluation", ValueType::Double),
                    ("promotions_last_5_years", ValueType::Int64),
                ],
            ),
        ],
        services: vec![FeatureService {
            name: SERVICE.to_owned(),
            // A model's own order, which is neither the views' nor the alphabet's.
            projections: vec![
                projection(
                    ACTIVITY,
                    &["overtime_ratio", "last_evaluation", "average_monthly_hours"],
                ),
                projection(PROFILE, &["years_at_company", "job_level", "department"]),
            ],
            precompute_online: false,
        }],
        sqlite_tables: [PROFILE, ACTIVITY].map(table).to_vec(),
    }
}

fn source(view: &str, path: &str) -> DataSource {
    DataSource {
        name: source_name(view),
        path: path.to_owned(),
        type_code: TYPE_FILE,
        timestamp_field: rows::EVENT_TIME.to_owned(),
        created_timestamp_column: Some(rows::CREATED_TIME.to_owned()),
        ..DataSource::default()
    }
}

fn source_name(view: &str) -> String {
    format!("{view}_source")
}

fn view(name: &str, ttl: Duration, features: &[(&str, ValueType)]) -> ViewDefinition {
    let field = |(name, value_type): &(&str, ValueType)| Field {
        name: (*name).to_owned(),
        value_type: *value_type,
        vector_length: 0,
        vector_index: false,
    };
    ViewDefinition {
        name: name.to_owned(),
        entities: vec![ENTITY.to_owned()],
        features: features.iter().map(field).collect(),
        ttl: Some(ttl),
        source: source_name(name),
        ..ViewDefinition::default()
    }
}

fn projection(view: &str, features: &[&str]) -> ProjectionRef {
    ProjectionRef {
        view: view.to_owned(),
        alias: None,
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        join_key_map: std::collections::BTreeMap::new(),
        version: None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use feast::registry::Snapshot;

    use super::*;

    fn made_at() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn the_registry_says_what_the_python_says() {
        let python = include_str!("features.py");
        let bytes = definitions(Path::new("/repo/online.db"), made_at())
            .encode(|| Uuid::new_v4().to_string())
            .unwrap();
        let snapshot = Snapshot::from_file(&bytes, PROJECT).unwrap();
        let has = |text: String| assert!(python.contains(&text), "{text}");
        for view in &snapshot.views {
            assert_eq!(view.refusal, None);
            has(format!("name=\"{}\"", view.name));
            has(format!("name=\"{}\"", view.source.name));
            has(format!("path=\"{}\"", view.source.path));
            has(format!("timedelta(days={})", view.ttl.unwrap().as_secs() / SECONDS_PER_DAY));
            for field in &view.features {
                let dtype = match field.value_type {
                    ValueType::Float => "Float32".to_owned(),
                    ValueType::Double => "Float64".to_owned(),
                    other => format!("{other:?}"),
                };
                has(format!("Field(name=\"{}\", dtype={dtype})", field.name));
            }
        }
        for projection in &snapshot.services[0].projections {
            let features: Vec<String> =
                projection.features.iter().map(|name| format!("\"{name}\"")).collect();
            has(format!("{}[[{}]]", projection.view, features.join(", ")));
        }
    }
}
