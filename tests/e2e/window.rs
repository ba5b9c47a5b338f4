//! Which rows a run reads: first and later intervals, late rows, gaps, ends in the future.

use anyhow::Result;
use tests::definition::Project;
use tests::ledger::Ledger;

use crate::sample::{PROJECT, Shop, ago, at, fill, iso, landed, only_job, view, warnings};

const DAY_SECONDS: i64 = 86_400;
const SECOND_MICROS: i64 = 1_000_000;

#[test]
fn a_first_incremental_run_reaches_back_by_the_ttl() -> Result<()> {
    let shop = Shop::new([view("v").ttl(DAY_SECONDS)])?;
    let rows = [(1, ago(1), 10), (2, ago(23), 20), (3, ago(25), 30)];
    fill(&shop.repo, "v", &rows)?;
    let end = ago(0);
    shop.repo.succeed(&["materialize-incremental", &iso(end)])?;
    assert_eq!(shop.stored()?, landed("v", &rows[..2]));
    let [(start, recorded_end)] = shop.intervals("v")?[..] else { panic!("one interval") };
    assert_eq!(recorded_end, end);
    // The start is a day before the run's own clock, which is a little later than `end`.
    let late = start - (end - DAY_SECONDS * SECOND_MICROS);
    assert!((0..60 * SECOND_MICROS).contains(&late), "{late}");
    Ok(())
}

#[test]
fn a_first_incremental_run_without_ttl_reaches_back_52_weeks() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let rows = [(1, ago(363 * 24), 10), (2, ago(365 * 24), 20)];
    fill(&shop.repo, "v", &rows)?;
    shop.repo.succeed(&["materialize-incremental", &iso(ago(0))])?;
    assert_eq!(shop.stored()?, landed("v", &rows[..1]));
    Ok(())
}

#[test]
fn a_first_incremental_run_that_ends_before_it_starts_says_so() -> Result<()> {
    let shop = Shop::new([view("v").ttl(DAY_SECONDS)])?;
    fill(&shop.repo, "v", &[(1, at(1), 10)])?;
    let ended = shop.repo.succeed(&["materialize-incremental", &iso(at(2))])?;
    ended.says("use `materialize START END`")?;
    assert!(shop.stored()?.is_empty());
    assert!(shop.intervals("v")?.is_empty());
    Ok(())
}

#[test]
fn a_later_incremental_run_starts_where_the_last_ended() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let (early, late, new) = ((1, at(5), 10), (2, at(6), 20), (3, at(12), 30));
    fill(&shop.repo, "v", &[early])?;
    shop.interval(0, 10)?;
    fill(&shop.repo, "v", &[early, late, new])?;
    let report = shop.incremental(20)?;
    assert_eq!(only_job(&report)["interval"]["start"], iso(at(10)));
    assert_eq!(shop.stored()?, landed("v", &[early, new]), "a late row is not read again");
    assert_eq!(shop.intervals("v")?, [(at(0), at(20))]);
    Ok(())
}

#[test]
fn allowed_lateness_catches_a_late_row() -> Result<()> {
    let shop = Shop::new([view("v").tag("tidegate.lateness", "4h")])?;
    let (early, late, too_late, new) =
        ((1, at(5), 10), (2, at(6), 20), (4, at(4), 40), (3, at(12), 30));
    fill(&shop.repo, "v", &[early])?;
    shop.interval(0, 10)?;
    fill(&shop.repo, "v", &[early, late, too_late, new])?;
    let report = shop.incremental(20)?;
    assert_eq!(only_job(&report)["interval"]["start"], iso(at(6)));
    assert_eq!(shop.stored()?, landed("v", &[early, late, new]));
    let coverage = Ledger::Sqlite(shop.repo.ledger()).coverage()?;
    assert_eq!(coverage["v"].intervals, [(at(0) * 1_000, at(20) * 1_000 + 1)]);
    assert_eq!(coverage["v"].watermark, Some(at(20) * 1_000 + 1));
    Ok(())
}

