//! The batches that the newest rows are in, kept by reference.
//!
//! Counts the rows of each batch that are still wanted: a batch without any is let go at once, and
//! batches with few are compacted. Deliberately absent: which row is the newest.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::{BatchCoalescer, interleave_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::Rows;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;

use super::table::Winner;

/// Batches by number.
#[derive(Debug)]
pub(super) struct Held {
    schema: SchemaRef,
    batch_rows: usize,
    batches: Vec<Option<Batch>>,
    free: Vec<u32>,
    rows: usize,
    bytes: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: RecordBatch,
    /// The key columns, where they are to be compared.
    pub(super) keys: Vec<ArrayRef>,
    /// The columns that decide ties in comparable form, made when the first tie asks for them.
    pub(super) ties: Option<Rows>,
    live: u32,
    bytes: usize,
}

/// Where a row is, and which part of the whole it is dealt to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) part: usize,
    pub(super) batch: u32,
    pub(super) row: u32,
}

impl Held {
    pub(super) fn new(schema: SchemaRef, batch_rows: usize) -> Self {
        Self { schema, batch_rows, batches: Vec::new(), free: Vec::new(), rows: 0, bytes: 0 }
    }

    /// How many rows the batches have, wanted or not.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a batch, none of whose rows is wanted yet, and gives its number.
    pub(super) fn hold(&mut self, rows: RecordBatch, keys: Vec<ArrayRef>) -> u32 {
        let bytes = bytes(&rows);
        self.rows += rows.num_rows();
        self.bytes += bytes;
        let batch = Some(Batch { rows, keys, ties: None, live: 0, bytes });
        if let Some(number) = self.free.pop() {
            self.batches[number as usize] = batch;
            return number;
        }
        self.batches.push(batch);
        u32::try_from(self.batches.len() - 1).expect("compaction keeps the batches few")
    }

    pub(super) fn get(&self, number: u32) -> &Batch {
        self.batches[number as usize].as_ref().expect("a batch with a wanted row is held")
    }

    /// Notes that one more row of a batch is wanted.
    pub(super) fn want(&mut self, number: u32) {
        self.get_mut(number).live += 1;
    }

    /// Notes that a row of a batch is not wanted any more.
    pub(super) fn forget(&mut self, number: u32) {
        self.get_mut(number).live -= 1;
    }

    /// Lets a batch go if none of its rows is wanted.
    pub(super) fn release_dead(&mut self, number: u32) {
        if self.batches[number as usize].as_ref().is_some_and(|batch| batch.live == 0) {
            self.release(number);
        }
    }

    /// Keeps what ties are decided by.
    pub(super) fn set_ties(&mut self, number: u32, ties: Rows) {
        let bytes = ties.size();
        self.bytes += bytes;
        let batch = self.get_mut(number);
        batch.bytes += bytes;
        batch.ties = Some(ties);
    }

    /// Lets go what ties are decided by; it can be made again.
    pub(super) fn forget_ties(&mut self) {
        for batch in self.batches.iter_mut().flatten() {
            let bytes = batch.ties.take().map_or(0, |ties| ties.size());
            batch.bytes -= bytes;
            self.bytes -= bytes;
        }
    }

    /// Copies the wanted rows out of batches that have few, and lets those go.
    ///
    /// `live_max` is the share of wanted rows up to which a batch is copied. The winners' places
    /// are put right.
    pub(super) fn compact(
        &mut self,
        winners: &mut [Winner],
        live_max: f64,
        keys: impl Fn(&RecordBatch) -> Result<Vec<ArrayRef>>,
    ) -> Result<()> {
        let is_few =
            |batch: &Batch| f64::from(batch.live) <= batch.rows.num_rows() as f64 * live_max;
        let chosen: Vec<bool> =
            self.batches.iter().map(|batch| batch.as_ref().is_some_and(is_few)).collect();
        let mut marks = self.marks(winners, |number| chosen[number]);
        let mut coalescer = BatchCoalescer::new(SchemaRef::clone(&self.schema), self.batch_rows);
        let mut copied = 0;
        for (number, marks) in marks.iter_mut().enumerate().filter(|(number, _)| chosen[*number]) {
            let batch = self.batches[number].as_ref().expect("chosen from what is there");
            marks.count_from(copied);
            copied += batch.live as usize;
            let filter = marks.filter(batch.rows.num_rows());
            coalescer.push_batch_with_filter(batch.rows.clone(), &filter)?;
            self.release(number as u32);
        }
        coalescer.finish_buffered_batch()?;
        let mut numbers = Vec::new();
        while let Some(rows) = coalescer.next_completed_batch() {
            let (live, keys) = (rows.num_rows() as u32, keys(&rows)?);
            let number = self.hold(rows, keys);
            self.get_mut(number).live = live;
            numbers.push(number);
        }
        for winner in winners {
            if chosen.get(winner.batch as usize).copied().unwrap_or(false) {
                let place = marks[winner.batch as usize].place(winner.row);
                winner.batch = numbers[place / self.batch_rows];
                winner.row = (place % self.batch_rows) as u32;
            }
        }
        Ok(())
    }

