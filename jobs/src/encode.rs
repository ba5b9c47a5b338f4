//! Arrow rows to Feast's bytes: entity keys, event times and serialized values.
//!
//! How each column is written is chosen once, when the encoder is made; a batch then goes column
//! by column into one buffer each, with no object a value. What a type cannot hold at all is
//! refused when the encoder is made, what a value cannot be is refused with its row. Deliberately
//! absent: where the bytes go (see `sink.rs`) and which row is the newest (see `latest.rs`).
//!
//! # Source
//! Contract sections 3.6, 3.7 and 4.1; Feast 0.67 run on every pair of types named there.

mod canonical;
mod decimal;
mod json;
mod key;
mod list;
mod nested;
mod reader;
mod rows;
mod text;
mod time;
mod value;

use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_empty_array};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use feast::config::OnBadRow;
use feast::entity_key::{self, EntityKeyLayout};
use feast::{Field, JoinKey, ValueType};
use model::{ByteColumn, EncodedBatch};

use reader::Stop;
use rows::Rows;

/// What to encode. Columns go by their names after field mapping.
#[derive(Clone, Debug)]
pub struct EncodeSpec {
    /// The join keys; empty for a view without entities.
    pub join_keys: Vec<JoinKey>,
    /// The features, in the order of the output; a join key may be among them.
    pub features: Vec<Field>,
    /// Column of the event time: a timestamp of any unit.
    pub event_time: String,
    /// Column of the created time, where the source has one.
    pub created_time: Option<String>,
    /// Boolean column: false or null makes the row a tombstone.
    pub active: Option<String>,
    /// Feast's `entity_key_serialization_version`.
    pub entity_key_serialization_version: i64,
    /// Bytes after every key: the project for Redis, none for SQLite.
    pub key_suffix: Vec<u8>,
    /// What happens to a row that Feast's types cannot hold.
    pub on_bad_row: OnBadRow,
}

/// A row that Feast's types cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// Its place in the batch.
    pub row: usize,
    /// The first column at fault.
    pub column: String,
    /// What is wrong with the value.
    pub reason: String,
}

/// Why rows cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rows lack a column.
    #[error("column `{column}` does not exist in the rows to encode")]
    MissingColumn {
        /// The column.
        column: String,
    },
    /// A join key's type cannot be serialized.
    #[error(transparent)]
    Key(#[from] entity_key::Error),
    /// No value of a column fits the declared type.
    #[error(
        "column `{column}` of Arrow type `{arrow_type}` cannot be written as {feast_type}: {why}"
    )]
    Type {
        /// The column.
        column: String,
        /// Its type in the source.
        arrow_type: Box<DataType>,
        /// What it is declared as.
        feast_type: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// A value of one row does not fit, and bad rows are not to be skipped.
    #[error(
        "row {} of the batch has a bad value in column `{}`: {}; correct the source, or set \
         `on_bad_row: skip` under `tidegate:`",
        .0.row, .0.column, .0.reason
    )]
    BadRow(BadRow),
    /// A column could not be brought to another layout.
    #[error("failed to convert column `{column}`")]
    Convert {
        /// The column.
        column: String,
        /// The cause.
        source: ArrowError,
    },
}

/// A batch in Feast's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The rows that can be written.
    pub batch: EncodedBatch,
    /// The rows that were left out, in their order.
    pub refused: Vec<BadRow>,
}

/// Where a column stands in the input, and its layout once canonical.
#[derive(Debug)]
struct Input {
    name: String,
    index: usize,
    layout: DataType,
}

/// One feature's column.
#[derive(Debug)]
struct Feature {
    input: Input,
    value_type: ValueType,
    vector: Option<VectorLength>,
}

/// The length that all vectors of a feature have.
#[derive(Debug)]
struct VectorLength(OnceLock<usize>);

/// Encodes the batches of one view.
#[derive(Debug)]
pub struct Encoder {
    layout: EntityKeyLayout,
    keys: Vec<Input>,
    features: Vec<Feature>,
    event_time: Input,
    created_time: Option<Input>,
    active: Option<Input>,
    key_suffix: Vec<u8>,
    on_bad_row: OnBadRow,
}

