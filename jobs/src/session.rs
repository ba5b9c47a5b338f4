//! The one way a DataFusion session is built.
//!
//! Both ends of a distributed plan must agree on every setting here, so there is no second place.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::execution::memory_pool::TrackConsumersPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

use crate::error::Error;
use crate::latest::NewestPool;
use crate::source::Stores;

/// Rows of a batch between plan nodes: large enough to amortise a call, small enough that a
/// batch of wide rows stays in cache. DataFusion's own default.
pub const BATCH_ROWS: usize = 8_192;

/// Memory that the plans of one process may hold by default.
pub const MEMORY_LIMIT_BYTES: u64 = 2 << 30;

/// Names the biggest consumers when the limit is reached; more than a handful is noise.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// A scan reads ahead up to this share of the memory limit, one byte in so many…
const AHEAD_SHARE: u64 = 8;
/// … and no more than this, which fills a line of 5 Gbit/s with 50 ms a round trip.
const AHEAD_BYTES_MAX: u64 = 32 << 20;

/// What a session is made from.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Partitions of a plan; usually the number of cores.
    pub partitions: usize,
    /// Memory that all plans of the session may hold, in bytes.
    pub memory_limit_bytes: u64,
    /// Options for object stores by their object_store names: `aws_endpoint`, `timeout`, …; and
    /// `max_retries` and `retry_timeout`.
    pub object_store: BTreeMap<String, String>,
}

/// A DataFusion session with our settings.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
    options: SessionOptions,
    stores: Arc<Stores>,
}

impl Session {
    /// Builds a session.
    ///
    /// # Errors
    /// When DataFusion refuses the settings.
    pub fn new(options: SessionOptions) -> Result<Self, datafusion::error::DataFusionError> {
        let limit = usize::try_from(options.memory_limit_bytes).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(NewestPool::new(limit), CONSUMERS_NAMED);
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
        let mut config = SessionConfig::new()
            .with_batch_size(BATCH_ROWS)
            .with_target_partitions(options.partitions.max(1));
        // Column names are case sensitive in Feast, in predicates too.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let context = SessionContext::new_with_config_rt(config, runtime);
        Ok(Self { context, options, stores: Arc::default() })
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

    /// The object store of a URL, with a source's own endpoint if it has one. Opened once.
    ///
    /// # Errors
    /// [`Error::Store`] when the scheme is unknown or the options do not fit.
    pub fn store(&self, url: &Url, endpoint: Option<&str>) -> Result<Arc<dyn ObjectStore>, Error> {
        self.stores.open(url, endpoint, &self.options.object_store)
    }

    /// Uses an object store for a URL from now on, instead of opening one.
    pub fn put_store(&self, url: Url, store: Arc<dyn ObjectStore>) {
        self.stores.put(url, store);
    }

    /// Bytes that a scan may read before anybody asks for them.
    pub(crate) fn bytes_ahead_max(&self) -> u64 {
        (self.options.memory_limit_bytes / AHEAD_SHARE).min(AHEAD_BYTES_MAX)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("partitions", &self.options.partitions).finish()
    }
}
