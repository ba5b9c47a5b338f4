//! The newest row of every entity key among the rows seen so far.
//!
//! The rule of which row is newer lives here and nowhere else. Deliberately absent: what happens
//! when there are too many, which the whole and the partial reduction decide differently.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::LatestColumns;
use super::held::{Drain, Held, Place, bytes};
use super::key::{BatchKeys, Comparators, Keys, touch};
use super::table::{Find, Table, Winner, part};

/// Rows whose places in memory are looked at together: enough to keep every memory channel busy,
/// few enough that the first are still in the cache when the last have come.
const BLOCK_ROWS: usize = 512;

/// Rows held for each winner before batches are compacted. The fewer, the less memory; the more,
/// the fewer copies: at 3, about one copy for each two rows that are let go.
const ROWS_PER_WINNER_MAX: usize = 3;

/// Rows below which compaction is not worth its copy.
const COMPACT_ROWS_MIN: usize = 64 * 1024;

/// The share of wanted rows up to which a batch is compacted, in the course of things.
const LIVE_MAX: f64 = 0.5;

/// The same when memory is short: a copy of less than a quarter of the rows is cheaper than what
/// comes next.
const LIVE_MAX_SHORT: f64 = 0.75;

/// The newest rows.
pub(super) struct Newest {
    schema: SchemaRef,
    columns: LatestColumns,
    keys: Keys,
    table: Table,
    held: Held,
    ties: Ties,
    comparators: Comparators,
    numbers: Vec<u32>,
    batch_rows: usize,
}

impl Newest {
    pub(super) fn new(
        schema: &SchemaRef,
        columns: &LatestColumns,
        batch_rows: usize,
    ) -> Result<Self> {
        Ok(Self {
            schema: Arc::clone(schema),
            columns: columns.clone(),
            keys: Keys::new(columns.keys.clone(), schema),
            table: Table::new(),
            held: Held::new(Arc::clone(schema), batch_rows),
            ties: Ties::new(schema, columns)?,
            comparators: Comparators::default(),
            numbers: Vec::new(),
            batch_rows,
        })
    }

    /// How many entity keys there are.
    pub(super) fn len(&self) -> usize {
        self.table.winners().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.winners().is_empty()
    }

    /// Bytes that are held now.
    pub(super) fn bytes(&self) -> usize {
        self.table.bytes_with(0) + self.held.bytes()
    }

    /// Bytes that are held once a batch is added, at most.
    pub(super) fn bytes_with(&self, batch: &RecordBatch) -> usize {
        self.table.bytes_with(batch.num_rows()) + self.held.bytes() + bytes(batch)
    }

