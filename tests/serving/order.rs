//! The same question has the same bytes for an answer, whoever is asked and whenever.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::caller::{Answer, Caller, Request};
use crate::recorded::pairs;
use crate::site::{Mode, Site};
use crate::table::Table;

/// Every recorded request for features, and the same with long names.
fn requests() -> Result<Vec<Request>> {
    let all = pairs()?.into_iter().map(|pair| pair.request);
    let mut asked: Vec<_> = all
        .filter(|asked| asked.method == "POST" && asked.path == "/get-online-features")
        .collect();
    for service in ["fs_basic", "fs_sub", "fs_renamed", "fs_types", "fs_odfv"] {
        asked.push(Request::features(&json!({
            "feature_service": service,
            "full_feature_names": true,
            "entities": { "driver_id": [1003, 1001, 1003, 7] },
        })));
    }
    Ok(asked)
}

fn answers(site: &Site) -> Result<Vec<Answer>> {
    let server = site.serve()?;
    let caller = Caller::new(server.http())?;
    requests()?.iter().map(|request| caller.ask(request)).collect()
}

#[test]
fn two_servers_and_one_that_was_restarted_give_the_same_bytes() -> Result<()> {
    for mode in Mode::BOTH {
        let site = Site::recorded(mode)?;
        let (first, second) = (site.serve()?, site.serve()?);
        let callers = [Caller::new(first.http())?, Caller::new(second.http())?];
        let mut given = Vec::new();
        for request in requests()? {
            let [one, other] = [callers[0].ask(&request)?, callers[1].ask(&request)?];
            ensure!(one == other, "{mode:?} {request:?}:\n{one:?}\n{other:?}");
            ensure!(one == callers[0].ask(&request)?, "{mode:?} {request:?}: not twice the same");
            given.push(one);
        }
        drop((first, second));
        ensure!(answers(&site)? == given, "{mode:?}: not the same after a restart");
    }
    Ok(())
}

#[test]
fn columns_come_as_the_service_or_the_request_has_them() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let caller = Caller::new(server.http())?;
    let names = |body: serde_json::Value| -> Result<Vec<String>> {
        let answer = caller.features(&body)?;
        let table = Table::read(&answer.body)?;
        Ok(table.names().into_iter().map(str::to_owned).collect())
    };
    let drivers = json!({ "driver_id": [1001] });
    let service = names(json!({ "feature_service": "fs_basic", "entities": drivers }))?;
    assert_eq!(service, ["driver_id", "conv_rate", "acc_rate", "avg_daily_trips"]);
    // Feast would put the two of one view together.
    let refs = ["driver_stats:avg_daily_trips", "driver_old:old_val", "driver_stats:conv_rate"];
    let mixed = names(json!({ "features": refs, "entities": drivers }))?;
    assert_eq!(mixed, ["driver_id", "avg_daily_trips", "old_val", "conv_rate"]);
    let both = json!({ "customer_id": ["a"], "driver_id": [1001] });
    let keys = names(json!({ "features": ["drv_cust:affinity"], "entities": both }))?;
    assert_eq!(keys, ["customer_id", "driver_id", "affinity"]);
    let mapped = json!({ "dest_id": [1001], "origin_id": [1002] });
    let mapped = names(json!({
        "feature_service": "fs_joinkey", "entities": mapped, "full_feature_names": true,
    }))?;
    let wanted = [
        "dest_id",
        "origin_id",
        "origin__conv_rate",
        "origin__acc_rate",
        "origin__avg_daily_trips",
        "dest__conv_rate",
        "dest__acc_rate",
        "dest__avg_daily_trips",
    ];
    assert_eq!(mapped, wanted);
    Ok(())
}
