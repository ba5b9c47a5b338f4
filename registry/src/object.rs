//! One protobuf blob in an object store, replaced only if it is still the one that was read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feast::config::redact;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use url::Url;

use crate::Error;
use crate::intervals::{Recorded, Recording};

/// Recorders of one project meet here; with pauses of up to a second ten attempts are plenty.
const ATTEMPTS_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// A registry object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRegistry {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
}

impl ObjectRegistry {
    pub(crate) fn open(url: &str, options: &BTreeMap<String, String>) -> Result<Self, Error> {
        let location = redact(url);
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| Error::Url {
            location: location.clone(),
            source,
        };
        let parsed = Url::parse(url).map_err(|source| unusable(source.into()))?;
        let (store, path) = object_store::parse_url_opts(&parsed, with_plain_http(options))
            .map_err(|source| unusable(source.into()))?;
        Ok(Self { store: store.into(), path, location })
    }

    /// Reads the whole object.
    pub(crate) async fn read(&self) -> Result<Vec<u8>, Error> {
        Ok(self.get().await?.0)
    }

    /// Records an interval.
    pub(crate) async fn record(&self, recording: &Recording) -> Result<Recorded, Error> {
        for attempt in 1..=ATTEMPTS_MAX {
            let (before, version) = self.get().await?;
            let bytes = match recording.apply(&before, &self.location)? {
                Ok(bytes) => bytes,
                Err(recorded) => return Ok(recorded),
            };
            if self.put(bytes, version).await? {
                return Ok(Recorded::Added);
            }
            tokio::time::sleep(PAUSE * attempt).await;
        }
        Err(Error::Contended { location: self.location.clone(), attempts: ATTEMPTS_MAX })
    }

    async fn get(&self) -> Result<(Vec<u8>, UpdateVersion), Error> {
        let object = match self.store.get(&self.path).await {
            Err(object_store::Error::NotFound { .. }) => {
                let hint = "run `feast apply`, or correct `registry` in `feature_store.yaml`";
                return Err(Error::Missing { location: self.location.clone(), hint });
            }
            other => other.map_err(|source| self.failed("read", source))?,
        };
        let e_tag = object.meta.e_tag.clone();
        let version = UpdateVersion { e_tag, version: object.meta.version.clone() };
        let bytes = object.bytes().await.map_err(|source| self.failed("read", source))?;
        Ok((bytes.to_vec(), version))
    }

    /// Replaces the object if it still has the version; tells whether it had.
    async fn put(&self, bytes: Vec<u8>, version: UpdateVersion) -> Result<bool, Error> {
        let options = PutOptions::from(PutMode::Update(version));
        match self.store.put_opts(&self.path, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::Precondition { .. }) => Ok(false),
            Err(
                source @ (object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }),
            ) => Err(Error::NoConditionalPut { location: self.location.clone(), source }),
            Err(source) => Err(self.failed("replace", source)),
        }
    }

    fn failed(&self, operation: &'static str, source: object_store::Error) -> Error {
        Error::Object { operation, location: self.location.clone(), source }
    }
}

/// An endpoint that says `http://` means it: the client wants that said twice.
fn with_plain_http(options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut options = options.clone();
    let is_plain = options
        .iter()
        .any(|(key, value)| key.to_lowercase().contains("endpoint") && value.starts_with("http:"));
    if is_plain && !options.keys().any(|key| key.to_lowercase().contains("allow_http")) {
        options.insert("allow_http".to_owned(), "true".to_owned());
    }
    options
}

#[cfg(test)]
mod tests {
    use feast::ViewKind;
    use feast::registry::{IntervalRecord, Snapshot};
    use object_store::memory::InMemory;

    use super::*;

    const REGISTRY: &[u8] = include_bytes!("../../feast/testdata/registry/entityless_before.db");

    async fn over(store: Arc<dyn ObjectStore>) -> ObjectRegistry {
        let path = Path::from("registry.db");
        store.put(&path, PutPayload::from_static(REGISTRY)).await.expect("there is room");
        ObjectRegistry { store, path, location: "s3://bucket/registry.db".to_owned() }
    }

