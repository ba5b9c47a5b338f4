//! Whether a run fits into the online store's memory, asked before its first write.
//!
//! Only where a server has a limit at all are the views planned for it ahead of their turns; what
//! was planned is kept for the job, so that no footer is read twice.

use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use jobs::{FeatureSinks, WindowPlan};
use model::memory::{Shortage, shortages};
use model::{Interval, Load, RunId};

use crate::admit::Selected;
use crate::cut;
use crate::error::{Error, chain};
use crate::job;
use crate::trigger::Trigger;
use crate::{Scheduler, cut::ViewCut};

/// Files of the plans that are kept, beyond which a view is planned again when its turn comes:
/// a footer takes some tens of KiB, so this is some tens of MiB.
const FILES_KEPT_MAX: usize = 1_000;

/// Plans made ahead, by storage name.
pub(crate) type Ahead = Vec<(String, WindowPlan)>;

/// The plans that the last runs to begin have made ahead.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<(RunId, String, WindowPlan)>>);

impl Scheduler {
    /// Keeps plans for the jobs of a run, and drops those that nobody came for.
    pub(crate) fn keep_ahead(&self, run: RunId, ahead: Ahead) {
        let mut kept = self.ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(ahead.into_iter().map(|(view, plan)| (run, view, plan)));
        let mut files: usize = kept.iter().map(|(_, _, plan)| plan.files().len()).sum();
        while files > FILES_KEPT_MAX && !kept.is_empty() {
            files -= kept.remove(0).2.files().len();
        }
    }

    /// Takes the plan of a view, if there is one of this interval: an attempt after the first plans
    /// anew.
    pub(crate) fn take_ahead(
        &self,
        run: RunId,
        storage_name: &str,
        interval: Interval,
    ) -> Option<WindowPlan> {
        let mut kept = self.ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(of, view, _)| *of == run && view == storage_name)?;
        let (_, _, plan) = kept.remove(place);
        (plan.interval() == interval).then_some(plan)
    }
}

/// What became of the question.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
    /// Why nothing may be written, if so.
    pub(crate) refusal: Option<String>,
    /// What was planned on the way.
    pub(crate) ahead: Ahead,
}

/// Compares what the selected views may add with what the store's servers have left.
pub(crate) async fn check(
    scheduler: &Scheduler,
    trigger: &Trigger,
    sinks: &dyn FeatureSinks,
    selected: &[Selected],
) -> Verdict {
    let refuses = trigger.refuse_over_memory;
    let states = match sinks.memory().await {
        Ok(states) => states,
        Err(error) => {
            let text = chain(error.source.as_ref());
            return unknown(refuses, format!("the online store's memory is not known: {text}"));
        }
    };
    if states.is_empty() && refuses {
        let text = "the online store does not tell its memory, so nothing was checked";
        return Verdict { warnings: vec![text.to_owned()], ..Verdict::default() };
    }
    if states.iter().all(|state| state.limit_bytes.is_none()) {
        return Verdict::default();
    }
    let plans = futures::stream::iter(selected).map(|selected| async move {
        // A view that cannot be planned fails by itself, and adds nothing.
        plan(scheduler, trigger, sinks, selected).await.unwrap_or_default()
    });
    let mut plans = std::pin::pin!(plans.buffered(trigger.parallel));
    let (mut sum, mut ahead) = (Load::default(), Ahead::new());
    for selected in selected {
        for plan in plans.next().await.unwrap_or_default() {
            sum.add(load(scheduler, sinks, selected, &plan));
            ahead.push((selected.storage_name.clone(), plan));
        }
    }
    Verdict { ahead, ..judge(refuses, &shortages(&states, sum)) }
}

/// A server that cannot be asked may yet be written; who wants certainty is refused.
fn unknown(refuses: bool, text: String) -> Verdict {
    if refuses {
        Verdict { refusal: Some(text), ..Verdict::default() }
    } else {
        Verdict { warnings: vec![text], ..Verdict::default() }
    }
}

fn judge(refuses: bool, short: &[Shortage]) -> Verdict {
    let texts: Vec<String> = short.iter().map(ToString::to_string).collect();
    if !refuses || texts.is_empty() {
        return Verdict { warnings: texts, ..Verdict::default() };
    }
    Verdict { refusal: Some(texts.join("; ")), ..Verdict::default() }
}

/// Plans a view as its job will, but writes nothing; none where nothing is to be read.
async fn plan(
    scheduler: &Scheduler,
    trigger: &Trigger,
    sinks: &dyn FeatureSinks,
    selected: &Selected,
) -> Result<Vec<WindowPlan>, Error> {
    if selected.view.refusal.is_some() {
        return Ok(Vec::new());
    }
    let known = cut::look(scheduler, selected).await?;
    let cut = cut::cut_view(scheduler, selected, &known, trigger).await?;
    let ViewCut::Read { intervals, .. } = cut else { return Ok(Vec::new()) };
    let suffix = sinks.key_suffix(&scheduler.config.project);
    let mut plans = Vec::new();
    for &interval in intervals.as_slice() {
        plans.push(job::plan(scheduler, suffix.clone(), selected, interval).await?);
    }
    Ok(plans)
}

/// What a view may add to the store.
fn load(
    scheduler: &Scheduler,
    sinks: &dyn FeatureSinks,
    selected: &Selected,
    plan: &WindowPlan,
) -> Load {
    let online = job::online_view(scheduler, selected);
    let row_bytes = sinks.row_bytes(&online, &plan.row_size());
    let rows = plan.rows_max();
    Load { rows, bytes: rows.saturating_mul(row_bytes) }
}

#[cfg(test)]
mod tests {
    use model::MemoryState;

    use super::*;

    fn short() -> Vec<Shortage> {
        let state = |port| MemoryState {
            address: format!("h:{port}"),
            used_bytes: 1,
            limit_bytes: Some(2),
            policy: "noeviction".to_owned(),
        };
        shortages(&[state(1), state(2)], Load { rows: 10, bytes: 1_000 })
    }

    #[test]
    fn a_shortage_warns_and_refuses_only_when_asked_to() {
        let verdict = judge(false, &short());
        assert_eq!((verdict.warnings.len(), verdict.refusal), (2, None));
        let verdict = judge(true, &short());
        let refusal = verdict.refusal.expect("it was asked to");
        assert!(refusal.contains("`h:1`") && refusal.contains("`h:2`"), "{refusal}");
        assert!(verdict.warnings.is_empty());
        let verdict = judge(true, &[]);
        assert_eq!((verdict.warnings.len(), verdict.refusal), (0, None));
    }

    #[test]
    fn what_is_not_known_refuses_only_when_asked_to() {
        assert_eq!(unknown(true, "no".to_owned()).refusal.as_deref(), Some("no"));
        assert_eq!(unknown(false, "no".to_owned()).warnings, ["no"]);
    }
}
