//! The shared vectors: rows of their Parquet files against their Redis and SQLite contents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema};
use feast::config::OnBadRow;
use feast::registry::Snapshot;
use feast::{FeatureView, redis_layout, text};
use jobs::encode::{EncodeSpec, Encoder, Error};
use model::EncodedBatch;
use serde_json::Value as Json;

use super::{hex, read_parquet, unhex, unordered};

/// Cases whose stored rows are not rows of the source, or whose view goes by another name.
const ELSEWHERE: [&str; 4] = ["precompute_service", "registry_postgres", "teardown", "versioned"];

/// Where Tidegate differs from Feast on purpose: case, field and Feast's value, then ours.
/// Each is in `docs/feast-differences.md`.
const DIFFERENCES: [(&str, &str, &str, &str); 4] = [
    ("precision_loss", "f", "208080808080808010", "208180808080808010"),
    // 2^53 + 3, for which the nearest float is 2^53 + 4.
    ("precision_loss", "f", "208480808080808010", "208380808080808010"),
    (
        "types_map_struct",
        "stn",
        "92021a0a0e0a0162120929000000000000f03f0a080a01611203120178",
        "9202130a080a016112031201780a070a0162120220 01",
    ),
    (
        "types_map_struct",
        "stn",
        "9202170a0e0a016212092900000000000000400a050a01611200",
        "9202100a050a016112000a070a016212022002",
    ),
];

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

struct Case {
    name: String,
    dir: PathBuf,
    json: Json,
}

fn cases() -> Vec<Case> {
    let mut dirs: Vec<PathBuf> =
        vectors().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    let case = |dir: PathBuf| {
        let json = std::fs::read_to_string(dir.join("case.json")).ok()?;
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        Some(Case { name, dir, json: serde_json::from_str(&json).unwrap() })
    };
    dirs.into_iter().filter_map(case).collect()
}

impl Case {
    fn project(&self) -> &str {
        self.json["project"].as_str().unwrap()
    }

    fn failed(&self) -> bool {
        let steps = self.json["steps"].as_array().unwrap();
        steps.iter().any(|step| !step["error"].is_null())
    }

    fn views(&self) -> Option<Vec<FeatureView>> {
        let registry = std::fs::read(self.dir.join("registry_before.db")).ok()?;
        let snapshot = Snapshot::from_file(&registry, self.project()).unwrap();
        Some(snapshot.views.into_iter().filter(|view| view.online && !view.disabled).collect())
    }

    fn spec(&self, view: &FeatureView, key_suffix: &[u8]) -> EncodeSpec {
        EncodeSpec {
            join_keys: view.join_keys.clone(),
            features: view.features.clone(),
            event_time: view.source.timestamp_field.clone(),
            created_time: view.source.created_timestamp_column.clone(),
            active: None,
            entity_key_serialization_version:
                self.json["feature_store_yaml"]["entity_key_serialization_version"]
                    .as_i64()
                    .unwrap(),
            key_suffix: key_suffix.to_vec(),
            on_bad_row: OnBadRow::Fail,
        }
    }

    /// Every row that any step reads for a view, with columns renamed, and event times.
    fn batches(&self, view: &FeatureView) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let mut steps: Vec<PathBuf> =
            self.dir.join("input").read_dir().unwrap().map(|step| step.unwrap().path()).collect();
        steps.sort();
        for step in steps {
            let files = parquet_files(&step.join(&view.source.path));
            batches.extend(files.iter().map(|file| timed(renamed(read_parquet(file), view), view)));
        }
        batches
    }

    fn encoded(&self, view: &FeatureView, key_suffix: &[u8]) -> Result<Vec<EncodedBatch>, Error> {
        let encode = |batch: RecordBatch| {
            let encoder = Encoder::new(self.spec(view, key_suffix), batch.schema_ref())?;
            encoder.encode(&batch).map(|encoded| encoded.batch)
        };
        self.batches(view).into_iter().map(encode).collect()
    }

    fn is_unordered(&self, feature: &str) -> bool {
        self.json["unordered"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == feature))
    }

    /// What we write where Feast wrote `theirs`.
    fn ours(&self, feature: &str, theirs: &str) -> Vec<u8> {
        let difference = DIFFERENCES.iter().find(|(case, field, value, _)| {
            *case == self.name && *field == feature && *value == theirs
        });
        unhex(&difference.map_or(theirs, |(.., ours)| ours).replace(' ', ""))
    }

    fn assert_value(&self, feature: &str, expected: &str, got: &[u8]) {
        let expected = self.ours(feature, expected);
        let what = format!("{} {feature}", self.name);
        if self.is_unordered(feature) {
            assert_eq!(unordered(got), unordered(&expected), "{what}");
            assert_eq!(got.len(), expected.len(), "{what}");
        } else {
            assert_eq!(hex(got), hex(&expected), "{what}");
        }
    }
}

