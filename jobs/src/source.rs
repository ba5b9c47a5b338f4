//! The files of an offline source: which there are, what they hold, which the window needs.
//!
//! Everything that is known before the first row is read is worked out here, once: `plan` prints
//! it, the ledger pins it, and the scan reads exactly it.

mod fetch;
mod footer;
mod list;
mod locate;
mod page;
mod piece;
mod read;
mod reader;
mod schema;
mod span;
mod store;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use url::Url;

pub(crate) use fetch::ReadAhead;
pub(crate) use footer::nanos_per;
pub use list::resolve;
pub use locate::{RowKey, locate};
pub(crate) use piece::{Piece, pieces};
pub use read::ReadError;
pub(crate) use read::is_same;
pub(crate) use reader::{PieceIndex, Readers};
pub use schema::{Need, NeededColumn};
pub(crate) use store::Stores;

use crate::error::Error;
use crate::session::Session;
use model::Interval;

/// Where a source's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The object store: `file:///`, `s3://bucket`, ….
    pub store: Url,
    /// Path, directory or glob inside the store, without a leading slash.
    pub path: String,
    /// Endpoint of an S3-compatible server.
    pub endpoint: Option<String>,
    /// What to call it in messages.
    pub shown: String,
}

impl Location {
    fn is_local_directory(&self) -> bool {
        self.store.scheme() == "file" && Path::new("/").join(&self.path).is_dir()
    }
}

/// One file as listed, and its place among the hive partitions.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Path, size, time and ETag as listed: what the window is pinned to.
    pub meta: ObjectMeta,
    /// `key=value` directories on the way to the file, outermost first.
    pub hive: Vec<(String, String)>,
    /// What to call it in messages.
    pub shown: String,
}

impl ListedFile {
    fn pin(&self) -> read::Pin<'_> {
        read::Pin { meta: &self.meta, shown: &self.shown }
    }
}

/// One file with its footer.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The file.
    pub listed: ListedFile,
    /// The footer.
    pub footer: ArrowReaderMetadata,
}

/// What the directories of a source say about the days of its rows.
#[derive(Clone, Copy, Debug)]
pub struct Days<'a> {
    /// The hive key whose value is the day of the event time.
    pub key: &'a str,
    /// The rows wanted.
    pub interval: Interval,
}

/// A listed source.
#[derive(Debug)]
pub struct Source {
    /// Where it is.
    pub location: Location,
    /// Its object store.
    pub store: Arc<dyn ObjectStore>,
    /// Its files in order of path; at least one.
    pub files: Vec<SourceFile>,
    /// Files that their directories rule out; nothing of them is read, not even the footer.
    pub outside: Vec<ListedFile>,
}

/// What the scan reads.
#[derive(Debug)]
pub struct Selection {
    /// The columns read from files.
    pub file_schema: SchemaRef,
    /// The columns that come from hive directories.
    pub partition_fields: Vec<Field>,
    /// Every file that is not ruled out by its directory, with what of it is read.
    pub files: Vec<SelectedFile>,
}

/// What is read of one file.
#[derive(Clone, Debug)]
pub struct SelectedFile {
    /// The footer, with the places of the pages of row groups that are read in part.
    footer: Arc<ParquetMetaData>,
    /// Index into [`Source::files`].
    pub file: usize,
    /// Values of the partition columns.
    pub partition_values: Vec<ScalarValue>,
    /// The row groups that can hold rows of the window.
    pub row_groups: Vec<RowGroup>,
}

/// One row group that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Its index in the file.
    pub index: usize,
    /// Its rows, as far as they are read.
    pub rows: u64,
    /// Compressed bytes that are read: those of the needed columns, and of the pages selected.
    pub bytes: u64,
    /// From its least to its greatest event time, where statistics tell.
    pub times: Option<Interval>,
    /// Whether it is known to hold rows of the window and rows that are not.
    is_cut: bool,
    /// The rows of the pages that are read; `None` for all.
    pub(crate) selection: Option<RowSelection>,
}

impl Source {
    /// Lists the source and reads the footer of every file that its directories do not rule out.
    ///
    /// # Errors
    /// When nothing is found, or a file is no Parquet file.
    pub async fn open(
        session: &Session,
        location: Location,
        days: Option<Days<'_>>,
    ) -> Result<Self, Error> {
        let store = session.store(&location.store, location.endpoint.as_deref())?;
        let listed = list::list(store.as_ref(), &location).await?;
        let rules_out = |file: &ListedFile| days.is_some_and(|days| list::is_outside(file, days));
        let (mut outside, mut inside): (Vec<_>, Vec<_>) = listed.into_iter().partition(rules_out);
        if inside.is_empty() {
            // The columns must be known even when there is nothing to read.
            inside.push(outside.swap_remove(0));
        }
        let files = footer::read_all(store.as_ref(), inside).await?;
        Ok(Self { location, store, files, outside })
    }

    /// The first file's Arrow schema: what a predicate over source columns is read against.
    pub fn first_schema(&self) -> &SchemaRef {
        self.files[0].footer.schema()
    }

    /// Chooses the columns, files, row groups and pages that a window needs.
    ///
    /// # Errors
    /// When a column is missing or of a type that does not fit, or a page index cannot be read.
    pub async fn select(&self, need: &Need, interval: Interval) -> Result<Selection, Error> {
        let merged = schema::merge(self, need)?;
        let (schema, column) = (&merged.file_schema, need.event_time.source.as_str());
        // Collected, so that no closure over borrowed files lives while one is waited for.
        let mut choices = Vec::with_capacity(self.files.len());
        for (index, file) in self.files.iter().enumerate() {
            let partition_values = merged.partition_values(&file.listed);
            choices.push(async move {
                let (footer, row_groups) = self.row_groups(file, schema, column, interval).await?;
                Ok::<_, Error>(SelectedFile { footer, file: index, partition_values, row_groups })
            });
        }
        let files = futures::stream::iter(choices)
            .buffered(footer::FOOTERS_AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(Selection {
            file_schema: Arc::clone(schema),
            partition_fields: merged.partition_fields,
            files,
        })
    }

    /// The row groups of a file that can hold rows of the interval, narrowed to pages where that
    /// pays.
    async fn row_groups(
        &self,
        file: &SourceFile,
        schema: &SchemaRef,
        column: &str,
        interval: Interval,
    ) -> Result<(Arc<ParquetMetaData>, Vec<RowGroup>), Error> {
        let leaves = footer::leaves_read(file, schema);
        let groups = footer::row_groups(file, &leaves, column, interval)?;
        let footer = file.footer.metadata();
        let Some(leaf) = footer::time_leaf(file, column)? else {
            return Ok((Arc::clone(footer), groups));
        };
        if !groups.iter().any(|group| page::pays(footer, group, leaf)) {
            return Ok((Arc::clone(footer), groups));
        }
        let event_time = page::EventTime { column, leaf, interval };
        page::narrow(self.store.as_ref(), file, groups, &leaves, event_time).await.map_err(
            |source| match source {
                ParquetError::External(error) if error.is::<ReadError>() => {
                    let error = error.downcast::<ReadError>();
                    Error::from(*error.expect("it was looked at"))
                }
                source => Error::File { file: file.listed.shown.clone(), source },
            },
        )
    }
}
