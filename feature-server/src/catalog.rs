//! Feast's registry as requests see it: one consistent snapshot, and the plans made from it.
//!
//! Refreshed in the background; a refresh that fails leaves the old snapshot serving. A request
//! takes one snapshot and keeps it to its end. Deliberately absent: what a plan is (see `plan`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use feast::registry::Snapshot;
use registry::Registry;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::metric::{ServeMetrics, ViewCounters};
use crate::plan::{self, OldVersions, Plan, Project, Reference, Version};
use crate::request::Wanted;
use crate::vector::Vector;

/// Plans that are kept; a client that asks for ever new combinations makes each anew.
const PLANS_MAX: usize = 1_024;
/// Between tries while there is no snapshot at all.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How long a registry may take; the old snapshot serves meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A plan with the counters of its views.
#[derive(Debug)]
pub struct CountedPlan {
    /// The plan.
    pub plan: Plan,
    /// One for each of its views.
    pub counters: Vec<ViewCounters>,
    /// How its rows are read at once, where Feast keeps them so.
    pub(crate) vector: Option<Vector>,
}

type PlanKey = (Wanted, bool);

/// A snapshot and what was made of it.
#[derive(Debug)]
pub struct Loaded {
    snapshot: Snapshot,
    plans: Mutex<HashMap<PlanKey, Arc<CountedPlan>>>,
}

impl Loaded {
    /// What the registry holds.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A snapshot of which no plan has been made yet.
    fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, plans: Mutex::default() }
    }

    fn plans(&self) -> std::sync::MutexGuard<'_, HashMap<PlanKey, Arc<CountedPlan>>> {
        // Nothing that may panic is done while it is held.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The registry and what is known of it.
#[derive(Debug)]
pub struct Catalog {
    project: Project,
    registry: Registry,
    current: RwLock<Option<Arc<Loaded>>>,
    read_at: Mutex<Option<Instant>>,
    nudged: Notify,
    metrics: ServeMetrics,
}

impl Catalog {
    /// Knows nothing yet.
    pub fn new(project: Project, registry: Registry, metrics: ServeMetrics) -> Self {
        Self {
            project,
            registry,
            current: RwLock::default(),
            read_at: Mutex::default(),
            nudged: Notify::new(),
            metrics,
        }
    }

    /// The project that is served.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Reads the registry until told to stop: at once where that was not done before, then each
    /// time so much has passed, and whenever it is nudged.
    pub async fn keep_fresh(&self, every: Option<Duration>, stop: &CancellationToken) {
        let mut is_due = self.age().is_none();
        loop {
            // What goes wrong is logged and counted there.
            if is_due {
                let _ = self.refresh().await;
            }
            is_due = true;
            let pause = if self.loaded().is_ok() { every } else { Some(FIRST_RETRY) };
            let passed = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            // Nothing is lost: a nudge that comes during a refresh is kept by `Notify`.
            tokio::select! {
                () = stop.cancelled() => return,
                () = passed => {}
                () = self.nudged.notified() => {}
            }
        }
    }

    /// Has the registry read again soon.
    pub fn nudge(&self) {
        self.nudged.notify_one();
    }