#[test]
fn a_malformed_lateness_fails_the_view_by_name() -> Result<()> {
    let shop = Shop::new([view("v").tag("tidegate.lateness", "soon")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    let ended = shop.repo.run(&["materialize", &iso(at(0)), &iso(at(9))])?.with_code(1)?;
    ended.says("tag `tidegate.lateness` of view `v` is `soon`")?;
    assert!(shop.intervals("v")?.is_empty());
    Ok(())
}

#[test]
fn an_end_in_the_future_is_cut_to_now() -> Result<()> {
    let shop = Shop::new([view("v").ttl(DAY_SECONDS)])?;
    let rows = [(1, ago(1), 10), (2, ago(-24), 20)];
    fill(&shop.repo, "v", &rows)?;
    let report = shop.repo.json(&["materialize-incremental", &iso(ago(-48))])?;
    assert!(warnings(only_job(&report)).contains("was cut to now"), "{report}");
    assert_eq!(shop.stored()?, landed("v", &rows[..1]));
    let [(_, end)] = shop.intervals("v")?[..] else { panic!("one interval") };
    assert!(end <= ago(0), "what is to come must not count as read");
    Ok(())
}

#[test]
fn an_end_in_the_future_can_be_asked_for() -> Result<()> {
    let shop = Shop::new([view("v").ttl(DAY_SECONDS)])?;
    let rows = [(1, ago(1), 10), (2, ago(-24), 20)];
    fill(&shop.repo, "v", &rows)?;
    let end = ago(-48);
    let report = shop.repo.json(&["materialize-incremental", &iso(end), "--allow-future"])?;
    assert!(warnings(only_job(&report)).contains("is in the future"), "{report}");
    assert_eq!(shop.stored()?, landed("v", &rows));
    assert_eq!(shop.intervals("v")?[0].1, end);
    Ok(())
}

#[test]
fn a_run_that_has_nothing_to_do_says_so_and_succeeds() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    shop.interval(0, 10)?;
    for to in [10, 7] {
        let ended = shop.repo.succeed(&["materialize-incremental", &iso(at(to))])?;
        ended.says(&format!("up to {} has landed", iso(at(10))))?;
        let report = shop.incremental(to)?;
        assert_eq!(only_job(&report)["state"], "up_to_date");
    }
    assert_eq!(shop.intervals("v")?, [(at(0), at(10))]);
    Ok(())
}

#[test]
fn feasts_own_history_is_taken_over() -> Result<()> {
    let mut known = view("v");
    known.intervals = vec![(at(0), at(10))];
    let shop = Shop::new([known])?;
    let rows = [(1, at(5), 10), (2, at(12), 20)];
    fill(&shop.repo, "v", &rows)?;
    let report = shop.incremental(20)?;
    assert_eq!(only_job(&report)["interval"]["start"], iso(at(10)));
    assert_eq!(shop.stored()?, landed("v", &rows[1..]));
    Ok(())
}

#[test]
fn a_gap_is_filled_by_the_next_incremental_run() -> Result<()> {
    let mut known = view("v");
    known.intervals = vec![(at(0), at(10)), (at(20), at(30))];
    let shop = Shop::new([known])?;
    let rows = [(1, at(15), 10), (2, at(35), 20)];
    fill(&shop.repo, "v", &rows)?;
    let report = shop.incremental(40)?;
    let job = only_job(&report);
    assert_eq!(job["interval"]["start"], iso(at(10)));
    assert_eq!(shop.intervals("v")?, [(at(0), at(40))], "Feast's two and ours are one");
    assert!(warnings(job).contains("has not been materialized although later rows have"), "{job}");
    assert_eq!(shop.stored()?, landed("v", &rows));
    let coverage = Ledger::Sqlite(shop.repo.ledger()).coverage()?;
    assert_eq!(coverage["v"].intervals, [(at(0) * 1_000, at(40) * 1_000 + 1)]);
    Ok(())
}

#[test]
fn a_backfill_does_not_move_the_watermark() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    let rows = [(1, at(25), 10), (2, at(5), 20), (3, at(31), 30)];
    fill(&shop.repo, "v", &rows)?;
    shop.interval(20, 30)?;
    shop.interval(0, 10)?;
    assert_eq!(shop.intervals("v")?, [(at(0), at(10)), (at(20), at(30))], "the gap stays");
    let report = shop.incremental(40)?;
    assert_eq!(only_job(&report)["interval"]["start"], iso(at(30)));
    assert_eq!(shop.stored()?, landed("v", &rows));
    Ok(())
}

#[test]
fn a_view_created_anew_starts_afresh() -> Result<()> {
    let shop = Shop::new([view("v").ttl(2 * DAY_SECONDS)])?;
    let rows = [(1, ago(40), 10), (2, ago(2), 20)];
    fill(&shop.repo, "v", &rows[..1])?;
    shop.repo.succeed(&["materialize-incremental", &iso(ago(1))])?;
    let mut anew = view("v").ttl(2 * DAY_SECONDS);
    anew.created_micros += SECOND_MICROS;
    shop.repo.registry().apply(&Project::new(PROJECT, [anew]))?;
    fill(&shop.repo, "v", &rows)?;
    let report = shop.repo.json(&["materialize-incremental", &iso(ago(0))])?;
    let job = only_job(&report);
    assert!(warnings(job).contains("created anew"), "{job}");
    assert_eq!(shop.stored()?, landed("v", &rows), "a row below the old watermark is read");
    assert_eq!(shop.intervals("v")?.len(), 1);
    Ok(())
}

#[test]
fn an_added_feature_is_pointed_out() -> Result<()> {
    let shop = Shop::new([view("v")])?;
    fill(&shop.repo, "v", &[(1, at(5), 10)])?;
    shop.interval(0, 10)?;
    let mut wider = view("v");
    wider.features.push(("ts".to_owned(), feast::ValueType::UnixTimestamp));
    wider.intervals = shop.intervals("v")?;
    shop.repo.registry().apply(&Project::new(PROJECT, [wider]))?;
    let report = shop.incremental(20)?;
    assert!(warnings(only_job(&report)).contains("feature `ts` was added"), "{report}");
    Ok(())
}
