//! An object store that reads a file only as long as it is the one that was planned.
//!
//! Every read carries the ETag noted at planning, so a file that is replaced while a window runs
//! fails the window instead of mixing two versions of the source.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Reads pinned files of another store; writes nothing.
#[derive(Debug)]
pub(crate) struct PinnedStore {
    inner: Arc<dyn ObjectStore>,
    etags: HashMap<Path, String>,
}

impl PinnedStore {
    /// Pins the given files of a store; one without an ETag cannot be pinned and is read as it is.
    pub(crate) fn new<'a>(
        inner: Arc<dyn ObjectStore>,
        files: impl Iterator<Item = &'a ObjectMeta>,
    ) -> Self {
        let etags =
            files.filter_map(|meta| Some((meta.location.clone(), meta.e_tag.clone()?))).collect();
        Self { inner, etags }
    }
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pinned {}", self.inner)
    }
}

fn read_only() -> Error {
    Error::NotSupported { source: "a pinned source is only read".into() }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if let Some(etag) = self.etags.get(location) {
            options.if_match = Some(etag.clone());
        }
        self.inner.get_opts(location, options).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        use futures::StreamExt;
        locations.map(|_| Err(read_only())).boxed()
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;

    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&dir).unwrap());
        let path = Path::from("a");
        store.put(&path, "one".into()).await.unwrap();
        let meta = store.head(&path).await.unwrap();
        let pinned = PinnedStore::new(Arc::clone(&store), [&meta].into_iter());
        assert_eq!(pinned.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "other".into()).await.unwrap();
        let error = pinned.get_ranges(&path, std::slice::from_ref(&(0..2))).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    }
}
