//! Object stores, opened once a session, with bounds on how long one may keep a run waiting.
//!
//! Apart from the session because every store needs the same retries, and because a connection
//! and its credentials are worth keeping between views.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::error::Error;

/// Retries of one request by default: with the back-off, a store may throttle for a minute.
const RETRIES_MAX: usize = 10;
/// No retry begins later than this after the first try: a store that hangs is told within three
/// minutes, not after ten timeouts.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

type Options = BTreeMap<String, String>;
type Result<T> = std::result::Result<T, object_store::Error>;

/// What a store is known by: its URL, and a source's own endpoint.
type Key = (Url, Option<String>);

/// The stores of a session.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    open: Mutex<HashMap<Key, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// The store of a URL, opened when it is not yet.
    ///
    /// # Errors
    /// [`Error::Store`] when the scheme is unknown or the options do not fit.
    pub(crate) fn open(
        &self,
        url: &Url,
        endpoint: Option<&str>,
        options: &Options,
    ) -> std::result::Result<Arc<dyn ObjectStore>, Error> {
        let key = (url.clone(), endpoint.map(str::to_owned));
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(&key) {
            return Ok(Arc::clone(store));
        }
        let opened = open(url, &with_endpoint(options, endpoint));
        let store = opened.map_err(|source| Error::Store { url: url.to_string(), source })?;
        stores.insert(key, Arc::clone(&store));
        Ok(store)
    }

    /// Uses a store for a URL from now on.
    pub(crate) fn put(&self, url: Url, store: Arc<dyn ObjectStore>) {
        let mut stores = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        stores.insert((url, None), store);
    }
}

fn with_endpoint(options: &Options, endpoint: Option<&str>) -> Options {
    let mut options = options.clone();
    if let Some(endpoint) = endpoint {
        options.insert("aws_endpoint".to_owned(), endpoint.to_owned());
        // An endpoint of one's own is rarely reachable as `bucket.host`.
        options.insert("aws_virtual_hosted_style_request".to_owned(), "false".to_owned());
    }
    if options.get("aws_endpoint").is_some_and(|endpoint| endpoint.starts_with("http://")) {
        options.insert("aws_allow_http".to_owned(), "true".to_owned());
    }
    options
}

fn open(url: &Url, options: &Options) -> Result<Arc<dyn ObjectStore>> {
    let (scheme, _) = ObjectStoreScheme::parse(url)?;
    let retry = retry(options)?;
    Ok(match scheme {
        ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new()),
        ObjectStoreScheme::AmazonS3 => {
            let builder = AmazonS3Builder::new().with_url(url.as_str());
            let builder = configured(builder, options, |b, key, value| b.with_config(key, value));
            Arc::new(builder.with_retry(retry).build()?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::new().with_url(url.as_str());
            let builder = configured(builder, options, |b, key, value| b.with_config(key, value));
            Arc::new(builder.with_retry(retry).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::new().with_url(url.as_str());
            let builder = configured(builder, options, |b, key, value| b.with_config(key, value));
            Arc::new(builder.with_retry(retry).build()?)
        }
        _ => object_store::parse_url_opts(url, options)?.0.into(),
    })
}

/// Sets the options that this kind of store knows; the others are another store's.
fn configured<B, K: FromStr>(builder: B, options: &Options, set: impl Fn(B, K, &str) -> B) -> B {
    options.iter().fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => set(builder, key, value),
        Err(_) => builder,
    })
}

/// `max_retries` and `retry_timeout`, which object_store has as fields and not as options.
fn retry(options: &Options) -> Result<RetryConfig> {
    let max_retries =
        option(options, "max_retries", "a whole number such as `10`", |text| text.parse().ok())?;
    let retry_timeout = option(options, "retry_timeout", "a duration such as `2m`", |text| {
        feast::duration::parse(text).ok()
    })?;
    Ok(RetryConfig {
        max_retries: max_retries.unwrap_or(RETRIES_MAX),
        retry_timeout: retry_timeout.unwrap_or(RETRY_TIMEOUT),
        ..RetryConfig::default()
    })
}

fn option<T>(
    options: &Options,
    name: &str,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(text) = options.get(name) else { return Ok(None) };
    let refused = || object_store::Error::Generic {
        store: "tidegate.object_store",
        source: format!("`{name}` is `{text}`; write {wanted}").into(),
    };
    parse(text).map(Some).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn retries_are_bounded_and_can_be_set() {
        let default = retry(&Options::new()).unwrap();
        assert_eq!((default.max_retries, default.retry_timeout), (RETRIES_MAX, RETRY_TIMEOUT));
        let set = retry(&options(&[("max_retries", "2"), ("retry_timeout", "5s")])).unwrap();
        assert_eq!((set.max_retries, set.retry_timeout), (2, Duration::from_secs(5)));
        for (name, value) in [("max_retries", "many"), ("retry_timeout", "5")] {
            let error = retry(&options(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_store_is_opened_once() {
        let stores = Stores::default();
        let url = Url::parse("s3://bucket").unwrap();
        let options = options(&[("aws_region", "x"), ("google_bucket", "not ours")]);
        let open = |endpoint| stores.open(&url, endpoint, &options).unwrap();
        assert!(Arc::ptr_eq(&open(None), &open(None)));
        assert!(!Arc::ptr_eq(&open(None), &open(Some("http://127.0.0.1:9"))));
    }

    #[test]
    fn an_unknown_scheme_is_an_error_that_names_the_url() {
        let url = Url::parse("ftp://host").unwrap();
        let error = Stores::default().open(&url, None, &Options::new()).unwrap_err();
        assert!(error.to_string().contains("ftp://host"), "{error}");
    }
}
