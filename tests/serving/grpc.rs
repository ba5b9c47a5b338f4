//! Every recorded call over gRPC, made again with Feast's own stubs.

use std::path::{Path, PathBuf};

use ::tests::session::Session;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::differences::{self, Ours};
use crate::recorded::{Call, calls};
use crate::server::Server;
use crate::site::{Mode, Site};
use crate::table::Table;

/// The service of Feast's Python server.
pub(crate) const PYTHON: &str = "GrpcFeatureServer";
/// The service of Feast's Go and Java servers.
const SERVING: &str = "feast.serving.ServingService";

/// The Python files of this suite.
pub(crate) fn python_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("serving/python")
}

/// What came of a call: the message, or the code.
pub(crate) type Called = std::result::Result<Value, String>;

/// Makes calls of service, method and request, one after another.
pub(crate) fn call(
    session: &mut Session,
    site: &Site,
    server: &Server,
    asked: &[(&str, &str, Value)],
) -> Result<Vec<Called>> {
    call_with(session, site, server, asked, &[])
}

/// The same over TLS, trusting the authority of a file.
pub(crate) fn call_securely(
    session: &mut Session,
    site: &Site,
    server: &Server,
    asked: &[(&str, &str, Value)],
    authority: &Path,
) -> Result<Vec<Called>> {
    call_with(session, site, server, asked, &[&authority.display().to_string()])
}

fn call_with(
    session: &mut Session,
    site: &Site,
    server: &Server,
    asked: &[(&str, &str, Value)],
    further: &[&str],
) -> Result<Vec<Called>> {
    site.repo.write("calls.json", json!(asked).to_string())?;
    let file = site.repo.path("calls.json").display().to_string();
    let port = server.grpc().to_string();
    let arguments = [&[port.as_str(), &file], further].concat();
    let answers = session.script("call.py", &arguments)?;
    let answers = answers.as_array().context("a list of answers")?;
    ensure!(answers.len() == asked.len(), "{} answers to {} calls", answers.len(), asked.len());
    let called = |answer: &Value| match answer["code"].as_str() {
        Some("OK") => Ok(Ok(answer["response"].clone())),
        Some(code) => Ok(Err(code.to_owned())),
        None => bail!("no answer: {answer}"),
    };
    answers.iter().map(called).collect()
}

/// The service at which a recorded call was made.
fn service_of(call: &Call) -> &'static str {
    if call.name == "grpc/serving_service_path" { SERVING } else { PYTHON }
}

#[test]
fn recorded_calls_are_answered_as_feast_or_as_the_list_says() -> Result<()> {
    let mut session = Session::start(python_directory())?;
    for mode in Mode::BOTH {
        let site = Site::recorded(mode)?;
        let server = site.serve()?;
        let calls = calls()?;
        let asked: Vec<_> = calls
            .iter()
            .map(|call| (service_of(call), "GetOnlineFeatures", call.request.clone()))
            .collect();
        let answers = call(&mut session, &site, &server, &asked)?;
        let mut wrong = Vec::new();
        for (call, answer) in calls.iter().zip(answers) {
            if let Err(reason) = judge(call, &answer, mode) {
                wrong.push(format!("{}: {reason:#}\n  {answer:?}", call.name));
            }
        }
        ensure!(wrong.is_empty(), "{} calls, {mode:?}:\n{}", wrong.len(), wrong.join("\n"));
    }
    Ok(())
}

#[test]
fn both_services_give_the_same_and_tell_that_they_are_well() -> Result<()> {
    let mut session = Session::start(python_directory())?;
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let at = |service| {
        let requests = calls().into_iter().flatten();
        requests.map(move |call| (service, "GetOnlineFeatures", call.request)).collect::<Vec<_>>()
    };
    let python = call(&mut session, &site, &server, &at(PYTHON))?;
    let serving = call(&mut session, &site, &server, &at(SERVING))?;
    assert_eq!(python, serving);
    let others = [
        (SERVING, "GetFeastServingInfo", json!({})),
        ("health", "Check", json!({})),
        ("health", "Check", json!({ "service": SERVING })),
        ("health", "Check", json!({ "service": PYTHON })),
        ("health", "Check", json!({ "service": "nobody's" })),
    ];
    let others = call(&mut session, &site, &server, &others)?;
    let info = others[0].as_ref().map_err(|code| anyhow::anyhow!("{code}"))?;
    assert!(info["version"].as_str().is_some_and(|version| !version.is_empty()), "{info}");
    for health in &others[1..4] {
        assert_eq!(health, &Ok(json!({ "status": "SERVING" })));
    }
    assert_eq!(others[4], Err("NOT_FOUND".to_owned()), "as gRPC's health protocol says");
    Ok(())
}

#[test]
fn the_server_describes_its_services() -> Result<()> {
    let mut session = Session::start(python_directory())?;
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let asked = [("reflection", "", json!({}))];
    let answer = call(&mut session, &site, &server, &asked)?.remove(0);
    let services = answer.map_err(|code| anyhow::anyhow!("{code}"))?;
    assert_eq!(services[SERVING], json!(["GetFeastServingInfo", "GetOnlineFeatures"]));
    assert_eq!(services[PYTHON], json!(["Push", "WriteToOnlineStore", "GetOnlineFeatures"]));
    Ok(())
}

