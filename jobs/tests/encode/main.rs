//! The encoder against bytes that Feast 0.67 wrote.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod golden;
mod types;

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// All rows of one Parquet file.
fn read_parquet(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A value's JSON with everything sorted whose order is free: sets and maps.
fn unordered(value: &[u8]) -> String {
    let value = feast::value::Value::decode(value).unwrap();
    let mut json = value.to_json();
    if let (feast::value::Value::List(kind, _), Some(items)) = (&value, json.as_array_mut())
        && kind.is_set()
    {
        items.sort_by_key(ToString::to_string);
    }
    json.sort_all_objects();
    json.to_string()
}
