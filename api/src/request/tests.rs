//! Which requests are refused, and that they are written one way.

use super::*;

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn request(json: &str) -> RunRequest {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

#[test]
fn what_fits_together_is_taken() {
    for json in [
        r#"{"kind": "incremental"}"#,
        r#"{"kind": "incremental", "end": "2024-01-02T00:00:00Z", "views": ["a", "b"]}"#,
        r#"{"kind": "incremental", "views": ["a"], "version": "v2", "window": "1d12h"}"#,
        r#"{"kind": "interval", "start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z"}"#,
        r#"{"kind": "interval", "start": "2024-01-01T00:00:00Z", "end": "2024-01-01T00:00:00Z"}"#,
        r#"{"kind": "rerun", "rerun": {"run_id": "01890a5d-ac96-774b-bcce-b302099a8057"}}"#,
        r#"{"kind": "rerun", "rerun": {"window_id": "01890a5d-ac96-774b-bcce-b302099a8057"}}"#,
        r#"{"kind": "rerun", "rerun": {"state": "missing"}, "parallel": 1,
            "start": "2024-01-01T00:00:00+02:00", "end": "2024-01-02T00:00:00Z"}"#,
    ] {
        request(json).check().unwrap_or_else(|problem| panic!("{json}: {problem}"));
    }
}

#[test]
fn what_does_not_fit_is_refused_by_the_name_of_its_field() {
    let bounds = r#""start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z""#;
    for (field, rest) in [
        ("start", r#""kind": "incremental", "start": "2024-01-01T00:00:00Z""#.to_owned()),
        ("start", r#""kind": "interval", "end": "2024-01-01T00:00:00Z""#.to_owned()),
        ("end", r#""kind": "interval", "start": "2024-01-01T00:00:00Z""#.to_owned()),
        (
            "start",
            r#""kind": "interval", "start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z""#
                .to_owned(),
        ),
        ("rerun", r#""kind": "rerun""#.to_owned()),
        ("rerun", format!(r#""kind": "interval", {bounds}, "rerun": {{"state": "all"}}"#)),
        ("rerun", format!(r#""kind": "incremental", "rerun": {{"run_id": "{RUN}"}}"#)),
        ("start", format!(r#""kind": "rerun", {bounds}, "rerun": {{"run_id": "{RUN}"}}"#)),
        ("views", format!(r#""kind": "rerun", "views": ["v"], "rerun": {{"window_id": "{RUN}"}}"#)),
        ("start", r#""kind": "rerun", "rerun": {"state": "failed"}"#.to_owned()),
        ("project", r#""kind": "incremental", "project": " ""#.to_owned()),
        ("views", r#""kind": "incremental", "views": ["a", ""]"#.to_owned()),
        ("version", r#""kind": "incremental", "version": "v1""#.to_owned()),
        ("version", r#""kind": "incremental", "version": "v1", "views": ["a", "b"]"#.to_owned()),
        ("parallel", r#""kind": "incremental", "parallel": 0"#.to_owned()),
        ("window", r#""kind": "incremental", "window": "daily""#.to_owned()),
        ("window", r#""kind": "incremental", "window": "0s""#.to_owned()),
    ] {
        let problem = request(&format!("{{{rest}}}")).check().expect_err(&rest);
        assert_eq!(problem.code, Code::InvalidRequest, "{rest}");
        assert_eq!(problem.field.as_deref(), Some(field), "{rest}: {problem}");
    }
}

#[test]
fn unknown_fields_and_two_things_to_rerun_cannot_be_read() {
    for json in [
        r#"{"kind": "incremental", "ends": "2024-01-01T00:00:00Z"}"#,
        r#"{"kind": "backfill"}"#,
        r#"{"kind": "rerun", "rerun": {"state": "late"}}"#,
        r#"{"kind": "rerun", "rerun": {}}"#,
        r#"{"kind": "rerun", "rerun": {"state": "all",
            "run_id": "01890a5d-ac96-774b-bcce-b302099a8057"}}"#,
        r#"{"kind": "incremental", "end": "2024-01-01T00:00:00"}"#,
    ] {
        assert!(serde_json::from_str::<RunRequest>(json).is_err(), "{json}");
    }
}

#[test]
fn the_same_request_is_written_the_same_way() {
    let one = r#"{"end": "2024-01-01T02:00:00+02:00", "kind": "incremental", "correct": false}"#;
    let other = r#"{"kind":"incremental","end":"2024-01-01T00:00:00Z","views":[],"start":null}"#;
    let text = serde_json::to_string(&request(one)).expect("JSON");
    assert_eq!(text, r#"{"kind":"incremental","end":"2024-01-01T00:00:00+00:00"}"#);
    assert_eq!(serde_json::to_string(&request(other)).expect("JSON"), text);
}

#[test]
fn a_key_is_printable_and_short() {
    for key in ["k", "airflow dag/2024-01-01 #1", &"x".repeat(255)] {
        assert_eq!(key.parse::<IdempotencyKey>().expect("a key").as_str(), key);
    }
    for text in ["", " k", "k ", "a\tb", "a\nb", "é", &"x".repeat(256)] {
        let problem = text.parse::<IdempotencyKey>().expect_err(text);
        assert_eq!(problem.code, Code::InvalidIdempotencyKey, "{text}");
    }
    assert_ne!(IdempotencyKey::draw(), IdempotencyKey::draw());
}
