//! The OpenAPI document: what the annotations of the handlers say, and the schemas of crate `api`.
//!
//! A copy is kept in `api/openapi.json`, so that a change of the contract is seen in review.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::{events, health, materialize, metric, runs, views};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate scheduler",
        description = "Admits runs of one Feast project, works on them, and says what has landed.",
    ),
    paths(
        runs::submit,
        runs::list,
        runs::show,
        runs::act,
        events::stream,
        views::plan,
        views::status,
        views::intervals,
        materialize::interval,
        materialize::incremental,
        health::live,
        health::ready,
        metric::exposition,
        show,
    ),
    tags(
        (name = "runs", description = "Asking for runs, and following them."),
        (name = "views", description = "How far views have got."),
        (name = "feast", description = "What Feast's own feature server takes."),
        (name = "process", description = "The process itself."),
    ),
)]
struct Routes;

/// The name of the one way to be known.
const TOKEN: &str = "token";

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Routes::openapi();
    // utoipa knows of a licence only what `Cargo.toml` says, and of a contact nothing.
    document.info.contact = None;
    let mut components = api::schema::components();
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.security_schemes.insert(TOKEN.to_owned(), scheme.into());
    let own = document.components.take().unwrap_or_default();
    for (name, schema) in own.schemas {
        components.schemas.entry(name).or_insert(schema);
    }
    document.components = Some(components);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]);
    document
}

/// Describes this server in OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "process",
    responses((status = 200, description = "This document.", body = serde_json::Value)),
)]
pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Set to write the golden copy anew, as `cargo xtask gen` does.
    const GENERATE: &str = "TIDEGATE_GENERATE";

    #[test]
    fn the_golden_copy_is_what_is_served() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/openapi.json");
        let text = document().to_pretty_json().expect("JSON") + "\n";
        if std::env::var_os(GENERATE).is_some() {
            std::fs::write(&path, &text).expect("the copy can be written");
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "`api/openapi.json` is out of date: run `cargo xtask gen`");
    }

    #[test]
    fn the_document_is_of_version_3_1_and_names_every_route() {
        let json = serde_json::to_value(document()).expect("JSON");
        assert_eq!(json["openapi"], "3.1.0");
        let paths = json["paths"].as_object().expect("an object");
        let names: Vec<&str> = paths.keys().map(String::as_str).collect();
        for path in [
            "/v1/runs",
            "/v1/runs/{run_id}",
            "/v1/runs/{run_id}:cancel",
            "/v1/runs/{run_id}/events",
            "/v1/plan",
            "/v1/views",
            "/v1/views/{project}/{view}/intervals",
            "/materialize",
            "/materialize-incremental",
            "/livez",
            "/readyz",
            "/metrics",
            "/openapi.json",
        ] {
            assert!(names.contains(&path), "{path} is not in {names:?}");
        }
        for (path, methods) in paths {
            for (method, operation) in methods.as_object().expect("an object") {
                let id = operation["operationId"].as_str();
                assert!(id.is_some_and(|id| !id.is_empty()), "{method} {path}");
            }
        }
    }
}
