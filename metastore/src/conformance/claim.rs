//! Claims on leases: who holds a view, who goes on with whose work.

use std::collections::BTreeSet;

use futures::future::join_all;
use model::{FencingToken, JobState, ViewRef};
use serde_json::json;

use super::fixture::{ENDED, Fixture, LONG, at, holder, interval, new_run};
use crate::{Beat, Error, Ledger, LedgerUrl, NewRun, RunBeat};

/// Of many that want one job at once, one has it.
pub async fn a_lease_is_taken_by_one(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.run_of(&["v"]).await;
    let mut ledgers = Vec::new();
    for _ in 0..6 {
        ledgers.push(Ledger::open(url).await.unwrap());
    }
    let holder = holder("here-7", 7);
    let claims = ledgers.iter().map(|ledger| ledger.claim_job("p", None, &holder, LONG));
    let claimed = join_all(claims).await.into_iter().filter_map(Result::unwrap);
    assert_eq!(claimed.map(|claimed| claimed.token).collect::<Vec<_>>(), [FencingToken(1)]);
    let held = &fixture.ledger.leases("p").await.unwrap()[0];
    assert_eq!((held.storage_name.as_str(), held.holder.as_str()), ("v", "here-7"));
}

/// A token grows with each lease, so that those before it are told apart.
pub async fn an_expired_lease_is_taken_with_a_greater_token(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let first = fixture.claim(run, ENDED).await.unwrap();
    let second = fixture.claim(run, LONG).await.unwrap();
    assert_eq!((first.token, second.token), (FencingToken(1), FencingToken(2)));
    assert_eq!(second.job.job_id, first.job.job_id);
    assert_eq!(second.job.started_at, first.job.started_at);
    assert_eq!(fixture.claim(run, LONG).await, None);
    let beat = async |claimed: &crate::ClaimedJob| {
        fixture.ledger.beat(&claimed.job, claimed.token, &json!({"rows": 1}), LONG).await.unwrap()
    };
    assert_eq!(beat(&first).await, Beat::Superseded);
    assert_eq!(beat(&second).await, Beat::Extended);
    assert_eq!(fixture.job(&first.job).await.job.progress, Some(json!({"rows": 1})));
}

/// A holder that beats late keeps what nobody has taken.
pub async fn a_beat_extends_a_lease(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let claimed = fixture.claim(run, ENDED).await.unwrap();
    let before = fixture.run(run).await.run.heartbeat_at;
    let beat = fixture.ledger.beat(&claimed.job, claimed.token, &json!(null), LONG).await.unwrap();
    assert_eq!(beat, Beat::Extended);
    assert_eq!(fixture.claim(run, LONG).await, None, "it is held again");
    assert!(fixture.run(run).await.run.heartbeat_at >= before);
    assert!(fixture.ledger.leases("p").await.unwrap()[0].until > before);
}

/// What a process hands back, another goes on with without waiting.
pub async fn a_handed_back_job_is_claimed_at_once(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let work = fixture.work(&[interval(0, 10), interval(10, 20)]).await;
    let (run, view) = (work.job.run_id, &work.job.view);
    fixture.ledger.hand_back(view, FencingToken(0)).await.unwrap();
    assert_eq!(fixture.claim(run, LONG).await, None, "another's token gives nothing back");
    fixture.ledger.hand_back(view, work.token).await.unwrap();
    let next = fixture.claim(run, LONG).await.unwrap();
    assert_eq!((next.job.job_id, next.token), (work.job.job_id, FencingToken(2)));
    let known: Vec<_> = next.windows.iter().map(|window| window.interval).collect();
    assert_eq!(known, [interval(0, 10), interval(10, 20)], "it is cut already");
    fixture.ledger.hand_back(view, work.token).await.unwrap();
    assert_eq!(fixture.claim(run, LONG).await, None, "an old token gives nothing back");
}

/// A run's jobs are held side by side up to its own limit, however many claim at once.
pub async fn parallel_limits_claims(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = NewRun { parallel: 2, ..new_run(&["a", "b", "c", "d", "e"]) };
    let run = fixture.begin(run).await;
    let mut ledgers = Vec::new();
    for _ in 0..5 {
        ledgers.push(Ledger::open(url).await.unwrap());
    }
    let holder = holder("here-7", 7);
    let claims = ledgers.iter().map(|ledger| ledger.claim_job("p", None, &holder, LONG));
    let mut claimed: Vec<_> =
        join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();
    let views: BTreeSet<_> = claimed.iter().map(|c| c.job.view_name.clone()).collect();
    assert_eq!((claimed.len(), views.len()), (2, 2));
    assert_eq!(fixture.claim(run, LONG).await, None);

    let done = claimed.pop().unwrap();
    let (state, reason) = (JobState::UpToDate, Some("nothing to do"));
    fixture.ledger.close_job(&done.job, done.token, state, reason, at(9)).await.unwrap();
    assert!(fixture.claim(run, LONG).await.is_some());
    assert_eq!(fixture.claim(run, LONG).await, None);
}

