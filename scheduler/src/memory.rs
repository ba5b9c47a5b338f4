//! Whether a run fits into the online store's memory, asked before its first write.
//!
//! Only where a server has a limit at all are the views planned for it ahead of their turns; what
//! was planned is kept for the job, so that no footer is read twice.

use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use jobs::WindowPlan;
use model::memory::{Shortage, shortages};
use model::{Cut, Interval, Load};

use crate::admit::Selected;
use crate::cut;
use crate::error::{Error, chain};
use crate::job::{self, JobContext};

/// Files of the plans that are kept, beyond which a view is planned again when its turn comes:
/// a footer takes some tens of KiB, so this is some tens of MiB.
const FILES_KEPT_MAX: usize = 1_000;

/// Plans made ahead, one entry a job.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    plans: Vec<Mutex<Option<WindowPlan>>>,
}

impl Ahead {
    /// Takes the plan of a job, if there is one of this interval: an attempt after the first plans
    /// anew.
    pub(crate) fn take(&self, job: usize, interval: Interval) -> Option<WindowPlan> {
        let plan = self.plans.get(job)?.lock().unwrap_or_else(PoisonError::into_inner).take();
        plan.filter(|plan| plan.interval() == interval)
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
pub(crate) async fn check(context: &JobContext<'_>, selected: &[Selected]) -> Verdict {
    let refuses = context.trigger.refuse_over_memory;
    let states = match context.sinks.memory().await {
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
    let plans = futures::stream::iter(selected).map(|selected| plan(context, selected));
    let mut plans = std::pin::pin!(plans.buffered(context.trigger.parallel.max(1)));
    let (mut sum, mut files, mut ahead) = (Load::default(), 0, Ahead::default());
    for selected in selected {
        // A view that cannot be planned fails by itself, and adds nothing.
        let plan = plans.next().await.and_then(Result::ok).flatten();
        sum.add(plan.as_ref().map(|plan| load(context, selected, plan)).unwrap_or_default());
        files += plan.as_ref().map_or(0, |plan| plan.files().len());
        ahead.plans.push(Mutex::new(plan.filter(|_| files <= FILES_KEPT_MAX)));
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

/// Plans a view as its job will, but writes nothing; `None` where nothing is to be read.
async fn plan(context: &JobContext<'_>, selected: &Selected) -> Result<Option<WindowPlan>, Error> {
    let scheduler = context.scheduler;
    if selected.view.refusal.is_some() {
        return Ok(None);
    }
    let known = cut::look(scheduler, selected).await?;
    let Cut::Read { interval, .. } = cut::cut_view(&selected.view, &known, context.trigger)? else {
        return Ok(None);
    };
    let key_suffix = context.sinks.key_suffix(&scheduler.config.project);
    Ok(Some(job::plan(scheduler, key_suffix, selected, interval).await?))
}

/// What a view may add to the store.
fn load(context: &JobContext<'_>, selected: &Selected, plan: &WindowPlan) -> Load {
    let online = job::online_view(context.scheduler, selected);
    let row_bytes = context.sinks.row_bytes(&online, &plan.row_size());
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
