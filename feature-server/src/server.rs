//! The feature server itself: a request in, an answer out, whatever the protocol.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use feast::config::OnlineStoreConfig;
use online_store::{Fetch, FetchedRow, Fields};

use crate::answer::Answer;
use crate::bind::{self, Bound};
use crate::catalog::{Catalog, CountedPlan};
use crate::error::Error;
use crate::metric::ServeMetrics;
use crate::request::FeatureRequest;
use crate::settings::Settings;
use crate::store::Store;
use crate::vector::Vector;

/// Answers requests for features.
#[derive(Debug)]
pub struct FeatureServer {
    pub(crate) settings: Settings,
    pub(crate) catalog: Catalog,
    pub(crate) store: Store,
    pub(crate) metrics: ServeMetrics,
}

impl FeatureServer {
    /// Puts a server together; it knows neither registry nor store yet.
    pub fn new(
        settings: Settings,
        catalog: Catalog,
        store: OnlineStoreConfig,
        metrics: ServeMetrics,
    ) -> Self {
        let store = Store::new(store, &settings);
        Self { settings, catalog, store, metrics }
    }

    /// Feast's registry as requests see it.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The online store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Answers a request.
    ///
    /// # Errors
    /// What is wrong with the request, or what does not answer.
    /// # Cancel safety
    /// Cancel safe: nothing is changed.
    pub async fn get(&self, request: &FeatureRequest) -> Result<Answer, Error> {
        let plan = self.catalog.plan(&request.wanted, request.full_feature_names).await?;
        let limits = &self.settings.limits;
        let bound = bind::bind(
            &plan.plan,
            &request.entities,
            limits.entities_max,
            self.settings.coercion(),
        )?;
        let (count, max) = (bound.rows * plan.plan.columns.len(), limits.values_max);
        if count > max {
            return Err(Error::TooMuch { what: "values", count, max });
        }
        let (bound, rows) = self.read(&plan, bound).await?;
        Ok(Answer {
            plan,
            bound,
            rows,
            settings: self.settings,
            view_versions: request.view_versions,
            now_nanos: now_nanos(),
        })
    }

    /// Reads the rows of every group whose keys are known, in one go.
    async fn read(
        &self,
        plan: &CountedPlan,
        mut bound: Bound,
    ) -> Result<(Bound, Vec<Option<Vec<FetchedRow>>>), Error> {
        let suffix = self.store.key_suffix(&self.catalog.project().name);
        for key in bound.keys.iter_mut().flatten().flatten() {
            key.extend_from_slice(suffix);
        }
        if let (Some(vector), [Some(keys)]) = (&plan.vector, &bound.keys[..]) {
            let rows = self.read_vectors(vector, &plan.plan.groups[0].fields, keys).await?;
            return Ok((bound, vec![Some(rows)]));
        }
        let groups = plan.plan.groups.iter().zip(&bound.keys);
        let wanted: Vec<Fetch<'_>> = groups
            .filter_map(|(group, keys)| Some(Fetch { fields: &group.fields, keys: keys.as_ref()? }))
            .collect();
        let mut fetched = self.fetch(&wanted).await?.into_iter();
        let rows = bound.keys.iter().map(|keys| keys.as_ref().and_then(|_| fetched.next()));
        let rows = rows.collect();
        Ok((bound, rows))
    }

    /// Reads rows from the service's vectors, and from the views those that no vector tells.
    async fn read_vectors(
        &self,
        vector: &Vector,
        fields: &Fields,
        keys: &[Vec<u8>],
    ) -> Result<Vec<FetchedRow>, Error> {
        let read = self.fetch(&[Fetch { fields: &vector.fields, keys }]).await?;
        let rows: Vec<_> = read.iter().flatten().map(|read| vector.row(read)).collect();
        let untold = rows.iter().zip(keys).filter(|(row, _)| row.is_none());
        let untold: Vec<Vec<u8>> = untold.map(|(_, key)| key.clone()).collect();
        self.metrics.vectors(keys.len() - untold.len(), untold.len());
        let assembled = if untold.is_empty() {
            Vec::new()
        } else {
            self.fetch(&[Fetch { fields, keys: &untold }]).await?
        };
        let mut assembled = assembled.into_iter().flatten();
        Ok(rows.into_iter().filter_map(|row| row.or_else(|| assembled.next())).collect())
    }

    async fn fetch(&self, wanted: &[Fetch<'_>]) -> Result<Vec<Vec<FetchedRow>>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let fetched = self.store.fetch(wanted).await;
        self.metrics.read(begun.elapsed(), fetched.is_err());
        fetched
    }
}

/// Nanoseconds since the epoch.
fn now_nanos() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function returns, without a call.
    fn size_of_future<'a, F>(_: impl Fn(&'a FeatureServer, &'a FeatureRequest) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_is_small_while_it_waits() {
        // Every layer of the protocol moves it; connecting and reading the registry, which are
        // rare, would make it twenty times as large.
        let size = size_of_future(FeatureServer::get);
        assert!(size <= 2_048, "{size} bytes");
    }
}
