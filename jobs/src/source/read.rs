//! Reads a part of a source's file, as long as it is the file that was listed.
//!
//! Every read carries the ETag noted at planning and every answer is compared with it, because not
//! every server looks at the condition. A file that is replaced while a window runs fails the
//! window instead of mixing two versions of the source.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};

/// A file of a source that its object store did not deliver.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "failed to read `{file}`; see to the cause and run it again, or give a slow object store more \
     time with `timeout`, `max_retries` and `retry_timeout` in `tidegate.object_store`"
)]
pub struct ReadError {
    /// The file.
    pub file: String,
    /// The cause.
    #[source]
    pub source: Arc<Error>,
}

impl ReadError {
    /// Tells whether the file is not the one that was listed any more.
    pub fn is_change(&self) -> bool {
        matches!(*self.source, Error::Precondition { .. } | Error::NotFound { .. })
    }
}

/// A file as it was listed, and what to call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin<'a> {
    pub(super) meta: &'a ObjectMeta,
    pub(super) shown: &'a str,
}

/// Reads a range of a file; what the answer says of the file comes with it.
pub(super) async fn range(
    store: &dyn ObjectStore,
    pin: Pin<'_>,
    range: Range<u64>,
) -> Result<(Bytes, ObjectMeta), ReadError> {
    let failed = |source| ReadError { file: pin.shown.to_owned(), source: Arc::new(source) };
    let got = get(store, pin.meta, range).await.map_err(failed)?;
    let meta = got.meta.clone();
    Ok((got.bytes().await.map_err(failed)?, meta))
}

async fn get(
    store: &dyn ObjectStore,
    pin: &ObjectMeta,
    range: Range<u64>,
) -> Result<GetResult, Error> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        // A weak ETag never satisfies the condition (RFC 9110, 13.1.1); it is compared below.
        if_match: pin.e_tag.clone().filter(|etag| !etag.starts_with("W/")),
        ..GetOptions::default()
    };
    let got = store.get_opts(&pin.location, options).await?;
    if is_same(pin, &got.meta) {
        return Ok(got);
    }
    let source = format!("it has {} bytes and is not the one listed", got.meta.size).into();
    Err(Error::Precondition { path: pin.location.to_string(), source })
}

/// Tells whether a file that was found is the one that was pinned, as far as its store tells.
pub(crate) fn is_same(pin: &ObjectMeta, found: &ObjectMeta) -> bool {
    let same_content = match (&pin.e_tag, &found.e_tag) {
        (Some(pinned), Some(found)) => opaque(pinned) == opaque(found),
        // HTTP tells whole seconds.
        _ => pin.last_modified.timestamp() == found.last_modified.timestamp(),
    };
    pin.size == found.size && same_content
}

/// What is inside an ETag: Azure's listings leave the quotes out, its answers do not.
fn opaque(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;
    use object_store::path::Path;

    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(&dir).unwrap();
        let path = Path::from("a");
        store.put(&path, "one".into()).await.unwrap();
        let meta = store.head(&path).await.unwrap();
        let pin = Pin { meta: &meta, shown: "a" };
        assert_eq!(range(&store, pin, 0..3).await.unwrap().0, "one");
        store.put(&path, "other".into()).await.unwrap();
        assert!(range(&store, pin, 0..2).await.unwrap_err().is_change());
        store.delete(&path).await.unwrap();
        assert!(range(&store, pin, 0..2).await.unwrap_err().is_change());
    }

    #[test]
    fn a_file_is_known_by_its_etag_or_else_by_its_time() {
        let meta = |e_tag: Option<&str>, size, seconds| ObjectMeta {
            location: Path::from("a"),
            last_modified: chrono::DateTime::from_timestamp(seconds, 0).unwrap(),
            size,
            e_tag: e_tag.map(str::to_owned),
            version: None,
        };
        let pin = meta(Some("x"), 1, 5);
        assert!(is_same(&pin, &meta(Some("x"), 1, 6)));
        assert!(is_same(&pin, &meta(Some("\"x\""), 1, 5)));
        assert!(!is_same(&pin, &meta(Some("y"), 1, 5)));
        assert!(!is_same(&pin, &meta(Some("x"), 2, 5)));
        assert!(is_same(&pin, &meta(None, 1, 5)) && !is_same(&pin, &meta(None, 1, 6)));
    }
}