    /// Adds rows.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let BatchKeys { tags, nulls, columns } = self.keys.read(&batch)?;
        self.table.reserve(rows);
        self.comparators.clear();
        let number = self.held.hold(batch, columns);
        let batch = self.held.get(number);
        let (held, keys) = (batch.rows.clone(), batch.keys.clone());
        let events = held.column(self.columns.event_time).as_primitive::<TimestampNanosecondType>();
        let mut numbers = std::mem::take(&mut self.numbers);
        for (block, tags) in tags.chunks(BLOCK_ROWS).enumerate() {
            self.table.touch(tags, &mut numbers);
            if !self.keys.is_exact() {
                let winners = numbers.iter().filter_map(|&number| self.table.candidate(number));
                touch(winners.map(|w| (&self.held.get(w.batch).keys[..], w.row as usize)));
            }
            for (row, &tag) in (block * BLOCK_ROWS..).zip(tags) {
                let event_time = events.value(row);
                let challenger = Winner { tag, event_time, batch: number, row: row as u32 };
                if nulls.as_ref().is_some_and(|nulls| nulls.value(row)) {
                    self.challenge_null(challenger)?;
                } else {
                    self.challenge(challenger, &keys)?;
                }
            }
        }
        self.numbers = numbers;
        self.comparators.clear();
        self.held.release_dead(number);
        self.compact_now_and_then()
    }

    /// Lets go what is not needed, for when memory is short.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.held.forget_ties();
        self.compact_to(LIVE_MAX_SHORT)
    }

    /// Hands the rows out; the reservation shrinks on the way.
    pub(super) fn drain(self, memory: MemoryReservation) -> Drain {
        let Self { table, held, .. } = self;
        held.drain(table.winners(), memory)
    }

    /// Hands the rows out in so many parts, by their keys, and forgets them.
    ///
    /// Each seed deals the keys out anew.
    pub(super) fn deal_out(
        &mut self,
        parts: usize,
        seed: u64,
        mut take: impl FnMut(usize, &RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let place = |winner: &Winner| {
            let part = part(winner.tag, seed, parts);
            Place { part, batch: winner.batch, row: winner.row }
        };
        let mut places: Vec<Place> = self.table.winners().iter().map(place).collect();
        self.table.clear();
        places.sort_unstable();
        for dealt in places.chunk_by(|left, right| left.part == right.part) {
            for places in dealt.chunks(self.batch_rows) {
                take(places[0].part, &self.held.gather(places)?)?;
            }
        }
        self.held = Held::new(Arc::clone(&self.schema), self.batch_rows);
        Ok(())
    }

    fn challenge(&mut self, challenger: Winner, keys: &[ArrayRef]) -> Result<()> {
        let Self { table, held, comparators, .. } = self;
        let mut failed = None;
        let is_exact = self.keys.is_exact();
        let found = table.find(challenger.tag, |winner| {
            if is_exact {
                return true;
            }
            let others = &held.get(winner.batch).keys;
            let other = (winner.batch as usize, others.as_slice(), winner.row as usize);
            let same = comparators.is_same((keys, challenger.row as usize), other);
            same.unwrap_or_else(|error| {
                failed = Some(error);
                true
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        match found {
            Find::Winner(number) => self.compare(number, challenger),
            Find::Place(place) => {
                self.table.insert(place, challenger);
                self.held.want(challenger.batch);
                Ok(())
            }
        }
    }

    fn challenge_null(&mut self, challenger: Winner) -> Result<()> {
        if let Some(number) = self.table.null() {
            return self.compare(number, challenger);
        }
        self.table.insert_null(challenger);
        self.held.want(challenger.batch);
        Ok(())
    }

    fn compare(&mut self, number: u32, challenger: Winner) -> Result<()> {
        let winner = self.table.winners()[number as usize];
        let beats = match challenger.event_time.cmp(&winner.event_time) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => self.wins_tie(challenger, winner)?,
        };
        if beats {
            self.table.winners_mut()[number as usize] = challenger;
            self.held.want(challenger.batch);
            self.held.forget(winner.batch);
            if winner.batch != challenger.batch {
                self.held.release_dead(winner.batch);
            }
        }
        Ok(())
    }

    /// Compares rows of one event time: created time, where null loses, then everything else.
    fn wins_tie(&mut self, challenger: Winner, winner: Winner) -> Result<bool> {
        if let Some(column) = self.columns.created_time {
            let created = |row: Winner| {
                let times = self.held.get(row.batch).rows.column(column);
                let times = times.as_primitive::<TimestampNanosecondType>();
                let row = row.row as usize;
                // Null loses to every created time.
                times.is_valid(row).then(|| times.value(row))
            };
            let (left, right) = (created(challenger), created(winner));
            if left != right {
                return Ok(left > right);
            }
        }
        if self.ties.columns.is_empty() {
            return Ok(false);
        }
        self.ties.make(&mut self.held, challenger.batch)?;
        self.ties.make(&mut self.held, winner.batch)?;
        let row = |row: Winner| {
            let ties = self.held.get(row.batch).ties.as_ref();
            ties.expect("made above").row(row.row as usize)
        };
        Ok(row(challenger) > row(winner))
    }

    fn compact_now_and_then(&mut self) -> Result<()> {
        if self.held.rows() <= COMPACT_ROWS_MIN.max(self.len() * ROWS_PER_WINNER_MAX) {
            return Ok(());
        }
        self.compact_to(LIVE_MAX)
    }

    fn compact_to(&mut self, live_max: f64) -> Result<()> {
        let Self { keys, held, table, .. } = self;
        held.compact(table.winners_mut(), live_max, |batch| Ok(keys.read(batch)?.columns))
    }
}

/// The columns that decide when all times are equal.
struct Ties {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Ties {
    fn new(schema: &SchemaRef, columns: &LatestColumns) -> Result<Self> {
        // Columns of types without an order are left out; no Feast type can hold them either.
        let (columns, fields): (Vec<usize>, Vec<SortField>) = (0..schema.fields().len())
            .filter(|&index| index != columns.event_time && Some(index) != columns.created_time)
            .map(|index| (index, SortField::new(schema.field(index).data_type().clone())))
            .filter(|(_, field)| RowConverter::supports_fields(std::slice::from_ref(field)))
            .unzip();
        Ok(Self { columns, converter: RowConverter::new(fields)? })
    }

    fn make(&self, held: &mut Held, number: u32) -> Result<()> {
        let batch = held.get(number);
        if batch.ties.is_some() {
            return Ok(());
        }
        let column = |&index: &usize| Arc::clone(batch.rows.column(index));
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        held.set_ties(number, self.converter.convert_columns(&columns)?);
        Ok(())
    }
}
