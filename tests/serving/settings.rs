//! What settings and definitions change in an answer, and the paths beside the features.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::caller::{Answer, Caller};
use crate::site::{Mode, Site};
use crate::svc;
use crate::table::Table;

/// Asks one server of the recorded project with these settings.
fn ask(settings: &Value, body: &Value) -> Result<Answer> {
    let site = Site::new(&svc::project(), &svc::rows(), settings)?;
    let server = site.serve()?;
    Caller::new(server.http())?.features(body)
}

fn values_and_statuses(answer: &Answer, column: &str) -> Result<(Vec<String>, Vec<String>)> {
    let table = Table::read(&answer.body)?;
    let found = table.columns.into_iter().find(|held| held.name == column);
    let found = found.with_context(|| format!("there is no `{column}`: {answer:?}"))?;
    Ok((found.values, found.statuses))
}

#[test]
fn what_is_too_old_is_null_when_that_is_wanted() -> Result<()> {
    let body = json!({
        "features": ["driver_old:old_val"], "entities": { "driver_id": [1001, 9999] },
    });
    let kept = values_and_statuses(&ask(&json!({}), &body)?, "old_val")?;
    assert_eq!(kept.0, ["1", "null"]);
    let dropped = values_and_statuses(&ask(&json!({ "expired": "null" }), &body)?, "old_val")?;
    assert_eq!(dropped.0, ["null", "null"]);
    assert_eq!((&dropped.1, &kept.1), (&kept.1, &dropped.1));
    assert_eq!(dropped.1, ["OUTSIDE_MAX_AGE", "NOT_FOUND"]);
    Ok(())
}

#[test]
fn on_demand_features_are_refused_when_that_is_wanted() -> Result<()> {
    let body = json!({ "feature_service": "fs_odfv", "entities": { "driver_id": [1001] } });
    for mode in Mode::BOTH {
        let mut settings = mode.settings();
        let answer = ask(&settings, &body)?;
        let (values, statuses) = values_and_statuses(&answer, "acc_py")?;
        assert_eq!((values[0].as_str(), statuses[0].as_str()), ("null", "INVALID"), "{mode:?}");
        settings["on_demand"] = json!("refuse");
        let found = ask(&settings, &body)?.problem()?;
        assert_eq!(found, (400, "not_servable".to_owned()), "{mode:?}");
    }
    Ok(())
}

#[test]
fn a_setting_that_is_none_is_refused_at_the_start() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    for wrong in [json!({ "compat": "fest" }), json!({ "expird": "null" })] {
        site.configure(&wrong)?;
        ensure!(site.serve().is_err(), "{wrong} was taken");
    }
    Ok(())
}

#[test]
fn a_view_that_is_switched_off_is_not_served() -> Result<()> {
    let mut project = svc::project();
    let stats = project.views.iter_mut().find(|view| view.name == "driver_stats");
    stats.context("it is one of ours")?.disabled = true;
    let site = Site::new(&project, &svc::rows(), &Mode::Strict.settings())?;
    let server = site.serve()?;
    let caller = Caller::new(server.http())?;
    for body in [
        json!({ "features": ["driver_stats:conv_rate"], "entities": { "driver_id": [1001] } }),
        json!({ "feature_service": "fs_basic", "entities": { "driver_id": [1001] } }),
    ] {
        let found = caller.features(&body)?.problem()?;
        assert_eq!(found, (400, "not_servable".to_owned()), "{body}");
    }
    let others =
        json!({ "features": ["driver_pushed:conv_rate"], "entities": { "driver_id": [1001] } });
    ensure!(caller.features(&others)?.status == 200, "the others are");
    Ok(())
}

#[test]
fn health_document_and_metrics_are_where_they_are_looked_for() -> Result<()> {
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let (features, admin) = (Caller::new(server.http())?, Caller::new(server.admin())?);
    for path in ["/health", "/livez", "/readyz"] {
        let answer = features.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    let document = features.get("/openapi.json")?.success()?;
    ensure!(document["openapi"].as_str().is_some_and(|text| text.starts_with("3.")), "{document}");
    for path in ["/get-online-features", "/push", "/write-to-online-store"] {
        ensure!(document["paths"][path]["post"].is_object(), "{path} is not in the document");
    }
    let metrics = admin.get("/metrics")?;
    ensure!(metrics.status == 200 && metrics.body.contains("# TYPE "), "{metrics:?}");
    assert_eq!(features.get("/metrics")?.status, 404, "they are not for callers");
    Ok(())
}