fn parquet_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let inside = path.read_dir().unwrap().map(|entry| entry.unwrap().path());
        return inside.flat_map(|path| parquet_files(&path)).collect();
    }
    let is_parquet = path.extension().is_some_and(|extension| extension == "parquet");
    if is_parquet && path.is_file() { vec![path.to_owned()] } else { Vec::new() }
}

fn renamed(batch: RecordBatch, view: &FeatureView) -> RecordBatch {
    let schema = batch.schema();
    let name = |field: &Field| view.field_mapping.get(field.name()).unwrap_or(field.name()).clone();
    let rename = |field: &arrow::datatypes::FieldRef| field.as_ref().clone().with_name(name(field));
    let fields: Vec<Field> = schema.fields().iter().map(rename).collect();
    RecordBatch::try_new(Schema::new(fields).into(), batch.columns().to_vec()).unwrap()
}

/// The rows that have an event time; the others are dropped while scanning.
fn timed(batch: RecordBatch, view: &FeatureView) -> RecordBatch {
    let times = batch.column_by_name(&view.source.timestamp_field).unwrap();
    filter_record_batch(&batch, &arrow::compute::is_not_null(times).unwrap()).unwrap()
}

fn timestamp(batch: &EncodedBatch, row: usize) -> String {
    let (seconds, nanos) = batch.event_times[row].seconds_and_nanos();
    hex(&redis_layout::encode_timestamp(seconds, nanos))
}

/// Compares every stored row of a view with the source row of the same key and event time.
fn assert_redis(case: &Case, view: &FeatureView) -> usize {
    let stored = case.json["expected"]["redis"].as_object().unwrap();
    let time_field = hex(&redis_layout::timestamp_field(&view.name));
    let mut rows: BTreeMap<(String, String), Vec<(usize, usize)>> = BTreeMap::new();
    let batches = case.encoded(view, case.project().as_bytes()).unwrap();
    for (at, batch) in batches.iter().enumerate() {
        for row in 0..batch.len() {
            let key = (hex(batch.keys.get(row)), timestamp(batch, row));
            rows.entry(key).or_default().push((at, row));
        }
    }
    let mut compared = 0;
    for (key, fields) in stored {
        let Some(time) = fields.get(&time_field).and_then(Json::as_str) else { continue };
        let found = rows.get(&(key.clone(), time.to_owned()));
        if case.name == "key_precision_loss" && found.is_none() {
            continue; // Feast stored the row under the key of another entity.
        }
        let found = found.unwrap_or_else(|| panic!("{}: no row for {key} at {time}", case.name));
        // Of rows with equal times another layer chooses; one of them must be the stored one.
        let is_stored = |(at, row): &&(usize, usize)| {
            view.features.iter().zip(&batches[*at].features).all(|(feature, column)| {
                let field = hex(&redis_layout::feature_field(&view.name, &feature.name));
                hex(column.get(*row)) == fields[&field].as_str().unwrap()
            })
        };
        let (at, row) = *found.iter().find(is_stored).unwrap_or(&found[0]);
        for (feature, column) in view.features.iter().zip(&batches[at].features) {
            let field = hex(&redis_layout::feature_field(&view.name, &feature.name));
            let expected = fields[&field].as_str().unwrap();
            case.assert_value(&feature.name, expected, column.get(row));
            compared += 1;
        }
    }
    compared
}

