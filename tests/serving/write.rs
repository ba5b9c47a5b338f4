//! Rows that come through the server: the bytes that Feast would have stored, or none.

use ::tests::online::{Hashes, hashes};
use anyhow::{Result, ensure};
use feast::value::Value;
use harness::Redis;
use serde_json::json;

use crate::caller::{Answer, Caller, JSON, Request};
use crate::server::Server;
use crate::site::{Mode, Site};
use crate::store::{Row, put};
use crate::svc::{self, driver_key};
use crate::table::Table;

/// 2026-11-23T09:08:40.211502Z, as the recorded rows have it.
const MICROS: i64 = 1_795_424_920_211_502;
const INSTANT: &str = "2026-11-23T09:08:40.211502+00:00";
const BEFORE: &str = "2026-11-23T09:08:40.211501+00:00";
const AFTER: &str = "2026-11-23T09:08:40.211503+00:00";
/// Doubles that a careless reader gets wrong in the last place, or at an end of the range.
const DOUBLES: [&str; 8] = [
    "3.4028234663852886e+38",
    "0.1",
    "1e300",
    "5e-324",
    "2.2250738585072014e-308",
    "1.7976931348623157e308",
    "-0.0",
    "123456789012345680.0",
];
const INTEGERS: [i64; 4] = [i64::MAX, i64::MIN, (1 << 53) + 1, 0];

/// A server of the recorded project without any row.
struct Empty {
    site: Site,
    server: Server,
    caller: Caller,
}

impl Empty {
    fn start() -> Result<Self> {
        let site = Site::new(&svc::project(), &[], &Mode::Compat.settings())?;
        let server = site.serve()?;
        let caller = Caller::new(server.http())?;
        Ok(Self { site, server, caller })
    }

    /// Sends columns to the push source; `columns` is JSON as it is to be sent.
    fn push(&self, columns: &str) -> Result<Answer> {
        let body = format!(r#"{{"push_source_name":"driver_push","df":{columns}}}"#);
        self.caller.ask(&Request {
            method: "POST".to_owned(),
            path: "/push".to_owned(),
            body: Some((JSON, body)),
        })
    }

    /// Sends a row of one driver.
    fn push_trips(&self, instant: &str, trips: i64) -> Result<()> {
        let answer = self.push(&columns(&["7"], instant, &["0.5"], &[trips.to_string()]))?;
        ensure!(answer.status == 200, "{answer:?}\n{}", self.server.log());
        Ok(())
    }

    fn trips(&self) -> Result<String> {
        let answer = self.caller.features(&json!({
            "features": ["driver_pushed:avg_daily_trips"], "entities": { "driver_id": [7] },
        }))?;
        Ok(Table::read(&answer.body)?.columns[1].values[0].clone())
    }

    fn stored(&self) -> Result<Hashes> {
        hashes(&self.site.redis, 0)
    }
}

/// Columns of the pushed view: drivers, one instant, conversions, and trips.
fn columns(drivers: &[&str], instant: &str, conversions: &[&str], trips: &[String]) -> String {
    let instants = vec![format!("{instant:?}"); drivers.len()].join(",");
    let halves = vec!["0.5"; drivers.len()].join(",");
    let (drivers, conversions, trips) = (drivers.join(","), conversions.join(","), trips.join(","));
    format!(
        r#"{{"driver_id":[{drivers}],"event_timestamp":[{instants}],"created":[{instants}],
        "conv_rate":[{conversions}],"acc_rate":[{halves}],"avg_daily_trips":[{trips}]}}"#
    )
}

/// What Feast would store of a row of the pushed view.
fn row(driver: i64, conversion: f64, trips: i64) -> Row {
    let names = svc::STATS.map(|(name, _)| name.to_owned());
    let values = [Value::Double(conversion), Value::Double(0.5), Value::Int64(trips)];
    Row {
        view: "driver_pushed".to_owned(),
        keys: vec![driver_key(driver)],
        event_micros: MICROS,
        values: names.into_iter().zip(values).collect(),
    }
}

