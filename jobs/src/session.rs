//! The one way a DataFusion session is built.
//!
//! Both ends of a distributed plan must agree on every setting here, so there is no second place.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::Url;

use crate::error::Error;

/// Rows of a batch between plan nodes: large enough to amortise a call, small enough that a
/// batch of wide rows stays in cache. DataFusion's own default.
pub const BATCH_ROWS: usize = 8_192;

/// Memory that the plans of one process may hold by default.
pub const MEMORY_LIMIT_BYTES: u64 = 2 << 30;

/// Names the biggest consumers when the limit is reached; more than a handful is noise.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// What a session is made from.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Partitions of a plan; usually the number of cores.
    pub partitions: usize,
    /// Memory that all plans of the session may hold, in bytes.
    pub memory_limit_bytes: u64,
    /// Options for object stores by their object_store names: `aws_endpoint`, `aws_region`, ….
    pub object_store: BTreeMap<String, String>,
}

/// A DataFusion session with our settings.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    options: SessionOptions,
}

impl Session {
    /// Builds a session.
    ///
    /// # Errors
    /// When DataFusion refuses the settings.
    pub fn new(options: SessionOptions) -> Result<Self, datafusion::error::DataFusionError> {
        let limit = usize::try_from(options.memory_limit_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limit), CONSUMERS_NAMED);
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
        let mut config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(options.partitions.max(1));
        // Column names are case sensitive in Feast, in predicates too.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        Ok(Self { context: SessionContext::new_with_config_rt(config, runtime), options })
    }

    /// DataFusion's context.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// DataFusion's runtime: memory and object stores.
    pub fn runtime(&self) -> Arc<RuntimeEnv> {
        self.context.runtime_env()
    }

    /// Partitions of a plan.
    pub fn partitions(&self) -> usize {
        self.options.partitions.max(1)
    }

    /// Readers of a store's Parquet files that keep footers for the whole session, so that running
    /// does not read again what planning has read.
    pub(crate) fn readers(&self, store: Arc<dyn ObjectStore>) -> CachedParquetFileReaderFactory {
        let cache = self.runtime().cache_manager.get_file_metadata_cache();
        CachedParquetFileReaderFactory::new(store, cache)
    }

    /// Opens the object store of a URL, with a source's own endpoint if it has one.
    ///
    /// # Errors
    /// [`Error::Store`] when the scheme is unknown or the options do not fit.
    pub fn store(&self, url: &Url, endpoint: Option<&str>) -> Result<Arc<dyn ObjectStore>, Error> {
        if url.scheme() == "file" {
            return Ok(Arc::new(LocalFileSystem::new()));
        }
        let mut options = self.options.object_store.clone();
        if let Some(endpoint) = endpoint {
            options.insert("aws_endpoint".to_owned(), endpoint.to_owned());
            // An endpoint of one's own is rarely reachable as `bucket.host`.
            options.insert("aws_virtual_hosted_style_request".to_owned(), "false".to_owned());
        }
        if options.get("aws_endpoint").is_some_and(|endpoint| endpoint.starts_with("http://")) {
            options.insert("aws_allow_http".to_owned(), "true".to_owned());
        }
        object_store::parse_url_opts(url, options)
            .map(|(store, _)| Arc::from(store))
            .map_err(|source| Error::Store { url: url.to_string(), source })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("partitions", &self.options.partitions).finish()
    }
}