impl Encoder {
    /// Chooses how each column of the input is written.
    ///
    /// # Errors
    /// `Error::MissingColumn`, `Error::Key` and `Error::Type`: no row could be written.
    pub fn new(spec: EncodeSpec, input: &Schema) -> Result<Self, Error> {
        let layout = EntityKeyLayout::new(&spec.join_keys, spec.entity_key_serialization_version)?;
        let mut keys = Vec::with_capacity(layout.slots().len());
        for slot in layout.slots() {
            keys.push(Input::find(input, &slot.name, slot.value_type, |array| {
                key::check(array, slot.value_type)
            })?);
        }
        let features = spec.features.iter().map(|field| Feature::new(field, input));
        Ok(Self {
            features: features.collect::<Result<_, _>>()?,
            event_time: Input::find(input, &spec.event_time, "the event time", |array| {
                time::check(array.data_type())
            })?,
            created_time: match &spec.created_time {
                Some(name) => Some(Input::find(input, name, "the created time", |array| {
                    time::check(array.data_type())
                })?),
                None => None,
            },
            active: match &spec.active {
                Some(name) => Some(Input::find(input, name, "the active flag", is_boolean)?),
                None => None,
            },
            layout,
            keys,
            key_suffix: spec.key_suffix,
            on_bad_row: spec.on_bad_row,
        })
    }

    /// Encodes a batch of the input's schema.
    ///
    /// # Errors
    /// `Error::BadRow` for the first row that cannot be written, unless bad rows are skipped;
    /// `Error::MissingColumn`, `Error::Type` and `Error::Convert` for a batch of another schema.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Encoded, Error> {
        let len = batch.num_rows();
        let active = self.active.as_ref().map(|input| input.array(batch)).transpose()?;
        let mut rows = Rows::new(len, active.as_ref().and_then(key::tombstones));
        let event_times = self.event_time.array(batch)?;
        let event_times = time::event_times(&event_times, &self.event_time.name, &mut rows);
        let keys = self.keys(batch, &mut rows)?;
        let created_times = match &self.created_time {
            Some(input) => Some(time::created_times(&input.array(batch)?, &input.name, &mut rows)),
            None => None,
        };
        let features = self.features.iter().map(|feature| feature.column(batch, &mut rows));
        let features = features.collect::<Result<Vec<_>, _>>()?;
        if self.on_bad_row == OnBadRow::Fail
            && let Some(bad) = rows.take_first_bad()
        {
            return Err(Error::BadRow(bad));
        }
        let good = (!rows.all_good()).then(|| rows.good());
        let (tombstones, refused) = rows.into_parts();
        let whole = EncodedBatch { keys, event_times, created_times, tombstones, features };
        let batch = match good {
            Some(good) => chosen(&whole, &good),
            None => whole,
        };
        Ok(Encoded { batch, refused })
    }

    /// The entity keys of a batch, in the store's bytes. A row without a key that can be written
    /// gets one that no entity has.
    ///
    /// # Errors
    /// As [`Self::encode`], but for bad rows.
    pub(crate) fn entity_keys(&self, batch: &RecordBatch) -> Result<ByteColumn, Error> {
        self.keys(batch, &mut Rows::new(batch.num_rows(), None))
    }

    fn keys(&self, batch: &RecordBatch, rows: &mut Rows) -> Result<ByteColumn, Error> {
        let columns: Vec<ArrayRef> =
            self.keys.iter().map(|input| input.array(batch)).collect::<Result<_, _>>()?;
        key::keys(&self.layout, &self.key_suffix, &columns, rows, batch.num_rows()).map_err(|why| {
            // The layouts are those for which readers were found when the encoder was made.
            let column = self.keys.iter().map(|input| input.name.as_str()).collect::<Vec<_>>();
            Error::Type {
                column: column.join("`, `"),
                arrow_type: Box::new(DataType::Null),
                feast_type: "a join key".to_owned(),
                why,
            }
        })
    }
}

/// Copies the chosen rows; rows are left out so seldom that the copy does not matter.
fn chosen(batch: &EncodedBatch, rows: &[usize]) -> EncodedBatch {
    let column = |column: &ByteColumn| rows.iter().map(|row| column.get(*row)).collect();
    EncodedBatch {
        keys: column(&batch.keys),
        event_times: rows.iter().map(|row| batch.event_times[*row]).collect(),
        created_times: batch
            .created_times
            .as_ref()
            .map(|times| rows.iter().map(|row| times[*row]).collect()),
        tombstones: batch
            .tombstones
            .as_ref()
            .map(|gone| rows.iter().map(|row| gone[*row]).collect()),
        features: batch.features.iter().map(column).collect(),
    }
}