#[test]
fn pushed_numbers_are_stored_to_the_last_digit_in_feasts_bytes() -> Result<()> {
    let empty = Empty::start()?;
    let drivers: Vec<String> = (0..DOUBLES.len()).map(|driver| driver.to_string()).collect();
    let drivers: Vec<&str> = drivers.iter().map(String::as_str).collect();
    let trips = |place: usize| INTEGERS[place % INTEGERS.len()];
    let all: Vec<String> = (0..DOUBLES.len()).map(|place| trips(place).to_string()).collect();
    let answer = empty.push(&columns(&drivers, INSTANT, &DOUBLES, &all))?;
    ensure!(answer.status == 200, "{answer:?}\n{}", empty.server.log());
    let wanted = Redis::start()?;
    for (place, text) in DOUBLES.iter().enumerate() {
        put(&wanted, svc::PROJECT, &row(i64::try_from(place)?, text.parse()?, trips(place)))?;
    }
    let (found, wanted) = (empty.stored()?, hashes(&wanted, 0)?);
    for (key, hash) in &wanted {
        ensure!(found.get(key) == Some(hash), "{:?} instead of {hash:?}", found.get(key));
    }
    assert_eq!(found.len(), wanted.len());
    Ok(())
}

#[test]
fn a_row_is_replaced_by_a_newer_one_alone() -> Result<()> {
    let empty = Empty::start()?;
    for (instant, trips, held) in [
        (INSTANT, 1, "1"),
        (BEFORE, 2, "1"),
        // Feast keeps what is there when the instant is the same.
        (INSTANT, 3, "1"),
        (AFTER, 4, "4"),
        (INSTANT, 5, "4"),
    ] {
        empty.push_trips(instant, trips)?;
        assert_eq!(empty.trips()?, held, "after {trips} at {instant}");
    }
    Ok(())
}

#[test]
fn an_instant_may_be_written_in_any_zone_and_in_none() -> Result<()> {
    let (empty, wanted) = (Empty::start()?, Redis::start()?);
    for (driver, instant) in [
        INSTANT,
        "2026-11-23T09:08:40.211502Z",
        "2026-11-23T09:08:40.211502",
        "2026-11-23T11:08:40.211502+02:00",
        "2026-11-23 09:08:40.211502",
    ]
    .into_iter()
    .enumerate()
    {
        let pushed = columns(&[&driver.to_string()], instant, &["0.5"], &[1.to_string()]);
        let answer = empty.push(&pushed)?;
        ensure!(answer.status == 200, "{instant}: {answer:?}");
        put(&wanted, svc::PROJECT, &row(i64::try_from(driver)?, 0.5, 1))?;
        ensure!(empty.stored()? == hashes(&wanted, 0)?, "{instant}: {:?}", empty.stored()?);
    }
    Ok(())
}

#[test]
fn one_wrong_row_keeps_the_others_out_as_well() -> Result<()> {
    let empty = Empty::start()?;
    let trips = [1.to_string(), 2.to_string()];
    for wrong in [
        columns(&["1", "2"], INSTANT, &["0.5", "\"abc\""], &trips),
        columns(&["1", "\"abc\""], INSTANT, &["0.5", "0.5"], &trips),
        columns(&["1", "null"], INSTANT, &["0.5", "0.5"], &trips),
        columns(&["1", "2"], "yesterday", &["0.5", "0.5"], &trips),
        columns(&["1", "2"], INSTANT, &["0.5"], &trips),
    ] {
        let answer = empty.push(&wrong)?;
        ensure!(answer.status >= 400, "{wrong} was taken: {answer:?}");
        ensure!(empty.stored()?.is_empty(), "{wrong}: {:?}", empty.stored()?);
    }
    Ok(())
}
