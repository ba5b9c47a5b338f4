//! The console in a browser: what it shows once its script has run, and without it.

use std::time::Duration;

use anyhow::{Context, Result};
use harness::Browser;
use tests::definition::Project;
use tests::repo::Repo;
use tests::serving::Serving;

use crate::sample::{PROJECT, Row, ago, fill, iso, view};

const HOUR_MICROS: i64 = 3_600_000_000;

/// One view that is fresh, one with a hole, one that fails, and one that never ran.
fn repo() -> Result<Repo> {
    let views = ["orders", "clicks", "returns", "visits"].map(view);
    let repo = Repo::with_sqlite_store(&Project::new(PROJECT, views))?;
    let rows: Vec<Row> = (0..400).map(|n| (n % 90, ago(0) - n * HOUR_MICROS, n)).collect();
    for name in ["orders", "clicks", "visits"] {
        fill(&repo, name, &rows)?;
    }
    let run = |view: &str, from: i64, to: i64| {
        repo.run(&["materialize", &iso(ago(from)), &iso(ago(to)), "--views", view])
    };
    run("orders", 400, 0)?.with_code(0)?;
    run("clicks", 400, 200)?.with_code(0)?;
    run("clicks", 120, 24)?.with_code(0)?;
    run("returns", 400, 0)?.with_code(1)?;
    Ok(repo)
}

/// How often the page has put in news.
fn refreshed(document: &str) -> Option<u32> {
    document.split("data-refreshed=\"").nth(1)?.split('"').next()?.parse().ok()
}

#[test]
fn a_page_keeps_itself_up_to_date_in_a_browser() -> Result<()> {
    let repo = repo()?;
    let serving = Serving::start(&repo, &[])?;
    let home = Browser::document(serving.url(), Duration::from_secs(12))?;
    assert!(home.contains("<h1>Feature views of shop</h1>"), "{home}");
    assert!(refreshed(&home).is_some_and(|times| times >= 1), "{home}");
    assert!(home.contains("aria-label=\"2 landed, 1 missing\""), "{home}");
    let page =
        Browser::document(&format!("{}/views/clicks", serving.url()), Duration::from_secs(1))?;
    assert!(page.contains("Missing in between: 1"), "{page}");
    assert!(page.contains("Show what it would do"), "{page}");
    Ok(())
}

#[test]
fn a_picture_of_the_console_is_taken() -> Result<()> {
    let repo = repo()?;
    let serving = Serving::start(&repo, &[])?;
    let file = repo.path("console.png");
    Browser::picture(serving.url(), &file, 1_200, 900)?;
    let picture = std::fs::read(&file)?;
    assert_eq!(picture.get(1..4).context("it is not empty")?, b"PNG");
    if let Some(kept) = std::env::var_os("TIDEGATE_CONSOLE_PNG") {
        std::fs::copy(&file, kept)?;
    }
    Ok(())
}