#[test]
fn rows_are_written_typed_and_as_text_and_older_ones_are_ignored() -> Result<()> {
    let mut session = Session::start(python_directory())?;
    let site = Site::recorded(Mode::Strict)?;
    let server = site.serve()?;
    let typed = |seconds: i64, rate: f64| {
        json!({
            "driver_id": { "int64_val": "4001" },
            "event_timestamp": { "unix_timestamp_val": seconds.to_string() },
            "conv_rate": { "double_val": rate },
            "acc_rate": { "double_val": 0.5 },
            "avg_daily_trips": { "int64_val": "7" },
        })
    };
    let text = json!({
        "driver_id": "4002", "event_timestamp": "2026-11-24T00:00:00Z", "conv_rate": "0.25",
        "acc_rate": "0.5", "avg_daily_trips": "8",
    });
    let write = |row: Value| json!({ "feature_view_name": "driver_stats", "typed_features": row });
    let asked = [
        (PYTHON, "WriteToOnlineStore", write(typed(1_795_500_000, 0.75))),
        (PYTHON, "WriteToOnlineStore", write(typed(1_795_400_000, 0.5))),
        (PYTHON, "Push", json!({ "stream_feature_view": "driver_push", "features": text })),
        (PYTHON, "Push", json!({ "stream_feature_view": "nobody's", "features": text })),
        (PYTHON, "WriteToOnlineStore", write(json!({ "driver_id": { "int64_val": "1" } }))),
        (
            PYTHON,
            "GetOnlineFeatures",
            json!({
                "features": { "val": ["driver_stats:conv_rate"] },
                "entities": { "driver_id": { "val": [{ "int64_val": "4001" }] } },
            }),
        ),
    ];
    let answers = call(&mut session, &site, &server, &asked)?;
    for answer in &answers[..3] {
        assert_eq!(answer, &Ok(json!({ "status": true })));
    }
    assert_eq!(answers[3], Err("NOT_FOUND".to_owned()));
    assert_eq!(answers[4], Err("INVALID_ARGUMENT".to_owned()));
    let read = answers[5].as_ref().map_err(|code| anyhow::anyhow!("{code}"))?;
    assert_eq!(read["results"][1]["values"], json!([{ "double_val": 0.75 }]));
    Ok(())
}

/// Holds an answer to Feast's, or to the list.
fn judge(call: &Call, answer: &Called, mode: Mode) -> Result<()> {
    let same = is_same(&call.answer, answer);
    let Some(difference) = differences::find(&call.name, mode) else {
        ensure!(same?, "not what Feast answered: {:?}", call.answer);
        return Ok(());
    };
    // What cannot even be compared is not the same.
    ensure!(!same.unwrap_or(false), "it is listed as a difference, and is none any more");
    let wanted = match (difference.ours, &call.answer) {
        (Ours::Code(code), _) => Err(code.to_owned()),
        (Ours::Statuses(columns), Ok(message)) => {
            Ok(Table::of_message(message)?.with_statuses(columns)?)
        }
        (Ours::Answer(message, _), _) => Ok(Table::of_message(&serde_json::from_str(message)?)?),
        (other, _) => bail!("{other:?} is no answer over gRPC"),
    };
    match (wanted, answer) {
        (Ok(wanted), Ok(message)) => {
            let (found, wanted) = (Table::of_message(message)?.sorted(), wanted.sorted());
            ensure!(found == wanted, "not the rows that are listed: {wanted:?}");
        }
        (Err(wanted), Err(found)) => ensure!(wanted == *found, "{found} instead of {wanted}"),
        (wanted, _) => bail!("not what is listed: {wanted:?}"),
    }
    Ok(())
}

/// Tells whether two answers are the same but for the order of features; codes, whatever is said
/// beside them.
fn is_same(feast: &Called, ours: &Called) -> Result<bool> {
    match (feast, ours) {
        (Ok(feast), Ok(ours)) => {
            Ok(Table::of_message(feast)?.sorted() == Table::of_message(ours)?.sorted())
        }
        (Err(feast), Err(ours)) => Ok(feast == ours),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feasts_own_answers_are_right_wherever_nothing_is_listed() -> Result<()> {
        for call in calls()? {
            for mode in Mode::BOTH {
                let judged = judge(&call, &call.answer, mode);
                let is_listed = differences::find(&call.name, mode).is_some();
                assert_eq!(judged.is_err(), is_listed, "{} {mode:?}: {judged:?}", call.name);
            }
        }
        Ok(())
    }

    #[test]
    fn the_service_of_go_and_java_gives_what_the_list_says() -> Result<()> {
        let find = |name: &str| -> Result<Call> {
            calls()?.into_iter().find(|call| call.name == name).context("it was recorded")
        };
        let path = find("grpc/serving_service_path")?;
        let basic = find("grpc/basic")?.answer;
        assert!(judge(&path, &basic, Mode::Strict).is_err(), "other columns");
        let listed = differences::find(&path.name, Mode::Strict).context("it is listed")?;
        let Ours::Answer(message, _) = listed.ours else { bail!("it is answered") };
        judge(&path, &Ok(serde_json::from_str(message)?), Mode::Strict)
    }
}
