//! `tidegate get-online-features`: the same answer in its own process and from a server.

use anyhow::Result;
use serde_json::json;

use crate::site::{Mode, Site};

const ASKED: [&str; 6] = [
    "get-online-features",
    "--features",
    "driver_stats:conv_rate,driver_stats:avg_daily_trips",
    "--entity",
    "driver_id=1001,9999",
    "--full-feature-names",
];

#[test]
fn the_command_answers_the_same_by_itself_and_from_a_server() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let expected = json!([
        {
            "driver_id": 1001,
            "driver_stats__conv_rate": 0.1,
            "driver_stats__avg_daily_trips": 10,
        },
        {
            "driver_id": 9999,
            "driver_stats__conv_rate": null,
            "driver_stats__avg_daily_trips": null,
        },
    ]);
    assert_eq!(site.repo.json(&ASKED)?, expected);
    let server = site.serve()?;
    let url = format!("http://127.0.0.1:{}", server.http());
    let asked: Vec<&str> = ASKED.into_iter().chain(["--server", &url]).collect();
    assert_eq!(site.repo.json(&asked)?, expected);
    site.repo.succeed(&asked)?.says("driver_stats__conv_rate        null  NOT_FOUND")?;
    Ok(())
}

#[test]
fn a_name_that_is_wrong_is_a_mistake_of_the_caller_in_both_places() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let url = format!("http://127.0.0.1:{}", server.http());
    let asked =
        ["get-online-features", "--features", "driver_stats:nope", "--entity", "driver_id=1"];
    let from_server: Vec<&str> = asked.into_iter().chain(["--server", &url]).collect();
    for asked in [&asked[..], &from_server] {
        site.repo.run(asked)?.with_code(2)?.says("has no feature `nope`")?;
    }
    Ok(())
}
