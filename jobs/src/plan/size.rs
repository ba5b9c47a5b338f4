//! The size of a window's rows in the online store's bytes, as far as footers can tell.
//!
//! Asked before the first write whether the run fits into the store. Fixed widths are counted at
//! their longest; of the others the footers know the sum.

use feast::ValueType;
use feast::entity_key::EntityKeyLayout;
use model::RowSize;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::WindowPlan;

/// Type and length before each value of an entity key.
const KEY_VALUE_HEAD: u64 = 8;
/// Tag and length before a value of varying width; a list has them twice.
const VALUE_HEAD: u64 = 4;
/// A tag and a varint at its longest, which every negative number is.
const VARINT: u64 = 11;
/// A UUID is text in Feast's bytes.
const UUID_TEXT: u64 = 38;

impl WindowPlan {
    /// The size of a row in Feast's bytes: widths at their longest, and of texts and lists the
    /// mean of the row groups that are read.
    pub fn row_size(&self) -> RowSize {
        let view = &self.spec.view;
        let version = self.spec.entity_key_serialization_version;
        let layout = EntityKeyLayout::new(&view.join_keys, version);
        // The encoder was made with the same layout, so there is one.
        let prefix = layout.map_or(0, |layout| layout.prefix().len() as u64);
        let key_value = |value_type, name: &str| match value_type {
            ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp => KEY_VALUE_HEAD + 8,
            _ => KEY_VALUE_HEAD + self.mean_bytes(name),
        };
        let keys = view.join_keys.iter().map(|key| key_value(key.value_type, &key.name));
        let value = |value_type, name: &str| match value_type {
            ValueType::Null => 0,
            ValueType::Bool => 2,
            ValueType::Float => 5,
            ValueType::Double => 9,
            ValueType::Int32 | ValueType::Int64 | ValueType::UnixTimestamp => VARINT,
            ValueType::Uuid | ValueType::TimeUuid => UUID_TEXT,
            _ => VALUE_HEAD + self.mean_bytes(name),
        };
        let values = view.features.iter().map(|feature| value(feature.value_type, &feature.name));
        RowSize {
            key: prefix + keys.sum::<u64>() + self.spec.key_suffix.len() as u64,
            values: values.collect(),
        }
    }

    /// Bytes that a column of the view takes in a row on average, rounded up.
    fn mean_bytes(&self, name: &str) -> u64 {
        let Some(column) = self.need.columns.iter().find(|column| column.name == name) else {
            return 0;
        };
        let (mut bytes, mut rows) = (0, 0);
        for selected in &self.selection.files {
            let file = &self.source.files[selected.file];
            let hive = file.listed.hive.iter().find(|(key, _)| *key == column.source);
            for group in &selected.row_groups {
                let group = file.footer.metadata().row_group(group.index);
                let rows_here = u64::try_from(group.num_rows()).unwrap_or(0);
                rows += rows_here;
                bytes += match hive {
                    Some((_, value)) => rows_here * value.len() as u64,
                    None => column_bytes(group, &column.source),
                };
            }
        }
        bytes.div_ceil(rows.max(1))
    }
}

/// Bytes of a column in a row group, its leaves together.
fn column_bytes(group: &RowGroupMetaData, column: &str) -> u64 {
    let is_of = |chunk: &&ColumnChunkMetaData| {
        chunk.column_path().parts().first().is_some_and(|root| root == column)
    };
    group.columns().iter().filter(is_of).map(leaf_bytes).sum()
}

/// Bytes of a leaf's values, were each written out.
///
/// A dictionary hides most of them from the size of the pages; then their number times their width
/// says more, or the sum of the lengths where the writer has noted it (`SizeStatistics`).
fn leaf_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let width = match chunk.column_type() {
        PhysicalType::BOOLEAN => 1,
        PhysicalType::INT32 | PhysicalType::FLOAT => 4,
        PhysicalType::INT64 | PhysicalType::DOUBLE => 8,
        PhysicalType::INT96 => 12,
        PhysicalType::FIXED_LEN_BYTE_ARRAY => i64::from(chunk.column_descr().type_length()),
        PhysicalType::BYTE_ARRAY => 0,
    };
    let written_out = chunk.num_values().saturating_mul(width);
    let noted = chunk.unencoded_byte_array_data_bytes().unwrap_or(0);
    let pages = chunk.uncompressed_size();
    u64::try_from(pages.max(written_out).max(noted)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::BTreeMap;
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Int64Type;
    use feast::config::OnBadRow;
    use feast::{DataSource, FeatureView, Field, JoinKey};
    use model::{EventTime, Interval};
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::{Session, SessionOptions, WindowSpec};

    const ROWS: usize = 1_000;
    const TEXT: &str = "the same forty characters in every row..";

    /// A thousand rows of a text key of six characters, a text that a dictionary makes small, and
    /// a list of ten numbers.
    fn write(path: &Path) {
        let keys: StringArray = (0..ROWS).map(|id| Some(format!("{id:06}"))).collect();
        let times = TimestampMicrosecondArray::from(vec![1_000_000; ROWS]);
        let numbers: Int64Array = (0..ROWS as i64).map(Some).collect();
        let texts = StringArray::from(vec![TEXT; ROWS]);
        let list = |_| Some(vec![Some(7_i64); 10]);
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..ROWS).map(list));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("key", Arc::new(keys)),
            ("ts", Arc::new(times)),
            ("number", Arc::new(numbers)),
            ("text", Arc::new(texts)),
            ("list", Arc::new(lists)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn view() -> FeatureView {
        let field = |(name, value_type): (&str, ValueType)| Field {
            name: name.to_owned(),
            value_type,
            vector_length: 0,
            vector_index: false,
        };
        let features = [
            ("number", ValueType::Int64),
            ("text", ValueType::String),
            ("list", ValueType::Int64List),
        ];
        FeatureView {
            name: "v".to_owned(),
            features: features.into_iter().map(field).collect(),
            join_keys: vec![JoinKey { name: "key".to_owned(), value_type: ValueType::String }],
            source: DataSource {
                path: "rows.parquet".to_owned(),
                timestamp_field: "ts".to_owned(),
                ..DataSource::default()
            },
            online: true,
            ..FeatureView::default()
        }
    }

    #[tokio::test]
    async fn rows_are_sized_by_their_types_and_by_what_footers_know() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("rows.parquet"));
        let session = Session::new(SessionOptions {
            partitions: 1,
            memory_limit_bytes: 64 << 20,
            object_store: BTreeMap::new(),
        });
        let spec = WindowSpec {
            view: view(),
            repo_dir: directory.path().to_owned(),
            interval: Interval::new(EventTime::EPOCH, EventTime::from_micros(2_000_000)),
            entity_key_serialization_version: 3,
            key_suffix: b"project".to_vec(),
            on_bad_row: OnBadRow::Fail,
            batch_rows_max: None,
        };
        let plan = WindowPlan::new(&session.unwrap(), spec).await.unwrap();
        let size = plan.row_size();
        // Contract 4.1: a count, the name with type and length, the value with both, the project.
        let key = 4 + (8 + 3) + (8 + 6) + 7;
        // The pages hold a length or a number of the dictionary beside each text.
        assert!((key..key + 8).contains(&size.key), "{size:?}");
        let [number, text, list] = size.values[..] else { panic!("{size:?}") };
        assert_eq!(number, VARINT);
        let stored = TEXT.len() as u64 + VALUE_HEAD;
        assert!((stored..stored + 4).contains(&text), "{size:?}: the dictionary hides nothing");
        assert!((80..120).contains(&list), "{size:?}");
    }
}