    /// Reads the registry once.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::RegistryTimeout`]; what was known before is kept.
    pub async fn refresh(&self) -> Result<(), Error> {
        let read = tokio::time::timeout(READ_TIMEOUT, self.registry.snapshot(&self.project.name));
        let snapshot = match read.await {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the registry cannot be read; what was read before is served"
                );
                self.metrics.registry_failures.inc();
                return Err(Error::Registry(error));
            }
            Err(_) => {
                tracing::warn!("the registry takes too long; what was read before is served");
                self.metrics.registry_failures.inc();
                return Err(Error::RegistryTimeout { limit: READ_TIMEOUT });
            }
        };
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.metrics.registry_refreshes.inc();
        let is_same = self.loaded().is_ok_and(|loaded| loaded.snapshot == snapshot);
        if !is_same {
            let loaded = Arc::new(Loaded::of(snapshot));
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
            tracing::info!(project = self.project.name, "the registry has changed");
        }
        Ok(())
    }

    /// How long ago the registry was read; `None` if it never was.
    pub fn age(&self) -> Option<Duration> {
        let read_at = *self.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.map(|at| at.elapsed())
    }

    /// What is known now.
    ///
    /// # Errors
    /// [`Error::NoRegistry`] before it was read for the first time.
    pub fn loaded(&self) -> Result<Arc<Loaded>, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(Error::NoRegistry)
    }

    /// The plan for what is asked, made now or before.
    ///
    /// # Errors
    /// What is wrong with the names asked for; [`Error::Registry`] when a version's definition
    /// cannot be read.
    pub async fn plan(&self, wanted: &Wanted, is_full: bool) -> Result<Arc<CountedPlan>, Error> {
        let loaded = self.loaded()?;
        let key = (wanted.clone(), is_full);
        let known = loaded.plans().get(&key).cloned();
        match known {
            Some(plan) => Ok(plan),
            // Boxed, or every request would carry the room that reading the registry takes.
            None => Box::pin(self.make_plan(&loaded, key)).await,
        }
    }

    async fn make_plan(&self, loaded: &Loaded, key: PlanKey) -> Result<Arc<CountedPlan>, Error> {
        let (wanted, is_full) = &key;
        let references = Reference::of(wanted, &self.project.name, &loaded.snapshot)?;
        let old = self.old_versions(&loaded.snapshot, &references).await?;
        let plan = plan::plan(&self.project, &loaded.snapshot, &old, &references, *is_full)?;
        let counters = plan.views.iter().map(|view| self.metrics.of_view(&view.name)).collect();
        let vector = self.vector(wanted, &loaded.snapshot, &references, &plan);
        let plan = Arc::new(CountedPlan { plan, counters, vector });
        let mut plans = loaded.plans();
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    fn vector(
        &self,
        wanted: &Wanted,
        snapshot: &Snapshot,
        references: &[Reference],
        plan: &Plan,
    ) -> Option<Vector> {
        let Wanted::Service(name) = wanted else { return None };
        let service = snapshot.services.iter().find(|service| service.name == *name)?;
        if self.project.has_vectors { Vector::of(service, references, plan) } else { None }
    }

    /// Makes the plans of all services, and says which cannot be served.
    ///
    /// # Errors
    /// [`Error::NoRegistry`].
    pub async fn warm(&self) -> Result<usize, Error> {
        let loaded = self.loaded()?;
        let mut made = 0;
        for service in &loaded.snapshot.services {
            let wanted = Wanted::Service(service.name.clone());
            // Both are made; one whose short names collide is served under full ones.
            let (short, full) = (self.plan(&wanted, false).await, self.plan(&wanted, true).await);
            match short.or(full) {
                Ok(_) => made += 1,
                Err(error) => tracing::warn!(
                    service = service.name,
                    error = &error as &dyn std::error::Error,
                    "the feature service cannot be served"
                ),
            }
        }
        Ok(made)
    }

    /// The definitions of the numbered versions among references.
    async fn old_versions(
        &self,
        snapshot: &Snapshot,
        references: &[Reference],
    ) -> Result<OldVersions, Error> {
        let mut old = OldVersions::new();
        if !self.project.versioning {
            return Ok(old);
        }
        for reference in references {
            let Version::Number(number) = reference.version else { continue };
            let key = (reference.view.clone(), number);
            let active = snapshot.view(&reference.view).and_then(|view| view.version);
            if active.unwrap_or(0) == number || old.contains_key(&key) {
                continue;
            }
            let read = self.registry.view_at_version(&self.project.name, &reference.view, number);
            if let Some(view) = read.await.map_err(Error::Registry)? {
                old.insert(key, view);
            }
        }
        Ok(old)
    }
}
