//! A steady load: a few callers who ask on, each the same, and judge every answer they get.
//!
//! While something fails an answer may be a refusal, with a promise to be had again; what is
//! answered must be right. Deliberately absent: how fast answers come (see `benches`), beyond the
//! time within which one must come at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ::tests::wait::until;
use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::caller::{Answer, Caller, Request};

/// How often each caller asks: often enough that many requests fall into an outage of a second, and
/// a small part of what a server takes.
const EVERY: Duration = Duration::from_millis(5);
/// Any answer must be there by then: a second for the store, the rest for a busy machine.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// What a caller asks, and what is right.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) body: Value,
    pub(crate) answer: Answer,
}

/// Callers who ask until they are told to stop.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    has_ended: AtomicBool,
    /// What each caller has been told so far.
    told: Mutex<Vec<Told>>,
}

/// What one caller has been told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Right answers.
    pub(crate) answers: usize,
    /// Refusals.
    pub(crate) refusals: usize,
    /// Right answers since the last refusal.
    pub(crate) answers_since: usize,
    /// What took longest.
    pub(crate) longest: Duration,
    /// From the first refusal to the last.
    pub(crate) refused_for: Duration,
    first_refusal: Option<Instant>,
    /// The first answer that was neither right nor a refusal as it is promised.
    wrong: Option<String>,
}

impl Told {
    fn hear(&mut self, begun: Instant, judged: Result<Judged>) {
        self.longest = self.longest.max(begun.elapsed());
        match judged {
            Ok(Judged::Right) => {
                self.answers += 1;
                self.answers_since += 1;
            }
            Ok(Judged::Refusal) => {
                self.refusals += 1;
                self.answers_since = 0;
                self.refused_for = self.first_refusal.get_or_insert(begun).elapsed();
            }
            Err(wrong) => {
                self.answers_since = 0;
                self.wrong.get_or_insert(format!("{wrong:#}"));
            }
        }
    }
}

/// What an answer is, when it is not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Right,
    Refusal,
}

fn judge(question: &Question, answer: &Answer, took: Duration) -> Result<Judged> {
    ensure!(took < ANSWERED_WITHIN, "it took {took:?}: {answer:?}");
    if *answer == question.answer {
        return Ok(Judged::Right);
    }
    let found = answer.problem()?;
    ensure!(found == (503, "online_store_unavailable".to_owned()), "{answer:?}");
    let seconds = answer.retry_after.as_ref().and_then(|text| text.parse::<u32>().ok());
    ensure!(seconds.is_some_and(|seconds| seconds > 0), "when to ask again? {answer:?}");
    Ok(Judged::Refusal)
}

impl Load {
    /// Starts a caller for each question.
    pub(crate) fn start(port: u16, questions: Vec<Question>) -> Result<Self> {
        let told = Mutex::new(vec![Told::default(); questions.len()]);
        let shared = Arc::new(Shared { has_ended: AtomicBool::new(false), told });
        let caller = Caller::staying(port)?;
        let asked = Arc::clone(&shared);
        let callers = thread::spawn(move || {
            let each = questions.iter().enumerate();
            let all = each.map(|(at, question)| asked.ask_on(at, question, &caller));
            let ended = caller.wait(join_all(all));
            ended.into_iter().collect()
        });
        Ok(Self { shared, callers: Some(callers) })
    }

    /// What each caller has been told so far.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.shared.told().clone()
    }

    /// Waits until each has had so many more right answers, one after the other.
    pub(crate) fn until_answered(&self, what: &str, count: usize) -> Result<()> {
        let before: Vec<usize> = self.told().iter().map(|told| told.answers).collect();
        until(what, || {
            let told = self.told();
            self.is_right(&told)?;
            let is_so = |(told, before): (&Told, &usize)| {
                told.answers >= before + count && told.answers_since >= count
            };
            Ok(told.iter().zip(&before).all(is_so))
        })
        .with_context(|| format!("{:?}", self.told()))
    }

    /// Has them stop; tells what each was told, when nothing of it was wrong.
    pub(crate) fn end(mut self) -> Result<Vec<Told>> {
        self.stop()?;
        let told = self.told();
        self.is_right(&told)?;
        Ok(told)
    }

    fn is_right(&self, told: &[Told]) -> Result<()> {
        let wrong: Vec<&String> = told.iter().filter_map(|told| told.wrong.as_ref()).collect();
        ensure!(wrong.is_empty(), "wrong answers: {wrong:?}");
        let is_over = self.callers.as_ref().is_none_or(JoinHandle::is_finished);
        ensure!(!is_over || self.callers.is_none(), "the callers have ended by themselves");
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        let Some(callers) = self.callers.take() else { return Ok(()) };
        callers.join().ok().context("the callers panicked")?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Whoever drops it has failed already, and says why.
        self.stop().ok();
    }
}

impl Shared {
    /// A panic elsewhere leaves nothing half done here, so a poisoned lock is as good as any.
    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_on(&self, at: usize, question: &Question, caller: &Caller) -> Result<()> {
        let request = Request::features(&question.body);
        let mut turn = interval(EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.has_ended.load(Ordering::Relaxed) {
            turn.tick().await;
            let begun = Instant::now();
            let answer = caller.send(&request).await;
            let judged = answer.and_then(|answer| judge(question, &answer, begun.elapsed()));
            self.told()[at].hear(begun, judged);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::caller::{JSON, PROBLEM};

    fn answer(status: u16, kind: &str, retry_after: Option<&str>, body: &Value) -> Answer {
        let (media_type, retry_after) = (Some(kind.to_owned()), retry_after.map(str::to_owned));
        Answer { status, media_type, retry_after, body: body.to_string() }
    }

    #[test]
    fn only_what_is_right_or_refused_as_promised_passes() -> Result<()> {
        let right = answer(200, JSON, None, &json!({ "value": 1 }));
        let question = Question { body: json!({}), answer: right.clone() };
        let problem = |status: u16, code: &str| {
            let text = "words";
            json!({
                "type": text, "title": text, "detail": text, "status": status, "code": code,
            })
        };
        let gone = problem(503, "online_store_unavailable");
        let refusal = answer(503, PROBLEM, Some("1"), &gone);
        assert_eq!(judge(&question, &right, Duration::ZERO)?, Judged::Right);
        assert_eq!(judge(&question, &refusal, Duration::ZERO)?, Judged::Refusal);
        for (wrong, took) in [
            (right, ANSWERED_WITHIN),
            (refusal, ANSWERED_WITHIN),
            (answer(200, JSON, None, &json!({ "value": null })), Duration::ZERO),
            (answer(503, PROBLEM, None, &gone), Duration::ZERO),
            (answer(503, PROBLEM, Some("0"), &gone), Duration::ZERO),
            (answer(503, JSON, Some("1"), &gone), Duration::ZERO),
            (answer(503, PROBLEM, Some("1"), &problem(503, "overloaded")), Duration::ZERO),
            (answer(500, PROBLEM, Some("1"), &problem(500, "internal")), Duration::ZERO),
        ] {
            assert!(judge(&question, &wrong, took).is_err(), "{wrong:?} within {took:?}");
        }
        Ok(())
    }
}
