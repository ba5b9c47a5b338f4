//! The files of an offline source: which there are, what they hold, which the window needs.
//!
//! Everything that is known before the first row is read is worked out here, once: `plan` prints
//! it, the ledger pins it, and the scan reads exactly it.

mod footer;
mod list;
mod locate;
mod schema;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use object_store::{ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use url::Url;

pub(crate) use footer::nanos_per;
pub use list::resolve;
pub use locate::{RowKey, locate};
pub use schema::{Need, NeededColumn};

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
    readers: CachedParquetFileReaderFactory,
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
    /// Index into [`Source::files`].
    pub file: usize,
    /// Values of the partition columns.
    pub partition_values: Vec<ScalarValue>,
    /// The row groups that can hold rows of the window: index, rows, bytes of the columns read.
    pub row_groups: Vec<RowGroup>,
}

/// One row group that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Its index in the file.
    pub index: usize,
    /// Its rows.
    pub rows: u64,
    /// Compressed bytes of the columns that are read.
    pub bytes: u64,
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
        let readers = session.readers(Arc::clone(&store));
        let files = footer::read_all(&readers, inside).await?;
        Ok(Self { location, store, readers, files, outside })
    }

    /// The first file's Arrow schema: what a predicate over source columns is read against.
    pub fn first_schema(&self) -> &SchemaRef {
        self.files[0].footer.schema()
    }

    /// Chooses the columns, files and row groups that a window needs.
    ///
    /// # Errors
    /// When a column is missing or of a type that does not fit.
    pub fn select(&self, need: &Need, interval: Interval) -> Result<Selection, Error> {
        let merged = schema::merge(self, need)?;
        let event_time = &need.event_time.source;
        let mut files = Vec::with_capacity(self.files.len());
        for (index, file) in self.files.iter().enumerate() {
            let row_groups = footer::row_groups(file, &merged.file_schema, event_time, interval)?;
            let partition_values = merged.partition_values(&file.listed);
            files.push(SelectedFile { file: index, partition_values, row_groups });
        }
        Ok(Selection {
            file_schema: merged.file_schema,
            partition_fields: merged.partition_fields,
            files,
        })
    }
}