    fn recording(end_micros: i64) -> Recording {
        Recording {
            project: "proj".to_owned(),
            view: "fv".to_owned(),
            kind: ViewKind::Feature,
            interval: IntervalRecord { start_micros: 0, end_micros, now_micros: 9 },
        }
    }

    async fn intervals(object: &ObjectRegistry) -> Vec<(i64, i64)> {
        let bytes = object.read().await.expect("it is there");
        let snapshot = Snapshot::from_file(&bytes, "proj").expect("it is a registry");
        snapshot.views[0].materialization_intervals.clone()
    }

    #[tokio::test]
    async fn an_interval_is_recorded_once() {
        let object = over(Arc::new(InMemory::new())).await;
        let first = object.record(&recording(5)).await.expect("it can be recorded");
        let second = object.record(&recording(5)).await.expect("it can be repeated");
        assert_eq!((first, second), (Recorded::Added, Recorded::AlreadyThere));
        assert_eq!(intervals(&object).await, [(0, 5)]);
    }

    #[tokio::test]
    async fn concurrent_recorders_lose_nothing() {
        let object = over(Arc::new(InMemory::new())).await;
        let tasks: Vec<_> = [(0, 1), (10, 11), (20, 21), (30, 31)]
            .map(|(start_micros, end_micros)| {
                let object = object.clone();
                let interval = IntervalRecord { start_micros, end_micros, now_micros: 9 };
                let recording = Recording { interval, ..recording(5) };
                tokio::spawn(async move { object.record(&recording).await })
            })
            .into();
        for task in tasks {
            let recorded = task.await.expect("it ends").expect("it can be recorded");
            assert_eq!(recorded, Recorded::Added);
        }
        let mut intervals = intervals(&object).await;
        intervals.sort_unstable();
        assert_eq!(intervals, [(0, 1), (10, 11), (20, 21), (30, 31)]);
    }

    #[tokio::test]
    async fn a_version_that_has_passed_does_not_replace() {
        let object = over(Arc::new(InMemory::new())).await;
        let (bytes, version) = object.get().await.expect("it is there");
        object.record(&recording(5)).await.expect("it can be recorded");
        assert!(!object.put(bytes, version).await.expect("the store answers"));
        assert_eq!(intervals(&object).await, [(0, 5)]);
    }

    #[tokio::test]
    async fn a_store_without_conditional_writes_is_told() {
        let directory = tempfile::tempdir().expect("there is room");
        let store = object_store::local::LocalFileSystem::new_with_prefix(directory.path());
        let object = over(Arc::new(store.expect("the directory is there"))).await;
        let error = object.record(&recording(5)).await.expect_err("it cannot be safe");
        assert!(matches!(error, Error::NoConditionalPut { .. }), "{error}");
        assert!(intervals(&object).await.is_empty());
    }

    #[tokio::test]
    async fn a_missing_object_is_told() {
        let object = over(Arc::new(InMemory::new())).await;
        object.store.delete(&object.path).await.expect("it is there");
        let error = object.read().await.expect_err("it is gone");
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }

    #[test]
    fn urls_of_both_clouds_open() {
        for url in ["s3://bucket/a/registry.db", "gs://bucket/registry.db"] {
            let options = BTreeMap::from([("aws_region".to_owned(), "eu-west-1".to_owned())]);
            let object = ObjectRegistry::open(url, &options).expect(url);
            assert!(url.ends_with(object.path.as_ref()), "{}", object.path);
        }
        assert!(ObjectRegistry::open("s3//x", &BTreeMap::new()).is_err());
    }

    #[test]
    fn a_plain_endpoint_allows_http() {
        let options = BTreeMap::from([("AWS_ENDPOINT".to_owned(), "http://h:9000".to_owned())]);
        assert_eq!(with_plain_http(&options)["allow_http"], "true");
        let options = BTreeMap::from([("aws_endpoint".to_owned(), "https://h".to_owned())]);
        assert_eq!(with_plain_http(&options), options);
    }
}
