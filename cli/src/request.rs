//! From the command line to the request for a run, the same for this process and for a server.
//!
//! What can be told without a registry or a ledger is refused here, in the command line's words.

use api::{IdempotencyKey, Rerun as What, RerunState, RunRequest};
use model::{EventTime, RunKind};
use scheduler::{Error, Version};

use crate::args::{Incremental, Interval, Planned, Rerun, Selection, State};
use crate::command::UsageError;

/// The request of `materialize-incremental END`.
pub fn incremental(run: &Incremental) -> anyhow::Result<RunRequest> {
    let end = EventTime::from_micros(feast::datetime::parse_iso(&run.end)?);
    let request = RunRequest {
        end: Some(end),
        rebuild: run.rebuild,
        ..RunRequest::new(RunKind::Incremental)
    };
    selected(request, &run.selection)
}

/// The request of `materialize START END`.
pub fn interval(run: &Interval, now: EventTime) -> anyhow::Result<RunRequest> {
    let (start, end) = match (&run.start, &run.end) {
        (Some(start), Some(end)) => (instant(start, now)?, instant(end, now)?),
        _ => (EventTime::EPOCH, EventTime::from_micros(now.micros_floor())),
    };
    bounded(RunRequest::new(RunKind::Interval), start, end, &run.selection)
}

/// The request of `rerun`.
pub fn rerun(run: &Rerun, now: EventTime) -> anyhow::Result<RunRequest> {
    let request = |what| RunRequest { rerun: Some(what), ..RunRequest::new(RunKind::Rerun) };
    if let Some(id) = &run.run {
        let id = id.parse().map_err(|_| no_id("run", id, "tidegate runs"))?;
        return selected(request(What::RunId(id)), &run.selection);
    }
    if let Some(id) = &run.window_id {
        let id = id.parse().map_err(|_| no_id("window", id, "tidegate runs show"))?;
        return selected(request(What::WindowId(id)), &run.selection);
    }
    let state = match run.state {
        Some(State::Missing) => RerunState::Missing,
        Some(State::Failed) => RerunState::Failed,
        Some(State::All) | None => RerunState::All,
    };
    let (Some(from), Some(to)) = (&run.from, &run.to) else {
        return Err(UsageError("`rerun` of an interval needs --from and --to".to_owned()).into());
    };
    let (start, end) = (instant(from, now)?, instant(to, now)?);
    bounded(request(What::State(state)), start, end, &run.selection)
}

/// The request of a run that is only planned.
pub fn planned(run: &Planned, now: EventTime) -> anyhow::Result<RunRequest> {
    match run {
        Planned::MaterializeIncremental(run) => incremental(run),
        Planned::Materialize(run) => interval(run, now),
        Planned::Rerun(run) => rerun(run, now),
    }
}

/// `--since`: an instant, or how long ago.
pub fn since(text: &str, now: EventTime) -> anyhow::Result<EventTime> {
    let Ok(age) = model::duration::parse(text) else { return instant(text, now) };
    let nanos = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
    Ok(EventTime::from_nanos(now.nanos().saturating_sub(nanos)))
}

/// `--idempotency-key`.
pub fn key(text: &str) -> anyhow::Result<IdempotencyKey> {
    let key: Result<IdempotencyKey, api::Problem> = text.parse();
    Ok(key.map_err(|problem| UsageError(problem.detail))?)
}

/// An id that was typed.
pub fn no_id(what: &str, text: &str, listed_by: &str) -> UsageError {
    UsageError(format!("`{text}` is no {what} id; see `{listed_by}`"))
}

fn instant(text: &str, now: EventTime) -> anyhow::Result<EventTime> {
    Ok(EventTime::from_micros(feast::datetime::parse_lenient(text, now.to_utc())?))
}

fn bounded(
    request: RunRequest,
    start: EventTime,
    end: EventTime,
    selection: &Selection,
) -> anyhow::Result<RunRequest> {
    if start > end {
        return Err(Error::Reversed { start, end }.into());
    }
    selected(RunRequest { start: Some(start), end: Some(end), ..request }, selection)
}

