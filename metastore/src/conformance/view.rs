//! Claims on what has landed of a view: intervals, watermark, Feast's history.

use futures::future::join_all;

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

/// Commits of one view from several processes at once all count.
pub async fn concurrent_commits_lose_nothing(url: &LedgerUrl) {
    let fixture = Fixture::new(url).await;
    let mut commits = Vec::new();
    for step in 0..12 {
        let window = fixture.window(interval(step * 10, step * 10 + 10)).await;
        let commit = fixture.commit(&window);
        commits.push((Ledger::open(url).await.unwrap(), commit));
    }
    let landed = join_all(commits.iter().map(|(ledger, commit)| ledger.commit(commit))).await;
    for committed in landed {
        assert!(committed.unwrap().watermark_after.is_some());
    }
    let state = fixture.state().await;
    assert_eq!(state.coverage.intervals().as_slice(), [interval(0, 120)]);
    assert_eq!(state.coverage.watermark(), Some(at(120)));
    assert_eq!(fixture.count("intervals").await, 1, "each saw what the others had stored");
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
    let window = fixture.window(interval(0, 10)).await;
    let mut commit = fixture.commit(&window);
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
    let window = fixture.window(interval(10, 20)).await;
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
    let refused = fixture.ledger.commit(&fixture.commit(&window)).await.unwrap_err();
    assert!(matches!(refused, Error::WindowClosed { .. }), "{refused:?}");
    let again = contact().await;
    assert!(!again.reset);
    assert_eq!(again.features_at_last_commit, Some(features.to_vec()));
}