/// Compares the texts that SQLite has beside the values.
fn assert_sqlite(case: &Case, view: &FeatureView) -> usize {
    let table = format!("{}_{}", case.project(), view.name);
    let Some(rows) = case.json["expected"]["sqlite"][&table]["rows"].as_array() else { return 0 };
    let keys: BTreeSet<String> = case
        .encoded(view, b"")
        .unwrap()
        .iter()
        .flat_map(|batch| (0..batch.len()).map(|row| hex(batch.keys.get(row))).collect::<Vec<_>>())
        .collect();
    for row in rows {
        let value = unhex(row[2].as_str().unwrap());
        assert_eq!(text::value_text(&value).as_deref(), row[3].as_str(), "{} {row}", case.name);
        let is_known = keys.contains(row[0].as_str().unwrap());
        assert!(is_known || case.name == "key_precision_loss", "{} {row}", case.name);
    }
    rows.len()
}

#[test]
fn stored_rows_have_feasts_bytes() {
    let (mut cases_compared, mut values_compared) = (0, 0);
    for case in cases() {
        if case.failed() || ELSEWHERE.contains(&case.name.as_str()) {
            continue;
        }
        let Some(views) = case.views() else { continue };
        for view in views {
            let has_null_key = case.name == "key_precision_loss";
            if has_null_key {
                let refused = case.encoded(&view, b"").unwrap_err();
                assert!(matches!(refused, Error::BadRow(_)), "{refused}");
                continue;
            }
            values_compared += assert_redis(&case, &view) + assert_sqlite(&case, &view);
        }
        cases_compared += 1;
    }
    // Known from the vectors as they are; fewer means that the suite has gone blind.
    assert!(cases_compared >= 40, "{cases_compared} cases");
    assert!(values_compared >= 400, "{values_compared} values");
}

#[test]
fn what_feast_refuses_is_refused_with_a_reason() {
    for (name, reason) in [
        ("err_f64_from_f32", "declare the feature FLOAT"),
        ("err_bytes_from_str", "binary columns only"),
        ("err_map_arrow", "write the column as a struct or as JSON text"),
        ("err_zoned_ts", "use UNIX_TIMESTAMP"),
        ("err_json_bad", "no JSON: no key in double quotes at byte 1"),
        ("err_li64_inner_null", "null in a list that cannot hold nulls"),
        ("err_i64_inf", "`inf` is outside the range of Int64"),
        ("err_dec_f64", "decimals or text"),
        ("err_null_key", "the join key is null"),
        ("err_key_bool", "join key `id` is of type Bool"),
        ("err_key_uuid", "join key `id` is of type Uuid"),
        ("err_missing_column", "column `f` does not exist"),
        ("err_partial_batches", "the join key is null"),
    ] {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let view = case.views().unwrap().remove(0);
        let refused = case.encoded(&view, b"").unwrap_err().to_string();
        assert!(refused.contains(reason), "{name}: {refused}");
    }
}

#[test]
fn what_feast_refuses_for_no_reason_is_written_exactly() {
    for (name, values) in [
        ("err_i64_null_max", &["20ffffffffffffffff7f", ""][..]),
        ("err_f64_from_i32", &["29000000000000f03f"]),
        ("err_bool_i64_null", &["3801", ""]),
    ] {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let view = case.views().unwrap().remove(0);
        let batches = case.encoded(&view, b"").unwrap();
        let written: BTreeSet<String> = batches
            .iter()
            .flat_map(|batch| (0..batch.len()).map(|row| hex(batch.features[0].get(row))))
            .collect();
        for value in values {
            assert!(written.contains(*value), "{name}: {written:?}");
        }
    }
}

#[test]
fn bad_rows_are_left_out_when_asked() {
    let case = cases().into_iter().find(|case| case.name == "err_null_key").unwrap();
    let view = case.views().unwrap().remove(0);
    let batch = case.batches(&view).remove(0);
    let nulls: Vec<usize> = {
        let ids = batch.column_by_name("id").unwrap();
        (0..ids.len()).filter(|row| ids.is_null(*row)).collect()
    };
    let spec = EncodeSpec { on_bad_row: OnBadRow::Skip, ..case.spec(&view, b"") };
    let encoded = Encoder::new(spec, batch.schema_ref()).unwrap().encode(&batch).unwrap();
    assert_eq!(encoded.batch.len(), batch.num_rows() - nulls.len());
    assert_eq!(encoded.refused.iter().map(|bad| bad.row).collect::<Vec<_>>(), nulls);
    assert!(encoded.refused.iter().all(|bad| bad.column == "id"));
    let ids = batch.column_by_name("id").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
    let first = ids.iter().flatten().next().unwrap();
    assert!(encoded.batch.keys.get(0).ends_with(&first.to_le_bytes()));
}
