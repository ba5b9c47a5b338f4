//! Hands DataFusion the bytes and the footers that are there already.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;

use super::SourceFile;
use super::fetch::{Fetch, Parts, ReadAhead, cut};
use super::read::{self, Pin, ReadError};

/// Makes readers of pieces. A file to read names its piece by a [`PieceIndex`].
#[derive(Debug)]
pub(crate) struct Readers(pub(crate) Arc<ReadAhead>);

/// Which piece of the scan a file to read is, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PieceIndex(pub(crate) usize);

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _footer_bytes: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> datafusion::error::Result<Box<dyn AsyncFileReader + Send>> {
        let piece = file.extension::<PieceIndex>().ok_or_else(|| {
            DataFusionError::Internal(format!("`{}` names no piece", file.object_meta.location))
        })?;
        Ok(Box::new(self.0.reader(piece.0)))
    }
}

/// Reads one file: from what was fetched ahead, and what is not there from the store.
pub(super) struct Reader {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    shown: String,
    footer: Arc<ParquetMetaData>,
    fetch: Option<Fetch>,
    parts: Parts,
}

impl ReadAhead {
    /// A reader of a piece, which is on its way from now on.
    fn reader(&self, index: usize) -> Reader {
        let piece = &self.pieces()[index];
        Reader {
            store: self.store(),
            meta: piece.meta.clone(),
            shown: piece.shown.clone(),
            footer: Arc::clone(&piece.footer),
            fetch: Some(self.take(index)),
            parts: Parts::new(),
        }
    }
}

impl Reader {
    /// A reader of a whole file that fetches nothing ahead.
    pub(super) fn whole(store: Arc<dyn ObjectStore>, file: &SourceFile) -> Self {
        Self {
            store,
            meta: file.listed.meta.clone(),
            shown: file.listed.shown.clone(),
            footer: Arc::clone(file.footer.metadata()),
            fetch: None,
            parts: Parts::new(),
        }
    }

    async fn read(&mut self, range: Range<u64>) -> std::result::Result<Bytes, ReadError> {
        if let Some(fetch) = self.fetch.take() {
            self.parts = fetch.join().await?;
        }
        if let Some(bytes) = cut(&self.parts, range.clone()) {
            return Ok(bytes);
        }
        let pin = Pin { meta: &self.meta, shown: &self.shown };
        Ok(read::range(self.store.as_ref(), pin, range).await?.0)
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let read = async move {
            self.read(range).await.map_err(|error| ParquetError::External(Box::new(error)))
        };
        read.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        let footer = Arc::clone(&self.footer);
        async move { Ok(footer) }.boxed()
    }
}