fn is_boolean(array: &dyn Array) -> Result<(), &'static str> {
    match array.data_type() {
        DataType::Boolean => Ok(()),
        _ => Err("it must be Boolean"),
    }
}

impl Input {
    /// Finds a column and checks, on an empty array of its layout, that it can be read.
    fn find(
        schema: &Schema,
        name: &str,
        feast_type: impl std::fmt::Debug,
        check: impl FnOnce(&dyn Array) -> Result<(), &'static str>,
    ) -> Result<Self, Error> {
        let (index, field) = schema
            .column_with_name(name)
            .ok_or_else(|| Error::MissingColumn { column: name.to_owned() })?;
        let refused = |why: &'static str| Error::Type {
            column: name.to_owned(),
            arrow_type: Box::new(field.data_type().clone()),
            feast_type: format!("{feast_type:?}"),
            why,
        };
        let layout = canonical::layout(field.data_type()).map_err(refused)?;
        check(&new_empty_array(&layout)).map_err(refused)?;
        Ok(Self { name: name.to_owned(), index, layout })
    }

    /// The column in its canonical layout.
    fn array(&self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        let is_same = batch.schema_ref().fields().get(self.index);
        if is_same.is_none_or(|field| *field.name() != self.name) {
            return Err(Error::MissingColumn { column: self.name.clone() });
        }
        canonical::array(batch.column(self.index), &self.layout)
            .map_err(|source| Error::Convert { column: self.name.clone(), source })
    }
}

/// The value of a null: nothing, but the smallest number for UNIX_TIMESTAMP from times and numbers.
fn null_value(value_type: ValueType, layout: &DataType) -> &'static [u8] {
    let is_number = layout.is_integer() || layout.is_temporal();
    if value_type == ValueType::UnixTimestamp && is_number {
        b"\x40\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"
    } else {
        b""
    }
}

impl Feature {
    fn new(field: &Field, schema: &Schema) -> Result<Self, Error> {
        let input = Input::find(schema, &field.name, field.value_type, |array| {
            let is_list = matches!(array.data_type(), DataType::List(_) | DataType::Null);
            if field.vector_index && !(is_list && field.value_type.element().is_some()) {
                return Err("a vector (`vector_index`) must be a list of numbers");
            }
            value::writer(array, field.value_type).map(drop)
        })?;
        let vector = field.vector_index.then(|| VectorLength::new(field.vector_length));
        Ok(Self { input, value_type: field.value_type, vector })
    }

    fn column(&self, batch: &RecordBatch, rows: &mut Rows) -> Result<ByteColumn, Error> {
        let array = self.input.array(batch)?;
        let append = value::writer(array.as_ref(), self.value_type).map_err(|why| Error::Type {
            column: self.input.name.clone(),
            arrow_type: Box::new(array.data_type().clone()),
            feast_type: format!("{:?}", self.value_type),
            why,
        })?;
        let nulls = array.logical_nulls();
        let is_untyped = self.input.layout == DataType::Null;
        let null = null_value(self.value_type, &self.input.layout);
        let name = &self.input.name;
        Ok(match &self.vector {
            Some(length) if !is_untyped => {
                let lists = array.as_list::<i32>();
                rows.write(name, nulls.as_ref(), null, |row, out| {
                    length.check(lists.value_length(row) as usize)?;
                    append(row, out)
                })
            }
            _ => rows.write(name, nulls.as_ref(), null, append),
        })
    }
}

impl VectorLength {
    fn new(declared: u32) -> Self {
        Self(if declared == 0 { OnceLock::new() } else { OnceLock::from(declared as usize) })
    }

    /// Without a declared length the first vector's counts, whichever batch it came in.
    fn check(&self, length: usize) -> Result<(), Stop> {
        let expected = *self.0.get_or_init(|| length);
        if length == expected {
            return Ok(());
        }
        Err(Stop::Bad(format!("vector of length {length}, and the others have {expected}")))
    }
}

#[cfg(test)]
mod tests;