    /// Hands the wanted rows out, a batch at a time, and gives the memory of each back with it.
    pub(super) fn drain(mut self, winners: &[Winner], memory: MemoryReservation) -> Drain {
        self.forget_ties();
        let batches = self.batches.iter().map(|batch| batch.as_ref());
        let is_partly =
            |batch: Option<&Batch>| batch.is_some_and(|b| (b.live as usize) < b.rows.num_rows());
        let partly: Vec<bool> = batches.map(is_partly).collect();
        let marks = self.marks(winners, |number| partly[number]);
        let filters = self.batches.iter().zip(marks).zip(partly).map(|((batch, marks), partly)| {
            let rows = batch.as_ref().filter(|_| partly)?.rows.num_rows();
            Some(marks.filter(rows))
        });
        let filters: Vec<_> = filters.collect();
        let mut batches: Vec<_> = self
            .batches
            .into_iter()
            .zip(filters)
            .filter_map(|(batch, filter)| Some((batch?, filter)))
            .collect();
        batches.reverse();
        let coalescer = BatchCoalescer::new(self.schema, self.batch_rows)
            .with_biggest_coalesce_batch_size(Some(self.batch_rows / 2));
        Drain { batches, coalescer: Some(coalescer), bytes: self.bytes, memory }
    }

    /// Copies rows of several batches into one, in order of place.
    pub(super) fn gather(&self, places: &[Place]) -> Result<RecordBatch> {
        let mut batches: Vec<&RecordBatch> = Vec::new();
        let mut numbers: Vec<u32> = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            if numbers.last() != Some(&place.batch) {
                numbers.push(place.batch);
                batches.push(&self.get(place.batch).rows);
            }
            indices.push((batches.len() - 1, place.row as usize));
        }
        Ok(interleave_record_batch(&batches, &indices)?)
    }

    fn get_mut(&mut self, number: u32) -> &mut Batch {
        self.batches[number as usize].as_mut().expect("a batch with a wanted row is held")
    }

    fn release(&mut self, number: u32) {
        if let Some(batch) = self.batches[number as usize].take() {
            self.rows -= batch.rows.num_rows();
            self.bytes -= batch.bytes;
            self.free.push(number);
        }
    }

    fn marks(&self, winners: &[Winner], is_chosen: impl Fn(usize) -> bool) -> Vec<Marks> {
        let rows = |(number, batch): (usize, &Option<Batch>)| {
            let batch = batch.as_ref().filter(|_| is_chosen(number));
            Marks::new(batch.map_or(0, |batch| batch.rows.num_rows()))
        };
        let mut marks: Vec<Marks> = self.batches.iter().enumerate().map(rows).collect();
        for winner in winners {
            marks[winner.batch as usize].set(winner.row);
        }
        marks
    }
}

/// The wanted rows of a batch, a bit for each row; none at all for a batch that is not chosen.
struct Marks {
    words: Vec<u64>,
    /// Marked rows before each word.
    counts: Vec<usize>,
}

impl Marks {
    fn new(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], counts: Vec::new() }
    }

    fn set(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    fn filter(&self, rows: usize) -> BooleanArray {
        let buffer = Buffer::from_iter(self.words.iter().copied());
        BooleanArray::new(BooleanBuffer::new(buffer, 0, rows), None)
    }

    fn count_from(&mut self, before: usize) {
        let mut count = before;
        self.counts.clear();
        for word in &self.words {
            self.counts.push(count);
            count += word.count_ones() as usize;
        }
    }

    /// How many marked rows come before a row.
    fn place(&self, row: u32) -> usize {
        let word = row as usize / 64;
        let before = self.words[word] & ((1 << (row % 64)) - 1);
        self.counts[word] + before.count_ones() as usize
    }
}

/// What is left to hand out.
pub(super) struct Drain {
    /// The next one last.
    batches: Vec<(Batch, Option<BooleanArray>)>,
    coalescer: Option<BatchCoalescer>,
    bytes: usize,
    memory: MemoryReservation,
}

impl Drain {
    fn fill(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(coalescer) = &mut self.coalescer {
            if let Some(rows) = coalescer.next_completed_batch() {
                return Ok(Some(rows));
            }
            match self.batches.pop() {
                Some((batch, filter)) => {
                    match filter {
                        Some(filter) => coalescer.push_batch_with_filter(batch.rows, &filter)?,
                        None => coalescer.push_batch(batch.rows)?,
                    }
                    self.bytes -= batch.bytes;
                    self.memory.resize(self.bytes);
                }
                None => {
                    coalescer.finish_buffered_batch()?;
                    let last = coalescer.next_completed_batch();
                    self.coalescer = None;
                    return Ok(last);
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Drain {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill().transpose()
    }
}

/// Bytes of a batch's own rows, also where it is a slice that shares its buffers.
pub(super) fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column_bytes(column.as_ref())).sum()
}

fn column_bytes(column: &dyn Array) -> usize {
    let data = column.to_data();
    let slice = data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    // A slice's size leaves out what views point to.
    let viewed = match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
        _ => 0,
    };
    slice + viewed
}
