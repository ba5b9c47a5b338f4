//! The entity key of a row as the newest-row node compares it.
//!
//! A key of one column of whole numbers is its own tag; any other is a hash, and where two hashes
//! are equal the columns are compared. Keys are never copied.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DynComparator, Float32Array, RecordBatch, Scalar,
    make_comparator,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::kernels::numeric::add;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{ArrowNativeType, DataType, Schema};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::error::Result;

/// Unlike the seed of `RepartitionExec`, whose hashes are alike within a partition.
const SEED: u64 = 0x7469_6465_6761_7465;

/// Reads the entity keys of batches.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<usize>,
    is_exact: bool,
}

/// The keys of one batch.
#[derive(Clone, Debug)]
pub(super) struct BatchKeys {
    /// One for each row: equal for equal keys.
    pub(super) tags: Vec<u64>,
    /// The rows whose key is null, where tags are keys themselves.
    pub(super) nulls: Option<BooleanArray>,
    /// The columns to compare where tags are hashes.
    pub(super) columns: Vec<ArrayRef>,
}

impl Keys {
    pub(super) fn new(columns: Vec<usize>, schema: &Schema) -> Self {
        let is_exact = match *columns {
            [column] => is_whole(schema.field(column).data_type()),
            _ => false,
        };
        Self { columns, is_exact }
    }

    /// Tells whether equal tags alone mean equal keys.
    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    pub(super) fn read(&self, batch: &RecordBatch) -> Result<BatchKeys> {
        let columns = self.columns.iter().map(|&column| batch.column(column));
        if self.is_exact {
            let column = batch.column(self.columns[0]);
            let nulls = (column.null_count() > 0).then(|| arrow::compute::is_null(column));
            return Ok(BatchKeys {
                tags: bits(column.as_ref()),
                nulls: nulls.transpose()?,
                columns: Vec::new(),
            });
        }
        let columns = columns.map(zero_has_no_sign).collect::<Result<Vec<_>>>()?;
        let mut tags = vec![0; batch.num_rows()];
        create_hashes(&columns, &RandomState::with_seed(SEED), &mut tags)?;
        Ok(BatchKeys { tags, nulls: None, columns })
    }
}

/// Tells whether a type's values are whole numbers of up to 64 bits underneath.
fn is_whole(data_type: &DataType) -> bool {
    data_type.is_primitive()
        && !data_type.is_floating()
        && data_type.primitive_width().is_some_and(|width| width <= size_of::<u64>())
        && !matches!(data_type, DataType::Interval(_))
}

/// The values' bits; whatever is there where a value is null.
fn bits(column: &dyn Array) -> Vec<u64> {
    let data = column.to_data();
    let buffer = data.buffers()[0].clone();
    let (offset, length) = (data.offset(), data.len());
    match column.data_type().primitive_width() {
        Some(1) => numbers(ScalarBuffer::<u8>::new(buffer, offset, length)),
        Some(2) => numbers(ScalarBuffer::<u16>::new(buffer, offset, length)),
        Some(4) => numbers(ScalarBuffer::<u32>::new(buffer, offset, length)),
        _ => ScalarBuffer::<u64>::new(buffer, offset, length).to_vec(),
    }
}

fn numbers<T: ArrowNativeType + Into<u64>>(values: ScalarBuffer<T>) -> Vec<u64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Makes -0.0, which equals 0.0 but has other bits, into 0.0.
fn zero_has_no_sign(column: &ArrayRef) -> Result<ArrayRef> {
    if !column.data_type().is_floating() {
        return Ok(Arc::clone(column));
    }
    let zero = cast(&Float32Array::from(vec![0.0]), column.data_type())?;
    Ok(add(column, &Scalar::new(zero))?)
}

/// Brings keys into the processor's caches, many at once, before they are compared one by one.
pub(super) fn touch<'a>(keys: impl Iterator<Item = (&'a [ArrayRef], usize)>) {
    let first = |bytes: &[u8]| bytes.first().copied().unwrap_or(0);
    let one = |column: &ArrayRef, row: usize| match column.data_type() {
        DataType::Utf8 => first(column.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => first(column.as_string::<i64>().value(row).as_bytes()),
        DataType::Utf8View => first(column.as_string_view().value(row).as_bytes()),
        DataType::Binary => first(column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => first(column.as_binary::<i64>().value(row)),
        DataType::BinaryView => first(column.as_binary_view().value(row)),
        // Fixed widths take one wait for memory only, and nested keys are rare.
        _ => 0,
    };
    let seen = keys.fold(0, |seen, (columns, row)| {
        columns.iter().fold(seen, |seen, column| seen ^ one(column, row))
    });
    black_box(seen);
}

/// Compares the keys of one batch with those of others, which it gets to know as it meets them.
#[derive(Default)]
pub(super) struct Comparators(Vec<Option<Vec<DynComparator>>>);

impl Comparators {
    /// Forgets every batch.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Tells whether a row of one batch has the key of a row of another, whose number is given.
    pub(super) fn is_same(
        &mut self,
        (columns, row): (&[ArrayRef], usize),
        (number, others, other): (usize, &[ArrayRef], usize),
    ) -> Result<bool> {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        let comparators = match &mut self.0[number] {
            Some(known) => known,
            unknown => unknown.insert(compare(columns, others)?),
        };
        Ok(comparators.iter().all(|compare| compare(row, other).is_eq()))
    }
}

fn compare(columns: &[ArrayRef], others: &[ArrayRef]) -> Result<Vec<DynComparator>> {
    let pairs = columns.iter().zip(others);
    let compare = |(left, right): (&ArrayRef, &ArrayRef)| {
        Ok(make_comparator(left, right, SortOptions::default())?)
    };
    pairs.map(compare).collect()
}
