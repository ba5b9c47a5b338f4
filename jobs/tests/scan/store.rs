//! An object store that counts what is asked of it, and takes its time.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// A range that was read of a file.
pub(crate) type Read = (String, Range<u64>);

/// Files in memory; every read is noted, and takes as long as a round trip.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    inner: InMemory,
    reads: Mutex<Vec<Read>>,
    round_trip: Duration,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

impl Counting {
    pub(crate) fn slow(round_trip: Duration) -> Arc<Self> {
        Arc::new(Self { round_trip, ..Self::default() })
    }

    /// What was read since the last call.
    pub(crate) fn take(&self) -> Vec<Read> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }

    /// Most reads that were going on at the same time.
    pub(crate) fn at_once_max(&self) -> usize {
        self.at_once_max.load(Ordering::Relaxed)
    }
}

/// Bytes of some reads.
pub(crate) fn bytes(reads: &[Read]) -> u64 {
    reads.iter().map(|(_, range)| range.end - range.start).sum()
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counting {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let now = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.at_once_max.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.round_trip).await;
        self.at_once.fetch_sub(1, Ordering::Relaxed);
        let got = self.inner.get_opts(location, options).await?;
        if !head {
            self.reads.lock().unwrap().push((location.to_string(), got.range.clone()));
        }
        Ok(got)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
