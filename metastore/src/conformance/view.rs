//! Claims on what has landed of a view: intervals, watermark, Feast's history.

use futures::future::join_all;
use model::machine::AttemptEnd;
use model::{AttemptState, WindowState};

use super::fixture::{Fixture, at, interval};
use crate::{Error, Ledger, LedgerUrl};

/// However many runs land, what is stored is one interval per stretch without a gap.
pub async fn intervals_merge(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    for (start, end) in [(0, 10), (10, 20), (15, 25), (40, 50), (60, 70), (5, 8), (25, 60)] {
        fixture.land(interval(start, end)).await;
    }
    let state = fixture.state().await;
    assert_eq!(state.coverage.intervals().as_slice(), [interval(0, 70)]);
    assert_eq!(state.coverage.watermark(), Some(at(70)));
    assert_eq!(fixture.count("intervals").await, 1);
}

/// An interval beyond a gap is recorded and moves no watermark; an empty one changes nothing.
pub async fn a_gap_holds_the_watermark(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let beyond = fixture.land(interval(20, 30)).await;
    assert_eq!((beyond.watermark_before, beyond.watermark_after), (Some(at(10)), Some(at(10))));
    let empty = fixture.land(interval(90, 80)).await;
    assert_eq!(empty.coverage, beyond.coverage);
    assert_eq!(fixture.state().await.coverage.gaps(), [interval(10, 20)]);
    let closing = fixture.land(interval(10, 20)).await;
    assert_eq!(closing.watermark_after, Some(at(30)));
    let below = fixture.land(interval(-20, -10)).await;
    assert_eq!(below.watermark_after, Some(at(30)));
}

/// Commits of one view from several processes at once all count, and each has a number of its own.
pub async fn concurrent_commits_lose_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let slices: Vec<_> = (0..8).map(|n| interval(n * 10, n * 10 + 10)).collect();
    let work = fixture.work(&slices).await;
    let commit = async |window: usize| {
        let own = Fixture { ledger: Ledger::open(url).await.unwrap(), view: fixture.view.clone() };
        let attempt = own.attempt(&work, window).await;
        loop {
            let commit = own.commit(&work, &attempt).await;
            match own.ledger.commit(&commit).await {
                Ok(committed) => break committed,
                // Another commit had the number first.
                Err(Error::WindowMismatch { what: "sequence of commits", .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    };
    let landed = join_all((0..slices.len()).map(commit)).await;
    assert!(landed.iter().all(|committed| committed.watermark_after.is_some()));
    let state = fixture.state().await;
    assert_eq!(state.coverage.intervals().as_slice(), [interval(0, 80)]);
    assert_eq!(state.coverage.watermark(), Some(at(80)));
    assert_eq!(state.committed.map(|last| last.sequence), Some(8));
    assert_eq!(fixture.count("intervals").await, 1, "each saw what the others had stored");
    assert_eq!(fixture.run(work.job.run_id).await.run.state, model::RunState::Succeeded);
}

/// What Feast lists is merged once; contacts that bring nothing new change nothing.
pub async fn adopting_again_changes_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let history = [interval(20, 30), interval(0, 10), interval(0, 10)];
    let adopt = async |now| {
        let (created, features) = (Some(at(1)), ["f".to_owned()]);
        let ledger = &fixture.ledger;
        ledger.adopt(&fixture.view, created, &history, &features, at(now)).await.unwrap()
    };
    let first = adopt(5).await;
    assert_eq!(first.coverage.intervals().as_slice(), [interval(0, 10), interval(20, 30)]);
    assert_eq!(first.coverage.watermark(), Some(at(10)));
    assert!(!first.reset);
    let state = fixture.state().await;
    assert_eq!(state.updated_at, at(5));
    let second = adopt(6).await;
    assert_eq!(second.coverage, first.coverage);
    assert_eq!(fixture.state().await, state);
}

/// A feature added in Feast is noticed at every contact until rows with it have landed.
pub async fn features_are_remembered_until_the_next_commit(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let (old, new) = (vec!["f".to_owned()], vec!["f".to_owned(), "g\u{1F30A}".to_owned()]);
    let known = async || {
        let contact = fixture.ledger.adopt(&fixture.view, Some(at(1)), &[], &new, at(7)).await;
        contact.unwrap().features_at_last_commit
    };
    assert_eq!(known().await, Some(old.clone()));
    assert_eq!(known().await, Some(old));
    let work = fixture.work(&[interval(0, 10)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    let mut commit = fixture.commit(&work, &attempt).await;
    commit.features.clone_from(&new);
    fixture.ledger.commit(&commit).await.unwrap();
    assert_eq!(known().await, Some(new.clone()));
    let other = model::ViewRef { storage_name: "new".to_owned(), ..fixture.view.clone() };
    let first = fixture.ledger.adopt(&other, None, &[], &new, at(7)).await.unwrap();
    assert_eq!(first.features_at_last_commit, None);
}

/// A view that was deleted and made anew in Feast has nothing landed, and no attempt of the old one
/// counts.
pub async fn a_recreated_view_starts_afresh(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    let work = fixture.work(&[interval(10, 20)]).await;
    let attempt = fixture.attempt(&work, 0).await;
    fixture.ledger.mark_lost(&fixture.view, "flushed").await.unwrap();
    let features = ["g".to_owned()];
    let contact = async || {
        let (created, intervals) = (Some(at(2)), [interval(40, 50)]);
        let ledger = &fixture.ledger;
        ledger.adopt(&fixture.view, created, &intervals, &features, at(7)).await.unwrap()
    };
    let adopted = contact().await;
    assert!(adopted.reset);
    assert_eq!(adopted.features_at_last_commit, None);
    assert_eq!(adopted.coverage.intervals().as_slice(), [interval(40, 50)]);
    assert_eq!(adopted.coverage.watermark(), Some(at(50)));
    assert_eq!(fixture.state().await.feast_created, Some(at(2)));
    assert_eq!(fixture.state().await.lost, None, "what was lost was the old view's");
    let refused = fixture.ledger.commit(&fixture.commit(&work, &attempt).await).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    let window = &fixture.job(&work.job).await.windows[0];
    assert_eq!(window.window.state, WindowState::Interrupted);
    assert_eq!(window.attempts[0].state, AttemptState::Interrupted);
    let again = contact().await;
    assert!(!again.reset);
    assert_eq!(again.features_at_last_commit, Some(features.to_vec()));
}

/// What the online store lost is back once all of it was written again, and not before.
pub async fn a_lost_view_is_found_again_by_a_rebuild(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    fixture.land(interval(0, 10)).await;
    fixture.ledger.mark_lost(&fixture.view, "flushed").await.unwrap();
    fixture.land(interval(10, 20)).await;
    let lost = async || fixture.ledger.views("p").await.unwrap()[0].lost.clone();
    assert_eq!(lost().await.as_deref(), Some("flushed"), "an ordinary commit brings nothing back");

    let work = fixture.work(&[interval(0, 10), interval(10, 20)]).await;
    for window in [0, 1] {
        let given_up = fixture.attempt(&work, window).await;
        fixture.end(&work, &given_up, 1, AttemptEnd::Transient).await;
        let attempt = fixture.attempt(&work, window).await;
        let mut commit = fixture.commit(&work, &attempt).await;
        commit.is_rebuild = true;
        assert!(lost().await.is_some(), "not before the last window");
        fixture.ledger.commit(&commit).await.unwrap();
    }
    assert_eq!(lost().await, None);
    assert_eq!(fixture.state().await.coverage.watermark(), Some(at(20)));
}