/// Two runs of one view take turns, the older first.
pub async fn two_runs_of_one_view_take_turns(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let newer = fixture.begin(NewRun { at: at(9), ..new_run(&["v"]) }).await;
    let older = fixture.run_of(&["v"]).await;
    let claim =
        async || fixture.ledger.claim_job("p", None, &holder("here-7", 7), LONG).await.unwrap();
    let first = claim().await.unwrap();
    assert_eq!(first.run.run_id, older);
    assert_eq!(claim().await, None);
    let state = JobState::UpToDate;
    fixture.ledger.close_job(&first.job, first.token, state, None, at(9)).await.unwrap();
    let second = claim().await.unwrap();
    assert_eq!((second.run.run_id, second.token), (newer, FencingToken(2)));
    assert_eq!(second.job.view, ViewRef { ..first.job.view });
}

/// A run that is bound to the process that admitted it is nobody else's.
pub async fn a_run_of_one_process_is_not_claimed_by_another(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = NewRun { is_served: false, ..new_run(&["v"]) };
    fixture.ledger.admit(&run).await.unwrap();
    assert_eq!(fixture.ledger.waiting_run("p").await.unwrap(), None);
    fixture.ledger.begin_run(run.run_id, &[], None, at(1)).await.unwrap();
    let other = holder("there-8", 8);
    assert_eq!(fixture.ledger.claim_job("p", None, &other, LONG).await.unwrap(), None);
    assert!(fixture.claim(run.run_id, LONG).await.is_some());
}

/// A run that waits is begun by one, and only then claimed.
pub async fn a_waiting_run_is_begun_once(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = new_run(&["v"]);
    let ledger = &fixture.ledger;
    ledger.admit(&run).await.unwrap();
    ledger.admit(&NewRun { at: at(1), ..new_run(&["v"]) }).await.unwrap();
    assert_eq!(ledger.waiting_run("p").await.unwrap(), Some(run.run_id), "the oldest first");
    assert_eq!(ledger.waiting_run("q").await.unwrap(), None);
    assert_eq!(fixture.claim(run.run_id, LONG).await, None);
    for (refusal, now) in [(None, 5), (Some("a later thought"), 6)] {
        ledger.begin_run(run.run_id, &["w".to_owned()], refusal, at(now)).await.unwrap();
    }
    let row = fixture.run(run.run_id).await.run;
    assert_eq!((row.started_at, row.refusal, row.warnings), (Some(at(5)), None, vec!["w".into()]));
    let claimed = fixture.claim(run.run_id, LONG).await.unwrap();
    assert_eq!(claimed.run.run_id, run.run_id);
    assert_eq!(claimed.job.state, JobState::Running);
}

/// A lease whose process is gone from this very host frees its view at once.
pub async fn leases_of_a_gone_process_are_freed(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let ledger = &fixture.ledger;
    let run = fixture.run_of(&["v", "w"]).await;
    let lost = ledger.claim_job("p", Some(run), &holder("dead", 3), LONG).await.unwrap().unwrap();
    let kept = fixture.claim(run, LONG).await.unwrap();
    let free = async |host| ledger.free_dead_leases("p", host, &|pid| pid == 7).await.unwrap();
    free("there").await;
    assert_eq!(ledger.leases("p").await.unwrap().len(), 2, "another host says nothing of ours");
    free("here").await;
    let held = ledger.leases("p").await.unwrap();
    assert_eq!((held.len(), held[0].storage_name.as_str()), (1, kept.job.view_name.as_str()));
    assert_eq!(fixture.claim(run, LONG).await.unwrap().job.job_id, lost.job.job_id);
}

/// Whoever cannot end a job cannot cut it either.
pub async fn a_superseded_holder_changes_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let run = fixture.run_of(&["v"]).await;
    let slow = fixture.claim(run, ENDED).await.unwrap();
    let quick = fixture.claim(run, LONG).await.unwrap();
    let before = fixture.run(run).await;
    let ledger = &fixture.ledger;
    let cut = ledger.cut_job(&slow.job, slow.token, &[], &["w".to_owned()], at(5)).await;
    let close = ledger.close_job(&slow.job, slow.token, JobState::Failed, None, at(5)).await;
    let fence = ledger.fence(&fixture.view, slow.token).await.map(drop);
    for refused in [cut, close, fence] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Superseded { .. }), "{refused:?}");
    }
    assert_eq!(fixture.run(run).await, before);
    assert!(!fixture.state().await.fenced);
    let work = fixture.cut(quick, &[interval(0, 10)]).await;
    let again = [interval(0, 5), interval(5, 10)];
    let windows = again.map(|interval| crate::NewWindow { interval, ..work.windows[0] });
    ledger.cut_job(&work.job, work.token, &windows, &[], at(6)).await.unwrap();
    assert_eq!(fixture.job(&work.job).await.windows.len(), 1, "a job is cut once");
    assert_eq!(ledger.heartbeat(run).await.unwrap(), RunBeat::GoesOn);
}
