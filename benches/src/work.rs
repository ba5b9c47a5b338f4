//! The work whose instructions are counted: what is done to every row between scan and socket.
//!
//! Fixed data, one thread, and the same order every time. What prepares it is not counted; see
//! `bin/instructions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use clap::ValueEnum;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use harness::Redis;
use jobs::encode::Encoder;
use jobs::latest::{LatestColumns, newest_rows};
use jobs::session::BATCH_ROWS;
use jobs::{Session, SessionOptions};
use model::EncodedBatch;
use tokio::runtime::{Builder, Runtime};

use crate::dataset::{Dataset, Day};
use crate::newest::{Key, Newest};
use crate::store::{Store, batches, encoder, field, narrow};
use crate::wide::Wide;

/// Something that is done to every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// Arrow to Feast's bytes, six features.
    #[value(name = "encode-6-features")]
    EncodeNarrow,
    /// Arrow to Feast's bytes, two hundred features of eleven types.
    #[value(name = "encode-200-features")]
    EncodeWide,
    /// The newest of ten rows a key.
    #[value(name = "latest-10-rows-a-key")]
    LatestOfTen,
    /// The newest rows where every key has one.
    #[value(name = "latest-1-row-a-key")]
    LatestOfOne,
    /// Hashes as `RESTORE` takes them, pipelined into a real Redis.
    #[value(name = "write-first-load")]
    Write,
}

impl Case {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Rows of one pass: enough for the rare things to happen, few enough for valgrind, under which
    /// everything takes some fifty times as long.
    #[must_use]
    pub fn rows(self) -> u64 {
        match self {
            Self::EncodeWide => 1_024,
            Self::LatestOfTen | Self::LatestOfOne => 100_000,
            Self::EncodeNarrow | Self::Write => 2 * BATCH_ROWS as u64,
        }
    }
}

/// Does a case's work so many times; gives a number that depends on all of it.
///
/// # Errors
/// When the work fails or leaves another number of rows than it must.
pub fn run(case: Case, passes: u64) -> Result<u64> {
    let rows = usize::try_from(case.rows())?;
    match case {
        Case::EncodeNarrow => {
            let (encoder, batches) = narrow(Dataset::new(rows), Day::First)?;
            encode(&encoder, &batches, passes)
        }
        Case::EncodeWide => {
            let (encoder, batches) = wide(rows)?;
            encode(&encoder, &batches, passes)
        }
        Case::LatestOfTen => latest(rows / 10, 10, passes),
        Case::LatestOfOne => latest(rows, 1, passes),
        Case::Write => {
            let (encoder, batches) = narrow(Dataset::new(rows), Day::First)?;
            let encoded = batches.iter().map(|batch| Ok(encoder.encode(batch)?.batch));
            runtime()?.block_on(write(&encoded.collect::<Result<Vec<_>>>()?, passes))
        }
    }
}

fn wide(rows: usize) -> Result<(Encoder, Vec<RecordBatch>)> {
    let batches = batches(rows, |part| Wide::new(rows).batch(Day::First, part))?;
    let features = Wide::features().map(|(name, value_type)| field(&name, value_type));
    Ok((encoder(features.collect(), &batches[0])?, batches))
}

fn encode(encoder: &Encoder, batches: &[RecordBatch], passes: u64) -> Result<u64> {
    let mut bytes = 0;
    for _ in 0..passes {
        for batch in batches {
            let encoded = encoder.encode(batch)?;
            ensure!(encoded.refused.is_empty(), "no row is bad");
            bytes += encoded.batch.features.iter().map(|c| c.data_len() as u64).sum::<u64>();
        }
    }
    Ok(bytes)
}

/// The newest rows of entities that each have so many.
fn latest(entities: usize, days: u32, passes: u64) -> Result<u64> {
    let newest = Newest { key: Key::Integer, entities: u32::try_from(entities)?, days };
    let mut batches = Vec::new();
    newest.for_each_batch(BATCH_ROWS, |batch| {
        batches.push(batch);
        Ok(())
    })?;
    let schema = batches[0].schema();
    let columns = LatestColumns {
        keys: vec![0],
        event_time: schema.index_of("event_timestamp")?,
        created_time: None,
    };
    let session = Session::new(SessionOptions {
        partitions: 1,
        memory_limit_bytes: jobs::session::MEMORY_LIMIT_BYTES,
        object_store: BTreeMap::new(),
    })?;
    runtime()?.block_on(async {
        let mut rows = 0;
        for _ in 0..passes {
            let input = MemorySourceConfig::try_new_exec(
                std::slice::from_ref(&batches),
                Arc::clone(&schema),
                None,
            )?;
            let plan = newest_rows(input, columns.clone(), 1, &BTreeSet::new(), &Arc::default())?;
            let mut stream = execute_stream(plan, session.context().task_ctx())?;
            while let Some(batch) = stream.next().await {
                rows += batch?.num_rows() as u64;
            }
        }
        ensure!(rows == passes * entities as u64, "{rows} rows are left of {entities} entities");
        Ok(rows)
    })
}

/// A first load of a real Redis, each pass into the empty one.
async fn write(batches: &[EncodedBatch], passes: u64) -> Result<u64> {
    let redis = Redis::start()?;
    let store = Store::open(redis.port()).await?;
    let mut written = 0;
    for _ in 0..passes {
        redis.command(&["FLUSHALL", "SYNC"])?;
        for batch in batches {
            written += store.write(batch.clone()).await?.written;
        }
    }
    let rows = passes * batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
    ensure!(written == rows, "{written} rows of {rows} were written");
    Ok(written)
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_its_work_as_often_as_it_is_told() -> Result<()> {
        for &case in Case::value_variants() {
            let once = run(case, 1)?;
            assert!(once >= case.rows() / 10, "{case:?}: {once}");
            assert_eq!(run(case, 2)?, 2 * once, "{case:?}");
        }
        Ok(())
    }
}
