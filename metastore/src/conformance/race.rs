//! The claim that everybody may do everything at once.

use futures::future::{join, join_all};
use model::machine::AttemptEnd;
use model::{RunId, RunState};
use serde_json::json;

use super::fixture::{ENDED, Fixture, LONG, POLICY, at, interval, new_run};
use crate::{Beat, ClaimedJob, Error, Ledger, LedgerUrl, NewRun};

const VIEWS: [&str; 3] = ["a", "b", "c"];

/// Commits, beats, takeovers, cancels, interrupts and views made anew, all at once, wait for each
/// other and never in a circle; at the end every run has ended, and nothing of it is left open.
pub async fn everything_at_once_does_not_deadlock(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    for view in VIEWS {
        fixture.adopt_view(view).await;
    }
    let mut runs = Vec::new();
    for n in 0..6 {
        let run = NewRun { is_served: n % 2 == 0, parallel: 2, ..new_run(&VIEWS) };
        runs.push(fixture.begin(run).await);
    }
    let workers = join_all((0..4).map(|worker| work(url, worker, &runs)));
    join(workers, disturb(url, &runs)).await;

    for run in &runs {
        // What was abandoned under a lease that has ended.
        fixture.ledger.cancel(*run, at(99)).await.unwrap();
        let detail = fixture.run(*run).await;
        assert!(detail.run.state.is_ended(), "{detail:?}");
        let jobs = &detail.jobs;
        assert!(jobs.iter().all(|job| job.job.state.is_ended()), "{detail:?}");
        let mut windows = jobs.iter().flat_map(|job| &job.windows);
        assert!(windows.all(|window| window.window.state.is_ended()), "{detail:?}");
        let numbers: Vec<_> = fixture.events(*run).await.iter().map(|e| e.event_id).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        if detail.run.state == RunState::Succeeded {
            assert_eq!(detail.run.jobs_landed, detail.run.jobs_total);
        }
    }
    assert_eq!(fixture.ledger.leases("p").await.unwrap(), []);
}

/// Claims until nothing is left to claim, every third time with a lease that others take over.
async fn work(url: &LedgerUrl, worker: usize, runs: &[RunId]) {
    let own = Fixture { ledger: Ledger::open(url).await.unwrap(), view: super::fixture::view("a") };
    for round in 0..12 {
        let lasts = if round % 3 == 0 { ENDED } else { LONG };
        let only = runs[(round + worker) % runs.len()];
        let Some(claimed) = own.claim(only, lasts).await else { continue };
        let how = (round + worker) % 4;
        let (view, token) = (claimed.job.view.clone(), claimed.token);
        match job(&own, claimed, how).await {
            Ok(()) | Err(Error::Superseded { .. }) => {}
            // Its view was made anew, or another commit had the number of the marker first.
            Err(Error::WindowClosed { .. } | Error::WindowMismatch { .. }) => {
                own.ledger.hand_back(&view, token).await.unwrap();
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Commits both windows, or gives up after the first, in one of several ways.
async fn job(own: &Fixture, claimed: ClaimedJob, how: usize) -> Result<(), Error> {
    let (ledger, known) = (&own.ledger, claimed.windows.clone());
    let slices = [interval(0, 10), interval(10, 20)];
    let work = own.cut_or_resume(claimed, &slices).await?;
    for window in 0..work.windows.len() {
        if known.get(window).is_some_and(|window| window.state.is_ended()) {
            continue;
        }
        let attempt = work.attempt(window);
        let begun = ledger.begin_attempt(&work.job, &attempt).await?;
        ledger.checkpoint(&work.job.view, &attempt, 0, &super::fixture::receipt(1)).await?;
        if ledger.beat(&work.job, work.token, &json!({}), LONG).await? == Beat::Cancelled {
            let end = (begun.number, AttemptEnd::Cancelled);
            ledger.end_attempt(&work.job, &attempt, end, &POLICY, "cancelled", at(5)).await?;
            return Ok(());
        }
        match how {
            0 if window == 1 => {
                let end = (begun.number, AttemptEnd::Permanent);
                ledger.end_attempt(&work.job, &attempt, end, &POLICY, "why", at(5)).await?;
                return Ok(());
            }
            1 if window == 1 => return ledger.hand_back(&work.job.view, work.token).await,
            _ => ledger.commit(&own.commit(&work, &attempt).await).await.map(drop)?,
        }
    }
    let state = model::JobState::Succeeded;
    ledger.close_job(&work.job, work.token, state, None, at(6)).await
}

/// Cancels some runs, takes others for dead, makes views anew, and looks at everything meanwhile.
async fn disturb(url: &LedgerUrl, runs: &[RunId]) {
    let ledger = Ledger::open(url).await.unwrap();
    for (round, run) in (0..).zip(runs) {
        ledger.heartbeat(*run).await.unwrap();
        let view = super::fixture::view(VIEWS[round as usize % VIEWS.len()]);
        let features = ["f".to_owned()];
        let anew = ledger.adopt(&view, Some(at(100 + round)), &[], &features, at(7));
        let cancel = async {
            if round % 3 == 0 { ledger.cancel(*run, at(8)).await.map(drop) } else { Ok(()) }
        };
        let gone = async {
            let is_alive = |_| round != 3;
            ledger.free_dead_leases("p", "here", &is_alive).await.unwrap();
            ledger.interrupt_dead_runs("p", "here", &is_alive, i64::MAX).await.unwrap();
        };
        let admit = async { ledger.admit(&new_run(&[])).await.unwrap() };
        let look = async { ledger.run(*run).await.unwrap().unwrap() };
        let ((anew, cancel), (_, (_, _))) =
            join(join(anew, cancel), join(gone, join(admit, look))).await;
        anew.unwrap();
        cancel.unwrap();
    }
}