fn selected(request: RunRequest, selection: &Selection) -> anyhow::Result<RunRequest> {
    if let Some(version) = &selection.version {
        Version::parse(version)?;
        if selection.views.len() != 1 {
            let what = format!("needs exactly one --views, got {}", selection.views.len());
            return Err(Error::Version { what }.into());
        }
    }
    let request = RunRequest {
        views: selection.views.clone(),
        version: selection.version.clone(),
        correct: selection.correct,
        newest_first: selection.newest_first,
        window: selection.window.clone(),
        allow_future: selection.allow_future,
        allow_empty: selection.allow_empty,
        refuse_over_memory: selection.refuse_over_memory,
        parallel: selection.parallel,
        ..request
    };
    request.check().map_err(|problem| UsageError(problem.detail))?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use clap::Parser;

    use super::*;
    use crate::args::{Args, OnStop, Verb};

    const NOW: EventTime = EventTime::from_micros(1_790_000_000_000_000);
    const ID: &str = "01900000-0000-7000-8000-000000000001";

    fn verb(line: &str) -> Result<Verb, clap::Error> {
        let words = ["tidegate"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(words).map(|args| args.verb)
    }

    fn request(line: &str) -> anyhow::Result<RunRequest> {
        match verb(line)? {
            Verb::MaterializeIncremental { run, .. } => incremental(&run),
            Verb::Materialize { run, .. } => interval(&run, NOW),
            Verb::Rerun { run, .. } => rerun(&run, NOW),
            Verb::Plan { run } => planned(&run, NOW),
            other => panic!("{other:?} asks for no run"),
        }
    }

    fn at(text: &str) -> Option<EventTime> {
        Some(EventTime::from_micros(feast::datetime::parse_iso(text).unwrap()))
    }

    #[test]
    fn an_incremental_run_has_an_end_and_nothing_else() {
        let wanted =
            RunRequest { end: at("2024-01-31T23:59:59"), ..RunRequest::new(RunKind::Incremental) };
        assert_eq!(request("materialize-incremental 2024-01-31T23:59:59").unwrap(), wanted);
        assert_eq!(request("plan materialize-incremental 2024-01-31T23:59:59").unwrap(), wanted);
    }

    #[test]
    fn every_flag_finds_its_field() {
        let line = "materialize-incremental 2024-01-31 -v a --views b --view c --correct \
                    --rebuild --newest-first --window 1d --allow-future --allow-empty \
                    --refuse-over-memory --parallel 3";
        let wanted = RunRequest {
            project: None,
            kind: RunKind::Incremental,
            start: None,
            end: at("2024-01-31"),
            views: ["a", "b", "c"].map(str::to_owned).to_vec(),
            version: None,
            rerun: None,
            correct: true,
            rebuild: true,
            newest_first: true,
            window: Some("1d".to_owned()),
            allow_future: true,
            allow_empty: true,
            refuse_over_memory: true,
            parallel: Some(3),
        };
        assert_eq!(request(line).unwrap(), wanted);
    }

    #[test]
    fn an_interval_is_read_as_dateutil_would() {
        let read = request("materialize 01/31/2024 2024-02-01 --version v2 -v a").unwrap();
        assert_eq!((read.start, read.end), (at("2024-01-31"), at("2024-02-01")));
        assert_eq!((read.kind, read.version.as_deref()), (RunKind::Interval, Some("v2")));
        let everything = request("materialize --disable-event-timestamp").unwrap();
        assert_eq!((everything.start, everything.end), (Some(EventTime::EPOCH), Some(NOW)));
    }

    #[test]
    fn a_rerun_names_a_run_a_window_or_a_state() {
        let what = |line: &str| request(line).unwrap().rerun.unwrap();
        assert_eq!(what(&format!("rerun --run {ID}")), What::RunId(ID.parse().unwrap()));
        assert_eq!(what(&format!("rerun --window-id {ID}")), What::WindowId(ID.parse().unwrap()));
        for (state, wanted) in [
            ("", RerunState::All),
            ("--state all", RerunState::All),
            ("--state missing", RerunState::Missing),
            ("--state failed", RerunState::Failed),
        ] {
            let line = format!("rerun --view v {state} --from 2024-01-01 --to 2024-01-02");
            let read = request(&line).unwrap();
            assert_eq!(read.rerun, Some(What::State(wanted)), "{line}");
            assert_eq!((read.start, read.end), (at("2024-01-01"), at("2024-01-02")));
            assert_eq!(read.views, ["v"]);
        }
        let planned = request("plan rerun --from 2024-01-01 --to 2024-01-02").unwrap();
        assert_eq!(planned.rerun, Some(What::State(RerunState::All)));
    }

    #[test]
    fn a_rerun_of_two_things_or_of_none_is_refused() {
        for line in [
            "rerun".to_owned(),
            "rerun -v v".to_owned(),
            "rerun --state failed".to_owned(),
            "rerun --from 2024-01-01".to_owned(),
            format!("rerun --run {ID} --window-id {ID}"),
            format!("rerun --run {ID} --from 2024-01-01 --to 2024-01-02"),
            format!("rerun --window-id {ID} --state all"),
            format!("rerun --window-id {ID} -v v"),
            format!("rerun --run {ID} --rebuild"),
            "materialize 2024-01-01 2024-01-02 --rebuild".to_owned(),
            "materialize 2024-01-01 2024-01-02 --window soon".to_owned(),
            "materialize 2024-01-01 2024-01-02 --window 0s".to_owned(),
        ] {
            assert!(verb(&line).is_err(), "{line}");
        }
        for line in [
            "rerun --run one",
            "rerun --window-id one",
            "rerun --from 2024-01-02 --to 2024-01-01",
            "materialize 2024-01-02 2024-01-01",
            "materialize 2024-01-01 2024-01-02 --version v1",
            "materialize 2024-01-01 2024-01-02 --version new -v v",
        ] {
            let error = request(line).unwrap_err();
            assert!(crate::command::is_usage(&error), "{line}: {error}");
        }
    }

    #[test]
    fn a_run_of_a_server_is_cancelled_on_stop_unless_told_otherwise() {
        let on_stop = |line: &str| match verb(line).unwrap() {
            Verb::Rerun { submission, .. } => submission.on_stop,
            other => panic!("{other:?}"),
        };
        assert_eq!(on_stop(&format!("rerun --run {ID}")), OnStop::Cancel);
        assert_eq!(on_stop(&format!("rerun --run {ID} --on-stop detach")), OnStop::Detach);
    }

    #[test]
    fn since_is_an_instant_or_an_age() {
        assert_eq!(since("2024-01-01", NOW).ok(), at("2024-01-01"));
        let hour = EventTime::from_nanos(NOW.nanos() - 3_600_000_000_000);
        assert_eq!(since("1h", NOW).ok(), Some(hour));
        assert!(since("lately", NOW).is_err());
    }

    #[test]
    fn a_key_is_checked_before_it_is_sent() {
        assert_eq!(key("nightly 2024-01-31").unwrap().as_str(), "nightly 2024-01-31");
        assert!(crate::command::is_usage(&key("").unwrap_err()));
    }
}
